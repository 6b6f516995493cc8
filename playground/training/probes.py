"""Looking inside a model from outside, by forward hooks; leaves the logits bit-identical.

Shapes: T probe tokens, L layers, H heads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from models.gpt import GPT
from playground.files import publish
from playground.training.checkpoints import evenly

MAX_PROBE_TOKENS = 64


@dataclass
class Observation:
    """What one forward pass let through, in layer order.

    `stream`: the residual stream, the embedding first, then after each block, (B, T, C);
    `attn` and `mlp`: what the sublayers computed, (B, T, C); `maps`: attention, (B, H, T, T).
    """

    stream: list[Tensor] = field(default_factory=list)
    attn: list[Tensor] = field(default_factory=list)
    mlp: list[Tensor] = field(default_factory=list)
    maps: list[Tensor] = field(default_factory=list)


@contextmanager
def observing(model: GPT) -> Iterator[Observation]:
    """Record the forward passes made inside the `with`. Attention maps come from an explicit
    softmax over the very queries and keys that the fused kernel was given."""
    seen = Observation()

    def keep(place: list[Tensor]):
        return lambda module, inputs, output: place.append(output.detach())

    def keep_map(module, inputs, output):
        q, k, _ = inputs
        seen.maps.append(module.weights(q.detach().float(), k.detach().float()))

    hooks = [model.dropout.register_forward_hook(keep(seen.stream))]
    for block in model.blocks:
        hooks.append(block.register_forward_hook(keep(seen.stream)))
        if block.attn is not None:
            hooks.append(block.attn.f.register_forward_hook(keep(seen.attn)))
            hooks.append(block.attn.f.attend.register_forward_hook(keep_map))
        if block.mlp is not None:
            hooks.append(block.mlp.f.register_forward_hook(keep(seen.mlp)))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def look(model: GPT, tokens: np.ndarray) -> Observation:
    """Run the model in eval mode on (T,) ids and return what was seen; its mode is restored."""
    was_training = model.training
    model.eval()
    try:
        with observing(model) as seen:
            model(torch.from_numpy(tokens.astype(np.int64))[None].to(model.wte.weight.device))
    finally:
        model.train(was_training)
    return seen


def rms(tensors: list[Tensor]) -> list[float]:
    """Root mean square of each tensor's numbers."""
    if not tensors:
        return []
    return torch.stack([tensor.float().square().mean().sqrt() for tensor in tensors]).tolist()


def attention_tensor(seen: Observation) -> Tensor:
    """(L, H, T, T) float16 on the CPU; with no attention L and H are 0."""
    if not seen.maps:
        T = seen.stream[0].size(1)
        return torch.zeros(0, 0, T, T, dtype=torch.float16)
    return torch.stack([maps[0] for maps in seen.maps]).half().cpu()


def text_hash(text: str) -> str:
    """The folder name of a probe text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def probe_path(run_folder: Path, digest: str, step: int) -> Path:
    return run_folder / "probes" / digest / f"{step:06d}.safetensors"


def publish_probe(path: Path, tokens: np.ndarray, seen: Observation, text: str) -> None:
    """Write `tokens` (T,) and `attention` (L, H, T, T) float16; the text itself is in the metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"tokens": torch.from_numpy(tokens.astype(np.int64)), "attention": attention_tensor(seen)}
    publish(path, save(tensors, {"text": text}))


def recorded_steps(run_folder: Path, digest: str) -> list[int]:
    """The steps at which a probe text was recorded, ascending."""
    return sorted(int(path.stem) for path in (run_folder / "probes" / digest).glob("[0-9]*.safetensors"))


def thin(run_folder: Path, digest: str, keep: int) -> None:
    """Leave at most `keep` recorded steps of a text, spread evenly, first and last among them."""
    steps = recorded_steps(run_folder, digest)
    if len(steps) > keep:
        for step in set(steps) - evenly(steps, keep):
            probe_path(run_folder, digest, step).unlink(missing_ok=True)

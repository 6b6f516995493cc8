"""Ablation: switch off parts of a model, to see how much worse it is without them.

Zero ablation, as in Michel et al. 2019, arXiv:1905.10650: what a part adds is replaced by zeros; a layer
that is switched off passes the residual stream on unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from models.attention import CausalSelfAttention
from models.config import ModelConfig
from models.gpt import GPT
from models.knobs import ConfigError, Problem

_PART = re.compile(r"(layer|attn|mlp|head):([1-9][0-9]{0,3})(?:\.([1-9][0-9]{0,3}))?")


@dataclass(frozen=True)
class Part:
    """`kind` is layer, attn, mlp or head; `layer` and `head` count from 0."""

    kind: str
    layer: int
    head: int | None = None

    def __str__(self) -> str:
        """As people write it, counting from 1: `mlp:2`, `head:2.4`."""
        return f"{self.kind}:{self.layer + 1}" + ("" if self.head is None else f".{self.head + 1}")


def parts_of(config: ModelConfig) -> list[Part]:
    """Everything that can be switched off, layer by layer."""
    found = []
    for layer in range(config.n_layer):
        found.append(Part("layer", layer))
        if config.has_attention:
            found += [Part("attn", layer), *(Part("head", layer, head) for head in range(config.n_head))]
        if config.has_mlp:
            found.append(Part("mlp", layer))
    return found


def parse_parts(text: str, config: ModelConfig) -> tuple[Part, ...]:
    """From `layer:2,head:1.3`, counting from 1. Raises ConfigError with a problem for each part that the model lacks."""
    known, found, problems = set(parts_of(config)), [], []
    for name in filter(None, (each.strip() for each in text.split(","))):
        match = _PART.fullmatch(name)
        part = match and Part(match[1], int(match[2]) - 1, None if match[3] is None else int(match[3]) - 1)
        if part in known:
            found.append(part)
        else:
            heads = f", head:1.1 to head:{config.n_layer}.{config.n_head}" if config.has_attention else ""
            have = f"layer:1 to layer:{config.n_layer}{heads}" + ", attn:N" * config.has_attention + ", mlp:N" * config.has_mlp
            problems.append(Problem("off", f"{name[:40]!r} is no part of this model; it has {have}"))
    if problems:
        raise ConfigError(problems)
    return tuple(dict.fromkeys(found))


@contextmanager
def without(model: GPT, parts: Iterable[Part]) -> Iterator[None]:
    """Inside the `with` the model computes as if the parts were not there."""
    hooks = [_switch_off(model, part) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _switch_off(model: GPT, part: Part):
    block = model.blocks[part.layer]
    if part.kind == "layer":
        return block.register_forward_hook(lambda module, inputs, output: inputs[0])
    branch = block.mlp if part.kind == "mlp" else block.attn
    if branch is None:
        raise ValueError(f"{part} is no part of this model")
    if block.attn is not None and part.head is not None:
        return block.attn.f.proj.register_forward_pre_hook(_without_head(block.attn.f, part.head))
    return branch.norm_out.register_forward_hook(_nothing)


def _nothing(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    """Zeros in place of what a branch adds."""
    return output * 0


def _without_head(attention: CausalSelfAttention, head: int):
    """A hook that replaces one head's output by zeros, before the output projection."""
    D = attention.head_size

    def hook(module: nn.Module, inputs: tuple) -> tuple[Tensor]:
        (y,) = inputs
        y = y.clone()
        y[..., head * D : (head + 1) * D] = 0
        return (y,)

    return hook

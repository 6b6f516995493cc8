"""Traces of a model's forward passes, by forward hooks; they leave the logits bit-identical.

Shapes: B batch, T tokens, C channels, F hidden units of the MLP, H heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from models.attention import Attend
from models.block import Block, Branch
from models.gpt import GPT


@dataclass
class Trace:
    """The tensors of one forward pass, in the order of computation.

    `stream`: the residual stream, the embedding first, then after each sublayer (after each block where
    attention and MLP work side by side), (B, T, C); `before` and `change` by "attn" and "mlp": per layer the
    stream that a sublayer's result is added to, and what is added, (B, T, C); `hidden`: per layer what went
    into the MLP's activation function and what came out, 2 x (B, T, F); `maps`: attention, (B, H, T, T).
    """

    stream: list[Tensor] = field(default_factory=list)
    before: dict[str, list[Tensor]] = field(default_factory=lambda: {"attn": [], "mlp": []})
    change: dict[str, list[Tensor]] = field(default_factory=lambda: {"attn": [], "mlp": []})
    hidden: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    maps: list[Tensor] = field(default_factory=list)


@contextmanager
def tracing(model: GPT) -> Iterator[Trace]:
    """Record the forward passes made inside the `with`. Attention maps come from an explicit
    softmax over the very queries and keys that the fused kernel was given."""
    trace = Trace()
    hooks = [model.dropout.register_forward_hook(_keep_output(trace.stream))]
    for block in model.blocks:
        hooks += _watch(block, trace)
    try:
        yield trace
    finally:
        for hook in hooks:
            hook.remove()


def _watch(block: Block, trace: Trace) -> Iterator[RemovableHandle]:
    """The hooks on one block; in a parallel one both branches start from what the block is given."""

    def keep_map(module: Attend, inputs: tuple, output: Tensor) -> None:
        q, k, _ = inputs
        trace.maps.append(module.weights(q.detach().float(), k.detach().float()))

    def keep_hidden(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        trace.hidden.append((inputs[0].detach(), output.detach()))

    branches = {name: branch for name, branch in (("attn", block.attn), ("mlp", block.mlp)) if branch is not None}
    if block.parallel:
        yield block.register_forward_hook(_keep_output(trace.stream))
    for name, branch in branches.items():
        if not block.parallel:
            yield branch.register_forward_hook(_keep_output(trace.stream))
        yield (block if block.parallel else branch).register_forward_pre_hook(_keep_before(trace.before[name]))
        yield branch.norm_out.register_forward_hook(_keep_change(branch, trace.change[name]))
    if block.attn is not None:
        yield block.attn.f.attend.register_forward_hook(keep_map)
    if block.mlp is not None:
        yield block.mlp.f.activation.register_forward_hook(keep_hidden)


def _keep_output(place: list[Tensor]):
    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        place.append(output)

    return keep


def _keep_before(place: list[Tensor]):
    def keep(module: nn.Module, inputs: tuple) -> None:
        place.append(inputs[0].detach())

    return keep


def _keep_change(branch: Branch, place: list[Tensor]):
    """What the branch adds: the sublayer's result after its norm and its learned gain."""
    gain = branch.gain

    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        place.append(output.detach() if gain is None else (gain * output).detach())

    return keep


@contextmanager
def evaluating(model: GPT) -> Iterator[None]:
    """In eval mode inside the `with`; the mode is restored."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def traced(model: GPT, tokens: np.ndarray) -> Trace:
    """The trace of one forward pass in eval mode on (T,) ids, without gradients."""
    with torch.no_grad(), evaluating(model), tracing(model) as trace:
        model(as_ids(model, tokens)[None])
    return trace


def traced_with_gradients(model: GPT, tokens: np.ndarray) -> tuple[Trace, list[Tensor]]:
    """As `traced`, and for each entry of `stream` the gradient of the mean loss over the T - 1 predictions with respect to it.

    The parameters' own gradients are left alone. Needs two tokens at least.
    """
    ids = as_ids(model, tokens)
    with torch.enable_grad(), evaluating(model), tracing(model) as trace:
        loss = F.cross_entropy(model(ids[None])[0, :-1].float(), ids[1:])
        gradients = torch.autograd.grad(loss, trace.stream, allow_unused=True)
    trace.stream = [x.detach() for x in trace.stream]
    return trace, [torch.zeros_like(x) if g is None else g for x, g in zip(trace.stream, gradients, strict=True)]


def as_ids(model: GPT, tokens: np.ndarray) -> Tensor:
    """(T,) int64 where the model is."""
    return torch.from_numpy(tokens.astype(np.int64)).to(model.wte.weight.device)

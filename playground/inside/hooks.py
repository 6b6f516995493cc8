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
    attention and MLP work side by side), (B, T, C); `before`, `change` and `sum` by "attn" and "mlp": per layer the
    stream that a sublayer's result is added to, what is added, and what that gives, (B, T, C); `hidden`: per layer what went
    into the MLP's activation function and what came out, 2 x (B, T, F); `maps`: attention, (B, H, T, T).
    """

    stream: list[Tensor] = field(default_factory=list)
    before: dict[str, list[Tensor]] = field(default_factory=lambda: {"attn": [], "mlp": []})
    change: dict[str, list[Tensor]] = field(default_factory=lambda: {"attn": [], "mlp": []})
    sum: dict[str, list[Tensor]] = field(default_factory=lambda: {"attn": [], "mlp": []})
    hidden: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    maps: list[Tensor] = field(default_factory=list)

    def detach(self) -> None:
        """Let go of the graph that gradients are computed by."""
        self.stream = [x.detach() for x in self.stream]
        for part in (self.before, self.change, self.sum):
            part.update({name: [x.detach() for x in tensors] for name, tensors in part.items()})


@dataclass
class Gradients:
    """Gradients of the mean loss over the T - 1 predictions, (B, T, C): `stream` for each entry of a trace's stream; by "attn" and
    "mlp" per layer the two ways on which the gradient at the addition y = keep x + f(x) goes on to x: `skip`, keep ∂L/∂y, and
    `through`, J_fᵀ ∂L/∂y. Both are empty without residuals."""

    stream: list[Tensor]
    skip: dict[str, list[Tensor]] = field(default_factory=dict)
    through: dict[str, list[Tensor]] = field(default_factory=dict)


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
        if block.parallel:
            yield block.register_forward_hook(_keep_output(trace.sum[name]))
        else:
            yield branch.norm_after.register_forward_pre_hook(_keep_before(trace.sum[name]))
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
        place.append(inputs[0])

    return keep


def _keep_change(branch: Branch, place: list[Tensor]):
    """What the branch adds: the sublayer's result after its norm and its learned gain."""
    gain = branch.gain

    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        place.append(output if gain is None else gain * output)

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


def layer_ends(model: GPT, ids: Tensor) -> list[Tensor]:  # (B, T) -> (L + 1) x (B, T, C)
    """The stream at the embedding and after each layer, in one forward pass."""
    kept: list[Tensor] = []
    hooks = [module.register_forward_hook(_keep_output(kept)) for module in (model.dropout, *model.blocks)]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return kept


def traced(model: GPT, tokens: np.ndarray) -> Trace:
    """The trace of one forward pass in eval mode on (T,) or (B, T) ids, without gradients."""
    with torch.no_grad(), evaluating(model), tracing(model) as trace:
        model(torch.atleast_2d(as_ids(model, tokens)))
    return trace


def traced_with_gradients(model: GPT, tokens: np.ndarray) -> tuple[Trace, Gradients]:
    """As `traced`, and the gradients. The parameters' own gradients are left alone. Needs two tokens at least."""
    ids = as_ids(model, tokens)
    with torch.enable_grad(), evaluating(model), tracing(model) as trace:
        loss = F.cross_entropy(model(ids[None])[0, :-1].float(), ids[1:])
        sums = [x for tensors in trace.sum.values() for x in tensors]
        at = _gradients(loss, [*trace.stream, *sums])
        found = Gradients(at[: len(trace.stream)])
        if model.config.residual:
            by_sum = iter(at[len(trace.stream) :])
            for name, changes in trace.change.items():
                keeps = [branch.keep for block in model.blocks if (branch := getattr(block, name)) is not None]
                arrives = [next(by_sum) for _ in changes]
                found.skip[name] = [keep * dy for keep, dy in zip(keeps, arrives, strict=True)]
                found.through[name] = [
                    _gradients(change, [x], dy)[0] for change, x, dy in zip(changes, trace.before[name], arrives, strict=True)
                ]
    trace.detach()
    return trace, found


def _gradients(of: Tensor, at: list[Tensor], arriving: Tensor | None = None) -> list[Tensor]:
    """∂of/∂x for each x, times the gradient that arrives at `of` where it is no scalar; zeros where `of` does not depend on x."""
    found = torch.autograd.grad(of, at, arriving, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g.detach() for x, g in zip(at, found, strict=True)]


def as_ids(model: GPT, tokens: np.ndarray) -> Tensor:
    """The ids as int64 where the model is."""
    return torch.from_numpy(tokens.astype(np.int64)).to(model.wte.weight.device)

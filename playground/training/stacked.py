"""Several runs of one shape trained at once by `torch.func.vmap`: on a GPU a small model leaves most of the chip idle, and N of
them side by side take little longer than one.

Each parameter is stacked over the runs in one tensor, of which every run's own model has a view; forward and backward pass
are computed for all at once, and each run's optimizer then follows its own gradient at its own rate. Before the steps are recorded,
a group's gradient is compared with that of one of its runs alone: a kernel that is wrong for several models at once ends the group.
Knows nothing of processes.

Shapes: N runs, B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from copy import deepcopy
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap

from models.attention import Attend
from models.linear import Linear
from playground.data.batches import Several
from playground.training.cuda_graph import WARM_UP_STEPS, StepRunner
from playground.training.devices import choose_dtype
from playground.training.loop import Loop
from playground.training.outcome import Outcome
from playground.training.state import Step, TrainState

# How far the gradient of a run may lie from the same run's alone, relative to its norm: both round differently.
SAME_GRADIENT = {torch.float32: 1e-3, torch.bfloat16: 0.05}


class NotTheSame(RuntimeError):
    """What is computed for several runs at once is not what each of them is."""


def train_together(loops: list[Loop]) -> Iterator[tuple[Loop, Outcome | Exception]]:
    """Take the steps of all loops together. Yields each loop when it ends, with its outcome or the exception that ended it, while
    the others go on; an exception in the common step is raised. All models must be of one shape, without dropout."""
    going = {loop: loop.steps() for loop in loops}
    waiting: dict[Loop, bool] = {}
    for loop in loops:
        yield from _go_on(going, loop, None, waiting)
    group: Group | None = None
    while waiting:
        if group is None or len(group.states) != len(waiting):
            group = None  # frees its memory before the next group takes as much
            group = Group([loop.state for loop in waiting])
        steps, waiting_before, waiting = group.step(watched=any(waiting.values())), waiting, {}
        for loop, step in zip(waiting_before, steps, strict=True):
            yield from _go_on(going, loop, step, waiting)


def _go_on(
    going: dict[Loop, Generator[bool, Step, Outcome]], loop: Loop, step: Step | None, waiting: dict[Loop, bool]
) -> Iterator[tuple[Loop, Outcome | Exception]]:
    """Send a loop the result of its step, and note in `waiting` whether hooks watch its next one; yields the loop if it ended."""
    try:
        waiting[loop] = next(going[loop]) if step is None else going[loop].send(step)
    except StopIteration as end:
        yield loop, end.value
    except Exception as error:  # a full disk, a broken file: whatever it was, it ends this run alone, and is reported
        yield loop, error


class Group:
    """Some runs' models as one. Building it moves their parameters into common memory; they stay usable one by one."""

    def __init__(self, states: list[TrainState]):
        self.states, first = states, states[0]
        self.model = deepcopy(first.model)  # for its layers alone
        for module in self.model.modules():
            if isinstance(module, Linear):
                module.product = None  # the custom product has no rule for vmap
            if isinstance(module, Attend):
                module.fused = fused_attention
        models = [dict(state.model.named_parameters()) for state in states]
        self.weights = {name: torch.stack([model[name].detach() for model in models]).requires_grad_() for name in models[0]}  # (N, …)
        for i, model in enumerate(models):
            for name, parameter in model.items():
                parameter.data = self.weights[name].detach()[i]
        self.members = [[(parameter, self.weights[name]) for name, parameter in model.items()] for model in models]
        self.runner = StepRunner(Several([state.batches for state in states]), first.config.train.accumulation)

    def step(self, watched: bool = False) -> list[Step]:
        """One update of every run; one that is `watched` by hooks is never the replay of a CUDA graph."""
        rates = [state.next_rate() for state in self.states]
        compares = self.runner.eager_steps < WARM_UP_STEPS  # never while recording, which reads nothing
        losses, norms = self.runner.take(partial(self._update, compares=compares), watched)
        for state in self.states:
            state.runner.not_captured = self.runner.not_captured
        return [state.took(losses[i], norms[i], rates[i]) for i, state in enumerate(self.states)]

    def _update(self, batch, compares: bool) -> tuple[Tensor, Tensor]:  # -> 2 x (N,)
        n, total = self.states[0].config.train.accumulation, []
        for stacked in self.weights.values():
            stacked.grad = None
        for i in range(n):
            inputs, targets = batch(i)
            losses = vmap(self._loss)(self.weights, inputs, targets) / n
            losses.sum().backward()  # each run's loss depends on its own weights alone
            total.append(losses.detach())
            if compares and i == 0:
                self._compare(inputs[0], targets[0])
        norms = []
        for i, state in enumerate(self.states):
            for parameter, stacked in self.members[i]:
                parameter.grad = None if stacked.grad is None else stacked.grad[i]
            norms.append(state.descend())
        return reduce(torch.add, total), torch.stack(norms)

    def _compare(self, inputs: Tensor, targets: Tensor) -> None:
        """Compare the first run's gradient with the same run's alone; raises NotTheSame."""
        state = self.states[0]
        state.optimizer.zero_grad(set_to_none=True)
        (state.loss(inputs, targets) / state.config.train.accumulation).backward()
        pairs = [(p.grad, stacked.grad[0]) for p, stacked in self.members[0] if p.grad is not None and stacked.grad is not None]
        distance = torch.stack([(together - alone).float().norm() for alone, together in pairs]).norm()
        norm = torch.stack([alone.float().norm() for alone, _ in pairs]).norm()
        apart, allowed = (distance / norm).item(), SAME_GRADIENT[choose_dtype(state.config.train.dtype, state.device)]
        if norm.isfinite() and norm > 0 and not apart <= allowed:
            raise NotTheSame(
                f"at step {state.steps_done + 1} the gradient of runs trained together was {apart:.2g} of its size away from that of a run"
                f" alone, and {allowed:g} is what rounding explains: on this device they must be trained one by one"
            )

    def _loss(self, weights: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:  # 2 x (B, T) -> (), of one run
        with self.states[0].precision:
            logits = functional_call(self.model, weights, (inputs,))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False, dropout_p: float = 0.0,
    scale: float | None = None,
) -> Tensor:  # fmt: skip
    """`F.scaled_dot_product_attention` for the runs of a `vmap`, without dropout: 3 x (B, H, T, D) of each run -> (B, H, T, D)."""
    assert dropout_p == 0.0, "fused kernels draw their own masks, which would not be those of each run"
    return _Folded.apply(q, k, v, attn_mask, is_causal, scale)


class _Folded(torch.autograd.Function):
    """Attention under vmap as one attention over N x B sequences. By torch's own rules some kernels of a GPU give NaN in bfloat16, and
    others refuse their own strides (torch 2.11)."""

    generate_vmap_rule = False

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float | None) -> Tensor:
        raise NotImplementedError("for vmap alone")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        raise NotImplementedError("for vmap alone")

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> tuple[Tensor, int]:
        """3 x (N, B, H, T, D) and a mask that all share -> (N, B, H, T, D), 0."""
        *parts, mask, causal, scale = args
        assert in_dims[3] is None, "a mask depends on shape alone"
        folded = [_first(x, dim, info.batch_size).flatten(0, 1) for x, dim in zip(parts, in_dims[:3], strict=True)]
        y = F.scaled_dot_product_attention(*folded, attn_mask=mask, is_causal=causal, scale=scale)
        return y.unflatten(0, (info.batch_size, -1)), 0


def _first(x: Tensor, dim: int | None, n: int) -> Tensor:
    """The tensor with its runs along the first dimension."""
    return x.expand(n, *x.shape) if dim is None else x.movedim(dim, 0)

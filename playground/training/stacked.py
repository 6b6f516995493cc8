"""Several runs of one shape trained at once by `torch.func.vmap`: on a GPU a small model leaves most of the chip idle, and N of
them side by side take little longer than one.

Each parameter is stacked over the runs in one tensor, of which every run's own model has a view; forward and backward pass
are computed for all at once, and each run's optimizer then follows its own gradient at its own rate. Knows nothing of processes.

Shapes: N runs, B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from copy import deepcopy
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap

from models.linear import Linear
from playground.data.batches import Several
from playground.training.cuda_graph import StepRunner
from playground.training.loop import Loop
from playground.training.outcome import Outcome
from playground.training.state import Step, TrainState


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
        losses, norms = self.runner.take(self._update, watched)
        for state in self.states:
            state.runner.not_captured = self.runner.not_captured
        return [state.took(losses[i], norms[i], rates[i]) for i, state in enumerate(self.states)]

    def _update(self, batch) -> tuple[Tensor, Tensor]:  # -> 2 x (N,)
        n, total = self.states[0].config.train.accumulation, []
        for stacked in self.weights.values():
            stacked.grad = None
        for i in range(n):
            losses = vmap(self._loss)(self.weights, *batch(i)) / n
            losses.sum().backward()  # each run's loss depends on its own weights alone
            total.append(losses.detach())
        norms = []
        for i, state in enumerate(self.states):
            for parameter, stacked in self.members[i]:
                parameter.grad = None if stacked.grad is None else stacked.grad[i]
            norms.append(state.descend())
        return reduce(torch.add, total), torch.stack(norms)

    def _loss(self, weights: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:  # 2 x (B, T) -> (), of one run
        with self.states[0].precision:
            logits = functional_call(self.model, weights, (inputs,))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

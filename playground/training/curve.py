"""The curves of a run while it trains: means over the steps between two points, read without stopping the device.

Losses and norms stay on the device; what is sent for arrives while later steps run. Knows nothing of what becomes of a point.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch

from playground.training.devices import Coming
from playground.training.events import Progress
from playground.training.state import Step, TrainState

AT_MOST_COMING = 2  # points: how far the loop may run ahead of the device
SPEED_OVER_S = 2.0


class Point(NamedTuple):
    """A point on its way: `numbers` (2, steps) are losses and norms, the rest is as it was after the last of these steps."""

    numbers: Coming
    step: int
    tokens: int
    seconds: float
    tokens_per_s: float
    lr: float


class Curve:
    """Collects the results of steps; each `send` ends a window of them, whose means are a point."""

    def __init__(self, state: TrainState):
        self.state = state
        self.window: list[Step] = []
        self.coming: deque[Point] = deque()
        self.times = [(state.seconds, state.tokens)]

    def add(self, step: Step) -> None:
        self.window.append(step)

    def send(self) -> None:
        """Send for the point of the steps since the last one, if there are any."""
        window, state = self.window, self.state
        if not window:
            return
        losses, norms = (torch.stack(each).float() for each in ([step.loss for step in window], [step.norm for step in window]))
        numbers = Coming(torch.stack([losses, norms]))
        self.coming.append(Point(numbers, state.steps_done, state.tokens, state.seconds, self._speed(), window[-1].lr))
        self.window = []

    def arrived(self, at_most: int = AT_MOST_COMING) -> Iterator[tuple[Progress, int | None]]:
        """The points that are there, oldest first, each with the first step whose loss was not finite; then its `loss` is that one.
        Waits while more than `at_most` are on their way."""
        while self.coming and (len(self.coming) > at_most or self.coming[0].numbers.arrived()):
            point = self.coming.popleft()
            losses, norms = point.numbers.read()
            bad = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
            progress = Progress(
                step=point.step,
                tokens=point.tokens,
                seconds=point.seconds,
                loss=sum(losses) / len(losses) if bad is None else losses[bad],
                grad_norm=sum(norms) / len(norms),
                lr=point.lr,
                tokens_per_s=point.tokens_per_s,
            )
            yield progress, None if bad is None else point.step - len(losses) + bad + 1

    def _speed(self) -> float:
        """Tokens per second over the last two seconds or so."""
        self.times.append((self.state.seconds, self.state.tokens))
        while len(self.times) > 2 and self.times[1][0] <= self.state.seconds - SPEED_OVER_S:
            self.times.pop(0)
        (since, before), (now, tokens) = self.times[0], self.times[-1]
        return (tokens - before) / max(now - since, 1e-9)

"""What is known of a run so far, and what follows from it by arithmetic: levels, slopes, spikes. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median, pstdev
from typing import Any, NamedTuple, TypeGuard

from models.graph import stream_nodes
from playground.config.run import CompleteRun

SMOOTH = 0.9
EARLY_SHARE = 0.05  # of a run
CLOSE_SHARE, CLOSE_ERRORS = 0.01, 2.0  # how near a loss lies to a line that it does not lie below: of the line, or in standard errors
BEFORE_SPIKE, SPIKE_NATS, SPIKE_DEVIATIONS = 20, 0.4, 6.0


class Level(NamedTuple):
    """A loss in nats per token with its standard error (0 where unknown), after this step."""

    loss: float
    error: float
    step: int


class Spike(NamedTuple):
    """A point of the training loss that lies far above those before it."""

    step: int
    before: float
    loss: float


@dataclass(frozen=True)
class History:
    """What is known of a run so far: its config, and its recorded rows, oldest first; each row is an event's fields and its `step`.
    `facts` are those of its data."""

    config: CompleteRun
    progress: Sequence[Mapping[str, Any]]
    validation: Sequence[Mapping[str, Any]]
    measures: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any] | None = None

    @property
    def step(self) -> int:
        """The last step that anything is known of."""
        return max((row["step"] for rows in (self.progress, self.measures) for row in rows[-1:]), default=0)

    # What was measured inside the model.

    def newest(self, quantity: str) -> Mapping[str, Any]:
        """The newest row that has the quantity: not every probe follows a training step that was measured. Empty where there is none."""
        return next((row for row in reversed(self.measures) if (row.get("values") or {}).get(quantity)), {})

    def latest(self, quantity: str) -> dict[str, list]:
        """By node, per layer, of the newest row that has it."""
        return (self.newest(quantity).get("values") or {}).get(quantity) or {}

    def stream(self, quantity: str) -> list[tuple[int, float]]:
        """(layers passed, value) at each place of the stream that has one, in order."""
        first, ends = stream_nodes(self.config.model)
        values = self.latest(quantity)
        places = [(0, _at(values, first, 0))]
        places += [(layer + 1, _at(values, node, layer)) for layer in range(self.config.model.n_layer) for node in ends]
        return [(passed, value) for passed, value in places if value is not None]

    def layer_ends(self, quantity: str) -> list[tuple[int, float]]:
        """(layer, value) after each layer that has one, without the embedding."""
        values, end = self.latest(quantity), stream_nodes(self.config.model)[1][-1]
        found = [(layer + 1, _at(values, end, layer)) for layer in range(self.config.model.n_layer)]
        return [(layer, value) for layer, value in found if value is not None]

    def heads(self, quantity: str, row: int | None = None) -> list[tuple[float, int, int]]:
        """(value, layer, head) of every head, the largest first; of one row, or of the newest that has the quantity."""
        values = self.latest(quantity) if row is None else (self.measures[row].get("values") or {}).get(quantity) or {}
        found = []
        for layer, heads in enumerate(values.get("attn") or (), start=1):
            found += [(v, layer, head) for head, v in enumerate(heads or (), start=1) if is_number(v)]
        return sorted(found, key=lambda each: -each[0])

    def layers(self, quantity: str) -> Iterator[tuple[str, int, float]]:
        """(node, layer from 1, value) wherever there is one."""
        yield from layers_of(self.latest(quantity))

    def layers_after(self, step: int, quantity: str) -> Iterator[tuple[int, str, int, float]]:
        """(step, node, layer from 1, value) of every row after this step."""
        for row in self.measures:
            if row.get("step", 0) > step:
                for node, layer, value in layers_of((row.get("values") or {}).get(quantity) or {}):
                    yield row["step"], node, layer, value

    # How well it does.

    @cached_property
    def smoothed(self) -> list[tuple[int, float]]:
        """(step, training loss) as an exponential average that is unbiased at its start."""
        found, total, weights = [], 0.0, 0.0
        for row in self.progress:
            if is_number(row.get("loss")):
                total, weights = SMOOTH * total + row["loss"], SMOOTH * weights + 1
                found.append((row["step"], total / weights))
        return found

    @cached_property
    def curve(self) -> list[Level]:
        """The losses on the held-out sample."""
        rows = [row for row in self.validation if not row.get("whole") and is_number(row.get("loss"))]
        return [Level(row["loss"], row["error"] if is_number(row.get("error")) else 0.0, row["step"]) for row in rows]

    @cached_property
    def level(self) -> Level | None:
        """How well it does now: on held-out data, or in training where it has not been judged for long."""
        judged = self.curve[-1] if self.curve else None
        if judged is not None and judged.step >= self.step / 2:
            return judged
        return Level(self.smoothed[-1][1], 0.0, self.smoothed[-1][0]) if self.smoothed else judged

    def line(self, name: str) -> float | None:
        """A reference line of its data: chance, unigram, bigram, trigram; or the floor."""
        facts = self.facts or {}
        found = facts.get("floor") if name == "floor" else (facts.get("lines") or {}).get(name)
        if name == "chance" and not is_number(found):
            return math.log(self.config.model.vocab_size) if self.config.model.vocab_size else None
        return found if is_number(found) else None

    def is_below(self, name: str) -> bool | None:
        """Whether it does clearly better than a reference line; None where that cannot be known."""
        line, level = self.line(name), self.level
        if line is None or level is None:
            return None
        return level.loss < line - max(CLOSE_SHARE * line, CLOSE_ERRORS * level.error)

    @property
    def is_initial(self) -> bool:
        """Whether what is measured is still the initial state: it does no better than the frequencies of tokens, and is within its
        warm-up or the first twentieth of the run, whichever ends later."""
        train, last = self.config.train, self.progress[-1] if self.progress else {}
        if train.max_steps is not None:
            is_early = self.step <= EARLY_SHARE * train.max_steps
        else:
            is_early = train.max_seconds is not None and last.get("seconds", 0.0) <= EARLY_SHARE * train.max_seconds
        frequencies = "unigram" if self.line("unigram") is not None else "chance"
        return (is_early or self.step <= self.config.optim.warmup_steps) and not self.is_below(frequencies)

    @cached_property
    def spikes(self) -> list[Spike]:
        """Points of the training loss that lie above all of the ones before by much more than those scatter."""
        rows = [(row["step"], row["loss"]) for row in self.progress if is_number(row.get("loss"))]
        found = []
        for i in range(BEFORE_SPIKE, len(rows)):
            before = [loss for _, loss in rows[i - BEFORE_SPIKE : i]]
            usual = median(before)
            scatter = median(abs(loss - usual) for loss in before) / 0.6745  # the standard deviation of a bell curve
            step, loss = rows[i]
            if loss > max(before) and loss - usual > max(SPIKE_NATS, SPIKE_DEVIATIONS * scatter):
                found.append(Spike(step, usual, loss))
        return found

    def recent(self, n: int) -> Level | None:
        """The mean training loss over the last n points with its standard error; None with fewer."""
        losses = [row["loss"] for row in self.progress[-n:] if is_number(row.get("loss"))]
        if len(losses) < n:
            return None
        return Level(fmean(losses), pstdev(losses) / math.sqrt(n), self.progress[-1]["step"])


def layers_of(nodes: Mapping[str, Sequence]) -> Iterator[tuple[str, int, float]]:
    """(node, layer from 1, value) wherever there is one."""
    for node, values in nodes.items():
        for layer, value in enumerate(values or (), start=1):
            if is_number(value):
                yield node, layer, value


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _at(values: Mapping[str, Sequence], node: str, layer: int) -> float | None:
    found = values.get(node) or ()
    return found[layer] if layer < len(found) and is_number(found[layer]) else None

"""At which steps a run is looked at and judged: by its config and data alone, so that all runs of a config can be compared step by step,
on whatever machine they train. What it costs is counted in closed form and kept to a share of the training. Imports no torch.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from models.config import flops_per_token
from playground.config.run import CompleteRun

MAX_PROBE_TOKENS = 64
MAX_INDUCTION, INDUCTION_SEQUENCES = 16, 20  # tokens that are repeated, and how often that is tried
# Of the FLOPs of training. What is looked at is small, and computed at about half the speed of a training batch: in time the
# first two take about twice as much.
PROBE_SHARE, READ_SHARE, VALIDATION_SHARE = 0.01, 0.005, 0.03
CHANGED_POSITIONS = 8  # one after the other, to see where a sublayer's output changes
POSITIONS = 4096  # of held-out data, at which linear probes and lenses read the stream
# Points of the held-out curve of a run: so many at least, but for fewer than so many steps from one to the next, and so many at most.
FEWEST_POINTS, NEAREST, MOST_POINTS = 10, 50, 1000
FIRST_READ = 100
EARLY = (1, 2, 5)  # and ten times as many, and so on: most changes at the start
TRAINING_PASSES, PROBE_PASSES = 3, 6  # in forward passes: a step; a probe of one text with its gradients and their two ways


@dataclass(frozen=True)
class Looks:
    """Steps between two probes, between two of them that also read the stream, and between two points of the held-out curve; `last` is
    the last step where it is known."""

    every: int
    read_every: int
    judged_every: int
    last: int | None

    def probed(self, step: int) -> bool:
        """Whether the model is probed after this step."""
        return step % self.every == 0 or step == self.last or _is_early(step)

    def read(self, step: int) -> bool:
        """Whether the probe after this step also tells what held-out data show: what probes and lenses read, what moves."""
        early = step == FIRST_READ and (self.last is None or self.last >= 10 * FIRST_READ)  # in a short run it would cost too much
        return early or step in (0, self.last) or step % self.read_every == 0

    def judged(self, step: int) -> bool:
        """Whether the held-out sample is scored after this step."""
        return step > 0 and (step % self.judged_every == 0 or step == self.last)

    def next_probe(self, step: int) -> int | None:
        """The first step after this one that is probed; None where the run ends before."""
        early = next(digit * 10**power for power in itertools.count() for digit in EARLY if digit * 10**power > step)
        found = min((step // self.every + 1) * self.every, early)
        if self.last is None:
            return found
        return min(found, self.last) if step < self.last else None


def looks(config: CompleteRun, n_validated: int = 0, n_together: int = 1) -> Looks:
    """The schedule of a run in whose validations `n_validated` tokens go through the model. Of runs that train `n_together` as one
    stacked model each is looked at by itself, while the steps of all take little longer than those of one: their probes are rarer."""
    train, probe = config.train, config.probe
    step_flops = TRAINING_PASSES * flops_per_token(config.model) * config.tokens_per_step
    probe_steps = math.ceil(n_together * probe_flops(config) / (PROBE_SHARE * step_flops))
    read_steps = math.ceil(n_together * reading_flops(config) / (READ_SHARE * step_flops))
    judge_steps = math.ceil(n_validated * flops_per_token(config.model) / (VALIDATION_SHARE * step_flops))
    every = _multiple(probe.interval, probe_steps)
    return Looks(
        every=every,
        read_every=_multiple(every, read_steps),
        judged_every=_judged_every(train.eval_interval, judge_steps, train.max_steps),
        last=train.max_steps,
    )


def probe_flops(config: CompleteRun) -> int:
    """Of one probe: the text with its gradients, the sequences by which induction is scored, the text read out after each layer."""
    model = config.model
    tokens = min(MAX_PROBE_TOKENS, model.block_size)
    repeated = INDUCTION_SEQUENCES * min(2 * MAX_INDUCTION, model.block_size) if model.has_attention else 0
    return (PROBE_PASSES * tokens + repeated) * flops_per_token(model) + 2 * tokens * model.n_layer * model.n_embd * model.vocab_size


def reading_flops(config: CompleteRun) -> int:
    """Of reading the stream at the embedding and after each layer: a forward pass, and at each place two linear probes; of a text also
    two lenses, one of which is fitted twice, on half of the positions each time. And of the sublayers with their inputs changed."""
    model, C = config.model, config.model.n_embd
    probe = 2 * (POSITIONS * C * (C + model.vocab_size) + C**3)
    lenses = 0 if config.data.is_task else 2 * (2 * POSITIONS * C * model.vocab_size + 3 * POSITIONS * C * C + 2 * C**3)
    changed = (2 + CHANGED_POSITIONS) * min(MAX_PROBE_TOKENS, model.block_size)
    return (POSITIONS + changed) * flops_per_token(model) + (model.n_layer + 1) * (2 * probe + lenses)


def _is_early(step: int) -> bool:
    if step == 0:
        return True
    digits = str(step)
    return int(digits[0]) in EARLY and not digits[1:].strip("0")


def _multiple(interval: int, at_least: int) -> int:
    return interval * max(1, math.ceil(at_least / interval))


def _judged_every(interval: int, at_least: int, max_steps: int | None) -> int:
    """As many steps between two points as was asked for, or as they cost; but few enough that the run has points to see."""
    if max_steps is None:
        return _multiple(interval, max(at_least, NEAREST))
    wanted = _multiple(interval, max(at_least, math.ceil(max_steps / MOST_POINTS)))
    most = max(NEAREST, max_steps // FEWEST_POINTS)
    return most if interval > most else min(wanted, most // interval * interval)

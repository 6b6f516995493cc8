"""What is computed from checkpoints for visitors: probes of any text, ablations, the worth of parts, one token changed.

Each is an errand with a place in line. Equal questions share one, nobody waits for it without a limit, and one that nobody asks for
any more ends with its current turn. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

from playground.runs import lookup
from playground.runs.access import Visitor
from playground.runs.store import Run
from playground.web.computing import Computing
from playground.web.errands import PATIENCE_S, Errands, Report

AT_ONCE, AT_MOST, EACH = 3, 16, 3  # at work: two of one address, so that a long look doesn't hold up all others of a room, and one more
UNHEARD_S = 15.0  # a page asks again every second; browsers slow the clocks of pages that are hidden
NOUN = "questions about models are being answered"
PROGRAM_PATIENCE_S = 20.0  # an endpoint of the API answers once; whoever asks again joins

T = TypeVar("T")


class Looking:
    """The looks into models of one app. Visitors without a key count as one."""

    def __init__(self, root: Path, computing: Computing, unheard_s: float = UNHEARD_S):
        self.root, self.computing = root, computing
        self.line = Errands(AT_ONCE, AT_MOST, each=EACH, unheard_s=unheard_s, noun=NOUN)

    def probe(self, run: Run, step: int, text: str, visitor: Visitor, patience_s: float = PATIENCE_S) -> lookup.Measured:
        """The probe of a text at a checkpoint, and its step. Raises Underway, TooManyErrands, and as `lookup.computed`."""
        compute = lambda turn, report: turn(lambda: lookup.computed(self.root, run.id, step, text))  # noqa: E731
        return self._answer(("probe", run.id, run.generation, step, text), compute, visitor, patience_s)

    def ablation(self, run: Run, step: int, off: str, text: str, by: str, visitor: Visitor, patience_s: float = PATIENCE_S) -> dict:
        """The ablation of the parts `off` of a checkpoint. Raises ConfigError, Underway, TooManyErrands, and as `lookup.ablate`."""
        by = lookup.parse_by(by)
        compute = lambda turn, report: lookup.ablate(self.root, run.id, step, off, text, by, turn)  # noqa: E731
        return self._answer(("ablate", run.id, run.generation, step, off, text, by), compute, visitor, patience_s)

    def worth(self, run: Run, step: int, text: str, by: str, visitor: Visitor) -> dict:
        """What each part of a checkpoint is worth. Raises ConfigError, Underway, TooManyErrands, and as `lookup.worth`."""
        by = lookup.parse_by(by)
        compute = lambda turn, report: lookup.worth(self.root, run.id, step, text, by, turn, report)  # noqa: E731
        return self._answer(("worth", run.id, run.generation, step, text, by), compute, visitor, PATIENCE_S)

    def patch(
        self, run: Run, step: int, position: int, token: str, text: str, where: str, visitor: Visitor, patience_s: float = PATIENCE_S
    ) -> dict:
        """What changes if a token of a text is another, and what restores it. Raises ConfigError, Underway, TooManyErrands, and as
        `lookup.patch`."""
        asked = step, position, token, text, lookup.parse_where(where)
        compute = lambda turn, report: lookup.patch(self.root, run.id, *asked, turn, report)  # noqa: E731
        return self._answer(("patch", run.id, run.generation, *asked), compute, visitor, patience_s)

    def _answer(self, key: Hashable, compute: Callable[[lookup.Turn, Report], T], visitor: Visitor, patience_s: float) -> T:
        def do(report: Report) -> T:
            said: list[Any] = [None, "computing"]

            def say(share: float | None, words: str) -> None:
                said[:] = share, words
                report(share, words)

            def turn(do: Callable[[], Any]) -> Any:
                report(*said)  # ends the errand where nobody listens any more
                return self.computing.run(do)

            return compute(turn, say)

        return self.line.answer(key, do, visitor.id, visitor.address, patience_s)

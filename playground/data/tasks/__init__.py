"""Synthetic tasks: data made from a definition, on which architectures differ and whose best loss is known.

Imports no torch.
"""

from __future__ import annotations

from dataclasses import replace

from playground.data.tasks.base import Examples, Params, Sizes, Task
from playground.data.tasks.chains import InContextBigram, Markov
from playground.data.tasks.counting import Addition, Majority, ModularAddition, Parity
from playground.data.tasks.lookup import Induction, Recall
from playground.data.tasks.rewriting import Copy, Dyck, Reverse, SelectiveCopy, Sort

__all__ = ["MIN_DIFFERENT", "PREFIX", "TASKS", "Examples", "Params", "Sizes", "Task", "named", "problem", "reading", "to_raise"]

PREFIX = "task:"
MIN_DIFFERENT = 300

TASKS: dict[str, Task] = {
    PREFIX + kind.name: kind()
    for kind in (
        Copy, Reverse, Sort, SelectiveCopy, Induction, Recall, Addition, ModularAddition, Parity, Majority, Dyck, Markov, InContextBigram,
    )
}  # fmt: skip


def reading(knob: str) -> tuple[str, ...]:
    """The sources of all tasks that read a knob."""
    return tuple(source for source, task in TASKS.items() if knob in task.knobs)


def named(source: str) -> Task | None:
    """The task of a data source, None where it is a text."""
    return TASKS.get(source)


def to_raise(task: Task, p: Params) -> str:
    """The knobs that make for more different examples when they are raised, by two since a majority needs an odd length."""
    raised = {knob: replace(p, **{knob: getattr(p, knob) + 2}) for knob in task.knobs}
    return " or ".join(knob for knob, q in raised.items() if task.problem(q) is None and task.n_different(q) > task.n_different(p))


def problem(task: Task, p: Params) -> str | None:
    """Why these settings cannot be used, also because too few different examples exist to hold some out."""
    wrong = task.problem(p)
    if wrong is None and task.n_different(p) < MIN_DIFFERENT:
        return (
            f"with these settings there are only {task.n_different(p):,} different examples, too few to hold some out; "
            f"at least {MIN_DIFFERENT} are needed, so raise {to_raise(task, p)}"
        )
    return wrong

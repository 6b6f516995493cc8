"""DataConfig: which text or task a run learns from, and how it is cut into tokens. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import partial
from typing import Literal

from models.knobs import Knobs, Needs, knob
from playground.data import tasks
from playground.data.hub import HUB

TEXTS = {
    "tiny-tales": "Tiny Tales",
    "python-docs": "Python documentation",
    "python-stdlib": "Python standard library, source",
    "tiny-shakespeare": "Tiny Shakespeare (from the Hugging Face Hub)",
    "tiny-stories": "TinyStories, a slice (from the Hugging Face Hub)",
}
SOURCES = {**TEXTS, **{source: f"Task: {task.title.lower()}" for source, task in tasks.TASKS.items()}}
UPLOAD = re.compile(r"upload:([0-9a-f]{64})")

DATA, TASK = "Data", "Task"


def source_is_known(source: str) -> str | None:
    if source in SOURCES or UPLOAD.fullmatch(source) or HUB.fullmatch(source):
        return None
    known = f"one of {', '.join(SOURCES)}, hub:OWNER/NAME:PATH of a public dataset"
    return f"{source[:80]!r} is not a data source; use {known}, or upload or paste a text"


def task_is_possible(
    source: str, length: int, alphabet: int, digits: int, reverse_sum: bool, modulus: int, brackets: int, pairs: int, blanks: int,
    order: int, seed: int,
) -> str | None:  # fmt: skip
    task = tasks.named(source)
    params = tasks.Params(
        length=length, alphabet=alphabet, digits=digits, reverse_sum=reverse_sum, modulus=modulus, brackets=brackets, pairs=pairs,
        blanks=blanks, order=order, seed=seed,
    )  # fmt: skip
    return None if task is None else tasks.problem(task, params)


def task_has_its_tokens(tokenizer: str, source: str) -> str | None:
    if tokenizer != "char" and source in tasks.TASKS:
        return f"a task brings its own tokens, so {tokenizer} has no effect; set it to char"
    return None


def reads(name: str) -> Needs:
    """The condition of a knob of tasks: the source is a task that reads it."""
    return Needs("source", partial(tasks.reading, name))


class DataConfig(Knobs, frozen=True):
    """Which text or task, and how it is cut into tokens. About a tenth is held out and never trained on."""

    RULES = (source_is_known, task_is_possible, task_has_its_tokens)

    source: str = knob(
        "tiny-tales", max_length=200, open=True, group=DATA, label="data",
        help="What to learn from: a text, or a task. A part is held out to measure how well the model does on what it has not seen.",
        choice_labels=SOURCES,
    )  # fmt: skip
    tokenizer: Literal["char", "byte", "bpe"] = knob(
        "char", group=DATA, label="tokenizer",
        help="char: one token per character that occurs in the text. byte: one per UTF-8 byte, 256 in all. "
        "bpe: frequent neighbours are merged into longer tokens, learnt from the training part.",
        paper="Sennrich et al. 2015, arXiv:1508.07909 (BPE)",
        choice_labels={"char": "characters", "byte": "bytes", "bpe": "byte pair encoding (BPE)"},
    )  # fmt: skip
    bpe_vocab: int = knob(
        1000, ge=257, le=65_536, slider=(300, 8000), step=100, group=DATA, label="BPE vocabulary", unit="tokens",
        help="How many different tokens are learnt: the 256 bytes, and merges of what occurs together most often.",
        needs=Needs("tokenizer", ("bpe",)),
    )  # fmt: skip
    seed: int = knob(
        0, ge=0, le=2**31 - 1, group=DATA, label="data seed", needs=Needs("source", lambda: ("tiny-tales", *tasks.TASKS)),
        help="Seed of the random numbers that stories and tasks are made from. Another one gives other examples of the same kind.",
    )  # fmt: skip
    share: float = knob(
        1.0, gt=0, le=1, slider=(0.01, 1), step=0.01, group=DATA, label="share to train on", unit="of the training part",
        help="Less than 1: only the beginning of a text's training part is trained on, or only so many of a task's different examples, "
        "chosen at random. What is held out stays the same, and so do the tokens, so that losses can be compared.",
        paper="Power et al. 2022, arXiv:2201.02177",
    )  # fmt: skip
    scored: Literal["answer", "all"] = knob(
        "answer", group=TASK, label="loss on", needs=Needs("source", lambda: tuple(tasks.TASKS)),
        help="The loss counts only the tokens of the answer, or every token of the example, also those drawn at random.",
        choice_labels={"answer": "the answer", "all": "everything"},
    )  # fmt: skip
    length: int = knob(
        10, ge=2, le=256, slider=(2, 64), step=1, group=TASK, label="length", unit="symbols", needs=reads("length"),
        help="The longest prompt, or the length of the text. Shorter prompts occur too; longer ones are tested.",
    )  # fmt: skip
    alphabet: int = knob(
        10, ge=2, le=52, slider=(2, 52), step=1, group=TASK, label="alphabet", unit="different symbols", needs=reads("alphabet"),
        help="How many symbols there are to choose from.",
    )  # fmt: skip
    pairs: int = knob(
        5, ge=2, le=26, slider=(2, 26), step=1, group=TASK, label="pairs", unit="keys with a value, at most", needs=reads("pairs"),
        help="How many keys with their values the prompt holds at most.",
    )  # fmt: skip
    blanks: int = knob(
        10, ge=1, le=128, slider=(1, 64), step=1, group=TASK, label="blanks", unit="symbols to skip", needs=reads("blanks"),
        help="How many blanks lie between the symbols.",
    )  # fmt: skip
    digits: int = knob(
        3, ge=2, le=18, slider=(2, 9), step=1, group=TASK, label="digits", unit="at most, in each number", needs=reads("digits"),
        help="Size of the numbers to add. Longer ones are tested.",
    )  # fmt: skip
    reverse_sum: bool = knob(
        True, group=TASK, label="sum last digit first", needs=reads("reverse_sum"),
        help="Carries run from the last digit to the first; in this order each digit follows from those already written.",
    )  # fmt: skip
    modulus: int = knob(
        31, ge=18, le=251, slider=(18, 127), step=1, group=TASK, label="modulus", needs=reads("modulus"),
        help="How many numbers there are; sums start over at 0 beyond the last.",
    )  # fmt: skip
    brackets: int = knob(
        2, ge=1, le=8, slider=(1, 8), step=1, group=TASK, label="kinds of brackets", needs=reads("brackets"),
        help="With more than one kind it is not enough to count.",
    )  # fmt: skip
    order: int = knob(
        1, ge=1, le=6, slider=(1, 6), step=1, group=TASK, label="order", unit="symbols back", needs=reads("order"),
        help="How many of the last symbols decide on the next.",
    )  # fmt: skip
    fingerprint: str | None = knob(None, max_length=64, hidden=True, label="fingerprint", help="Of the text: sha256, its first 16 digits.")

    @property
    def task(self) -> tasks.Task | None:
        return tasks.named(self.source)

    @property
    def is_task(self) -> bool:
        return self.task is not None

    @property
    def longest(self) -> int | None:
        """Tokens of the longest example of a task; None for a text, whose windows can be of any length."""
        return None if self.task is None else self.task.longest(self.params)

    @property
    def params(self) -> tasks.Params:
        """The settings that tasks read."""
        return tasks.Params(**{field.name: getattr(self, field.name) for field in fields(tasks.Params)})

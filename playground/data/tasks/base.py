"""What a synthetic task is: examples drawn from a definition, so that the best possible loss is known.

Knows nothing of models and texts. Shapes: N examples, L tokens of the longest.
"""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

LETTERS = string.ascii_lowercase + string.ascii_uppercase
ASK, END = ">", "."


@dataclass(frozen=True)
class Params:
    """The knobs of `DataConfig` that tasks read; each task reads a few."""

    length: int = 10
    alphabet: int = 10
    digits: int = 3
    reverse_sum: bool = True
    modulus: int = 31
    brackets: int = 2
    pairs: int = 5
    blanks: int = 10
    order: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """Row i is `tokens[i, :ends[i]]`; its answer is `tokens[i, starts[i]:ends[i]]`, or every `Task.stride`-th of these.

    `tokens` (N, L) ids; `nats` (N, L): -log p of each token given those before it, by the task's definition;
    `sure` (N, L): in the answer, the probability of the likeliest token there, so how often the best guess is right.
    """

    tokens: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    nats: np.ndarray
    sure: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows) -> Examples:
        return Examples(self.tokens[rows], self.starts[rows], self.ends[rows], self.nats[rows], self.sure[rows])


@dataclass(frozen=True)
class Sizes:
    """In how many `unit`s the examples of a task are measured: `shortest` to `longest` are trained on,
    and up to `testable` can be tested."""

    unit: str
    shortest: int
    longest: int
    testable: int


class Task(ABC):
    """One task. `knobs` are the fields of `Params` that it reads; `about` says what it needs of an
    architecture and what solves it, `paper` who found that; `exact`: the answer follows from the prompt."""

    name: ClassVar[str]
    title: ClassVar[str]
    rule: ClassVar[str]
    about: ClassVar[str]
    paper: ClassVar[str]
    knobs: ClassVar[tuple[str, ...]]
    exact: ClassVar[bool] = True
    stride: ClassVar[int] = 1  # 2: questions and answers in turn

    @abstractmethod
    def vocabulary(self, p: Params) -> tuple[str, ...]:
        """What each id stands for."""

    @abstractmethod
    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        """`n` examples; with `size` all of that many units."""

    @abstractmethod
    def n_different(self, p: Params) -> int:
        """How many different examples exist."""

    @abstractmethod
    def longest(self, p: Params, size: int | None = None) -> int:
        """Tokens of the longest example, or of one of `size` units."""

    def sizes(self, p: Params) -> Sizes | None:
        """None where all examples are of one size."""
        return None

    def has_size(self, size: int) -> bool:
        """Whether examples of this size exist."""
        return size >= 1

    def problem(self, p: Params) -> str | None:
        """What is wrong with these settings, and the nearest ones that work; None where nothing is."""
        return None


def answered(drawn: Examples, stride: int) -> np.ndarray:
    """(N, L) bool: the tokens of the answers."""
    beyond = np.arange(drawn.tokens.shape[1]) - drawn.starts[:, None]
    return (beyond >= 0) & (beyond % stride == 0) & (np.arange(drawn.tokens.shape[1]) < drawn.ends[:, None])


def scored(drawn: Examples, stride: int, which: str) -> np.ndarray:
    """(N, L) which tokens the loss counts: those of the answer, or all but the first, which is never predicted."""
    if which == "answer":
        return answered(drawn, stride)
    places = np.arange(drawn.tokens.shape[1])
    return (places >= 1) & (places < drawn.ends[:, None])


def join(*parts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Rows side by side: each part is (values (N, W), how many of them count (N,)); the rest is zeros."""
    width = sum(values.shape[1] for values, _ in parts)
    joined = np.zeros((len(parts[0][0]), width), dtype=np.result_type(*(values for values, _ in parts)))
    offset = np.zeros(len(joined), dtype=np.int64)
    for values, counts in parts:
        rows, columns = np.nonzero(np.arange(values.shape[1]) < counts[:, None])
        joined[rows, offset[rows] + columns] = values[rows, columns]
        offset += counts
    return joined


def column(value: int | float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A part for `join`: the same single value in all n rows."""
    return np.full((n, 1), value), np.ones(n, dtype=np.int64)


def surprise(p: np.ndarray | float) -> np.ndarray:
    """-log p, in nats; 0 and not -0 where p is 1."""
    return -np.log(p) + 0.0


def stopping(allowed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """For a size drawn evenly from `allowed` and read unit by unit: -log of the chance to go on and to stop
    after j units, both (max + 1,); what cannot happen is infinite."""
    sizes = np.array(sorted(allowed))
    units = np.arange(sizes[-1] + 1)
    left = (sizes >= units[:, None]).sum(1)
    stops = np.isin(units, sizes) / left
    with np.errstate(divide="ignore"):
        return surprise(1 - stops), surprise(stops)


def sizes_of(rng: np.random.Generator, n: int, allowed: Sequence[int], size: int | None) -> np.ndarray:
    """(n,) sizes, drawn evenly or all the same."""
    return rng.choice(np.array(allowed), n) if size is None else np.full(n, size)


def prompted(
    p_symbols: tuple[np.ndarray, np.ndarray], counts: np.ndarray, allowed: Sequence[int], ask: int, answer: tuple[np.ndarray, np.ndarray]
) -> Examples:
    """A prompt of `counts` symbols, the symbol ASK, and the answer that follows from them.

    `p_symbols`: the symbols (N, P) and the -log p of each, the chance that the prompt ends left out.
    """
    symbols, nats = p_symbols
    n, width = symbols.shape
    allowed = sorted({*allowed, *counts.tolist()}) if len(counts) else list(allowed)
    go, stop = stopping(allowed)
    index = np.arange(width)
    with np.errstate(invalid="ignore"):
        prompt_nats = nats + np.where(index < counts[:, None], go[np.minimum(index, len(go) - 1)], 0)
    one = np.ones(n, dtype=np.int64)
    tokens = join((symbols, counts), column(ask, n), answer)
    nats = join((prompt_nats, counts), (stop[counts][:, None], one), (np.zeros(answer[0].shape), answer[1]))
    starts = counts + 1
    return Examples(tokens, starts, starts + answer[1], nats, np.ones(tokens.shape))

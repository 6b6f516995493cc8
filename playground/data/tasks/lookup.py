"""Tasks that look something up in the prompt: induction and associative recall."""

from __future__ import annotations

from math import perm

import numpy as np

from playground.data.tasks.base import ASK, LETTERS, Examples, Params, Sizes, Task, column, join, sizes_of, stopping, surprise


def distinct(rng: np.random.Generator, n: int, count: int, alphabet: int) -> np.ndarray:
    """(n, count) symbols, no two in a row the same."""
    return rng.random((n, alphabet)).argsort(axis=1)[:, :count]


class Induction(Task):
    """Between half of `length` and `length` different symbols, and then the same again until 2 x `length` tokens are full.

    When the repetition begins cannot be known; from its second symbol on everything follows. With more than `length` symbols
    there are twice as many tokens.
    """

    name, title = "induction", "Induction"
    rule = "A random sequence repeats: go on as it went the first time."
    about = (
        "An induction head: a previous-token head marks each symbol with the one before it; a second head, in a later layer, looks for "
        "the mark of the present symbol and copies what it finds. This takes two layers of attention, or one and a half where keys are "
        "shifted by one place. One layer knows which symbols occurred, not what followed them."
    )
    paper = "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits; Olsson et al. 2022, arXiv:2209.11895"
    knobs = ("length", "alphabet")

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return tuple(LETTERS[: p.alphabet])

    def _periods(self, p: Params) -> range:
        return range(max(2, p.length // 2), p.length + 1)

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        width = max(p.length, size or 0)
        counts = sizes_of(rng, n, self._periods(p), size)
        symbols = distinct(rng, n, width, p.alphabet)
        places = np.arange(2 * width)
        tokens = np.take_along_axis(symbols, places % counts[:, None], axis=1)
        go, stop = stopping(sorted({*self._periods(p), width}))
        new = surprise(1 / (p.alphabet - places[:width])) + go[:width]  # the j-th symbol is none of the j before it
        nats = np.where(places < counts[:, None], np.pad(new, (0, width)), 0)
        nats[np.arange(n), counts] = stop[counts]
        return Examples(tokens, counts + 1, np.full(n, 2 * width), nats, np.ones(tokens.shape))

    def n_different(self, p: Params) -> int:
        return sum(perm(p.alphabet, n) for n in self._periods(p))

    def longest(self, p: Params, size: int | None = None) -> int:
        return 2 * max(p.length, size or 0)

    def sizes(self, p: Params) -> Sizes:
        return Sizes("symbols", self._periods(p).start, p.length, min(p.alphabet, 2 * p.length))

    def problem(self, p: Params) -> str | None:
        if p.alphabet < p.length:
            larger = f"alphabet={p.length} or more, or " if p.length <= len(LETTERS) else ""
            fewer = f"length={p.alphabet} or less"
            return f"the {p.length} symbols are all different, so an alphabet of {p.alphabet} is too small; use {larger}{fewer}"
        return None


class Recall(Task):
    """`aQbRcT>bRaQcT`: up to `pairs` different keys in small letters, each with a value in a capital; then every key again,
    in a random order, each with its value. The values of the second part are the answer.
    """

    name, title = "recall", "Associative recall"
    rule = "Which value stood behind this key? Every key is asked for once, in any order."
    about = (
        "A lookup by key: a previous-token head marks each value with the key before it, and a head in a second layer finds the mark of "
        "the key that is asked for. As with induction two layers are enough; one layer sees which values there are, but not whose they are."
    )
    paper = "Ba et al. 2016, arXiv:1610.06258; Arora et al. 2023, arXiv:2312.04927"
    knobs = ("pairs", "alphabet")
    stride = 2

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return (*LETTERS[: p.alphabet], *LETTERS[26 : 26 + p.alphabet], ASK)

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        width, A = size or p.pairs, p.alphabet
        counts = sizes_of(rng, n, range(1, p.pairs + 1), size)
        inside = np.arange(width) < counts[:, None]
        keys, values = distinct(rng, n, width, A), rng.integers(A, 2 * A, (n, width))
        order = np.where(inside, rng.random((n, width)), 2.0).argsort(axis=1)  # those asked for first, in any order
        asked, answers = np.take_along_axis(keys, order, 1), np.take_along_axis(values, order, 1)
        tokens = join((_paired(keys, values), 2 * counts), column(2 * A, n), (_paired(asked, answers), 2 * counts))
        go, stop = stopping(sorted({*range(1, p.pairs + 1), width}))
        key_nats = surprise(1 / (A - np.arange(width))) + go[:width]  # none of the keys before it
        asked_nats = surprise(1 / (counts[:, None] - np.arange(width)).clip(min=1))  # one of those that are left
        told = _paired(np.broadcast_to(key_nats, (n, width)), np.full((n, width), surprise(1 / A)))
        ends = stop[counts][:, None], np.ones(n, dtype=np.int64)
        nats = join((told, 2 * counts), ends, (_paired(asked_nats, np.zeros((n, width))), 2 * counts))
        return Examples(tokens, 2 * counts + 2, 4 * counts + 1, nats, np.ones(tokens.shape))

    def n_different(self, p: Params) -> int:
        return sum(perm(p.alphabet, m) * p.alphabet**m * perm(m) for m in range(1, p.pairs + 1))

    def longest(self, p: Params, size: int | None = None) -> int:
        return 4 * (size or p.pairs) + 1

    def sizes(self, p: Params) -> Sizes:
        return Sizes("pairs", 1, p.pairs, min(p.alphabet, 2 * p.pairs))

    def problem(self, p: Params) -> str | None:
        if p.alphabet > 26:
            return f"keys are small letters and values capitals, so alphabet={p.alphabet} is too many; use at most 26"
        if p.alphabet < p.pairs:
            return f"the {p.pairs} keys are all different, so an alphabet of {p.alphabet} is too small; use alphabet={p.pairs} or more"
        return None


def _paired(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N, W) and (N, W) in turn, (N, 2 W)."""
    return np.stack([left, right], axis=2).reshape(len(left), -1)

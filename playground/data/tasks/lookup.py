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
        "What came after this symbol the last time? One head notes for each symbol which one stood before it, a second head in a later "
        "layer looks for the note that names the present symbol and copies: two layers of attention, or one and a half where keys are "
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
    """`aQbRaQ>b` and the answer `R`: up to `pairs` keys in small letters, each with its value in a capital.

    Keys are drawn evenly and may come again, always with the same value; the values of different keys are independent.
    The key that is asked for is that of an evenly drawn pair.
    """

    name, title = "recall", "Associative recall"
    rule = "Which value stood behind this key?"
    about = (
        "The value that stands behind the key that is asked for: one head marks each value with the key before it, a head in a second "
        "layer finds the mark. As with induction two layers are enough; one layer sees which values there are, but not whose they are. "
        "With the loss on everything, keys that come again teach it sooner."
    )
    paper = "Ba et al. 2016, arXiv:1610.06258; Arora et al. 2023, arXiv:2312.04927"
    knobs = ("pairs", "alphabet")

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return (*LETTERS[: p.alphabet], *LETTERS[26 : 26 + p.alphabet], ASK)

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        width, A, rows = size or p.pairs, p.alphabet, np.arange(n)
        counts = sizes_of(rng, n, range(1, p.pairs + 1), size)
        keys, table = rng.integers(0, A, (n, width)), rng.integers(A, 2 * A, (n, A))
        values = np.take_along_axis(table, keys, 1)
        known, new = np.zeros((n, A), dtype=bool), np.ones((n, width), dtype=bool)
        for j in range(width):
            new[:, j] = ~known[rows, keys[:, j]]
            known[rows, keys[:, j]] = True
        asked = rng.integers(0, counts)[:, None]
        query, answer = np.take_along_axis(keys, asked, 1), np.take_along_axis(values, asked, 1)
        times = ((keys == query) & (np.arange(width) < counts[:, None])).sum(1)
        one = np.ones(n, dtype=np.int64)
        tokens = join((_paired(keys, values), 2 * counts), column(2 * A, n), (query, one), (answer, one))
        go, stop = stopping(sorted({*range(1, p.pairs + 1), width}))
        key_nats = np.broadcast_to(surprise(1 / A) + go[:width], (n, width))
        pair_nats = _paired(key_nats, np.where(new, surprise(1 / A), 0))
        query_nats = surprise(times / counts)[:, None]
        nats = join((pair_nats, 2 * counts), (stop[counts][:, None], one), (query_nats, one), (np.zeros((n, 1)), one))
        starts = 2 * counts + 2
        return Examples(tokens, starts, starts + 1, nats, np.ones(tokens.shape))

    def n_different(self, p: Params) -> int:
        """By the number of pairs and of different keys among them: ways to place the keys, their values, the key asked for."""
        total, ways = 0, {0: 1}  # ways[d]: sequences of keys with d different ones
        for _ in range(p.pairs):
            after: dict[int, int] = {}
            for d, count in ways.items():
                after[d] = after.get(d, 0) + count * d
                after[d + 1] = after.get(d + 1, 0) + count * (p.alphabet - d)
            ways = after
            total += sum(count * p.alphabet**d * d for d, count in ways.items())
        return total

    def longest(self, p: Params, size: int | None = None) -> int:
        return 2 * (size or p.pairs) + 3

    def sizes(self, p: Params) -> Sizes:
        return Sizes("pairs", 1, p.pairs, 2 * p.pairs)

    def problem(self, p: Params) -> str | None:
        if p.alphabet > 26:
            return f"keys are small letters and values capitals, so alphabet={p.alphabet} is too many; use at most 26"
        return None


def _paired(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N, W) and (N, W) in turn, (N, 2 W)."""
    return np.stack([left, right], axis=2).reshape(len(left), -1)

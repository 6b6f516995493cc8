"""Tasks that write the symbols of the prompt again: copy, reverse, sort, selective copy, closing brackets."""

from __future__ import annotations

from math import comb

import numpy as np

from playground.data.tasks.base import ASK, END, LETTERS, Examples, Params, Sizes, Task, column, join, prompted, surprise


class Rewriting(Task):
    """`symbols > the same symbols in another order .`, with 1 to `length` symbols drawn evenly and independently."""

    knobs = ("length", "alphabet")

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return (*LETTERS[: p.alphabet], ASK, END)

    def rewrite(self, symbols: np.ndarray, counts: np.ndarray) -> np.ndarray:  # (N, P), (N,) -> (N, P)
        raise NotImplementedError

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        counts = rng.integers(1, p.length + 1, n) if size is None else np.full(n, size)
        symbols = rng.integers(0, p.alphabet, (n, size or p.length))
        answer = join((self.rewrite(symbols, counts), counts), column(p.alphabet + 1, n))
        nats = np.full(symbols.shape, surprise(1 / p.alphabet))
        return prompted((symbols, nats), counts, range(1, p.length + 1), p.alphabet, (answer, counts + 1))

    def n_different(self, p: Params) -> int:
        return sum(p.alphabet**n for n in range(1, p.length + 1))

    def longest(self, p: Params, size: int | None = None) -> int:
        return 2 * (size or p.length) + 2

    def sizes(self, p: Params) -> Sizes:
        return Sizes("symbols", 1, p.length, 2 * p.length)


class Copy(Rewriting):
    name, title = "copy", "Copy"
    rule = "Write the symbols again, in the same order."
    about = (
        "Each symbol of the answer must be fetched from its own place, so the model has to know order: positions, or two layers of "
        "attention that follow a symbol to its successor. One layer of attention without positions sees an unordered bag of "
        "symbols, and cannot. Learned positions do not carry over to prompts longer than those trained on."
    )
    paper = "Graves et al. 2014, arXiv:1410.5401; Haviv et al. 2022, arXiv:2203.16634"

    def rewrite(self, symbols: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return symbols


class Reverse(Rewriting):
    name, title = "reverse", "Reverse"
    rule = "Write the symbols again, last first."
    about = (
        "The i-th symbol of the answer sits i places before the symbol that asks: the model must count from there, which takes "
        "positions and a second layer (or a map from position to position that is learnt for every length). Without positions, "
        "one layer of attention cannot tell the order at all."
    )
    paper = "Graves et al. 2014, arXiv:1410.5401; Weiss et al. 2021, arXiv:2106.06981"

    def rewrite(self, symbols: np.ndarray, counts: np.ndarray) -> np.ndarray:
        places = (counts[:, None] - 1 - np.arange(symbols.shape[1])).clip(min=0)
        return np.take_along_axis(symbols, places, axis=1)


class Sort(Rewriting):
    name, title = "sort", "Sort"
    rule = "Write the symbols again, in alphabetical order."
    about = (
        "The answer depends on how often each symbol occurs, not on where: attention that counts, and an MLP that picks the next "
        "symbol in order. Positions are not needed in the prompt. Without attention the model cannot look at the prompt at all."
    )
    paper = "Weiss et al. 2021, arXiv:2106.06981"

    def rewrite(self, symbols: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return np.sort(np.where(np.arange(symbols.shape[1]) < counts[:, None], symbols, np.iinfo(symbols.dtype).max), axis=1)


class SelectiveCopy(Task):
    """`length` symbols at random places among `blanks` blanks, then the symbols without the blanks."""

    name, title = "selective-copy", "Selective copy"
    rule = "Write the symbols again without the blanks between them."
    about = (
        "As copy, but where each symbol sits depends on the input: fixed offsets do not help, so a model needs attention that "
        "chooses by content and counts how many symbols came before. Two layers can; one layer without positions cannot."
    )
    paper = "Jing et al. 2019, arXiv:1706.02761; Gu and Dao 2023, arXiv:2312.00752"
    knobs = ("length", "alphabet", "blanks")

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return (*LETTERS[: p.alphabet], "-", ASK)

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        length = size or p.length
        total = length + p.blanks
        held = rng.random((n, total)).argsort(axis=1) < length  # an even choice of `length` places
        symbols = rng.integers(0, p.alphabet, (n, total))
        order = (~held).argsort(axis=1, kind="stable")[:, :length]
        left, places = length - (held.cumsum(1) - held), total - np.arange(total)
        nats = surprise(np.where(held, left / places / p.alphabet, 1 - left / places))
        tokens = np.hstack([np.where(held, symbols, p.alphabet), np.full((n, 1), p.alphabet + 1), np.take_along_axis(symbols, order, 1)])
        nats = np.hstack([nats, np.zeros((n, 1 + length))])
        starts = np.full(n, total + 1)
        return Examples(tokens, starts, starts + length, nats, np.ones(tokens.shape))

    def n_different(self, p: Params) -> int:
        return comb(p.length + p.blanks, p.length) * p.alphabet**p.length

    def longest(self, p: Params, size: int | None = None) -> int:
        return 2 * (size or p.length) + p.blanks + 1

    def sizes(self, p: Params) -> Sizes:
        return Sizes("symbols", p.length, p.length, 2 * p.length)


class Dyck(Task):
    """Brackets opened and closed correctly, some left open; the answer closes them, innermost first.

    With nothing open a bracket opens; else it is an even chance whether one opens or the innermost closes.
    """

    name, title = "dyck", "Brackets (Dyck)"
    rule = "Close the brackets that are still open, innermost first."
    about = (
        "Which bracket comes next depends on the innermost one still open, however far back: a stack. Two layers of attention with "
        "positions keep track of it to a bounded depth; a model that only sees the last symbol can guess the kind at best."
    )
    paper = "Yao et al. 2021, arXiv:2105.11115"
    knobs = ("length", "brackets")
    KINDS = "()[]{}⟨⟩«»‹›⌈⌉⌊⌋"

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return (*self.KINDS[: 2 * p.brackets : 2], *self.KINDS[1 : 2 * p.brackets : 2], ASK, END)

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        width, k = size or p.length, p.brackets
        counts = rng.integers(1, width + 1, n) if size is None else np.full(n, size)
        symbols, nats = np.zeros((n, width), dtype=np.int64), np.zeros((n, width))
        stack, depth, rows = np.zeros((n, width + 1), dtype=np.int64), np.zeros(n, dtype=np.int64), np.arange(n)
        for j in range(width):
            opens = (depth == 0) | (rng.random(n) < 0.5)
            kinds = np.where(opens, rng.integers(0, k, n), stack[rows, (depth - 1).clip(min=0)])
            symbols[:, j] = np.where(opens, kinds, k + kinds)
            nats[:, j] = surprise(np.where(depth == 0, 1 / k, np.where(opens, 0.5 / k, 0.5)))
            here = j < counts  # a prompt that has ended keeps its stack
            stack[rows[here & opens], depth[here & opens]] = kinds[here & opens]
            depth += np.where(here, np.where(opens, 1, -1), 0)
        places = (depth[:, None] - 1 - np.arange(width)).clip(min=0)
        answer = join((k + np.take_along_axis(stack, places, axis=1), depth), column(2 * k + 1, n))
        return prompted((symbols, nats), counts, range(1, p.length + 1), 2 * k, (answer, depth + 1))

    def n_different(self, p: Params) -> int:
        """Prefixes of correct bracket words by number of symbols, counted by depth."""
        total, at_depth = 0, {0: 1}
        for _ in range(p.length):
            after: dict[int, int] = {}
            for depth, ways in at_depth.items():
                after[depth + 1] = after.get(depth + 1, 0) + ways * p.brackets
                if depth:
                    after[depth - 1] = after.get(depth - 1, 0) + ways
            at_depth = after
            total += sum(at_depth.values())
        return total

    def longest(self, p: Params, size: int | None = None) -> int:
        return 2 * (size or p.length) + 2

    def sizes(self, p: Params) -> Sizes:
        return Sizes("brackets", 1, p.length, 2 * p.length)

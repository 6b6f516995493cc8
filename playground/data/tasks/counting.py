"""Tasks that calculate: addition, modular addition, parity, majority."""

from __future__ import annotations

import numpy as np

from playground.data.tasks.base import ASK, Examples, Params, Sizes, Task, column, join, prompted, sizes_of, stopping, surprise


class Addition(Task):
    """`12+07=019`: two numbers of 1 to `digits` digits each, as many in both, and one digit more in the sum."""

    name, title = "addition", "Addition"
    rule = "Add the two numbers; the sum has one digit more, and may be written last digit first."
    about = (
        "Written first digit first, the first digit of the sum depends on every carry below it; written last digit first, each digit "
        "needs two digits and the carry just made, so a small model learns it far sooner. It takes positions to find the two digits: "
        "two layers with positions can, one layer without cannot. Sums longer than those trained on fail with learned positions."
    )
    paper = "Nogueira et al. 2021, arXiv:2102.13019; Lee et al. 2023, arXiv:2307.03381"
    knobs = ("digits", "reverse_sum")

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return (*"0123456789", "+", "=")

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        width = size or p.digits
        counts = sizes_of(rng, n, range(1, p.digits + 1), size)
        # Last digit first, so that numbers of different lengths line up; zeros beyond a number's digits.
        inside = np.arange(width) < counts[:, None]
        first, second = (rng.integers(0, 10, (n, width)) * inside for _ in range(2))
        total, carry = np.zeros((n, width + 1), dtype=np.int64), np.zeros(n, dtype=np.int64)
        for j in range(width):
            carry, total[:, j] = np.divmod(first[:, j] + second[:, j] + carry, 10)
            total[np.arange(n), j + 1] = carry  # overwritten where another digit follows
        answer = total if p.reverse_sum else backwards(total, counts + 1)
        go, stop = stopping(sorted({*range(1, p.digits + 1), width}))
        digit, one = surprise(0.1), np.ones(n, dtype=np.int64)
        tokens = join(
            (backwards(first, counts), counts), column(10, n), (backwards(second, counts), counts), column(11, n), (answer, counts + 1)
        )
        first_nats, second_nats = np.broadcast_to(digit + go[:width], (n, width)), np.full((n, width), digit)
        follows = np.zeros((n, width + 2)), counts + 2
        nats = join((first_nats, counts), (stop[counts][:, None], one), (second_nats, counts), follows)
        starts = 2 * counts + 2
        return Examples(tokens, starts, starts + counts + 1, nats, np.ones(tokens.shape))

    def n_different(self, p: Params) -> int:
        return sum(100**n for n in range(1, p.digits + 1))

    def longest(self, p: Params, size: int | None = None) -> int:
        return 3 * (size or p.digits) + 3

    def sizes(self, p: Params) -> Sizes:
        return Sizes("digits", 1, p.digits, 2 * p.digits)


def backwards(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The first `counts` of each row in the other order."""
    return np.take_along_axis(values, (counts[:, None] - 1 - np.arange(values.shape[1])).clip(min=0), axis=1)


class ModularAddition(Task):
    """`17 + 25 = 11`: one token per number, the sum modulo `modulus`."""

    name, title = "modular-addition", "Modular addition"
    rule = "Add the two numbers; the result is what is left over after division by the modulus."
    about = (
        "Numbers are mere tokens here: the model has to find out that they lie on a circle. One layer with an MLP learns it (the trained "
        "weights hold sines and cosines), at first by heart, and on pairs it has not seen often much later (grokking; weight decay "
        "helps). A model without attention sees only the sign before the answer."
    )
    paper = "Power et al. 2022, arXiv:2201.02177; Nanda et al. 2023, arXiv:2301.05217"
    knobs = ("modulus",)

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return (*map(str, range(p.modulus)), "+", "=")

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        first, second = rng.integers(0, p.modulus, (2, n))
        plus, equals = np.full(n, p.modulus), np.full(n, p.modulus + 1)
        tokens = np.stack([first, plus, second, equals, (first + second) % p.modulus], axis=1)
        number = float(surprise(1 / p.modulus))
        nats = np.tile([number, 0, number, 0, 0], (n, 1))
        return Examples(tokens, np.full(n, 4), np.full(n, 5), nats, np.ones(tokens.shape))

    def n_different(self, p: Params) -> int:
        return p.modulus**2

    def longest(self, p: Params, size: int | None = None) -> int:
        return 5


class Counting(Task):
    """`0110 > one symbol`, with a number of bits drawn evenly from `allowed`."""

    knobs = ("length",)

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return ("0", "1", ASK)

    def allowed(self, p: Params) -> range:
        return range(1, p.length + 1)

    def judge(self, ones: np.ndarray, counts: np.ndarray) -> np.ndarray:  # (N,), (N,) -> (N,)
        raise NotImplementedError

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        counts = sizes_of(rng, n, self.allowed(p), size)
        bits = rng.integers(0, 2, (n, size or max(self.allowed(p))))
        ones = (bits * (np.arange(bits.shape[1]) < counts[:, None])).sum(1)
        answer = self.judge(ones, counts)[:, None].astype(np.int64)
        nats = np.full(bits.shape, surprise(0.5))
        return prompted((bits, nats), counts, self.allowed(p), 2, (answer, np.ones(n, dtype=np.int64)))

    def n_different(self, p: Params) -> int:
        return sum(2**n for n in self.allowed(p))

    def longest(self, p: Params, size: int | None = None) -> int:
        return (size or max(self.allowed(p))) + 2

    def sizes(self, p: Params) -> Sizes:
        return Sizes("bits", min(self.allowed(p)), max(self.allowed(p)), 2 * max(self.allowed(p)))


class Parity(Counting):
    name, title = "parity", "Parity"
    rule = "Is the number of ones odd (1) or even (0)?"
    about = (
        "The classical hard case: every single bit flips the answer, but soft attention is an average, in which one bit weighs less the "
        "longer the prompt is. Attention that counts the ones and an MLP that tells odd from even manage short prompts; without an MLP "
        "nothing tells them apart. Longer prompts than those trained on fail."
    )
    paper = "Hahn 2020, arXiv:1906.06755; Chiang and Cholak 2022, arXiv:2202.12172"

    def judge(self, ones: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return ones % 2


class Majority(Counting):
    """Always an odd number of bits, so that there is a majority."""

    name, title = "majority", "Majority"
    rule = "Are there more ones (1) or more zeros (0)?"
    about = (
        "One head that looks at everything evenly computes the share of ones, and that is the answer: one layer of attention, no "
        "positions, no MLP. Where attention reaches only a few symbols back, or is left out, the model can only guess."
    )
    paper = "Hao et al. 2022, arXiv:2204.06618; Merrill et al. 2022, arXiv:2106.16213"

    def allowed(self, p: Params) -> range:
        return range(1, p.length + 1, 2)

    def judge(self, ones: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return 2 * ones > counts

    def sizes(self, p: Params) -> Sizes:
        longest = max(self.allowed(p))
        return Sizes("bits", 1, longest, 2 * longest + 1)

    def has_size(self, size: int) -> bool:
        return size % 2 == 1

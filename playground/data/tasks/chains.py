"""Tasks whose next symbol is drawn by chance: Markov text, and a bigram to be learnt in context."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from playground.data.tasks.base import LETTERS, Examples, Params, Task, surprise

SPREAD = 0.3  # of the Dirichlet distributions: small, so that a few successors are likely and most are rare
MAX_CONTEXTS = 100_000


class Markov(Task):
    """`length` symbols, each drawn by the `order` before it from one table for all examples; the first ones evenly."""

    name, title = "markov", "Markov text"
    rule = "Each symbol depends on the last few, always by the same table of chances."
    about = (
        "Text with all its structure removed but one: the next symbol depends on the last one (order 1), two or more. A table lookup from "
        "the present symbol is enough for order 1, so a model without attention reaches the floor; each further order needs a head that "
        "fetches one symbol more. The floor is not zero: it is the entropy of the table."
    )
    paper = "Shannon 1948, A Mathematical Theory of Communication; Makkuva et al. 2024, arXiv:2402.04161"
    knobs = ("length", "alphabet", "order")
    exact = False

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return tuple(LETTERS[: p.alphabet])

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        chances = table(p.order, p.alphabet, p.seed)  # (A^order, A)
        tokens = rng.integers(0, p.alphabet, (n, p.length))
        nats, sure = np.full(tokens.shape, surprise(1 / p.alphabet)), np.full(tokens.shape, 1 / p.alphabet)
        weights = p.alphabet ** np.arange(p.order - 1, -1, -1)
        for j in range(p.order, p.length):
            here = chances[tokens[:, j - p.order : j] @ weights]  # (N, A)
            tokens[:, j] = drawn(here, rng)
            nats[:, j] = surprise(here[np.arange(n), tokens[:, j]])
            sure[:, j] = here.max(1)
        return Examples(tokens, np.full(n, p.order), np.full(n, p.length), nats, sure)

    def n_different(self, p: Params) -> int:
        return p.alphabet**p.length

    def longest(self, p: Params, size: int | None = None) -> int:
        return p.length

    def problem(self, p: Params) -> str | None:
        if p.length <= p.order:
            return f"{p.length} symbols leave nothing to predict at order {p.order}; use length={p.order + 1} or more"
        if p.alphabet**p.order > MAX_CONTEXTS:
            largest = int(MAX_CONTEXTS ** (1 / p.order) + 1e-9)
            return f"order {p.order} over {p.alphabet} symbols has {p.alphabet**p.order:,} contexts; use alphabet={largest} or fewer"
        return None


@lru_cache(maxsize=8)
def table(order: int, alphabet: int, seed: int) -> np.ndarray:
    """(A^order, A) chances of the next symbol; each row drawn from a Dirichlet distribution, none zero."""
    rng = np.random.default_rng([seed, order, alphabet])
    weights = rng.gamma(SPREAD, size=(alphabet**order, alphabet)) + 1e-6
    return weights / weights.sum(1, keepdims=True)


def drawn(chances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One symbol per row of (N, A) chances."""
    ladder = chances.cumsum(1)
    return (ladder < rng.random((len(chances), 1)) * ladder[:, -1:]).sum(1)


class InContextBigram(Task):
    """As Markov text of order 1, but every example has a table of its own, drawn from the same Dirichlet distribution.

    The best prediction is the posterior mean: (times that j followed i so far + spread) / (times that i was left + A x spread).
    """

    name, title = "bigram", "In-context bigram"
    rule = "Each symbol depends on the last one, by a table that is new in every example."
    about = (
        "The table cannot be learnt by heart; it has to be estimated from the example itself, by counting what followed this symbol "
        "so far. That is what an induction head does when it averages over all matches: two layers of attention. One layer can only learn "
        "which symbols are frequent in this example."
    )
    paper = "Edelman et al. 2024, arXiv:2402.11004; Bietti et al. 2023, arXiv:2306.00802"
    knobs = ("length", "alphabet")
    exact = False

    def vocabulary(self, p: Params) -> tuple[str, ...]:
        return tuple(LETTERS[: p.alphabet])

    def draw(self, p: Params, rng: np.random.Generator, n: int, size: int | None = None) -> Examples:
        rows, A = np.arange(n), p.alphabet
        tokens = rng.integers(0, A, (n, p.length))
        nats, sure = np.full(tokens.shape, surprise(1 / A)), np.full(tokens.shape, 1 / A)
        seen = np.full((n, A, A), SPREAD)
        for j in range(1, p.length):
            here = seen[rows, tokens[:, j - 1]]  # (N, A)
            here = here / here.sum(1, keepdims=True)
            tokens[:, j] = drawn(here, rng)
            nats[:, j] = surprise(here[rows, tokens[:, j]])
            sure[:, j] = here.max(1)
            seen[rows, tokens[:, j - 1], tokens[:, j]] += 1
        return Examples(tokens, np.full(n, 1), np.full(n, p.length), nats, sure)

    def n_different(self, p: Params) -> int:
        return p.alphabet**p.length

    def longest(self, p: Params, size: int | None = None) -> int:
        return p.length

"""Reference lines: the loss of models that know only how frequent tokens are, alone or after the one or two before them.

N-gram models with interpolated Witten-Bell smoothing (Witten and Bell 1991, IEEE Trans. Inf. Theory 37; Chen and Goodman 1999,
section 2.5), counted on the training part and judged on the held-out one, at the positions that the loss scores. Imports no torch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from playground.data.tasks import Examples

MOST_COUNTED = 4_000_000  # positions, from the beginning: more change little and take seconds


class Positions(NamedTuple):
    """What is predicted, (N,) int64, and the token before it and the one before that; V, the size of the vocabulary, for none."""

    token: np.ndarray
    before: np.ndarray
    earlier: np.ndarray


def of_text(ids: np.ndarray, vocab_size: int) -> Positions:
    """Every token of a text but the first."""
    ids = ids[: MOST_COUNTED + 1].astype(np.int64)
    earlier = np.concatenate([[vocab_size], ids[:-2]])[: max(0, len(ids) - 1)]
    return Positions(ids[1:], ids[:-1], earlier)


def of_examples(drawn: Examples, scored: np.ndarray, vocab_size: int) -> Positions:
    """The `scored` tokens, (N, L) bool, of the examples of a task."""
    padded = np.pad(drawn.tokens.astype(np.int64), ((0, 0), (2, 0)), constant_values=vocab_size)
    return Positions(*(part[scored][:MOST_COUNTED] for part in (padded[:, 2:], padded[:, 1:-1], padded[:, :-2])))


def reference_losses(train: Positions, held_out: Positions, vocab_size: int) -> dict[str, float]:
    """Cross-entropies in nats per token: `chance` of guessing evenly; `unigram`, `bigram` and `trigram` of the models above.
    Of a text too short to have positions in both parts, chance alone."""
    found = {"chance": math.log(vocab_size)}
    if not len(train.token) or not len(held_out.token):
        return found
    V = vocab_size + 1
    chances = np.full(len(held_out.token), 1 / vocab_size)
    orders = {
        "unigram": (np.zeros_like(train.token), np.zeros_like(held_out.token)),
        "bigram": (train.before, held_out.before),
        "trigram": (train.earlier * V + train.before, held_out.earlier * V + held_out.before),
    }
    for name, (seen, asked) in orders.items():
        chances = witten_bell(seen, train.token, asked, held_out.token, chances, V)
        found[name] = float(-np.log(chances).mean())
    return found


def witten_bell(
    contexts: np.ndarray, tokens: np.ndarray, asked: np.ndarray, wanted: np.ndarray, shorter: np.ndarray, V: int
) -> np.ndarray:  # 2 x (N,), 3 x (M,) -> (M,)
    """p(wanted | asked) = (c(h, w) + T(h) p'(w)) / (c(h) + T(h)): how often h was followed by w, by anything, and by how many different
    tokens in the N training positions; p' is what the model of `shorter` contexts says, and all there is where h was never seen."""
    pairs, counts = np.unique(contexts * V + tokens, return_counts=True)
    heads, first, kinds = np.unique(pairs // V, return_index=True, return_counts=True)
    totals = np.add.reduceat(counts, first)
    total, kind = _look_up(heads, totals, asked), _look_up(heads, kinds, asked)
    count = _look_up(pairs, counts, asked * V + wanted)
    return np.where(total > 0, (count + kind * shorter) / np.maximum(1, total + kind), shorter)


def _look_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The values of the asked keys, 0 where there is no such key. `keys` are ascending."""
    places = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
    return np.where(keys[places] == asked, values[places], 0)

"""The held-out sample that a run is judged by while it trains: the same for every run on the same data.

Of a text it is made of passages at fixed places and of fixed length in bytes, so that neither context nor tokenizer changes them. A token
of a passage is predicted in the very window in which the whole split predicts it: the sample is a part of the whole split, and its
loss estimates that of the whole split with a known error. Imports no torch.
"""

from __future__ import annotations

import math

import numpy as np

PASSAGES, PASSAGE_BYTES = 32, 512
EXAMPLES = 256  # of a task
FEW_EXAMPLES = 32  # of a task, of each size, by which a run is judged too
NONE = -1


def passages(n_bytes: np.ndarray) -> np.ndarray:  # (N,) -> (N,)
    """The passage that each of N tokens of these lengths in bytes belongs to, by the byte that it ends with; NONE outside of all. In a
    text that is shorter than all passages together they are as long as they can be."""
    ends = np.cumsum(n_bytes)
    total = int(ends[-1]) if len(ends) else 0
    length = min(PASSAGE_BYTES, total // PASSAGES)
    if length == 0:
        return np.zeros(len(ends), np.int64)
    begins = (2 * np.arange(PASSAGES) + 1) * total // (2 * PASSAGES) - length // 2  # each in the middle of its part of the text
    found = np.searchsorted(begins, ends, side="left") - 1  # the last passage that begins before the token ends
    inside = (found >= 0) & (ends <= begins[found] + length)
    return np.where(inside, found, NONE)


def windows_scored(groups: np.ndarray, width: int) -> np.ndarray:  # (N,) -> (W,)
    """Where the windows of so many tokens begin that predict a token of a group; a rest shorter than a window is left out."""
    n_windows = max(0, len(groups) - 1) // width
    inside = groups[1 : n_windows * width + 1].reshape(n_windows, width) != NONE
    return np.flatnonzero(inside.any(1)) * width


def standard_error(nats: np.ndarray, counts: np.ndarray, n_whole: int) -> float:
    """Of a mean loss over groups of tokens, as an estimate of that over all `n_whole` tokens: `nats` (P,) are the sums of groups,
    `counts` (P,) their tokens. Ratio estimator of cluster samples without replacement (Cochran 1977, chapter 6); NaN with one group.
    """
    here = counts > 0
    nats, counts = nats[here], counts[here]
    n, total = len(counts), counts.sum()
    if total >= n_whole:
        return 0.0
    if n < 2:
        return math.nan
    apart = nats - counts * (nats.sum() / total)
    return float(math.sqrt(n / (n - 1) * np.square(apart).sum() * (1 - total / n_whole)) / total)


def paired_difference(one: np.ndarray, other: np.ndarray, size: float) -> tuple[float, float]:
    """How much larger the loss of another run is on the same groups, and the standard error of that: both runs find the same passages
    hard, so that it is much smaller than that of either loss. `one` and `other` (P,) are their nats by group, `size` what they are
    spread over, such as the tokens of all groups."""
    apart = other - one
    n = len(apart)
    error = math.sqrt(n / (n - 1) * np.square(apart - apart.mean()).sum()) / size if n > 1 else math.nan
    return float(apart.sum() / size), error

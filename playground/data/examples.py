"""The examples of a task, split into a training part and a held-out part. Imports no torch.

Which part an example belongs to is decided by a hash of its tokens, so that no held-out example is ever trained on,
however many are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from playground.data.errors import CorpusError
from playground.data.tasks import Examples, Params, Task, to_raise

TRAIN_TOKENS, TRAIN_EXAMPLES = 2**21, 100_000
HELD_OUT_EXAMPLES, LENGTH_EXAMPLES = 2000, 128
TRIES, CHUNK = 60, 4096
ONE_IN = 10
FINE = 2**32  # parts in which a share is cut


@dataclass(frozen=True)
class TaskSplit:
    """`train`, with repetitions as they come; `held_out` (see `_unseen`); `by_size[n]`: unseen examples of n units."""

    train: Examples
    held_out: Examples
    by_size: dict[int, Examples]


def split(task: Task, p: Params) -> TaskSplit:
    """Draw the examples; the same for the same settings. Raises CorpusError where too few can be held out."""
    rng = np.random.default_rng([p.seed, 1])
    n_train = min(TRAIN_EXAMPLES, TRAIN_TOKENS // task.longest(p))
    train, drawn = [], 0
    while drawn < n_train:
        examples = task.draw(p, rng, CHUNK)
        train.append(examples[~is_held_out(examples)])
        drawn += len(train[-1])
    held_out = _unseen(task, p, rng, HELD_OUT_EXAMPLES)
    different = len(np.unique(held_out.tokens, axis=0))
    if different < 10:
        raise CorpusError(f"only {different} different examples could be held out; raise {to_raise(task, p)}")
    return TaskSplit(_together(train)[slice(n_train)], held_out, _by_size(task, p, rng))


def _by_size(task: Task, p: Params, rng: np.random.Generator) -> dict[int, Examples]:
    """Unseen examples of some eight sizes, from the shortest that has any to the longest that can be tested."""
    sizes = task.sizes(p)
    if sizes is None:
        return {}
    wanted = {sizes.longest, *np.linspace(sizes.shortest, sizes.testable, 9).round().astype(int).tolist()}
    found = {size: _unseen(task, p, rng, LENGTH_EXAMPLES, size) for size in sorted(wanted) if task.has_size(size)}
    return {size: examples for size, examples in found.items() if len(examples)}


def _unseen(task: Task, p: Params, rng: np.random.Generator, count: int, size: int | None = None) -> Examples:
    """Up to `count` examples that are held out. Of an exact task each once, so fewer where there are not so many; of a
    random one as they are drawn, with repetitions, so that likely ones have their weight in the floor."""
    kept: list[Examples] = []
    seen: set[bytes] = set()
    n_kept = 0
    for _ in range(TRIES):
        examples = task.draw(p, rng, CHUNK, size)
        fresh = []
        for row in np.flatnonzero(is_held_out(examples)):
            key = examples.tokens[row, : examples.ends[row]].tobytes()
            if n_kept < count and not (task.exact and key in seen):
                seen.add(key)
                fresh.append(row)
                n_kept += 1
        kept.append(examples[np.array(fresh, dtype=np.int64)])
        if n_kept >= count:
            break
    return _together(kept)


def is_held_out(examples: Examples) -> np.ndarray:
    """(N,) whether each example belongs to the tenth that is never trained on: a hash of its tokens says so."""
    return _hash(examples) % np.uint64(ONE_IN) == 0


def is_in_share(examples: Examples, share: float) -> np.ndarray:
    """(N,) whether each example belongs to a share of all different ones, whatever part it is in. A larger share holds a smaller one."""
    return (_hash(examples) // np.uint64(ONE_IN)) % np.uint64(FINE) < np.uint64(round(share * FINE))


def _hash(examples: Examples) -> np.ndarray:
    """(N,) uint64, of each example's tokens."""
    state = np.zeros(len(examples), dtype=np.uint64)
    for place in range(examples.tokens.shape[1]):
        mixed = _mixed(state + examples.tokens[:, place].astype(np.uint64) + np.uint64(1))
        state = np.where(place < examples.ends, mixed, state)
    return state


def _mixed(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every bit of the result depends on every bit of x."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(1)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _together(parts: list[Examples]) -> Examples:
    """One after the other, padded to the widest."""
    width = max(part.tokens.shape[1] for part in parts)

    def wide(values: np.ndarray) -> np.ndarray:
        return np.pad(values, ((0, 0), (0, width - values.shape[1])))

    return Examples(
        *(np.concatenate([wide(getattr(part, name)) for part in parts]) for name in ("tokens",)),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("starts", "ends")),
        *(np.concatenate([wide(getattr(part, name)) for part in parts]) for name in ("nats", "sure")),
    )

"""Batches for training and validation.

Knows nothing of text and tasks. Shapes: B batch, T time, N tokens of a split or examples of a task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from playground.data.sample import windows_scored

UNSCORED = -100  # the target that cross-entropy leaves out


class Source(ABC):
    """A source of batches: places in the data are drawn on the CPU, what lies there is read on the device. `shape` is that of places."""

    device: torch.device
    shape: tuple[int, ...]

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both (…, B, T) int64; a target that does not count is `UNSCORED`."""
        return self.take(self.places().to(self.device))

    @abstractmethod
    def places(self) -> Tensor:
        """Where the next batch lies: int64, of `shape`, on the CPU."""

    @abstractmethod
    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """What lies at these places, which are on the device."""


class Batches(Source):
    """Random batches of the training data, which is resident on the device. Places are (B, 1), what lies there 2 x (B, T).

    The places come from a CPU generator of its own, so that they do not depend on the device
    or on anything else that draws random numbers. `state` restores the position exactly.
    """

    def __init__(self, n_places: int, batch_size: int, seed: int, device: torch.device):
        self.n_places, self.shape, self.device = n_places, (batch_size, 1), device
        self.generator = torch.Generator().manual_seed(seed)

    def places(self) -> Tensor:
        return torch.randint(self.n_places, self.shape, generator=self.generator)

    @property
    def state(self) -> Tensor:
        return self.generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self.generator.set_state(state)


class Windows(Batches):
    """Windows at random places of a text of (N,) ids."""

    def __init__(self, ids: np.ndarray, batch_size: int, block_size: int, seed: int, device: torch.device):
        super().__init__(len(ids) - block_size, batch_size, seed, device)
        self.ids = resident(ids, device)  # (N,)
        self.span = torch.arange(block_size + 1, device=device)  # (T + 1,)

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        windows = self.ids[places + self.span].long()  # (B, T + 1)
        return windows[:, :-1], windows[:, 1:]


class Rows(Batches):
    """Whole examples: `tokens` (N, T + 1) and `targets` (N, T)."""

    def __init__(self, tokens: np.ndarray, targets: np.ndarray, batch_size: int, seed: int, device: torch.device):
        super().__init__(len(tokens), batch_size, seed, device)
        self.tokens, self.targets = resident(tokens, device), resident(targets, device)

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        rows = places[:, 0]
        return self.tokens[rows, :-1].long(), self.targets[rows].long()


def resident(numbers: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor: unchanged on a CPU, so that several runs share the memory map; as int32 on other devices, where torch
    cannot index unsigned numbers."""
    tensor = torch.from_numpy(numbers)
    return tensor if device.type == "cpu" else tensor.to(device, torch.int32)


class Several(Source):
    """A batch from each of several sources of one shape, stacked: places (N, B, 1), what lies there 2 x (N, B, T)."""

    def __init__(self, sources: list[Batches]):
        self.sources, self.device, self.shape = sources, sources[0].device, (len(sources), *sources[0].shape)

    def places(self) -> Tensor:
        return torch.stack([source.places() for source in self.sources])

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = zip(*(source.take(each) for source, each in zip(self.sources, places, strict=True)), strict=True)
        return torch.stack(inputs), torch.stack(targets)


class Chunk(NamedTuple):
    """Some held-out sequences: `inputs` and `targets` (B, T); `answers` (B, T) bool says where the answer of a task is, `groups` (B, T)
    to which passage or example of the held-out sample each token belongs."""

    inputs: Tensor
    targets: Tensor
    answers: Tensor | None = None
    groups: Tensor | None = None


def windows(ids: np.ndarray, block_size: int, batch_size: int, device: torch.device, groups: np.ndarray | None = None) -> Iterator[Chunk]:
    """Non-overlapping windows in order, (B, T) inputs and targets; a rest shorter than a window is left out.

    With `groups` (N,), only the windows that hold a token of a group, of which alone those tokens are scored.
    """
    every = np.arange(max(0, len(ids) - 1) // block_size) * block_size
    starts = every if groups is None else windows_scored(groups, block_size)
    for first in range(0, len(starts), batch_size):
        places = starts[first : first + batch_size, None] + np.arange(block_size + 1)  # (B, T + 1)
        tokens = ids[places].astype(np.int64)
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        if groups is None:
            yield Chunk(*_on(device, inputs, targets))
        else:
            of = groups[places[:, 1:]].astype(np.int64)
            inputs, targets, of = _on(device, inputs, np.where(of >= 0, targets, UNSCORED), of)
            yield Chunk(inputs, targets, groups=of)


def _on(device: torch.device, *arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]


def targets_of(tokens: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """(N, T) int16 targets for (N, T + 1) examples, of which the `scored` tokens (N, T + 1) count."""
    return np.where(scored[:, 1:], tokens[:, 1:].astype(np.int16), np.int16(UNSCORED))

"""Batches of windows for training and validation.

Knows nothing of text. Shapes: B batch, T time (block_size), N tokens of a split.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


class Batches:
    """Windows at random places of the training split; resident on the device.

    The places come from a CPU generator of its own, so that they do not depend on the device
    or on anything else that draws random numbers. `state` restores the position exactly.
    """

    def __init__(self, ids: np.ndarray, batch_size: int, block_size: int, seed: int, device: torch.device):
        self.ids = torch.from_numpy(ids).to(device)  # (N,)
        self.batch_size, self.device = batch_size, device
        self.span = torch.arange(block_size + 1, device=device)  # (T + 1,)
        self.generator = torch.Generator().manual_seed(seed)

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both (B, T) int64."""
        starts = torch.randint(len(self.ids) - len(self.span) + 1, (self.batch_size, 1), generator=self.generator)
        windows = self.ids[starts.to(self.device) + self.span].long()  # (B, T + 1)
        return windows[:, :-1], windows[:, 1:]

    @property
    def state(self) -> Tensor:
        return self.generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self.generator.set_state(state)


def windows(
    ids: np.ndarray, block_size: int, batch_size: int, device: torch.device, at_most: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Non-overlapping windows in order, (B, T) inputs and targets; a rest shorter than a window is left out.

    `at_most` takes that many of them, spread evenly from one end to the other.
    """
    n_windows = (len(ids) - 1) // block_size
    count = n_windows if at_most is None else min(at_most, n_windows)
    starts = (2 * np.arange(count) + 1) * n_windows // (2 * max(1, count)) * block_size  # (N,): the middle of each of `count` equal parts
    for first in range(0, count, batch_size):
        places = starts[first : first + batch_size, None] + np.arange(block_size + 1)  # (B, T + 1)
        chunk = torch.from_numpy(ids[places].astype(np.int64)).to(device)
        yield chunk[:, :-1], chunk[:, 1:]

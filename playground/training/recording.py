"""A whole training step on a GPU as one CUDA graph: forward, backward, clipping and the optimiser, launched at once.

A small model's step is hundreds of kernels of a few microseconds, and launching them one by one takes longer than they
run. Knows nothing of what a step computes, but that it always does the same with the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from playground.data.batches import Batches

WARM_UP_STEPS = 3


class Recording:
    """A step that is played again. `update(batch)` takes the step, asking `batch(i)` for the i-th of `accumulation` batches.

    Recording executes nothing; raises RuntimeError where something cannot be recorded, such as reading a number back.
    """

    def __init__(self, update: Callable, batches: Batches, accumulation: int):
        self.batches = batches
        self.places = torch.zeros(accumulation, batches.batch_size, 1, dtype=torch.int64, device=batches.device)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss, self.norm = update(lambda i: batches.take(self.places[i]))

    def play(self) -> tuple[Tensor, Tensor]:
        """The next step: its loss and gradient norm, on the device."""
        for place in self.places:
            place.copy_(self.batches.places(), non_blocking=True)
        self.graph.replay()
        return self.loss.clone(), self.norm.clone()


@contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """On a GPU in a stream of its own, as steps must be taken before one is recorded; elsewhere as usual."""
    if device.type != "cuda":
        yield
        return
    stream, main = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(main)
    with torch.cuda.stream(stream):
        yield
    main.wait_stream(stream)

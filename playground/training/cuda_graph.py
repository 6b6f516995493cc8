"""A whole training step on a GPU as one CUDA graph: forward, backward, clipping and the optimiser, launched at once.

A small model's step is hundreds of kernels of a few microseconds, and launching them one by one takes longer than they
run. Knows nothing of what a step computes, but that it always does the same with the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from playground.data.batches import Source

WARM_UP_STEPS = 3

Update = Callable[[Callable[[int], tuple[Tensor, Tensor]]], tuple[Tensor, Tensor]]


class Player:
    """Takes a step again and again: `update(batch)` asks `batch(i)` for the i-th of `accumulation` batches, forgets the
    gradients that are there, and gives the loss and the gradient norm. On a GPU the step is recorded after a few and then
    played; `not_recorded` says why it cannot be."""

    def __init__(self, batches: Source, accumulation: int):
        self.batches, self.accumulation = batches, accumulation
        self.recording: Recording | None = None
        self.not_recorded = ""
        self.steps_here = 0  # that were taken kernel by kernel
        self.stream = torch.cuda.Stream(batches.device) if batches.device.type == "cuda" else None

    def take(self, update: Update, watched: bool = False) -> tuple[Tensor, Tensor]:
        """The next step, always by the same update; one that is `watched` by hooks is taken kernel by kernel."""
        recording = None if watched else self._recorded(update)
        if recording is not None:
            return recording.play()
        self.steps_here += 1
        with aside(self.stream):
            return update(lambda _: self.batches.next())

    def _recorded(self, update: Update) -> Recording | None:
        if self.stream is None or self.not_recorded or self.steps_here < WARM_UP_STEPS:
            return None
        if self.recording is None:
            try:
                with torch.cuda.stream(torch.cuda.current_stream(self.batches.device)):  # to which a recording that fails comes back
                    self.recording = Recording(update, self.batches, self.accumulation)
            except RuntimeError as error:
                self.not_recorded = f"steps are taken kernel by kernel, for this one cannot be recorded ({str(error).splitlines()[0]})"
        return self.recording


class Recording:
    """A step that is played again. Recording executes nothing; raises RuntimeError where something cannot be recorded, such
    as reading a number back."""

    def __init__(self, update: Update, batches: Source, accumulation: int):
        self.batches = batches
        self.places = torch.zeros(accumulation, *batches.shape, dtype=torch.int64, device=batches.device)
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
def aside(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """In a stream of its own, as steps must be taken before one is recorded on a GPU; without one as usual."""
    if stream is None:
        yield
        return
    main = torch.cuda.current_stream(stream.device)
    stream.wait_stream(main)
    with torch.cuda.stream(stream):
        yield
    main.wait_stream(stream)

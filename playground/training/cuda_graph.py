"""A training step on a GPU as one CUDA graph: forward, backward, clipping and optimizer, launched at once.

A small model's step is hundreds of kernels of a few microseconds each; launching them one by one takes longer than running
them. Requires that every step does the same work in the same memory; knows nothing else of what a step computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from playground.data.batches import Source
from playground.training.devices import exactly, generator_of

WARM_UP_STEPS = 3

Update = Callable[[Callable[[int], tuple[Tensor, Tensor]]], tuple[Tensor, Tensor]]


class StepRunner:
    """Runs the training step: eager for `WARM_UP_STEPS` steps, then as the replay of a CUDA graph; eager throughout on a CPU.

    `update(batch)` is the step: it asks `batch(i)` for the i-th of `accumulation` batches, discards the old gradients, and
    returns the loss and the gradient norm. `not_captured` is the reason why a step on a GPU stays eager, empty if there is none.
    """

    def __init__(self, batches: Source, accumulation: int):
        self.batches, self.accumulation = batches, accumulation
        self.captured: CapturedStep | None = None
        self.not_captured = ""
        self.eager_steps = 0
        self.stream = torch.cuda.Stream(batches.device) if batches.device.type == "cuda" else None

    def take(self, update: Update, watched: bool = False) -> tuple[Tensor, Tensor]:
        """The next step, always by the same update; eager where hooks watch it, because a replay calls none."""
        with exactly(self.batches.device):
            captured = None if watched else self._captured(update)
            if captured is not None:
                return captured.replay()
            self.eager_steps += 1
            with side_stream(self.stream):
                return update(lambda _: self.batches.next())

    def _captured(self, update: Update) -> CapturedStep | None:
        if self.stream is None or self.not_captured or self.eager_steps < WARM_UP_STEPS:
            return None
        if self.captured is None:
            try:
                with torch.cuda.stream(torch.cuda.current_stream(self.batches.device)):  # restores the stream after a failed capture
                    self.captured = CapturedStep(update, self.batches, self.accumulation)
            except RuntimeError as error:
                # A capture that fails leaves the generator in the middle of it, where eager steps could draw nothing.
                generator = generator_of(self.batches.device)
                generator.graphsafe_set_state(generator.clone_state())
                self.not_captured = f"each kernel is launched by itself: no CUDA graph can be captured ({str(error).splitlines()[0]})"
        return self.captured


class CapturedStep:
    """A step as a CUDA graph. Capturing executes nothing; raises RuntimeError for what cannot be captured, such as reading a
    number back from the device."""

    def __init__(self, update: Update, batches: Source, accumulation: int):
        self.batches = batches
        self.places = torch.zeros(accumulation, *batches.shape, dtype=torch.int64, device=batches.device)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss, self.norm = update(lambda i: batches.take(self.places[i]))

    def replay(self) -> tuple[Tensor, Tensor]:
        """The next step: its loss and gradient norm, on the device."""
        for place in self.places:
            place.copy_(self.batches.places(), non_blocking=True)
        self.graph.replay()
        return self.loss.clone(), self.norm.clone()


@contextmanager
def side_stream(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Run in this stream, as the warm-up before a capture requires; without one, in the current stream."""
    if stream is None:
        yield
        return
    main = torch.cuda.current_stream(stream.device)
    stream.wait_stream(main)
    with torch.cuda.stream(stream):
        yield
    main.wait_stream(stream)

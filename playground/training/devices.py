"""Where and in which precision to compute. Knows nothing of what is computed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from models.knobs import ConfigError, Problem
from models.linear import multiplies_bfloat16


def available_devices() -> list[str]:
    """What this machine has, best first."""
    devices = ["cuda"] if torch.cuda.is_available() else []
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return [*devices, "cpu"]


def choose_device(wanted: str) -> torch.device:
    """Raises ConfigError where the wanted device is not there."""
    devices = available_devices()
    if wanted != "auto" and wanted not in devices:
        raise ConfigError([Problem("train.device", f"this machine has no {wanted}; use auto or {' or '.join(devices)}")])
    return torch.device(devices[0] if wanted == "auto" else wanted)


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """auto: bfloat16 where a GPU or CPU multiplies it natively, float32 elsewhere."""
    if wanted != "auto":
        return getattr(torch, wanted)
    native = {"cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False), "cpu": multiplies_bfloat16}
    return torch.bfloat16 if device.type in native and native[device.type]() else torch.float32


def set_up(device: torch.device) -> None:
    """Choose libraries for a GPU. cuDNN's attention is left out: it prepares a plan for each new shape, which took 60 ms for each
    token that is written, and its steps are no faster than the flash kernel's (H100, torch 2.11)."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # its sums have a fixed order then; read when cuBLAS is first used
        torch.backends.cuda.enable_cudnn_sdp(False)


@contextlib.contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Inside the `with` a GPU computes with kernels that add in a fixed order, so that a resumed run is the undisturbed one to the bit.
    A CPU does so anyway."""
    if device.type != "cuda":
        yield
        return
    torch.use_deterministic_algorithms(True)
    # Every tensor is written before it is read. The module is a class in disguise, which pyright does not see.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def seed_draws(device: torch.device, *numbers: int) -> None:
    """Seed what is drawn on a GPU from now on, such as dropout's masks, by these numbers."""
    generator_of(device).manual_seed(int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()) >> 1)


def generator_of(device: torch.device) -> torch.Generator:
    """The generator that draws on a GPU where no other is named."""
    return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]


class Coming:
    """Numbers on their way from a device to this side: what is queued on the device goes on meanwhile."""

    def __init__(self, numbers: Tensor):
        self._sent = torch.cuda.Event() if numbers.is_cuda else None
        if self._sent is None:
            self._here = numbers
        else:
            self._here = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True).copy_(numbers, non_blocking=True)
            self._sent.record()

    def arrived(self) -> bool:
        return self._sent is None or self._sent.query()

    def read(self) -> list:
        """The numbers, once they have arrived."""
        if self._sent is not None:
            self._sent.synchronize()
        return self._here.tolist()


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Compute matrix products in `dtype`. Does nothing for float32, nor on a CPU: there `accelerate` does it for the linear layers
    alone, because the backward pass of attention took four times as long in bfloat16 as in float32."""
    if dtype == torch.float32 or device.type == "cpu":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread inside the `with`. Generating one token at a time is too little work for several threads: beside other
    processes, waiting for each other, they were measured to take three times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

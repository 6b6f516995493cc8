"""Where and in which precision to compute. Knows nothing of what is computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch

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

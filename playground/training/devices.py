"""Where and in which precision to compute. Knows nothing of what is computed."""

from __future__ import annotations

import contextlib
import ctypes
from contextlib import AbstractContextManager

import torch

from models.knobs import ConfigError, Problem


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
    """auto: bfloat16 where a GPU computes it natively, float32 elsewhere."""
    if wanted == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    return getattr(torch, wanted)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Compute matrix products in `dtype`; nothing to do for float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def keep_memory() -> None:
    """Let the C library keep what one step frees for the next, where it is glibc. Given back to the system and fetched again
    page by page, it was seen to cost up to a tenth of a step. For processes that train and then end."""
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in ((trim_threshold, 2**31 - 1), (top_pad, 2**26), (mmap_threshold, 2**30)):
            mallopt(option, size)

"""Position encodings: one `PositionParts` for each of `choices.POSITIONS`. Knows nothing of attention beyond queries and keys.

Shapes: B batch, T time, H heads, D head dimension, C channels (n_embd).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.config import ModelConfig


class Tables:
    """Constant tables, computed once in float64 and cast to the dtype and device in use.

    They are not in the state dict, because they follow from the config.
    """

    def __init__(self, *tables: Tensor):
        self._exact = tables
        self._cast: dict[tuple, tuple[Tensor, ...]] = {}

    def on(self, like: Tensor) -> tuple[Tensor, ...]:
        """The tables on the device of `like`, in float32 at least."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        key = (dtype, like.device)
        if key not in self._cast:
            self._cast[key] = tuple(table.to(like.device, dtype) for table in self._exact)
        return self._cast[key]


class Rotary(nn.Module):
    """Rotary position embedding (RoPE): rotates the first `rotated` dimensions of queries and keys,
    pair i by the angle position / base^(2i / rotated). Su et al. 2021, arXiv:2104.09864.

    A pair is dimensions i and i + rotated / 2, or two neighbours where `interleaved`.
    """

    def __init__(self, rotated: int, base: float, block_size: int, interleaved: bool):
        super().__init__()
        self.rotated, self.interleaved = rotated, interleaved
        angles = torch.arange(block_size, dtype=torch.float64)[:, None] * frequencies(rotated, base)  # (T, rotated / 2)
        cos, sin, signed = angles.cos(), angles.sin(), -angles.sin()
        if interleaved:
            self.tables = Tables(cos.repeat_interleave(2, dim=-1), torch.stack([signed, sin], dim=-1).flatten(-2))
        else:
            self.tables = Tables(torch.cat([cos, cos], dim=-1), torch.cat([signed, sin], dim=-1))

    def forward(self, x: Tensor, past: int) -> Tensor:  # (B, H, T, D) -> (B, H, T, D)
        cos, sin = (table[past : past + x.size(-2)] for table in self.tables.on(x))  # 2 x (T, rotated), the sine of a pair as (-, +)
        turned, rest = x[..., : self.rotated], x[..., self.rotated :]
        turned = torch.addcmul(turned * cos, self._swapped(turned), sin).to(x.dtype)
        return torch.cat([turned, rest], dim=-1) if rest.size(-1) else turned

    def _swapped(self, x: Tensor) -> Tensor:
        """Each pair (a, b) becomes (b, a)."""
        return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if self.interleaved else x.roll(self.rotated // 2, -1)


class Learned(nn.Embedding):
    """A learned vector per position, added to the embedding. Radford et al. 2018 (GPT-1)."""

    def add(self, x: Tensor, past: int) -> Tensor:  # (B, T, C) -> (B, T, C)
        return x + self(torch.arange(past, past + x.size(1), device=x.device))


class Sinusoidal(nn.Module):
    """Sines and cosines of the position at falling frequencies, added to the embedding. Vaswani et al. 2017."""

    def __init__(self, width: int, block_size: int):
        super().__init__()
        angles = torch.arange(block_size, dtype=torch.float64)[:, None] * frequencies(width, 10_000.0)  # (T, C / 2)
        self.tables = Tables(torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2))

    def add(self, x: Tensor, past: int) -> Tensor:  # (B, T, C) -> (B, T, C)
        (table,) = self.tables.on(x)
        return x + table[past : past + x.size(1)].to(x.dtype)


def frequencies(size: int, base: float) -> Tensor:
    """(size / 2,) float64: base^(-2i / size)."""
    return base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)


def alibi_slopes(n_head: int) -> Tensor:
    """(H,) float64: how much each head's scores fall per token of distance. Press et al. 2021, arXiv:2108.12409."""
    k = 2 ** math.floor(math.log2(n_head))
    slopes = [2 ** (-8 * i / k) for i in range(1, k + 1)]
    slopes += [2 ** (-4 * j / k) for j in range(1, 2 * (n_head - k), 2)]
    return torch.tensor(slopes, dtype=torch.float64)


class Added(Protocol):
    def add(self, x: Tensor, past: int) -> Tensor: ...  # (B, T, C) -> (B, T, C)


@dataclass(frozen=True)
class PositionParts:
    """Where a position encoding enters the model, each part built from the config: `added`, a module whose `add` changes the
    embeddings; `rotary`, a module that rotates queries and keys; `slopes` (H,), by which scores fall per token of distance."""

    added: Callable[[ModelConfig], Added] | None = None
    rotary: Callable[[ModelConfig], nn.Module] | None = None
    slopes: Callable[[ModelConfig], Tensor] | None = None


POSITION_PARTS = {
    "learned": PositionParts(added=lambda config: Learned(config.block_size, config.n_embd)),
    "sinusoidal": PositionParts(added=lambda config: Sinusoidal(config.n_embd, config.block_size)),
    "rope": PositionParts(rotary=lambda config: Rotary(config.rotated, config.rope_base, config.block_size, config.rope_interleaved)),
    "alibi": PositionParts(slopes=lambda config: alibi_slopes(config.n_head)),
    "none": PositionParts(),
}


def build_added(config: ModelConfig) -> Added | None:
    build = POSITION_PARTS[config.position].added
    return None if build is None else build(config)


def build_rotary(config: ModelConfig) -> nn.Module | None:
    build = POSITION_PARTS[config.position].rotary
    return None if build is None else build(config)


def build_slopes(config: ModelConfig) -> Tables | None:
    build = POSITION_PARTS[config.position].slopes
    return None if build is None else Tables(build(config)[:, None, None])

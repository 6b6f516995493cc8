"""One block: attention, then MLP, each in a residual branch.

    pre                  post                 none

    x ──┬── norm ── f    x ──┬── f            x ──┬── f
        └─────(+)───┘        └──(+)──┘            └──(+)──┘
               │                 │                   │
               x               norm ── x             x

Without residuals the line around f is cut: x = f(norm(x)), norm(f(x)) or f(x).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from models.attention import CausalSelfAttention
from models.config import ModelConfig
from models.mlp import MLP
from models.norms import build_norm

if TYPE_CHECKING:
    from models.decoding import LayerCache


class Residual(nn.Module):
    """A sublayer f with its norm and its way around: what comes out is the residual stream."""

    def __init__(self, config: ModelConfig, f: nn.Module):
        super().__init__()
        self.norm = build_norm(config)
        self.f = f
        self.post = config.norm_placement == "post"
        self.residual = config.residual

    def forward(self, x: Tensor, *context) -> Tensor:  # (B, T, C) -> (B, T, C)
        y = self.f(x if self.post else self.norm(x), *context)
        y = x + y if self.residual else y
        return self.norm(y) if self.post else y


class Block(nn.Module):
    """`attn` and `mlp` are residual branches; one that the config leaves out is None."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attn = Residual(config, CausalSelfAttention(config)) if config.has_attention else None
        self.mlp = Residual(config, MLP(config)) if config.has_mlp else None

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:  # (B, T, C) -> (B, T, C)
        if self.attn is not None:
            x = self.attn(x, cache)
        if self.mlp is not None:
            x = self.mlp(x)
        return x

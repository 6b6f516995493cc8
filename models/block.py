"""One block: attention and MLP, each in a residual branch.

    pre             post            sandwich        output          none

    x ─┬─ norm      x ─┬─ f         x ─┬─ norm      x ─┬─ f         x ─┬─ f
       │   │           │  │            │   │           │  │            │  │
       │   f          (+)─┘            │   f           │ norm         (+)─┘
       │   │           │               │   │           │  │            │
      (+)──┘         norm              │  norm        (+)─┘            x
       │               │               │   │           │
       x               x              (+)──┘           x
                                       │
                                       x

Without residuals the line beside f is cut. In a parallel block attention and MLP read the same x:

    x ─┬─ norm ─┬─ attention ─┐
       │        └─ MLP ──────(+)      (two norms: one in front of each)
      (+)─────────────────────┘
"""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor, nn, zeros

from models.attention import CausalSelfAttention
from models.cache import LayerCache
from models.choices import GAINS, PLACEMENTS
from models.config import ModelConfig
from models.mlp import MLP
from models.norms import build_norm

Sublayer = TypeVar("Sublayer", bound=nn.Module)


class Branch(nn.Module, Generic[Sublayer]):
    """A sublayer f with the norms around it; `forward` adds it to the residual stream."""

    def __init__(self, config: ModelConfig, f: Sublayer, own_norm: bool = True):
        super().__init__()
        place, gain = PLACEMENTS[config.norm_placement], GAINS[config.residual_gain]
        self.norm_in = build_norm(config) if place.before and own_norm else nn.Identity()
        self.f = f
        self.norm_out = build_norm(config) if place.output else nn.Identity()
        self.norm_after = build_norm(config) if place.after else nn.Identity()
        self.residual = config.residual
        self.keep = gain.keep(config.n_layer)
        self.gain = nn.Parameter(zeros(())) if gain.learned else None

    def forward(self, x: Tensor, *context) -> Tensor:  # (B, T, C) -> (B, T, C)
        return self.norm_after(self.stream(x, self.change(self.norm_in(x), *context)))

    def change(self, h: Tensor, *context) -> Tensor:
        """f(h) after its output norm and gain; `h` is the input after its norm."""
        y = self.norm_out(self.f(h, *context))
        return y if self.gain is None else self.gain * y

    def stream(self, x: Tensor, change: Tensor) -> Tensor:
        """The residual stream after the addition; only the change where there are no residuals."""
        if not self.residual:
            return change
        return x + change if self.keep == 1.0 else self.keep * x + change


class Block(nn.Module):
    """One transformer block. `attn` and `mlp` are branches; one that the config leaves out is None."""

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.parallel, self.one_norm = config.parallel, config.shared_norm
        self.attn = Branch(config, CausalSelfAttention(config, layer)) if config.has_attention else None
        self.mlp = Branch(config, MLP(config), own_norm=not self.one_norm) if config.has_mlp else None

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:  # (B, T, C) -> (B, T, C)
        attn, mlp = self.attn, self.mlp
        if self.parallel and attn is not None and mlp is not None:
            h = attn.norm_in(x)
            return attn.stream(x, attn.change(h, cache) + mlp.change(h if self.one_norm else mlp.norm_in(x)))
        if attn is not None:
            x = attn(x, cache)
        if mlp is not None:
            x = mlp(x)
        return x

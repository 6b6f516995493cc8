"""Normalisation of each token's vector. Knows nothing of where in a block it is placed.

Shapes: B batch, T time, C channels (n_embd).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn, ones, zeros

from models.config import ModelConfig


class LayerNorm(nn.Module):
    """(x - mean) / std * weight + bias over the last dimension. Ba et al. 2016, arXiv:1607.06450."""

    def __init__(self, width: int, eps: float, gain: bool = True, bias: bool = True):
        super().__init__()
        self.width, self.eps = (width,), eps
        self.weight = nn.Parameter(ones(width)) if gain else None
        self.bias = nn.Parameter(zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        return F.layer_norm(x, self.width, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """x / rms(x) * weight + bias over the last dimension. Zhang and Sennrich 2019, arXiv:1910.07467."""

    def __init__(self, width: int, eps: float, gain: bool = True, bias: bool = False):
        super().__init__()
        self.width, self.eps = (width,), eps
        self.weight = nn.Parameter(ones(width)) if gain else None
        self.bias = nn.Parameter(zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        # Only where both have one dtype does a GPU compute it in one kernel.
        gain = None if self.weight is None else self.weight.to(x.dtype)
        y = F.rms_norm(x, self.width, gain, self.eps)
        return y if self.bias is None else y + self.bias


MODULES = {"layernorm": LayerNorm, "rmsnorm": RMSNorm}  # one for each of `choices.NORMS`: (width, eps, gain, bias) -> module


def build_norm(config: ModelConfig) -> nn.Module:
    """A norm over the residual stream, of the config's kind."""
    return MODULES[config.norm_type](config.n_embd, config.eps, config.has_norm_gain, config.has_norm_bias)

"""Normalisation of each token's vector. Knows nothing of where in a block it is placed.

Shapes: B batch, T time, C channels (n_embd).
"""

import torch.nn.functional as F
from torch import Tensor, nn, ones, zeros

from models.config import ModelConfig


class LayerNorm(nn.Module):
    """(x - mean) / std * weight + bias over the last dimension. Ba et al. 2016, arXiv:1607.06450."""

    def __init__(self, width: int, bias: bool, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(ones(width))
        self.bias = nn.Parameter(zeros(width)) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension. Zhang and Sennrich 2019, arXiv:1910.07467."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def build_norm(config: ModelConfig) -> nn.Module:
    """The norm that the config asks for; `nn.Identity` where it asks for none."""
    if config.norm_placement == "none":
        return nn.Identity()
    if config.norm_type == "rmsnorm":
        return RMSNorm(config.n_embd)
    return LayerNorm(config.n_embd, bias=config.bias)

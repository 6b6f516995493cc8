"""The MLP, applied to each token independently."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.linear import Linear


class ReLU2(nn.Module):
    """max(x, 0) squared. So et al. 2021, arXiv:2109.08668."""

    def forward(self, x: Tensor) -> Tensor:
        return _Squared.apply(x)[0]


class _Squared(torch.autograd.Function):
    """y = max(x, 0)² with a hand-written dy/dx = 2 max(x, 0): autograd through a power and a maximum took ten times as long
    on a CPU."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        positive = F.relu(x)
        return positive * positive, positive

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (dy, _), (positive,) = grad_outputs, ctx.saved_tensors
        return 2 * (dy * positive)


FUNCTIONS = {  # one for each of `choices.ACTIVATIONS` that is not gated
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "relu2": ReLU2,
    "silu": nn.SiLU,
}


def build_activation(config: ModelConfig) -> nn.Module:
    """The MLP's activation function; in a gated MLP, that of the gate."""
    return FUNCTIONS[config.function]()


class MLP(nn.Module):
    """Linear to d_ff, activation, linear back: (B, T, C) -> (B, T, C).

    Gated: the activation of one projection multiplies another. Shazeer 2020, arXiv:2002.05202.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        bias = config.has_mlp_bias
        self.gate = Linear(config.n_embd, config.d_ff, bias=bias) if config.mlp_kind.gated else None
        self.up = Linear(config.n_embd, config.d_ff, bias=bias)
        self.activation = build_activation(config)
        self.proj = Linear(config.d_ff, config.n_embd, bias=bias)
        self.dropout = nn.Dropout(config.p_resid_dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.up(x)) if self.gate is None else self.activation(self.gate(x)) * self.up(x)
        return self.dropout(self.proj(hidden))

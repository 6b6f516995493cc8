"""The MLP: works on each token by itself. Knows nothing of its neighbours."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig


class ReLU2(nn.Module):
    """max(x, 0) squared. So et al. 2021, arXiv:2109.08668."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


ACTIVATIONS = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "relu2": ReLU2,
    "silu": nn.SiLU,
}


class MLP(nn.Module):
    """Linear to d_ff, activation, linear back: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.up = nn.Linear(config.n_embd, config.d_ff, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]()
        self.proj = nn.Linear(config.d_ff, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.proj(self.activation(self.up(x))))

"""Causal self-attention: each token looks back at itself and the tokens before it.

Knows nothing of norms and residuals around it.

Shapes: B batch, T new tokens, S all tokens seen (S = T without a cache), H heads,
D head dimension, C channels (H * D).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig

if TYPE_CHECKING:
    from models.decoding import LayerCache


class Attend(nn.Module):
    """softmax(q k^T / sqrt(D)) v under a causal mask, computed by a fused kernel.

    A module of its own, so that a forward hook sees exactly the queries and keys
    from which `attention_weights` computes the map that the kernel never writes out.
    """

    def __init__(self, dropout: float):
        super().__init__()
        self.dropout = dropout

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # (B, H, T, D), 2 x (B, H, S, D) -> (B, H, T, D)
        dropout = self.dropout if self.training else 0.0
        new, seen = q.size(-2), k.size(-2)
        if new == seen:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        mask = causal_mask(new, seen, q.device) if new > 1 else None
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


class CausalSelfAttention(nn.Module):
    """H heads of attention, concatenated and projected. Vaswani et al. 2017, arXiv:1706.03762.

    One fused matrix computes queries, keys and values; per-head matrices stacked row by row
    give the same function.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.n_head, self.head_dim = config.n_head, config.head_dim
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.has_qkv_bias)
        self.attend = Attend(config.dropout)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:  # (B, T, C) -> (B, T, C)
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # 3 x (B, H, T, D)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, H, S, D)
        y = self.attend(q, k, v)  # (B, H, T, D)
        return self.dropout(self.proj(y.transpose(1, 2).reshape(B, T, C)))


def causal_mask(new: int, seen: int, device: torch.device) -> Tensor:
    """(new, seen) bool: True where the i-th new token may look at the j-th of all tokens."""
    return torch.ones(new, seen, dtype=torch.bool, device=device).tril(seen - new)


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """The attention map itself, (B, H, T, D), (B, H, S, D) -> (B, H, T, S); rows sum to one."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    mask = causal_mask(q.size(-2), k.size(-2), q.device)
    return scores.masked_fill(~mask, -math.inf).softmax(-1)

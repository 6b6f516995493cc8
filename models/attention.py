"""Causal self-attention: each token attends to itself and to the tokens before it.

Knows nothing of the norms and residuals around it.

Shapes: B batch, T new tokens, S all tokens seen (S = T without a cache), H heads, G key and
value heads (H where not grouped), D head dimension, C channels (n_embd).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.cache import LayerCache
from models.choices import QK_NORMS
from models.config import ModelConfig
from models.linear import Linear
from models.norms import RMSNorm
from models.positions import build_rotary, build_slopes


class Attend(nn.Module):
    """Scaled dot-product attention, softmax(scale q k^T + mask) v, by a fused kernel where one can compute it.

    It is a separate module so that a forward hook sees its queries and keys: `weights` computes
    from them the attention map, which the fused kernel never writes out. `fused` is that kernel; whoever computes several
    models at once puts another one in its place.
    """

    fused: Callable[..., Tensor] = staticmethod(F.scaled_dot_product_attention)

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.scale = config.score_scale
        self.dropout, self.softcap, self.window = config.p_attn_dropout, config.attn_softcap, config.window_of(layer)
        self.slopes = build_slopes(config)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # (B, H, T, D), 2 x (B, G, S, D) -> (B, H, T, D)
        k, v = repeat_heads(k, q.size(1)), repeat_heads(v, q.size(1))
        dropout = self.dropout if self.training else 0.0
        if self.softcap is not None:
            return F.dropout(self.weights(q, k), dropout) @ v
        if self.plain(q.size(-2), k.size(-2)):
            return self.fused(q, k, v, is_causal=q.size(-2) > 1, dropout_p=dropout, scale=self.scale)
        return self.fused(q, k, v, attn_mask=self.mask(q, k), dropout_p=dropout, scale=self.scale)

    def plain(self, new: int, seen: int) -> bool:
        """Whether the mask is only causal: all tokens are new, or a single new token sees all of them."""
        return self.slopes is None and (self.window is None or self.window >= seen) and new in (seen, 1)

    def mask(self, q: Tensor, k: Tensor) -> Tensor:
        """The bias added to the scores, (H or 1, T, S) in their dtype: ALiBi's penalty, and -inf where a token may not look."""
        new, seen = q.size(-2), k.size(-2)
        places = torch.arange(seen, device=q.device)
        distance = places[seen - new :, None] - places  # (T, S)
        allowed = distance >= 0 if self.window is None else (distance >= 0) & (distance < self.window)
        bias = torch.zeros(1, new, seen, dtype=q.dtype, device=q.device)
        if self.slopes is not None:
            bias = (-self.slopes.on(q)[0] * distance).to(q.dtype)
        return bias.masked_fill(~allowed, -math.inf)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """The attention map itself, (B, H, T, D), (B, G, S, D) -> (B, H, T, S); rows sum to one."""
        scores = q @ repeat_heads(k, q.size(1)).transpose(-2, -1) * self.scale
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        return (scores + self.mask(q, k)).softmax(-1)


class CausalSelfAttention(nn.Module):
    """H heads of attention, concatenated and projected. Vaswani et al. 2017, arXiv:1706.03762.

    One fused matrix computes queries, keys and values, in this order; per-head matrices stacked
    row by row give the same function. Several query heads may share a key and value head
    (Ainslie et al. 2023, arXiv:2305.13245).
    """

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.n_head, self.n_kv_head, self.head_size = config.n_head, config.kv_heads, config.head_size
        self.parts = [heads * self.head_size for heads in (self.n_head, self.n_kv_head, self.n_kv_head)]  # rows of queries, keys, values
        self.qkv = Linear(config.n_embd, sum(self.parts), bias=config.has_qkv_bias)
        self.per_head = QK_NORMS[config.qk_norm].per_head
        self.q_norm, self.k_norm = self._qk_norm(config, self.n_head), self._qk_norm(config, self.n_kv_head)
        self.rotary = build_rotary(config)
        self.attend = Attend(config, layer)
        self.proj = Linear(self.n_head * self.head_size, config.n_embd, bias=config.has_attn_out_bias)
        self.dropout = nn.Dropout(config.p_resid_dropout)

    @staticmethod
    def _qk_norm(config: ModelConfig, heads: int) -> nn.Module | None:
        kind = QK_NORMS[config.qk_norm]
        return RMSNorm(kind.width(config.head_size, heads), config.eps) if kind.on else None

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:  # (B, T, C) -> (B, T, C)
        B, T, _ = x.shape
        D = self.head_size
        q, k, v = self.qkv(x).split(self.parts, dim=-1)  # (B, T, H * D), 2 x (B, T, G * D)
        if self.q_norm is not None and self.k_norm is not None and not self.per_head:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (part.view(B, T, -1, D).transpose(1, 2) for part in (q, k, v))  # (B, H, T, D), 2 x (B, G, T, D)
        if self.q_norm is not None and self.k_norm is not None and self.per_head:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rotary is not None:
            past = 0 if cache is None else cache.length
            q, k = self.rotary(q, past), self.rotary(k, past)
        if cache is not None:
            k, v = cache.append(k, v)  # 2 x (B, G, S, D)
        y = self.attend(q, k, v)  # (B, H, T, D)
        return self.dropout(self.proj(y.transpose(1, 2).flatten(2)))


def repeat_heads(x: Tensor, n_head: int) -> Tensor:
    """(B, G, S, D) -> (B, H, S, D): each key and value head serves H / G query heads in a row."""
    return x if x.size(1) == n_head else x.repeat_interleave(n_head // x.size(1), dim=1)

"""The KV cache: keys and values kept while decoding, so that each new token costs one step. Knows nothing of how they are computed.

Shapes: B batch, G key and value heads, T new tokens, S all tokens seen, D head dimension.
"""

from __future__ import annotations

from torch import Tensor

from models.config import ModelConfig


class LayerCache:
    """Keys and values that one layer has seen, written into a buffer of full context length."""

    def __init__(self, block_size: int):
        self.block_size = block_size
        self.buffers: tuple[Tensor, Tensor] | None = None  # 2 x (B, G, block_size, D)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:  # 2 x (B, G, T, D) -> 2 x (B, G, S, D)
        if self.buffers is None:
            shape = (*k.shape[:2], self.block_size, k.size(-1))
            self.buffers = k.new_empty(shape), v.new_empty(shape)
        keys, values = self.buffers
        start, self.length = self.length, self.length + k.size(2)
        keys[:, :, start : self.length] = k
        values[:, :, start : self.length] = v
        return keys[:, :, : self.length], values[:, :, : self.length]


class Cache:
    """One `LayerCache` per layer, and how many tokens they hold."""

    def __init__(self, config: ModelConfig):
        self.layers = [LayerCache(config.block_size) for _ in range(config.n_layer)]
        self.length = 0

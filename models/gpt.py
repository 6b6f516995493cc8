"""The GPT: embed, run the blocks, score the next token.

Knows nothing of text, training or files.

Shapes: B batch, T time, C channels (n_embd), V vocabulary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.block import Block
from models.config import ModelConfig
from models.norms import build_norm

if TYPE_CHECKING:
    from models.decoding import Cache


class GPT(nn.Module):
    """A decoder-only transformer. Radford et al. 2019.

    `GPT(config)(idx)` takes (B, T) int64 token ids, T at most `block_size`, and returns
    (B, T, V) logits in the parameters' dtype. Raises ValueError where `vocab_size` is
    missing or the sequence is longer than the context.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        if config.vocab_size is None:
            raise ValueError("vocab_size is not known yet: it comes from the tokenizer")
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd) if config.position == "learned" else None
        self.dropout = nn.Dropout(config.p_embd_dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = build_norm(config) if config.has_final_norm else nn.Identity()
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=config.head_bias)
        if config.tie_weights:
            self.head.weight = self.wte.weight
        initialise(self)

    def forward(self, idx: Tensor, cache: Cache | None = None) -> Tensor:  # (B, T) -> (B, T, V)
        past = 0 if cache is None else cache.length
        if past + idx.size(1) > self.config.block_size:
            raise ValueError(f"{past + idx.size(1)} tokens do not fit into a context of block_size={self.config.block_size}")
        x = self.wte(idx)  # (B, T, C)
        if self.wpe is not None:
            x = x + self.wpe(torch.arange(past, past + idx.size(1), device=idx.device))
        x = self.dropout(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, None if cache is None else cache.layers[layer])
        return self.head(self.norm(x)).to(self.wte.weight.dtype)


def initialise(model: GPT) -> None:
    """Fill the weights as `config.init` says; `pytorch` leaves the library's defaults."""
    config = model.config
    if config.init == "pytorch":
        return
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            last_of_branch = config.init == "gpt2" and name.endswith(".f.proj")
            nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * config.n_layer) if last_of_branch else 0.02)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)

"""The GPT: embed, run the blocks, score the next token.

Knows nothing of text, training or files.

Shapes: B batch, T time, C channels (n_embd), V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from models.block import Block
from models.cache import Cache
from models.choices import GAINS, INITS
from models.config import CompleteModel, ModelConfig, complete
from models.linear import Linear
from models.norms import build_norm
from models.positions import build_added


class GPT(nn.Module):
    """A decoder-only transformer. Radford et al. 2019.

    `GPT(config)(idx)` takes (B, T) int64 token ids, T at most `block_size`, and returns
    (B, T, V) logits in the parameters' dtype. Raises ValueError where `vocab_size` is
    missing or the sequence is longer than the context. Layers that share their weights are
    one block that is run `n_layer` times.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config = complete(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = build_added(config)
        self.embd_norm = build_norm(config) if config.embd_norm else nn.Identity()
        self.dropout = nn.Dropout(config.p_embd_dropout)
        # torch declares no type for what is in a ModuleList
        self.blocks = cast(Sequence[Block], nn.ModuleList(Block(config, layer) for layer in range(config.n_layer)))
        self.norm = build_norm(config) if config.has_final_norm else nn.Identity()
        self.head = Head(config)
        if config.tie_weights:
            self.head.weight = self.wte.weight
        initialise(self)
        if config.share_layers:
            share(self.blocks)

    def forward(self, idx: Tensor, cache: Cache | None = None) -> Tensor:  # (B, T) -> (B, T, V)
        past = 0 if cache is None else cache.length
        if past + idx.size(1) > self.config.block_size:
            raise ValueError(f"{past + idx.size(1)} tokens do not fit into a context of block_size={self.config.block_size}")
        x = self.dropout(self.embd_norm(self.embed(idx, past)))  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, None if cache is None else cache.layers[layer])
        logits = self.head(self.norm(x)).to(self.wte.weight.dtype)
        cap = self.config.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def embed(self, idx: Tensor, past: int) -> Tensor:  # (B, T) -> (B, T, C)
        """Token embeddings, plus position embeddings where the model adds them."""
        x = self.wte(idx)
        if self.config.scale_embedding:
            x = x * self.config.embedding_scale
        return x if self.wpe is None else self.wpe.add(x, past)


class Head(Linear):
    """The scores of the next token, W (m x) + b. The multiplier m is 1 except where the parametrisation scales logits by the width:
    (…, C) -> (…, V)."""

    def __init__(self, config: CompleteModel):
        super().__init__(config.n_embd, config.vocab_size, bias=config.head_bias)
        self.multiplier = config.by_width("logits")

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if self.multiplier == 1.0 else self.multiplier * input)


def share(blocks: Sequence[Block]) -> None:
    """Let every block use the first one's parameters; what differs by layer, such as a window, stays."""
    for block in blocks[1:]:
        for name, module in blocks[0].named_modules():
            for parameter, value in module.named_parameters(recurse=False):
                setattr(block.get_submodule(name), parameter, value)


@torch.no_grad()
def initialise(model: GPT) -> None:
    """Fill the weights as the config says, or leave the library's defaults."""
    config, init = model.config, INITS[model.config.init]
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear | nn.Embedding):
            continue
        last_of_branch = name.endswith(".f.proj")
        if init.normal:
            scaled = init.by_depth and last_of_branch
            std = config.init_std * (config.by_width("hidden_std") if name.startswith("blocks.") else 1)
            nn.init.normal_(module.weight, std=std / (math.sqrt(2 * config.n_layer) if scaled else 1))
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            _settle(module, name, config)
        if last_of_branch and config.init_zero_residual:
            nn.init.zeros_(module.weight)
    shrink = GAINS[config.residual_gain].shrink(config.n_layer)
    if shrink != 1:
        _shrink(model, shrink)


def _settle(module: nn.Linear, name: str, config: CompleteModel) -> None:
    """Give torch's defaults, which fall with the root of the width, the sizes of the parametrisation. A tied head is the embedding,
    whose default does not depend on the width."""
    root = math.sqrt(config.n_embd / config.settled_width)
    if name.startswith("blocks."):
        module.weight.mul_(root * config.by_width("hidden_std"))
    elif not config.tie_weights:
        module.weight.mul_(root)
    if module.bias is not None:
        module.bias.mul_(root)


def _shrink(model: GPT, factor: float) -> None:
    """Scale the initial weights of the value, output and MLP projections. Wang et al. 2022, arXiv:2203.00555."""
    config = model.config
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        if name.endswith((".f.proj", ".f.up", ".f.gate")):
            module.weight *= factor
        elif name.endswith(".f.qkv"):
            module.weight[-config.kv_heads * config.head_size :] *= factor

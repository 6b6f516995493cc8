"""The architecture as data: what is computed, in order, and what flows where. Imports no torch.

One block is written out; it is repeated `n_layer` times. Drawings and tables are made from this.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from models.config import ModelConfig

Kind = Literal["tokens", "embedding", "norm", "attention", "mlp", "add", "head"]


@dataclass(frozen=True)
class Node:
    """One step of the computation. `params` counts one instance, `flops` one token's forward pass;
    `in_block` marks what is repeated."""

    id: str
    kind: Kind
    title: str
    formula: str
    params: int
    flops: int
    in_block: bool


@dataclass(frozen=True)
class Edge:
    """`stream` edges carry the vector from step to step, `residual` edges go around a sublayer."""

    source: str
    target: str
    kind: Literal["stream", "residual"]


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    n_layer: int


def graph(config: ModelConfig) -> Graph:
    """Nodes in the order of computation; needs `vocab_size`."""
    width, vocab = config.n_embd, config.vocab_size
    nodes = [Node("tokens", "tokens", "tokens", "ids of the last tokens", 0, 0, False)]
    learned = config.position == "learned"
    nodes.append(
        Node(
            "embedding", "embedding", "embedding + position" if learned else "embedding",
            "x = E[token] + P[place]" if learned else "x = E[token]", (vocab + learned * config.block_size) * width, 0, False,
        )
    )  # fmt: skip
    bypasses: list[tuple[str, str]] = []
    for sublayer in _sublayers(config):
        _branch(config, sublayer, nodes, bypasses)
    if config.has_final_norm:
        nodes.append(_norm(config, "norm", in_block=False))
    head_params = (not config.tie_weights) * vocab * width + config.head_bias * vocab
    title = "head (shares the embedding)" if config.tie_weights else "head"
    nodes.append(Node("head", "head", title, "scores of the next token = W x", head_params, 2 * width * vocab, False))
    stream = [Edge(a.id, b.id, "stream") for a, b in itertools.pairwise(nodes)]
    return Graph(tuple(nodes), (*stream, *(Edge(a, b, "residual") for a, b in bypasses)), config.n_layer)


def formulas(config: ModelConfig) -> list[str]:
    """The block, one line per sublayer, for exactly this config."""
    name = "LN" if config.norm_type == "layernorm" else "RMSNorm"
    lines = []
    for sublayer in _sublayers(config):
        f = {"attention": "Attn", "mlp": "MLP"}[sublayer.kind]
        inner = f"{f}({name}(x))" if config.norm_placement == "pre" else f"{f}(x)"
        line = f"x + {inner}" if config.residual else inner
        lines.append(f"x = {name}({line})" if config.norm_placement == "post" else f"x = {line}")
    return lines


def _sublayers(config: ModelConfig) -> list[Node]:
    width = config.n_embd
    found = []
    if config.has_attention:
        params = 3 * (width * width + config.has_qkv_bias * width) + width * width + config.bias * width
        flops = 8 * width * width + 4 * config.block_size * width
        heads = f"{config.n_head} head{'s' * (config.n_head > 1)}"
        formula = f"softmax(q k / √{config.head_dim}) v, in {heads} of {config.head_dim}"
        found.append(Node("attn", "attention", f"attention, {heads}", formula, params, flops, True))
    if config.has_mlp:
        params = 2 * width * config.d_ff + config.bias * (config.d_ff + width)
        formula = f"W₂ {config.activation}(W₁ x), {config.d_ff} hidden units"
        found.append(Node("mlp", "mlp", f"MLP, {config.activation}", formula, params, 4 * width * config.d_ff, True))
    return found


def _branch(config: ModelConfig, sublayer: Node, nodes: list[Node], bypasses: list[tuple[str, str]]) -> None:
    """Append one sublayer with its norm and its residual, as `Residual.forward` computes them."""
    source = nodes[-1].id
    norm = _norm(config, f"{sublayer.id}.norm", in_block=True)
    if config.norm_placement == "pre":
        nodes.append(norm)
    nodes.append(sublayer)
    if config.residual:
        nodes.append(Node(f"{sublayer.id}.add", "add", "+", "x + f(x)", 0, 0, True))
        bypasses.append((source, nodes[-1].id))
    if config.norm_placement == "post":
        nodes.append(norm)


def _norm(config: ModelConfig, name: str, in_block: bool) -> Node:
    layer = config.norm_type == "layernorm"
    params = config.n_embd * (1 + (config.bias and layer))
    formula = "(x − mean) / std · gain" if layer else "x / rms · gain"
    return Node(name, "norm", "LayerNorm" if layer else "RMSNorm", formula, params, 0, in_block)

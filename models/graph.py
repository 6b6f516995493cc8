"""The architecture as data: what is computed, in order, and what flows where. Imports no torch.

One block is written out; it is repeated `n_layer` times. Drawings, formulas, tables and the
check against the real modules are made from this.

Shapes: T tokens, C channels (n_embd), V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.choices import ACTIVATIONS, GAINS, NORMS, PLACEMENTS, POSITIONS, QK_NORMS
from models.config import (
    CompleteModel,
    ModelConfig,
    attention_flops,
    attention_params,
    complete,
    mlp_flops,
    mlp_params,
    norm_params,
    position_params,
)

Kind = Literal["tokens", "embedding", "norm", "attention", "mlp", "add", "head"]


@dataclass(frozen=True)
class Node:
    """One step of the computation.

    `module` is its name in the model (with `{layer}` in a block), empty for an addition; shapes are
    those of one sequence; `params` counts one instance, a tied or shared matrix where it is first
    used; `flops` is one token's forward pass; `lane` is 0 on the main line, -1 and 1 beside it.
    """

    id: str
    kind: Kind
    title: str
    formula: str
    module: str
    shape_in: tuple
    shape_out: tuple
    params: int
    flops: int
    in_block: bool
    lane: int = 0


@dataclass(frozen=True)
class Edge:
    """`stream` edges carry the vector from step to step, `residual` edges go around a sublayer."""

    source: str
    target: str
    kind: Literal["stream", "residual"]


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of computation. `n_distinct` blocks have weights of their own."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    n_layer: int
    n_distinct: int


class _Builder:
    """Collects nodes and edges; `at` is where the stream is now."""

    def __init__(self, config: CompleteModel):
        self.config = config
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.at = ""
        self.stream = ("T", config.n_embd)

    def put(self, node: Node, source: str | None = None) -> str:
        source = self.at if source is None else source
        self.nodes.append(node)
        if source:
            self.edges.append(Edge(source, node.id, "stream"))
        self.at = node.id
        return node.id

    def norm(self, name: str, module: str, in_block: bool = True, lane: int = 0, source: str | None = None) -> str:
        config, norm = self.config, NORMS[self.config.norm_type]
        formula = norm.formula + " · gain" * config.has_norm_gain + " + bias" * config.has_norm_bias
        params = norm_params(config)
        return self.put(Node(name, "norm", norm.label, formula, module, self.stream, self.stream, params, 0, in_block, lane), source)

    def add(self, name: str, formula: str, bypass: str, *sources: str) -> None:
        gains = len(sources) * GAINS[self.config.residual_gain].learned
        self.nodes.append(Node(name, "add", "+", formula, "", self.stream, self.stream, gains, 0, True))
        self.edges += [Edge(source, name, "stream") for source in sources]
        if bypass:
            self.edges.append(Edge(bypass, name, "residual"))
        self.at = name


def graph(config: CompleteModel) -> Graph:
    """Nodes in the order of computation."""
    build = _Builder(config)
    _embedding(build)
    if config.parallel:
        _parallel(build)
    else:
        for part in parts(config):
            _branch(build, part)
    if config.has_final_norm:
        build.norm("norm", "norm", in_block=False)
    _head(build)
    return Graph(tuple(build.nodes), tuple(build.edges), config.n_layer, 1 if config.share_layers else config.n_layer)


ANY_VOCABULARY = 1000


def sketch(config: ModelConfig) -> Graph:
    """The graph of an architecture whose vocabulary is not known yet, for a picture that shows no size which depends on it."""
    return graph(complete(config, ANY_VOCABULARY))


def formulas(config: ModelConfig) -> list[str]:
    """The block, one line per sublayer, for exactly this config."""
    norm, place, gain = NORMS[config.norm_type].short, PLACEMENTS[config.norm_placement], GAINS[config.residual_gain]
    stream, times = gain.stream(config.n_layer), "a · " * gain.learned

    def change(f: str) -> str:
        inner = f"{f}({norm}(x))" if place.before else f"{f}(x)"
        return times + (f"{norm}({inner})" if place.output else inner)

    names = [{"attn": "Attn", "mlp": "MLP"}[part] for part in parts(config)]
    if config.parallel:
        shared = config.shared_norm
        both = " + ".join(change(name) if shared else f"{times}{name}({norm}{'₁₂'[i]}(x))" for i, name in enumerate(names))
        return [f"x = {stream} + {both}" if config.residual else f"x = {both}"]
    lines = [f"{stream} + {change(name)}" if config.residual else change(name) for name in names]
    return [f"x = {norm}({line})" if place.after else f"x = {line}" for line in lines]


def stream_nodes(config: ModelConfig) -> tuple[str, list[str]]:
    """The nodes whose output is the residual stream: the first one, and in each block the last one of each sublayer."""
    first = "embd_norm" if config.embd_norm else "embedding"
    if config.parallel:
        return first, ["add"]
    place = PLACEMENTS[config.norm_placement]
    end = ".norm_after" if place.after else ".add" if config.residual else ".norm_out" if place.output else ""
    return first, [f"{part}{end}" for part in parts(config)]


def parts(config: ModelConfig) -> list[str]:
    """The sublayers that a block has, in order."""
    return ["attn"] * config.has_attention + ["mlp"] * config.has_mlp


def _embedding(build: _Builder) -> None:
    config = build.config
    build.put(Node("tokens", "tokens", "tokens", "ids of the last tokens", "", ("T",), ("T",), 0, 0, False))
    params = config.vocab_size * config.n_embd + position_params(config)
    added = POSITIONS[config.position].added
    title = "embedding + position" if added else "embedding"
    scale = f"√{config.settled_width} · " if config.scale_embedding else ""
    build.put(Node("embedding", "embedding", title, f"x = {scale}E[token]{added}", "wte", ("T",), build.stream, params, 0, False))
    if config.embd_norm:
        build.norm("embd_norm", "embd_norm", in_block=False)


def _branch(build: _Builder, part: str) -> None:
    """One sublayer with its norms and its residual, as `Branch.forward` computes them."""
    config, source, module = build.config, build.at, f"blocks.{{layer}}.{part}"
    place, gain = PLACEMENTS[config.norm_placement], GAINS[config.residual_gain]
    if place.before:
        build.norm(f"{part}.norm_in", f"{module}.norm_in")
    build.put(_sublayer(config, part))
    if place.output:
        build.norm(f"{part}.norm_out", f"{module}.norm_out")
    if config.residual:
        formula = f"{gain.stream(config.n_layer)} + " + ("a f(x), with a learned a that starts at 0" if gain.learned else "f(x)")
        build.add(f"{part}.add", formula, source, build.at)
    if place.after:
        build.norm(f"{part}.norm_after", f"{module}.norm_after")


def _parallel(build: _Builder) -> None:
    """Attention and MLP side by side, as `Block.forward` computes them."""
    config, source = build.config, build.at
    normed, two = PLACEMENTS[config.norm_placement].before, not config.shared_norm
    read = build.norm("attn.norm_in", "blocks.{layer}.attn.norm_in", lane=-1 if two else 0, source=source) if normed else source
    attention = build.put(_sublayer(config, "attn", lane=-1), read)
    read_mlp = build.norm("mlp.norm_in", "blocks.{layer}.mlp.norm_in", lane=1, source=source) if two else read
    mlp = build.put(_sublayer(config, "mlp", lane=1), read_mlp)
    stream = GAINS[config.residual_gain].stream(config.n_layer)
    formula = f"{stream} + attention + MLP" if config.residual else "attention + MLP"
    build.add("add", formula, source if config.residual else "", attention, mlp)


def _sublayer(config: ModelConfig, part: str, lane: int = 0) -> Node:
    stream, module = ("T", config.n_embd), f"blocks.{{layer}}.{part}.f"
    if part == "attn":
        title, formula = _attention_words(config)
        params, flops = attention_params(config), attention_flops(config)
        return Node("attn", "attention", title, formula, module, stream, stream, params, flops, True, lane)
    name, inner = ACTIVATIONS[config.activation].short, config.mlp_kind.formula.format(f=ACTIVATIONS[config.function].short)
    formula = f"D ({inner}), {config.d_ff} hidden units"
    return Node("mlp", "mlp", f"MLP, {name}", formula, module, stream, stream, mlp_params(config), mlp_flops(config), True, lane)


def _attention_words(config: ModelConfig) -> tuple[str, str]:
    heads = f"{config.n_head} head{'s' * (config.n_head > 1)}"
    usual = config.attn_scale is None and config.by_width("scores") == 1
    scale = f" / √{config.head_size}" if usual else f" · {config.score_scale:.3g}"
    score, position = f"q k{scale}", POSITIONS[config.position]
    if config.attn_softcap is not None:
        score = f"{config.attn_softcap:g} tanh({score} / {config.attn_softcap:g})"
    extras = []
    if config.kv_heads != config.n_head:
        extras.append(f"{config.kv_heads} key and value head{'s' * (config.kv_heads > 1)}")
    if QK_NORMS[config.qk_norm].on:
        extras.append("q and k normalised")
    if position.words:
        extras.append(position.words)
    score += position.score
    if config.window is not None:
        pattern = "" if set(config.window_pattern) == {"L"} else f" in layers {config.window_pattern}"
        extras.append(f"window of {config.window}{pattern}")
    formula = f"softmax({score}) v, in {heads} of {config.head_size}" + "".join(f", {extra}" for extra in extras)
    return f"attention, {heads}", formula


def _head(build: _Builder) -> None:
    config = build.config
    params = (not config.tie_weights) * config.vocab_size * config.n_embd + config.head_bias * config.vocab_size
    title = "head (shares the embedding)" if config.tie_weights else "head"
    multiplier = config.by_width("logits")
    times = "" if multiplier == 1 else f"{multiplier:.3g} · "
    formula = f"scores of the next token = {times}W x" + " + b" * config.head_bias
    if config.logit_softcap is not None:
        formula += f", capped at {config.logit_softcap:g}"
    flops = 2 * config.n_embd * config.vocab_size
    build.put(Node("head", "head", title, formula, "head", build.stream, ("T", config.vocab_size), params, flops, False))

"""The architecture as data: what is computed, in order, and what flows where. Imports no torch.

One block is written out; it is repeated `n_layer` times. Drawings, formulas, tables and the
check against the real modules are made from this.

Shapes: T tokens, C channels (n_embd), V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.config import (
    GATED,
    ModelConfig,
    attention_flops,
    attention_params,
    mlp_flops,
    mlp_params,
    norm_params,
)

Kind = Literal["tokens", "embedding", "norm", "attention", "mlp", "add", "head"]
ACTIVATION_NAMES = {
    "relu": "ReLU", "gelu": "GELU", "gelu_tanh": "GELU", "relu2": "ReLU²", "silu": "SiLU",
    "swiglu": "SwiGLU", "geglu": "GeGLU", "geglu_tanh": "GeGLU",
}  # fmt: skip


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

    def __init__(self, config: ModelConfig):
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
        config = self.config
        layer = config.norm_type == "layernorm"
        formula = ("(x − mean) / std" if layer else "x / rms") + " · gain" * config.norm_gain + " + bias" * config.has_norm_bias
        return self.put(
            Node(name, "norm", norm_name(config), formula, module, self.stream, self.stream, norm_params(config), 0, in_block, lane), source
        )

    def add(self, name: str, formula: str, bypass: str, *sources: str) -> None:
        gains = len(sources) if self.config.residual_gain == "rezero" else 0
        self.nodes.append(Node(name, "add", "+", formula, "", self.stream, self.stream, gains, 0, True))
        self.edges += [Edge(source, name, "stream") for source in sources]
        if bypass:
            self.edges.append(Edge(bypass, name, "residual"))
        self.at = name


def graph(config: ModelConfig) -> Graph:
    """Nodes in the order of computation; needs `vocab_size`."""
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


def formulas(config: ModelConfig) -> list[str]:
    """The block, one line per sublayer, for exactly this config."""
    norm = norm_name(config, short=True)
    before, after = config.norm_placement in ("pre", "sandwich"), config.norm_placement in ("sandwich", "output")

    def change(f: str) -> str:
        inner = f"{f}({norm}(x))" if before else f"{f}(x)"
        inner = f"{norm}({inner})" if after else inner
        return f"a · {inner}" if config.residual_gain == "rezero" else inner

    names = [{"attn": "Attn", "mlp": "MLP"}[part] for part in parts(config)]
    if config.parallel:
        if config.layout == "parallel_two_norms":
            names_in = [f"{name}({norm}{'₁₂'[i]}(x))" for i, name in enumerate(names)]
            both = " + ".join(f"a · {name}" if config.residual_gain == "rezero" else name for name in names_in)
        else:
            both = " + ".join(map(change, names))
        return [f"x = x + {both}" if config.residual else f"x = {both}"]
    stream = {"deepnorm": f"{(2 * config.n_layer) ** 0.25:.2f} x"}.get(config.residual_gain, "x")
    lines = [f"{stream} + {change(name)}" if config.residual else change(name) for name in names]
    return [f"x = {norm}({line})" if config.norm_placement == "post" else f"x = {line}" for line in lines]


def stream_nodes(config: ModelConfig) -> tuple[str, list[str]]:
    """The nodes whose output is the residual stream: the one that starts it, and in each block the one that ends each part."""
    first = "embd_norm" if config.embd_norm else "embedding"
    if config.parallel:
        return first, ["add"]
    last = {"post": "norm_after", "sandwich": "norm_out", "output": "norm_out"}.get(config.norm_placement)
    ends = [f"{part}.add" if config.residual and last != "norm_after" else f"{part}.{last}" if last else part for part in parts(config)]
    return first, ends


def parts(config: ModelConfig) -> list[str]:
    """The sublayers that a block has, in order."""
    return ["attn"] * config.has_attention + ["mlp"] * config.has_mlp


def norm_name(config: ModelConfig, short: bool = False) -> str:
    if config.norm_type == "rmsnorm":
        return "RMSNorm"
    return "LN" if short else "LayerNorm"


def _embedding(build: _Builder) -> None:
    config = build.config
    build.put(Node("tokens", "tokens", "tokens", "ids of the last tokens", "", ("T",), ("T",), 0, 0, False))
    params = (config.vocab_size + (config.position == "learned") * config.block_size) * config.n_embd
    added = {"learned": " + P[place]", "sinusoidal": " + sines of the place"}.get(config.position, "")
    title = "embedding + position" if added else "embedding"
    scale = f"√{config.n_embd} · " if config.scale_embedding else ""
    build.put(Node("embedding", "embedding", title, f"x = {scale}E[token]{added}", "wte", ("T",), build.stream, params, 0, False))
    if config.embd_norm:
        build.norm("embd_norm", "embd_norm", in_block=False)


def _branch(build: _Builder, part: str) -> None:
    """One sublayer with its norms and its residual, as `Branch.forward` computes them."""
    config, source, module = build.config, build.at, f"blocks.{{layer}}.{part}"
    place = config.norm_placement
    if place in ("pre", "sandwich"):
        build.norm(f"{part}.norm_in", f"{module}.norm_in")
    build.put(_sublayer(config, part))
    if place in ("sandwich", "output"):
        build.norm(f"{part}.norm_out", f"{module}.norm_out")
    if config.residual:
        gain = {"one": "x + f(x)", "rezero": "x + a f(x), a learned from 0", "deepnorm": f"{(2 * config.n_layer) ** 0.25:.2f} x + f(x)"}
        build.add(f"{part}.add", gain[config.residual_gain], source, build.at)
    if place == "post":
        build.norm(f"{part}.norm_after", f"{module}.norm_after")


def _parallel(build: _Builder) -> None:
    """Attention and MLP side by side, as `Block.forward` computes them."""
    config, source = build.config, build.at
    normed, two = config.norm_placement == "pre", config.layout == "parallel_two_norms"
    read = build.norm("attn.norm_in", "blocks.{layer}.attn.norm_in", lane=-1 if two else 0, source=source) if normed else source
    attention = build.put(_sublayer(config, "attn", lane=-1), read)
    read_mlp = build.norm("mlp.norm_in", "blocks.{layer}.mlp.norm_in", lane=1, source=source) if two else read
    mlp = build.put(_sublayer(config, "mlp", lane=1), read_mlp)
    formula = "x + attention + MLP" if config.residual else "attention + MLP"
    build.add("add", formula, source if config.residual else "", attention, mlp)


def _sublayer(config: ModelConfig, part: str, lane: int = 0) -> Node:
    stream, module = ("T", config.n_embd), f"blocks.{{layer}}.{part}.f"
    if part == "attn":
        title, formula = _attention_words(config)
        params, flops = attention_params(config), attention_flops(config)
        return Node("attn", "attention", title, formula, module, stream, stream, params, flops, True, lane)
    name = ACTIVATION_NAMES[config.activation]
    inner = f"{ACTIVATION_NAMES[GATED[config.activation]]}(G x) · (U x)" if config.gated else f"{name}(U x)"
    formula = f"D ({inner}), {config.d_ff} hidden units"
    return Node("mlp", "mlp", f"MLP, {name}", formula, module, stream, stream, mlp_params(config), mlp_flops(config), True, lane)


def _attention_words(config: ModelConfig) -> tuple[str, str]:
    heads = f"{config.n_head} head{'s' * (config.n_head > 1)}"
    scale = f" / √{config.head_size}" if config.attn_scale is None else f" · {config.attn_scale:g}"
    score = f"q k{scale}"
    if config.attn_softcap is not None:
        score = f"{config.attn_softcap:g} tanh({score} / {config.attn_softcap:g})"
    extras = []
    if config.kv_heads != config.n_head:
        extras.append(f"{config.kv_heads} key and value head{'s' * (config.kv_heads > 1)}")
    if config.qk_norm != "none":
        extras.append("q and k normalised")
    if config.position == "rope":
        extras.append("q and k rotated")
    if config.position == "alibi":
        score += " − slope · distance"
    if config.window is not None:
        pattern = "" if set(config.window_pattern) == {"L"} else f" in layers {config.window_pattern}"
        extras.append(f"window of {config.window}{pattern}")
    formula = f"softmax({score}) v, in {heads} of {config.head_size}" + "".join(f", {extra}" for extra in extras)
    return f"attention, {heads}", formula


def _head(build: _Builder) -> None:
    config = build.config
    params = (not config.tie_weights) * config.vocab_size * config.n_embd + config.head_bias * config.vocab_size
    title = "head (shares the embedding)" if config.tie_weights else "head"
    formula = "scores of the next token = W x" + " + b" * config.head_bias
    if config.logit_softcap is not None:
        formula += f", capped at {config.logit_softcap:g}"
    flops = 2 * config.n_embd * config.vocab_size
    build.put(Node("head", "head", title, formula, "head", build.stream, ("T", config.vocab_size), params, flops, False))

"""ModelConfig: every knob of the architecture with its bounds and help, and the costs of a model in closed form.

The values of its choices are in `models.choices`. Imports no torch, so that a page or a command line can reason
about models without it.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from models.choices import (
    ACTIVATIONS,
    GAINS,
    INITS,
    LAYOUTS,
    NORMS,
    PARAMETRISATIONS,
    PLACEMENTS,
    POSITIONS,
    QK_NORMS,
    SUBLAYERS,
    MlpKind,
)
from models.knobs import SET, Knobs, Needs, OneOf, abouts, knob, papers

SHAPE, NORM, RESIDUAL, ATTENTION, POSITION, MLP, EMBEDDING, REGULAR = (
    "Shape", "Norms", "Residual stream", "Attention", "Positions", "MLP", "Embedding and head", "Initialisation and dropout",
)  # fmt: skip
WITH_NORM_BIAS = [norm for norm in NORMS.values() if "norm_bias" in norm.reads]
AUTOMATIC_BIAS = ", ".join(f"{norm.label} {'as the other biases' if norm.biased else 'not'}" for norm in WITH_NORM_BIAS)
BIASED = " and ".join(f"{norm.label}s" for norm in WITH_NORM_BIAS if norm.biased)
DEFAULT_EPS = ", ".join(f"{norm.eps:.0e} for {norm.label}".replace("e-0", "e-") for norm in NORMS.values() if "norm_eps" in norm.reads)
GATED_NAMES = " and ".join(dict.fromkeys(activation.short for activation in ACTIVATIONS.values() if activation.mlp.gated))
SUBLAYER = Needs("sublayers")
SUBLAYER_HINT = Needs("sublayers", refuses=False)


def heads_divide_the_width(n_head: int, n_embd: int, head_dim: int | None) -> str | None:
    if head_dim is not None or n_embd % n_head == 0:
        return None
    below, above = n_embd - n_embd % n_head, n_embd + n_head - n_embd % n_head
    widths = " or ".join(str(width) for width in (below, above) if width > 0)
    fitting = [heads for heads in range(1, n_embd + 1) if n_embd % heads == 0]
    nearest = min(fitting, key=lambda heads: abs(heads - n_head))
    return f"n_embd={n_embd} is not divisible by n_head={n_head}; try {nearest} heads, a width of {widths}, or set a head size"


def groups_divide_the_heads(n_kv_head: int | None, n_head: int) -> str | None:
    if n_kv_head is None or n_head % n_kv_head == 0:
        return None
    fitting = [heads for heads in range(1, n_head + 1) if n_head % heads == 0]
    return f"n_head={n_head} is not divisible by n_kv_head={n_kv_head}; use one of {', '.join(map(str, fitting))}"


def final_norm_has_norms(final_norm: bool | None, norm_placement: str) -> str | None:
    if final_norm and PLACEMENTS[norm_placement].n_norms == 0:
        return "a final norm needs a model with norms; choose another placement, or leave this on automatic"
    return None


def mlp_is_not_empty(mlp_ratio: float, n_embd: int) -> str | None:
    if round(mlp_ratio * n_embd) < 1:
        least = -(-10_000 // n_embd) / 10_000  # rounded up
        return f"{mlp_ratio:g} x n_embd={n_embd} leaves no hidden unit; use at least {least:g}"
    return None


def rotated_pairs(position: str, rope_fraction: float, n_embd: int, n_head: int, head_dim: int | None) -> str | None:
    if not POSITIONS[position].rotates:
        return None
    size = head_dim or n_embd // n_head
    rotated = int(size * rope_fraction)
    if rotated >= 2 and rotated % 2 == 0:
        return None
    return (
        f"rotary positions turn pairs of numbers, and {rope_fraction:g} of a head of {size} are {rotated}; "
        "use a head size and a fraction that give an even number"
    )


def places_come_in_pairs(position: str, n_embd: int) -> str | None:
    if POSITIONS[position].paired and n_embd % 2:
        return f"{POSITIONS[position].label} positions come in pairs, and n_embd={n_embd} is odd; use {n_embd + 1}"
    return None


def parallel_is_possible(layout: str, sublayers: str, norm_placement: str) -> str | None:
    if not LAYOUTS[layout].parallel:
        return None
    if not (SUBLAYERS[sublayers].attention and SUBLAYERS[sublayers].mlp):
        return "a parallel block needs both attention and MLP; choose sequential"
    place = PLACEMENTS[norm_placement]
    if place.output or place.after or not (place.before or LAYOUTS[layout].shared_norm):
        return f"a {layout} block is defined for pre-norm only, not for norm_placement={norm_placement}; choose sequential, or pre"
    return None


def gain_suits_the_norms(residual_gain: str, norm_placement: str) -> str | None:
    if GAINS[residual_gain].needs_post and not PLACEMENTS[norm_placement].after:
        label = GAINS[residual_gain].label
        return f"{label} is a kind of post-norm; norm_placement is {norm_placement}: choose post, or a gain of one"
    return None


def pattern_is_letters(window_pattern: str) -> str | None:
    if window_pattern and set(window_pattern) <= {"L", "G"}:
        return None
    return f"{window_pattern[:20]!r} is not a pattern; write L for a layer with the window and G for one without, such as LG or LLLG"


def heads_grow_with_the_width(parametrisation: str, n_embd: int, n_head: int, head_dim: int | None) -> str | None:
    if not PARAMETRISATIONS[parametrisation].by_width or head_dim is None or n_head * head_dim == n_embd:
        return None
    label = PARAMETRISATIONS[parametrisation].label
    return (
        f"under {label} all matrices inside blocks grow with the width, and {n_head} heads of {head_dim} are {n_head * head_dim} numbers "
        f"where the width is {n_embd}; make them equal, or leave the head size empty"
    )


class ModelConfig(Knobs, frozen=True):
    """The architecture of one GPT. Names are those of GPT-2 and nanoGPT.

    `vocab_size` is derived from the tokenizer; with it, a config is a `CompleteModel`.
    """

    RULES = (
        heads_divide_the_width, groups_divide_the_heads, final_norm_has_norms, mlp_is_not_empty, rotated_pairs,
        places_come_in_pairs, parallel_is_possible, gain_suits_the_norms, pattern_is_letters, heads_grow_with_the_width,
    )  # fmt: skip

    vocab_size: int | None = knob(None, ge=1, le=1_000_000, label="vocabulary", help="How many different tokens there are.", hidden=True)

    n_layer: int = knob(
        4, ge=1, le=64, slider=(1, 24), open=True, group=SHAPE, label="layers",
        help="How many blocks are stacked. Each one refines what the one before it wrote.",
        paper="Vaswani et al. 2017",
    )  # fmt: skip
    n_head: int = knob(
        4, ge=1, le=64, slider=(1, 16), open=True, group=SHAPE, label="heads", unit="per layer",
        help="How many attention patterns each layer computes side by side. Must divide the width.",
        paper="Vaswani et al. 2017",
    )  # fmt: skip
    n_embd: int = knob(
        128, ge=1, le=4096, slider=(16, 768), step=16, open=True, group=SHAPE, label="width", unit="numbers per token",
        help="Length of the vector that carries each token through the model (n_embd).",
        paper="Vaswani et al. 2017",
    )  # fmt: skip
    block_size: int = knob(
        64, ge=1, le=4096, slider=(8, 1024), step=8, open=True, group=SHAPE, label="context", unit="tokens",
        help="How many tokens the model can look back on.", paper="Radford et al. 2018 (GPT-1)",
    )  # fmt: skip

    norm_placement: Annotated[str, OneOf(PLACEMENTS)] = knob(
        "pre", open=True, group=NORM, label="norm placement", help=f"{abouts(PLACEMENTS, '. ', named=True)}.", paper=papers(PLACEMENTS),
    )  # fmt: skip
    norm_type: Annotated[str, OneOf(NORMS)] = knob(
        "layernorm", group=NORM, label="norm type", help=f"{abouts(NORMS)}.", paper=papers(NORMS),
    )  # fmt: skip
    norm_gain: bool = knob(
        True, group=NORM, label="learned gain", needs=Needs("norm_type"),
        help="Whether each norm multiplies by a learned vector after scaling.", paper="Ba et al. 2016, arXiv:1607.06450",
    )  # fmt: skip
    norm_bias: bool | None = knob(
        None, group=NORM, label="learned bias", none_means="automatic", needs=Needs("norm_type"),
        help=f"Whether each norm adds a learned vector. Automatic: {AUTOMATIC_BIAS}.",
        paper="Xu et al. 2019, arXiv:1911.07013",
    )  # fmt: skip
    norm_eps: float | None = knob(
        None, ge=1e-12, le=1, group=NORM, label="epsilon", none_means=DEFAULT_EPS, needs=Needs("norm_type"),
        help="Added to the variance so that a norm never divides by zero.", paper="Ba et al. 2016, arXiv:1607.06450",
    )  # fmt: skip
    final_norm: bool | None = knob(
        None, group=NORM, label="final norm", none_means="automatic",
        help="A last norm before the head. Automatic: on, except where each block already ends in a norm (post) or has none.",
        paper="Radford et al. 2019 (GPT-2)",
    )  # fmt: skip

    residual: bool = knob(
        True, open=True, group=RESIDUAL, label="residual connections",
        help="Add each sublayer's output to its input. Off: the output replaces the input, and depth becomes hard to train.",
        paper="He et al. 2015, arXiv:1512.03385",
    )  # fmt: skip
    residual_gain: Annotated[str, OneOf(GAINS)] = knob(
        "one", group=RESIDUAL, label="residual gain", needs=Needs("residual", (True,)),
        help=f"{abouts(GAINS, '. ', named=True)}.", paper=papers(GAINS),
    )  # fmt: skip
    layout: Annotated[str, OneOf(LAYOUTS)] = knob(
        "sequential", group=RESIDUAL, label="block layout", help=f"{abouts(LAYOUTS, '. ', named=True)}.", paper=papers(LAYOUTS),
    )  # fmt: skip
    sublayers: Annotated[str, OneOf(SUBLAYERS)] = knob(
        "attention+mlp", group=RESIDUAL, label="sublayers",
        help="What a block consists of. Without attention no token can see another one.",
        paper="Elhage et al. 2021, A Mathematical Framework for Transformer Circuits",
    )  # fmt: skip
    share_layers: bool = knob(
        False, group=RESIDUAL, label="layers share their weights", help="All layers use the weights of one block.",
        paper="Dehghani et al. 2018, arXiv:1807.03819; Lan et al. 2019, arXiv:1909.11942",
    )  # fmt: skip

    n_kv_head: int | None = knob(
        None, ge=1, le=64, group=ATTENTION, label="key and value heads", none_means="as many as heads", needs=SUBLAYER,
        help="Several query heads may share one key and value head: grouped-query attention, or with 1 multi-query attention.",
        paper="Ainslie et al. 2023, arXiv:2305.13245; Shazeer 2019, arXiv:1911.02150",
    )  # fmt: skip
    head_dim: int | None = knob(
        None, ge=1, le=1024, group=ATTENTION, label="head size", unit="numbers", none_means="width / heads",
        help="Length of each head's queries, keys and values.", paper="Raffel et al. 2019, arXiv:1910.10683",
    )  # fmt: skip
    qkv_bias: bool | None = knob(
        None, group=ATTENTION, label="query, key and value bias", none_means="as biases", needs=SUBLAYER_HINT,
        help="Whether the query, key and value projections add a bias.", paper="Radford et al. 2019 (GPT-2)",
    )  # fmt: skip
    attn_out_bias: bool | None = knob(
        None, group=ATTENTION, label="attention output bias", none_means="as biases", needs=SUBLAYER_HINT,
        help="Whether the projection after the heads adds a bias.", paper="Radford et al. 2019 (GPT-2)",
    )  # fmt: skip
    qk_norm: Annotated[str, OneOf(QK_NORMS)] = knob(
        "none", group=ATTENTION, label="QK-norm", needs=SUBLAYER,
        help="RMSNorm on queries and keys before their dot product, per head or over the whole projection. Keeps scores in bounds.",
        paper="Henry et al. 2020, arXiv:2010.04245; Dehghani et al. 2023, arXiv:2302.05442",
    )  # fmt: skip
    window: int | None = knob(
        None, ge=1, le=4096, group=ATTENTION, label="sliding window", unit="tokens", none_means="off", needs=SUBLAYER,
        help="A token sees only this many tokens, itself included.", paper="Beltagy et al. 2020, arXiv:2004.05150",
    )  # fmt: skip
    window_pattern: str = knob(
        "L", max_length=64, group=ATTENTION, label="window pattern", needs=Needs("window", SET),
        help="Which layers have the window, repeated over the layers: L with it (local), G without (global), such as LG.",
        paper="Gemma 2, arXiv:2408.00118",
    )  # fmt: skip
    attn_softcap: float | None = knob(
        None, ge=0.01, le=1e6, group=ATTENTION, label="attention soft cap", none_means="off", needs=SUBLAYER,
        help="Scores s become c tanh(s / c), never beyond c. Computed without the fused kernel, so slower.",
        paper="Gemma 2, arXiv:2408.00118",
    )  # fmt: skip
    attn_scale: float | None = knob(
        None, ge=1e-6, le=1e6, group=ATTENTION, label="attention scale", none_means="1 / sqrt(head size)", needs=SUBLAYER,
        help="Factor on the dot products of queries and keys.", paper="Vaswani et al. 2017, arXiv:1706.03762",
    )  # fmt: skip

    position: Annotated[str, OneOf(POSITIONS)] = knob(
        "learned", group=POSITION, label="position",
        help=f"How the model knows the order of tokens. {abouts(POSITIONS, '. ', named=True)}.", paper=papers(POSITIONS),
    )  # fmt: skip
    rope_base: float = knob(
        10_000.0, ge=1, le=1e9, group=POSITION, label="RoPE base", needs=Needs("position"),
        help="Base of the rotation frequencies: the larger, the slower the slowest pair rotates.", paper="Su et al. 2021, arXiv:2104.09864",
    )  # fmt: skip
    rope_fraction: float = knob(
        1.0, gt=0, le=1, slider=(0.25, 1), step=0.25, group=POSITION, label="RoPE fraction", unit="of the head size",
        needs=Needs("position"), help="Share of each head's dimensions that is rotated; the rest carries no position.",
        paper="Black et al. 2022, arXiv:2204.06745",
    )  # fmt: skip
    rope_interleaved: bool = knob(
        False, group=POSITION, label="RoPE interleaved", needs=Needs("position"),
        help="Rotate neighbouring dimensions as pairs (GPT-J) instead of pairing the two halves (Llama).",
        paper="Wang and Komatsuzaki 2021 (GPT-J)",
    )  # fmt: skip

    activation: Annotated[str, OneOf(ACTIVATIONS)] = knob(
        "gelu", group=MLP, label="activation", needs=SUBLAYER_HINT,
        help=f"The non-linearity of the MLP. {GATED_NAMES} multiply by a second projection: gated linear units.",
        paper=papers(ACTIVATIONS),
    )  # fmt: skip
    mlp_ratio: float = knob(
        4.0, gt=0, le=64, slider=(0.5, 8), step=0.5, group=MLP, label="MLP ratio", unit="x width", needs=SUBLAYER_HINT,
        help="Hidden units of the MLP as a multiple of the width.", paper="Vaswani et al. 2017, arXiv:1706.03762",
    )  # fmt: skip
    mlp_bias: bool | None = knob(
        None, group=MLP, label="MLP bias", none_means="as biases", needs=SUBLAYER_HINT, help="Whether the MLP's projections add a bias.",
        paper="Radford et al. 2019 (GPT-2)",
    )  # fmt: skip

    bias: bool = knob(
        True, group=EMBEDDING, label="biases",
        help=f"Whether projections and {BIASED} have biases; a bias that has its own setting can differ.",
        paper="Radford et al. 2019 (GPT-2)",
    )  # fmt: skip
    tie_weights: bool = knob(
        True, group=EMBEDDING, label="tie embedding and head",
        help="Use one matrix as token embedding and as output projection.",
        paper="Press and Wolf 2016, arXiv:1608.05859",
    )  # fmt: skip
    scale_embedding: bool = knob(
        False, group=EMBEDDING, label="scale the embedding", help="Multiply token embeddings by the square root of the width.",
        paper="Vaswani et al. 2017, arXiv:1706.03762",
    )  # fmt: skip
    embd_norm: bool = knob(
        False, group=EMBEDDING, label="normalise the embedding", help="A norm right after the embedding.",
        paper="Le Scao et al. 2022, arXiv:2211.05100 (BLOOM)",
    )  # fmt: skip
    head_bias: bool = knob(
        False, group=EMBEDDING, label="head bias", help="Whether the head adds a bias to each token's logit.",
        paper="Wang and Komatsuzaki 2021 (GPT-J)",
    )  # fmt: skip
    logit_softcap: float | None = knob(
        None, ge=0.01, le=1e6, group=EMBEDDING, label="logit soft cap", none_means="off",
        help="Logits s become c tanh(s / c), never beyond c.", paper="Gemma 2, arXiv:2408.00118",
    )  # fmt: skip

    init: Annotated[str, OneOf(INITS)] = knob(
        "gpt2", group=REGULAR, label="initialisation", help=f"{abouts(INITS, '. ', named=True)}.", paper=papers(INITS),
    )  # fmt: skip
    init_std: float = knob(
        0.02, ge=1e-4, le=10, group=REGULAR, label="standard deviation", needs=Needs("init"),
        help="Standard deviation of the initial weights.", paper="Radford et al. 2019 (GPT-2)",
    )  # fmt: skip
    parametrisation: Annotated[str, OneOf(PARAMETRISATIONS)] = knob(
        "standard", group=REGULAR, label="parametrisation", help=f"{abouts(PARAMETRISATIONS, '. ', named=True)}.",
        paper=papers(PARAMETRISATIONS),
    )  # fmt: skip
    base_width: int = knob(
        128, ge=1, le=4096, slider=(16, 768), step=16, group=REGULAR, label="base width", unit="numbers per token",
        needs=Needs("parametrisation"),
        help="The width at which the settings, such as the learning rate, were found. At this width nothing is scaled.",
        paper="Yang et al. 2022, arXiv:2203.03466",
    )  # fmt: skip
    init_zero_residual: bool = knob(
        False, group=REGULAR, label="residual projections start at zero",
        help="The last projection of each sublayer starts at zero, so at first it adds nothing.",
        paper="Zhang et al. 2019, arXiv:1901.09321 (Fixup)",
    )  # fmt: skip
    dropout: float = knob(
        0.0, ge=0, lt=1, slider=(0, 0.9), step=0.05, group=REGULAR, label="dropout", unit="share dropped",
        help="Share of activations set to zero at random while training, against over-fitting.",
        paper="Srivastava et al. 2014, JMLR 15",
    )  # fmt: skip
    embd_dropout: float | None = knob(
        None, ge=0, lt=1, group=REGULAR, label="embedding dropout", none_means="as dropout",
        unit="share dropped", help="Dropout on the sum of token and position embedding.", paper="Srivastava et al. 2014, JMLR 15",
    )  # fmt: skip
    attn_dropout: float | None = knob(
        None, ge=0, lt=1, group=REGULAR, label="attention dropout", none_means="as dropout", needs=SUBLAYER_HINT,
        unit="share dropped", help="Dropout on the attention weights.", paper="Vaswani et al. 2017, arXiv:1706.03762",
    )  # fmt: skip
    resid_dropout: float | None = knob(
        None, ge=0, lt=1, group=REGULAR, label="residual dropout", none_means="as dropout",
        unit="share dropped", help="Dropout on what each sublayer adds to the stream.", paper="Vaswani et al. 2017, arXiv:1706.03762",
    )  # fmt: skip

    # What follows from the knobs, with the automatic value where one is None.

    @property
    def head_size(self) -> int:
        return self.n_embd // self.n_head if self.head_dim is None else self.head_dim

    @property
    def kv_heads(self) -> int:
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def d_ff(self) -> int:
        return round(self.mlp_ratio * self.n_embd)

    @property
    def function(self) -> str:
        """The activation without the gate that some have."""
        return ACTIVATIONS[self.activation].of or self.activation

    @property
    def mlp_kind(self) -> MlpKind:
        return ACTIVATIONS[self.activation].mlp

    @property
    def units_die(self) -> bool:
        """Whether hidden units can die: 0 on every input, without gradient."""
        return ACTIVATIONS[self.function].dies

    @property
    def rotated(self) -> int:
        """How many numbers of each head are rotated."""
        return int(self.head_size * self.rope_fraction) if POSITIONS[self.position].rotates else 0

    @property
    def parallel(self) -> bool:
        return LAYOUTS[self.layout].parallel

    @property
    def shared_norm(self) -> bool:
        return LAYOUTS[self.layout].shared_norm

    @property
    def has_attention(self) -> bool:
        return SUBLAYERS[self.sublayers].attention

    @property
    def has_mlp(self) -> bool:
        return SUBLAYERS[self.sublayers].mlp

    @property
    def has_final_norm(self) -> bool:
        place = PLACEMENTS[self.norm_placement]
        return place.n_norms > 0 and not place.after if self.final_norm is None else self.final_norm

    @property
    def has_norm_gain(self) -> bool:
        return self.norm_gain and "norm_gain" in NORMS[self.norm_type].reads

    @property
    def has_norm_bias(self) -> bool:
        norm = NORMS[self.norm_type]
        return "norm_bias" in norm.reads and (self.bias and norm.biased if self.norm_bias is None else self.norm_bias)

    @property
    def has_qkv_bias(self) -> bool:
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def has_attn_out_bias(self) -> bool:
        return self.bias if self.attn_out_bias is None else self.attn_out_bias

    @property
    def has_mlp_bias(self) -> bool:
        return self.bias if self.mlp_bias is None else self.mlp_bias

    @property
    def eps(self) -> float:
        return NORMS[self.norm_type].eps if self.norm_eps is None else self.norm_eps

    @property
    def p_embd_dropout(self) -> float:
        return self.dropout if self.embd_dropout is None else self.embd_dropout

    @property
    def p_attn_dropout(self) -> float:
        return self.dropout if self.attn_dropout is None else self.attn_dropout

    @property
    def p_resid_dropout(self) -> float:
        return self.dropout if self.resid_dropout is None else self.resid_dropout

    @property
    def settled_width(self) -> int:
        """The width at which nothing is scaled: the base width, or where the parametrisation does not go by it the model's own."""
        return self.base_width if PARAMETRISATIONS[self.parametrisation].by_width else self.n_embd

    def by_width(self, what: Literal["hidden_std", "hidden_rate", "logits", "scores"]) -> float:
        """A factor of the parametrisation; exactly 1 at the settled width."""
        return (self.n_embd / self.settled_width) ** getattr(PARAMETRISATIONS[self.parametrisation], what)

    @property
    def score_scale(self) -> float:
        """The factor on the dot products of queries and keys. Heads of a set size do not grow with the width, only in number."""
        scale = self.head_size**-0.5 if self.attn_scale is None else self.attn_scale
        return scale * self.by_width("scores") if self.head_dim is None else scale

    @property
    def embedding_scale(self) -> float:
        """The factor on token embeddings. Under muP it must not grow with the width."""
        return math.sqrt(self.settled_width) if self.scale_embedding else 1.0

    def window_of(self, layer: int) -> int | None:
        """How many tokens a token of this layer sees, itself included; None for all."""
        local = self.window_pattern[layer % len(self.window_pattern)] == "L"
        return self.window if local else None


class CompleteModel(ModelConfig, frozen=True):
    """An architecture with its vocabulary size: it can be built, and its parameters can be counted."""

    vocab_size: int = knob(..., ge=1, le=1_000_000, label="vocabulary", help="How many different tokens there are.", hidden=True)


def complete(config: ModelConfig, vocab_size: int | None = None) -> CompleteModel:
    """The architecture with this vocabulary, or else with its own; raises ValueError where it has none."""
    vocab_size = config.vocab_size if vocab_size is None else vocab_size
    if vocab_size is None:
        raise ValueError("vocab_size is not known yet: it comes from the tokenizer")
    if isinstance(config, CompleteModel) and config.vocab_size == vocab_size:
        return config
    values: dict[str, Any] = {**dict(config), "vocab_size": vocab_size}
    return CompleteModel.model_construct(**values)


def norm_params(config: ModelConfig) -> int:
    """Learned numbers of one norm."""
    return config.n_embd * (config.has_norm_gain + config.has_norm_bias) + NORMS[config.norm_type].own_params(config.n_embd)


def attention_params(config: ModelConfig) -> int:
    """Parameters of one layer's attention, its QK-norms included."""
    width, size, heads, groups = config.n_embd, config.head_size, config.n_head, config.kv_heads
    inner = (heads + 2 * groups) * size
    qk_norm = sum(QK_NORMS[config.qk_norm].width(size, n) for n in (heads, groups))
    return width * inner + config.has_qkv_bias * inner + heads * size * width + config.has_attn_out_bias * width + qk_norm


def mlp_params(config: ModelConfig) -> int:
    """Parameters of one layer's MLP."""
    matrices = config.mlp_kind.matrices
    return matrices * config.n_embd * config.d_ff + config.has_mlp_bias * ((matrices - 1) * config.d_ff + config.n_embd)


def position_params(config: ModelConfig) -> int:
    return POSITIONS[config.position].params(config.block_size, config.n_embd)


def block_norms(config: ModelConfig) -> int:
    """How many norms stand around the sublayers of one block."""
    n_sublayers = 1 if config.shared_norm else config.has_attention + config.has_mlp
    return PLACEMENTS[config.norm_placement].n_norms * n_sublayers


def n_params(config: CompleteModel) -> int:
    """Number of trained parameters, tied and shared ones counted once, in closed form."""
    vocab, width = config.vocab_size, config.n_embd
    block = block_norms(config) * norm_params(config)
    block += config.has_attention * attention_params(config) + config.has_mlp * mlp_params(config)
    block += GAINS[config.residual_gain].learned * (config.has_attention + config.has_mlp)
    embedding = vocab * width + position_params(config) + config.embd_norm * norm_params(config)
    head = (not config.tie_weights) * vocab * width + config.head_bias * vocab
    n_blocks = 1 if config.share_layers else config.n_layer
    return embedding + n_blocks * block + config.has_final_norm * norm_params(config) + head


def attention_flops(config: ModelConfig) -> int:
    """FLOPs of one layer's attention, per token at full context; a sliding window is not subtracted."""
    width, size, heads, groups = config.n_embd, config.head_size, config.n_head, config.kv_heads
    return 2 * width * (heads + 2 * groups) * size + 2 * 2 * config.block_size * heads * size + 2 * heads * size * width


def mlp_flops(config: ModelConfig) -> int:
    """FLOPs of one layer's MLP, per token."""
    return 2 * config.mlp_kind.matrices * config.n_embd * config.d_ff


def flops_per_token(config: CompleteModel) -> int:
    """Multiply-adds of one forward pass at full context, times two, per token.

    Matrix products only, the convention of Chowdhery et al. 2022 (arXiv:2204.02311, appendix B):
    attention scores count as a full square. A training step costs three times as much.
    """
    block = config.has_attention * attention_flops(config) + config.has_mlp * mlp_flops(config)
    return config.n_layer * block + 2 * config.n_embd * config.vocab_size


def activation_floats_per_token(config: CompleteModel) -> int:
    """Roughly how many numbers per token a training step keeps for its backward pass."""
    width, inner = config.n_embd, config.n_head * config.head_size
    block, at_work = block_norms(config) * width, 0  # in each layer; in the one whose gradients are computed
    if config.has_attention:
        explicit = config.attn_softcap is not None
        drops = config.p_attn_dropout > 0  # keeps its mask and what it leaves; fused attention keeps no maps
        maps = (drops or explicit) * (1 + explicit + 2 * drops)
        block += width + 4 * inner + config.n_head + maps * config.n_head * config.block_size
        at_work = 3 * (maps > 0) * config.n_head * config.block_size
    if config.has_mlp:
        block += width + config.mlp_kind.kept * config.d_ff
    return config.n_layer * block + at_work + 2 * width + 3 * config.vocab_size

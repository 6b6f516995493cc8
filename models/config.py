"""ModelConfig: every architectural choice, its bounds, its words, and what it costs.

Imports no torch, so that a page or a command line can reason about models without it.
"""

from __future__ import annotations

from typing import Literal

from models.knobs import Knobs, knob

SHAPE, NORM, RESIDUAL, ATTENTION, MLP, EMBEDDING, REGULAR = (
    "Shape", "Norms", "Residual stream", "Attention", "MLP", "Embedding and head", "Initialisation and dropout",
)  # fmt: skip


def heads_divide_the_width(n_head: int, n_embd: int) -> str | None:
    if n_embd % n_head == 0:
        return None
    below, above = n_embd - n_embd % n_head, n_embd + n_head - n_embd % n_head
    widths = " or ".join(str(width) for width in (below, above) if width > 0)
    fitting = [heads for heads in range(1, n_embd + 1) if n_embd % heads == 0]
    nearest = min(fitting, key=lambda heads: abs(heads - n_head))
    return f"n_embd={n_embd} is not divisible by n_head={n_head}; try {nearest} heads, or a width of {widths}"


def no_final_norm_without_norms(final_norm: bool | None, norm_placement: str) -> str | None:
    if final_norm and norm_placement == "none":
        return "a final norm needs a model with norms; choose pre or post placement, or leave this on automatic"
    return None


def mlp_is_not_empty(mlp_ratio: float, n_embd: int) -> str | None:
    if int(mlp_ratio * n_embd) < 1:
        least = -(-10_000 // n_embd) / 10_000  # rounded up
        return f"{mlp_ratio:g} x n_embd={n_embd} leaves no hidden unit; use at least {least:g}"
    return None


class ModelConfig(Knobs):
    """The architecture of one GPT. Names are those of GPT-2 and nanoGPT.

    `vocab_size` is derived from the tokenizer and filled in before a model is built.
    """

    RULES = (heads_divide_the_width, no_final_norm_without_norms, mlp_is_not_empty)

    vocab_size: int | None = knob(None, ge=1, le=1_000_000, label="vocabulary", help="How many different tokens there are.", hidden=True)

    n_layer: int = knob(
        4, ge=1, le=64, slider=(1, 24), open=True, group=SHAPE, label="layers",
        help="How many blocks are stacked. Each one refines what the one before it wrote.",
    )  # fmt: skip
    n_head: int = knob(
        4, ge=1, le=64, slider=(1, 16), open=True, group=SHAPE, label="heads", unit="per layer",
        help="How many attention patterns each layer computes side by side. Must divide the width.",
        paper="Vaswani et al. 2017, arXiv:1706.03762",
    )  # fmt: skip
    n_embd: int = knob(
        128, ge=1, le=4096, slider=(16, 768), step=16, open=True, group=SHAPE, label="width", unit="numbers per token",
        help="Length of the vector that carries each token through the model (n_embd).",
    )  # fmt: skip
    block_size: int = knob(
        64, ge=1, le=4096, slider=(8, 1024), step=8, open=True, group=SHAPE, label="context", unit="tokens",
        help="How many tokens the model can look back on.",
    )  # fmt: skip

    norm_placement: Literal["pre", "post", "none"] = knob(
        "pre", open=True, group=NORM, label="norm placement",
        help="pre: x + f(norm(x)). post: norm(x + f(x)), the original, which needs warm-up when deep. none: x + f(x).",
        paper="Xiong et al. 2020, arXiv:2002.04745",
    )  # fmt: skip
    norm_type: Literal["layernorm", "rmsnorm"] = knob(
        "layernorm", group=NORM, label="norm type",
        help="LayerNorm centres and scales each token's vector; RMSNorm only scales it.",
        paper="Ba et al. 2016, arXiv:1607.06450; Zhang and Sennrich 2019, arXiv:1910.07467",
    )  # fmt: skip
    final_norm: bool | None = knob(
        None, group=NORM, label="final norm", none_means="automatic",
        help="A last norm before the head. Automatic: on with pre-norm, off where each block already ends in a norm or has none.",
    )  # fmt: skip

    residual: bool = knob(
        True, open=True, group=RESIDUAL, label="residual connections",
        help="Add each sublayer's output to its input. Off: the output replaces the input, and depth becomes hard to train.",
        paper="He et al. 2015, arXiv:1512.03385",
    )  # fmt: skip
    sublayers: Literal["attention+mlp", "attention", "mlp"] = knob(
        "attention+mlp", group=RESIDUAL, label="sublayers",
        help="What a block consists of. Without attention no token can see another one.",
        paper="Elhage et al. 2021, A Mathematical Framework for Transformer Circuits",
    )  # fmt: skip

    qkv_bias: bool | None = knob(
        None, group=ATTENTION, label="query, key and value bias", none_means="as the other biases",
        help="Whether the query, key and value projections add a bias.",
    )  # fmt: skip

    activation: Literal["relu", "gelu", "gelu_tanh", "relu2", "silu"] = knob(
        "gelu", group=MLP, label="activation",
        help="The non-linearity between the two matrices of the MLP.",
        paper="Hendrycks and Gimpel 2016, arXiv:1606.08415 (GELU); So et al. 2021, arXiv:2109.08668 (ReLU squared)",
        choice_labels={"gelu": "GELU (exact)", "gelu_tanh": "GELU (tanh)", "relu": "ReLU", "relu2": "ReLU squared", "silu": "SiLU"},
    )  # fmt: skip
    mlp_ratio: float = knob(
        4.0, gt=0, le=64, slider=(0.5, 8), step=0.5, group=MLP, label="MLP ratio", unit="x width",
        help="Hidden units of the MLP as a multiple of the width.",
    )  # fmt: skip

    bias: bool = knob(
        True, group=EMBEDDING, label="biases",
        help="Whether attention output, MLP and norms have biases.",
    )  # fmt: skip
    position: Literal["learned", "none"] = knob(
        "learned", group=EMBEDDING, label="position",
        help="learned: one trained vector per place is added to the token's. none: order is only visible through the causal mask.",
    )  # fmt: skip
    tie_weights: bool = knob(
        True, group=EMBEDDING, label="tie embedding and head",
        help="Use one matrix both to read tokens in and to score the next one.",
        paper="Press and Wolf 2016, arXiv:1608.05859",
    )  # fmt: skip
    head_bias: bool = knob(False, group=EMBEDDING, label="head bias", help="Whether the head adds a bias to each token's score.")

    dropout: float = knob(
        0.0, ge=0, lt=1, slider=(0, 0.9), step=0.05, group=REGULAR, label="dropout", unit="share dropped",
        help="Share of activations set to zero at random while training, against over-fitting.",
        paper="Srivastava et al. 2014, JMLR 15",
    )  # fmt: skip
    embd_dropout: float | None = knob(
        None, ge=0, lt=1, group=REGULAR, label="embedding dropout", none_means="as dropout",
        unit="share dropped", help="Dropout on the sum of token and position embedding.",
    )  # fmt: skip
    init: Literal["gpt2", "normal", "pytorch"] = knob(
        "gpt2", group=REGULAR, label="initialisation",
        help="gpt2: std 0.02, residual projections by another 1/sqrt(2 n_layer). normal: std 0.02 all over. pytorch: its defaults.",
        paper="Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
    )  # fmt: skip

    # What the open choices amount to.

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head

    @property
    def d_ff(self) -> int:
        return int(self.mlp_ratio * self.n_embd)

    @property
    def has_attention(self) -> bool:
        return self.sublayers != "mlp"

    @property
    def has_mlp(self) -> bool:
        return self.sublayers != "attention"

    @property
    def has_final_norm(self) -> bool:
        return self.norm_placement == "pre" if self.final_norm is None else self.final_norm

    @property
    def has_qkv_bias(self) -> bool:
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def p_embd_dropout(self) -> float:
        return self.dropout if self.embd_dropout is None else self.embd_dropout


def n_params(config: ModelConfig) -> int:
    """Number of trained parameters, tied ones counted once, in closed form."""
    vocab, width, hidden = _vocab(config), config.n_embd, config.d_ff
    norm = width * (1 + (config.bias and config.norm_type == "layernorm"))
    block = 0
    if config.has_attention:
        block += 3 * (width * width + config.has_qkv_bias * width) + width * width + config.bias * width
    if config.has_mlp:
        block += 2 * width * hidden + config.bias * (hidden + width)
    if config.norm_placement != "none":
        block += norm * (config.has_attention + config.has_mlp)
    embedding = vocab * width + (config.position == "learned") * config.block_size * width
    head = (not config.tie_weights) * vocab * width + config.head_bias * vocab
    return embedding + config.n_layer * block + config.has_final_norm * norm + head


def flops_per_token(config: ModelConfig) -> int:
    """Multiply-adds of one forward pass at full context, times two, per token.

    Matrix products only, the convention of Chowdhery et al. 2022 (arXiv:2204.02311, appendix B):
    attention scores count as a full square. A training step costs three times as much.
    """
    width = config.n_embd
    block = 0
    if config.has_attention:
        block += 2 * 4 * width * width + 2 * 2 * config.block_size * width
    if config.has_mlp:
        block += 2 * 2 * width * config.d_ff
    return config.n_layer * block + 2 * width * _vocab(config)


def activation_floats_per_token(config: ModelConfig) -> int:
    """Roughly how many numbers per token a training step keeps for its backward pass."""
    width = config.n_embd
    block = 0
    if config.has_attention:
        block += 6 * width + config.n_head + (config.dropout > 0) * config.n_head * config.block_size
    if config.has_mlp:
        block += 2 * width + 2 * config.d_ff
    return config.n_layer * block + 2 * width + 3 * _vocab(config)


def _vocab(config: ModelConfig) -> int:
    if config.vocab_size is None:
        raise ValueError("vocab_size is not known yet: it comes from the tokenizer")
    return config.vocab_size

"""What each part of the architecture can be: one table per kind of choice, one entry per value.

An entry describes its value without building it: names, formula, number of parameters, which knobs have an effect with it.
The form, the flags, the picture, the formulas, the counts and the messages are derived from the tables, so a new value is one
entry here and, where it computes something new, one module in `norms`, `mlp` or `positions`. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.knobs import Entry


@dataclass(frozen=True, kw_only=True)
class Norm(Entry):
    """`short` is its name in formulas, `formula` what it computes before gain and bias. `reads` holds those of the knobs
    `norm_gain`, `norm_bias` and `norm_eps` that it uses. `eps` is its default epsilon, also for the RMSNorm of QK-norm;
    `biased`: its automatic bias follows the knob `bias`; `own_params(width)` parameters are learned beside gain and bias."""

    short: str
    formula: str
    eps: float = 1e-6
    biased: bool = False
    own_params: Callable[[int], int] = lambda width: 0


NORMS: dict[str, Norm] = {
    "layernorm": Norm(
        label="LayerNorm", short="LN", formula="(x − mean) / std", eps=1e-5, biased=True, reads=("norm_gain", "norm_bias", "norm_eps"),
        about="LayerNorm centres and scales each token's vector", paper="Ba et al. 2016, arXiv:1607.06450",
    ),
    "rmsnorm": Norm(
        label="RMSNorm", short="RMSNorm", formula="x / rms", reads=("norm_gain", "norm_bias", "norm_eps"),
        about="RMSNorm only scales it", paper="Zhang and Sennrich 2019, arXiv:1910.07467",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Placement(Entry):
    """Where a sublayer f has norms: `before` it, on its `output`, or `after` the residual addition."""

    before: bool = False
    output: bool = False
    after: bool = False

    @property
    def n_norms(self) -> int:
        return self.before + self.output + self.after


PLACEMENTS: dict[str, Placement] = {
    "pre": Placement(label="pre", before=True, about="x + f(norm(x))", paper="Xiong et al. 2020, arXiv:2002.04745"),
    "post": Placement(label="post", after=True, about="norm(x + f(x)), needs warm-up when deep"),
    "sandwich": Placement(
        label="sandwich", before=True, output=True, about="x + norm(f(norm(x)))", paper="sandwich: Ding et al. 2021, arXiv:2105.13290",
    ),
    "output": Placement(label="output", output=True, about="x + norm(f(x))", paper="output: OLMo 2, arXiv:2501.00656"),
    "none": Placement(label="none"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Gain(Entry):
    """How a residual addition is weighted. `keep(n_layer)`: factor on the stream; `shrink(n_layer)`: factor on the initial
    weights of the value, output and MLP projections; `learned`: the sublayer's output is multiplied by a learned scalar that
    starts at 0; `needs_post`: defined for post-norm only."""

    keep: Callable[[int], float] = lambda n_layer: 1.0
    shrink: Callable[[int], float] = lambda n_layer: 1.0
    learned: bool = False
    needs_post: bool = False

    def stream(self, n_layer: int) -> str:
        """The stream's term of the addition."""
        return "x" if self.keep(n_layer) == 1 else f"{self.keep(n_layer):.2f} x"


GAINS: dict[str, Gain] = {
    "one": Gain(label="one", about="x + f(x)"),
    "rezero": Gain(
        label="ReZero", learned=True, about="x + a f(x) with a learned a that starts at 0",
        paper="Bachlechner et al. 2020, arXiv:2003.04887 (ReZero)",
    ),
    "deepnorm": Gain(  # the constants for a decoder-only model
        label="DeepNorm", keep=lambda n_layer: (2 * n_layer) ** 0.25, shrink=lambda n_layer: (8 * n_layer) ** -0.25, needs_post=True,
        about="norm(a x + f(x)) with a fixed a above 1", paper="Wang et al. 2022, arXiv:2203.00555 (DeepNorm)",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BlockLayout(Entry):
    """`parallel`: attention and MLP read the same stream; `shared_norm`: both read it through one norm."""

    parallel: bool = False
    shared_norm: bool = False


LAYOUTS: dict[str, BlockLayout] = {
    "sequential": BlockLayout(label="sequential", about="the MLP reads what attention wrote"),
    "parallel": BlockLayout(
        label="parallel, one norm", parallel=True, shared_norm=True,
        about="both read the same input, through one shared norm or through two", paper="Wang and Komatsuzaki 2021 (GPT-J)",
    ),
    "parallel_two_norms": BlockLayout(
        label="parallel, two norms", parallel=True, paper="Black et al. 2022, arXiv:2204.06745 (two norms)",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sublayers(Entry):
    """What a block consists of."""

    attention: bool = True
    mlp: bool = True


OF_ATTENTION = ("n_kv_head", "qkv_bias", "attn_out_bias", "qk_norm", "window", "attn_softcap", "attn_scale", "attn_dropout")
OF_MLP = ("activation", "mlp_ratio", "mlp_bias")

SUBLAYERS: dict[str, Sublayers] = {
    "attention+mlp": Sublayers(label="attention and MLP", reads=OF_ATTENTION + OF_MLP),
    "attention": Sublayers(label="attention only", mlp=False, reads=OF_ATTENTION),
    "mlp": Sublayers(label="MLP only", attention=False, reads=OF_MLP),
}


@dataclass(frozen=True, kw_only=True)
class QkNorm(Entry):
    """An RMSNorm on queries and one on keys: on each head by itself, or on the whole projection."""

    on: bool = True
    per_head: bool = False

    def width(self, head_size: int, heads: int) -> int:
        """How many numbers are normalised together, each with a learned gain."""
        return self.on * head_size * (1 if self.per_head else heads)


QK_NORMS: dict[str, QkNorm] = {
    "none": QkNorm(label="none", on=False),
    "head": QkNorm(label="per head", per_head=True),
    "full": QkNorm(label="whole projection"),
}


@dataclass(frozen=True, kw_only=True)
class Position(Entry):
    """A position encoding. Its text in the diagram: `added` to the token embedding, in the attention `score`, or `words`
    after the formula of attention. `rotates`: it rotates queries and keys pair by pair; `paired`: it needs an even width;
    `params(block_size, width)`: its number of learned parameters."""

    added: str = ""
    score: str = ""
    words: str = ""
    rotates: bool = False
    paired: bool = False
    params: Callable[[int, int], int] = lambda block_size, width: 0


POSITIONS: dict[str, Position] = {
    "learned": Position(
        label="learned", added=" + P[position]", params=lambda block_size, width: block_size * width,
        about="a learned vector per position, added to the embedding",
    ),
    "sinusoidal": Position(
        label="sinusoidal", added=" + sines of the position", paired=True, about="fixed sines and cosines, added to the embedding",
    ),
    "rope": Position(
        label="RoPE", rotates=True, words="q and k rotated", reads=("rope_base", "rope_fraction", "rope_interleaved"),
        about="queries and keys are rotated by the position", paper="Su et al. 2021, arXiv:2104.09864 (RoPE)",
    ),
    "alibi": Position(
        label="ALiBi", score=" − slope · distance", about="scores fall linearly with distance",
        paper="Press et al. 2021, arXiv:2108.12409 (ALiBi)",
    ),
    "none": Position(label="none", about="only the causal mask tells the order", paper="Haviv et al. 2022, arXiv:2203.16634 (none)"),
}  # fmt: skip


@dataclass(frozen=True)
class MlpKind:
    """`gated`: the activation of one projection multiplies another. `formula` of the hidden units, with an activation f;
    `kept`: numbers per hidden unit and token that are stored for the backward pass."""

    gated: bool
    formula: str
    kept: int

    @property
    def matrices(self) -> int:
        return 3 if self.gated else 2


PLAIN, GATED = MlpKind(False, "{f}(U x)", kept=2), MlpKind(True, "{f}(G x) · (U x)", kept=4)


@dataclass(frozen=True, kw_only=True)
class Activation(Entry):
    """The MLP's non-linearity and the kind of MLP that it makes.

    `short` is its name in the diagram; `of`: in a gated unit, the activation of the gate; `dies`: it is exactly 0 with zero
    slope on half of its inputs, so units can die (others only saturate); `transformers`: its names in the transformers
    library, the one to write first.
    """

    short: str
    mlp: MlpKind = PLAIN
    of: str = ""
    dies: bool = False
    transformers: tuple[str, ...] = ()


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(label="ReLU", short="ReLU", dies=True, transformers=("relu",)),
    "gelu": Activation(
        label="GELU (exact)", short="GELU", transformers=("gelu", "gelu_python"), paper="Hendrycks and Gimpel 2016, arXiv:1606.08415",
    ),
    "gelu_tanh": Activation(
        label="GELU (tanh)", short="GELU",
        transformers=("gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_python_tanh", "gelu_accurate"),
    ),
    "relu2": Activation(
        label="ReLU squared", short="ReLU²", dies=True, transformers=("relu2",), paper="So et al. 2021, arXiv:2109.08668 (ReLU²)",
    ),
    "silu": Activation(label="SiLU", short="SiLU", transformers=("silu", "swish")),
    "swiglu": Activation(label="SwiGLU", short="SwiGLU", mlp=GATED, of="silu", paper="Shazeer 2020, arXiv:2002.05202"),
    "geglu": Activation(label="GeGLU (exact)", short="GeGLU", mlp=GATED, of="gelu"),
    "geglu_tanh": Activation(label="GeGLU (tanh)", short="GeGLU", mlp=GATED, of="gelu_tanh"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Init(Entry):
    """`normal`: drawn from a normal distribution, else by torch's defaults; `by_depth`: the standard deviation of residual
    projections is smaller by 1/sqrt(2 n_layer)."""

    normal: bool = True
    by_depth: bool = False


INITS: dict[str, Init] = {
    "gpt2": Init(
        label="GPT-2", by_depth=True, reads=("init_std",), about="normal, and residual projections smaller by 1/sqrt(2 n_layer)",
        paper="Radford et al. 2019 (GPT-2)",
    ),
    "normal": Init(label="normal", reads=("init_std",), about="the same standard deviation everywhere"),
    "pytorch": Init(label="PyTorch", normal=False, about="PyTorch's defaults"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Parametrisation(Entry):
    """How a model that is m times as wide as its base differs from it: each field is the exponent of m in a factor on
    `hidden_std`, the initial standard deviation of the matrices inside blocks; `hidden_rate`, their learning rate; `logits`; and
    `scores`, those of attention before the softmax where it is the heads that grow with the width, not their number."""

    hidden_std: float = 0.0
    hidden_rate: float = 0.0
    logits: float = 0.0
    scores: float = 0.0

    @property
    def by_width(self) -> bool:
        """Whether anything depends on the base width."""
        return "base_width" in self.reads


PARAMETRISATIONS: dict[str, Parametrisation] = {
    "standard": Parametrisation(label="standard", about="the same standard deviation and rate at every width"),
    "mup": Parametrisation(  # table 8 of the paper, for Adam; it suits tied embeddings too
        label="muP", hidden_std=-0.5, hidden_rate=-1.0, logits=-1.0, scores=-0.5, reads=("base_width",),
        about="maximal update, so that the best learning rate stays where it was at the base width; for optimizers such as Adam",
        paper="Yang et al. 2022, arXiv:2203.03466 (muP)",
    ),
}  # fmt: skip

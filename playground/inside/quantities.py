"""The quantities measured inside a model while it trains: names, units, formulas and papers, declared once.

The values of one probe are `{quantity: {node: [layer, …]}}`: `node` is an id of `models.graph`, the list
has one entry per layer for a node of the block and one entry otherwise. An entry is a number, a list with
one number per head (`per="head"`), a list with one number per quantile of `QUANTILES` (`per="quantile"`), or
None where there is nothing to measure. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from models import choices
from playground.inside.token_classes import INSIDE, NAME, PUNCTUATION, SPACE, START

CAN_DIE = " and ".join(activation.short for activation in choices.ACTIVATIONS.values() if activation.dies)
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
FLAT_SLOPE = 0.05
PREVIOUS, INDUCTION = 0.7, 0.4  # the least score of a previous-token head, and of an induction head
PROBE_BUDGET_MB = 64


Values = dict[str, dict[str, list]]
Array = TypeVar("Array")


@dataclass(frozen=True)
class Probe(Generic[Array]):
    """All that is measured of a model at one step on one text. `values` as above; `tensors`, on the CPU:

    tokens (T,) int64; attention (L, H, T, T) float16; stream_rms and grad_stream (S, T) float32, by token;
    lens_top (S', T, 5) int32 and lens_p (S', T, 5) float16, the likeliest next tokens after each layer (S': the
    embedding and the L layers), lens_right (S', T - 1) float16, the probability of the right one; hidden_counts (L, 41)
    and hidden_range (L, 2) float32, a histogram of the MLP's hidden activations; gain.NAME (C,) float16 of each norm.
    T probe tokens, C channels, L layers, H heads, S places of the stream.
    """

    values: Values
    tensors: dict[str, Array]


@dataclass(frozen=True)
class Quantity:
    """One thing to measure. `where` says at which nodes; `scale` how its values are best compared; `top`
    the largest possible value, None where there is none; `decisive` the value from which a head gets the label; `seldom`: on held-out
    data and not at each probe, because it is dear; `floor`: the quantity that says what is reached where nothing is there to be read,
    drawn below; `ceiling`: the value at the embedding is the most that can be reached."""

    name: str
    label: str
    group: str
    per: Literal["node", "head", "quantile"]
    where: Literal["stream", "sublayer", "attention", "mlp", "parameters", "model"]
    unit: str
    formula: str
    help: str
    paper: str = ""
    scale: Literal["log", "linear"] = "linear"
    top: float | None = None
    decisive: float | None = None
    seldom: bool = False
    floor: str = ""
    ceiling: bool = False


STREAM, GRADIENTS, ACTIVATIONS, HEADS, LENS = "residual stream", "gradients", "activations", "attention heads", "logit lens"
BY_CLASS = "logit lens, by class of token"
CLASS_WORDS = {
    SPACE: ("spaces", "tokens that are white space alone"),
    PUNCTUATION: ("punctuation", "tokens that begin with neither a letter nor a digit"),
    START: ("word starts", "tokens that begin a word, other than a name seen before"),
    INSIDE: ("inside words", "tokens that go on with a word"),
    NAME: ("names seen before", "tokens that begin a capitalised word, in mid-sentence, that occurred earlier in the same window"),
}
# How the stream after a layer is read out: as it is, or after an affine guess of what the last layer makes of it.
LENSES = {
    "lens": ("", "", "nostalgebraist 2020"),
    "translated": (
        ", translated", " The stream is first translated by the least-squares guess of what the last layer makes of it.",
        "Din et al. 2023, arXiv:2303.09435; Belrose et al. 2023, arXiv:2303.08112",
    ),
}  # fmt: skip


def _of_lens(lens: str) -> Iterator[Quantity]:
    """The loss by class of token as a lens reads it, and at which depth it comes down."""
    label, how, paper = LENSES[lens]
    head = "head(norm(x))" if lens == "lens" else "head(norm(A x + b))"
    for name, (words, what) in CLASS_WORDS.items():
        yield Quantity(
            f"{lens}_{name}", f"loss of {words}{label}", BY_CLASS, "node", "stream", "nats per token",
            f"mean −log p of {head} over held-out {words}",
            f"The loss of {what}, if the model ended after each layer.{how}", paper, seldom=True,
        )  # fmt: skip
    yield Quantity(
        f"{lens}_later", f"structure after patterns{label}", BY_CLASS, "node", "model", "of the depth",
        "d(word starts, names seen before) − d(spaces, inside words), d = mean over l < L of (loss_l − loss_L) / (loss_0 − loss_L)",
        "How much deeper in the model the loss of word starts and of names seen before comes down than that of spaces and of what goes on "
        "with a word, each class counting alike: above 0, early layers do patterns and later ones structure. Nothing is said where the "
        f"loss of a class does not fall by more than two standard errors.{how}", paper, seldom=True,
    )  # fmt: skip


QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity(
            "stream_rms", "size of the stream", STREAM, "node", "stream", "rms", "√ mean x²",
            "How large the numbers of the residual stream are after each sublayer. Under pre-norm it grows with depth; post-norm sets it "
            "back to the same size every time.", "Xiong et al. 2020, arXiv:2002.04745", scale="log",
        ),
        Quantity(
            "reads_token", "what is left of the token", STREAM, "node", "stream", "of the tokens",
            "share of held-out tokens that a linear probe (LDA) reads in x",
            "How many tokens can be read off the stream by a linear probe, fitted on one part of the held-out data and judged on another. "
            "At the embedding it reads all that it has met; a probe that reads nothing still names the commonest token.",
            "Alain and Bengio 2017, arXiv:1610.01644", top=1.0, seldom=True, floor="reads_majority", ceiling=True,
        ),
        Quantity(
            "reads_previous", "the token before", STREAM, "node", "stream", "of the tokens",
            "share of held-out positions whose previous token a linear probe (LDA) reads in x",
            "How many times the token before can be read off the stream. Only attention can bring it there; what is read at the embedding "
            "is guessed from the token itself.", "Alain and Bengio 2017, arXiv:1610.01644", top=1.0, seldom=True, floor="reads_majority",
        ),
        Quantity(
            "reads_majority", "the commonest token", STREAM, "node", "stream", "of the tokens", "share of the commonest token",
            "What a probe that reads nothing gets right: the floor of the two before.", top=1.0, seldom=True,
        ),
        Quantity(
            "stream_cosine", "likeness to the embedding", STREAM, "node", "stream", "cosine",
            "mean cos(x(i), x₀(i)) − mean cos(x(i), x₀(j)) over j ≠ i",
            "How much of the embedding's direction is left in the stream, beyond what any other token's would show. Small values do not "
            "mean that the token is lost: see what a linear probe still reads.", "He et al. 2016, arXiv:1512.03385", top=1.0,
        ),
        Quantity(
            "sublayer_share", "share of the sublayer", STREAM, "node", "sublayer", "of the stream", "‖f(x)‖ / ‖x‖, mean over tokens",
            "How much a sublayer adds, compared with the stream that it is added to. Well under 1 it refines; over 1 it overwrites.",
            "Veit et al. 2016, arXiv:1605.06431", scale="log",
        ),
        Quantity(
            "moves", "moved to other positions", STREAM, "node", "sublayer", "of the change",
            "Σ_(i≠j) ‖Δf(h)_i‖² / Σ_i ‖Δf(h)_i‖², h changed at position j alone, mean over j",
            "The input of a sublayer is changed at one position, to that of another: how much of the change of its output falls on other "
            "positions. Exactly 0 where each position is worked on by itself.", top=1.0, seldom=True,
        ),
        Quantity(
            "grad_relative", "gradient, relative to the stream", GRADIENTS, "node", "stream", "nats",
            "√ Σ (‖∂L/∂x‖ · rms(x))², summed over tokens",
            "How much the loss depends on a change of the stream here in proportion to its size. A plain gradient is larger wherever "
            "the stream is smaller; this one can be compared between layers. If it shrinks from layer to layer towards the embedding, "
            "gradients vanish; if it grows, they explode.", scale="log",
        ),
        Quantity(
            "grad_stream", "gradient at the stream", GRADIENTS, "node", "stream", "nats per unit", "‖∂L/∂x‖ on the probe text",
            "How strongly the loss depends on the stream here, per unit. It is larger wherever the stream is smaller, which is no illness: "
            "to compare layers take the relative one.", "Xiong et al. 2020, arXiv:2002.04745", scale="log",
        ),
        Quantity(
            "grad_branch", "gradient through the sublayer", GRADIENTS, "node", "sublayer", "of the skip's",
            "‖J_fᵀ g‖ / ‖a g‖ with g = ∂L/∂y, y = a x + f(x)",
            "At each addition the gradient goes on in two ways: past the sublayer, unchanged, and through it. Well under 1 the skip "
            "carries it; over 1 the sublayer does.", "He et al. 2016, arXiv:1603.05027", scale="log",
        ),
        Quantity(
            "grad_branch_cosine", "the two ways of the gradient, alike", GRADIENTS, "node", "sublayer", "cosine", "cos(J_fᵀ g, a g)",
            "Whether the gradient that comes through the sublayer points where the one past it does: near 1 they add up, below 0 they "
            "work against each other.", top=1.0,
        ),
        Quantity(
            "grad_params", "gradient of the weights", GRADIENTS, "node", "parameters", "nats per unit", "‖∂L/∂w‖ of the last training step",
            "The norm of the gradient of each part's weights in the last training step, before clipping.",
            "Pascanu et al. 2013, arXiv:1211.5063", scale="log",
        ),
        Quantity(
            "update_ratio", "update to weight", GRADIENTS, "node", "parameters", "of the weights", "‖Δw‖ / ‖w‖ of the last training step",
            "How much the last training step changed the weights of each part. About a thousandth is a common rule of thumb; with much "
            "more training is unstable, with much less it hardly learns.", "You et al. 2020, arXiv:1904.00962", scale="log",
        ),
        Quantity(
            "stream_outliers", "outlier channels", ACTIVATIONS, "node", "stream", "of the largest possible",
            "(kurtosis − 3) / (C − 5 + 1 / (C − 1)) over the C channels, mean over tokens",
            "Whether a few channels of the stream carry much larger numbers than the rest: 0 for a bell curve, 1 where a single channel "
            "carries everything.", "Bondarenko et al. 2023, arXiv:2306.12929", top=1.0,
        ),
        Quantity(
            "hidden_quantiles", "hidden units, spread", ACTIVATIONS, "quantile", "mlp", "activation",
            "quantiles 1, 5, 25, 50, 75, 95, 99% over tokens and units",
            "How the activations of the MLP's hidden units are spread, after the activation function (and before the gate's product).",
            "Glorot and Bengio 2010",
        ),
        Quantity(
            "dead_units", "dead units", ACTIVATIONS, "node", "mlp", "of the units", "share of units at 0 on every token of the probe text",
            f"Hidden units that are 0 on every token of the probe text. Only {CAN_DIE} can be exactly 0.",
            "Lu et al. 2019, arXiv:1903.06733", top=1.0,
        ),
        Quantity(
            "flat_units", "saturated units", ACTIVATIONS, "node", "mlp", "of the activations",
            f"share in the tail where |slope| < {FLAT_SLOPE}",
            "Activations far out in the function's flat tail: nothing is learnt through them at this token. Around a minimum the slope is "
            "small too, but a small push leads out of it.", "Glorot and Bengio 2010", top=1.0,
        ),
        Quantity(
            "attn_entropy", "entropy", HEADS, "head", "attention", "nats", "−Σ a log a, mean over the queries",
            "How many tokens a head spreads its attention over: 0 for a single one, log n for n evenly.",
            "Clark et al. 2019, arXiv:1906.04341",
        ),
        Quantity(
            "attn_previous", "previous token", HEADS, "head", "attention", "of the weight", "mean a(i, i−1), i from the second token",
            "How much of its attention a head puts on the token right before.",
            "Clark et al. 2019, arXiv:1906.04341", top=1.0, decisive=PREVIOUS,
        ),
        Quantity(
            "attn_first", "first token", HEADS, "head", "attention", "of the weight", "mean a(i, 1), i from the second token",
            "How much of its attention a head puts on the first token. Heads with nothing to do often rest there: an attention sink.",
            "Xiao et al. 2023, arXiv:2309.17453", top=1.0, decisive=0.8,
        ),
        Quantity(
            "attn_self", "itself", HEADS, "head", "attention", "of the weight", "mean a(i, i), i from the second token",
            "How much of its attention each token puts on itself.",
            "Clark et al. 2019, arXiv:1906.04341", top=1.0, decisive=0.7,
        ),
        Quantity(
            "attn_induction", "induction", HEADS, "head", "attention", "of the weight",
            "mean a(i, i − n + 1) over the second copy of n different random tokens, in 20 sequences",
            "On random tokens that are repeated: how much a head looks at what came after the same token the first time. With it a model "
            "copies what it has seen once.", "Olsson et al. 2022, arXiv:2209.11895", top=1.0, decisive=INDUCTION,
        ),
        Quantity(
            "attn_induction_error", "induction, standard error", HEADS, "head", "attention", "of the weight",
            "standard deviation / √20 of the induction score over its sequences",
            "How far the induction score may lie from its mean over all such sequences.",
        ),
        Quantity(
            "attn_distance", "distance", HEADS, "head", "attention", "tokens", "Σ a(i, j) (i − j), mean over i",
            "How far back a head looks, on average.", "Vig and Belinkov 2019, arXiv:1906.04284",
        ),
        Quantity(
            "lens_loss", "loss if it stopped here", LENS, "node", "stream", "nats per token", "loss of head(norm(x)) on the probe text",
            "The stream after each layer, read out by the final norm and the head, as if the model ended here.",
            "nostalgebraist 2020; Belrose et al. 2023, arXiv:2303.08112",
        ),
        Quantity(
            "lens_right", "probability of the right token", LENS, "node", "stream", "probability",
            "exp(mean log p(next token)) of head(norm(x))",
            "The (geometric) mean probability of the right next token, read out after each layer.",
            "nostalgebraist 2020; Belrose et al. 2023, arXiv:2303.08112", top=1.0,
        ),
        *(each for lens in LENSES for each in _of_lens(lens)),
    )
}  # fmt: skip

"""Ready experiments: claims of texts on transformers, each with what it predicts and the rule that judges it. Plain data.

The quick form of each is meant for at most three minutes on two CPU cores: small models and few steps, the same seeds for all arms. It
may end undecided; `thorough` says what it takes to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playground.config.experiment import Experiment, read

# A model of 64 channels that reads words of tiny tales: a step takes about a fifth of the default preset's.
SMALL = {"model.n_embd": 64, "model.block_size": 64, "train.batch_size": 8, "probe.sample_tokens": 0, "optim.warmup_steps": 40}
STEPS = {"unit": "steps", "amount": 300}


@dataclass(frozen=True)
class Ready:
    """An experiment of the gallery: `quick` as it is offered, and `thorough` with more seeds and steps, None where quick decides."""

    quick: Experiment
    thorough: Experiment | None


def _arms(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Arms from their changes by name, underscores as spaces."""
    return [{"name": name.replace("_", " "), "changes": changed} for name, changed in changes.items()]


def _lower(arm: str, than: str | float, delta: float) -> dict[str, Any]:
    return {"kind": "lower", "arm": arm, "than": than, "delta": delta}


def _same(arm: str, than: str | float, delta: float) -> dict[str, Any]:
    return {"kind": "same", "arm": arm, "than": than, "delta": delta}


def _higher(arm: str, than: str | float, delta: float) -> dict[str, Any]:
    return {"kind": "higher", "arm": arm, "than": than, "delta": delta}


WARM_UP = {
    f"{placement} {words}": {"model.norm_placement": placement, "optim.warmup_steps": steps}
    for placement in ("post", "pre")
    for words, steps in (("without warm-up", 0), ("with warm-up", 60))
}
DEPTHS = {
    f"{n} layers, {words}": {"model.n_layer": n, "model.residual": residual}
    for n in (2, 4, 8, 12)
    for words, residual in (("with", True), ("without", False))
}
FRESH = 101  # the first seed of those whose settings were chosen by trials with smaller ones
AT_ONCE = {"unit": "steps", "amount": 5}  # for what is measured before the first step
DEEP = SMALL | {"model.n_layer": 6, "model.n_embd": 48, "model.block_size": 48}
TWO_TEXTS = {
    f"{n} layers, {words}": {"model.n_layer": n, "data.tokenizer": tokenizer}
    for words, tokenizer in (("characters", "char"), ("pieces", "bpe"))
    for n in (4, 6)
}
LATER = {
    "question": "Does the loss of word starts and of names seen before come down in later layers than that of spaces and inside words?",
    "changes": SMALL | {"model.block_size": 128, "train.batch_size": 4, "model.tie_weights": False}, "arms": _arms(**TWO_TEXTS),
    "budget": {"unit": "steps", "amount": 400}, "claims": [_higher(arm, 0.0, 0.05) for arm in TWO_TEXTS],
}  # fmt: skip
OF_WIDTH = {  # an initial standard deviation that suits a width of 32, and a head of its own: muP is exact for such
    "model.n_layer": 2, "model.block_size": 32, "model.tie_weights": False, "model.init_std": 0.1, "data.tokenizer": "char",
    "optim.warmup_steps": 20,
}  # fmt: skip


def _widths(wide: int, *rates: float) -> list[dict[str, Any]]:
    """Each rate at a width of 32, and at a larger one by both parametrisations; at their base width these two are the same."""
    kinds = {
        "width 32": {"model.n_embd": 32},
        f"standard, {wide}": {"model.n_embd": wide},
        f"muP, {wide}": {"model.n_embd": wide, "model.parametrisation": "mup", "model.base_width": 32},
    }
    return [{"name": f"{kind}, rate {rate:g}", "changes": {**of, "optim.lr": rate}} for kind, of in kinds.items() for rate in rates]


def _sizes(*widths: int) -> list[dict[str, Any]]:
    return [{"name": f"width {n}", "changes": {"model.n_embd": n}} for n in widths]


DOCUMENTS: dict[str, dict[str, Any]] = {
    "warm-up": {
        "title": "Warm-up by norm placement",
        "question": "Does post-norm need a learning-rate warm-up, and pre-norm not?",
        "said": "With the norm in front of each sublayer training starts safely at the full rate; with the norm after the addition it "
        "needs a warm-up. Each arm gets the best of three rates: a lower rate might replace the warm-up.",
        "changes": DEEP, "arms": _arms(**WARM_UP), "budget": {"unit": "steps", "amount": 200}, "tuning": [1e-3, 3e-3, 1e-2],
        "claims": [
            _higher("post without warm-up", "post with warm-up", 0.05), _same("pre without warm-up", "pre with warm-up", 0.05),
        ],
    },
    "residual": {
        "title": "Residual connections",
        "question": "Does a stack of six layers learn without residual connections?",
        "said": "Residual connections carry values and gradients past every sublayer; without them a deep stack hardly learns.",
        "changes": DEEP, "arms": _arms(with_residuals={}, without_residuals={"model.residual": False}), "budget": STEPS,
        "claims": [_lower("with residuals", "without residuals", 0.1)],
    },
    "norm-range": {
        "title": "Norms and the size of the stream",
        "question": "Do norms keep the values of the residual stream in range?",
        "said": "Normalising the input of every sublayer keeps values in range through a deep stack. Measured is how many times larger the "
        "stream is after the last layer than at the embedding, in doublings.",
        "changes": DEEP, "arms": _arms(pre={}, post={"model.norm_placement": "post"}, no_norms={"model.norm_placement": "none"}),
        "budget": STEPS, "measure": {"quantity": "stream_rms", "place": "growth"},
        "claims": [_lower("pre", "no norms", 1.0), _lower("post", "no norms", 1.0)],
    },
    "token-kept": {
        "title": "Residuals and the token",
        "question": "Do residual connections preserve which token stands at a position?",
        "said": "Each layer adds to the stream, so that what the embedding wrote stays readable to the end. Measured is how many tokens a "
        "linear probe reads in the last layer.",
        "changes": DEEP, "arms": _arms(with_residuals={}, without_residuals={"model.residual": False}), "budget": STEPS,
        "measure": {"quantity": "reads_token"}, "claims": [_higher("with residuals", "without residuals", 0.1)],
    },
    "gradient": {
        "title": "Residuals and the gradient",
        "question": "Does the gradient vanish on its way through a deep stack without residual connections?",
        "said": "Without residual connections the gradient is multiplied by each layer and vanishes, the more the deeper the stack. "
        "Measured before the first step: how many times larger it is at the last layer than at the embedding, each relative to the stream.",
        "changes": DEEP, "arms": _arms(**DEPTHS), "budget": AT_ONCE,
        "measure": {"quantity": "grad_relative", "place": "growth", "step": 0},
        "claims": [_higher(f"{n} layers, without", f"{n} layers, with", 1.0) for n in (2, 4, 8, 12)],
    },
    "signal": {
        "title": "Residuals and the values",
        "question": "Do the values vanish or explode on their way through a deep stack without residual connections?",
        "said": "Without residual connections the values themselves are said to vanish or to explode. Claimed here is the opposite, which "
        "can be refuted: that at no depth they change by more than a factor of 8, 3 doublings, before training begins.",
        "changes": DEEP, "arms": _arms(**DEPTHS), "budget": AT_ONCE,
        "measure": {"quantity": "stream_rms", "place": "growth", "step": 0},
        "claims": [_same(f"{n} layers, without", 0.0, 3.0) for n in (2, 4, 8, 12)],
    },
    "two-ways": {
        "title": "The two ways of the gradient",
        "question": "Does the gradient pass the skip rather than the sublayer?",
        "said": "With y = x + f(x) the gradient at x is that at y times (1 + f'): the 1 carries it past every sublayer. Measured by two "
        "derivatives of their own: the sublayer's part over the skip's, in doublings; below 0 the skip carries more.",
        "changes": DEEP, "arms": _arms(pre={}, post={"model.norm_placement": "post"}), "budget": STEPS,
        "measure": {"quantity": "grad_branch", "place": "mean"}, "claims": [_lower("pre", 0.0, 0.0), _lower("pre", "post", 0.5)],
    },
    "near-zero": {
        "title": "Sublayers at the start",
        "question": "Does each sublayer add next to nothing before training begins?",
        "said": "What a sublayer adds to the stream, f(x) in x + f(x), is said to begin near zero, so that a fresh stack passes its input "
        "on unchanged. Measured before the first step: how large that is beside the stream, where it is largest, as a power of 2: -1 is a "
        "half of the stream, -2 a quarter, -3 an eighth.",
        "changes": DEEP, "arms": _arms(GPT_2_init={}, normal_init={"model.init": "normal"}, larger_init={"model.init_std": 0.08}),
        "budget": AT_ONCE, "measure": {"quantity": "sublayer_share", "place": "largest", "step": 0},
        "claims": [_lower("GPT 2 init", -2.0, 0.0), _lower("normal init", -2.0, 0.0), _lower("larger init", -2.0, 0.0)],
    },
    "mixing": {
        "title": "What moves information",
        "question": "Is it attention that brings the token before to a position, and not the MLP?",
        "said": "Attention moves information between positions, the MLP works on each by itself. Measured is at how many positions a "
        "linear probe reads the token before, at the place of the stream where it reads most.",
        "changes": SMALL,
        "arms": _arms(both={}, attention_only={"model.sublayers": "attention"}, MLP_only={"model.sublayers": "mlp"}), "budget": STEPS,
        "measure": {"quantity": "reads_previous", "place": "largest"},
        "claims": [_higher("both", "MLP only", 0.1), _higher("attention only", "MLP only", 0.1)],
    },
    "moves": {
        "title": "What moves, sublayer by sublayer",
        "question": "Does attention move information between positions, and the MLP not?",
        "said": "Attention moves information between positions, the MLP works on each by itself. Measured exactly: the input of each "
        "sublayer is changed at one position, and of the change of its output the share that falls on other positions is taken.",
        "changes": SMALL, "arms": _arms(attention_only={"model.sublayers": "attention"}, MLP_only={"model.sublayers": "mlp"}),
        "budget": STEPS, "measure": {"quantity": "moves", "place": "mean"},
        "claims": [_higher("attention only", 0.0, 0.01), _same("MLP only", 0.0, 0.001)],
    },
    "early-patterns": LATER | {
        "title": "Early patterns, later structure",
        "said": "Early layers learn patterns, later ones structure. Measured by the logit lens on held-out text: how much deeper, as a "
        "share of the depth, the loss falls for what begins a word or a name seen before than for spaces and what goes on with a word.",
        "measure": {"quantity": "lens_later"},
    },
    "early-patterns-translated": LATER | {
        "title": "Early patterns, by a translated lens",
        "said": "The same claim by a second lens: before the final norm and the head read it out, the stream of each layer is translated "
        "by the least-squares guess of what the last layer makes of it: a layer that writes in another basis is not taken for blind.",
        "measure": {"quantity": "translated_later"},
    },
    "depth": {
        "title": "Depth at equal parameters",
        "question": "Is a stack of layers better than one wide layer with as many parameters?",
        "said": "Stacking blocks helps: each refines what those before it wrote.",
        "changes": SMALL, "arms": _arms(four_layers={}, two_layers={"model.n_layer": 2}, one_layer={"model.n_layer": 1}),
        "match": "parameters", "budget": STEPS,
        "claims": [_lower("four layers", "one layer", 0.02), _lower("two layers", "one layer", 0.02)],
    },
    "heads": {
        "title": "Heads at equal width",
        "question": "Are several heads better than one of the same total width?",
        "said": "Several heads see several things at once; one head must average over them.",
        "changes": SMALL, "arms": [{"name": f"heads {n}", "changes": {"model.n_head": n}} for n in (1, 2, 4, 8)], "budget": STEPS,
        "claims": [_lower(f"heads {n}", "heads 1", 0.01) for n in (2, 4, 8)],
    },
    "learned-scale": {
        "title": "Learned gain and bias of norms",
        "question": "Do norms need a learned gain and bias?",
        "said": "Norms set the variance by themselves, so no learned scale is needed.",
        "changes": SMALL, "arms": _arms(with_gain_and_bias={}, without={"model.norm_gain": False, "model.norm_bias": False}),
        "budget": STEPS, "claims": [_same("without", "with gain and bias", 0.02)],
    },
    "dropout": {
        "title": "Dropout in a small model",
        "question": "Does a small model that sees its text once need dropout?",
        "said": "Small models need no dropout: they do not memorise.",
        "changes": SMALL, "arms": _arms(without={"model.dropout": 0.0}, dropout={"model.dropout": 0.2}), "budget": STEPS,
        "claims": [_lower("without", "dropout", 0.02)],
    },
    "dropout-and-size": {
        "title": "Dropout and the size of the text",
        "question": "Does dropout help where the text is short, and not where there is enough of it?",
        "said": "Dropout keeps a model from learning its text by heart, which only a text that is read many times allows. Little text "
        "is the first 500th of what there is, 2,000 characters; the loss is that on the same held-out text.",
        "changes": SMALL | {"model.n_layer": 2, "optim.lr": 3e-3, "data.tokenizer": "char"},
        "arms": [
            {"name": f"{text}, {words}", "changes": {"data.share": share, "model.dropout": dropout}}
            for text, share in (("little text", 0.002), ("all text", 1.0))
            for words, dropout in (("without", 0.0), ("dropout", 0.2))
        ],
        "budget": {"unit": "steps", "amount": 500}, "first_seed": FRESH,
        "claims": [_lower("little text, dropout", "little text, without", 0.02), _lower("all text, without", "all text, dropout", 0.02)],
    },
    "tying-equal-width": {
        "title": "Tied embedding at equal width",
        "question": "At equal width, is a tied head as good as one of its own?",
        "said": "Embedding and head can share one matrix without harm.",
        "changes": SMALL, "arms": _arms(tied={"model.tie_weights": True}, untied={"model.tie_weights": False}), "budget": STEPS,
        "claims": [_same("tied", "untied", 0.05)],
    },
    "tying-equal-parameters": {
        "title": "Tied embedding at equal parameters",
        "question": "Are the parameters that tying saves better spent elsewhere in the model?",
        "said": "What a tied matrix saves can go into width, which makes a better model of the same size.",
        "changes": SMALL, "arms": _arms(tied={"model.tie_weights": True}, untied={"model.tie_weights": False}), "match": "parameters",
        "budget": STEPS, "claims": [_lower("tied", "untied", 0.02)],
    },
    "qk-norm": {
        "title": "QK-norm at a high rate",
        "question": "Does QK-norm keep training stable at a high learning rate?",
        "said": "Normalised queries and keys bound the attention scores, so that a higher rate does no harm.",
        "changes": DEEP | {"optim.lr": 0.03}, "arms": _arms(with_QK_norm={"model.qk_norm": "head"}, without={"model.qk_norm": "none"}),
        "budget": STEPS, "claims": [_lower("with QK norm", "without", 0.05)],
    },
    "induction": {
        "title": "Induction and depth",
        "question": "Does induction need two layers?",
        "said": "To find what followed a symbol before, one layer must first note for each symbol which came before it.",
        "preset": "induction", "changes": {"probe.sample_tokens": 0},
        "arms": _arms(two_layers={}, one_layer={"model.n_layer": 1}), "measure": {"quantity": "accuracy"},
        "claims": [_higher("two layers", "one layer", 0.1)],
    },
    "grokking": {
        "title": "Grokking and weight decay",
        "question": "Does a model that knows its examples by heart find the rule behind them, and does weight decay make it?",
        "said": "Modular addition, from two in five of all pairs: a small model soon knows these by heart, and much later, often at once, "
        "answers pairs that it has never seen; with weight decay, which favours the rule, far sooner. Measured is the share of right "
        "answers to unseen pairs. With so few numbers and so much decay the delay is short; the thorough form waits longer.",
        "preset": "modular-addition",
        "changes": {
            "data.modulus": 47, "data.share": 0.4, "train.batch_size": 256, "probe.sample_tokens": 0, "optim.warmup_steps": 10,
            "optim.schedule": "constant", "optim.beta2": 0.98,
        },
        "arms": _arms(with_decay={"optim.weight_decay": 2.0}, without={"optim.weight_decay": 0.0}),
        "budget": {"unit": "steps", "amount": 1500}, "first_seed": FRESH, "measure": {"quantity": "accuracy"},
        "claims": [_higher("with decay", "without", 0.1), _higher("with decay", 0.9, 0.0)],
    },
    "scaling": {
        "title": "A scaling law",
        "question": "Does the loss fall with the size of the model as a power law, after equally many tokens?",
        "said": "Loss falls as a power of the number of parameters, down to what cannot be predicted. Six sizes, from a width of 16 to one "
        "of 128, at one rate that suits all by muP; the fitted exponent is given with its interval. Claimed is that twice the width is "
        "better each time.",
        "changes": SMALL | OF_WIDTH | {"optim.lr": 0.008, "model.parametrisation": "mup", "model.base_width": 32},
        "arms": _sizes(16, 32, 48, 64, 96, 128), "budget": {"unit": "steps", "amount": 300}, "fit": "parameters",
        "claims": [_lower("width 32", "width 16", 0.0), _lower("width 64", "width 32", 0.0), _lower("width 128", "width 64", 0.0)],
    },
    "mup-transfer": {
        "title": "muP and the learning rate",
        "question": "Does the best learning rate stay where it was when the model gets four times as wide?",
        "said": "Under the maximal update parametrisation the best rate of a narrow model is that of a wide one too; under the standard "
        "one it falls as the width grows. The higher of two rates suits the narrow model; which one suits the wide models?",
        "changes": SMALL | OF_WIDTH, "arms": _widths(128, 0.002, 0.008), "seeds": 4, "first_seed": FRESH,
        "budget": {"unit": "steps", "amount": 200},
        "claims": [
            _lower("width 32, rate 0.008", "width 32, rate 0.002", 0.02), _lower("muP, 128, rate 0.008", "muP, 128, rate 0.002", 0.02),
            _higher("standard, 128, rate 0.008", "standard, 128, rate 0.002", 0.02),
        ],
    },
}  # fmt: skip

# What it takes to decide where the quick form may not: small differences, or effects that grow with training.
THOROUGH: dict[str, dict[str, Any]] = {
    name: {"seeds": 6, "budget": {"unit": "steps", "amount": 1000}}
    for name in (
        "depth",
        "heads",
        "learned-scale",
        "dropout",
        "tying-equal-width",
        "tying-equal-parameters",
        "qk-norm",
        "early-patterns",
        "early-patterns-translated",
    )
}
# These may take a night: a plot of the loss by rate at three widths.
THOROUGH["mup-transfer"] = {
    "arms": _widths(256, 0.001, 0.002, 0.004, 0.008, 0.016), "seeds": 4, "budget": {"unit": "steps", "amount": 1000},
    "claims": [
        _lower("width 32, rate 0.008", "width 32, rate 0.002", 0.02), _lower("muP, 256, rate 0.008", "muP, 256, rate 0.002", 0.02),
        _higher("standard, 256, rate 0.008", "standard, 256, rate 0.002", 0.02),
    ],
}  # fmt: skip
THOROUGH["grokking"] = {  # fewer examples and the usual decay
    "changes": DOCUMENTS["grokking"]["changes"] | {"data.modulus": 97, "data.share": 0.35},
    "arms": _arms(with_decay={"optim.weight_decay": 1.0}, without={"optim.weight_decay": 0.0}),
    "budget": {"unit": "steps", "amount": 30_000},
}
THOROUGH["scaling"] = {
    "arms": _sizes(16, 32, 64, 96, 128, 192, 256), "seeds": 6, "budget": {"unit": "steps", "amount": 4000},
    "claims": [_lower(f"width {2 * n}", f"width {n}", 0.0) for n in (16, 32, 64, 128)],
}  # fmt: skip
OVERNIGHT = ("mup-transfer", "grokking", "scaling")


def ready() -> dict[str, Ready]:
    """The gallery by id. Each is built anew from its document, so that a fault in one names itself (ConfigError)."""
    return {
        name: Ready(read(document), read(document | THOROUGH[name]) if name in THOROUGH else None) for name, document in DOCUMENTS.items()
    }

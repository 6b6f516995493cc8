"""The model families of transformers: which of them has a config's architecture, and which knobs keep it out of the others.

Knows nothing of tensors: imports neither torch nor transformers, so that a page can name the knob.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from models.choices import ACTIVATIONS
from models.config import ModelConfig
from models.knobs import ConfigError, Problem

# For knobs that can be None: the property of ModelConfig with the value that they then have, and the knobs that decide it.
EFFECTIVE = {
    "norm_bias": "has_norm_bias", "norm_eps": "eps", "final_norm": "has_final_norm", "n_kv_head": "kv_heads", "head_dim": "head_size",
    "qkv_bias": "has_qkv_bias", "attn_out_bias": "has_attn_out_bias", "mlp_bias": "has_mlp_bias",
    "embd_dropout": "p_embd_dropout", "attn_dropout": "p_attn_dropout", "resid_dropout": "p_resid_dropout",
}  # fmt: skip
FOLLOWS = {
    "norm_bias": ("norm_type", "bias"), "final_norm": ("norm_placement",),
    "qkv_bias": ("bias",), "attn_out_bias": ("bias",), "mlp_bias": ("bias",),
    "embd_dropout": ("dropout",), "attn_dropout": ("dropout",), "resid_dropout": ("dropout",),
}  # fmt: skip

# The names of each activation in transformers (of a gated one: those of its gate); the first one is written.
NAMED = {name: ACTIVATIONS[activation.of or name].transformers for name, activation in ACTIVATIONS.items()}
PLAIN = {name: names for name, names in NAMED.items() if names and not ACTIVATIONS[name].mlp.gated}
GATED = {name: names for name, names in NAMED.items() if names and ACTIVATIONS[name].mlp.gated}
FIRST = {"gelu_tanh": ("gelu",), "relu": ("relu",), "silu": ("silu", "swish")}  # GPT-1 calls the tanh form gelu
WORDS = {True: "on", False: "off", None: "none"}


class UnsupportedArchitecture(ConfigError):
    """A model that cannot be converted exactly. `problems` name the options or knobs in the way."""

    def __init__(self, problems: Iterable[Problem], about: str = ""):
        super().__init__(problems)
        self.args = (f"{about}\n{self}",) if about else self.args


@dataclass(frozen=True)
class Rule:
    """A family's requirement on one knob: `missed(config)` says what is needed, or is None where the config has it."""

    knob: str
    missed: Callable[[ModelConfig], str | None]


def effective(config: ModelConfig, knob: str) -> Any:
    """The value of a knob; where it is None, the value that it then has."""
    return getattr(config, EFFECTIVE.get(knob, knob))


def only(knob: str, *allowed: Any) -> Rule:
    need = " or ".join(f"{value:g}" if isinstance(value, float) else WORDS.get(value, str(value)) for value in allowed)
    return Rule(knob, lambda config: None if effective(config, knob) in allowed else need)


def asks(knob: str, need: str, holds: Callable[[ModelConfig], bool]) -> Rule:
    return Rule(knob, lambda config: None if holds(config) else need)


def alike(first: str, second: str) -> tuple[Rule, Rule]:
    """Two knobs that must be equal. The problem is the first one's if it was set explicitly, else the second one's."""

    def differ(config: ModelConfig) -> bool:
        return effective(config, first) != effective(config, second)

    return (
        Rule(first, lambda config: f"the same as {second}" if differ(config) and getattr(config, first) is not None else None),
        Rule(second, lambda config: f"the same as {first}" if differ(config) and getattr(config, first) is None else None),
    )


def windows(config: ModelConfig) -> list[int | None]:
    """The window of each layer."""
    return [config.window_of(layer) for layer in range(config.n_layer)]


def whole_scalar(config: ModelConfig) -> int | None:
    """The n of an attention scale 1 / sqrt(n), where there is one."""
    scale = config.head_size**-0.5 if config.attn_scale is None else config.attn_scale
    n = round(scale**-2)
    return n if n >= 1 and abs(n**-0.5 - scale) <= 1e-15 * scale else None


EVERY = (
    only("sublayers", "attention+mlp"), only("residual", True), only("residual_gain", "one"), only("share_layers", False),
    only("norm_gain", True), only("parametrisation", "standard"),
)  # fmt: skip
LAYERNORM = (only("norm_type", "layernorm"), only("norm_bias", True))
RMSNORM = (only("norm_type", "rmsnorm"), only("norm_bias", False))
SEQUENTIAL = only("layout", "sequential")
FINAL_NORM = only("final_norm", True)
UNCAPPED = (only("attn_softcap", None), only("logit_softcap", None))
PLAIN_EMBEDDING = (only("scale_embedding", False), only("embd_norm", False))
NO_HEAD_BIAS = only("head_bias", False)
NO_QK_NORM = only("qk_norm", "none")
NO_WINDOW = asks("window", "none", lambda c: not any(windows(c)))
ONE_WINDOW = asks("window_pattern", "one window for all layers, or none", lambda c: len(set(windows(c))) == 1)
USUAL_SCALE = asks("attn_scale", "1 / sqrt(head size)", lambda c: c.attn_scale in (None, c.head_size**-0.5))
USUAL_OR_NO_SCALE = asks("attn_scale", "1 / sqrt(head size), or 1", lambda c: c.attn_scale in (None, c.head_size**-0.5, 1.0))
WHOLE_SCALE = asks("attn_scale", "1 / sqrt(a whole number)", lambda c: whole_scalar(c) is not None)
USUAL_HEADS = (
    asks("n_kv_head", "as many as heads", lambda c: c.kv_heads == c.n_head),
    asks("head_dim", "width / heads", lambda c: c.head_size * c.n_head == c.n_embd),
)  # fmt: skip
DIVIDED_WIDTH = asks("n_head", "a number that divides the width, whatever the head size", lambda c: c.n_embd % c.n_head == 0)
FOUR_WIDE = asks("mlp_ratio", "4", lambda c: c.d_ff == 4 * c.n_embd)
ROTARY = (only("position", "rope"), asks("rope_fraction", "1", lambda c: c.rotated in (0, c.head_size)))
ALL_BIASED = (only("qkv_bias", True), only("attn_out_bias", True), only("mlp_bias", True))
ATTENTION_BIAS = alike("qkv_bias", "attn_out_bias")
ATTENTION_DROPOUT_ONLY = (only("embd_dropout", 0.0), only("resid_dropout", 0.0))


@dataclass(frozen=True)
class Family:
    """`key` is what transformers calls its model type; `activations` maps ours to the names it knows."""

    key: str
    title: str
    activations: dict[str, tuple[str, ...]]
    asked: tuple[Rule, ...] = field(repr=False)

    def problems(self, config: ModelConfig) -> list[Problem]:
        """One problem per rule that the config violates, also for knobs that are None."""
        rules = (*EVERY, only("activation", *self.activations), *self.asked)
        return [Problem(rule.knob, f"{self.title} needs {need}") for rule in rules if (need := rule.missed(config)) is not None]


LLAMA_LIKE = (*RMSNORM, SEQUENTIAL, FINAL_NORM, *PLAIN_EMBEDDING, NO_HEAD_BIAS, *UNCAPPED, *ROTARY, USUAL_SCALE, *ATTENTION_DROPOUT_ONLY)
GPT_LIKE = (*LAYERNORM, *USUAL_HEADS, NO_QK_NORM, NO_WINDOW, *UNCAPPED)

FAMILIES = {
    family.key: family
    for family in (
        Family("gpt2", "GPT-2", PLAIN, (
            *GPT_LIKE, only("norm_placement", "pre"), SEQUENTIAL, FINAL_NORM, *PLAIN_EMBEDDING, only("position", "learned"), *ALL_BIASED,
            NO_HEAD_BIAS, USUAL_OR_NO_SCALE,
        )),
        Family("openai-gpt", "OpenAI GPT", FIRST, (
            *GPT_LIKE, only("norm_placement", "post"), SEQUENTIAL, only("final_norm", False), *PLAIN_EMBEDDING, only("position", "learned"),
            *ALL_BIASED, NO_HEAD_BIAS, USUAL_SCALE, FOUR_WIDE,
        )),
        Family("gpt_neox", "GPT-NeoX", PLAIN, (
            *GPT_LIKE, only("norm_placement", "pre"), only("layout", "sequential", "parallel_two_norms"), FINAL_NORM, *PLAIN_EMBEDDING,
            only("position", "rope"), *ATTENTION_BIAS, only("mlp_bias", True), NO_HEAD_BIAS, USUAL_SCALE,
            *alike("embd_dropout", "resid_dropout"),
        )),
        Family("gptj", "GPT-J", PLAIN, (
            *GPT_LIKE, only("norm_placement", "pre"), only("layout", "parallel"), FINAL_NORM, *PLAIN_EMBEDDING, only("position", "rope"),
            only("rope_base", 10_000.0), only("qkv_bias", False), only("attn_out_bias", False), only("mlp_bias", True),
            only("head_bias", True), USUAL_SCALE,
        )),
        Family("bloom", "BLOOM", {"gelu_tanh": ("gelu_new",)}, (
            *GPT_LIKE, only("norm_placement", "pre"), SEQUENTIAL, FINAL_NORM, only("scale_embedding", False), only("embd_norm", True),
            only("position", "alibi"), *ALL_BIASED, NO_HEAD_BIAS, USUAL_SCALE, FOUR_WIDE, only("embd_dropout", 0.0),
        )),
        Family("llama", "Llama", GATED, (
            *LLAMA_LIKE, only("norm_placement", "pre"), DIVIDED_WIDTH, *ATTENTION_BIAS, NO_QK_NORM, NO_WINDOW,
        )),
        Family("mistral", "Mistral", GATED, (
            *LLAMA_LIKE, only("norm_placement", "pre"), only("qkv_bias", False), only("attn_out_bias", False), only("mlp_bias", False),
            NO_QK_NORM, ONE_WINDOW,
        )),
        Family("qwen3", "Qwen 3", GATED, (
            *LLAMA_LIKE, only("norm_placement", "pre"), *ATTENTION_BIAS, only("mlp_bias", False), only("qk_norm", "head"),
        )),
        Family("gemma2", "Gemma 2", GATED, (
            *RMSNORM, only("norm_placement", "sandwich"), SEQUENTIAL, FINAL_NORM, only("scale_embedding", True), only("embd_norm", False),
            NO_HEAD_BIAS, *ROTARY, DIVIDED_WIDTH, *ATTENTION_BIAS, only("mlp_bias", False), NO_QK_NORM, WHOLE_SCALE,
            *ATTENTION_DROPOUT_ONLY,
        )),
        Family("olmo2", "OLMo 2", GATED, (
            *LLAMA_LIKE, only("norm_placement", "output"), *ATTENTION_BIAS, only("mlp_bias", False), only("qk_norm", "full"),
            NO_WINDOW,
        )),
    )
}  # fmt: skip


def obstacles(config: ModelConfig, *, inference: bool = False) -> list[Problem]:
    """What keeps a config out of the family that is closest to it, knob by knob; empty where it fits.

    With `inference` only what the model computes counts, not how it would train on: dropout, layers that share their
    weights, and the lack of biases and gains, for which a family's zeros and ones can stand in, are no obstacles.
    """
    return closest(config, inference=inference)[1]


def closest(config: ModelConfig, *, inference: bool = False) -> tuple[Family, list[Problem]]:
    """The family with the fewest obstacles (the first in a tie), and these obstacles."""
    found = [(family, _blamed(config, family.problems(relaxed(config, family) if inference else config))) for family in FAMILIES.values()]
    return min(found, key=lambda pair: len(pair[1]))


def family_of(config: ModelConfig, *, inference: bool = False) -> str:
    """The key in FAMILIES of the family that has this architecture; raises UnsupportedArchitecture where none does."""
    family, problems = closest(config, inference=inference)
    if problems:
        raise UnsupportedArchitecture(problems, f"no family of transformers has this architecture; the closest is {family.title}:")
    return family.key


def relaxed(config: ModelConfig, family: Family) -> ModelConfig:
    """A config closer to the family that computes the same, once the biases it adds are zeros and the gains ones."""
    no_dropout = {"dropout": 0.0, "embd_dropout": None, "attn_dropout": None, "resid_dropout": None}
    config = config.model_copy(update=no_dropout | {"share_layers": False})
    for knob in ("norm_gain", "norm_bias", "qkv_bias", "attn_out_bias", "mlp_bias", "head_bias"):
        lifted = config.model_copy(update={knob: True})
        if len(family.problems(lifted)) < len(family.problems(config)):
            config = lifted
    return config


def _blamed(config: ModelConfig, problems: list[Problem]) -> list[Problem]:
    """One problem per knob to change: a problem with a knob that is None is reported for the knob that decides it."""
    knobs = {problem.path for problem in problems}
    blamed: dict[str, Problem] = {}
    for problem in problems:
        sources = FOLLOWS.get(problem.path, ()) if getattr(config, problem.path) is None else ()
        if not any(source in knobs for source in sources):
            knob = sources[-1] if sources else problem.path
            message = problem.message.replace(" needs ", f" needs {problem.path} ", 1) if sources else problem.message
            blamed.setdefault(knob, Problem(knob, message))
    return list(blamed.values())

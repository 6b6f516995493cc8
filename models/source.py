"""The PyTorch code of one architecture, written out as a person would write it for this config alone.

A generator: `models/templates` hold the code, and the tables here what each norm, activation and position contributes to it. What is
off leaves no trace. The code's parameters have the names of `models.gpt.GPT`, so it loads a checkpoint as it is. Imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.choices import ACTIVATIONS, GAINS, INITS, LAYOUTS, NORMS, PARAMETRISATIONS, PLACEMENTS, POSITIONS, QK_NORMS
from models.config import CompleteModel, ModelConfig, n_params
from models.graph import formulas

TEMPLATES = Path(__file__).parent / "templates"
IMPORTS = {"math": "import math\n", "F": "import torch.nn.functional as F\n"}  # of the template, which not all code needs
Part = TypeVar("Part")


class NotWritten(ValueError):
    """A setting that the code generator cannot write out. `knob` and `value` say which one, `reason` why."""

    code = "not_written"

    def __init__(self, knob: str, value: object, reason: str):
        self.knob, self.value, self.reason = knob, value, reason
        super().__init__(f"{knob}={value}: {reason}")


@dataclass(frozen=True)
class NormCode:
    """`module` and `function` are torch's, `eps` the module's own epsilon where it has one; `biased`: the module can have a bias."""

    module: str
    function: str
    eps: float | None = None
    biased: bool = False


NORM_CODE = {  # one for each of `choices.NORMS`
    "layernorm": NormCode("nn.LayerNorm", "F.layer_norm", eps=1e-5, biased=True),
    "rmsnorm": NormCode("nn.RMSNorm", "F.rms_norm"),
}

ACTIVATION_CODE = {  # one for each of `choices.ACTIVATIONS` that is not gated: what it makes of `{}`
    "relu": "F.relu({})",
    "gelu": "F.gelu({})",
    "gelu_tanh": 'F.gelu({}, approximate="tanh")',
    "relu2": "F.relu({}).square()",
    "silu": "F.silu({})",
}


@dataclass(frozen=True)
class PositionCode:
    """Where a position encoding stands in the code: `template` defines what the rest uses; `build` is a line of GPT.__init__; `added` to
    the embeddings (T, C); `turn` a function of queries and of keys; `bias` added to the scores, made from `distance` (T, T)."""

    template: str = ""
    build: str = ""
    added: str = ""
    turn: str = ""
    bias: str = ""


POSITION_CODE = {  # one for each of `choices.POSITIONS`
    "learned": PositionCode(build="self.wpe = nn.Embedding(block_size, n_embd)", added="self.wpe(torch.arange(T, device=idx.device))"),
    "sinusoidal": PositionCode(template="sinusoids.jinja", added="sinusoids(T).to(x)"),
    "rope": PositionCode(template="rotate.jinja", turn="rotate"),
    "alibi": PositionCode(template="slopes.jinja", bias="-slopes.to(x)[:, None, None] * distance"),
    "none": PositionCode(),
}


def source(config: CompleteModel) -> str:
    """A Python module that defines `GPT()`, which computes what `models.gpt.GPT(config)` does with parameters of the same names, and
    where the same random numbers are drawn begins with the same weights. Raises NotWritten."""
    return tidy(environment().get_template("gpt.jinja").render(words(config)))


def tidy(code: str) -> str:
    """The code without the imports that it does not need."""
    for name, line in IMPORTS.items():
        if f"{name}." not in code.replace(line, ""):
            code = code.replace(line, "")
    return re.sub('"""\n{3,}', '"""\n\n', code, count=1)


def words(config: CompleteModel) -> dict[str, Any]:
    """What the template is filled with: the config, the entries of its choices, and the parts of the code that go with them."""
    choices = {
        "place": PLACEMENTS[config.norm_placement], "gain": GAINS[config.residual_gain], "init": INITS[config.init],
        "qk_norm": QK_NORMS[config.qk_norm], "layout": LAYOUTS[config.layout],
    }  # fmt: skip
    by_width = PARAMETRISATIONS[config.parametrisation]
    return choices | {
        "config": config,
        "n_params": n_params(config),
        "formulas": formulas(config),
        "norm": _norm(config),
        "activation": part_of(ACTIVATION_CODE, "activation", config.function),
        "position": part_of(POSITION_CODE, "position", config.position),
        "windows": _windows(config),
        "wider": None if config.n_embd == config.settled_width else by_width,
        "d_ff": _multiple(config.d_ff, config.n_embd),
        "power_of_two": 2 ** math.floor(math.log2(config.n_head)),
        "names": {"norm": NORMS[config.norm_type].label, "position": POSITIONS[config.position].label, "mlp": _mlp_name(config)},
    }


def part_of(table: Mapping[str, Part], knob: str, value: str) -> Part:
    """The entry of a table of code. Raises NotWritten where there is none."""
    if value not in table:
        raise NotWritten(knob, value, "it has no code of its own here yet; it can be trained all the same")
    return table[value]


@cache
def environment(*more: Path) -> Environment:
    """Reads the templates of this folder, and of more folders that are looked into first."""
    loaded = FileSystemLoader([*more, TEMPLATES])
    made = Environment(loader=loaded, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, autoescape=False)
    made.filters |= {"number": number, "exponent": lambda value: number(value).removesuffix(".0")}
    return made


def number(value: float) -> str:
    """A number as a person writes it, read back as exactly itself: 1e-6, not 1e-06."""
    return re.sub(r"e([-+])0*", lambda found: "e" + found[1].strip("+"), repr(value))


def _norm(config: ModelConfig) -> dict[str, Any]:
    """How a norm is made: a call of torch's module, or where that lacks what the config asks for a class `Norm`."""
    code = part_of(NORM_CODE, "norm_type", config.norm_type)
    own = config.has_norm_bias and not (config.has_norm_gain and code.biased)
    arguments = ["n_embd"]
    if config.eps != code.eps:
        arguments.append(f"eps={number(config.eps)}")
    if not config.has_norm_gain:
        arguments.append("elementwise_affine=False")
    elif code.biased and not config.has_norm_bias:
        arguments.append("bias=False")
    call = "Norm()" if own else f"{code.module}({', '.join(arguments)})"
    return {"own": own, "call": call, "function": code.function}


def _windows(config: ModelConfig) -> tuple[int, ...]:
    """The windows of the layers in turn, each at most the context: none where no layer has less, one where all have the same."""
    letters = len(config.window_pattern) if config.window is not None else 1
    turn = [min(config.window_of(layer) or config.block_size, config.block_size) for layer in range(min(letters, config.n_layer))]
    if min(turn) == config.block_size:
        return ()
    return tuple(turn[:1] if len(set(turn)) == 1 else turn)


def _mlp_name(config: ModelConfig) -> str:
    return f"MLP, {ACTIVATIONS[config.activation].short}"


def _multiple(size: int, width: int) -> str:
    return f"{size // width} * n_embd" if size % width == 0 else str(size)

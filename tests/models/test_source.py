"""The generated code, executed: it has the parameters, first weights, logits and gradients of the product's model, for every preset and
for any model; each knob changes it, and each choice is written out or refused."""

import ast
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from torch import nn

from models import choices
from models.choices import Activation, Norm, Position
from models.config import CompleteModel, ModelConfig, complete
from models.gpt import GPT
from models.knobs import ConfigError, parse
from models.presets import ARCHITECTURES
from models.source import ACTIVATION_CODE, NORM_CODE, POSITION_CODE, NotWritten, source
from tests.models.test_any_model import MODELS

ROOT = Path(__file__).parents[2]
SMALL = {"vocab_size": 13, "n_layer": 2, "n_head": 4, "n_embd": 24, "block_size": 10}
SPECS = {spec.path: spec for spec in ModelConfig.specs()}
CHOICES = [(path, value) for path, spec in SPECS.items() if spec.kind == "choice" for value in spec.choices]


def built(**change) -> CompleteModel:
    return parse(CompleteModel, {**SMALL, **change})


def executed(code: str) -> dict:
    names: dict = {}
    exec(compile(code, "generated", "exec"), names)
    return names


def close(mine: torch.Tensor, theirs: torch.Tensor, what: str) -> None:
    scale = max(1.0, theirs.abs().max().item())
    assert torch.allclose(mine, theirs, rtol=0, atol=1e-9 * scale), f"{what}: {(mine - theirs).abs().max()} of {scale}"


def same(config: CompleteModel) -> None:
    """Raises where the code of a config is not the product's model: parameters, first weights of a seed, logits, gradients."""
    code = source(config)
    ast.parse(code)
    torch.manual_seed(3)
    theirs = GPT(config)
    torch.manual_seed(3)
    mine = executed(code)["GPT"]()
    assert [(name, parameter.shape) for name, parameter in mine.named_parameters()] == [
        (name, parameter.shape) for name, parameter in theirs.named_parameters()
    ]
    drawn, wanted = mine.state_dict(), theirs.state_dict()
    assert list(drawn) == list(wanted)
    for name, weight in wanted.items():
        assert torch.allclose(drawn[name], weight, rtol=1e-6, atol=0), f"first weights of {name}"
    theirs.double()
    with torch.no_grad():  # so that nothing is zero or one by its initialisation alone
        for parameter in theirs.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    mine.double().load_state_dict(theirs.state_dict(), strict=True)
    idx = torch.randint(config.vocab_size, (2, config.block_size))
    for model in (mine, theirs):
        torch.manual_seed(5)  # of dropout's masks
        F.cross_entropy(model.train()(idx).flatten(0, 1), idx.roll(1, 1).flatten()).backward()
    for (name, mine_), theirs_ in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        if theirs_.grad is None:
            assert mine_.grad is None, name
        else:
            close(mine_.grad, theirs_.grad, f"gradient of {name}")
    with torch.no_grad():
        close(mine.eval()(idx), theirs.eval()(idx), "logits")
        if config.block_size > 1:
            close(mine(idx[:, :-1]), theirs(idx[:, :-1]), "logits of fewer tokens")


@pytest.mark.parametrize("name", ["default", *ARCHITECTURES])
def test_the_code_of_a_preset_is_its_model(name):
    config = ModelConfig() if name == "default" else ARCHITECTURES[name].config
    same(complete(config, 65))


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(MODELS)
def test_the_code_of_any_model_is_the_model(knobs):
    with contextlib.suppress(ConfigError):  # no model at all
        config = parse(CompleteModel, {**knobs, "vocab_size": 7})
        same(config)


ODD = {
    "a norm with a bias alone": {"norm_gain": False, "norm_bias": True},
    "an RMSNorm with a bias": {"norm_type": "rmsnorm", "norm_bias": True, "norm_eps": 1e-3},
    "shared layers with windows in turn": {"share_layers": True, "window": 3, "window_pattern": "LLG", "n_layer": 3},
    "six heads that fall with distance, capped": {"n_head": 6, "position": "alibi", "attn_softcap": 2.0, "window": 4},
    "ReZero in parallel": {"layout": "parallel_two_norms", "residual_gain": "rezero"},
    "DeepNorm with few key heads": {"norm_placement": "post", "residual_gain": "deepnorm", "n_kv_head": 2, "activation": "swiglu"},
    "muP, untied": {"parametrisation": "mup", "base_width": 12, "init": "pytorch", "tie_weights": False, "head_bias": True},
    "muP, tied": {"parametrisation": "mup", "base_width": 12, "init": "pytorch", "scale_embedding": True},
    "muP, normal": {"parametrisation": "mup", "base_width": 48, "attn_scale": 0.3},
    "all dropouts": {"embd_dropout": 0.1, "attn_dropout": 0.2, "resid_dropout": 0.3, "position": "rope", "qk_norm": "full"},
    "dropout of capped scores": {"attn_dropout": 0.2, "attn_softcap": 3.0},
    "interleaved half": {"position": "rope", "rope_interleaved": True, "rope_fraction": 0.5, "head_dim": 8},
    "nothing but embeddings and MLPs": {"sublayers": "mlp", "norm_placement": "none", "position": "none", "residual": False},
    "one shared norm that is not there": {"layout": "parallel", "norm_placement": "none"},
    "a window as wide as the context": {"window": 10},
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_what_is_seldom_drawn_together(change):
    same(built(**change))


@pytest.mark.parametrize(("path", "value"), CHOICES, ids=map("=".join, CHOICES))
def test_every_value_of_every_choice_is_written_out(path, value):
    """Nothing that the tables have now needs to be refused."""
    same(built(**{path: value}, **({"norm_placement": "post"} if value == "deepnorm" else {})))


def test_the_tables_of_code_have_what_the_choices_have():
    assert NORM_CODE.keys() == choices.NORMS.keys() and POSITION_CODE.keys() == choices.POSITIONS.keys()
    assert ACTIVATION_CODE.keys() == {entry.of or name for name, entry in choices.ACTIVATIONS.items()}


@pytest.mark.parametrize(
    ("path", "table", "entry"),
    [
        ("norm_type", choices.NORMS, Norm(label="made up", short="M", formula="x")),
        ("activation", choices.ACTIVATIONS, Activation(label="made up", short="M")),
        ("position", choices.POSITIONS, Position(label="made up")),
    ],
)
def test_a_value_without_code_is_refused_by_name(monkeypatch, path, table, entry):
    monkeypatch.setitem(table, "made_up", entry)
    with pytest.raises(NotWritten, match=f"{path}=made_up: it has no code") as refused:
        source(built(**{path: "made_up"}))
    assert (refused.value.knob, refused.value.value) == (path, "made_up")


# Another value of each knob, where one of its own must be chosen, and what it needs beside it.
OTHER = {
    "n_head": 6, "n_layer": 3, "n_embd": 48, "block_size": 20, "n_kv_head": 2, "head_dim": 8, "window": 4, "window_pattern": "LG",
    "attn_softcap": 30.0, "attn_scale": 0.5, "norm_eps": 1e-4, "rope_base": 500.0, "rope_fraction": 0.4, "mlp_ratio": 2.0,
    "logit_softcap": 20.0, "init_std": 0.05, "base_width": 96, "dropout": 0.1, "embd_dropout": 0.2, "attn_dropout": 0.2,
    "resid_dropout": 0.2,
}  # fmt: skip
BESIDE = {
    "window_pattern": {"window": 4}, "rope_base": {"position": "rope"}, "rope_fraction": {"position": "rope"},
    "rope_interleaved": {"position": "rope"}, "base_width": {"parametrisation": "mup"},
}  # fmt: skip


def another(path: str):
    """A value of a knob that changes something: automatic biases are on, and the final norm too."""
    spec = SPECS[path]
    if path in OTHER:
        return OTHER[path]
    if spec.kind == "choice":
        return next(value for value in reversed(spec.choices) if value not in (spec.default, "deepnorm"))
    return False if spec.optional else not spec.default


@pytest.mark.parametrize("path", SPECS)
def test_every_knob_changes_the_code(path):
    base, value = built(**BESIDE.get(path, {})), another(path)
    other = built(**BESIDE.get(path, {}), **{path: value})
    assert source(base) != source(other)
    same(other)


def lines_of(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


def test_the_code_is_as_short_as_a_person_writes_it():
    for name, architecture in ARCHITECTURES.items():
        code = source(complete(architecture.config, 65))
        assert 60 <= lines_of(code) <= 150, name
        assert max(map(len, code.splitlines())) <= 120 and "\n\n\n\n" not in code, name
        assert not any(line != line.rstrip() for line in code.splitlines()) and code.endswith("\n") and not code.endswith("\n\n")


BARE = {
    "PyTorch's first weights": {"init": "pytorch"},
    "capped attention alone": {"sublayers": "attention", "attn_softcap": 3.0},
    "MLPs alone, no logarithm or root": {"sublayers": "mlp", "init": "normal"},
}


@pytest.mark.parametrize("change", [{}, *ODD.values(), *BARE.values()], ids=["default", *ODD, *BARE])
def test_nothing_in_the_code_is_idle(tmp_path, change):
    """No name that is defined or imported and not used, and no more or fewer blank lines than Python's style asks for."""
    path = tmp_path / "gpt.py"
    path.write_text(source(built(**change)))
    rules = ["--isolated", "--preview", "--select", "F,E,W", "--ignore", "E741,E501"]
    done = subprocess.run([sys.executable, "-m", "ruff", "check", *rules, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tree = ast.parse(path.read_text())
    set_here = [target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)]
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert set(set_here) <= read


def test_what_is_off_leaves_no_trace():
    plain = source(built())
    off = "dropout", "softcap", "rotate", "window", "slopes", "gate", "norm_out", "n_kv_head", "width**", "scale =", "gain", "Norm(nn"
    assert [word for word in off if word in plain] == []
    assert isinstance(executed(plain)["GPT"](), nn.Module)

"""A choice is declared once, for a whole run: what is added to a table reaches form, flag, picture, estimate, messages and training;
and configs that were made before are what they were."""

import json
import math
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from torch import nn

from models import choices, mlp, norms
from models.choices import Activation, Norm
from models.graph import graph
from models.knobs import ConfigError, nested, parse
from playground.cli import flags
from playground.config import estimate
from playground.config.optim import OPTIMIZERS, SCHEDULES, OptimConfig, Optimizer, Schedule
from playground.config.presets import PAIRS, PRESETS
from playground.config.run import RunConfig
from playground.data import config as data_config
from playground.data.examples import split
from playground.data.tasks import PREFIX, TASKS, Params, Sizes, Task
from playground.data.tasks.base import prompted, surprise
from playground.inside.measures import measure
from playground.training.optim import BUILDERS, groups_of, learning_rate
from playground.ui import facts, form

BEFORE = json.loads((Path(__file__).parent / "configs_of_before.json").read_text())
SPECS = {spec.path: spec for spec in RunConfig.specs()}


def problems(changes: dict) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(RunConfig, nested(changes))
    return {problem.path: problem.message for problem in caught.value.problems}


def idle(changes: dict) -> dict[str, str]:
    """The messages beside the controls that have no effect, by path."""
    found = {note["id"]: note["message"] for note in facts.idle(parse(RunConfig, nested(changes)))}
    return {path: found[spec.elem_id] for path, spec in SPECS.items() if spec.elem_id in found}


def steps(state, n: int = 8) -> list[float]:
    return [state.step().loss.item() for _ in range(n)]


def offered(path: str) -> list[tuple[str, str]]:
    """What the control of a knob offers: (words, value)."""
    with gr.Blocks():
        return [tuple(pair) for pair in form.control(SPECS[path], SPECS[path].default).choices]


def metavar(path: str) -> str:
    return next(flag.metavar for flag in flags.flags_of(RunConfig()) if flag.path == path)


def typed(path: str, value: str) -> RunConfig:
    """A config made of one flag."""
    read = flags.read([f"--{path}", value], flags.flags_of(RunConfig()))
    assert not read.problems
    return parse(RunConfig, nested(read.settings))


# Configs of before.


@pytest.mark.parametrize("name", BEFORE["presets"])
def test_a_preset_is_what_it_was(name):
    """The digest is part of checkpoints: with another one a run cannot be resumed."""
    old = BEFORE["presets"][name]
    assert parse(RunConfig, old["config"]) == PRESETS[name].config
    assert parse(RunConfig, old["config"]).digest == old["digest"] == PRESETS[name].config.digest


def test_every_choice_of_before_is_known_and_has_its_digest():
    made = {change: parse(RunConfig, nested(dict([change.split("=")]))).digest for change in BEFORE["choices"]}
    assert made == BEFORE["choices"] and len(made) > 50


# The tables.


def test_every_optimizer_has_a_builder_and_every_schedule_its_fall():
    assert BUILDERS.keys() == OPTIMIZERS.keys() == set(SPECS["optim.name"].choices)
    assert set(SPECS["optim.schedule"].choices) == SCHEDULES.keys()
    assert all((schedule.share is None) == ("min_lr" not in schedule.reads) for schedule in SCHEDULES.values())
    fields = OptimConfig.model_fields.keys()
    assert all(set(entry.reads) <= fields for entry in (*OPTIMIZERS.values(), *SCHEDULES.values()))


def test_every_task_has_its_pair_of_presets_and_is_a_source():
    assert [PREFIX + name for name in PAIRS] == list(TASKS)
    assert {source for source in data_config.SOURCES if source.startswith(PREFIX)} == TASKS.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_an_optimizer_is_what_the_estimate_counts(new_state, name):
    """Of the matrices inside blocks, which are most of the weights of a larger model."""
    state = new_state({"optim.name": name})
    steps(state, 1)
    weight = state.model.blocks[0].mlp.f.up.weight
    kept = sum(tensor.numel() for tensor in state.optimizer.state[weight].values() if isinstance(tensor, torch.Tensor) and tensor.dim())
    assert kept == OPTIMIZERS[name].state_floats * weight.numel()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_knob_acts_exactly_with_the_optimizers_that_read_it(new_state, name):
    """Another value makes other weights if and only if the table says that it is read."""
    other = {"beta1": 0.5, "beta2": 0.5, "momentum": 0.3, "rest_lr": 0.5, "ns_steps": 1, "min_lr": 0.0, "schedule": "linear"}
    assert {knob for entry in OPTIMIZERS.values() for knob in entry.reads} == other.keys()

    def weights(change: dict) -> torch.Tensor:
        state = new_state({"optim.name": name, "train.max_steps": 6, "model.dropout": 0.0})
        config = state.config.optim.model_copy(update=change)  # past what `parse` refuses
        state = type(state)(state.config.model_copy(update={"optim": config}), state.data, torch.device("cpu"))
        steps(state, 5)
        return nn.utils.parameters_to_vector(state.model.parameters())

    undisturbed = weights({})
    for knob, value in other.items():
        acts = not torch.equal(weights({knob: value}), undisturbed)
        assert acts == (knob in OPTIMIZERS[name].reads), knob


# A knob without an effect says so.


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"optim.name": "sgd"}, "optim.beta2", "it needs optimizer to be adamw or muon or lion or others like it"),
        ({"optim.name": "adamw"}, "optim.ns_steps", "it needs optimizer to be muon"),
        ({"optim.name": "schedule_free"}, "optim.schedule", "it needs optimizer to be adamw or muon or sgd or others like it"),
        ({"optim.name": "schedule_free", "optim.min_lr": 0.0}, "optim.min_lr", "it needs optimizer to be adamw or muon or sgd"),
        ({"optim.schedule": "constant", "optim.min_lr": 0.0}, "optim.min_lr", "it needs schedule to be linear or cosine or wsd"),
        ({"optim.schedule": "cosine"}, "optim.decay_share", "it needs schedule to be wsd"),
        ({"model.sublayers": "attention"}, "model.activation", "it needs sublayers to be attention+mlp or mlp"),
        ({"model.sublayers": "attention", "model.mlp_ratio": 2.0}, "model.mlp_ratio", "it needs sublayers to be attention+mlp or mlp"),
        ({"model.sublayers": "mlp"}, "model.attn_dropout", "it needs sublayers to be attention+mlp or attention"),
        ({"model.position": "alibi"}, "model.rope_base", "it needs position to be rope"),
        ({"model.init": "pytorch"}, "model.init_std", "it needs initialisation to be gpt2 or normal"),
        ({"data.source": "task:dyck"}, "data.digits", "it needs data to be task:addition"),
    ],
)
def test_a_control_without_an_effect_says_what_it_needs(changes, path, words):
    assert idle(changes)[path].startswith(f"No effect now: {words}")


def test_what_acts_says_nothing():
    assert not idle({}).keys() & {"model.activation", "model.norm_eps", "optim.beta2", "optim.min_lr", "optim.schedule"}


# Values that nobody has thought of yet.


class Halved(nn.Module):
    """x / 2, whatever x is."""

    def __init__(self, width: int, eps: float, gain: bool, bias: bool):
        super().__init__()
        assert not (gain or bias)

    def forward(self, x):
        return x / 2


def test_a_new_norm_reaches_the_whole_run(monkeypatch, new_state):
    monkeypatch.setitem(choices.NORMS, "made_up", Norm(label="Halved", short="½", formula="x / 2"))
    monkeypatch.setitem(norms.MODULES, "made_up", Halved)
    assert offered("model.norm_type")[-1] == ("Halved", "made_up")
    assert metavar("model.norm_type") == "|".join(choices.NORMS) and typed("model.norm_type", "made_up").model.norm_type == "made_up"
    assert "made_up" in next(row["words"] for row in facts.searchable() if row["id"] == "model-norm_type")
    state = new_state({"model.norm_type": "made_up"})
    assert [node.title for node in graph(state.config.model).nodes].count("Halved") == 3
    assert ("norm type", "Halved", "LayerNorm") in facts.beside(state.config, "gpt2")["differs"]
    losses = steps(state)
    assert losses[-1] < losses[0]
    assert idle({"model.norm_type": "made_up"})["model.norm_eps"].startswith("No effect now: it needs norm type to be layernorm or rmsnorm")
    assert problems({"model.norm_type": "made_up", "model.norm_eps": 0.1}).keys() == {"model.norm_eps"}


@pytest.mark.parametrize("dies", [True, False])
def test_a_new_activation_reaches_the_whole_run(monkeypatch, new_state, dies):
    entry = Activation(label="shifted ReLU", short="ReLU−1", dies=dies)
    monkeypatch.setitem(choices.ACTIVATIONS, "made_up", entry)
    monkeypatch.setitem(mlp.FUNCTIONS, "made_up", lambda: nn.Threshold(1.0, 0.0))
    assert offered("model.activation")[-1] == ("shifted ReLU", "made_up")
    assert metavar("model.activation").endswith("|made_up")
    assert typed("model.activation", "made_up").model.activation == "made_up"
    state = new_state({"model.activation": "made_up"})
    losses = steps(state)
    assert losses[-1] < losses[0]
    seen = measure(state.model, np.arange(6) % state.config.model.vocab_size)
    assert ("dead_units" in seen.values) == dies and "flat_units" in seen.values


def test_a_new_optimizer_is_an_entry_and_a_builder(monkeypatch, new_state):
    monkeypatch.setitem(OPTIMIZERS, "made_up", Optimizer(label="RMSprop", state_floats=1, reads=("schedule", "min_lr", "beta2")))
    monkeypatch.setitem(
        BUILDERS, "made_up", lambda model, config: torch.optim.RMSprop(groups_of(model, config), lr=config.lr, alpha=config.beta2)
    )
    assert offered("optim.name")[-1] == ("RMSprop", "made_up") and typed("optim.name", "made_up").optim.name == "made_up"
    assert metavar("optim.name") == "|".join(OPTIMIZERS)
    assert problems({"optim.name": "rmspop"})["optim.name"].endswith(f"use one of {', '.join(OPTIMIZERS)}")
    assert problems({"optim.name": "made_up", "optim.momentum": 0.5})["optim.momentum"].startswith(
        "0.5 has no effect here; it needs name to be muon"
    )
    assert "optim.beta2" not in idle({"optim.name": "made_up", "optim.beta2": 0.9})
    state = new_state({"optim.name": "made_up"})
    as_adamw = state.config.model_copy(update={"optim": OptimConfig()})
    assert estimate.memory_bytes(as_adamw) - estimate.memory_bytes(state.config) == 4 * sum(p.numel() for p in state.model.parameters())
    losses = steps(state)
    assert losses[-1] < losses[0] and math.isfinite(losses[-1])


def test_a_new_schedule_is_an_entry(monkeypatch, new_state):
    square_root = Schedule(label="square root", share=lambda position, config: 1 - position**0.5, reads=("min_lr",))
    monkeypatch.setitem(SCHEDULES, "made_up", square_root)
    assert offered("optim.schedule")[-1] == ("square root", "made_up") and typed("optim.schedule", "made_up").optim.schedule == "made_up"
    assert metavar("optim.schedule").endswith("|made_up")
    config = OptimConfig(schedule="made_up", lr=1.0, min_lr=0.2, warmup_steps=0)
    assert [learning_rate(config, 0, position) for position in (0.0, 0.25, 1.0)] == pytest.approx([1.0, 0.6, 0.2])
    assert problems({"optim.schedule": "made_up", "optim.decay_share": 0.5}).keys() == {"optim.decay_share"}
    assert "optim.min_lr" not in idle({"optim.schedule": "made_up"})
    state = new_state({"optim.schedule": "made_up"})
    rates = [state.step().lr for _ in range(8)]
    assert rates[2:] == sorted(rates[2:], reverse=True) and rates[-1] < rates[2]


class First(Task):
    """`0110 > 0`: the first symbol again, of an even number of symbols."""

    name, title = "first", "First symbol"
    rule = about = "Which symbol came first?"
    paper = "nobody"
    knobs = ("length",)

    def vocabulary(self, p):
        return ("0", "1", ">")

    def draw(self, p, rng, n, size=None):
        counts = rng.choice(np.arange(2, p.length + 1, 2), n) if size is None else np.full(n, size)
        bits = rng.integers(0, 2, (n, size or p.length))
        answer = bits[:, :1].astype(np.int64)
        return prompted(
            (bits, np.full(bits.shape, surprise(0.5))), counts, range(2, p.length + 1, 2), 2, (answer, np.ones(n, dtype=np.int64))
        )

    def n_different(self, p):
        return sum(2**n for n in range(2, p.length + 1, 2))

    def longest(self, p, size=None):
        return (size or p.length) + 2

    def sizes(self, p):
        return Sizes("bits", 2, p.length, 2 * p.length)

    def has_size(self, size):
        return size % 2 == 0


def test_a_new_task_is_a_class(monkeypatch, new_state):
    monkeypatch.setitem(TASKS, "task:first", First())
    monkeypatch.setitem(data_config.SOURCES, "task:first", "Task: first symbol")
    assert parse(RunConfig, nested({"data.source": "task:first", "data.length": 12})).data.task.title == "First symbol"
    assert problems({"data.source": "task:first", "data.digits": 5})["data.digits"].startswith("5 has no effect here")
    assert "data.length" not in idle({"data.source": "task:first"}) and "data.pairs" in idle({"data.source": "task:first"})
    assert all(size % 2 == 0 for size in split(First(), Params(length=12)).by_size)
    state = new_state({"data.source": "task:first", "data.length": 12, "model.block_size": 24, "train.batch_size": 64})
    losses = steps(state, 20)
    assert losses[-1] < losses[0]

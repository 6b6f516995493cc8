"""A choice is declared once: the tables have what the modules build, and an entry that is added appears everywhere."""

import ast
from pathlib import Path
from typing import Annotated

import pytest
import torch
from torch import nn

from models import choices, mlp, norms, positions
from models.choices import Activation, Gain, Init, Norm, Placement, Position
from models.config import ModelConfig, activation_floats_per_token, flops_per_token, n_params
from models.families import obstacles
from models.gpt import GPT
from models.graph import formulas, graph, stream_nodes
from models.knobs import ConfigError, Entry, Knobs, Needs, OneOf, knob, parse

ROOT = Path(__file__).parents[2]
TABLES = {
    "norm_placement": choices.PLACEMENTS, "norm_type": choices.NORMS, "residual_gain": choices.GAINS, "layout": choices.LAYOUTS,
    "sublayers": choices.SUBLAYERS, "qk_norm": choices.QK_NORMS, "position": choices.POSITIONS, "activation": choices.ACTIVATIONS,
    "init": choices.INITS, "parametrisation": choices.PARAMETRISATIONS,
}  # fmt: skip
SPECS = {spec.path: spec for spec in ModelConfig.specs()}
SMALL = {"vocab_size": 13, "n_layer": 2, "n_head": 2, "n_embd": 12, "block_size": 10}


def built(**change) -> ModelConfig:
    return parse(ModelConfig, {**SMALL, **change})


def problems(**change) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        built(**change)
    return {problem.path: problem.message for problem in caught.value.problems}


def trains(config: ModelConfig) -> bool:
    """Whether a few steps lower the loss, with a gradient for every parameter."""
    torch.manual_seed(0)
    model, idx = GPT(config), torch.randint(0, config.vocab_size, (4, config.block_size))
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(8):
        losses.append(nn.functional.cross_entropy(model(idx)[:, :-1].flatten(0, 1), idx[:, 1:].flatten()))
        optimizer.zero_grad()
        losses[-1].backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
    return losses[-1] < losses[0]


def counts_hold(config: ModelConfig) -> bool:
    """Whether the closed form and the picture have as many parameters as the model."""
    drawn, n = graph(config), sum(parameter.numel() for parameter in GPT(config).parameters())
    return n_params(config) == n == sum(node.params * (drawn.n_distinct if node.in_block else 1) for node in drawn.nodes)


# The tables and what is made from them.


def test_every_choice_of_the_architecture_is_a_table():
    assert {path: spec.table for path, spec in SPECS.items() if spec.kind == "choice"} == TABLES


@pytest.mark.parametrize("path", TABLES)
def test_a_knob_has_exactly_the_values_of_its_table_in_its_words(path):
    spec, table = SPECS[path], TABLES[path]
    assert spec.choices == tuple(table) and spec.default in table
    assert [spec.said(value) for value in table] == [entry.label for entry in table.values()]
    assert len({entry.label for entry in table.values()}) == len(table) and all(entry.label.strip() for entry in table.values())
    schema = ModelConfig.model_json_schema()["properties"][path]
    assert schema["enum"] == list(table) and schema["knob"]["label"] == spec.knob.label


def test_the_modules_build_exactly_what_the_tables_have():
    assert norms.MODULES.keys() == choices.NORMS.keys()
    assert mlp.FUNCTIONS.keys() == {entry.of or name for name, entry in choices.ACTIVATIONS.items()}
    assert positions.POSITION_PARTS.keys() == choices.POSITIONS.keys()
    assert all(bool(entry.of) == entry.mlp.gated for entry in choices.ACTIVATIONS.values())
    for name, places in positions.POSITION_PARTS.items():
        entry = choices.POSITIONS[name]
        assert (places.added is not None, places.rotary is not None, places.slopes is not None) == (
            bool(entry.added), entry.rotates, bool(entry.score),
        )  # fmt: skip


def test_what_an_entry_reads_are_knobs_that_need_its_kind():
    for path, table in TABLES.items():
        for value, entry in table.items():
            for name in entry.reads:
                assert any(need.field == path and value in need.wanted for need in SPECS[name].needs), (value, name)


def test_whatever_a_knob_needs_can_be_had():
    for spec in SPECS.values():
        for need in spec.needs:
            assert need.field in SPECS and need.wanted
            assert set(need.wanted) <= {True, "set", *SPECS[need.field].choices}


@pytest.mark.parametrize("path", TABLES)
def test_each_value_is_counted_as_it_is_built(path):
    for value in TABLES[path]:
        config = built(**{path: value}, **({"norm_placement": "post"} if value == "deepnorm" else {}))
        assert counts_hold(config), value


@pytest.mark.parametrize("path", TABLES)
def test_an_unknown_value_is_refused_and_never_taken_for_another(path):
    known = ", ".join(TABLES[path])
    for wrong in ("layernrom", "", 3, None, True, [1]):
        said = "this is empty" if wrong == "" else f"{wrong!r} is not possible here"
        assert problems(**{path: wrong}) == {path: f"{said}; use one of {known}"}
    config = ModelConfig(**SMALL).model_copy(update={path: "layernrom"})
    with pytest.raises(KeyError, match="layernrom"):
        (graph(config), formulas(config), GPT(config))


FIELDS = {*TABLES, "schedule", "source"}


def named(node: ast.AST) -> bool:
    """Whether this is `….norm_type` or the like, or `….name` of an optimizer or a task."""
    of_name = isinstance(node, ast.Attribute) and node.attr == "name" and ast.unparse(node.value).split(".")[-1] in ("optim", "task")
    return of_name or (isinstance(node, ast.Attribute) and node.attr in FIELDS)


def decisions_by_name(source: str) -> list[str]:
    """Where code decides by the name of a choice: a comparison, a `match` or a table on the spot."""
    found = []
    for node in ast.walk(ast.parse(source)):
        compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        texts = [each for part in compared for each in ast.walk(part) if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        looked_up = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict) and named(node.slice)
        got = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Dict)
        if (texts and any(map(named, compared))) or looked_up or (got and any(map(named, node.args))) or (
            isinstance(node, ast.Match) and any(map(named, ast.walk(node.subject)))
        ):  # fmt: skip
            found.append(ast.unparse(node)[:120])
    return found


def test_decisions_by_name_are_found():
    source = "a.norm_type == 'x'\nb = c.position in ('x', 'y')\nmatch o.schedule:\n case 'x': pass\n{'x': 1}[d.layout]\n{}.get(e.init)"
    assert len(decisions_by_name(source)) == 5
    assert len(decisions_by_name("task.name == 'majority'\nconfig.optim.name != 'x'\nquantity.name == 'x'\na.norm_type == b")) == 2


def test_no_module_decides_by_the_name_of_a_choice():
    """The entry says what follows from it. What corpora and families of transformers are like is no such choice."""
    files = [*ROOT.glob("models/*.py"), *ROOT.glob("playground/**/*.py")]
    found = {path.relative_to(ROOT).as_posix(): decisions_by_name(path.read_text()) for path in files}
    assert {name: lines for name, lines in found.items() if lines and name != "playground/data/corpora.py"} == {}


# Values that nobody has thought of yet.


class ScaleNorm(nn.Module):
    """x / ‖x‖ times one learned number."""

    def __init__(self, width: int, eps: float, gain: bool, bias: bool):
        super().__init__()
        assert not gain and not bias
        self.scale = nn.Parameter(torch.tensor(width**0.5))

    def forward(self, x):
        return self.scale * nn.functional.normalize(x, dim=-1)


@pytest.fixture
def scalenorm(monkeypatch):
    entry = Norm(label="ScaleNorm", short="SN", formula="g x / ‖x‖", own_params=lambda width: 1)
    monkeypatch.setitem(choices.NORMS, "made_up", entry)
    monkeypatch.setitem(norms.MODULES, "made_up", ScaleNorm)


def test_a_new_norm_is_an_entry_and_a_module(scalenorm):
    config = built(norm_type="made_up", embd_norm=True)
    assert SPECS["norm_type"].choices[-1] == "made_up" and SPECS["norm_type"].said("made_up") == "ScaleNorm"
    drawn = [node for node in graph(config).nodes if node.kind == "norm"]
    assert {(node.title, node.formula, node.params) for node in drawn} == {("ScaleNorm", "g x / ‖x‖", 1)} and len(drawn) == 4
    assert formulas(config) == ["x = x + Attn(SN(x))", "x = x + MLP(SN(x))"]
    assert counts_hold(config) and trains(config) and trains(built(norm_type="made_up", qk_norm="head"))
    assert any(problem.path == "norm_type" for problem in obstacles(config))
    assert problems(norm_type="scalenrom")["norm_type"].endswith(f"use one of {', '.join(choices.NORMS)}")


@pytest.mark.parametrize(("name", "value"), [("norm_eps", 1e-3), ("norm_gain", False), ("norm_bias", True)])
def test_a_knob_that_a_norm_does_not_read_says_so(scalenorm, name, value):
    message = problems(norm_type="made_up", **{name: value})[name]
    assert message.startswith(f"{value} has no effect here; it needs norm_type to be layernorm or rmsnorm")
    assert built(norm_type="rmsnorm", **{name: value}).norm_type == "rmsnorm"


def test_a_new_activation_is_an_entry_and_a_function(monkeypatch):
    monkeypatch.setitem(choices.ACTIVATIONS, "made_up", Activation(label="hyperbolic tangent", short="tanh"))
    monkeypatch.setitem(mlp.FUNCTIONS, "made_up", nn.Tanh)
    monkeypatch.setitem(choices.ACTIVATIONS, "made_up_glu", Activation(label="TanhGLU", short="TanhGLU", mlp=choices.GATED, of="made_up"))
    plain, gated = built(activation="made_up"), built(activation="made_up_glu")
    assert SPECS["activation"].said("made_up") == "hyperbolic tangent"
    words = [next((node.title, node.formula) for node in graph(config).nodes if node.id == "mlp") for config in (plain, gated)]
    assert words == [
        ("MLP, tanh", "D (tanh(U x)), 48 hidden units"), ("MLP, TanhGLU", "D (tanh(G x) · (U x)), 48 hidden units"),
    ]  # fmt: skip
    for config in (plain, gated):
        assert counts_hold(config) and trains(config) and not config.units_die
        assert "activation" in {problem.path for problem in obstacles(config)}
    assert flops_per_token(gated) > flops_per_token(plain) and activation_floats_per_token(gated) > activation_floats_per_token(plain)
    assert "made_up, made_up_glu" in problems(activation="tanhh")["activation"]


class Ramp(nn.Module):
    """A learned direction, times the place."""

    def __init__(self, width: int):
        super().__init__()
        self.direction = nn.Parameter(torch.zeros(width))

    def add(self, x, past):
        places = torch.arange(past, past + x.size(1), device=x.device, dtype=x.dtype)
        return x + places[:, None] * self.direction


def test_a_new_position_is_an_entry_and_a_module(monkeypatch):
    entry = Position(label="ramp", added=" + place · r", params=lambda block_size, width: width)
    monkeypatch.setitem(choices.POSITIONS, "ramp", entry)
    monkeypatch.setitem(positions.POSITION_PARTS, "ramp", positions.PositionParts(added=lambda config: Ramp(config.n_embd)))
    config = built(position="ramp")
    node = next(node for node in graph(config).nodes if node.id == "embedding")
    assert (node.title, node.formula, node.params) == ("embedding + position", "x = E[token] + place · r", 13 * 12 + 12)
    assert counts_hold(config) and trains(config)
    assert problems(position="ramp", rope_base=9.0)["rope_base"].startswith("9.0 has no effect here; it needs position to be rope")


def test_what_computes_nothing_new_is_an_entry_alone(monkeypatch):
    monkeypatch.setitem(choices.PLACEMENTS, "around", Placement(label="around", before=True, after=True))
    monkeypatch.setitem(choices.GAINS, "half", Gain(label="half", keep=lambda n_layer: 0.5))
    monkeypatch.setitem(choices.INITS, "deep", Init(label="deep", by_depth=True, reads=("init_std",)))
    config = built(norm_placement="around", residual_gain="half", init="deep", init_std=0.1)
    assert formulas(config) == ["x = LN(0.50 x + Attn(LN(x)))", "x = LN(0.50 x + MLP(LN(x)))"]
    assert [node.formula for node in graph(config).nodes if node.kind == "add"] == ["0.50 x + f(x)"] * 2
    assert stream_nodes(config) == ("embedding", ["attn.norm_after", "mlp.norm_after"])
    assert counts_hold(config) and trains(config) and not config.has_final_norm
    assert problems(norm_placement="around", layout="parallel")["layout"].endswith("choose sequential, or pre")
    parallel = built(layout="parallel", residual_gain="half")
    assert formulas(parallel) == ["x = 0.50 x + Attn(LN(x)) + MLP(LN(x))"] and trains(parallel)


# What a knob needs.


KINDS = {"loud": Entry(label="Loud", reads=("volume", "bass")), "quiet": Entry(label="Quiet", reads=("volume",)), "off": Entry(label="Off")}


class Radio(Knobs):
    kind: str = knob("loud", label="kind", help="A text.")
    volume: int = knob(5, label="volume", help="How loud.", needs=Needs("kind", lambda: ("loud", "quiet")))


def test_a_need_without_values_asks_the_table_of_the_other_field():
    class Set(Knobs):
        kind: Annotated[str, OneOf(KINDS)] = knob("loud", label="kind", help="Which.")
        volume: int = knob(5, label="volume", help="How loud.", needs=Needs("kind"))
        bass: int = knob(1, label="bass", help="How low.", needs=Needs("kind", refuses=False))

    specs = {spec.path: spec for spec in Set.specs()}
    assert specs["volume"].needs[0].wanted == ("loud", "quiet") and specs["bass"].needs[0].wanted == ("loud",)
    with pytest.raises(ConfigError, match="volume: 6 has no effect here; it needs kind to be loud or quiet"):
        parse(Set, {"kind": "off", "volume": 6})
    assert parse(Set, {"kind": "quiet", "bass": 2}).bass == 2, "this one is only said"
    assert parse(Set, {"kind": "off", "volume": 5}).volume == 5


def test_a_need_of_a_field_without_a_table_must_name_its_values():
    assert Radio.specs()[1].needs[0].wanted == ("loud", "quiet")

    class Broken(Knobs):
        kind: str = knob("loud", label="kind", help="A text.")
        volume: int = knob(5, label="volume", help="How loud.", needs=Needs("kind"))

    with pytest.raises(TypeError, match="volume needs kind, which has no table"):
        Broken.specs()

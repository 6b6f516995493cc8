"""Experiments as documents, and the runs that they ask for."""

import json

import pytest

from models.config import flops_per_token
from models.knobs import ConfigError
from playground.config.experiment import Measure, best_rate, counts_as, expand, picked, read, with_rate

SMALL = {"model.n_layer": 2, "model.n_embd": 32, "model.block_size": 16}
TWO_BY_TWO = {"model.norm_placement": ["pre", "post"], "optim.warmup_steps": [0, 50]}


def vocabulary(data) -> int:
    return 1000 if data.tokenizer == "bpe" else 65


def document(**changes) -> dict:
    base = {"title": "Warm-up", "base": {"changes": SMALL}, "factors": TWO_BY_TWO, "seeds": 2, "budget": {"unit": "steps", "amount": 100}}
    return base | changes


def problems(data: dict, expanding: bool = False) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        experiment = read(data)
        if expanding:
            expand(experiment, vocabulary)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_document_travels_unchanged():
    full = document(
        tuning=[1e-3, 3e-3], measure={"quantity": "eval_loss", "at": "reaches", "value": 2.0}, prediction="lower", claim_text="It does.",
        match={"by": "flops"}, claims=[{"arm": "pre, warmup_steps 0", "than": "post, warmup_steps 0", "delta": 0.05}],
    )  # fmt: skip
    experiment = read(full)
    again = read(json.loads(experiment.to_json()))
    assert again == experiment and again.digest == experiment.digest and again.to_json() == experiment.to_json()


def test_a_grid_names_its_arms_and_runs_seed_by_seed():
    plan = expand(read(document()), vocabulary)
    names = ["pre, warmup_steps 0", "pre, warmup_steps 50", "post, warmup_steps 0", "post, warmup_steps 50"]
    assert list(plan.arms) == names
    assert [run.name for run in plan.runs] == [f"{name}, seed {seed}" for seed in (1, 2) for name in names]
    assert [(run.config.train.seed, run.config.train.max_steps) for run in plan.runs] == [(1, 100)] * 4 + [(2, 100)] * 4
    assert {run.config.optim.warmup_steps for run in plan.runs if run.arm.startswith("post")} == {0, 50}


def test_names_of_arms_say_which_knob_is_off():
    factors = {"model.qk_norm": ["none", "head"], "model.position": ["none", "rope"], "model.bias": [True, False], "model.window": [None]}
    assert [arm.name for arm in read(document(factors=factors)).all_arms][:3] == [
        "qk_norm none, position none, bias on, window none", "qk_norm none, position none, bias off, window none",
        "qk_norm none, rope, bias on, window none",
    ]  # fmt: skip


def test_every_problem_of_a_document_comes_at_once():
    found = problems(
        document(
            title="", base={"preset": "defualt"}, seeds=50, titel="x", tuning=[1e-3, 1e-3], claims=[{"arm": "pre", "than": "post"}],
            factors=TWO_BY_TWO | {"model.bias": [[1]]}, measure={"at": "step"}, match={"by": "parameters", "against": "x"},
        )
    )  # fmt: skip
    assert {"title", "base", "seeds", "titel", "tuning", "factors.model.bias.0", "measure.value"} <= found.keys()
    assert "did you mean title" in found["titel"] and "less than or equal to 20" in found["seeds"] and "'defualt'" in found["base"]
    found = problems(document(claims=[{"arm": "pre", "than": "post"}], match={"by": "parameters", "against": "x"}))
    assert "'pre' is not an arm" in found["claims"] and "'x' is not an arm" in found["match"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"factors": {}}, "arms"), ({"arms": [{"name": "a"}]}, "arms"), ({"factors": {"model.n_layer": []}}, "factors"),
        ({"factors": {"model.n_layer": [1, 1]}}, "factors"), ({"factors": {"train.batch_size": list(range(1, 40))}}, "seeds"),
        ({"tuning": [1e-3]}, "tuning"), ({"prediction": "lower"}, "prediction"), ({"budget": {"amount": 0}}, "budget.amount"),
        ({"factors": {}, "arms": [{"name": "a"}, {"name": "a"}]}, "arms"),
        ({"claims": [{"arm": "pre, warmup_steps 0"}]}, "claims.0.than"), ({"budget": {"amount": float("nan")}}, "budget.amount"),
        ({"claims": [{"arm": "pre, warmup_steps 0", "than": "pre, warmup_steps 0"}]}, "claims"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_is_refused(changes, path):
    assert list(problems(document(**changes))) == [path]


def test_impossible_arms_are_refused_by_name_all_at_once_and_what_all_share_is_said_once():
    data = document(factors={"model.n_head": [3, 4, 5]}, base={"changes": SMALL | {"optim.lr": -1, "model.nlayer": 3}})
    found = problems(data, expanding=True)
    assert set(found) == {"optim.lr", "model.nlayer", "arm “n_head 3”: model.n_head", "arm “n_head 5”: model.n_head"}
    assert "not divisible" in found["arm “n_head 3”: model.n_head"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"factors": {"train.seed": [1, 2]}}, "train.seed"), ({"factors": {"train.max_steps": [10, 20]}}, "train.max_steps"),
        ({"factors": {"optim.lr": [1e-3, 1e-2]}, "tuning": [1e-3, 1e-2]}, "optim.lr"), ({"measure": {"at": "best"}}, "measure.at"),
        ({"measure": {"quantity": "val_los"}}, "measure.quantity"), ({"factors": {"model": [1, 2]}}, "arm “model 1”: model"),
    ],
)  # fmt: skip
def test_what_the_experiment_decides_no_arm_changes(changes, path):
    assert path in problems(document(**changes), expanding=True)


def test_two_arms_that_are_the_same_run_are_refused():
    arms = [{"name": "a"}, {"name": "b", "changes": {"model.n_layer": 2}}]
    assert "same run as “a”" in problems(document(factors={}, arms=arms), expanding=True)["arm “b”"]


@pytest.mark.parametrize(("unit", "amount"), [("steps", 70), ("tokens", 70 * 96), ("seconds", 2.5), ("flops", None)])
def test_every_arm_gets_the_same_budget(unit, amount):
    factors = {"model.n_layer": [1, 2, 4]}
    amount = amount or 3 * 96 * 70 * expand(read(document(factors=factors)), vocabulary).arms["n_layer 2"].flops_per_token
    plan = expand(read(document(factors=factors, budget={"unit": unit, "amount": amount})), vocabulary)
    for arm in plan.arms.values():
        train = arm.config.train
        spent = {"steps": train.max_steps, "seconds": train.max_seconds, "tokens": (train.max_steps or 0) * arm.config.tokens_per_step}
        spent["flops"] = 3 * spent["tokens"] * arm.flops_per_token
        assert spent[unit] == pytest.approx(amount, rel=0.02)
    if unit == "flops":
        assert plan.arms["n_layer 1"].config.train.max_steps > plan.arms["n_layer 4"].config.train.max_steps


@pytest.mark.parametrize("by", ["parameters", "flops"])
def test_arms_are_matched_to_the_named_one(by):
    factors = {"model.n_layer": [1, 2, 6]}
    plan = expand(read(document(factors=factors, match={"by": by, "against": "n_layer 2"})), vocabulary)
    counts = {name: arm.n_params if by == "parameters" else arm.flops_per_token for name, arm in plan.arms.items()}
    for name, arm in plan.arms.items():
        assert arm.matched is not None and arm.config.model.n_layer == int(name[-1])
        assert arm.matched.mismatch == counts[name] / counts["n_layer 2"] - 1 and abs(arm.matched.mismatch) < 0.02
        assert arm.flops_per_token == flops_per_token(arm.matched.model)
    assert plan.arms["n_layer 2"].config.model.n_embd == 32 != plan.arms["n_layer 1"].config.model.n_embd


def test_tuning_comes_first_with_a_seed_of_its_own():
    plan = expand(read(document(tuning=[1e-3, 1e-2])), vocabulary)
    tuning = [run for run in plan.runs if run.role == "tuning"]
    assert plan.runs[:8] == tuple(tuning) and {run.seed for run in tuning} == {3} == {run.config.train.seed for run in tuning}
    assert [run.config.optim.lr for run in tuning] == [1e-3] * 4 + [1e-2] * 4 == [run.rate for run in tuning]
    assert all(run.needs_rate for run in plan.runs[8:])
    tuned = with_rate(plan.runs[8], 1e-2)
    assert tuned.config.optim.lr == 1e-2 and not tuned.needs_rate and tuned.config.train.seed == 1


def test_the_best_rate_and_whether_it_is_at_the_edge():
    assert best_rate({1e-3: 2.0, 3e-3: 1.5, 1e-2: None}) == (3e-3, False)
    assert best_rate({1e-3: 2.0, 3e-3: float("nan")}) == (1e-3, True)
    assert best_rate({3e-3: None, 1e-3: None}) == (1e-3, True)


def test_all_arms_share_the_largest_interval_of_evaluation():
    def intervals(*sizes: int) -> set[int]:
        data = document(factors={"train.batch_size": sizes}, base={"changes": SMALL | {"train.eval_interval": 10}}, budget={"amount": 5000})
        return {run.config.train.eval_interval for run in expand(read(data), vocabulary, 500).runs}

    assert intervals(2) == {180} and intervals(16) == {30} and intervals(2, 16) == {180}


def test_one_number_is_picked_of_a_curve():
    points = [(0, 4.0), (10, 2.0), (20, 1.0), (30, 1.5), (40, float("nan"))]
    assert picked(Measure(quantity="eval_loss"), points, 40) == 1.5
    assert picked(Measure(quantity="eval_loss", at="best"), points, 40) == 1.0
    assert picked(Measure(quantity="accuracy", at="best"), points, 40) == 4.0
    assert picked(Measure(quantity="eval_loss", at="step", value=10), points, 40) == 2.0
    assert picked(Measure(quantity="eval_loss", at="step", value=11), points, 40) is None
    assert picked(Measure(quantity="eval_loss", at="reaches", value=1.2), points, 40) == 20
    assert picked(Measure(quantity="eval_loss", at="reaches", value=0.2), points, 40) == 40
    assert picked(Measure(), [], 40) is None


def test_a_diverged_run_counts_as_chance():
    assert counts_as(Measure(), 65, 100) == pytest.approx(4.1744, abs=1e-4)
    assert counts_as(Measure(quantity="accuracy"), 65, 100) == 0 and counts_as(Measure(quantity="diverged"), 65, 100) == 1
    assert counts_as(Measure(quantity="eval_loss", at="reaches", value=1), 65, 100) == 100
    assert counts_as(Measure(quantity="attn_induction"), 65, 100) is None

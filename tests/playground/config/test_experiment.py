"""Experiments as documents, and the runs that they ask for."""

import json

import pytest

from models.config import complete, flops_per_token, n_params
from models.knobs import ConfigError
from playground.config.experiment import grid, plan, read

SMALL = {"model.n_layer": 2, "model.n_embd": 32, "model.block_size": 16}
ARMS = [{"name": "pre"}, {"name": "post", "changes": {"model.norm_placement": "post"}}]
CLAIM = {"kind": "lower", "arm": "pre", "than": "post", "delta": 0.05}


def document(**changes) -> dict:
    base = {"title": "Placement", "question": "Which?", "changes": SMALL, "arms": ARMS, "claims": [CLAIM], "seeds": 2}
    return base | {"budget": {"unit": "steps", "amount": 100}} | changes


def of_layers(*layers: int, **changes) -> dict:
    arms = [{"name": f"{n}", "changes": {"model.n_layer": n}} for n in layers]
    return document(arms=arms, claims=[CLAIM | {"arm": str(layers[0]), "than": str(layers[1])}], **changes)


def planned(data: dict):
    return plan(read(data), lambda config: 65)


def problems(data: dict) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        planned(data)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_document_travels_unchanged():
    full = document(tuning=[1e-3, 3e-3], measure={"quantity": "steps_to", "reaches": 2.0}, prediction="lower", said="It is.", match="flops")
    experiment = read(full)
    assert read(json.loads(experiment.model_dump_json())) == experiment


def test_runs_go_seed_by_seed_with_the_arms_taking_turns():
    runs = planned(document()).compared()
    assert [run.name for run in runs] == ["pre, seed 1", "post, seed 1", "pre, seed 2", "post, seed 2"]
    assert [run.config.train.seed for run in runs] == [1, 1, 2, 2] and {run.config.train.max_steps for run in runs} == {100}
    assert [run.config.model.norm_placement for run in runs] == ["pre", "post"] * 2


def test_a_grid_has_an_arm_for_each_combination():
    factors = {"model.norm_placement": ["pre", "post"], "optim.warmup_steps": [0, 50]}
    claim = CLAIM | {"arm": "pre, warm-up 0", "than": "post, warm-up 50"}
    found = planned(document(arms=[], factors=factors, claims=[claim]))
    assert list(found.configs) == ["pre, warm-up 0", "pre, warm-up 50", "post, warm-up 0", "post, warm-up 50"]
    assert found.configs["post, warm-up 50"].optim.warmup_steps == 50


def test_an_arm_that_is_another_by_a_second_name_is_refused():
    same = {"name": "pre again", "changes": {"model.norm_placement": "pre"}}
    assert problems(document(arms=[*ARMS, same])) == {"arm 'pre again'": "is the same run as 'pre'; give each arm a setting of its own"}


def test_impossible_arms_are_refused_by_name_all_at_once():
    arms = [{"name": str(n), "changes": {"model.n_head": n}} for n in (3, 4, 5)]
    found = problems(document(arms=arms, claims=[CLAIM | {"arm": "3", "than": "4"}]))
    assert set(found) == {"arm '3': model.n_head", "arm '5': model.n_head"} and "not divisible" in found["arm '3': model.n_head"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"titel": "x"}, "titel"), ({"preset": "defualt"}, "preset"), ({"seeds": 50}, "seeds"), ({"arms": []}, "arms"),
        ({"arms": ARMS[:1]}, "arms"), ({"claims": [CLAIM | {"than": "sandwich"}]}, "claims.0.than"), ({"tuning": [1e-3]}, "tuning"),
        ({"claims": [CLAIM | {"than": "pre"}]}, "claims.0"), ({"measure": {"quantity": "steps_to"}}, "measure.reaches"),
        ({"changes": {"train.seed": 3}}, "changes: train.seed"), ({"changes": {"model.layers": 3}}, "changes: model.layers"),
        ({"budget": {"amount": float("nan")}}, "budget.amount"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_is_refused(changes, path):
    assert list(problems(document(**changes))) == [path]


@pytest.mark.parametrize("unit", ["steps", "tokens", "flops", "seconds"])
def test_every_arm_gets_the_same_budget(unit):
    per_step = {"steps": 1, "tokens": 96, "flops": 3 * 96 * 300_000, "seconds": 1}[unit]
    for config in planned(of_layers(1, 4, budget={"unit": unit, "amount": 70 * per_step})).configs.values():
        assert config.tokens_per_step == 96
        per_step = {"steps": 1, "tokens": 96, "flops": 3 * 96 * flops_per_token(complete(config.model, 65)), "seconds": 1}[unit]
        asked = 70 * {"steps": 1, "tokens": 96, "flops": 3 * 96 * 300_000, "seconds": 1}[unit]
        spent = config.train.max_seconds if unit == "seconds" else config.train.max_steps * per_step
        assert spent == pytest.approx(asked, rel=0.02)


@pytest.mark.parametrize(("by", "count"), [("parameters", n_params), ("flops", flops_per_token)])
def test_arms_are_matched_to_the_first(by, count):
    found = planned(of_layers(2, 1, 6, match=by))
    target = count(complete(found.configs["2"].model, 65))
    for name, config in found.configs.items():
        assert config.model.n_layer == int(name) and count(complete(config.model, 65)) == pytest.approx(target, rel=0.02)
        assert found.matched[name].mismatch == pytest.approx(count(complete(config.model, 65)) / target - 1)


def test_tuning_has_a_seed_of_its_own_and_its_rates_are_used():
    found = planned(document(tuning=[1e-3, 1e-2]))
    assert [(run.seed, run.role, run.config.optim.lr) for run in found.tuning()] == [(3, "tuning", lr) for lr in (1e-3, 1e-3, 1e-2, 1e-2)]
    tuned = found.compared({"pre": 1e-2, "post": 1e-3})
    assert [run.config.optim.lr for run in tuned] == [1e-2, 1e-3] * 2 and found.n_runs == 8 == len(tuned) + len(found.tuning())


@pytest.mark.parametrize(("of", "seeds"), [
    ("both", [(1, None), (2, None), (3, None)]), ("initialisation", [(1, 1), (2, 1), (3, 1)]), ("order", [(1, 1), (1, 2), (1, 3)]),
])  # fmt: skip
def test_seeds_change_the_weights_the_order_or_both(of, seeds):
    runs = planned(document(seeds=3, seeds_of=of)).compared()
    assert [(run.config.train.seed, run.config.train.data_seed) for run in runs if run.arm == "pre"] == seeds


@pytest.mark.parametrize(("changes", "path"), [
    ({"arms": [], "factors": {"optim.lr": [1e-3, 1e-2]}, "tuning": [1e-3, 2e-3], "claims": [CLAIM]}, "tuning"),
    ({"measure": {"quantity": "diverged"}, "claims": [CLAIM | {"than": 0.5}]}, "claims.0.than"),
    ({"claims": [CLAIM] * 33}, "claims"), ({"arms": [], "factors": {f"model.{i}": [1, 2] for i in range(5)}}, "factors"),
    ({"arms": [], "factors": {"model.n_layer": [10**5000, 1]}}, "factors"), ({"arms": [{"name": f"{i}"} for i in range(17)]}, "arms"),
])  # fmt: skip
def test_what_cannot_be_judged_or_is_too_much_is_refused(changes, path):
    assert path in problems(document(**changes))


def test_an_empty_value_has_a_name():
    assert [arm.name for arm in grid({"model.window_pattern": ["", "L"]})] == ["window pattern empty", "L"]

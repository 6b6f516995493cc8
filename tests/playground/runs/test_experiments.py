"""An experiment over real runs: what is still to be trained, what was measured, and what it says."""

import math
from dataclasses import replace

import pytest
import torch

from models.graph import stream_nodes
from models.knobs import ConfigError
from playground.config import experiment as documents
from playground.config.looks import looks
from playground.config.settings import Settings
from playground.data import dataset
from playground.runs import creation, experiments, store, verdict
from playground.runs.access import HOST
from playground.runs.folder import RunFolder
from playground.runs.store import Member, Store
from playground.training.checkpoints import Checkpoints
from playground.training.events import Accuracy, Probed, Validation
from playground.workers import worker
from tests.conftest import TINY

SHAPE = {path: value for path, value in TINY.items() if path != "train.max_steps"}
DOCUMENT = {
    "title": "Norms", "question": "Is pre-norm lower?", "changes": SHAPE | {"data.tokenizer": "char"},
    "factors": {"model.norm_placement": ["pre", "post"]}, "seeds": 3, "budget": {"unit": "steps", "amount": 8},
    "claims": [{"kind": "lower", "arm": "pre", "than": "post", "delta": 0.0}],
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    root = tmp_path_factory.mktemp("experiments")
    db = Store(root)
    db.create()
    return Settings(root), db


def begun(house, **changes):
    settings, db = house
    plan = experiments.planned(documents.read(DOCUMENT | changes), settings)
    return experiments.add(db, plan.experiment, HOST), plan


def train(house, experiment_id, plan, most: int = 100) -> list[str]:
    """The next runs of an experiment, trained here; their names."""
    settings, db = house
    names = []
    while len(names) < most and (following := experiments.next_run(db, settings, experiment_id, plan, HOST)) is not None:
        worker.execute(settings.root, following[0], torch.get_num_threads(), worker.Interruption())
        names.append(following[1].name)
    return names


def recorded(house, experiment_id, plan, losses: dict[str, list[float | None]], events=()) -> None:
    """Runs as they would have ended, without training them; None where one diverged."""
    settings, db = house
    for arm, by_seed in losses.items():
        for seed, loss in zip(plan.experiment.compared_seeds, by_seed, strict=False):
            config = next(each.config for each in plan.compared() if (each.arm, each.seed) == (arm, seed))
            member = Member(experiment_id, arm, seed, "compared")
            run_id = experiments.create_run(db, settings, config, HOST, state=store.STARTING, member=member)
            db.begin(run_id, step=0, threads=1, device="cpu", probe_text="")
            db.append(run_id, list(events), {"step": 8})
            ended = {"state": store.DIVERGED} if loss is None else {"state": store.FINISHED, "val_loss": loss}
            db.change_state(run_id, ended.pop("state"), store.ACTIVE, **ended)


def test_all_runs_are_trained_and_the_claim_is_judged(house):
    experiment_id, plan = begun(house, prediction="lower")
    assert train(house, experiment_id, plan, most=2) == ["pre, seed 1", "post, seed 1"]
    part = experiments.result(house[1], experiment_id, plan)
    assert (part.n_ended, part.n_runs, part.is_complete) == (2, 6, False)
    assert part.judged[0].verdict == verdict.UNDECIDED and experiments.as_json(experiment_id, plan, part)["interval"] is None
    # What goes on has nothing but the database.
    plan = experiments.planned(experiments.read(house[1], experiment_id), house[0])
    assert train(house, experiment_id, plan) == ["pre, seed 2", "post, seed 2", "pre, seed 3", "post, seed 3"]
    found, runs = experiments.result(house[1], experiment_id, plan), {run.id: run for run in house[1].runs()}
    for run_id, member in house[1].members(experiment_id).items():
        assert found.values[member.arm][member.seed] == runs[run_id].val_loss
        assert (runs[run_id].state, runs[run_id].step, runs[run_id].config.train.seed) == (store.FINISHED, 8, member.seed)
    told = experiments.as_json(experiment_id, plan, found)
    assert told["verdict"] in ("supported", "refuted", "undecided") and told["runs_ended"] == 6
    apart = [found.values["pre"][seed] - found.values["post"][seed] for seed in (1, 2, 3)]
    assert told["difference"] == pytest.approx(sum(apart) / 3) and told["interval"][0] < told["difference"] < told["interval"][1]
    assert any("prediction" in sentence for sentence in told["sentences"]) and "3 seeds" in told["methods"]
    assert "seed 3" in experiments.table(found)


def test_a_run_that_was_stopped_goes_on_and_is_no_other(house):
    experiment_id, plan = begun(house)
    settings, db = house
    run_id, _ = experiments.next_run(db, settings, experiment_id, plan, HOST)
    assert db.change_state(run_id, store.STOPPED, store.ACTIVE)
    again, planned = experiments.next_run(db, settings, experiment_id, plan, HOST)
    assert (again, planned.name, db.run(run_id).state) == (run_id, "pre, seed 1", store.STARTING)


def test_each_arm_gets_the_best_of_the_learning_rates(house):
    experiment_id, plan = begun(house, tuning=[1e-4, 1e-2], seeds=1)
    names = train(house, experiment_id, plan)
    assert names == ["pre, rate 0.0001, seed 2", "post, rate 0.0001, seed 2", "pre, rate 0.01, seed 2", "post, rate 0.01, seed 2",
                     "pre, seed 1", "post, seed 1"]  # fmt: skip
    found = experiments.result(house[1], experiment_id, plan)
    members = house[1].members(experiment_id)
    for arm in ("pre", "post"):
        tuned = {
            house[1].run(id).config.optim.lr: house[1].run(id).val_loss for id, m in members.items() if (m.arm, m.role) == (arm, "tuning")
        }
        assert found.rates[arm] == min(tuned, key=tuned.get)
        compared = next(house[1].run(id) for id, m in members.items() if (m.arm, m.role) == (arm, "compared"))
        assert compared.config.optim.lr == found.rates[arm] and found.values[arm] == {1: compared.val_loss}


def test_a_run_that_diverged_counts_as_chance_and_is_named(house):
    experiment_id, plan = begun(house)
    recorded(house, experiment_id, plan, {"pre": [2.0, 2.1, 2.05], "post": [3.0, None, 3.1]})
    found = experiments.result(house[1], experiment_id, plan)
    vocabulary = next(iter(house[1].runs())).config.model.vocab_size
    assert found.values["post"] == {1: 3.0, 2: pytest.approx(math.log(vocabulary)), 3: 3.1} and found.diverged == {"pre": [], "post": [2]}
    said = experiments.sentences(found)
    assert "“pre” ends" in said[0] and "lower than “post”" in said[0] and "supported" in said[0]
    assert "“post”: 1 of 3 runs diverged." in said


@pytest.mark.parametrize(
    ("losses", "prediction", "said"),
    [
        ({"pre": [2.0, 2.1, 2.05], "post": [3.0, 3.1, 3.07]}, "lower", "Your prediction was right."),
        ({"pre": [2.0, 2.1, 2.05], "post": [3.0, 3.1, 3.07]}, "higher", "Your prediction was wrong."),
        ({"pre": [2.0, 2.1, 2.05], "post": [2.1, 2.0, 2.06]}, "lower", "Your prediction is not decided."),
        ({"pre": [2.0], "post": [3.0]}, "lower", "Your prediction is not decided yet."),
        ({}, "lower", "Your prediction is not decided yet."),
    ],
)
def test_the_prediction_is_judged_by_the_same_rule(house, losses, prediction, said):
    experiment_id, plan = begun(house, prediction=prediction)
    recorded(house, experiment_id, plan, losses)
    assert experiments.sentences(experiments.result(house[1], experiment_id, plan))[-1] == said


def test_an_interval_on_both_sides_of_zero_says_which_side_is_which(house):
    experiment_id, plan = begun(house)
    recorded(house, experiment_id, plan, {"pre": [2.0, 2.1, 2.05], "post": [2.1, 2.0, 2.06]})
    said = experiments.sentences(experiments.result(house[1], experiment_id, plan))[0]
    assert "“pre” ends 0.00333 nats per token lower than “post” (95% interval from 0.252 lower to 0.245 higher, 3 seeds)" in said
    assert said.endswith("undecided; 1,000 seeds would not be enough for so small a difference.")
    experiment_id, plan = begun(house)
    recorded(house, experiment_id, plan, {"pre": [2.0, 2.1, 2.05], "post": [2.1, 2.12, 2.06]})
    assert "undecided; about 13 seeds would decide it." in experiments.sentences(experiments.result(house[1], experiment_id, plan))[0]


def test_what_is_measured(house):
    by = {"steps_to": 4.0, "eval_loss": 2.5, "accuracy": 0.75, "diverged": 0.0}
    for quantity, value in by.items():
        measure = {"quantity": quantity} | ({"reaches": 3.0} if quantity == "steps_to" else {})
        changes = {"model.n_layer": 1, "model.n_embd": 16, "data.source": "task:copy"} if quantity == "accuracy" else DOCUMENT["changes"]
        experiment_id, plan = begun(house, measure=measure, changes=changes)
        events = [Validation(step, loss=loss, n_tokens=10, whole=False, seconds=1.0) for step, loss in ((2, 3.5), (4, 2.9), (6, 2.5))]
        events += [Accuracy(8, token=0.75, answer=0.5, n_examples=4, sizes=[], by_size=[], seconds=1.0, whole=True)]
        recorded(house, experiment_id, plan, {"pre": [2.0]}, events)
        db = house[1]
        run = db.run(next(iter(db.members(experiment_id))))
        db.append(run.id, [], {"best_eval_loss": 2.5})
        assert experiments.measured(db, db.run(run.id), plan.experiment.measure) == value, quantity


@pytest.mark.parametrize(("measure", "value"), [
    ({"quantity": "stream_rms", "place": "growth"}, 3.0), ({"quantity": "stream_rms", "place": "last"}, 4.0),
    ({"quantity": "stream_rms", "place": "first", "step": 3}, 0.0), ({"quantity": "reads_token", "place": "mean"}, 0.5),
    ({"quantity": "attn_previous", "place": "largest"}, 0.9), ({"quantity": "attn_previous", "place": "smallest"}, 0.1),
    ({"quantity": "dead_units"}, None),
])  # fmt: skip
def test_a_quantity_that_was_probed_is_taken_at_its_place_and_step(house, measure, value):
    """Ratios as doublings; the newest probe that has it, up to the step."""
    first, ends = stream_nodes(begun(house)[1].configs["pre"].model)
    early = {"stream_rms": {first: [1.0], ends[-1]: [32.0]}}
    late = {
        "stream_rms": {ends[-1]: [6.0, 16.0], ends[0]: [4.0, 8.0], first: [2.0]}, "reads_token": {first: [1.0], ends[-1]: [0.25, 0.25]},
        "attn_previous": {"attn": [[0.1, 0.5], [0.9, None]]}, "dead_units": {"mlp": [None, None]},
    }  # fmt: skip
    probes = [Probed(step, "hash", 4, 0, 1.0, values) for step, values in ((0, early), (6, late), (8, {}))]
    experiment_id, plan = begun(house, measure=measure)
    recorded(house, experiment_id, plan, {"pre": [2.0]}, probes)
    run = house[1].run(next(iter(house[1].members(experiment_id))))
    found = experiments.measured(house[1], run, plan.experiment.measure)
    assert found is None if value is None else found == pytest.approx(value)
    unit = experiments.unit_of(plan.experiment.measure)
    assert unit.startswith("doublings") == (measure["quantity"] == "stream_rms")


def test_an_arm_is_compared_with_a_number(house):
    experiment_id, plan = begun(house, claims=[{"kind": "lower", "arm": "pre", "than": 2.5, "delta": 0.0}])
    recorded(house, experiment_id, plan, {"pre": [2.0, 2.1, 1.9], "post": [9.0, 9.0, 9.0]})
    found = experiments.result(house[1], experiment_id, plan)
    assert found.judged[0].verdict == experiments.overall(found) == verdict.SUPPORTED
    assert found.judged[0].difference.pairs == pytest.approx((-0.5, -0.4, -0.6))
    assert "“pre” ends 0.500 nats per token lower than 2.5" in experiments.sentences(found)[0]


def test_what_was_not_reached_took_all_steps_and_what_diverged_is_at_chance(house):
    measure = {"quantity": "steps_to", "reaches": 1.0}
    experiment_id, plan = begun(house, measure=measure)
    recorded(house, experiment_id, plan, {"pre": [None, 2.0]})
    assert experiments.result(house[1], experiment_id, plan).values["pre"] == {1: 8.0, 2: 8.0}, "the budget, not the step of its end"


def test_claims_against_one_number_have_their_own_seeds(house):
    claims = [{"kind": "lower", "arm": arm, "than": 2.5, "delta": 0.0} for arm in ("pre", "post")]
    experiment_id, plan = begun(house, claims=claims)
    recorded(house, experiment_id, plan, {"pre": [2.0, 2.1, 1.9]})
    found = experiments.result(house[1], experiment_id, plan)
    assert [each.verdict for each in found.judged] == [verdict.SUPPORTED, verdict.UNDECIDED]
    assert found.judged[1].difference is None and "no seed has been measured in this arm" in experiments.sentences(found)[1]


def test_nothing_is_decided_before_the_last_run_has_ended(house):
    experiment_id, plan = begun(house, seeds=4, prediction="lower")
    recorded(house, experiment_id, plan, {"pre": [2.0, 2.1, 2.05], "post": [3.0, 3.1, 3.07]})
    found = experiments.result(house[1], experiment_id, plan)
    assert experiments.overall(found) == experiments.as_json(experiment_id, plan, found)["verdict"] == verdict.UNDECIDED
    assert experiments.sentences(found)[0].startswith("So far: ") and experiments.predicted(found) == "Your prediction is not decided yet."


def test_one_that_stops_when_it_is_decided_judges_by_the_seeds_it_took(house):
    experiment_id, plan = begun(house, seeds=6, stop_when_decided=True)
    recorded(house, experiment_id, plan, {"pre": [2.0, 2.1], "post": [3.0, 3.12]})
    assert not experiments.is_decided(house[1], experiment_id, plan), "two seeds decide nothing"
    experiment_id, plan = begun(house, seeds=6, stop_when_decided=True)
    recorded(house, experiment_id, plan, {"pre": [2.0, 2.1, 2.05, 9.0], "post": [3.0, 3.12, 3.06]})
    found = experiments.result(house[1], experiment_id, plan)
    assert found.is_complete and found.decided_after == 3 and list(found.values["pre"]) == [1, 2, 3]
    apart = verdict.differences(found.values, [("pre", "post")], 1 - 0.05 / 4)[0]
    assert found.judged[0].difference.high == pytest.approx(apart.high) and found.judged[0].verdict == verdict.SUPPORTED
    assert experiments.next_run(house[1], house[0], experiment_id, plan, HOST) is None
    assert "It ended after 3 of 6 seeds, because every claim was decided." in experiments.sentences(found)
    assert "corrected for 4 such looks" in experiments.methods(plan)
    experiment_id, plan = begun(house, seeds=4, stop_when_decided=True)
    recorded(house, experiment_id, plan, {"pre": [2.0, 2.1, 2.05], "post": [2.1, 2.0, 2.06]})
    assert [each.name for each in experiments.missing(house[1], experiment_id, plan)] == ["pre, seed 4", "post, seed 4"]


def test_arms_start_from_the_weights_that_they_have_in_common(house):
    settings, db = house
    experiment_id, plan = begun(house, factors={"model.dropout": [0.0, 0.2]}, seeds=2, common_steps=5, claims=[
        {"kind": "lower", "arm": "dropout 0.0", "than": "dropout 0.2", "delta": 0.0}])  # fmt: skip
    assert [each.name for each in experiments.missing(db, experiment_id, plan)] == [
        "the first 5 steps, seed 1",
        "the first 5 steps, seed 2",
    ]
    assert train(house, experiment_id, plan, most=3) == ["the first 5 steps, seed 1", "dropout 0.0, seed 1", "dropout 0.2, seed 1"]
    assert [each.name for each in experiments.missing(db, experiment_id, plan)] == ["the first 5 steps, seed 2"]
    assert len(train(house, experiment_id, plan)) == 3
    found = experiments.result(db, experiment_id, plan)
    assert found.is_complete and found.n_runs == 6 and all(list(values) == [1, 2] for values in found.values.values())
    members = {(each.arm, each.seed): run_id for run_id, each in db.members(experiment_id).items()}
    for arm in ("dropout 0.0", "dropout 0.2"):
        run = db.run(members[arm, 2])
        assert (run.parent, run.parent_step, run.step) == (members["", 2], 5, 8)
        start, begun_with = (Checkpoints(RunFolder(settings.root, id).checkpoints).weights(at) for id, at in ((run.parent, 5), (run.id, 0)))
        assert all(torch.equal(start[name], begun_with[name]) for name in start)
    assert "after 5 steps" in experiments.methods(plan)


@pytest.mark.parametrize(("path", "values", "changes", "problem"), [
    ("model.n_layer", [1, 2], {}, "arm '2': model"),
    ("data.tokenizer", ["char", "byte"], {}, "arm '2': model"),
    ("model.dropout", [0.0, 0.1], {"tuning": [0.1, 0.2]}, "common_steps"),
    ("model.dropout", [0.0, 0.1], {"common_steps": 0}, "common_steps"),
    ("model.dropout", [0.0, 0.1], {"common_steps": 10_000}, "common_steps: train.max_steps"),
])  # fmt: skip
def test_what_cannot_start_from_the_same_weights_is_refused(house, path, values, changes, problem):
    arms = [{"name": str(i), "changes": {path: value}} for i, value in enumerate(values, start=1)]
    about = {"factors": {}, "arms": arms, "claims": [{"kind": "lower", "arm": "1", "than": "2", "delta": 0.0}], "common_steps": 5}
    with pytest.raises(ConfigError) as caught:
        experiments.planned(documents.read(DOCUMENT | about | changes), replace(house[0], max_steps=1000))
    assert [each.path for each in caught.value.problems] == [problem]


def test_all_arms_are_judged_at_the_same_steps(house):
    """Each by itself would be as often as it can afford."""
    document = DOCUMENT | {
        "changes": DOCUMENT["changes"] | {"train.eval_interval": 5}, "factors": {"train.batch_size": [4, 64]},
        "budget": {"unit": "steps", "amount": 2000},
        "claims": [{"kind": "lower", "arm": "batch 64", "than": "batch 4", "delta": 0.0}],
    }  # fmt: skip
    plan = experiments.planned(documents.read(document), house[0])
    apart = documents.plan(plan.experiment, lambda _: 28)
    each = {arm: judged_every(house[0].root, config) for arm, config in apart.configs.items()}
    assert each["batch 64"] < each["batch 4"] == plan.configs["batch 64"].train.eval_interval
    assert {judged_every(house[0].root, config) for config in plan.configs.values()} == {each["batch 4"]}


def judged_every(root, config) -> int:
    """By what is really scored in a run."""
    complete = creation.complete(config, root)
    data = dataset.load(complete.data, root)
    return looks(complete, sum(chunk.inputs.numel() for chunk in data.sample(complete.width, torch.device("cpu")))).judged_every


def test_rates_are_said_once_all_of_them_were_tried(house):
    experiment_id, plan = begun(house, tuning=[1e-3, 1e-2])
    train(house, experiment_id, plan, most=1)
    assert experiments.result(house[1], experiment_id, plan).rates == {}


@pytest.mark.parametrize(("measure", "path"), [
    ({"quantity": "accuracy"}, "arm 'pre': data.source"), ({"quantity": "reads_token", "place": "growth"}, "measure.place"),
])  # fmt: skip
def test_what_can_have_no_value_is_refused(house, measure, path):
    with pytest.raises(ConfigError) as caught:
        begun(house, measure=measure)
    assert caught.value.problems[0].path == path


def test_what_is_not_measured_is_refused_with_what_is(house):
    with pytest.raises(ConfigError, match="stream_rms") as caught:
        begun(house, measure={"quantity": "beauty"})
    assert caught.value.problems[0].path == "measure.quantity"


def test_every_arm_that_cannot_be_is_refused_before_anything_starts(house):
    arms = [{"name": "fine"}, {"name": "odd", "changes": {"model.n_head": 3}}, {"name": "long", "changes": {"model.block_size": 10**7}}]
    before = house[1].runs()
    with pytest.raises(ConfigError) as caught:
        begun(house, factors={}, arms=arms, claims=[{"kind": "lower", "arm": "fine", "than": "odd", "delta": 0}])
    assert {problem.path.split(":")[0] for problem in caught.value.problems} == {"arm 'odd'", "arm 'long'"}
    assert house[1].runs() == before


def test_a_law_through_the_arms_is_said_and_exported(house):
    """On losses that follow one: 1.5 + 8 x^-0.5 in the width x, with a little of each seed."""
    widths = [8, 16, 32, 64]
    losses = {f"width {n}": [1.5 + 8 * n**-0.5 + 0.01 * seed for seed in range(3)] for n in widths}
    claims = [{"kind": "lower", "arm": "width 64", "than": "width 8", "delta": 0.0}]
    experiment_id, plan = begun(house, factors={"model.n_embd": widths}, claims=claims, fit="model.n_embd")
    assert experiments.result(house[1], experiment_id, plan).law is None
    recorded(house, experiment_id, plan, losses)
    found = experiments.result(house[1], experiment_id, plan)
    told = experiments.as_json(experiment_id, plan, found)
    assert (told["fit"]["x"], told["fit"]["exponent"]) == ("model.n_embd", pytest.approx(0.5, rel=1e-2))
    assert "x being the model.n_embd" in told["methods"]
    assert told["fit"]["low"] <= 0.5005 and len(told["fit"]["points"]) == 4
    assert any(said.startswith("A power law through the arms: 1.51 + 8") and "x is model.n_embd" in said for said in told["sentences"])

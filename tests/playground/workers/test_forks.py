"""A run that starts from any checkpoint of another one, with something changed that its weights allow."""

import gradio as gr
import pytest
import torch
from starlette.testclient import TestClient

from models.knobs import ConfigError, flat, nested, parse
from playground.config.run import RunConfig
from playground.runs import store
from playground.runs.access import HOST, Access, Visitor, new_key
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.store import NoSuchRun
from playground.training.checkpoints import Checkpoints
from playground.ui import form
from playground.ui.common import Services
from playground.ui.design import Design
from playground.web.routes import Routes
from playground.web.status import Statuses
from tests.conftest import TINY

ALICE, BOB = Visitor.from_key(new_key()), Visitor.from_key(new_key())
PARENT = TINY | {"data.tokenizer": "char", "train.max_steps": 12, "train.checkpoint_interval": 3, "train.eval_interval": 3}


def config_of(**changes):
    return parse(RunConfig, nested(flat(parse(RunConfig, nested(PARENT))) | {path.replace("__", "."): v for path, v in changes.items()}))


def weights(house, run_id, step):
    return Checkpoints(RunFolder(house.settings.root, run_id).checkpoints).weights(step)


def trained(house) -> str:
    run_id = house.supervisor.submit(config_of(), ALICE, name="parent")
    house.wait(run_id, store.FINISHED)
    return run_id


@pytest.fixture(scope="module")
def parent(house):
    """To start from only."""
    return trained(house)


def test_a_fork_starts_from_the_weights_of_its_step_and_goes_its_own_way(house, parent):
    changed = config_of(optim__lr=0.01, optim__warmup_steps=0, model__dropout=0.1, train__max_steps=6)
    fork = house.supervisor.submit(changed, BOB, name="fork", parent=parent, parent_step=3)
    assert house.wait(fork, store.FINISHED).parent_step == 3
    before, begun = weights(house, parent, 3), weights(house, fork, 0)
    assert before.keys() == begun.keys() and all(torch.equal(before[name], begun[name]) for name in before)
    last = weights(house, fork, 6)
    assert any(not torch.equal(begun[name], last[name]) for name in begun)
    notices = [row.body["text"] for row in house.db.events(fork, kinds=["notice"])]
    assert any("starts from the weights of step 3" in text for text in notices), "the state of so early a step is gone"
    told = Statuses(house.db, house.supervisor.limits)
    assert told.of(house.db.run(fork))["began_from"] == {"id": parent, "name": house.db.run(parent).name, "step": 3}
    assert told.of(house.db.run(parent))["began_from"] is None
    # Beside its parent it is drawn from the step on at which it left it.
    client = TestClient(Routes(house.settings, house.db).app())
    figure = client.get(f"/overlay?runs={parent},{fork}").json()
    assert min(figure["data"][3]["x"]) >= 3 and max(figure["data"][3]["x"]) == 3 + 6
    assert max(client.get(f"/overlay?runs={fork}").json()["data"][1]["x"]) == 6


def test_a_fork_of_the_newest_step_goes_on_with_the_optimizer(house, parent):
    fork = house.supervisor.submit(config_of(train__max_steps=3), ALICE, parent=parent, parent_step=12)
    house.wait(fork, store.FINISHED)
    assert not [row for row in house.db.events(fork, kinds=["notice"]) if "begin anew" in row.body["text"]]
    state, before = (Checkpoints(RunFolder(house.settings.root, run).checkpoints).state(at) for run, at in ((fork, 0), (parent, 12)))
    moments = [name for name in before if name.startswith("optim.")]
    assert moments and all(torch.equal(state[name], before[name]) for name in moments)


def test_a_fork_with_another_seed_reads_the_data_in_another_order(house, parent):
    forks = []
    for seed in (7, 8):
        changed = config_of(train__max_steps=3, train__data_seed=seed, model__dropout=0.0)
        forks.append(house.supervisor.submit(changed, ALICE, parent=parent, parent_step=12))
    for fork in forks:
        house.wait(fork, store.FINISHED)
    assert house.db.run(forks[0]).val_loss != house.db.run(forks[1]).val_loss


def test_a_fork_whose_parent_was_deleted_before_it_began_fails_with_that_reason(house):
    parent = trained(house)
    blocked = create_run(house.db, house.settings, config_of(), ALICE, state=store.STOPPED, parent=parent, parent_step=3)
    house.supervisor.delete(parent, ALICE)
    house.supervisor.resume(blocked, ALICE)
    assert "was deleted" in house.wait(blocked, store.FAILED).reason


@pytest.mark.parametrize(("changes", "step", "path"), [
    ({"model__n_layer": 2}, 12, "model"), ({"model__n_embd": 32}, 12, "model"), ({"data__tokenizer": "byte"}, 12, "model"),
    ({}, 5, "parent_step"),
])  # fmt: skip
def test_what_the_weights_do_not_allow_is_refused(house, parent, changes, step, path):
    before = len(house.db.runs())
    with pytest.raises(ConfigError) as caught:
        house.supervisor.submit(config_of(**changes), ALICE, parent=parent, parent_step=step)
    assert [problem.path for problem in caught.value.problems] == [path] and len(house.db.runs()) == before


def test_a_strangers_private_run_cannot_be_forked_and_forks_of_private_ones_are_private(house):
    parent = trained(house)
    house.supervisor.set_private(parent, ALICE, True)
    with pytest.raises(NoSuchRun):
        house.supervisor.submit(config_of(), BOB, parent=parent, parent_step=12)
    fork = house.supervisor.submit(config_of(train__max_steps=1_000_000), ALICE, parent=parent, parent_step=12)
    assert house.db.run(fork).private
    told = Statuses(house.db, house.supervisor.limits)
    assert told.of(house.db.run(fork))["began_from"] is None, "not everybody may see what it started from"
    house.supervisor.stop(fork, HOST)


def test_the_design_says_at_once_what_does_not_fit_the_checkpoint_it_starts_from(house, parent):
    design = Design(Services(house.settings, house.db, house.supervisor, Access(house.db)))
    with gr.Blocks():
        design.build_recipe()
        design.build_picture()
        design.built()

    def said(origin, **changes):
        values = flat(config_of(**changes))
        shown = [form.shown_value(spec, values[spec.path]) for spec in form.SPECS]
        return design.review("default", "", origin, *shown)[0]

    assert not said(f"{parent}:12", model__dropout=0.2)["problems"] and not said("", model__n_layer=2)["problems"]
    (problem,) = said(f"{parent}:12", model__n_layer=2)["problems"]
    assert (problem["id"], problem["label"]) == ("origin", "starts from") and "do not fit" in problem["message"]
    assert house.db.run(parent).name not in problem["message"], "it may be private"
    assert "no checkpoint of step 5" in said(f"{parent}:5")["problems"][0]["message"]
    assert "gone" in said("aaaaaaaaaa:5")["problems"][0]["message"]
    (caution,) = said("", optim__warmup_steps=12)["cautions"]
    assert caution["id"] == "optim-warmup_steps" and "never reaches its peak" in caution["message"]

"""A run that was paused, interrupted or killed ends with the very bits of one that never was."""

import pytest
import torch

from models import linear
from playground.config.optim import OPTIMIZERS
from playground.training.checkpoints import Checkpoints
from playground.training.events import Accuracy, Facts, Progress, Validation
from playground.training.loop import Loop, Orders

VARIANTS = [
    {},
    {"optim.name": "sgd", "train.accumulation": 2},
    {"train.accumulation": 2, "optim.schedule": "linear", "optim.warmup_steps": 12},
    {"model.tie_weights": False, "model.norm_placement": "post", "train.batch_size": 3},
    {"optim.grad_clip": None, "optim.beta1": 0.0, "optim.name": "sgd", "train.dtype": "bfloat16"},
    {"optim.name": "muon", "optim.rest_lr": 1e-3, "optim.schedule": "wsd", "model.qk_norm": "head"},
    {"optim.name": "lion", "optim.lr": 1e-4},
    {"optim.name": "schedule_free", "optim.warmup_steps": 4},
]


def test_every_optimizer_is_resumed():
    assert {variant.get("optim.name", "adamw") for variant in VARIANTS} == OPTIMIZERS.keys()


@pytest.fixture(autouse=True)
def small_products_too(monkeypatch):
    """So that bfloat16 is used in tiny layers."""
    monkeypatch.setattr(linear, "FEW_PRODUCTS", 0)


def tensors_of(state):
    """All that decides the next step, by name."""
    optimizer = {f"{i}.{name}": value for i, entry in state.optimizer.state_dict()["state"].items() for name, value in entry.items()}
    tensors = {**state.model.state_dict(), **optimizer, "batches": state.batches.state, "rng": torch.get_rng_state()}
    return {name: tensor.clone() for name, tensor in tensors.items() if tensor is not None}


def assert_bit_identical(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]), name


def continued(new_state, changes, folder):
    """A new process would do just this: a fresh state, restored from the newest checkpoint."""
    state = new_state(changes)
    torch.manual_seed(12345)
    checkpoints = Checkpoints(folder / "checkpoints")
    state.restore(checkpoints, checkpoints.newest_to_resume())
    return state


TASKS = [
    {"data.source": "task:copy", "data.length": 4, "model.block_size": 17},
    {"data.source": "task:modular-addition", "data.scored": "all", "optim.name": "sgd"},
]


@pytest.mark.parametrize("changes", [*VARIANTS, *TASKS], ids=str)
def test_paused_and_resumed_equals_undisturbed(new_state, run_loop, tmp_path, changes):
    undisturbed = new_state(changes)
    _, calm = run_loop(undisturbed, tmp_path / "calm")
    wanted = tensors_of(undisturbed)
    outcome, _ = run_loop(new_state(changes), tmp_path / "run", {7: Orders("pause")})
    assert (outcome.state, outcome.step) == ("paused", 7)
    state, paused_s = continued(new_state, changes, tmp_path / "run"), outcome.seconds
    assert (state.steps_done, state.seconds) == (7, paused_s)
    outcome, link = run_loop(state, tmp_path / "run")
    assert link.of(Progress)[0].seconds > paused_s
    assert outcome.tokens_per_s == pytest.approx((20 - 7) * state.config.tokens_per_step / (outcome.seconds - paused_s))
    assert (outcome.state, outcome.step) == ("finished", 20)
    assert_bit_identical(tensors_of(state), wanted)
    assert link.of(Progress)[-1].lr == calm.of(Progress)[-1].lr
    assert link.of(Progress)[-1].loss == calm.of(Progress)[-1].loss
    assert [event.step for event in (*calm.of(Facts), *link.of(Facts))] == [0]
    for kind in (Validation, Accuracy):
        ends = [[(event.to_json().split('"seconds"')[0], event.step) for event in run.of(kind)][-1:] for run in (calm, link)]
        assert ends[0] == ends[1]


def test_pausing_again_and_again_changes_nothing(new_state, run_loop, tmp_path):
    undisturbed = new_state()
    Loop(undisturbed, tmp_path / "calm").run()
    wanted = tensors_of(undisturbed)
    run_loop(new_state(), tmp_path / "run", {1: Orders("pause")})
    for step in (2, 5, 6, 13, 19):
        outcome, _ = run_loop(continued(new_state, {}, tmp_path / "run"), tmp_path / "run", {step: Orders("interrupt")})
        assert outcome.step == step
    state = continued(new_state, {}, tmp_path / "run")
    run_loop(state, tmp_path / "run")
    assert_bit_identical(tensors_of(state), wanted)


class Killed(BaseException):
    """Nothing in the loop may catch this."""


def test_a_killed_run_goes_on_from_its_last_checkpoint(new_state, run_loop, tmp_path):
    """Killed in step 13, it loses the three steps since the checkpoint of step 10."""
    undisturbed = new_state()
    Loop(undisturbed, tmp_path / "calm").run()
    wanted = tensors_of(undisturbed)
    victim, step = new_state(), 13

    def kill(*_):
        if victim.steps_done == step:
            raise Killed

    victim.model.register_forward_pre_hook(kill)
    with pytest.raises(Killed):
        Loop(victim, tmp_path / "run").run()
    state = continued(new_state, {}, tmp_path / "run")
    assert state.steps_done == 10
    run_loop(state, tmp_path / "run")
    assert_bit_identical(tensors_of(state), wanted)


def test_the_place_in_a_schedule_over_seconds_is_kept(new_state, run_loop, tmp_path):
    changes = {"train.max_steps": None, "train.max_seconds": 60.0, "optim.schedule": "linear"}
    paused = new_state(changes)
    run_loop(paused, tmp_path, {9: Orders("pause")})
    state = continued(new_state, changes, tmp_path)
    assert state.schedule.warmup_ended_s == paused.schedule.warmup_ended_s > 0
    assert state.schedule.lr(9, 30.0) == paused.schedule.lr(9, 30.0)

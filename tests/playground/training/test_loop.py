"""The loop on a tiny text: how runs end, what is recorded, and that looking changes nothing."""

import errno
import math
import os
import threading

import pytest
import torch

from playground.training.checkpoints import Checkpoints
from playground.training.events import (
    KINDS,
    Accuracy,
    Answers,
    Checkpoint,
    Notice,
    Probed,
    Progress,
    Sample,
    Validation,
    from_json,
)
from playground.training.loop import EARLY_CREDIT_S, Loop, Orders
from playground.training.pacing import Pacer


def weights_of(state):
    return [p.detach().clone() for p in state.model.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_loss_falls_and_the_run_finishes(new_state, run_loop, tmp_path):
    state = new_state({"train.max_steps": 150, "train.eval_interval": 50, "model.dropout": 0.0})
    start = state.held_out().loss
    outcome, link = run_loop(state, tmp_path)
    assert (outcome.state, outcome.reason, outcome.step) == ("finished", "all 150 steps done", 150)
    losses = [event.loss for event in link.of(Progress)]
    assert losses[0] == pytest.approx(math.log(state.config.model.vocab_size), abs=0.3)
    assert losses[-1] < losses[0] - 1 and outcome.val_loss < start - 1


def test_progress_is_the_mean_over_the_steps_since_the_last_point(new_state, run_loop, tmp_path):
    plain = new_state({"train.max_steps": 7, "train.log_interval": 3})
    wanted = [plain.step() for _ in range(7)]
    state = new_state({"train.max_steps": 7, "train.log_interval": 3})
    _, link = run_loop(state, tmp_path)
    points = link.of(Progress)
    assert [point.step for point in points] == [1, 3, 6, 7]  # the first at once
    for point, (first, last) in zip(points, [(0, 1), (1, 3), (3, 6), (6, 7)], strict=True):
        assert point.loss == pytest.approx(sum(loss.item() for loss, _, _ in wanted[first:last]) / (last - first), rel=1e-6)
        assert point.grad_norm == pytest.approx(sum(norm.item() for _, norm, _ in wanted[first:last]) / (last - first), rel=1e-6)
        assert point.lr == wanted[last - 1][2]
        assert point.tokens == last * 4 * 8
        assert point.tokens_per_s > 0 and point.seconds > 0


@pytest.mark.parametrize("source", ["text", "task"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_looking_judging_and_saving_leave_the_weights_bit_identical(new_state, run_loop, tmp_path, task_changes, optimizer, source):
    """With dropout, so that any draw from the global random state would show; after every step."""
    always = dict.fromkeys(["probe.interval", "train.checkpoint_interval", "train.eval_interval"], 1)
    changes = {"optim.name": optimizer, "train.accumulation": 2, **always}
    if source == "task":
        changes = {**task_changes, "model.dropout": 0.2, **changes}
    watched = new_state(changes)
    _, link = run_loop(watched, tmp_path)
    seen = [Probed, Validation, Checkpoint, *([Sample] if source == "text" else [Accuracy, Answers])]
    assert all(len(link.of(kind)) >= 20 for kind in seen), [(kind, len(link.of(kind))) for kind in seen]
    alone = new_state(changes)
    outcome = Loop(alone, tmp_path / "alone", observe=False).run()
    assert (outcome.state, outcome.step) == ("finished", 20)
    assert not (tmp_path / "alone").exists()
    assert same(weights_of(watched), weights_of(alone))


def test_the_final_validation_covers_the_whole_held_out_text(new_state, run_loop, tmp_path):
    state = new_state({"train.eval_interval": 3})
    outcome, link = run_loop(state, tmp_path)
    *during, last = link.of(Validation)
    assert during and not any(event.whole for event in during)
    assert len({event.n_tokens for event in during}) == 1 and during[0].n_tokens < last.n_tokens
    score = state.held_out()
    loss, count = score.loss, score.n_tokens
    assert last.whole and last.step == 20 and (last.loss, last.n_tokens, last.bits_per_byte) == (loss, count, score.bits_per_byte)
    assert outcome.val_loss == loss
    assert count == (len(state.data.held_out) - 1) // 8 * 8


def test_a_run_over_seconds_ends_by_the_clock_and_its_rate_falls_with_it(new_state, run_loop, tmp_path):
    state = new_state({"train.max_steps": None, "train.max_seconds": 1.5, "optim.min_lr": 0.0, "train.log_interval": 1})
    outcome, link = run_loop(state, tmp_path)
    assert (outcome.state, outcome.reason) == ("finished", "1.5 s of training done")
    assert 1.5 <= outcome.seconds < 6
    rates = [event.lr for event in link.of(Progress)][2:]
    assert rates == sorted(rates, reverse=True) and rates[0] > 2 * rates[-1]
    assert 0 < state.schedule.warmup_ended_s < 1.5


def test_steps_end_a_run_that_also_has_seconds(new_state, run_loop, tmp_path):
    assert run_loop(new_state({"train.max_seconds": 100.0}), tmp_path)[0].step == 20


@pytest.mark.parametrize(
    ("wanted", "state", "judged"), [("pause", "paused", False), ("stop", "stopped", True), ("interrupt", "interrupted", False)]
)
def test_a_run_obeys_at_the_next_step_and_leaves_a_checkpoint(new_state, run_loop, tmp_path, wanted, state, judged):
    outcome, link = run_loop(new_state(), tmp_path, {7: Orders(wanted)})
    assert (outcome.state, outcome.step) == (state, 7)
    assert Checkpoints(tmp_path / "checkpoints").newest_to_resume().step == 7
    assert link.of(Progress)[-1].step == 7
    assert [event.step for event in link.of(Validation) if event.whole] == ([7] if judged else [])


def test_an_exploding_run_ends_as_diverged_with_step_and_value(new_state, run_loop, tmp_path):
    state = new_state({
        "model.norm_placement": "none", "model.dropout": 0.0, "optim.name": "sgd", "optim.lr": 100.0, "optim.grad_clip": None,
        "optim.warmup_steps": 0, "train.max_steps": 200, "train.log_interval": 7, "probe.interval": 1,
        "train.checkpoint_interval": 1, "train.eval_interval": 1,
    })  # fmt: skip
    outcome, link = run_loop(state, tmp_path)
    assert outcome.state == "diverged" and outcome.step < 200
    value = "nan" if math.isnan(outcome.train_loss) else "inf"
    assert not math.isfinite(outcome.train_loss) or "weight was no longer a finite" in outcome.reason
    assert value in outcome.reason or "after step" in outcome.reason
    assert f"step {outcome.step}" in outcome.reason and "lower learning rate" in outcome.reason
    assert_checkpoints_are_finite(tmp_path)
    assert all(event.kind in KINDS for event in link.events)


def assert_checkpoints_are_finite(folder):
    checkpoints = Checkpoints(folder / "checkpoints")
    assert checkpoints.list()
    for info in checkpoints.list():
        assert all(tensor.isfinite().all() for tensor in checkpoints.weights(info.step).values())


@pytest.mark.parametrize(
    ("step", "log", "look"), [(5, 50, 1), (6, 50, 50), (19, 50, 50), (20, 3, 50), (4, 1, 50), (7, 5, 3), (6, 5, 3), (6, 3, 50)]
)
def test_broken_weights_are_neither_looked_at_nor_saved_nor_called_finished(new_state, run_loop, tmp_path, step, log, look):
    """One update breaks a weight: between two recorded points, at one, or in the very last step."""
    looks = dict.fromkeys(["probe.interval", "train.checkpoint_interval", "train.eval_interval"], look)
    state = new_state({"train.log_interval": log, **looks})

    def broken(*_):
        if state.steps_done == step - 1:
            with torch.no_grad():
                state.model.wte.weight[0, 0] = float("nan")

    state.optimizer.register_step_post_hook(broken)
    outcome, link = run_loop(state, tmp_path)
    assert outcome.state == "diverged"
    if step % look == 0 or step == 20:
        assert f"a weight was no longer a finite number after step {step};" in outcome.reason and outcome.step == step
    else:
        assert f"the training loss was nan at step {step + 1};" in outcome.reason
    assert not [event for event in link.events if isinstance(event, Probed | Sample | Validation | Checkpoint) and event.step >= step]
    assert_checkpoints_are_finite(tmp_path)


def test_scores_that_overflow_in_a_sample_do_not_end_the_run(new_state, run_loop, tmp_path):
    """Weights can be finite and their products not; the loss decides, not the sample."""
    state = new_state({"train.max_steps": 1, "probe.interval": 1})
    with torch.no_grad():
        state.model.wte.weight.fill_(3e38)
    outcome, link = run_loop(state, tmp_path)
    assert outcome.state == "diverged" and "step 1" in outcome.reason
    assert link.of(Sample) == []


def test_a_full_disk_ends_the_run_with_the_systems_reason_and_earlier_checkpoints_intact(new_state, tmp_path, monkeypatch):
    state, fsync = new_state({"probe.interval": 1000}), os.fsync

    def full(handle):
        if state.steps_done >= 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Loop(state, tmp_path).run()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert [info.step for info in checkpoints.list()] == [0, 5]
    assert checkpoints.newest_to_resume().step == 5
    assert not list(tmp_path.rglob(".*"))


def test_checkpoints_say_what_was_known_when_they_were_saved(new_state, run_loop, tmp_path):
    _, link = run_loop(new_state(), tmp_path)
    infos = Checkpoints(tmp_path / "checkpoints").list()
    assert [info.step for info in infos] == [0, 5, 10, 15, 20] == [event.step for event in link.of(Checkpoint)]
    assert (infos[0].train_loss, infos[0].eval_loss) == (None, None)
    curve = [event.loss for event in link.of(Validation) if not event.whole]
    assert [info.eval_loss for info in infos[1:]] == curve and len(curve) == 4
    assert infos[-1].train_loss == link.of(Progress)[-1].loss
    assert [info.tokens for info in infos] == [step * 32 for step in (0, 5, 10, 15, 20)]


def test_a_checkpoint_that_a_thread_writes_is_the_same_and_told_of_once_it_is_there(new_state, link_of, tmp_path):
    loops = {}
    for aside in (False, True):
        link = link_of({})
        link.loop = loops[aside] = Loop(new_state({"optim.name": "schedule_free"}), tmp_path / str(aside), link)
        link.loop.saves_aside = aside
        emit, there = link.emit, link.loop.checkpoints.info_path

        def checked(event, emit=emit, there=there):
            assert not isinstance(event, Checkpoint) or there(event.step).exists()
            emit(event)

        link.emit = checked
        assert link.loop.run().state == "finished"
    ours, theirs = (loop.checkpoints for loop in loops.values())
    assert [info.step for info in ours.list()] == [info.step for info in theirs.list()] == [0, 5, 10, 15, 20]
    for read in (lambda kept, step: kept.weights(step), lambda kept, step: kept.state(step) if step > 10 else {}):
        for step in (0, 5, 10, 15, 20):
            one, other = read(ours, step), read(theirs, step)
            assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert [[event.step for event in loop.link.of(Checkpoint)] for loop in loops.values()] == [[0, 5, 10, 15, 20]] * 2


def test_a_checkpoint_that_is_still_being_written_when_a_run_diverges_is_told_of(new_state, link_of, tmp_path, monkeypatch):
    link = link_of({})
    link.loop = loop = Loop(new_state({"train.log_interval": 1, "probe.interval": 1000}), tmp_path, link)
    loop.saves_aside, save, goes_on = True, loop.checkpoints.save, threading.Event()
    step, state = loop.state.step, loop.state

    def slow(snapshot):
        assert goes_on.wait(60)
        save(snapshot)

    def lost(watched):
        taken = step(watched)
        if state.steps_done < 2:
            return taken
        goes_on.set()
        return taken._replace(loss=torch.tensor(math.nan))

    monkeypatch.setattr(loop.checkpoints, "save", slow)
    monkeypatch.setattr(state, "step", lost)
    assert loop.run().state == "diverged"
    assert [event.step for event in link.of(Checkpoint)] == [info.step for info in loop.checkpoints.list()] == [0]


def test_a_thread_that_cannot_write_a_checkpoint_ends_the_run(new_state, tmp_path, monkeypatch):
    loop = Loop(new_state(), tmp_path)
    loop.saves_aside = True
    save = loop.checkpoints.save

    def full(snapshot):
        if snapshot.info.step == 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(snapshot)

    monkeypatch.setattr(loop.checkpoints, "save", full)
    with pytest.raises(OSError, match="No space left"):
        loop.run()
    assert [info.step for info in loop.checkpoints.list()] == [0, 5]
    assert loop.state.steps_done < 20


def test_samples_come_from_the_model_as_it_is_and_are_repeatable(new_state, run_loop, tmp_path):
    state = new_state({"probe.interval": 1})
    _, link = run_loop(state, tmp_path)
    samples = link.of(Sample)
    assert all(sample.prompt == "\n" and len(sample.text) == 6 for sample in samples)
    assert samples[0].step == 0 and samples[-1].step == 20
    again = Loop(state, tmp_path / "again", link)
    again._sample()
    assert link.of(Sample)[-1].text == samples[-1].text
    assert state.model.training


def test_samples_can_be_switched_off(new_state, run_loop, tmp_path):
    _, link = run_loop(new_state({"probe.sample_tokens": 0}), tmp_path)
    assert not link.of(Sample) and link.of(Probed)


def test_every_event_survives_storage(new_state, run_loop, tmp_path, task_changes):
    _, text = run_loop(new_state(), tmp_path / "text")
    _, task = run_loop(new_state(task_changes), tmp_path / "task")
    events = text.events + task.events
    assert {type(event) for event in events} == set(KINDS.values())
    for event in events:
        assert from_json(event.kind, event.step, event.to_json()) == event
    lost = from_json("progress", 3, Progress(3, 1, 1.0, math.nan, math.inf, 0.1, 5.0).to_json())
    assert math.isnan(lost.loss) and lost.grad_norm == math.inf


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("share", [0.01, 0.2])
@pytest.mark.parametrize("cost", [0.001, 0.03, 5.0])
def test_a_pacer_holds_its_share_of_the_time(share, cost):
    """A thousand seconds of asking ten times a second: never more than the credit and the share, and not far less."""
    clock = Clock()
    pacer, times = Pacer(share, EARLY_CREDIT_S, clock=clock), 0
    while clock.now < 1000:
        clock.now += 0.1
        if pacer.due():
            with pacer.measured():
                clock.now += cost
            times += 1
        assert pacer.spent <= EARLY_CREDIT_S + share * clock.now + cost
    assert pacer.spent == pytest.approx(times * cost)
    assert pacer.spent >= min(0.8 * share * 1000, 0.8 * cost / (0.1 + cost) * 1000) - 2 * cost


def test_the_first_ones_come_early_however_dear_they_are():
    clock, began = Clock(), []
    pacer = Pacer(0.01, EARLY_CREDIT_S, early=4, clock=clock)
    while clock.now < 300:
        if pacer.due():
            began.append(clock.now)
            with pacer.measured():
                clock.now += 0.5
        clock.now += 0.25
    assert began[:4] == [0.0, 3.0, 13.5, 54.0], "5, 20 and 80 times what the one before took"
    assert began[4] == pytest.approx((5 * 0.5 - EARLY_CREDIT_S) / 0.01, abs=0.25)


def test_a_notice_is_an_event_with_a_step():
    assert from_json("notice", 4, Notice(4, "a\nb").to_json()) == Notice(4, "a\nb")

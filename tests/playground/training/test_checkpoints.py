"""Checkpoints as files: whole or not there, thinned evenly, refused plainly where they are not this model's."""

import errno
import json
import os
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from models.knobs import parse
from playground.config.run import CompleteRun
from playground.data import tokenizers
from playground.training.checkpoints import (
    KEEP_STATES,
    KEEP_WEIGHTS,
    CheckpointError,
    CheckpointInfo,
    Checkpoints,
    Snapshot,
    evenly,
    load_model,
    publish_tensors,
)


def info(step, eval_loss=None):
    return CheckpointInfo(step, step * 32, step / 10, 0.0, 2.5, eval_loss, "digest", torch.__version__, 1)


def save_one(checkpoints, step, eval_loss=None):
    weights, state = {"w": torch.full((2,), float(step))}, {"s": torch.tensor([step])}
    checkpoints.save(Snapshot(info(step, eval_loss), weights, state, {"step": str(step)}))


def save_run(state, folder, steps=3):
    """A checkpoint after a few real steps."""
    checkpoints = Checkpoints(folder)
    for _ in range(steps):
        state.step()
    state.save(checkpoints, 2.0, 2.5)
    return checkpoints


def test_what_was_saved_comes_back(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save_one(checkpoints, 7, 1.5)
    assert checkpoints.list() == [info(7, 1.5)]
    assert checkpoints.weights(7)["w"].tolist() == [7.0, 7.0]
    assert checkpoints.state(7)["s"].tolist() == [7]
    assert sorted(os.listdir(tmp_path)) == ["000007.json", "000007.safetensors", "000007.state.safetensors"]


def test_nan_losses_survive_the_file(tmp_path):
    save_one(Checkpoints(tmp_path), 1, float("nan"))
    assert Checkpoints(tmp_path).list()[0].eval_loss != Checkpoints(tmp_path).list()[0].eval_loss


def test_the_json_is_published_last_and_removed_first(tmp_path, monkeypatch):
    names, replace, unlink = [], os.replace, os.unlink
    monkeypatch.setattr(os, "replace", lambda a, b: names.append(os.path.basename(b)) or replace(a, b))
    save_one(Checkpoints(tmp_path), 1)
    assert names == ["000001.safetensors", "000001.state.safetensors", "000001.json"]
    names.clear()
    monkeypatch.setattr(os, "unlink", lambda path, **rest: names.append(os.path.basename(path)) or unlink(path, **rest))
    Checkpoints(tmp_path).drop_after(0)
    assert names[0] == "000001.json" and len(names) == 3 and os.listdir(tmp_path) == []


def test_without_its_json_a_checkpoint_does_not_exist(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save_one(checkpoints, 1)
    save_one(checkpoints, 2)
    checkpoints.info_path(2).unlink()
    assert [i.step for i in checkpoints.list()] == [1]
    assert checkpoints.newest_to_resume().step == 1


def test_an_empty_or_missing_folder_has_no_checkpoints(tmp_path):
    assert Checkpoints(tmp_path / "none").list() == []
    assert Checkpoints(tmp_path).newest_to_resume() is None


def test_resuming_takes_the_newest_whose_state_is_there(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        save_one(checkpoints, step)
    checkpoints.state_path(2).unlink()
    assert checkpoints.newest_to_resume().step == 1


def test_dropping_removes_all_that_lies_beyond(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        save_one(checkpoints, step)
    checkpoints.drop_after(1)
    assert [i.step for i in checkpoints.list()] == [1]
    assert not any(name.startswith(("000002", "000003")) for name in os.listdir(tmp_path))


@pytest.mark.parametrize("best", [23, 37, 55, 77])
def test_thinning_keeps_first_best_last_and_the_newest_states(tmp_path, monkeypatch, best):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # 140 checkpoints; durability is tested elsewhere
    checkpoints = Checkpoints(tmp_path)
    for step in range(1, 141):
        save_one(checkpoints, step, abs(step - best) if step % 2 else None)
        kept = [i.step for i in checkpoints.list()]
        assert len(kept) == min(step, KEEP_WEIGHTS)
        assert {1, step, max(1, step - 1)} <= set(kept)
        assert step < best or best in kept
    with_state = sorted(path.name for path in tmp_path.glob("*.state.safetensors"))
    assert with_state == ["000139.state.safetensors", "000140.state.safetensors"] and KEEP_STATES == 2
    assert len(list(tmp_path.iterdir())) == 2 * KEEP_WEIGHTS + KEEP_STATES
    for step in kept:
        assert checkpoints.weights(step)["w"].tolist() == [step, step]


STEPS = st.lists(st.integers(0, 10_000), unique=True, max_size=80).map(sorted)


@given(STEPS, st.integers(2, 60), st.data())
def test_evenly_keeps_what_it_must_and_no_more_than_it_may(steps, keep, data):
    always = data.draw(st.lists(st.sampled_from(steps) | st.none(), max_size=4)) if steps else []
    kept = evenly(steps, keep, always)
    musts = {steps[0], steps[-1], *always} - {None} if steps else set()
    assert musts <= kept <= set(steps)
    assert len(kept) == min(len(steps), max(keep, len(musts)))


@pytest.mark.parametrize("keep", [5, 20, 50])
def test_evenly_stays_even_however_often_one_is_added(keep):
    kept = []
    for step in range(0, 5000, 10):
        kept = sorted(evenly([*kept, step], keep, always=[step]))
        gaps = [b - a for a, b in pairwise(kept)]
        assert len(kept) <= keep
        assert len(gaps) < 3 or max(gaps) <= 4 * step / len(gaps)


def damage(kind, path):
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "foreign":
        path.write_bytes(b"PK\x03\x04 this is a zip file, not tensors" * 10)
    elif kind == "huge header":
        path.write_bytes(b"\xff" * 8 + data[8:])
    else:
        path.write_bytes(data[: {"empty": 0, "8 bytes": 8, "half": len(data) // 2, "one byte short": len(data) - 1}[kind]])


KINDS = ["missing", "foreign", "huge header", "empty", "8 bytes", "half", "one byte short"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_weights_file_is_refused_by_name(new_state, tmp_path, kind):
    state = new_state()
    checkpoints = save_run(state, tmp_path)
    damage(kind, checkpoints.weights_path(3))
    with pytest.raises(CheckpointError, match=r"^000003\.safetensors"):
        load_model(state.config.model, checkpoints.weights_path(3))
    with pytest.raises(CheckpointError, match=r"^000003\.safetensors"):
        new_state().restore(checkpoints, checkpoints.list()[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_state_file_is_refused_by_name(new_state, tmp_path, kind):
    checkpoints = save_run(new_state(), tmp_path)
    damage(kind, checkpoints.state_path(3))
    with pytest.raises(CheckpointError, match=r"^000003\.state\.safetensors"):
        new_state().restore(checkpoints, checkpoints.list()[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("wpe.weight"), "lacks wpe.weight"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "has a foreign extra"),
        (lambda tensors: tensors.update({"wpe.weight": torch.zeros(3, 3)}), "has another shape of wpe.weight"),
    ],
)
def test_weights_of_another_model_are_refused_by_what_differs(new_state, tmp_path, change, words):
    state = new_state()
    path = save_run(state, tmp_path).weights_path(3)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=f"000003.safetensors is not a checkpoint of this model: it {words}"):
        load_model(state.config.model, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("batches"), "lacks batches"),
        (lambda tensors: tensors.pop("rng.cpu"), "lacks rng.cpu"),
        (lambda tensors: tensors.update({"optim.0.exp_avg": torch.zeros(3, 3)}), "optim.0.exp_avg is of another model"),
        (lambda tensors: tensors.update({"optim.99.exp_avg": torch.zeros(3, 3)}), "optim.99.exp_avg is of another model"),
    ],
)
def test_a_state_that_is_not_this_runs_is_refused_by_what_differs(new_state, tmp_path, change, words):
    checkpoints = save_run(new_state(), tmp_path)
    tensors = load_file(checkpoints.state_path(3))
    change(tensors)
    save_file(tensors, checkpoints.state_path(3))
    with pytest.raises(CheckpointError, match=f"000003.state.safetensors is not the state of .*{words}"):
        new_state().restore(checkpoints, checkpoints.list()[0])


def test_a_checkpoint_of_another_configuration_is_not_gone_on_with(new_state, tmp_path):
    checkpoints = save_run(new_state(), tmp_path)
    with pytest.raises(CheckpointError, match="another configuration"):
        new_state({"optim.lr": 0.02}).restore(checkpoints, checkpoints.list()[0])


def test_a_loaded_model_is_the_trained_one(new_state, tmp_path):
    state = new_state()
    checkpoints = save_run(state, tmp_path)
    model = load_model(state.config.model, checkpoints.weights_path(3))
    assert not model.training
    idx = torch.arange(8)[None]
    assert torch.equal(model(idx), state.model.eval()(idx))


@pytest.mark.parametrize("tie", [True, False])
def test_tied_weights_are_stored_once(new_state, tmp_path, tie):
    state = new_state({"model.tie_weights": tie})
    checkpoints = save_run(state, tmp_path)
    weights = checkpoints.weights(3)
    assert sum(tensor.numel() for tensor in weights.values()) == sum(p.numel() for p in state.model.parameters())
    assert ("head.weight" in weights) != tie
    model = load_model(state.config.model, checkpoints.weights_path(3))
    assert (model.head.weight is model.wte.weight) == tie


def test_a_weights_file_says_by_itself_what_it_is(new_state, tmp_path):
    state = new_state()
    with safe_open(save_run(state, tmp_path).weights_path(3), "pt") as file:
        metadata = file.metadata()
    assert parse(CompleteRun, json.loads(metadata["config"])) == state.config
    assert tokenizers.load(metadata["tokenizer"]).characters == state.data.tokenizer.characters
    assert metadata["step"] == "3"


def test_another_run_can_start_from_weights_and_optimizer_but_counts_anew(new_state, tmp_path):
    first = new_state()
    checkpoints = save_run(first, tmp_path)
    second = new_state({"train.max_steps": 50})
    second.start_from(checkpoints, checkpoints.list()[0])
    assert (second.steps_done, second.seconds) == (0, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert torch.equal(first.batches.next()[0], second.batches.next()[0])
    with pytest.raises(CheckpointError, match="another shape"):
        new_state({"model.n_embd": 8}).start_from(checkpoints, checkpoints.list()[0])


@pytest.mark.parametrize("nth_file", [0, 1, 2])
def test_a_full_disk_leaves_earlier_checkpoints_intact_and_nothing_half_written(new_state, tmp_path, monkeypatch, nth_file):
    """The disk is full when the second checkpoint's weights, state or json are flushed."""
    state = new_state()
    checkpoints = save_run(state, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    synced, fsync = [], os.fsync

    def full(handle):
        synced.append(handle)
        if len(synced) > 2 * nth_file:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_run(state, tmp_path)
    monkeypatch.undo()
    assert [i.step for i in checkpoints.list()] == [3]
    assert checkpoints.newest_to_resume().step == 3
    for name, data in before.items():
        assert (tmp_path / name).read_bytes() == data
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())
    again = new_state()
    again.restore(checkpoints, checkpoints.list()[0])
    assert again.steps_done == 3


def test_fewer_are_kept_where_they_are_large(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    folders = Checkpoints(tmp_path), Checkpoints(tmp_path / "large")
    for step in range(1, 21):
        for checkpoints in folders:
            size = checkpoints.weights_path(1).stat().st_size if step > 1 else 1
            monkeypatch.setattr("playground.training.checkpoints.KEEP_BYTES", size * (7 if checkpoints is folders[0] else 1))
            save_one(checkpoints, step)
    seven, three = ([info.step for info in checkpoints.list()] for checkpoints in folders)
    assert len(seven) == 7 and seven[0] == 1 and seven[-2:] == [19, 20]
    assert three == [1, 19, 20], "the first and what can be resumed, however large they are"


@pytest.mark.parametrize(("words", "number"), [("I/O error: No space left (os error 28)", errno.ENOSPC), ("(os error 30)", errno.EROFS)])
def test_what_the_system_refuses_while_tensors_are_written_is_an_error_of_the_system(tmp_path, monkeypatch, words, number):
    def refuse(*arguments):
        raise SafetensorError(words)

    monkeypatch.setattr("playground.training.checkpoints.save_file", refuse)
    with pytest.raises(OSError) as caught:
        publish_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(2)})
    assert caught.value.errno == number and list(tmp_path.iterdir()) == []


def test_an_error_that_is_not_the_systems_stays_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("playground.training.checkpoints.save_file", lambda *_: (_ for _ in ()).throw(SafetensorError("bad tensor")))
    with pytest.raises(SafetensorError, match="bad tensor"):
        publish_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(2)})

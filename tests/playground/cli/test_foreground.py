"""Several runs in one process: when they are one program, and what is said of each."""

import json
import time

import pytest
import torch

from models.knobs import ConfigError
from playground.cli import foreground
from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.store import Store


def test_on_a_cpu_runs_train_one_after_the_other(tiny):
    assert not foreground.as_one_program(tiny(**{"train.device": "cpu"}))


@pytest.mark.parametrize("name", ["dropout", "embd_dropout", "attn_dropout", "resid_dropout"])
def test_on_a_gpu_they_are_one_program_without_dropout(tiny, monkeypatch, name):
    monkeypatch.setattr("playground.training.devices.choose_device", lambda wanted: torch.device("cuda"))
    assert foreground.as_one_program(tiny(**{"model.dropout": 0.0}))
    with pytest.raises(ConfigError, match=r"model\.dropout: .*set model\.dropout=0"):
        foreground.as_one_program(tiny(**{"model.dropout": 0.0, f"model.{name}": 0.1}))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("as_json", [True, False])
def test_each_of_several_runs_is_told_of_by_itself(tmp_path, tiny, capsys, as_json):
    db, settings = Store(tmp_path), Settings(tmp_path)
    db.create()
    configs = [tiny(**{"model.dropout": 0.0, "train.seed": seed, "train.max_steps": 12}) for seed in (1, 2, 3)]
    ids = [create_run(db, settings, config, HOST, state=store.STARTING) for config in configs]
    assert foreground.train(settings, db, ids, as_json=as_json, began=time.monotonic()) == 0
    said = capsys.readouterr().out
    runs = [db.run(run_id) for run_id in ids]
    if not as_json:
        assert all(f"run {run.id} ({run.name}) is finished: all 12 steps done" in said for run in runs)
        return
    told = [json.loads(line) for line in said.splitlines()]
    assert [each["run_id"] for each in told] == ids
    for each, run in zip(told, runs, strict=True):
        assert (each["state"], each["steps"], each["val_loss"]) == ("finished", 12, run.val_loss) and each["tokens_per_s"] > 0
    assert len({each["val_loss"] for each in told}) == 3


def test_one_that_fails_is_told_by_the_exit_status(tmp_path, tiny, capsys, monkeypatch):
    from playground.training.stacked import Group

    def fail(*_, **__):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(Group, "step", fail)
    db, settings = Store(tmp_path), Settings(tmp_path)
    db.create()
    ids = [create_run(db, settings, tiny(**{"model.dropout": 0.0, "train.seed": s}), HOST, state=store.STARTING) for s in (1, 2)]
    assert foreground.train(settings, db, ids, as_json=True, began=time.monotonic()) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["state"], each["reason"]) for each in told] == [("failed", "RuntimeError: no such kernel")] * 2

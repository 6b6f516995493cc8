"""Data for runs are prepared in one line for everybody: whoever starts a run waits no longer than stated, and holds up nobody."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from models.knobs import ConfigError
from playground.config import experiment as documents
from playground.config.settings import Settings
from playground.data import dataset
from playground.runs.access import Access, Visitor, new_key
from playground.runs.store import Store
from playground.ui.common import Services
from playground.workers.admission import NotReady
from playground.workers.director import RUN
from playground.workers.supervisor import Supervisor
from tests.patience import LONGEST_S

ALICE, BOB = (replace(Visitor.from_key(new_key()), address=address) for address in ("203.0.113.7", "198.51.100.9"))


ARMS = {"title": "t", "question": "q", "seeds": 1, "budget": {"unit": "steps", "amount": 6}}


def claims_of(arm: str, than: str) -> dict:
    return {"claims": [{"kind": "lower", "arm": arm, "than": than, "delta": 0.0}]}


class Slow:
    """The real preparation, which begins only once it is let go, and is counted."""

    def __init__(self):
        self.begun, self.let_go, self.prepare = 0, threading.Event(), dataset.prepare

    def __call__(self, data, root, report=None):
        self.begun += 1
        (report or (lambda share, words: None))(0.25, "learning the tokens")
        assert self.let_go.wait(LONGEST_S)
        return self.prepare(data, root, report)


@pytest.fixture
def services(tmp_path):
    db, settings = Store(tmp_path), Settings(tmp_path, max_params=100_000)
    db.create()
    return Services(settings, db, Supervisor(settings, db), Access(db))


@pytest.fixture
def slow(monkeypatch):
    slow = Slow()
    monkeypatch.setattr("playground.data.dataset.prepare", slow)
    yield slow
    slow.let_go.set()


def of(seed: int) -> dict:
    """Changes that make the data those of a task with this seed."""
    return {"data.source": "task:copy", "data.length": 4, "data.seed": seed, "model.block_size": 32}


def test_many_who_start_runs_on_data_of_their_own_wait_no_longer_than_stated(services, tiny, slow, until):
    began, said = time.monotonic(), []
    for seed in range(20):
        with pytest.raises(NotReady) as told:
            services.supervisor.submit(tiny(**of(seed)), ALICE, patience_s=0.05)
        said.append(str(told.value))
    assert time.monotonic() - began < LONGEST_S / 4
    until(lambda: slow.begun == 1, "the first")
    assert "waiting for its turn" in said[-1] and said[-1].endswith("try again in a moment")
    with pytest.raises(NotReady, match="learning the tokens, 25%"):
        services.supervisor.submit(tiny(**of(0)), ALICE, patience_s=0.0)
    with pytest.raises(NotReady):
        services.supervisor.submit(tiny(**of(100)), BOB, patience_s=0.0)
    until(lambda: slow.begun == 2, "somebody elsewhere, at once")
    assert not services.db.runs()
    slow.let_go.set()
    run_id = services.supervisor.submit(tiny(**of(0)), ALICE, patience_s=LONGEST_S)
    assert services.db.run(run_id).state == "queued"


def test_what_is_over_a_limit_is_refused_before_anything_is_prepared(services, tiny, slow):
    with pytest.raises(ConfigError, match="parameters"):
        services.supervisor.submit(tiny(**of(0) | {"model.n_embd": 512}), ALICE)
    large = documents.read(ARMS | {"factors": {"model.n_embd": [16, 512]}, "changes": of(0)} | claims_of("width 16", "width 512"))
    with pytest.raises(ConfigError, match="parameters"):
        services.supervisor.submit_experiment(large, ALICE)
    assert slow.begun == 0


def test_the_arms_of_an_experiment_are_prepared_in_the_same_line_and_its_runs_hold_up_no_queue(services, slow, monkeypatch):
    monkeypatch.setattr("playground.workers.supervisor.PATIENCE_S", 0.05)
    fixed = {path: value for path, value in of(0).items() if path != "data.seed"} | {"model.n_layer": 1, "model.n_embd": 16}
    document = documents.read(ARMS | {"factors": {"data.seed": [1, 2]}, "changes": fixed} | claims_of("data seed 1", "data seed 2"))
    supervisor = services.supervisor
    with pytest.raises(NotReady):
        supervisor.submit_experiment(document, ALICE)
    assert slow.begun == 1 and not services.db.experiments(), "one arm after the other"
    slow.let_go.set()
    monkeypatch.setattr("playground.workers.supervisor.PATIENCE_S", LONGEST_S)
    experiment_id = supervisor.submit_experiment(document, ALICE)
    assert services.db.experiments()[0].wanted == RUN
    supervisor.plans.of(experiment_id)
    for whole in (services.settings.root / "prepared").glob("*/files.json"):  # as if the data had made room for others meanwhile
        whole.unlink()
    slow.let_go.clear()
    began = time.monotonic()
    supervisor.director.direct()
    assert time.monotonic() - began < LONGEST_S / 4 and "not ready yet" in supervisor.director.held[experiment_id]

"""What Design says of the machine: how many runs train beside the one that is designed, and how long it would take alone."""

from __future__ import annotations

from playground.config import estimate
from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import checked, create_run
from playground.runs.store import Store
from playground.ui.facts import facts
from tests.conftest import MACHINE


def test_how_many_runs_train_now_is_said_beside_the_time_that_it_takes_alone(tmp_path, tiny):
    db, settings = Store(tmp_path), Settings(tmp_path)
    db.create()
    config = checked(tiny(), settings)
    assert facts(config, tmp_path)["seconds"] is None and facts(config, tmp_path)["training_now"] == 0
    estimate.save(tmp_path, MACHINE)
    alone = facts(config, tmp_path)["seconds"]
    for state in (store.RUNNING, store.STARTING, store.QUEUED, store.PAUSED, store.FINISHED):
        create_run(db, settings, tiny(), HOST, state=state)
    told = facts(config, tmp_path)
    assert told["training_now"] == 2 and told["seconds"] == alone == estimate.run_seconds(config, MACHINE)

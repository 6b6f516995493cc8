"""Experiments that the app trains: one run of each waits at a time, whoever restarts; and only their owner steers them."""

import pytest

from playground.config import experiment as documents
from playground.config.settings import Settings
from playground.runs import access, experiments, store
from playground.runs.access import HOST, NOBODY, NotAllowed, Visitor
from playground.runs.experiments import Plans
from playground.runs.store import Store
from playground.training.outcome import Cause
from playground.workers.admission import CannotDo, QueueFull, WrongState
from playground.workers.director import DONE, RUN, STOP, Director
from tests.conftest import TINY

ALICE, BOB = Visitor.from_key(access.new_key()), Visitor.from_key(access.new_key())
SHAPE = {path: value for path, value in TINY.items() if path != "train.max_steps"}
DOCUMENT = {
    "title": "Norms", "question": "Is pre-norm lower?", "changes": SHAPE | {"data.tokenizer": "char"},
    "factors": {"model.norm_placement": ["pre", "post"]}, "seeds": 3, "budget": {"unit": "steps", "amount": 6},
    "claims": [{"kind": "lower", "arm": "pre", "than": "post", "delta": 0.0}],
}  # fmt: skip


def document(**changes):
    return documents.read(DOCUMENT | changes)


@pytest.fixture
def alone(tmp_path):
    """A director whose runs are queued and trained by nobody: (database, director, what was submitted)."""
    db, settings, submitted = Store(tmp_path), Settings(tmp_path), []
    db.create()

    def submit(config, visitor, *, member, threads, **about):
        submitted.append((member.arm, member.seed))
        return experiments.create_run(db, settings, config, visitor, state=store.QUEUED, member=member, **about)

    def resume(run_id, visitor):
        assert db.change_state(run_id, store.QUEUED, store.RESUMABLE, wanted="run")

    def halt(experiment_id, visitor):
        for run_id in db.members(experiment_id):
            db.change_state(run_id, store.STOPPED, [store.QUEUED, *store.ACTIVE], "stopped with its experiment", Cause.EXPERIMENT)

    clock = iter(range(0, 10_000, 10)).__next__
    return db, Director(db, submit, resume, halt, Plans(db, lambda: settings), 1, clock=clock), submitted


def end_the_waiting(db) -> None:
    for run in db.runs_in([store.QUEUED]):
        db.change_state(run.id, store.FINISHED, [store.QUEUED], val_loss=2.0)


def test_one_run_waits_at_a_time_until_all_have_ended(alone):
    db, director, submitted = alone
    experiments.add(db, document(), ALICE, RUN)
    for _ in range(3):
        director.direct()
        assert len(db.runs_in([store.QUEUED])) == 1 and {run.owner for run in db.runs()} == {ALICE.id}
    for _ in range(8):
        end_the_waiting(db)
        director.direct()
    assert submitted == [("pre", 1), ("post", 1), ("pre", 2), ("post", 2), ("pre", 3), ("post", 3)]


def test_what_is_stopped_or_trained_by_a_command_is_left_alone(alone):
    db, director, submitted = alone
    experiment_id = experiments.add(db, document(), ALICE, RUN)
    experiments.add(db, document(), ALICE)
    db.want_experiment(experiment_id, STOP)
    director.direct()
    assert submitted == []
    db.want_experiment(experiment_id, RUN)
    director.direct()
    assert submitted == [("pre", 1)]


def test_what_was_stopped_with_its_experiment_goes_on_with_it_even_where_its_worker_stops_later(alone):
    db, director, submitted = alone
    experiment_id = experiments.add(db, document(), ALICE, RUN)
    director.direct()
    (run_id,) = db.members(experiment_id)
    db.want_experiment(experiment_id, STOP)
    db.want_experiment(experiment_id, RUN)
    db.change_state(run_id, store.STOPPED, [store.QUEUED], "stopped with its experiment", Cause.EXPERIMENT)
    director.direct()
    assert [run.id for run in db.runs_in([store.QUEUED])] == [run_id] and submitted == [("pre", 1)]
    db.change_state(run_id, store.STOPPED, [store.QUEUED], "stopped by its owner", Cause.OWNER)
    director.direct()
    assert submitted == [("pre", 1)] and db.run(run_id).state == store.STOPPED
    assert "is stopped (stopped by its owner)" in director.held[experiment_id], "who stops or pauses a run halts its experiment"


def test_a_run_whose_worker_has_died_goes_on_but_not_for_ever(alone):
    db, director, _ = alone
    experiment_id = experiments.add(db, document(), ALICE, RUN)
    director.direct()
    (run_id,) = db.members(experiment_id)
    for turn in range(1, 5):
        db.begin(run_id, step=0, threads=1, device="cpu", probe_text="")
        db.change_state(run_id, store.INTERRUPTED, store.ACTIVE, "killed", Cause.KILLED)
        director.direct()
        assert db.run(run_id).state == (store.QUEUED if turn < 4 else store.INTERRUPTED)
        db.change_state(run_id, store.STARTING, [store.QUEUED])
    assert "is interrupted (killed)" in director.held[experiment_id]


def test_one_that_is_complete_is_done_and_nothing_of_it_is_trained_again(alone):
    db, director, submitted = alone
    experiment_id = experiments.add(db, document(seeds=1), ALICE, RUN)
    for _ in range(4):
        director.direct()
        end_the_waiting(db)
    assert db.experiment(experiment_id).wanted == DONE and len(submitted) == 2
    db.delete_run(next(iter(db.members(experiment_id))))
    director.direct()
    assert len(submitted) == 2
    db.delete_experiment(experiment_id)
    assert db.experiments() == [] and len(db.runs()) == 1, "its runs stay"


def test_one_that_stops_when_it_is_decided_trains_no_more_seeds_than_it_takes(alone):
    db, director, submitted = alone
    experiment_id = experiments.add(db, document(seeds=6, stop_when_decided=True), ALICE, RUN)
    losses = {("pre", 1): 2.0, ("post", 1): 3.0, ("pre", 2): 2.1, ("post", 2): 3.12, ("pre", 3): 2.05, ("post", 3): 3.06}
    for _ in range(12):
        director.direct()
        members = db.members(experiment_id)
        for run in db.runs_in([store.QUEUED]):
            loss = losses.get((members[run.id].arm, members[run.id].seed))
            if loss is not None:
                db.change_state(run.id, store.FINISHED, [store.QUEUED], val_loss=loss)
    assert db.experiment(experiment_id).wanted == DONE
    assert submitted[:6] == list(losses) and len(submitted) <= 7
    assert not db.runs_in([store.QUEUED, *store.ACTIVE]), "what trained in vain was stopped"


def test_a_full_queue_is_said_and_tried_again(alone):
    db, director, submitted = alone
    experiment_id, submit = experiments.add(db, document(), ALICE, RUN), director.submit

    def refuse(*args, **about):
        raise QueueFull("50 runs are waiting already")

    director.submit = refuse
    director.direct()
    assert director.held == {experiment_id: "50 runs are waiting already"}
    director.submit = submit
    director.direct()
    assert director.held == {} and submitted == [("pre", 1)]


def test_a_person_has_three_experiments_under_way_and_deletes_what_is_over(house):
    supervisor = house.supervisor
    kept = [supervisor.submit_experiment(document(seeds=1), ALICE) for _ in range(3)]
    with pytest.raises(QueueFull, match="3 of your experiments"):
        supervisor.submit_experiment(document(seeds=1), ALICE)
    other = supervisor.submit_experiment(document(seeds=1), BOB)
    with pytest.raises(WrongState):
        supervisor.delete_experiment(kept[0], ALICE)
    for each in kept:
        supervisor.steer_experiment(each, ALICE, STOP)
    with pytest.raises(NotAllowed):
        supervisor.delete_experiment(kept[0], BOB)
    supervisor.delete_experiment(kept[0], ALICE)
    supervisor.steer_experiment(other, HOST, STOP)
    assert {each.id for each in house.db.experiments()} == {other, *kept[1:]}


def test_a_run_of_an_experiment_cannot_be_hidden(house):
    experiment_id = house.supervisor.submit_experiment(document(seeds=1), ALICE)
    house.until(lambda: house.db.members(experiment_id), "the first run")
    run_id = next(iter(house.db.members(experiment_id)))
    with pytest.raises(CannotDo, match="everybody can see"):
        house.supervisor.set_private(run_id, ALICE, True)
    house.supervisor.steer_experiment(experiment_id, ALICE, STOP)


def test_a_run_that_was_deleted_is_trained_again(alone):
    db, director, submitted = alone
    experiments.add(db, document(), ALICE, RUN)
    director.direct()
    db.delete_run(db.runs()[0].id)
    director.direct()
    assert submitted == [("pre", 1)] * 2


def test_real_workers_train_an_experiment_that_is_stopped_and_goes_on(house):
    supervisor, db = house.supervisor, house.db
    experiment_id = supervisor.submit_experiment(document(seeds=2), ALICE)
    house.until(lambda: db.members(experiment_id), "the first run")
    with pytest.raises(NotAllowed):
        supervisor.steer_experiment(experiment_id, BOB, STOP)
    supervisor.steer_experiment(experiment_id, ALICE, STOP)
    assert db.experiment(experiment_id).wanted == STOP
    supervisor.steer_experiment(experiment_id, HOST, RUN)
    plan = experiments.planned(document(seeds=2), house.settings)
    house.until(lambda: experiments.result(db, experiment_id, plan).is_complete, "the end of all runs")
    found = experiments.result(db, experiment_id, plan)
    assert {arm: list(by_seed) for arm, by_seed in found.values.items()} == {"pre": [1, 2], "post": [1, 2]}
    assert {db.run(run_id).owner for run_id in db.members(experiment_id)} == {ALICE.id}


@pytest.mark.parametrize(("visitor", "changes", "refusal"), [
    (NOBODY, {}, NotAllowed), (ALICE, {"changes": SHAPE | {"model.n_layer": 100}}, documents.ConfigError),
])  # fmt: skip
def test_what_cannot_be_begins_nothing(house, visitor, changes, refusal):
    kept = lambda: [each.id for each in house.db.experiments()]  # noqa: E731 - the one before may be done only now
    before = kept()
    with pytest.raises((refusal, CannotDo)):
        house.supervisor.submit_experiment(document(**changes), visitor)
    assert kept() == before

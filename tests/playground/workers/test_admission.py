"""Room for one more run: in the queue, for one address, and in memory. The supervisor is not started, so nothing trains."""

from collections import Counter
from dataclasses import replace

import pytest

from models.knobs import ConfigError
from playground.config import estimate
from playground.config.settings import Settings
from playground.runs import access, store
from playground.runs.access import Visitor
from playground.runs.store import Store
from playground.system import memory
from playground.training.outcome import Cause
from playground.web.hosting import Host
from playground.workers import admission
from playground.workers.admission import Addresses, NoMemory, QueueFull
from playground.workers.supervisor import Supervisor

HERE, THERE = "192.0.2.7", "192.0.2.8"


def somebody(address="", **changes):
    return replace(Visitor.from_key(access.new_key()), address=address, **changes)


@pytest.fixture
def open_queue(tmp_path):
    """A supervisor with these limits that does not serve its queue."""

    def build(**limits) -> Supervisor:
        db = Store(tmp_path)
        db.create()
        return Supervisor(Settings(tmp_path, **limits), db)

    return build


def full(n, limit):
    return f"{n} runs are waiting already, and this playground's limit is {limit}; try again when one has started"


def test_one_address_may_fill_the_queue_and_keeps_nobody_elsewhere_out(open_queue, tiny):
    supervisor, config = open_queue(max_queued=8), tiny()

    def submitted(n, address, **changes):
        outcomes = Counter()
        for _ in range(n):
            try:
                supervisor.submit(config, somebody(address, **changes))
                outcomes["queued"] += 1
            except QueueFull as error:
                outcomes[str(error)] += 1
        return outcomes

    assert submitted(10, HERE) == {"queued": 8, full(8, 8): 2}, "a room that shares an address"
    assert submitted(1, HERE, is_host=True) == {"queued": 1}, "its host stands beside it"
    assert submitted(5, THERE) == {"queued": 3, full(12, 8): 2}, "with the host's the half that one address leaves to others"
    assert submitted(1, "192.0.2.9") == {full(12, 8): 1}
    first = [run for run in supervisor.db.runs() if supervisor.admission.addresses.of(run.owner) == HERE][:5]
    for run in first:
        supervisor.pause(run.id, somebody(is_host=True))
    assert submitted(2, HERE) == {"queued": 1, full(8, 8): 1}, "as long as others need their places, it has the rest"


def test_how_many_of_an_address_count_for_others_is_a_setting(open_queue, tiny):
    supervisor = open_queue(max_queued=4, max_queued_address=1)
    for _ in range(4):
        supervisor.submit(tiny(), somebody(HERE))
    for _ in range(3):
        supervisor.submit(tiny(), somebody(THERE))
    with pytest.raises(QueueFull):
        supervisor.submit(tiny(), somebody(THERE))


def test_the_runs_of_an_experiment_come_from_the_address_of_its_owner(open_queue, tiny):
    supervisor, me = open_queue(max_queued=4), somebody(HERE)
    for _ in range(4):
        supervisor.submit(tiny(), me)
    with pytest.raises(QueueFull):
        supervisor.submit(tiny(), Visitor(me.id))
    assert supervisor.submit(tiny(), somebody(THERE))


def test_new_people_are_limited_by_address_and_those_who_were_here_are_not_new(open_queue, tiny):
    supervisor, old = open_queue(max_new_address=2), somebody(HERE)
    supervisor.submit(tiny(), old)
    supervisor.submit(tiny(), somebody(HERE))
    with pytest.raises(QueueFull, match="2 new people came from your network address within an hour"):
        supervisor.submit(tiny(), somebody(HERE))
    supervisor.submit(tiny(), old)
    supervisor.submit(tiny(), somebody(THERE))
    again = Supervisor(supervisor.settings, supervisor.db)
    again.submit(tiny(), old)
    assert again.admission.addresses.n_new(HERE) == 0, "known from the database, also after a restart"


def test_an_hour_later_more_may_be_new(monkeypatch):
    now = [0.0]
    addresses = Addresses(lambda: now[0])
    for _ in range(3):
        addresses.note(somebody(HERE), is_new=True)
    assert (addresses.n_new(HERE), addresses.n_new(THERE)) == (3, 0)
    now[0] += admission.NEW_FOR_S + 1
    assert addresses.n_new(HERE) == 0
    monkeypatch.setattr(admission, "MOST_ADDRESSES", 5)
    for i in range(20):
        addresses.note(somebody(f"192.0.2.{i}"), is_new=True)
    assert len(addresses._new) == 5


def test_resuming_asks_the_queue_too(open_queue, tiny):
    supervisor, me = open_queue(max_queued=3), somebody()
    first = [supervisor.submit(tiny(), me) for _ in range(3)]
    for run_id in first:
        supervisor.pause(run_id, me)
    for _ in range(3):
        supervisor.submit(tiny(), me)
    with pytest.raises(QueueFull, match="3 runs are waiting already, and this playground's limit is 3"):
        supervisor.resume(first[0], me)
    assert len(supervisor.db.runs_in([store.QUEUED])) == 3 and supervisor.db.run(first[0]).state == store.PAUSED


def test_the_host_clears_an_address(open_queue, tiny):
    supervisor, host = open_queue(), somebody(is_host=True)
    theirs = [supervisor.submit(tiny(), somebody(HERE)) for _ in range(3)]
    others = supervisor.submit(tiny(), somebody(THERE))
    assert Host(supervisor).clear_address(host, HERE) == 3
    assert {supervisor.db.run(run_id).state for run_id in theirs} == {store.STOPPED}
    assert supervisor.db.run(others).state == store.QUEUED
    assert Host(supervisor).clear_address(host, "") == 0, "where people come from is not known of everybody"
    with pytest.raises(access.NotAllowed):
        Host(supervisor).clear_address(somebody(), THERE)


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many bytes, all of them available."""

    def has(size, available=None):
        monkeypatch.setattr(memory, "of_machine", lambda: {"total": size, "available": size if available is None else available})
        monkeypatch.setattr(memory, "GPUS", ())

    return has


HUGE = {"model.n_layer": 12, "model.n_embd": 256, "model.block_size": 1024, "model.dropout": 0.0, "train.batch_size": 64}


def test_what_this_machine_cannot_hold_is_refused_with_a_batch_that_fits(open_queue, tiny, machine):
    machine(4_000_000_000)
    supervisor = open_queue()
    with pytest.raises(ConfigError) as caught:
        supervisor.submit(tiny(**HUGE), somebody())
    (problem,) = caught.value.problems
    assert problem.path == "train.batch_size" and "3.2 GB that runs may take (80% of this machine's" in problem.message
    fits = int(problem.message.split("batch_size=")[1].split()[0])
    run_id = supervisor.submit(tiny(**HUGE | {"train.batch_size": fits}), somebody())
    assert estimate.memory_bytes(supervisor.db.run(run_id).config) <= 3_200_000_000
    with pytest.raises(ConfigError):
        supervisor.submit(tiny(**HUGE | {"train.batch_size": fits + 1}), somebody())


def test_what_does_not_fit_beside_those_that_train_is_refused(open_queue, tiny, machine):
    supervisor = open_queue()
    needs = estimate.memory_bytes(supervisor.db.run(supervisor.submit(tiny(), somebody())).config)
    machine(10 * needs, available=3 * needs)
    (first,) = supervisor.db.runs()
    supervisor.db.change_state(first.id, store.STARTING, [store.QUEUED])
    supervisor.submit(tiny(), somebody())  # 80% of three are enough for two
    machine(10 * needs, available=2 * needs)
    with pytest.raises(NoMemory, match=r"beside the .* MB of those that train, and all runs together may take .* \(80% of what is free"):
        supervisor.submit(tiny(), somebody())


def test_a_run_waits_until_there_is_memory_and_is_never_kept_from_an_empty_machine(open_queue, tiny, machine, monkeypatch):
    supervisor = open_queue(max_running=3)
    launched = []
    monkeypatch.setattr(supervisor, "_launch", lambda run, threads: launched.append(run.id))
    big, small = tiny(**{"train.batch_size": 4096, "model.n_layer": 4, "model.n_embd": 128}), tiny()
    machine(10**12)
    ids = [supervisor.submit(config, somebody()) for config in (big, big, small)]
    needs = estimate.memory_bytes(supervisor.db.run(ids[0]).config)
    machine(10**12, available=needs * 3 // 2)
    supervisor._launch_waiting([], supervisor.settings)
    waiting = supervisor.db.run(ids[1])
    assert launched == [ids[0], ids[2]], "what fits beside it starts"
    assert (waiting.state, waiting.cause) == (store.QUEUED, Cause.ROOM) and "enough memory" in waiting.reason
    machine(10**12, available=1)
    supervisor._launch_waiting([], supervisor.settings)
    assert launched == [ids[0], ids[2], ids[1]], "alone it starts, whatever the estimate"


def test_a_gpu_has_memory_of_its_own(open_queue, tiny, machine):
    machine(1)
    supervisor = open_queue()
    assert supervisor.submit(tiny(**{"train.device": "cuda"}), somebody())
    with pytest.raises(ConfigError):
        supervisor.submit(tiny(**{"train.device": "cpu"}), somebody())

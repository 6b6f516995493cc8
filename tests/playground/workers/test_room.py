"""A room full of people on one machine: turns, limits that hold while runs train, and what the host may do. Real workers."""

from dataclasses import replace

import pytest
from safetensors.torch import load_file
from starlette.testclient import TestClient

from models.knobs import ConfigError
from playground.config.experiment import read
from playground.config.settings import LIMITS, Settings
from playground.runs import access, disk, experiments, store
from playground.runs.access import Access, NotAllowed, Visitor
from playground.runs.creation import create_run
from playground.runs.store import Member, Store
from playground.training.events import Validation
from playground.training.outcome import Cause
from playground.web import hosting
from playground.web.hosting import Host
from playground.web.routes import Routes
from playground.web.wall import Curves, Wall, address_in_the_room
from playground.workers import enforcing
from playground.workers.admission import CannotDo
from playground.workers.audience import Audience
from tests.conftest import TINY

KEYS = [access.new_key() for _ in range(3)]
ALICE, BOB, TEACHER = (Visitor.from_key(key) for key in KEYS)
TEACHER = replace(TEACHER, is_host=True)
TOKEN = "the-token-of-the-host"


@pytest.fixture
def room(tmp_path, open_house):
    """Opens a house of its own with these limits, closed with the test."""
    opened = []

    def build(**limits):
        opened.append(open_house(tmp_path, **({"max_running": 1} | limits)))
        return opened[-1]

    yield build
    for house in opened:
        house.close()


def weights(house, run_id):
    path = house.folder(run_id).checkpoints / f"{house.checkpoints(run_id)[-1]:06d}.safetensors"
    return {name: tensor.tolist() for name, tensor in load_file(path).items()}


def test_a_run_past_its_turn_lets_others_on_and_goes_on_exactly(room, tiny):
    house = room(max_turn_seconds=1)
    config = tiny(**{"train.max_steps": 1500, "train.checkpoint_interval": 5000, "train.eval_interval": 5000, "train.log_interval": 100})
    broken = house.supervisor.submit(config, ALICE)
    house.wait_step(broken, 1)
    other = house.supervisor.submit(tiny(), BOB)
    yielded = house.until(lambda: (run := house.db.run(broken)).state == store.QUEUED and run, "the end of its turn")
    assert 0 < yielded.step < 1500 and "others wait: goes on from step" in yielded.reason and yielded.cause == Cause.TURN
    house.wait(other, store.FINISHED)
    run = house.wait(broken, store.FINISHED)
    assert run.step == 1500 and run.generation >= 2 and run.threads == yielded.threads
    whole = house.supervisor.submit(config, ALICE)
    assert house.wait(whole, store.FINISHED).generation == 1, "nobody waits: no turn ends"
    assert weights(house, broken) == weights(house, whole)
    steps = [row.step for row in house.db.events(broken, kinds=["progress"])]
    assert steps == sorted(set(steps)) and steps[-1] == 1500


def test_limits_hold_for_what_trains_already_and_leave_the_host_alone(room, endless):
    house = room(max_running=3)
    mine, hosts = house.supervisor.submit(endless(), ALICE), house.supervisor.submit(endless(), access.HOST)
    for run_id in (mine, hosts):
        house.wait_step(run_id, 1)
    host = Host(house.supervisor)
    host.set_limits(TEACHER, {"max_seconds": "1"})
    run = house.wait(mine, store.STOPPED)
    assert run.cause == Cause.TIME
    assert run.reason == "stopped after 1 s of training, this playground's limit" and run.step == house.checkpoints(mine)[-1]
    assert house.state(hosts) == store.RUNNING
    with pytest.raises(ConfigError, match="more than this playground's limit, which its host sets; use at most 1"):
        house.supervisor.submit(endless(**{"train.max_seconds": 2.0}), ALICE)
    house.supervisor.stop(hosts, TEACHER)
    stopped = house.wait(hosts, store.STOPPED)
    assert (stopped.reason, stopped.cause) == ("stopped by the host", Cause.HOST)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Enforced:
    """An enforcer with a clock of its own, on a database with runs that no worker has."""

    def __init__(self, root):
        self.db, self.clock = Store(root), Clock()
        self.db.create()
        self.audience = Audience(self.clock)
        self.enforcer = enforcing.Enforcer(root, self.db, self.audience, self.clock)
        self.settings = Settings(root)
        self.n = 0

    def add(self, visitor, state=store.RUNNING, size=0):
        self.n += 1
        run_id = f"aaaaaaaaa{'abcdefgh'[self.n]}"
        folder = self.enforcer.root / "runs" / run_id
        (folder / "probes" / "text").mkdir(parents=True)
        (folder / "probes" / "text" / "000001.safetensors").write_bytes(b"x" * size)
        self.db.add_run(run_id, name=f"run {self.n}", owner=visitor.id, config="{}", n_params=1, state=state)
        if state == store.RUNNING:
            self.db.begin(run_id, step=0, threads=1, device="cpu", probe_text="")
        return run_id

    def after(self, seconds, **limits):
        """Let time pass and enforce; what is wanted of each run then."""
        self.clock.now += seconds
        self.enforcer.enforce(self.db.runs_in(store.ACTIVE), replace(self.settings, **limits))
        return {run.id: (run.wanted, run.why) for run in self.db.runs()}


@pytest.fixture
def enforced(tmp_path):
    return Enforced(tmp_path)


def test_what_nobody_looks_at_is_paused_and_only_that(enforced):
    watched, left = enforced.add(ALICE), enforced.add(BOB)
    enforced.after(2)
    for _ in range(10):
        enforced.audience.looked(watched)
        wanted = enforced.after(10, max_idle_seconds=60)
    assert wanted[watched] == ("run", "")
    assert wanted[left] == ("pause", "paused because nobody has looked at it for 60 s, this playground's limit; resume it to go on")


def test_nothing_yields_where_nobody_would_gain(enforced):
    run_id = enforced.add(ALICE)
    enforced.after(0)
    limits = {"max_running": 1, "max_turn_seconds": 100}
    assert enforced.after(1000, **limits)[run_id][0] == "run", "nobody waits"
    enforced.add(ALICE, store.QUEUED)
    assert enforced.after(1000, **limits)[run_id][0] == "run", "only the same person waits"
    other = enforced.add(BOB, store.QUEUED)
    assert enforced.after(2, **(limits | {"max_running": 2}))[run_id][0] == "run", "there is a place"
    assert enforced.after(2, **(limits | {"max_turn_seconds": None}))[run_id][0] == "run", "turns have no end"
    assert enforced.after(2, **(limits | {"max_turn_seconds": 100_000}))[run_id][0] == "run", "its turn is not over"
    enforced.db.want(run_id, "pause")
    assert enforced.after(2, **limits)[run_id][0] == "pause", "its owner's wish stands"
    enforced.db.want(run_id, "run")
    assert enforced.after(2, **limits)[run_id][0] == "yield"
    assert enforced.after(2, **limits)[other][0] == "run"


def test_what_an_owner_wants_while_a_run_yields_stays_wanted(enforced):
    run_id = enforced.add(ALICE)
    assert enforced.db.want_if_free(run_id, "yield", "others wait", Cause.TURN)
    assert not enforced.db.want_if_free(run_id, "stop", "too late", Cause.TIME), "one wish at a time"
    enforced.db.want(run_id, "pause", "paused by its owner")
    enforced.db.yield_turn(run_id, "others wait", Cause.TURN, step=7, seconds=1.5)
    run = enforced.db.run(run_id)
    assert (run.state, run.wanted, run.step, run.seconds) == (store.QUEUED, "pause", 7, 1.5)


def test_whoever_has_more_than_their_share_of_the_disk(enforced):
    old, new, others = enforced.add(ALICE, store.FINISHED, 700_000), enforced.add(ALICE, store.STOPPED, 600_000), enforced.add(BOB)
    probes = enforced.enforcer.root / "runs" / old / "probes" / "text"
    for step in range(2, 100):
        (probes / f"{step:06d}.safetensors").write_bytes(b"y" * 1000)
    enforced.after(100, max_disk_each=1_000_000)
    left = sorted(int(path.stem) for path in probes.iterdir())
    assert len(left) == disk.FEW_PROBES and left[0] == 1 and left[-1] == 99, "first and last stay"
    usage, runs = disk.measure(enforced.enforcer.root), enforced.db.runs()
    assert usage.of(ALICE.id, runs, {}) == 700_000 + 19 * 1000 + 600_000 and usage.total > usage.of(ALICE.id, runs, {})
    over = disk.over_share(usage, runs, {}, 1_000_000)
    assert list(over) == [ALICE.id]
    assert [run.id for run in disk.offered(usage, runs, ALICE.id, over[ALICE.id])] == [old], "the oldest is enough"
    assert {run.id for run in disk.offered(usage, runs, ALICE.id, 10**9)} == {old, new}, "nothing that trains, nothing of others"
    assert disk.over_share(usage, runs, {}, 10**9) == {} and others in usage.runs
    assert disk.over_share(usage, runs, {BOB.id: {"upload:x": 10**6 + 1}}, 10**6)[BOB.id] == 1, "texts count too"


def test_what_is_used_is_weighed_again_only_once_the_answer_is_old(tmp_path):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    scale = disk.Scale(tmp_path, fresh_s=60)
    assert scale.usage().runs == {"a": 0}
    (tmp_path / "runs" / "a" / "x").write_bytes(b"12345")
    assert scale.usage().runs == {"a": 0}
    scale.fresh_s = 0.0
    assert scale.usage().runs == {"a": 5} and scale.usage().total == 5


def test_no_room_is_a_reason_not_to_start(room, tiny):
    house = room()
    house.supervisor.shutdown()
    usage, submit = disk.Usage, lambda visitor: house.supervisor.submit(tiny(), visitor)
    first = submit(ALICE)
    house.supervisor.enforcer.scale.usage = lambda: usage({first: 5_000_000}, total=9_000_000, free=10**12)
    host = Host(house.supervisor)
    host.set_limits(TEACHER, {"max_disk_each": "4000000"})
    with pytest.raises(CannotDo, match=r"your runs and texts take 5\.0 MB, and everybody may have 4\.0 MB; delete one of them"):
        submit(ALICE)
    submit(BOB)
    submit(replace(ALICE, is_host=True))
    host.set_limits(TEACHER, {"max_disk": "8000000"})
    with pytest.raises(CannotDo, match=r"all runs together take 9\.0 MB, and this playground's limit is 8\.0 MB"):
        submit(BOB)
    house.supervisor.enforcer.scale.usage = lambda: usage({}, free=disk.RESERVE_BYTES - 1)
    with pytest.raises(CannotDo, match=r"the disk has only 200\.0 MB left"):
        submit(BOB)


# What the host may do.


def test_everything_pauses_and_goes_on_as_the_host_says(room, endless, monkeypatch):
    monkeypatch.setattr(hosting, "IDLE_S", 3600.0)  # longer than this takes on any machine
    house = room()
    training, waiting = house.supervisor.submit(endless(), ALICE), house.supervisor.submit(endless(), BOB)
    house.wait_step(training, 1)
    host = Host(house.supervisor)
    assert host.pause_all(TEACHER) == 2
    assert house.wait(training, store.PAUSED).reason == hosting.FOR_ALL == house.db.run(waiting).reason
    assert house.db.run(training).cause == house.db.run(waiting).cause == Cause.HOST_ALL
    house.supervisor.resume(training, ALICE)
    house.wait_step(training, house.db.run(training).step + 1)
    house.supervisor.pause(training, ALICE)
    assert house.wait(training, store.PAUSED).cause == Cause.OWNER
    assert host.resume_all(TEACHER) == 1, "what its owner paused stays paused"
    house.wait_step(waiting, 1)
    assert host.clear_idle(TEACHER) == 0, "so much time has not passed"
    house.supervisor.audience._began -= 2 * hosting.IDLE_S
    house.supervisor.audience.looked(waiting)
    assert host.clear_idle(TEACHER) == 0, "somebody looks"
    house.supervisor.audience._looked.clear()
    assert host.clear_idle(TEACHER) == 1
    paused = house.wait(waiting, store.PAUSED)
    assert "because nobody looked at it" in paused.reason and paused.cause == Cause.HOST_IDLE


@pytest.mark.parametrize("act", ["pause_all", "resume_all", "clear_idle"])
def test_nobody_else_may(room, act):
    host = Host(room().supervisor)
    for visitor in (ALICE, access.NOBODY):
        with pytest.raises(NotAllowed, match="only the host"):
            getattr(host, act)(visitor)
        with pytest.raises(NotAllowed, match="only the host"):
            host.set_limits(visitor, {"max_running": "9"})
    assert host.db.limits() == {}


def test_limits_are_set_all_or_none_and_outlast_the_app(room):
    house = room()
    host, limits = Host(house.supervisor), house.supervisor.limits
    host.set_limits(TEACHER, {"max_running": "3", "max_queued_each": " 2 ", "max_turn_seconds": ""})
    assert (limits().max_running, limits().max_queued_each, limits().max_turn_seconds) == (3, 2, None)
    with pytest.raises(ConfigError) as caught:
        host.set_limits(TEACHER, {"max_steps": "5", "max_running": "0", "max_idle_seconds": "1", "nice": "1", "max_upload_bytes": "9" * 14})
    said = str(caught.value)
    assert "runs that train at the same time: '0' is not possible; use a whole number from 1 up" in said
    assert "'1' is not possible; use a whole number from 30 up, or 0 for no limit" in said
    assert "nice: there is no such limit" in said and "PLAYGROUND_MAX_UPLOAD_BYTES allows more" in said
    assert limits().max_steps == 1_000_000
    assert house.open().limits().max_running == 3


# The wall.


@pytest.fixture
def wall(trained):
    root, run_id = trained
    db = Store(root)
    live = Routes(Settings(root), db, access=Access(db, TOKEN))
    return TestClient(live.app(*Wall(live, "http://192.0.2.7:7860/").routes())), run_id


def test_the_wall_is_for_the_host(wall):
    client, run_id = wall
    for headers in ({}, {"x-playground-key": KEYS[0]}, {"x-playground-host": TOKEN[:-1]}, {"x-playground-key": TOKEN[1:]}):
        for path in ("/host", "/host/results.csv"):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 403 and run_id not in answer.text and "only the host" in answer.json()["error"]


def test_the_wall_shows_curves_machine_limits_and_the_way_in(wall):
    client, run_id = wall
    seen = client.get("/host", headers={"x-playground-host": TOKEN, "x-playground-key": KEYS[0], "x-playground-page": "p1"}).json()
    (run,) = seen["cards"]
    assert run["id"] == run_id and run["train"][0][0] == 1 and run["train"][-1][0] == 60 and run["val"]
    assert {limit["name"] for limit in seen["limits"]} == set(LIMITS)
    assert seen["machine"]["pages"] == 1 and seen["machine"]["free_bytes"] > 0 and seen["machine"]["disk_bytes"] > 1000
    assert seen["link"] == "http://192.0.2.7:7860/" and len(seen["code"]) == len(seen["code"][0]) >= 21


def test_an_experiment_is_one_card_of_the_wall(tmp_path, tiny):
    db, settings = Store(tmp_path), Settings(tmp_path)
    db.create()
    document = {
        "title": "Norms", "question": "Is pre-norm lower?", "budget": {"unit": "steps", "amount": 9}, "tuning": [0.1, 0.2],
        "arms": [{"name": "pre"}, {"name": "post", "changes": {"model.norm_placement": "post"}}],
        "claims": [{"kind": "lower", "arm": "pre", "than": "post", "delta": 0.0}],
    }  # fmt: skip
    document["changes"] = {path: value for path, value in TINY.items() if path != "train.max_steps"}
    owner = Visitor.from_key(KEYS[0])
    kept = experiments.add(db, read(document), owner, "run")
    states = {("post", 1): store.FINISHED, ("post", 2): store.STARTING, ("pre", 1): store.QUEUED}
    for (arm, seed), state in states.items():
        member = Member(kept, arm, seed, "compared")
        run_id = create_run(db, settings, tiny(), owner, state=state, member=member)
        db.append(run_id, [Validation(step=3, loss=seed + 0.5, n_tokens=9, whole=False, seconds=0.1)], {"step": 3})
    alone = create_run(db, settings, tiny(), owner, state=store.FINISHED)
    live = Routes(settings, db, access=Access(db, TOKEN))
    client = TestClient(live.app(*Wall(live).routes()))
    first, second = client.get("/host", headers={"x-playground-key": TOKEN}).json()["cards"]
    assert (first["experiment"], first["title"], first["arms"], second["id"]) == (kept, "Norms", ["pre", "post"], alone)
    assert (first["n_runs"], first["ended"], first["training"], first["waiting"]) == (2 * (3 + 2), 1, 1, 1)
    assert sorted((each["arm"], each["val"]) for each in first["curves"]) == [(0, [[3, 1.5]]), (1, [[3, 1.5]]), (1, [[3, 2.5]])]


def test_results_are_one_line_per_run_and_no_formula(wall, trained):
    client, run_id = wall
    root, _ = trained
    db = Store(root)
    before = db.run(run_id).name
    db.rename(run_id, "=cmd|' /C calc'!A0")
    db.set_name("host", "@SUM(1)")
    try:
        header, line = client.get("/host/results.csv", headers={"x-playground-key": TOKEN}).text.strip().split("\n")
    finally:
        db.rename(run_id, before)
        db.set_name("host", "")
    assert header.startswith("id,name,state,") and "optim.lr" in header and "by" in header.split(",")
    assert line.startswith(f"{run_id},'=cmd|' /C calc'!A0,finished,") and "'@SUM(1)" in line


def test_curves_grow_and_stay_small(tmp_path):
    db = Store(tmp_path)
    db.create()
    db.add_run("abcdefghij", name="a", owner="b", config="{}", n_params=1, state=store.RUNNING)
    curves = Curves(db)

    def more(first, last):
        from playground.training.events import Progress

        rest = {"tokens": 1, "seconds": 1.0, "grad_norm": 1.0, "lr": 0.1, "tokens_per_s": 5.0}
        points = [Progress(step=i, loss=float(i), **rest) for i in range(first, last)]
        db.append("abcdefghij", points, {})
        return curves.of([db.run("abcdefghij")])["abcdefghij"].train

    assert more(0, 10) == [(i, float(i)) for i in range(10)]
    many = more(10, 1000)
    assert len(many) <= 240 and many[0][0] == 0 and many[-1][0] == 999 and [step for step, _ in many] == sorted({step for step, _ in many})
    db.begin("abcdefghij", step=5, threads=1, device="cpu", probe_text="x")
    assert [step for step, _ in more(50, 52)] == [0, 1, 2, 3, 4, 5, 50, 51], "a new generation starts over"


def test_the_address_in_the_room():
    assert address_in_the_room("127.0.0.1", 7860) is None
    found = address_in_the_room("0.0.0.0", 7861)
    assert found is None or (found.startswith("http://") and found.endswith(":7861/") and "127.0.0" not in found)


def test_private_runs_are_nobodys_business_on_any_route(tmp_path, open_house, tiny):
    house = open_house(tmp_path, max_running=1)
    try:
        run_id = house.supervisor.submit(tiny(), ALICE, private=True)
        house.wait(run_id, store.FINISHED)
        live = Routes(Settings(house.root), house.db, access=Access(house.db, TOKEN))
        client = TestClient(live.app(), raise_server_exceptions=False)
        routes = [path.path for path in client.app.routes if "{run_id}" in path.path]
        assert len(routes) >= 10
        for visitor in ({}, {"x-playground-key": KEYS[1]}, {"x-playground-host": "wrong"}):
            for route in routes:
                answer = client.get(route.replace("{run_id}", run_id), headers=visitor)
                assert answer.json() == {"gone": True} or (answer.status_code == 404 and "there is no run" in answer.text), route
            assert client.get("/runs", headers=visitor).json() == []
            assert client.get(f"/overlay?runs={run_id}", headers=visitor).status_code == 404
        for visitor in ({"x-playground-key": KEYS[0]}, {"x-playground-host": TOKEN}):
            for route in routes:
                assert client.get(route.replace("{run_id}", run_id), headers=visitor).status_code in (200, 404, 503), route  # busy, perhaps
            assert client.get(f"/runs/{run_id}/config.json", headers=visitor).status_code == 200
            assert [row["id"] for row in client.get("/runs", headers=visitor).json()] == [run_id]
        for act in (house.supervisor.stop, house.supervisor.resume, house.supervisor.delete, house.supervisor.continue_run):
            with pytest.raises(store.NoSuchRun):
                act(run_id, BOB)
        further = house.supervisor.continue_run(run_id, ALICE, steps=5)
        assert house.db.run(further).private, "what goes on from a private run is private"
        me = client.get("/me", headers={"x-playground-key": KEYS[0]}).json()
        assert (me["host"], me["known"], me["over_bytes"], me["offered"]) == (False, True, 0, []) and me["bytes"] > 1000
    finally:
        house.close()

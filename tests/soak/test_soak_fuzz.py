"""A short run of `soak fuzz` against the real app; and tests that its checks detect each kind of violation."""

import json
import random
import re
from html import escape
from pathlib import Path

import gradio as gr
import pytest

from playground.config.settings import Settings
from playground.runs import access, store
from playground.runs.access import Visitor
from playground.runs.creation import create_run
from playground.runs.store import Store
from playground.system.files import REPOSITORY
from tests.patience import LONGEST_S
from tests.soak.attack import GRADIO_ROUTES
from tests.soak.client import Answer
from tests.soak.fuzz import LIMITS
from tests.soak.hostile import MARKUP, Hostile
from tests.soak.house import App
from tests.soak.judge import Findings, Judge, Surroundings, Untouched, complaints


def test_malformed_requests_do_no_harm(run_python):
    process = run_python("-m", "tests.soak", "fuzz", "--requests", "150", "--seed", "7", "--json")
    out, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, out + err
    found = json.loads(out)
    assert found["violations"] == [] and found["requests"] == 150
    assert sum(sum(ways.values()) for ways in found["answers"].values()) >= 150
    assert {"live route", "handler by number", "handler by the queue", "endpoint by /call, its answer"} <= found["answers"].keys()
    assert sum(ways.get("2xx", 0) for ways in found["answers"].values()) > 15, "not everything may be refused: it must get somewhere"


def test_a_flood_of_many_is_refused(run_python):
    process = run_python("-m", "tests.soak", "fuzz", "--requests", "many")
    _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 2 and "--requests: 'many' is not possible here" in err


def test_every_route_of_gradio_is_attacked():
    """Fails when a new version of Gradio adds a route that is missing in GRADIO_ROUTES."""
    with gr.Blocks() as blocks:
        pass
    known = {re.sub(r"\{x\}", "", route).rstrip("/") for route in GRADIO_ROUTES}
    own, routers = [], []
    for route in gr.routes.App.create_app(blocks).routes:
        (own if hasattr(route, "path") else routers).append(route)
    routes = {route.path for route in own} | {route.path for router in routers for route in router.original_router.routes}
    assert len(routes) > 50
    plain = {re.sub(r"\{\w+(:path)?\}", "", path).rstrip("/") for path in routes}
    assert plain - known - {"", "/openapi.json"} == set()  # the latter is switched off here


@pytest.fixture
def house(tmp_path, tiny):
    """A root with a run that has ended, and no app."""
    root = tmp_path / "root"
    db = Store(root)
    db.create()
    owner = Visitor.from_key(access.new_key())
    run_id = create_run(db, Settings(root), tiny(), owner, state=store.STARTING)
    db.change_state(run_id, store.FINISHED, [store.STARTING])
    for name in ("outside", "home"):
        (tmp_path / name).mkdir()
    return App(tmp_path, root, 0, None, tmp_path / "app.log"), run_id


def said_of(house, answer, **options):
    findings = Findings()
    Judge(house[0], findings, {"a log": b"log-1234"}).look("kind", "asked", answer, **options)
    return findings.listed()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Answer(500, {}, b"Internal Server Error"), "nobody foresaw"),
        (Answer(503, {}, b""), "nobody foresaw"),
        (Answer(200, {}, b'{"error": "Traceback (most recent call last): x"}'), "a traceback was served"),
        (Answer(200, {}, b"... log-1234 ..."), "a log was served"),
        (Answer(200, {}, b"SQLite format 3\x00"), "the database was served"),
        (Answer(500, {}, json.dumps({"error": f"no {REPOSITORY}/app.py"}).encode()), "the path of the code was served"),
        (Answer(404, {"content-type": "text/html; charset=utf-8"}, f"<p>{MARKUP[1]}".encode()), "markup"),
    ],
)
def test_what_no_answer_may_hold_is_noticed(house, answer, found):
    (said,) = said_of(house, answer)
    assert found in said


def test_what_is_harmless_is_not_blamed(house):
    assert said_of(house, Answer(500, {}, b'{"error": "no such run"}')) == []
    assert said_of(house, Answer(503, {"retry-after": "2"}, b"")) == [], "what HEAD is told of an errand in line"
    assert said_of(house, Answer(200, {}, b"x log-1234"), sent=b"log-1234") == [], "what was sent may come back"
    assert said_of(house, Answer(200, {"content-type": "application/json"}, json.dumps(MARKUP[0]).encode())) == []


@pytest.mark.parametrize("markup", MARKUP[:3])
def test_markup_in_a_message_of_the_page_is_noticed_and_escaped_markup_is_not(house, markup):
    assert said_of(house, Answer(500, {}, json.dumps({"error": markup}).encode()), private=True)
    assert said_of(house, Answer(500, {}, json.dumps({"error": escape(markup)}).encode()), private=True) == []


def test_a_changed_run_and_a_changed_file_are_noticed(house):
    app, run_id = house
    before, findings = Untouched.of(app, run_id), Findings()
    before.compare(app, findings)
    assert findings.listed() == []
    app.db.rename(run_id, "theirs now")
    (app.root / "runs" / run_id / "config.json").write_text("{}")
    before.compare(app, findings)
    assert [re.sub(r" was .*", "", said) for said in findings.listed()] == [
        "somebody else's run: its name",
        "somebody else's run: its file config.json has changed",
    ]


def test_a_run_that_no_longer_trains_is_noticed(house):
    app, run_id = house
    app.db.change_state(run_id, store.RUNNING, [store.FINISHED], ended_at=None)
    (app.root / "runs" / run_id / "tokenizer.json").write_text("{}")
    before, findings = Untouched.of(app, run_id), Findings()
    before.compare(app, findings)
    assert findings.listed() == ["somebody else's run: it has stood still at step 0"]


def test_a_new_file_outside_the_root_is_noticed(house):
    app, _ = house
    outside = app.place / "outside"
    before, findings = Surroundings.of(app, outside), Findings()
    before.compare(app, outside, findings)
    assert findings.listed() == []
    (outside / "executed").touch()
    (app.place / "stray.txt").touch()
    before.compare(app, outside, findings)
    assert sorted(said.split()[3] for said in findings.listed()) == ["executed", "stray.txt"]


def test_tracebacks_and_our_own_stumbling_are_read_off_the_terminal():
    said = (
        "POST /x failed: KeyError: 1 (gradio/routes.py:7)\nGET /y failed: KeyError: 2 (playground/web/routes.py:7)\n"
        "Traceback (most recent call last):\n  File x\n    y\nValueError: bad\nfine\n"
        "Traceback (most recent call last):\n  File x\nh11._util.LocalProtocolError: gone\n"
    )
    assert dict(complaints(said)) == {"KeyError: 2 (playground/web/routes.py:7)": 1, "a traceback, ValueError: bad": 1}


def test_the_same_seed_throws_the_same_dice():
    def thrown(seed):
        hostile = Hostile(random.Random(seed), Path("/o"), ["/p"], ["abcdefghij"])
        return [repr(hostile.value()) for _ in range(50)]

    assert thrown(1) == thrown(1) != thrown(2)
    assert LIMITS["max_running"] == 2  # the victim trains, and beside it whatever the attacker has started

"""A page in a room that is full: it asks as often as the server says."""

from __future__ import annotations

import json
import time

from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.store import Store
from tests.patience import still


def test_the_page_asks_no_more_often_than_it_is_told(visit, chromium, app):
    config = RunConfig.model_validate({"model": {"n_layer": 1, "n_head": 1, "n_embd": 16}, "train": {"max_steps": 5}})
    run_id = create_run(Store(app.root), Settings(app.root), config, HOST, state=store.QUEUED, name="waits")
    Store(app.root).change_state(run_id, store.PAUSED, store.IN_PROGRESS)
    asked: list[str | None] = []
    wait_ms = 60

    def answer(route):
        asked.append(route.request.header_value("x-playground-page"))
        body = route.fetch().json()
        body["run"]["state"] = "running"  # whose page would ask several times a second
        route.fulfill(body=json.dumps(body | {"poll_ms": wait_ms}), content_type="application/json")

    context = chromium.new_context()
    context.route("**/live/runs/*", answer)
    page = visit(f"?run={run_id}", context=context)

    def asked_in(seconds: float) -> int:
        page.wait_for_timeout(500)
        before = len(asked)
        page.wait_for_timeout(1000 * seconds)
        return len(asked) - before

    began = time.monotonic()
    while asked_in(2) < 4:
        assert still(began), "it asks several times a second"
    wait_ms = 1500
    page.wait_for_timeout(1500)
    while not (more := asked_in(3)):
        assert still(began), "it goes on asking"
    assert more <= 3
    assert None not in asked and len(set(asked)) == 1, "a page keeps its name"
    context.close()

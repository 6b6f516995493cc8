"""Streams end when nobody reads them any more."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator

import gradio as gr
from gradio.events import api

from playground.runs.access import HOST, NOBODY, Visitor, new_key
from playground.ui.reading import reader_of, unread_by, while_read
from playground.web.errands import Unheard
from tests.patience import still


def endless(closed: list) -> Iterator[int]:
    try:
        n = 0
        while True:
            yield (n := n + 1)
    finally:
        closed.append(True)


def pulled(unread, seconds: float) -> tuple[int, list]:
    """How many answers come in that time at most, and whether the generator was closed."""
    given, closed, until = 0, [], time.monotonic() + seconds
    try:
        for given in while_read(endless(closed), unread, gone_s=0.2):  # noqa: B007
            time.sleep(0.01)
            if time.monotonic() > until:
                break
    except Unheard:
        closed.append("unheard")
    return given, closed


def test_a_stream_goes_on_while_it_is_read_however_slowly():
    waiting = [0]

    def slowly() -> int:
        waiting[0] += 1
        if waiting[0] % 5 == 0:  # one is taken for every five that come
            waiting[0] -= 1
        return waiting[0]

    for unread in (lambda: 0, lambda: None, slowly):
        assert pulled(unread, 0.6)[1] == [True]


def test_a_stream_that_nobody_reads_ends_and_closes_what_it_came_from():
    waiting = iter(range(10_000))
    given, closed = pulled(lambda: next(waiting), 20)
    assert closed == [True, "unheard"] and given < 100


def test_a_reader_is_a_visitor_or_else_an_address():
    known = Visitor.from_key(new_key())
    request = gr.Request(client=type("Client", (), {"host": "10.0.0.7"})())
    assert reader_of(known, request) == reader_of(known, None) != reader_of(HOST, None)
    assert reader_of(NOBODY, request) == ("address", "10.0.0.7") and reader_of(NOBODY, None) is None
    behind_a_proxy = [reader_of(Visitor("", address=address), request) for address in ("203.0.113.7", "198.51.100.9")]
    assert behind_a_proxy == [("address", "203.0.113.7"), ("address", "198.51.100.9")], "all of them come from the proxy"


def test_events_that_nobody_takes_are_counted_as_gradio_keeps_them():
    """Gradio has no public name for the queue of a session: this fails where a new version moves it."""
    counted, go_on = [], threading.Event()

    def count(request: gr.Request | None = None) -> Iterator[int]:
        unread = unread_by(request)
        for i in range(5):
            counted.append(unread())
            yield i
        assert go_on.wait(20)
        time.sleep(0.2)
        counted.append(unread())

    with gr.Blocks() as blocks:
        api(count, api_name="count", concurrency_limit=None)
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True)
    try:
        body = json.dumps({"data": []}).encode()
        asked = urllib.request.Request(f"{url}gradio_api/call/count", body, {"Content-Type": "application/json"})
        event = json.load(urllib.request.urlopen(asked))["event_id"]
        began = time.monotonic()
        while len(counted) < 5 and still(began):
            time.sleep(0.01)
        assert counted[0] <= 2 and [each - counted[0] for each in counted] == [0, 1, 2, 3, 4]
        with urllib.request.urlopen(f"{url}gradio_api/call/count/{event}") as events:
            assert events.readline() == b"event: generating\n"
            go_on.set()
            events.read()
        assert counted[5] <= 1, "they have been taken"
    finally:
        go_on.set()
        blocks.close(verbose=False)

"""Whether somebody still reads what a generator sends. Gradio runs a generator to its end whether or not anybody has ever asked for its
events, and lays them in a queue for the session; this looks whether that queue is emptied.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Hashable, Iterator
from typing import TypeVar

import gradio as gr
from gradio.context import LocalContext

from playground.runs.access import Visitor
from playground.web.errands import Unheard

GONE_S = 10.0  # a reader who has taken nothing for so long is gone

T = TypeVar("T")


def reader_of(visitor: Visitor, request: gr.Request | None) -> Hashable:
    """Who reads a stream: a visitor with a key, else an address, that which a declared proxy tells; None where neither is known."""
    if visitor.is_known or visitor.is_host:
        return visitor.id, visitor.is_host
    client = request.client if request is not None else None
    address = visitor.address or (client.host if client is not None else "")
    return ("address", address) if address else None


def while_read(answers: Generator[T], unread: Callable[[], int | None], gone_s: float = GONE_S) -> Iterator[T]:
    """The answers of a generator, each of which becomes an event, for as long as somebody takes them; raises Unheard after that, which
    also ends the generator. `unread` counts the events that wait to be taken, None where that is not known."""
    taken, taken_at = -1, time.monotonic()
    with contextlib.closing(answers):
        for given, answer in enumerate(answers):
            waiting = unread()
            if not waiting or given - waiting > taken:
                taken, taken_at = given - (waiting or 0), time.monotonic()
            elif time.monotonic() - taken_at > gone_s:
                raise Unheard(f"nobody has read this for {gone_s:g} s")
            yield answer


def unread_by(request: gr.Request | None) -> Callable[[], int | None]:
    """How many events of a session wait to be read."""
    blocks, session = LocalContext.blocks.get(None), request.session_hash if request is not None else None

    def count() -> int | None:
        messages = blocks._queue.pending_messages_per_session.get(session) if blocks is not None and session is not None else None
        return None if messages is None else messages.qsize()

    return count

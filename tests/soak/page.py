"""The page as a browser sees it: its controls, and the handlers behind them, found by the events that trigger them.

Nothing here depends on an index or a position, so a change of the page needs no change here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson

from tests.soak.client import Client, NoAnswer

LINKS = re.compile(r"""(?:src|href)=\\?["'](\.?/?(?:live/|static/|theme|assets/|manifest)[^"'\\<]*)""")
IMPORTS = re.compile(rb"""(?:from|import)\s*\(?["'`]\./([\w.-]+\.(?:js|css))["'`]""")
THEME = re.compile(r'"theme_hash": ?"(\w+)"')


@dataclass(frozen=True)
class Handler:
    """One dependency of the page. `inputs` and `outputs` are ids of components."""

    index: int
    name: str
    private: bool
    queued: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    targets: tuple[tuple[int | None, str], ...]
    after: int | None


class Page:
    """The controls and handlers in the answer of /config."""

    def __init__(self, config: dict):
        self.prefix: str = config["api_prefix"]
        self.components = {each["id"]: each for each in config["components"]}
        self.by_elem_id = {each["props"].get("elem_id"): each["id"] for each in config["components"]}
        everything = [_handler(each) for each in config["dependencies"]]
        self.handlers = [handler for handler, each in zip(everything, config["dependencies"], strict=True) if each["backend_fn"]]
        self._loads = {handler.index for handler in everything if any(event == "load" for _, event in handler.targets)}

    def handler(self, elem_id: str, event: str = "click") -> Handler:
        """The handler that this event of this component triggers."""
        target = (self.by_elem_id[elem_id], event)
        return next(handler for handler in self.handlers if target in handler.targets)

    def on_load(self) -> Handler:
        """The server's handler for the load of the page, which follows the browser's own part."""
        return next(handler for handler in self.handlers if self._loads & {handler.after, handler.index})

    def values(self, handler: Handler, chosen: dict[str, Any]) -> list:
        """What the page would send: each input's initial value, or the one that is `chosen` by elem_id."""
        by_id = {self.by_elem_id[elem_id]: value for elem_id, value in chosen.items()}
        return [by_id.get(each, self.components[each]["props"].get("value")) for each in handler.inputs]


def _handler(dependency: dict) -> Handler:
    return Handler(
        dependency["id"], dependency["api_name"] or "", dependency.get("api_visibility") != "public", dependency["queue"] is not False,
        tuple(dependency["inputs"]), tuple(dependency["outputs"]), tuple((target[0], target[1]) for target in dependency["targets"]),
        dependency.get("trigger_after"),
    )  # fmt: skip


class Told(Exception):
    """A message that the page shows to a person; `code` says what kind of refusal it is, and is empty where Gradio refuses."""

    def __init__(self, words: str, code: str = ""):
        super().__init__(words)
        self.code = code


async def call(client: Client, page: Page, handler: Handler, data: list, session: str, query: str = "") -> list:
    """A handler's answer, by the queue or directly, as the page would call it. Raises Told, NoAnswer."""
    *_, last = [answer async for answer in stream(client, page, handler, data, session, query)]
    return last


async def stream(client: Client, page: Page, handler: Handler, data: list, session: str, query: str = "") -> AsyncIterator[list]:
    """As `call`, with the intermediate answers of a stream. All but the first are differences, as Gradio sends them."""
    body = {"data": data, "event_data": None, "fn_index": handler.index, "trigger_id": handler.targets[0][0], "session_hash": session}
    if not handler.queued:
        answer = await client.post(f"{page.prefix}/run/predict", body)
        yield _data(answer.status, answer.json())
        return
    joined = await client.post(f"{page.prefix}/queue/join?{query}", body)
    if joined.status != 200:
        raise Told(str(joined.json().get("detail")))
    mine = joined.json()["event_id"]
    async with client.events(f"{page.prefix}/queue/data?session_hash={session}") as events:
        async for event in events:
            message = orjson.loads(event)
            if message.get("event_id") not in (mine, None):
                raise NoAnswer(f"an event of somebody else: {message.get('msg')}")
            if message["msg"] in ("process_generating", "process_completed"):
                yield _data(200 if message["success"] else 500, message["output"])
            if message["msg"] == "process_completed":
                return
            if message["msg"] in ("close_stream", "unexpected_error"):
                break
    raise NoAnswer("the stream ended before the answer")


def _data(status: int, output: dict) -> list:
    if status != 200 or output.get("error"):
        raise Told(str(output.get("error") or output.get("detail")), str(output.get("title", "")).replace(" ", "_"))
    return output.get("data", [])

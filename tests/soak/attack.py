"""The attacker of the fuzzer: malformed requests to every kind of target that the app has.

Handlers are taken from /config, endpoints from /gradio_api/info, live routes from `Routes`; Gradio's own routes are listed here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import access
from playground.runs.store import Store
from playground.web.routes import Routes
from tests.soak.client import Answer, Client, NoAnswer
from tests.soak.hostile import Hostile
from tests.soak.judge import Judge
from tests.soak.page import Handler, Page

AT_ONCE = 8
GLANCE_S = 0.4
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "BREW")
ENDLESS = ("heartbeat/", "queue/data", "upload_progress", "/call/", "dev/reload")  # streams: only their beginning is read
# Everything that Gradio serves beside the handlers; {x} stands for anything.
GRADIO_ROUTES = (
    "/", "/config", "/theme.css", "/robots.txt", "/favicon.ico", "/manifest.json", "/pwa_icon", "/pwa_icon/{x}", "/static/{x}",
    "/assets/{x}", "/svelte/{x}", "/login", "/logout", "/monitoring", "/monitoring/summary", "/monitoring/{x}", "/gradio_api/user",
    "/gradio_api/login_check", "/gradio_api/token", "/gradio_api/app_id", "/gradio_api/dev/reload", "/gradio_api/info",
    "/gradio_api/openapi.json", "/gradio_api/deep_link", "/gradio_api/runs", "/gradio_api/custom_component/{x}/{x}/{x}/{x}",
    "/gradio_api/proxy={x}", "/gradio_api/file={x}", "/gradio_api/file/{x}", "/gradio_api/stream/{x}", "/gradio_api/stream/{x}/close",
    "/gradio_api/stream/{x}/{x}/{x}/playlist.m3u8", "/gradio_api/stream/{x}/{x}/{x}/{x}.{x}",
    "/gradio_api/stream/{x}/{x}/{x}/playlist-file", "/gradio_api/reset", "/gradio_api/heartbeat/{x}", "/gradio_api/run/{x}",
    "/gradio_api/api/{x}", "/gradio_api/call/{x}", "/gradio_api/call/v2/{x}", "/gradio_api/call/{x}/{x}", "/gradio_api/call/v2/{x}/{x}",
    "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/queue/status", "/gradio_api/cancel", "/gradio_api/component_server",
    "/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/startup-events", "/gradio_api/theme.css",
    "/gradio_api/process_recording", "/gradio_api/vibe-edit", "/gradio_api/undo-vibe-edit", "/gradio_api/vibe-code",
    "/gradio_api/vibe-starter-queries", "/gradio_api/run-history/connect", "/gradio_api/run-history/buckets",
    "/gradio_api/run-history/records", "/gradio_api/run-history/records/{x}/{x}/assets/{x}", "/{x}",
)  # fmt: skip
QUERIES = (
    "session_hash", "upload_id", "run", "__theme", "view", "generation", "cursor", "step", "text", "off", "runs",
    "x", "y", "maps", "v", "page",
)  # fmt: skip
TYPES = ("application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "a/b", "")
TINY = {
    "model-n_layer": 1, "model-n_head": 2, "model-n_embd": 16, "model-block_size": 16, "train-max_steps": 20, "train-batch_size": 4,
    "data-tokenizer": "char",
}  # fmt: skip


class Attacker:
    """A visitor with an owner key of their own, which does not own the runs under attack."""

    def __init__(self, client: Client, page: Page, judge: Judge, hostile: Hostile, endpoints: dict):
        self.client, self.page, self.judge, self.hostile, self.endpoints = client, page, judge, hostile, endpoints
        self.dice, self.key = hostile.dice, access.new_key()
        routes = Routes(Settings(Path("nowhere")), Store(Path("nowhere"))).app().routes
        self.live_routes = ["/live" + re.sub(r"\{run_id\}", "{run}", route.path) for route in routes]
        self.sections: dict[str, list[str]] = {}
        for spec in RunConfig.specs():
            section, _, knob = spec.path.partition(".")
            self.sections.setdefault(section, []).append(knob)
        self.turns = self._turns()

    def _turns(self):
        """Every target in turn, in rounds of random order, so that none is left out by chance."""
        while True:
            ways = (self.handler_at_once, self.handler_queued, self.handler_by_name)
            targets = [(way, handler) for way in ways for handler in self.page.handlers]
            targets += [(self.endpoint, name) for name in self.endpoints] * 3
            targets += [(self.live_route, path) for path in self.live_routes] * 3
            targets += [(way, path) for way in (self.route, self.nonsense) for path in GRADIO_ROUTES]
            targets += [(self.file, "upload")] * 12 + [(self.oversized, "/gradio_api/run/predict")] * 2
            self.dice.shuffle(targets)
            yield from targets

    async def shoot(self) -> None:
        """Attack the next target once."""
        attack, target = next(self.turns)
        await attack(target)

    # Handlers of the page, with corrupted versions of what the page would send.

    async def handler_at_once(self, handler: Handler) -> None:
        body = self._call_of(handler)
        body["fn_index"] = self.dice.choice([handler.index, handler.index, str(handler.index), float(handler.index), self.hostile.value()])
        await self._post("handler by number", "/gradio_api/run/predict", body, _named(handler), private=handler.private)

    async def handler_by_name(self, handler: Handler) -> None:
        way = self.dice.choice(["run", "api", "call", "call/v2"])
        path = f"/gradio_api/{way}/{quote(handler.name)}"
        body = self._call_of(handler)
        body.pop("fn_index")
        if way == "call/v2":
            body = {self.hostile.key(): self.hostile.value() for _ in range(self.dice.randrange(4))}
        if way.startswith("call"):
            await self._called(f"handler by /{way}", path, body, _named(handler), handler.private)
        else:
            await self._post(f"handler by /{way}", path, body, _named(handler), private=handler.private)

    async def handler_queued(self, handler: Handler) -> None:
        body = self._call_of(handler) | {"session_hash": f"soak{self.dice.getrandbits(40):x}"}
        await self._queued("handler by the queue", body, _named(handler), private=handler.private)

    async def endpoint(self, name: str) -> None:
        """A named endpoint, most of its parameters valid."""
        data = [self._argument(each["parameter_name"], each.get("parameter_default")) for each in self.endpoints[name]["parameters"]]
        body = {"data": self.hostile.spoiled(data) if self.dice.random() < 0.3 else data}
        if self.dice.random() < 0.5:
            await self._post("endpoint by /run", f"/gradio_api/run{name}", body, name)
        else:
            await self._called("endpoint by /call", f"/gradio_api/call{name}", body, name, private=False)

    def _argument(self, name: str, default: Any) -> Any:
        if self.dice.random() < 0.25:
            return self.hostile.value()
        if name == "run_id":
            return self.hostile.run_id()
        if name == "owner_key":
            return self.dice.choice([self.key, self.key, self.hostile.text()])
        if name == "config":
            return self.hostile.config(self.sections)
        if name == "seconds":  # of a wait, which else would be a long one
            return self.dice.choice([0, 1, self.hostile.text()])
        if name == "action":
            return self.dice.choice(["pause", "resume", "stop", "continue", self.hostile.text()])
        return self.dice.choice([default, self.hostile.text()])

    def _call_of(self, handler: Handler) -> dict:
        body = {
            "data": self.hostile.spoiled(self._proper(handler)), "fn_index": handler.index,
            "event_data": self.dice.choice([None, None, self.hostile.value()]),
            "trigger_id": handler.targets[0][0] if handler.targets else None,
            "session_hash": f"soak{self.dice.getrandbits(40):x}",
        }  # fmt: skip
        for name in ("event_data", "trigger_id", "session_hash", "event_id", "request", "batched", "simple_format"):
            if self.dice.random() < 0.02:
                body[name] = self.hostile.value()
        return body

    def _proper(self, handler: Handler) -> list:
        """The valid inputs that the attacker's own page would send while it shows somebody else's run."""
        values = self.page.values(handler, TINY)
        for place, component in enumerate(handler.inputs):
            kind = self.page.components[component]["type"]
            elem_id = self.page.components[component]["props"].get("elem_id")
            if kind == "browserstate":
                values[place] = self.key
            elif elem_id in ("wire", "runs-table"):
                values[place] = {"run": self.hostile.run_id(), "mine": True, "name": self.hostile.text()}
            elif elem_id == "sample-run":
                values[place] = self.hostile.run_id()
            elif elem_id == "upload":
                values[place] = [self.hostile.file()]
            elif kind == "textbox" and values[place] is None:
                values[place] = self.hostile.text()
        return values

    # Routes.

    async def route(self, template: str) -> None:
        await self._at("route of Gradio", self._path(template))

    async def live_route(self, template: str) -> None:
        await self._at("live route", self._path(template))

    def _path(self, template: str) -> str:
        def fill(match: re.Match) -> str:
            text = self.hostile.run_id() if match[0] == "{run}" else self.hostile.text()
            return self._quoted(text if match[0] != "{name}" or self.dice.random() < 0.7 else "main.js")

        path = re.sub(r"\{\w+\}", fill, template)
        words = [f"{self.dice.choice(QUERIES)}={self._quoted(str(self._word()))}" for _ in range(self.dice.choice([0, 1, 1, 3, 6]))]
        return (path + ("?" + "&".join(words) if words else ""))[:60_000]

    def _word(self) -> Any:
        return self.dice.choice([self.hostile.text(), self.dice.choice(self.hostile.ids), self.hostile.value(depth=3)])

    def _quoted(self, text: str) -> str:
        """Usually percent-encoded as by a browser; else raw, without characters that would end the request line."""
        if self.dice.random() < 0.8:
            return quote(text, safe=self.dice.choice(["", "/", "/.:"]), errors="replace")
        return re.sub(r"[\s\x00-\x1f]", "", text)

    async def _at(self, kind: str, path: str) -> None:
        method = self.dice.choice(["GET", "GET", "GET", *METHODS])
        if method == "GET" and any(part in path for part in ENDLESS):
            await self._glance(kind, path)
            return
        body = b"" if method in ("GET", "HEAD") else json.dumps(self.hostile.value()).encode("utf-8", "surrogatepass")
        if "component_server" in path and method == "POST":
            ids = [*self.page.components, self.hostile.value()]
            asked = {"data": self.hostile.value(), "component_id": self.dice.choice(ids), "session_hash": self.hostile.value()}
            body = json.dumps(asked | {"fn_name": self.dice.choice(["__init__", "get_config", self.hostile.text()])}).encode()
        headers = self.hostile.headers() + ([("Content-Type", "application/json")] if body else [])
        await self._ask(kind, method, path, body, headers)

    async def nonsense(self, template: str) -> None:
        """A malformed body under any content type."""
        kind = self.dice.choice(TYPES)
        body = self.hostile.body()
        length = self.dice.random() < 0.9
        chunked = [] if length else [("Transfer-Encoding", "chunked")]
        sent = body if length else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        await self._ask("body that is none", "POST", self._path(template), sent, [("Content-Type", kind), *chunked], length=length)

    async def oversized(self, path: str) -> None:
        """A body that is too long, or has a Content-Length that is."""
        headers = [("Content-Type", "application/json")]
        if self.dice.random() < 0.5:
            headers.append(("Content-Length", str(10 ** self.dice.randrange(8, 40))))
            await self._ask("body without end", "POST", path, b"{", headers, length=False)
        else:
            chunk = b"10000\r\n" + b"[" * 65536 + b"\r\n"
            await self._ask("body without end", "POST", path, chunk * 48, [*headers, ("Transfer-Encoding", "chunked")], length=False)

    # Files.

    async def file(self, _: str) -> None:
        """Upload a hostile file and try to train on it."""
        name, data = self.hostile.upload()
        safe = name.encode("utf-8", "replace").replace(b'"', b"%22").replace(b"\r", b"").replace(b"\n", b"")
        part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\nContent-Type: text/plain\r\n\r\n%s\r\n--x--\r\n'
        answer = await self._ask(
            "uploaded file", "POST", "/gradio_api/upload", part % (safe, data), [("Content-Type", "multipart/form-data; boundary=x")]
        )
        if answer is None or answer.status != 200:
            return
        path = answer.json()[0]
        handler = self.page.handler("upload", "upload")
        given = [{"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}]
        body = {"data": [given], "fn_index": handler.index, "session_hash": f"up{self.dice.getrandbits(40):x}"}
        await self._queued("uploaded file", body, "upload", True)
        await self._ask("uploaded file", "GET", f"/gradio_api/file={quote(path)}", b"", [])

    # Sending.

    async def _post(self, kind: str, path: str, body: Any, asked: str, *, private: bool = False) -> None:
        data = json.dumps(body).encode("utf-8", "surrogatepass")
        headers = [("Content-Type", "application/json"), *self.hostile.headers()]
        await self._ask(kind, "POST", path, data, headers, f"{kind} {asked}", private=private)

    async def _queued(self, kind: str, body: dict, asked: str, private: bool) -> None:
        data = json.dumps(body).encode("utf-8", "surrogatepass")
        answer = await self._ask(kind, "POST", "/gradio_api/queue/join", data, [("Content-Type", "application/json")], f"{kind} {asked}")
        if answer is not None and answer.status == 200:
            session = quote(str(body["session_hash"]))
            await self._listen(kind, f"/gradio_api/queue/data?session_hash={session}", data, f"{kind} {asked}", private)

    async def _called(self, kind: str, path: str, body: Any, asked: str, private: bool) -> None:
        data = json.dumps(body).encode("utf-8", "surrogatepass")
        answer = await self._ask(kind, "POST", path, data, [("Content-Type", "application/json")], f"{kind} {asked}")
        if answer is not None and answer.status == 200:
            await self._listen(kind, f"{path}/{answer.json()['event_id']}", data, f"{kind} {asked}", private)

    async def _listen(self, kind: str, path: str, sent: bytes, asked: str, private: bool) -> None:
        """Judge all events of one call as one answer; a call that ended in an error counts as status 500."""
        parts = []
        try:
            async with self.client.events(path) as events:
                async for event in events:
                    parts.append(event)
                    if b'"process_completed"' in event or event.startswith((b"event: complete", b"event: error")):
                        break
        except NoAnswer as error:
            self._unanswered(kind, asked, error)
            return
        found = b"\n".join(parts)
        ended_well = b'"success":true' in found or b"event: complete" in found
        if not ended_well:
            found = json.dumps({"error": found.decode("utf-8", "replace")}).encode()
        answer = Answer(200 if ended_well else 500, {}, found)
        self.judge.look(f"{kind}, its answer", asked, answer, sent, private=private)

    async def _glance(self, kind: str, path: str) -> None:
        """Read and judge the beginning of a stream that may never end."""
        parts = []
        try:
            async with self.client.events(path, GLANCE_S) as events:
                async for event in events:
                    parts.append(event)
        except NoAnswer:
            pass
        self.judge.look(f"{kind}, a stream", f"GET {path[:120]}", Answer(200, {}, b"\n".join(parts)), path.encode("utf-8", "surrogatepass"))

    async def _ask(
        self, kind: str, method: str, path: str, body: bytes, headers: list, asked: str = "", *, private: bool = False, length: bool = True
    ) -> Answer | None:  # fmt: skip
        asked = asked or f"{method} {path[:120]}"
        try:
            answer = await self.client.ask(method, path, body, headers, length=length)
        except NoAnswer as error:
            self._unanswered(kind, asked, error)
            return None
        self.judge.look(kind, asked, answer, path.encode("utf-8", "surrogatepass") + body, private=private)
        return answer

    def _unanswered(self, kind: str, asked: str, error: NoAnswer) -> None:
        """The server may close the connection of a malformed request; not answering at all is a violation."""
        self.judge.findings.count(kind, "closed")
        if error.timed_out:
            self.judge.findings.blame(f"{asked}: no answer for {self.client.patience_s:g} s")


def _named(handler: Handler) -> str:
    return handler.name or f"number {handler.index}"

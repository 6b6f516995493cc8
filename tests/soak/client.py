"""A small HTTP/1.1 client that sends exactly what it is given, also malformed requests.

It is light, because it shares the cores with the server under test. Knows nothing of the playground.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

IDLE_S = 3.0  # uvicorn closes what was idle for five
PATIENCE_S = 30.0
MAX_HEAD = 1 << 20

Headers = Iterable[tuple[str, str]]


class NoAnswer(OSError):
    """The server closed the connection, did not answer within the patience (`timed_out`), or did not answer in HTTP."""

    def __init__(self, words: str, *, timed_out: bool = False):
        super().__init__(words)
        self.timed_out = timed_out


@dataclass(frozen=True)
class Answer:
    """`seconds` from the first byte sent to the last one read."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    seconds: float = 0.0

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_since: float = field(default_factory=time.monotonic)

    def usable(self) -> bool:
        return not self.reader.at_eof() and time.monotonic() - self.idle_since < IDLE_S


class Client:
    """Sends requests to one server over keep-alive connections, as a browser does. Counts the bytes it has read."""

    def __init__(self, port: int, patience_s: float = PATIENCE_S):
        self.port, self.patience_s, self.n_bytes = port, patience_s, 0
        self._idle: list[_Connection] = []

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Headers = (), *, length: bool = True) -> Answer:
        """The whole answer. Without `length` no Content-Length is sent. Raises NoAnswer."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.patience_s):
                connection, status, found = await self._sent(method, path, body, headers, length)
                try:
                    data = b"".join([part async for part in _body(connection.reader, method, status, found)])
                except BaseException:
                    connection.writer.close()
                    raise
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}", timed_out=isinstance(error, TimeoutError)) from error
        self.n_bytes += len(data)
        if found.get("content-encoding") == "gzip" and method != "HEAD":
            data = gzip.decompress(data)
        if length:
            self._keep(connection, found)
        else:  # the server may read the next request as more of this body
            connection.writer.close()
        return Answer(status, found, data, time.monotonic() - began)

    async def get(self, path: str, headers: Headers = ()) -> Answer:
        return await self.ask("GET", path, headers=headers)

    async def post(self, path: str, value: Any, headers: Headers = ()) -> Answer:
        """Sends a value as JSON."""
        return await self.ask("POST", path, json.dumps(value).encode(), [("Content-Type", "application/json"), *headers])

    @asynccontextmanager
    async def events(self, path: str, patience_s: float | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        """The data of Server-Sent Events as they come, until the block ends, the server ends them or the patience is over."""
        connection = None
        try:
            async with asyncio.timeout(patience_s or self.patience_s):
                connection, status, found = await self._sent("GET", path, b"", [("Accept", "text/event-stream")], True)
                yield _event_data(_body(connection.reader, "GET", status, found))
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}", timed_out=isinstance(error, TimeoutError)) from error
        finally:
            if connection is not None:
                connection.writer.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().writer.close()

    async def _sent(self, method: str, path: str, body: bytes, headers: Headers, length: bool) -> tuple[_Connection, int, dict[str, str]]:
        """The connection, and the head of the answer. A kept connection that the server has just closed is replaced once."""
        head = _head(method, path, self.port, len(body) if length and (body or method == "POST") else None, headers)
        while self._idle:
            kept = self._idle.pop()
            if kept.usable():
                try:
                    return kept, *await _exchange(kept, head, body)
                except (OSError, asyncio.IncompleteReadError):
                    pass
            kept.writer.close()
        new = _Connection(*await asyncio.open_connection("127.0.0.1", self.port, limit=MAX_HEAD))
        try:
            return new, *await _exchange(new, head, body)
        except BaseException:
            new.writer.close()
            raise

    def _keep(self, connection: _Connection, headers: dict[str, str]) -> None:
        ended = headers.get("connection", "").lower() == "close" or not ("content-length" in headers or "transfer-encoding" in headers)
        if ended:
            connection.writer.close()
        else:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)


def _head(method: str, path: str, port: int, length: int | None, headers: Headers) -> bytes:
    given = list(headers)
    if not any(name.lower() == "host" for name, _ in given):
        given.insert(0, ("Host", f"127.0.0.1:{port}"))
    if length is not None:
        given.append(("Content-Length", str(length)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass")


async def _exchange(connection: _Connection, head: bytes, body: bytes) -> tuple[int, dict[str, str]]:
    connection.writer.write(head + body)
    with contextlib.suppress(ConnectionError):  # refused while it was still being sent: the reason may be there to read
        await connection.writer.drain()
    raw = await connection.reader.readuntil(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return int(first.split(" ", 2)[1]), headers


async def _body(reader: asyncio.StreamReader, method: str, status: int, headers: dict[str, str]) -> AsyncIterator[bytes]:
    if method == "HEAD" or status in (204, 304):
        return
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int(await reader.readline() or b"x", 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        yield await reader.read()


async def _event_data(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Event by event what follows `data:`, where it begins so; else the event as it came."""
    rest = b""
    async for part in parts:
        *events, rest = (rest + part).split(b"\n\n")
        for event in events:
            yield event.removeprefix(b"data: ")
    if rest:
        yield rest

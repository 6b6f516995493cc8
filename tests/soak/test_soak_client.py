"""The HTTP client of the campaigns, against servers that answer well, badly or not at all."""

import asyncio
from functools import partial

import pytest

from tests.soak.client import Client, NoAnswer


def _asked(run_apart, answers, do, patience_s=5.0):
    """The result of `do(client)` with a server that sends one of `answers` per request; and the requests that it got."""
    got = []

    async def serve(reader, writer):
        try:
            while answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
                got.append(head + await reader.readexactly(length))
                lot = answers.pop(0)
                if lot is None:
                    break
                writer.write(lot)
                await writer.drain()
                if b"Connection: close" in lot:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def both():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = Client(server.sockets[0].getsockname()[1], patience_s)
        try:
            return await do(client)
        finally:
            client.close()
            server.close()

    return run_apart(both()), got


@pytest.fixture
def asked(run_apart):
    return partial(_asked, run_apart)


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
PARTS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


@pytest.mark.parametrize("sent", [WHOLE, PARTS, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"])
def test_an_answer_is_read_however_it_is_framed(asked, sent):
    answer, _ = asked([sent, None], lambda client: client.get("/"))
    assert (answer.status, answer.body) == (200, b"hello") and answer.seconds > 0


def test_a_connection_is_kept_and_replaced_when_the_server_has_closed_it(asked):
    async def thrice(client):
        first, second = await client.get("/1"), await client.get("/2")
        kept = len(client._idle)
        return first.body + second.body + (await client.get("/3")).body, kept

    (body, kept), got = asked([WHOLE, PARTS, None, WHOLE], thrice)
    assert body == b"hello" * 3 and kept == 1 and [request.split()[1] for request in got] == [b"/1", b"/2", b"/3", b"/3"]


def test_what_is_asked_is_sent_as_it_stands(asked):
    path, lie = "/../<b>%2e", ("Content-Length", "3")
    _, got = asked([WHOLE, WHOLE], lambda client: client.ask("BREW", path, b"abc", [("Host", "elsewhere"), lie], length=False))
    assert got == [b"BREW /../<b>%2e HTTP/1.1\r\nHost: elsewhere\r\nContent-Length: 3\r\n\r\nabc"]


def test_after_a_lie_about_the_length_the_connection_is_not_used_again(asked):
    async def lie(client):
        await client.ask("POST", "/", b"", [("Content-Length", "0")], length=False)
        return len(client._idle)

    assert asked([WHOLE, WHOLE], lie)[0] == 0


def test_no_answer_has_a_reason(asked):
    async def hear_nothing(client):
        with pytest.raises(NoAnswer) as raised:
            await client.get("/")
        assert raised.value.timed_out

    asked([b"", b""], hear_nothing, patience_s=0.2)

    async def hear_nonsense(client):
        with pytest.raises(NoAnswer) as raised:
            await client.get("/")
        assert not raised.value.timed_out

    asked([b"this is no http\r\n\r\n", None], hear_nonsense)


def test_events_come_one_by_one_whatever_the_parts(asked):
    events = b"data: one\n\ndata: two\n\nevent: x\ndata: three\n\n"
    sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
        15,
        events[:15],
        len(events) - 15,
        events[15:],
    )

    async def listen(client):
        async with client.events("/events") as found:
            return [event async for event in found]

    assert asked([sent, None], listen)[0] == [b"one", b"two", b"event: x\ndata: three"]

"""Headers on every answer; nothing changed from another site; no endless bodies."""

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from playground.ui.shield import HEADERS, Shield

HOST = {"host": "play.example:7860"}


def ours(host):
    return host != "evil.example:7860"


@pytest.fixture
def client():
    changed = []

    async def change(request):
        changed.append(len(await request.body()))
        return PlainTextResponse("changed")

    async def look(request):
        raise HTTPException(404)

    app = Starlette(
        routes=[Route("/change", change, methods=["GET", "POST", "PUT", "DELETE"]), Route("/look", look)],
        middleware=[Middleware(Shield, max_bytes=1000, hosts=ours)],
    )
    client = TestClient(app, raise_server_exceptions=False)
    client.changed = changed
    return client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://play.example:7860"},
        {"origin": "https://PLAY.example:7860", "sec-fetch-site": "same-origin"},
        {"origin": "https://me-space.hf.space", "x-forwarded-host": "me-space.hf.space, inner"},
        {"sec-fetch-site": "none"},
        {"origin": "https://public.example", "sec-fetch-site": "same-origin"},  # behind a proxy that names itself as the host
    ],
)
def test_the_page_itself_and_programs_may_change_something(client, headers):
    assert client.post("/change", headers=HOST | headers, content=b"x").text == "changed" and client.changed == [1]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://play.example"},
        {"origin": "http://play.example:7861"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://play.example:7860@evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://play.example:7860", "sec-fetch-site": "same-site"},
    ],
)
def test_another_site_may_not(client, method, headers):
    answer = client.request(method, "/change", headers=HOST | headers)
    assert answer.status_code == 403 and not client.changed


def test_another_site_may_link_to_it(client):
    assert client.get("/change", headers=HOST | {"sec-fetch-site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/change"), ("GET", "/look"), ("GET", "/nothing"), ("POST", "/change")])
def test_every_answer_carries_the_headers_also_a_refusal(client, method, path):
    answer = client.request(method, path, headers=HOST | {"origin": "https://evil.example"})
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "frame-ancestors 'self' https://huggingface.co" in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers


def test_pages_of_other_origins_may_frame_it_where_that_is_set():
    layer = Middleware(Shield, max_bytes=1000, hosts=ours, framed_by=("https://course.example", "https://*.school.example"))
    answer = TestClient(Starlette(middleware=[layer])).get("/", headers=HOST)
    ancestors = "frame-ancestors 'self' https://huggingface.co https://course.example https://*.school.example"
    assert answer.headers["content-security-policy"].endswith(ancestors)


def test_a_body_has_a_limit_whether_it_says_its_size_or_not(client):
    assert client.post("/change", content=b"x" * 1000).text == "changed"
    assert client.post("/change", content=b"x" * 1001).status_code == 413

    def pieces():
        for _ in range(20):
            yield b"x" * 100

    client.changed.clear()
    assert client.post("/change", content=pieces()).status_code != 200 and not client.changed


def test_what_a_route_stumbles_over_is_told_in_a_line_and_shows_nothing(capsys):
    async def stumble(request):
        return {}["\x1b[31msecret"]

    app = Starlette(routes=[Route("/stumble", stumble)], middleware=[Middleware(Shield, max_bytes=1000, hosts=ours)])
    answer = TestClient(app).get("/stumble")  # raises what reaches the server
    assert answer.status_code == 400 and answer.text == "this request cannot be understood"
    assert all(answer.headers[name] == value for name, value in HEADERS.items())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("GET /stumble failed: KeyError: ") and "(tests/playground/ui/test_shield.py:" in line and "\x1b" not in line


def test_what_breaks_off_an_answer_is_told_in_a_line(capsys):
    async def parts():
        yield b"so far"
        raise HTTPException(404)

    async def begin(request):
        return StreamingResponse(parts())

    app = Starlette(routes=[Route("/begin", begin)], middleware=[Middleware(Shield, max_bytes=1000, hosts=ours)])
    assert TestClient(app).get("/begin").text == "so far"
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_name_that_leads_here_is_refused(client, method):
    """DNS rebinding: a page elsewhere points its own name at this machine, and is then its origin."""
    headers = {"host": "evil.example:7860", "origin": "http://evil.example:7860", "sec-fetch-site": "same-origin"}
    answer = client.request(method, "/change", headers=headers)
    assert answer.status_code == 421 and "'evil.example:7860'" in answer.text and "PLAYGROUND_HOSTS" in answer.text
    assert client.changed == [] and answer.headers["content-security-policy"]

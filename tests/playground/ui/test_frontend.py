"""Gradio's own files, as a browser gets them."""

import gzip

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from playground.ui.frontend import FOLDER, Frontend


@pytest.fixture
def frontend(tmp_path):
    (tmp_path / "page-abc.js").write_text("let x = 1;" * 500)
    (tmp_path / "font.woff2").write_bytes(b"\x00font")
    return Frontend(tmp_path)


@pytest.fixture
def client(frontend):
    return TestClient(Starlette(routes=[Route("/assets/{name}", frontend.answer)]))


def test_a_script_is_compressed_once_and_kept_by_the_browser(frontend, client, tmp_path):
    first = client.get("/assets/page-abc.js")
    assert first.text == "let x = 1;" * 500 and first.headers["content-encoding"] == "gzip"
    assert int(first.headers["content-length"]) < 200 and "immutable" in first.headers["cache-control"]
    assert first.headers["content-type"].startswith("text/javascript")
    frontend._compressed["page-abc.js"] = gzip.compress(b"kept")
    assert client.get("/assets/page-abc.js").text == "kept"


def test_who_takes_no_gzip_gets_it_as_it_is(client):
    answer = client.get("/assets/page-abc.js", headers={"accept-encoding": "identity"})
    assert answer.text == "let x = 1;" * 500 and "content-encoding" not in answer.headers


def test_what_is_compressed_already_is_left_alone(client):
    answer = client.get("/assets/font.woff2")
    assert answer.content == b"\x00font" and "content-encoding" not in answer.headers


@pytest.mark.parametrize("name", ["nothing.js", "..%2f..%2fapp.py", "%2e%2e", "page-abc.js%00", "PAGE-ABC.JS"])
def test_nothing_else_can_be_had(client, name):
    assert client.get(f"/assets/{name}").status_code == 404


def test_gradio_keeps_its_files_where_they_are_looked_for():
    assert any(path.name.startswith("index-") and path.suffix == ".js" for path in FOLDER.iterdir())

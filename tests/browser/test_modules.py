"""The page's modules as a browser takes them: each once, with nothing on `window`, late, in a frame, and under a path of a host."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from playground.web.assets import PLOTLY, assets
from tests.patience import LONGEST_S, still

MAIN = "**/live/assets/*/main.js"
LOADED = "performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => name.includes('/live/assets/'))"


def test_each_module_is_there_once_and_nothing_is_global(visit, app):
    page = visit()
    page.wait_for_function("typeof Plotly == 'object'")
    loaded = page.evaluate(LOADED)
    assert sorted(loaded) == sorted(f"{app.url}{assets().url(name)}" for name in [*assets().modules(), PLOTLY])
    assert page.evaluate("Object.keys(window).filter((name) => /playground/i.test(name))") == []
    # A second import of the same address is the very module that the page runs by: it knows who looks.
    page.wait_for_function(f"import(new URL('{assets().url('net.js')}', document.baseURI)).then((net) => net.who().key != null)")


def test_what_is_changed_while_the_modules_are_late_is_not_lost(chromium, app):
    page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(20_000)
    held = []
    page.route(MAIN, lambda route: held.append(route))
    page.goto(app.url)
    box = page.locator("#model-n_layer input[type=number], #model-n_layer input[type=text]").first
    box.fill("2")
    with page.expect_response("**/gradio_api/**"):
        box.press("Tab")
    page.wait_for_timeout(1000)
    assert held and page.locator(".pg-brand, .pg-times").count() == 0
    for route in held:
        route.continue_()
    page.wait_for_function("document.querySelector('#picture .pg-times')?.textContent == '× 2'")
    page.wait_for_selector("#status .pg-brand")
    page.context.close()


class Proxy(ThreadingHTTPServer):
    """A host that serves the app under `/a/path/` and takes this path away before it asks the app."""

    def __init__(self, port: int):
        super().__init__(("127.0.0.1", 0), Strip)
        self.app_port = port
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Strip(BaseHTTPRequestHandler):
    server: Proxy
    prefix = "/a/path"

    def do_GET(self):
        if not self.path.startswith(self.prefix + "/"):
            self.send_error(404)
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.app_port, timeout=LONGEST_S)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection.request(self.command, self.path.removeprefix(self.prefix), body, dict(self.headers))
        answer = connection.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        while part := answer.read1(65536):
            self.wfile.write(part)
        connection.close()

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def hosted(chromium, app, tmp_path, monkeypatch):
    """An app under a path of a host, as the address of its page."""
    monkeypatch.setenv("GRADIO_ROOT_PATH", Strip.prefix)
    below = type(app)(tmp_path / "root")
    proxy = Proxy(below.port)
    yield f"http://127.0.0.1:{proxy.server_port}{Strip.prefix}/"
    proxy.shutdown()
    below.close()


def test_the_page_is_whole_under_a_path_of_a_host_and_in_a_frame(chromium, hosted):
    page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(30_000)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
    page.goto(hosted)
    page.wait_for_selector("#status .pg-brand")
    page.wait_for_selector("#picture .pg-graph")
    assert all(name.startswith(f"{hosted}live/assets/{assets().version}/") for name in page.evaluate(LOADED))
    page.goto(f"{hosted}config")
    page.evaluate(
        "(url) => document.body.replaceChildren(Object.assign(document.createElement('iframe'), { src: url, width: 1000 }))", hosted
    )
    frame = page.frame_locator("iframe")
    frame.locator("#status .pg-brand").wait_for()
    frame.locator("#picture .pg-graph").wait_for()
    began = time.monotonic()
    while page.frames[-1].evaluate("typeof Plotly") != "object":
        assert still(began), "Plotly is loaded"
        page.wait_for_timeout(200)
    assert complaints == []
    page.context.close()


def test_under_a_path_that_the_app_was_not_told_of_the_page_says_what_to_set(chromium, app):
    proxy = Proxy(app.port)
    page = chromium.new_context().new_page()
    page.goto(f"http://127.0.0.1:{proxy.server_port}{Strip.prefix}/")
    said = page.locator(".pg-astray")
    said.wait_for()
    assert f"start it with GRADIO_ROOT_PATH={Strip.prefix}" in said.inner_text()
    page.context.close()
    proxy.shutdown()

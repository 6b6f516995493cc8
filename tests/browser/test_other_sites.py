"""The page against other sites, in a real Chromium: nothing is changed from there, and nobody else frames it."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from playground.web.assets import assets
from tests.patience import LONGEST_S


@pytest.fixture
def elsewhere(app):
    """Another site, whose page shows the playground in a frame and has a form that asks it to do something."""
    body = f"""<!doctype html><title>elsewhere</title><iframe src="{app.url}"></iframe>
        <form method="post" enctype="text/plain" action="{app.url}gradio_api/call/start_run">
        <input name='{{"data": [{{}}], "x": "' value='"}}'><button>go</button></form>"""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_another_site_can_neither_start_a_run_nor_frame_the_page(chromium, app, elsewhere):
    context = chromium.new_context()
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.goto(elsewhere)
    for _ in range(50):
        if any("frame-ancestors" in text for text in said):
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail(f"the frame was shown: {said}")
    with page.expect_navigation() as there:
        page.click("button")
    assert there.value.request.method == "POST" and there.value.status == 403
    assert "another site" in page.content()
    context.close()


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd", "/gradio_api/file=app.py", "/gradio_api/file=requirements.txt", "/gradio_api/file=../app.py",
        "/gradio_api/file=%2Fetc%2Fpasswd", "/file=/etc/passwd", "/static/../app.py", "/live/assets/../app.py",
        "/live/assets/%2e%2e%2fapp.py", "/live/assets/..%2f..%2fetc%2fpasswd", "/live/assets/../../app.py",
        f"/live/assets/{assets().version}/../../app.py", f"/live/assets/{assets().version}/..%2f..%2f..%2fapp.py",
        "/live/runs/..%2f..%2fapp.py/config.json",
    ],
)  # fmt: skip
def test_no_file_of_the_machine_can_be_read(app, path):
    """Asked for as it stands: no client cleans the path."""
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=LONGEST_S)
    connection.putrequest("GET", path, skip_host=False)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status != 200 or (b"root:" not in body and b"settings -> app -> launch" not in body and b"torch==" not in body)
    assert answer.status in (403, 404, 405), answer.status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"

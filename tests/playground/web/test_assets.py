"""The page's own files: one version for all of them, kept for good, and nothing else to be had."""

import gzip
import re
from collections import Counter

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from playground.system.files import ASSETS
from playground.ui.panel import MODULE, calls
from playground.web.assets import Assets, assets

HEX = re.compile(r"#(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{6}|[0-9a-fA-F]{3,4})\b")


def client_of(served: Assets) -> TestClient:
    return TestClient(Starlette(routes=[Route("/live/assets/{version}/{name}", served.answer)]))


@pytest.fixture(scope="module")
def client():
    return client_of(assets())


def test_a_module_is_compressed_and_kept_for_good(client):
    answer = client.get(assets().url("main.js"))
    assert answer.status_code == 200 and "export function mount" in answer.text
    assert answer.headers["content-encoding"] == "gzip" and answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/javascript")
    plain = client.get(assets().url("main.js"), headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == (ASSETS / "main.js").read_bytes()
    assert "plotly.js v" in client.get(assets().url("plotly.min.js")).text[:200]
    assert client.head(assets().url("main.js")).status_code == 200


@pytest.mark.parametrize(
    "name", ["nothing.js", "screenshot.png", "", ".", "..", "..%2f..%2fapp.py", "%2e%2e%2fapp.py", "main.js%00", "MAIN.JS"]
)
def test_nothing_else_is_served(client, name):
    assert client.get(f"/live/assets/{assets().version}/{name}").status_code == 404


@pytest.mark.parametrize("version", ["", "x", "..", "%2e%2e", "0" * 12])
def test_another_version_is_not_found_and_not_kept(client, version):
    answer = client.get(f"/live/assets/{version}/main.js")
    assert answer.status_code == 404 and "cache-control" not in answer.headers


def test_the_version_changes_with_any_file_and_what_lies_under_it_never(tmp_path):
    (tmp_path / "a.js").write_text("export const a = 1;")
    (tmp_path / "b.css").write_text("a {}")
    (tmp_path / "picture.png").write_bytes(b"no part of the page")
    first = Assets(tmp_path)
    assert Assets(tmp_path).version == first.version
    (tmp_path / "picture.png").write_bytes(b"changed")
    assert Assets(tmp_path).version == first.version
    (tmp_path / "a.js").write_text("export const a = 2;")
    second = Assets(tmp_path)
    (tmp_path / "a.js").rename(tmp_path / "c.js")
    assert len({first.version, second.version, Assets(tmp_path).version}) == 3
    assert client_of(first).get(first.url("a.js")).text == "export const a = 1;"
    assert client_of(first).get(second.url("a.js")).status_code == 404


def test_all_is_compressed_ahead_of_the_first_visitor(tmp_path):
    (tmp_path / "a.js").write_text("export const a = 1;")
    served = Assets(tmp_path)
    served.compress()
    assert {name for name, asset in served.files.items() if "compressed" in vars(asset)} == {"a.js", "plotly.min.js"}
    assert gzip.decompress(served.files["a.js"].compressed) == b"export const a = 1;"


def test_gradio_is_given_only_what_the_module_exports():
    """Names that Python writes into the page stand in no import, so nothing else would miss them."""
    exported = set(re.findall(r"^export (?:async )?function (\w+)", assets().text("main.js"), re.M))
    exported |= {name for names in re.findall(r"^export \{ (.*?) \}", assets().text("main.js"), re.M) for name in names.split(", ")}
    python = "".join(path.read_text() for path in (ASSETS.parent / "playground/ui").glob("*.py"))
    called = set(re.findall(r'calls\("(\w+)"\)', python))
    assert called and called | {"mount"} == exported
    panels = set(re.findall(r"\w+", re.search(r"const PANELS = \{(.*?)\};", assets().text("main.js"), re.S)[1]))
    assert set(re.findall(r'''Panel\(\s*"(\w+)"''', python)) <= panels <= set(re.findall(r'"(\w+)"', python))
    assert assets().version in MODULE and MODULE in calls("mount")


def test_each_colour_is_written_once_and_only_as_a_property_of_the_style_sheet():
    found = Counter()
    for path in [*ASSETS.glob("*.css"), *ASSETS.glob("*.js")]:
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        for colour in HEX.findall(text):
            found["#" + "".join(2 * c for c in colour[1:]) if len(colour) < 6 else colour.lower()] += 1
        declared = len(re.findall(rf"--pg-[\w-]+: {HEX.pattern};", text))
        assert len(HEX.findall(text)) == declared, path.name
    assert len(found) > 8 and [colour for colour, times in found.items() if times > 1] == []


def test_radii_are_properties_and_each_property_that_is_read_is_set():
    style = assets().text("page.css")
    assert set(re.findall(r"border-radius: ([^;]*)", style)) - {"50%"} == {
        f"var(--pg-radius-{size})" for size in ("xs", "s", "m", "l", "xl")
    } | {"var(--pg-radius-m) !important"}
    script = "".join(assets().text(name) for name in assets().modules())
    read = set(re.findall(r"var\((--pg-[\w-]+)\)", style + script)) | set(re.findall(r'"(--pg-[\w-]+)"', script))
    declared = set(re.findall(r"(--pg-[\w-]+):", style)) | {"--pg-cividis"}
    assert read == declared

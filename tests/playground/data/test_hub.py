"""Texts of the Hub, read from a small Hub of our own: real HTTP, the library's own client, no network."""

import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from pyarrow import parquet

from playground.data import hub
from playground.data.errors import CorpusError
from playground.data.hub import HubText
from tests.patience import LONGEST_S, still

REPO = "some-body/stories.v1"


class Hub:
    """Datasets by name and revision; counts what is asked and sent. `moods` are ways to be bad, by word in the path."""

    def __init__(self):
        self.files: dict[str, dict[str, bytes]] = {}  # by commit
        self.revisions: dict[tuple[str, str], str] = {}
        self.moods: dict[str, object] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent_bytes = 0
        self.open = self.connections = 0
        self.stop = threading.Event()

    def push(self, files: dict[str, bytes], repo: str = REPO, revision: str = "main") -> str:
        commit = hashlib.sha1(repr((sorted(files.items()), len(self.files))).encode()).hexdigest()
        self.files[commit] = files
        self.revisions[repo, revision] = commit
        return commit

    def fetch(self, what: str, max_chars: int = 10**6, progress=None) -> hub.Fetched:
        return hub.fetch(HubText.parse(f"hub:{REPO}:{what}"), max_chars, progress)

    def refuses(self, what: str, max_chars: int = 10**6, repo: str = REPO) -> str:
        with pytest.raises(CorpusError) as caught:
            hub.fetch(HubText.parse(f"hub:{repo}:{what}"), max_chars)
        return str(caught.value)


def handler(there: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self):
            there.open += 1
            there.connections += 1
            try:
                super().handle()
            except OSError:
                pass
            finally:
                there.open -= 1

        def log_message(self, *args):
            pass

        def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, length: int | None = None):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body) if length is None else length), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(body), 2**14):
                self.wfile.write(body[start : start + 2**14])
                there.sent_bytes += len(body[start : start + 2**14])

        def do_GET(self):
            there.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            for word, mood in list(there.moods.items()):
                if re.search(word, self.path):
                    if callable(mood):
                        if mood(self):
                            return
                    else:
                        return self.answer(*mood)
            path = urlsplit(self.path).path
            if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/revision/([^/]+)", path):
                return self.info(match[1], unquote(match[2]))
            if match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", path):
                return self.answer(302, headers={"Location": f"/cdn/{match[2]}/{match[3]}"})
            if match := re.fullmatch(r"/cdn/([0-9a-f]{40})/(.+)", path):
                return self.file(there.files[match[1]].get(unquote(match[2])))
            self.answer(404)

        def info(self, repo: str, revision: str):
            if repo not in {known for known, _ in there.revisions}:
                return self.answer(401, b'{"error": "Invalid username or password."}')
            if (repo, revision) not in there.revisions:
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            commit = there.revisions[repo, revision]
            files = [{"rfilename": name, "size": len(data), "blobId": "x"} for name, data in there.files[commit].items()]
            self.answer(200, json.dumps({"id": repo, "sha": commit, "siblings": files}).encode())

        def file(self, data: bytes | None):
            if data is None:
                return self.answer(404, headers={"X-Error-Code": "EntryNotFound"})
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if not wanted:
                return self.answer(200, data)
            start, end = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
            if start >= len(data):
                return self.answer(416)
            self.answer(206, data[start : end + 1], {"Content-Range": f"bytes {start}-{end}/{len(data)}"})

    return Handler


@pytest.fixture
def there(monkeypatch, tmp_path):
    """A Hub on this machine, where a token lies about that must not be sent."""
    there = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(there))
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    (tmp_path / "token").write_text("hf_of_the_host_on_disk")
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_host")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    yield there
    there.stop.set()
    close_session()
    server.shutdown()
    server.server_close()
    thread.join()
    assert all("authorization" not in headers and "cookie" not in headers for _, headers in there.asked)
    assert not any("hf_of_the_host" in repr(asked) for asked in there.asked)


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(hub, "TIMEOUT_S", 0.3)


def as_parquet(rows: dict, **options) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(rows), file, **options)
    return file.getvalue()


STORIES = [f"Story {i}.\nIt has a second line, and ends {'well ' * (i % 7)}here." for i in range(400)]


# ---- sources


@pytest.mark.parametrize(
    "source, expected",
    [
        ("hub:a/b:c.txt", ("a/b", "c.txt", None, "main")),
        ("hub:a/b@refs/convert/parquet:d/*.parquet:text", ("a/b", "d/*.parquet", "text", "refs/convert/parquet")),
        ("hub:a-1/b_2.c:d/e f.csv:two words", ("a-1/b_2.c", "d/e f.csv", "two words", "main")),
        ("hub:a/b:data/", ("a/b", "data/", None, "main")),
        ("hub:a/b:müsli.txt", ("a/b", "müsli.txt", None, "main")),
        ("hub:a/b:data/:text", ("a/b", "data/", "text", "main")),
    ],
)
def test_source(source, expected):
    found = HubText.parse(source)
    assert found == HubText(source, expected[0], (expected[1],), expected[2], expected[3])


@pytest.mark.parametrize(
    "source",
    [
        "", "hub:", "hub:a:b", "hub:a/b", "hub:a/b:", "hub:a/b/c:d.txt", "hub:/b:c", "hub:a/b:/etc/passwd", "hub:a/b:../c",
        "hub:a/b:c/../../d", "hub:../b:c", "hub:a/b@..:c", "hub:a/b@../../x:c", "hub:a/b@:c", "hub:a/b:c:d:e", "hub:a/b:c.csv:",
        "hub:a/b:c\n.txt", "hub:a/b:c.txt\n", "\nhub:a/b:c.txt", "hub:a/b:c.csv:d\r", "hub:a/b:c\0.txt", "hub:a/b:c\x1b[1m.txt",
        "hub:a/b:\u202etxt.c", "hub:a/b:\ud800.txt", "hub:a/b:c\\d.txt", "hub:a/b:" + "c" * 300, "hub:" + "a" * 10**6 + "/b:c",
        "hub:a/b?x=1:c.txt", "hub:a/b#x:c.txt", "hub:a@c/b:d", "hub:a/b:c d ", "hub:http://evil/x:c.txt", "HUB:a/b:c.txt",
        "hub:a--b/c:d.txt", "hub:a/b.git:d.txt", "hub:a/b-:c.txt", "hub:ä/b:c.txt", "hub:a/b@-x:c.txt", "hub:" + "a/" * 95 + ":x",
        "hub:a/b:" + "*" * 190 + "x" * 90,
    ],
)  # fmt: skip
def test_hostile_source(source):
    started = time.process_time()
    with pytest.raises(CorpusError) as caught:
        HubText.parse(source)
    assert "OWNER/NAME" in str(caught.value) and str(caught.value).isprintable() and len(str(caught.value)) < 400
    assert time.process_time() - started < 2.5


def test_a_text_has_no_field(there):
    with pytest.raises(CorpusError, match=r"leave out :text"):
        HubText.parse("hub:a/b:c.txt:text")
    there.push({"data/a.txt": b"a"})
    assert "no fields; leave out :text" in there.refuses("data/:text")


@pytest.mark.parametrize(
    "repo, revision", [("a", "main"), ("a/b/c", "main"), ("../x", "main"), ("a/b", "../x"), ("a/b", "x\ny"), ("a/b", "")]
)
def test_listing_takes_only_names(there, repo, revision):
    with pytest.raises(CorpusError, match="OWNER/NAME"):
        hub.listing(repo, revision)
    assert not there.asked


def test_a_path_is_quoted(there):
    there.push({"a b/50%2e?x#y&z=ü.txt": "ü".encode()})
    assert there.fetch("a b/50%2e?x#y&z=ü.txt").text == "ü"


# ---- texts


def test_text(there):
    text = "\n\n".join(STORIES) + "\nÜmlaut, 漢字, 🙂\n"
    commit = there.push({"README.md": b"# hi", "stories.txt": b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()})
    found = there.fetch("stories.txt")
    assert found == hub.Fetched(text, commit, True, 3 + len(text.replace("\n", "\r\n").encode()))
    assert [path for path, _ in there.asked if "resolve" in path] == [f"/datasets/{REPO}/resolve/{commit}/stories.txt"]


@pytest.mark.parametrize("max_chars", [1, 50, 1_000, 65_535, 65_536, 65_537, 300_000])
@pytest.mark.parametrize("letter", ["a", "é", "漢", "🙂"])
def test_text_is_read_as_far_as_wanted_whatever_its_bytes(there, max_chars, letter):
    there.push({"t.txt": (letter * 400_000).encode()})
    found = there.fetch("t.txt", max_chars)
    assert found.text == letter * max_chars and not found.whole
    assert found.n_read_bytes <= max(4 * max_chars + 256, 2**16) and there.sent_bytes <= 4 * max_chars + 2_000


def test_text_of_exactly_the_limit_is_whole(there):
    there.push({"t.txt": b"x" * 70_000, "u.txt": b"y" * 10})
    assert there.fetch("t.txt", 70_000).whole
    assert there.fetch("*.txt", 70_012) == replace(there.fetch("*.txt"), text="x" * 70_000 + "\n\n" + "y" * 10, whole=True)
    assert not there.fetch("t.txt", 69_999).whole and not there.fetch("*.txt", 70_011).whole


def test_slice_ends_at_a_paragraph_or_a_line(there):
    text = "\n\n".join(STORIES)
    there.push({"t.txt": text.encode(), "lines.txt": "\n".join(STORIES).encode(), "crlf.txt": text.replace("\n", "\r\n").encode()})
    for name, end in (("t.txt", ".\n"), ("lines.txt", "\n"), ("crlf.txt", ".\n")):
        found = there.fetch(name, 5_000)
        assert 4_500 < len(found.text) <= 5_000 and found.text.endswith(end) and not found.whole
        assert ("\n\n".join(STORIES) if name != "lines.txt" else "\n".join(STORIES)).startswith(found.text)
    assert there.fetch("t.txt", 5_000).text.rstrip("\n").endswith("here.")


def test_a_slice_of_a_large_text_reads_little(there):
    there.push({"large.txt": b"A line of a large text.\n" * 2_000_000})
    found = there.fetch("large.txt", 1_000_000)
    assert 999_900 < len(found.text) <= 1_000_000
    assert found.n_read_bytes < 2_500_000 and there.sent_bytes < 3_000_000


def test_a_large_text_takes_one_connection_and_few_requests(there):
    there.push({"large.txt": bytes(range(32, 127)) * 100_000})
    assert len(there.fetch("large.txt", 10**7).text) == 9_500_000
    assert there.connections == 1 and len(there.asked) < 25


def test_several_files_in_order(there):
    there.push({"b/2.txt": b"two", "b/1.txt": b"one", "b/c/3.TXT": b"three", "b/x.png": b"\x89PNG", "d.txt": b"no", "b/0.txt": b""})
    assert there.fetch("b/").text == "one\n\ntwo\n\nthree" == there.fetch("b/*").text
    assert there.fetch("b/?.txt*").text == "one\n\ntwo"
    assert there.fetch("*.txt", 4).text == "one" and not there.fetch("*.txt", 4).whole
    assert there.fetch("*.txt", 3).n_read_bytes < 10


def test_stars_and_brackets_without_a_star_are_names(there):
    there.push({"[a].txt": b"brackets", "a.txt": b"a"})
    assert there.fetch("[a].txt").text == "brackets"


def test_too_many_files(there):
    there.push({f"{i:03}.txt": b"x" for i in range(51)})
    assert "51 files, and at most 50" in there.refuses("*.txt")
    assert there.fetch("0[0-4]*.txt").text.count("x") == 50


def test_kinds_are_not_mixed(there):
    there.push({"d/a.txt": b"x", "d/b.csv": b"x"})
    assert "several kinds (CSV and text)" in there.refuses("d/")


@pytest.mark.parametrize("before", [0, 1, 65_535, 65_536, 200_000])
def test_not_utf_8(there, before):
    there.push(
        {"t.txt": b"x" * before + b"\xc3(" + b"y" * 10, "cut.txt": b"x" * before + b"\xe6\xbc", "zero.txt": "ü".encode() * before + b"\0"}
    )
    assert f"byte 0xc3 at offset {before:,})" in there.refuses("t.txt")
    assert f"byte 0xe6 at offset {before:,})" in there.refuses("cut.txt")
    assert f"zero byte at offset {2 * before:,})" in there.refuses("zero.txt")


def test_nothing_in_it(there):
    there.push(
        {"t.txt": b"", "blank.txt": b" \n\n ", "t.csv": b"a,b\n1,\n", "t.parquet": as_parquet({"a": pyarrow.array([None, None], "string")})}
    )
    for what in ("t.txt", "blank.txt", "t.csv:b", "t.parquet:a"):
        assert "has no text" in there.refuses(what)


# ---- tables

CSV = 'id,text,"odd ""name"""\r\n1,"two\nlines, and ""quotes""\r\n\r\nand an empty one",x\r\n2,,x\r\n3\r\n4,plain\u2028text,x\r\n'


def test_csv(there):
    there.push({"t.csv": b"\xef\xbb\xbf" + CSV.encode(), "t.tsv": b"a\tb\n1\tx, y\n"})
    assert there.fetch("t.csv:text").text == 'two\nlines, and "quotes"\n\nand an empty one\n\nplain\u2028text'
    assert there.fetch("t.csv:id").text == "1\n\n2\n\n3\n\n4"
    assert there.fetch('t.csv:odd "name"').text == "x\n\nx\n\nx"
    assert there.fetch("t.tsv:b").text == "x, y"


@pytest.mark.parametrize("field", ["", ":txt"])
def test_the_columns_are_said(there, field):
    there.push(
        {
            "t.csv": CSV.encode(), "t.jsonl": b'{"id": 1, "text": "x"}\n' * 300, "n.jsonl": b'{"a": 1}', "e.csv": b"",
            "t.parquet": as_parquet({"id": [1], "text": ["x"]}),
        }
    )  # fmt: skip
    assert 'fields are id, text, odd "name"' in there.refuses(f"t.csv{field}")
    assert "fields are id, text" in there.refuses(f"t.parquet{field}")
    assert "fields are id, text" in there.refuses(f"t.jsonl{field}") and "fields are a" in there.refuses(f"n.jsonl{field}")
    assert "e.csv" in there.refuses(f"e.csv{field}")


def test_csv_with_a_long_record_and_a_slice(there):
    rows = "".join(f'"{story}",{i}\n' for i, story in enumerate(STORIES))
    there.push({"t.csv": f"text,i\n{rows * 300}".encode(), "long.csv": b"text\n" + b"x" * 300_000})
    found = there.fetch("t.csv:text", 10_000)
    n = found.text.count("Story")
    assert found.text == "\n\n".join(STORIES[:n]) and not found.whole and 9_900 < len(found.text) <= 10_000
    assert there.sent_bytes < 200_000 < len(rows) * 300
    assert there.fetch("long.csv:text").text == "x" * 300_000
    assert there.fetch("long.csv:text", 1_000).text == "x" * 1_000


def test_csv_that_never_ends_a_quote_is_read_to_a_bound(there, monkeypatch):
    monkeypatch.setattr(hub, "TABLE_BYTES", 2**20)
    there.push({"t.csv": b'text\n"' + b"x" * 5_000_000, "sparse.csv": b"a,text\n" + b"yy,\n" * 10**6})
    assert "choose a smaller file" in there.refuses("t.csv:text", 10_000)
    assert "choose a smaller file" in there.refuses("sparse.csv:text", 10_000)
    assert there.sent_bytes < 2 * (2**20 + 40_000) + 20_000


@pytest.mark.parametrize("name", ["t.jsonl", "t.NDJSON"])
def test_jsonl(there, name):
    records = [
        {"text": "one\n\u2028"},
        {"other": 1},
        {"text": None},
        {"text": 3},
        {"text": True},
        {"text": ["x"]},
        {"text": "\ud83d half"},
        {"text": "ü"},
    ]
    there.push({name: "\n".join(map(json.dumps, records)).encode() + b"\n\n"})
    found = there.fetch(f"{name}:text")
    assert found.text == "one\n\u2028\n\n3\n\n\ufffd half\n\nü" and found.whole
    assert there.fetch(f"{name}:text", 9).text == "one\n\u2028\n\n3"


@pytest.mark.parametrize("line", ["{", "[1]", "3", "nonsense", "[" * 200_000, '{"text": ' + "9" * 5_000 + "}"])
def test_jsonl_that_is_not(there, line):
    there.push({"t.jsonl": f'{{"text": "x"}}\n\n{line}\n'.encode()})
    assert "line 3 is not a JSON object" in there.refuses("t.jsonl:text")


def test_parquet(there):
    table = {"text": ["one", None, "", "two\r\n"], "n": [1, 2, 3, 4], "x": [0.5, None, 2.0, 3.0], "talk": [["a"], [], None, ["b"]]}
    there.push(
        {"t.parquet": as_parquet(table, row_group_size=2), "c.parquet": as_parquet({"a.b": pyarrow.array(["x", "x"]).dictionary_encode()})}
    )
    assert there.fetch("t.parquet:text").text == "one\n\ntwo\n"
    assert there.fetch("t.parquet:n").text == "1\n\n2\n\n3\n\n4"
    assert there.fetch("t.parquet:x").text == "0.5\n\n2.0\n\n3.0"
    assert there.fetch("c.parquet:a.b").text == "x\n\nx"
    assert "holds list<" in there.refuses("t.parquet:talk") and "not text" in there.refuses("t.parquet:talk")


@pytest.mark.parametrize("row_group_size", [5_000, 10**6])
def test_a_slice_of_parquet_reads_one_column_and_only_its_beginning(there, row_group_size):
    """In a row group of a million rows too."""
    random = [hashlib.sha512(bytes(str(i), "ascii")).hexdigest() * 2 for i in range(100_000)]
    data = as_parquet({"junk": random[::-1], "text": random}, row_group_size=row_group_size, use_dictionary=False)
    there.push({"t.parquet": data})
    found = there.fetch("t.parquet:text", 500_000)
    assert len(data) > 20_000_000 and there.sent_bytes < 2_000_000 and found.n_read_bytes <= there.sent_bytes
    assert found.text == "\n\n".join(random[: found.text.count("\n\n") + 1]) and not found.whole and len(found.text) > 499_000


def test_damaged_parquet(there):
    good = as_parquet({"text": STORIES * 50}, use_dictionary=False)
    for data in (
        b"",
        b"PAR1",
        b"x" * 1_000,
        good[:-4],
        good[:5_000] + b"\xff" * 5_000 + good[10_000:],
        good[:-300] + b"\xff" * 280 + good[-20:],
    ):
        there.push({"t.parquet": data})
        assert "not a Parquet file that can be read" in there.refuses("t.parquet:text")
    bad = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.array([0, 2], "int32").buffers()[1], pyarrow.py_buffer(b"\xff\xfe")]
    )
    there.push({"t.parquet": as_parquet({"text": bad})})
    assert "not a Parquet file that can be read (UnicodeDecodeError)" in there.refuses("t.parquet:text")


def test_tiny_shakespeare_is_three_splits_in_their_order_and_nothing_between(there):
    parts = {"train": "First ", "validation": "Citizen", "test": ":\n"}
    files = {f"default/{split}/0000.parquet": as_parquet({"text": [text]}) for split, text in parts.items()}
    commit = there.push(files, "karpathy/tiny_shakespeare", "refs/convert/parquet")
    found = hub.fetch(hub.TINY_SHAKESPEARE, 10**7)
    assert (found.text, found.commit, found.whole) == ("First Citizen:\n", commit, True)
    assert "/revision/refs%2Fconvert%2Fparquet" in there.asked[0][0]


def test_tiny_stories(there):
    there.push({"TinyStories-valid.txt": b"One.\n\nMore.\n<|endoftext|>\n\nTwo.\n"}, "roneneldan/TinyStories")
    assert hub.clean_stories(hub.fetch(hub.TINY_STORIES, 10**6).text) == "One.\n\nMore.\n\nTwo.\n"


def test_stories_are_cleaned_of_nothing_else():
    text = "<|endoftext|>\n  One   â€œquotedâ€\n\n\nMore <|endoftext|> here.\n<|endoftext|> \n<|endoftext|>\nTwo\n<|endoftext|>"
    assert hub.clean_stories(text) == "  One   â€œquotedâ€\n\n\nMore <|endoftext|> here.\n\nTwo\n"
    assert hub.clean_stories("as it is") == "as it is"


# ---- one commit


def test_all_is_read_at_one_commit(there):
    first = there.push({"1.txt": b"old one", "2.txt": b"old two"})

    def move(handler):
        there.push({"1.txt": b"NEW ONE", "2.txt": b"NEW TWO"})

    there.moods = {"resolve": move}
    found = there.fetch("*.txt")
    assert found.text == "old one\n\nold two" and found.commit == first != there.revisions[REPO, "main"]


def test_revision(there):
    there.push({"t.txt": b"main"})
    there.push({"t.txt": b"other"}, revision="refs/pr/1")
    assert hub.fetch(HubText.parse(f"hub:{REPO}@refs/pr/1:t.txt"), 100).text == "other"
    with pytest.raises(CorpusError, match="no such revision"):
        hub.fetch(HubText.parse(f"hub:{REPO}@nowhere:t.txt"), 100)


def test_listing(there):
    there.push(
        {"b.txt": b"12", "a.parquet": b"123", "x.png": b"1", ".gitattributes": b"1", "bad\n.txt": b"1", "../up.txt": b"1", "c.TSV": b""}
    )
    assert hub.listing(REPO) == [("a.parquet", 3), ("b.txt", 2), ("c.TSV", 0)]
    there.push({f"{i}.txt": b"" for i in range(300)})
    assert len(hub.listing(REPO)) == 200
    with pytest.raises(CorpusError, match="no such public dataset"):
        hub.listing("no/body")


# ---- what can go wrong


def test_no_such_dataset_or_private(there):
    there.push({"t.txt": b"x"})
    assert "no such public dataset" in there.refuses("t.txt", repo="no/body")
    there.moods = {"/api/": (404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})}
    assert "no such public dataset" in there.refuses("t.txt")


@pytest.mark.parametrize("status, code", [(401, "GatedRepo"), (403, "GatedRepo"), (403, "")])
@pytest.mark.parametrize("where", ["/api/", "/resolve/"])
def test_gated(there, status, code, where):
    there.push({"t.txt": b"x"})
    there.moods = {where: (status, b'{"error": "Access to dataset is restricted"}', {"X-Error-Code": code})}
    assert "gated" in there.refuses("t.txt")


def test_no_such_file(there):
    there.push({f"d/{i}.txt": b"x" for i in range(10)} | {"data.csv": b"x", "x.bin": b"x"})
    message = there.refuses("t.txt")
    assert "no file 't.txt'; it has data.csv, d/0.txt" in message and message.endswith("d/6.txt and 3 more") and "x.bin" not in message
    assert "no file 'q*.txt'" in there.refuses("q*.txt") and "no file 'e/'" in there.refuses("e/")
    there.moods = {"/resolve/": (404, b"", {"X-Error-Code": "EntryNotFound"})}
    assert "not found" in there.refuses("data.csv:x")


@pytest.mark.parametrize(
    "status, words",
    [(429, "try again in some minutes"), (500, "status 500"), (503, "status 503"), (400, "status 400"), (418, "status 418")],
)
def test_a_server_in_trouble_is_asked_once(there, status, words):
    there.push({"t.txt": b"x"})
    for where in ("/api/", "/resolve/"):
        there.moods = {where: (status, b"{}", {"Retry-After": "120"})}
        started = time.monotonic()
        assert words in there.refuses("t.txt")
        assert still(started)


SHA = "0" * 40


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"\xff\xfe", b"[]", b"3", b"null", b"{}", b'{"id": "a/b"}', b"[" * 100_000,
        b'{"id": "a/b", "sha": "main", "siblings": []}', b'{"id": "a/b", "sha": 3, "siblings": []}',
        f'{{"id": "a/b", "sha": "{SHA}", "siblings": [1]}}'.encode(), f'{{"id": "a/b", "sha": "{SHA}", "siblings": {{"x": 1}}}}'.encode(),
        f'{{"id": "a/b", "sha": "{SHA}", "siblings": [{{"rfilename": 3}}]}}'.encode(),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 500])
def test_garbage_for_a_listing(there, body, status):
    there.moods = {"/api/": (status, body)}
    assert re.search("not understood|status 500", there.refuses("t.txt"))


def test_garbage_for_a_file(there, hurried):
    there.push({"t.txt": b"x" * 1_000, "t.parquet": as_parquet({"text": STORIES})})
    for answer in [
        (206, b"x" * 1_000), (206, b"x" * 10, {"Content-Range": "bytes 5-14/1000"}), (206, b"x" * 10, {"Content-Range": "bytes 0-9/10"}),
        (204, b""), (206, b"x" * 1_000, {"Content-Range": "bytes 0-999/1000", "Content-Encoding": "gzip"}),
    ]:  # fmt: skip
        there.moods = {"/cdn/": answer}
        assert "not understood" in there.refuses("t.txt")
    there.moods = {"/cdn/": (200, b"not gzip", {"Content-Encoding": "gzip"})}
    assert "could not be reached (DecodingError)" in there.refuses("t.txt")
    there.moods = {"/cdn/": (302, b"", {"Location": "/cdn/again"})}
    assert "could not be reached (TooManyRedirects)" in there.refuses("t.txt")


def test_a_server_without_ranges_serves_texts(there):
    there.push({"t.txt": b"x\n" * 500_000, "t.parquet": as_parquet({"text": STORIES * 100}, use_dictionary=False)})
    there.moods = {"/cdn/.*txt": (200, b"x\n" * 500_000), "/cdn/.*parquet": (200, b"x" * 100_000)}
    assert len(there.fetch("t.txt").text) == 10**6
    assert len(there.fetch("t.txt", 1_000).text) == 1_000
    assert "not understood" in there.refuses("t.parquet:text")


def test_a_broken_connection_is_taken_up_where_it_broke(there):
    text = b"".join(b"Line %d\n" % i for i in range(90_000))
    there.push({"t.txt": text})
    broken = []

    def breaks(handler):
        start, end = map(int, handler.headers["Range"][6:].split("-"))
        if start < 200_000 < end and not broken:
            broken.append(start)
            half = text[start : start + 50_000]
            handler.answer(206, half, {"Content-Range": f"bytes {start}-{end}/{len(text)}"}, length=end + 1 - start)
            handler.close_connection = True
            return True

    there.moods = {"/cdn/": breaks}
    assert there.fetch("t.txt").text.encode() == text
    assert any(headers.get("range", "").startswith(f"bytes={broken[0] + 50_000}-") for _, headers in there.asked)


def test_a_connection_that_always_breaks(there, hurried):
    there.push({"t.txt": b"x" * 1_000})

    def breaks(handler):
        handler.close_connection = True
        return True

    there.moods = {"/cdn/": breaks}
    assert "could not be reached (RemoteProtocolError)" in there.refuses("t.txt")
    there.moods = {"/api/": breaks}
    assert "could not be reached (RemoteProtocolError)" in there.refuses("t.txt")


@pytest.mark.parametrize("where", ["/api/", "/resolve/", "/cdn/", "half"])
def test_a_server_that_stalls(there, hurried, where):
    there.push({"t.txt": b"x" * 1_000})

    def stalls(handler):
        if where == "half":
            handler.answer(206, b"x" * 10, {"Content-Range": "bytes 0-999/1000"}, length=1_000)
        there.stop.wait(2 * LONGEST_S)
        handler.close_connection = True
        return True

    there.moods = {"/cdn/" if where == "half" else where: stalls}
    started = time.monotonic()
    words = "not understood" if where == "half" else "could not be reached (ReadTimeout)"  # half: asked for the rest, it begins again
    assert words in there.refuses("t.txt")
    assert still(started)


@pytest.mark.parametrize("where", ["/api/", "/cdn/"])
def test_a_server_that_drips(there, monkeypatch, where):
    monkeypatch.setattr(hub, "SLOW_S", 0.4)
    there.push({"t.txt": b"x" * 1_000})

    def drips(handler):
        handler.answer(206, b"", {"Content-Range": "bytes 0-999/1000"}, length=1_000)
        while not there.stop.wait(0.05):
            handler.wfile.write(b" ")
        return True

    there.moods = {where: drips}
    started = time.monotonic()
    assert re.search("too slowly|not understood", there.refuses("t.txt"))
    assert still(started)


def test_nobody_listens(there, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        started = time.monotonic()
        assert "could not be reached (ConnectError); Tiny Tales, the Python texts and every task need no network" in there.refuses("t.txt")
        with pytest.raises(CorpusError, match="ConnectError"):
            hub.listing(REPO)
        assert still(started)
    for endpoint in ("nonsense", "ftp://127.0.0.1", "http://[", "http://a b"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert "could not be reached" in there.refuses("t.txt")


def test_offline(there, tmp_path):
    """In a process of its own: the library looks at the environment when it is imported. Nothing is written, by the by."""
    program = (
        f"from playground.data import hub\ntry:\n hub.listing({REPO!r})\nexcept hub.CorpusError as e:\n print(e)\nelse:\n print('got')\n"
    )
    there.push({"t.txt": b"x"})
    for offline, words in (("1", "set to work offline (HF_HUB_OFFLINE)"), ("0", "got")):
        environment = os.environ | {"HF_HUB_OFFLINE": offline, "HF_HOME": str(tmp_path / "home"), "HOME": str(tmp_path / "home")}
        root = Path(hub.__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, capture_output=True, text=True, timeout=LONGEST_S)
        assert words in done.stdout, done.stderr
        assert len(there.asked) == (offline == "0") and not (tmp_path / "home").exists()


# ---- progress


@pytest.mark.parametrize("what, max_chars", [("t.txt", 10**7), ("t.txt", 10**6), ("t.parquet:text", 10**7), ("t.parquet:text", 10**6)])
def test_progress(there, monkeypatch, what, max_chars):
    monkeypatch.setattr(hub, "TICK_S", 0)
    there.push({"t.txt": b"x\n" * 5_000_000, "t.parquet": as_parquet({"text": STORIES * 100}, use_dictionary=False, row_group_size=1_000)})
    said = []
    found = there.fetch(what, max_chars, lambda *of: said.append(of))
    shares = [share for share, _ in said]
    assert shares[0] is None and shares[-1] == 1.0 and all(0 <= share <= 1 for share in shares[1:]) and len(said) > 10
    assert all(re.fullmatch(r"\d+\.\d of \d+\.\d MB", words) for _, words in said[1:-1])
    assert said[-1][1] == f"{found.n_read_bytes / 1e6:.1f} MB read"
    if what == "t.txt":
        assert shares[1:] == sorted(shares[1:]) and said[2][1].endswith(f" of {max_chars / 1e6:.1f} MB")


def test_progress_is_told_a_few_times_a_second(there):
    there.push({"t.csv": b"text\n" + b"some words\n" * 300_000})
    started = time.monotonic()
    said = []
    there.fetch("t.csv:text", 10**7, lambda *of: said.append(of))
    assert len(said) <= 3 + (time.monotonic() - started) / hub.TICK_S


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("raised", [Cancelled, ValueError, OSError, RuntimeError, KeyboardInterrupt, CorpusError("mine")])
@pytest.mark.parametrize("what", ["t.txt", "t.csv:text", "t.jsonl:text", "t.parquet:text"])
def test_cancel_leaves_nothing_behind(there, until, monkeypatch, what, raised):
    """Whatever progress raises comes out as it is, at once, and the connection is closed."""
    monkeypatch.setattr(hub, "TICK_S", 0)
    there.push(
        {
            "t.txt": b"x\n" * 3_000_000, "t.csv": b"text\n" + b"some words\n" * 300_000, "t.jsonl": b'{"text": "some words"}\n' * 300_000,
            "t.parquet": as_parquet({"text": STORIES * 2_000}, use_dictionary=False, compression="none", row_group_size=2_000),
        }
    )  # fmt: skip
    threads = threading.active_count() - there.open

    def progress(share, words):
        if (share or 0) > 0.02:
            raise raised

    with pytest.raises(raised if isinstance(raised, type) else CorpusError) as caught:
        there.fetch(what, 10**7, progress)
    assert isinstance(raised, type) or caught.value is raised
    assert there.sent_bytes < 2_500_000
    until(lambda: not there.open and threading.active_count() <= threads, "the end of the connection")

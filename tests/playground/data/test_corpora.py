"""Where texts come from, and what is said of those that cannot be used."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from playground.data import corpora
from playground.data.corpora import CorpusError, add_bytes, add_path, add_text, load_text

ROOT = Path(__file__).parents[3]
LIMIT = 1000


def kept(root):
    return sorted(path.name for path in (root / "corpora").iterdir()) if (root / "corpora").exists() else []


def refusal(action) -> str:
    with pytest.raises(CorpusError) as caught:
        action()
    (problem,) = caught.value.problems
    assert problem.path == "data.source"
    return problem.message


def test_python_docs_are_real_text_and_need_no_network(tmp_path):
    text = load_text("python-docs", tmp_path)
    assert len(text) > 300_000
    assert "The \"for\" statement is used to iterate over the elements" in text
    assert not corpora.BUILT_IN["python-docs"].needs_network


def test_an_uploaded_text_comes_back_and_is_named_by_its_sha256(tmp_path):
    data = "Grüße, 世界\n".encode()
    source = add_bytes(tmp_path, data, LIMIT)
    assert source == f"upload:{hashlib.sha256(data).hexdigest()}"
    assert load_text(source, tmp_path) == "Grüße, 世界\n"


def test_the_same_text_is_kept_once(tmp_path):
    first = add_bytes(tmp_path, b"to be or not to be", LIMIT)
    stamp = (tmp_path / "corpora" / kept(tmp_path)[0]).stat().st_mtime_ns
    assert add_text(tmp_path, "to be or not to be") == first
    assert len(kept(tmp_path)) == 1
    assert (tmp_path / "corpora" / kept(tmp_path)[0]).stat().st_mtime_ns == stamp
    assert add_bytes(tmp_path, b"another text", LIMIT) != first
    assert len(kept(tmp_path)) == 2


def test_a_byte_order_mark_and_windows_line_ends_are_taken_off(tmp_path):
    assert load_text(add_bytes(tmp_path, b"\xef\xbb\xbfone\r\ntwo\rthree\n", LIMIT), tmp_path) == "one\ntwo\rthree\n"


@pytest.mark.parametrize("data", [b"", b" \n\t ", b"\xef\xbb\xbf", b"\xef\xbb\xbf \r\n", "\u2003\u00a0".encode()])
def test_an_empty_text_is_refused(tmp_path, data):
    assert "empty" in refusal(lambda: add_bytes(tmp_path, data, LIMIT))
    assert kept(tmp_path) == []


def test_a_binary_file_is_refused_with_the_place(tmp_path):
    assert "zero byte at offset 4" in refusal(lambda: add_bytes(tmp_path, b"\x7fELF\0\0", LIMIT))
    assert kept(tmp_path) == []


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_text_that_is_not_utf8_is_refused_with_byte_and_offset(tmp_path, mark):
    message = refusal(lambda: add_bytes(tmp_path, mark + "für Elise".encode("latin-1"), LIMIT))
    assert f"byte 0xfc at offset {len(mark) + 1}" in message and "UTF-8" in message
    assert kept(tmp_path) == []


def test_a_text_that_is_too_large_is_refused_with_both_sizes(tmp_path):
    add_bytes(tmp_path, b"x" * 2_000_000, 2_000_000)
    message = refusal(lambda: add_bytes(tmp_path, b"x" * 2_500_000, 2_000_000))
    assert "2.5 MB" in message and "2.0 MB" in message
    assert len(kept(tmp_path)) == 1


def test_size_is_judged_before_content(tmp_path):
    assert "MB" in refusal(lambda: add_bytes(tmp_path, b"\0" * (LIMIT + 1), LIMIT))


@pytest.mark.parametrize("source", ["shakespeare", "../secret", "upload:../../etc/passwd", "/etc/passwd", "upload:" + "A" * 64, ""])
def test_an_unknown_source_is_refused_with_the_known_ones(tmp_path, source):
    message = refusal(lambda: load_text(source, tmp_path / "root"))
    assert "python-docs, tiny-shakespeare" in message and "upload" in message


def test_a_source_never_leaves_the_root(tmp_path):
    """The file is there, and would be found by anyone who joined the name to the folder."""
    root = tmp_path / "root"
    (root / "corpora").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    assert "secret" in (root / "corpora" / "../../secret.txt").read_text()
    refusal(lambda: load_text("upload:../../secret", root))


def test_an_upload_that_is_gone_is_said_to_be(tmp_path):
    assert "upload it again" in refusal(lambda: load_text("upload:" + "0" * 64, tmp_path))


def test_a_path_is_copied_into_the_root(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("a book, read from a path")
    source = add_path(tmp_path / "root", str(path))
    path.unlink()
    assert load_text(source, tmp_path / "root") == "a book, read from a path"


def test_a_path_that_cannot_be_read_is_named(tmp_path):
    assert f"{tmp_path}/none.txt: No such file" in refusal(lambda: add_path(tmp_path, f"{tmp_path}/none.txt"))
    assert f"{tmp_path}: Is a directory" in refusal(lambda: add_path(tmp_path, str(tmp_path)))


def test_without_network_tiny_shakespeare_names_the_alternatives_soon(tmp_path):
    """In a process of its own, which is told of a Hub where nobody listens."""
    code = f"from pathlib import Path; from playground.data import corpora; corpora.load_text('tiny-shakespeare', Path({str(tmp_path)!r}))"
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert "CorpusError: data.source: Tiny Shakespeare could not be fetched" in done.stderr
    assert "choose python-docs, which needs no network, or upload or paste a text" in done.stderr
    assert time.monotonic() - start < 30
    assert kept(tmp_path) == []


def test_a_download_of_other_content_is_refused_plainly_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "_from_hub", lambda: "First Citizen: not the known text")
    message = refusal(lambda: load_text("tiny-shakespeare", tmp_path))
    found = hashlib.sha256(b"First Citizen: not the known text").hexdigest()[:12]
    assert found in message and corpora.SHAKESPEARE_SHA256[:12] in message and "python-docs" in message
    assert kept(tmp_path) == []


def test_the_right_download_is_kept_and_not_asked_for_again(tmp_path, monkeypatch):
    text, asked = "Before we proceed any further, hear me speak.\n", []
    monkeypatch.setattr(corpora, "SHAKESPEARE_SHA256", hashlib.sha256(text.encode()).hexdigest())
    monkeypatch.setattr(corpora, "_from_hub", lambda: asked.append(1) or text)
    for _ in range(2):
        assert corpora.BUILT_IN["tiny-shakespeare"].read(tmp_path) == text
    assert len(asked) == 1


def test_the_known_checksum_is_the_published_one():
    assert corpora.SHAKESPEARE_SHA256 == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

"""Where texts come from, and what is said of those that cannot be used."""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from playground.data import corpora, tales
from playground.data.config import SOURCES, TEXTS, DataConfig
from playground.data.corpora import CorpusError, add_files, add_path, add_text
from tests.patience import LONGEST_S, still

ROOT = Path(__file__).parents[3]
LIMIT = 1000


def kept(root):
    return sorted(path.name for path in (root / "corpora").iterdir()) if (root / "corpora").exists() else []


def load_text(source, root):
    """The text of a source, also of one that no configuration would take."""
    return corpora.read(DataConfig.model_construct(source=source, seed=0), root).text


def add_bytes(root, data, max_bytes):
    return add_files(root, [("the text", data)], max_bytes)


def refusal(action) -> str:
    with pytest.raises(CorpusError) as caught:
        action()
    (problem,) = caught.value.problems
    assert problem.path == "data.source"
    return problem.message


def test_python_docs_are_real_text_and_need_no_network(tmp_path):
    text = load_text("python-docs", tmp_path)
    assert len(text) > 300_000
    assert 'The "for" statement is used to iterate over the elements' in text
    assert corpora.is_here("python-docs", tmp_path) and not corpora.from_hub("python-docs")
    assert sys.version.split()[0] in corpora.read(DataConfig(source="python-docs"), tmp_path).edition


def test_the_standard_library_is_read_as_it_lies_here(tmp_path):
    text = load_text("python-stdlib", tmp_path)
    for module in (argparse, textwrap):
        assert Path(module.__file__).read_text().strip() in text
    assert len(text) > 5_000_000 and text.index(Path(argparse.__file__).read_text().strip()) < text.index("class TextWrapper")
    assert Path(pytest.__file__).read_text().strip() not in text


def test_tiny_tales_are_decided_by_the_seed(tmp_path):
    one, same, other = (corpora.read(DataConfig(seed=seed), tmp_path) for seed in (0, 0, 5))
    assert one == same and one.text != other.text
    assert one.text == tales.tales(0, corpora.TALES_CHARS).text
    assert "seed 5" in other.edition and f"edition {tales.VERSION}" in other.edition
    assert one.text[one.held_out_at - 2 : one.held_out_at] == "\n\n" and one.held_out_nats > 0


def test_every_text_has_a_title_and_a_sentence():
    assert corpora.BUILT_IN.keys() == TEXTS.keys() <= SOURCES.keys()
    assert all(source.about.endswith(".") for source in corpora.BUILT_IN.values())
    assert corpora.OFFLINE == ("tiny-tales", "python-docs", "python-stdlib")
    assert corpora.title("tiny-tales") == "Tiny Tales"
    assert corpora.title("hub:a/b:c.txt") == "a/b:c.txt" and corpora.title("upload:" + "0" * 64) == "own text"


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


def test_a_byte_order_mark_is_taken_off_and_every_kind_of_line_end_becomes_one(tmp_path):
    assert load_text(add_bytes(tmp_path, b"\xef\xbb\xbfone\r\ntwo\rthree\n", LIMIT), tmp_path) == "one\ntwo\nthree\n"


@pytest.mark.parametrize("data", [b"", b" \n\t ", b"\xef\xbb\xbf", b"\xef\xbb\xbf \r\n", "\u2003\u00a0".encode()])
def test_an_empty_text_is_refused(tmp_path, data):
    assert "empty" in refusal(lambda: add_bytes(tmp_path, data, LIMIT))
    assert kept(tmp_path) == []


def test_a_binary_file_is_refused_with_the_place(tmp_path):
    assert "zero byte at offset 4" in refusal(lambda: add_bytes(tmp_path, b"data\0\0", LIMIT))
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
    assert ", ".join(TEXTS) in message and "upload" in message


def test_a_source_never_leaves_the_root(tmp_path):
    """The file is there, and would be found by anyone who joined the name to the folder."""
    root = tmp_path / "root"
    (root / "corpora").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    assert "secret" in (root / "corpora" / "../../secret.txt").read_text()
    refusal(lambda: load_text("upload:../../secret", root))


def test_an_upload_that_is_gone_is_said_to_be(tmp_path):
    assert "upload it again" in refusal(lambda: load_text("upload:" + "0" * 64, tmp_path))


def test_a_stored_text_that_is_damaged_is_not_read_and_can_be_brought_again(tmp_path):
    source = add_text(tmp_path, "to be or not to be")
    (path,) = (tmp_path / "corpora").iterdir()
    path.write_text("to be or not to eat")
    assert "was damaged and has been removed; bring it again" in refusal(lambda: load_text(source, tmp_path))
    assert add_text(tmp_path, "to be or not to be") == source
    assert load_text(source, tmp_path) == "to be or not to be"


def test_a_path_is_copied_into_the_root(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("a book, read from a path")
    source = add_path(tmp_path / "root", str(path))
    path.unlink()
    assert load_text(source, tmp_path / "root") == "a book, read from a path"


def test_a_path_that_cannot_be_read_is_named(tmp_path):
    assert f"{tmp_path}/none.txt: No such file" in refusal(lambda: add_path(tmp_path, f"{tmp_path}/none.txt"))
    assert f"{tmp_path}: Is a directory" in refusal(lambda: add_path(tmp_path, str(tmp_path)))


HUB_SOURCE = "hub:some-body/poems:all.txt"


def test_a_text_of_the_hub_is_read_only_once_it_is_here(tmp_path, little_hub):
    text = "to be or not to be\r\nthat is the question\n" * 20
    little_hub.files["some-body/poems", "all.txt"] = text.encode()
    assert corpora.from_hub(HUB_SOURCE) and not corpora.is_here(HUB_SOURCE, tmp_path)
    message = refusal(lambda: load_text(HUB_SOURCE, tmp_path))
    assert "not on this machine yet" in message and "tiny-tales or python-docs or python-stdlib" in message
    assert little_hub.asked == []
    heard = []
    corpora.fetch(HUB_SOURCE, tmp_path, 10**6, lambda share, words: heard.append((share, words)))
    assert corpora.is_here(HUB_SOURCE, tmp_path) and heard[-1][0] == 1.0
    found = corpora.read(DataConfig(source=HUB_SOURCE), tmp_path)
    assert found.text == text.replace("\r\n", "\n") and found.edition == f"commit {little_hub.COMMIT[:12]}"
    assert (found.held_out_at, found.held_out_nats) == (None, None)


def test_what_is_here_is_not_asked_for_again(tmp_path, little_hub):
    little_hub.files["some-body/poems", "all.txt"] = b"a line\n" * 50
    corpora.fetch(HUB_SOURCE, tmp_path, 10**6)
    before = kept(tmp_path), len(little_hub.asked)
    little_hub.files["some-body/poems", "all.txt"] = b"another\n" * 50
    corpora.fetch(HUB_SOURCE, tmp_path, 10**6)
    assert (kept(tmp_path), len(little_hub.asked)) == before
    assert load_text(HUB_SOURCE, tmp_path) == "a line\n" * 50


def test_a_text_of_the_hub_that_is_cut_says_so(tmp_path, little_hub):
    little_hub.files["some-body/poems", "all.txt"] = b"a line\n" * 50
    corpora.fetch(HUB_SOURCE, tmp_path, 100)
    found = corpora.read(DataConfig(source=HUB_SOURCE), tmp_path)
    assert 80 < len(found.text) <= 100 and found.edition.endswith(", the beginning only")


def test_a_text_of_the_hub_whose_file_is_gone_is_fetched_again(tmp_path, little_hub):
    little_hub.files["some-body/poems", "all.txt"] = b"a line\n" * 50
    corpora.fetch(HUB_SOURCE, tmp_path, 10**6)
    for path in (tmp_path / "corpora").glob("*.txt"):
        path.unlink()
    assert not corpora.is_here(HUB_SOURCE, tmp_path)
    corpora.fetch(HUB_SOURCE, tmp_path, 10**6)
    assert load_text(HUB_SOURCE, tmp_path) == "a line\n" * 50


def test_sources_differ_by_what_their_text_depends_on(tmp_path, little_hub):
    little_hub.files["some-body/poems", "all.txt"] = b"a line\n" * 50
    same = add_bytes(tmp_path, b"a line\n" * 50, LIMIT)
    missing = corpora.identity(DataConfig(source=HUB_SOURCE), tmp_path)
    corpora.fetch(HUB_SOURCE, tmp_path, 10**6)
    assert corpora.identity(DataConfig(source=HUB_SOURCE), tmp_path) == corpora.identity(DataConfig(source=same), tmp_path) != missing
    seeds = [corpora.identity(DataConfig(seed=seed), tmp_path) for seed in (0, 1)]
    assert seeds[0] != seeds[1]
    docs, code = (corpora.identity(DataConfig(source=source), tmp_path) for source in ("python-docs", "python-stdlib"))
    assert docs != code and sys.version in docs


@pytest.mark.parametrize("source", ["tiny-shakespeare", "tiny-stories", HUB_SOURCE])
def test_without_network_every_text_of_the_hub_is_refused_soon_with_a_remedy(tmp_path, source):
    """In a process of its own, which is told of a Hub where nobody listens."""
    code = f"from pathlib import Path; from playground.data import corpora; corpora.fetch({source!r}, Path({str(tmp_path)!r}), 10**6)"
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=LONGEST_S)
    *_, last = done.stderr.splitlines()
    assert last.startswith("playground.data.errors.CorpusError: data.source: ")
    assert "could not be reached" in last and "Tiny Tales, the Python texts and every task need no network" in last
    assert still(start)
    assert kept(tmp_path) == []


def as_parquet(texts) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": texts}), file)
    return file.getvalue()


def publish_shakespeare(little_hub, text):
    """In three parts, as the Hub keeps it."""
    for part, name in ((text[:20], "train"), (text[20:30], "validation"), (text[30:], "test")):
        little_hub.files["karpathy/tiny_shakespeare", f"default/{name}/0000.parquet"] = as_parquet([part])


def test_a_download_of_other_content_is_refused_plainly_and_not_kept(tmp_path, little_hub):
    text = "First Citizen: not the known text, which is longer"
    publish_shakespeare(little_hub, text)
    message = refusal(lambda: corpora.fetch("tiny-shakespeare", tmp_path, 10**7))
    found = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert found in message and corpora.SHAKESPEARE_SHA256[:12] in message and "python-docs" in message
    assert kept(tmp_path) == []


def test_the_right_download_is_kept_and_not_asked_for_again(tmp_path, little_hub, monkeypatch):
    text = "Before we proceed any further, hear me speak.\n"
    known = replace(corpora.BUILT_IN["tiny-shakespeare"], sha256=hashlib.sha256(text.encode()).hexdigest())
    monkeypatch.setitem(corpora.BUILT_IN, "tiny-shakespeare", known)
    publish_shakespeare(little_hub, text)
    asked = []
    for _ in range(2):
        corpora.fetch("tiny-shakespeare", tmp_path, 10**7)
        assert load_text("tiny-shakespeare", tmp_path) == text
        asked.append(len(little_hub.asked))
    assert asked[0] == asked[1] > 3


def test_the_known_text_may_also_have_been_uploaded(tmp_path, monkeypatch, little_hub):
    text = "Before we proceed any further, hear me speak.\n"
    known = replace(corpora.BUILT_IN["tiny-shakespeare"], sha256=hashlib.sha256(text.encode()).hexdigest())
    monkeypatch.setitem(corpora.BUILT_IN, "tiny-shakespeare", known)
    add_text(tmp_path, text)
    corpora.fetch("tiny-shakespeare", tmp_path, 10**7)
    assert load_text("tiny-shakespeare", tmp_path) == text and little_hub.asked == []


def test_tiny_stories_are_stories_with_an_empty_line_between(tmp_path, little_hub):
    little_hub.files["roneneldan/TinyStories", "TinyStories-valid.txt"] = b"One.\nTwo.\n<|endoftext|>\nThree.\n<|endoftext|>\n"
    corpora.fetch("tiny-stories", tmp_path, 10**7)
    assert load_text("tiny-stories", tmp_path) == "One.\nTwo.\n\nThree.\n"


def test_several_files_become_one_text(tmp_path):
    source = add_files(tmp_path, [("one.txt", b"one\r\n"), ("two.txt", b"\xef\xbb\xbftwo")], LIMIT)
    assert load_text(source, tmp_path) == "one\n\n\ntwo"
    assert add_files(tmp_path, iter([("x", b"one\n"), ("y", b"two")]), LIMIT) == source


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("good.txt", b"fine"), ("bad.txt", b"\xff")], ["bad.txt is not UTF-8", "0xff at offset 0"]),
        ([("good.txt", b"fine"), ("bad.bin", b"a\0")], ["bad.bin looks like a binary file"]),
        ([("a.txt", b"x" * 600), ("b.txt", b"x" * 600)], ["2 files together", "0.0 MB"]),
        ([("a.txt", b" "), ("b.txt", b"")], ["2 files together", "is empty"]),
        ([("a.txt", b"x" * 1200)], ["a.txt has"]),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used_are_named(tmp_path, files, words):
    message = refusal(lambda: add_files(tmp_path, files, LIMIT))
    assert all(word in message for word in words), message
    assert kept(tmp_path) == []


def test_the_known_checksum_is_the_published_one():
    assert corpora.SHAKESPEARE_SHA256 == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

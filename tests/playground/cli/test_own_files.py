"""Files on the command line: tables by their column, letters by their encoding, and what is said where those are missing."""

from __future__ import annotations

import json

import pytest

from playground.runs.store import Store
from tests.command import run_here

SHORT = ("--train.max_steps", "2", "--model.block_size", "16", "--model.n_embd", "16", "--model.n_head", "2", "--model.n_layer", "1")


@pytest.fixture
def files(tmp_path):
    line = "the poem of this record is long enough for a window. "
    (tmp_path / "poems.jsonl").write_text("\n".join(json.dumps({"id": i, "text": line * 3}) for i in range(50)))
    (tmp_path / "letter.txt").write_bytes(("Die Tür war größer, als Jürgen dachte. " * 100).encode("cp1252"))
    return tmp_path


def test_a_table_and_a_letter_say_which_flag_they_need(files):
    done = run_here("train", "--data.source", str(files / "poems.jsonl"), *SHORT, root=files / "root")
    assert done.status == 2 and "--column" in done.err and "its columns are id, text" in done.err
    done = run_here("train", "--data.source", str(files / "letter.txt"), *SHORT, root=files / "root")
    assert done.status == 2 and "--encoding" in done.err and "not UTF-8" in done.err
    assert not (files / "root").exists(), "nothing is kept"


def test_a_table_and_a_letter_are_trained_on_once_their_flag_is_there(files):
    for flags in (("poems.jsonl", "--column", "text"), ("letter.txt", "--encoding", "cp1252")):
        name, *how = flags
        done = run_here("train", "--data.source", str(files / name), *how, *SHORT, "--json", root=files / "root")
        assert done.status == 0, done.err
        assert Store(files / "root").run(done.json["run_id"]).config.data.source.startswith("upload:")
    kept = {path.read_text()[:8] for path in (files / "root" / "corpora").iterdir()}
    assert kept == {"the poem", "Die Tür "}


def test_the_flags_are_refused_where_no_file_is_named(tmp_path):
    done = run_here("train", "--column", "text", "--encoding", "cp1252", root=tmp_path)
    assert done.status == 2
    assert done.err.count("is about a file as --data.source, and none is named") == 2

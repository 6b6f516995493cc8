"""Files are there whole or not at all."""

import errno
import os
import stat

import pytest

from playground.system import files
from playground.system.files import claim, making, publish, publish_by, sweep


def test_a_published_file_holds_what_was_given_and_nothing_lies_beside_it(tmp_path):
    publish(tmp_path / "a.json", b"first")
    publish(tmp_path / "a.json", b"second")
    assert (tmp_path / "a.json").read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["a.json"]
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o644


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_half_written(tmp_path):
    publish(tmp_path / "a.json", b"old")

    def fail(temporary):
        with open(temporary, "wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        publish_by(tmp_path / "a.json", fail)
    assert os.listdir(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"old"


def test_an_interrupt_while_writing_leaves_nothing_half_written(tmp_path):
    def interrupted(temporary):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_by(tmp_path / "a.json", interrupted)
    assert os.listdir(tmp_path) == []


def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    kind = lambda handle: "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(kind(handle)) or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: done.append("name") or replace(a, b))
    publish(tmp_path / "a", b"x")
    assert done == ["file", "name", "folder"]


def test_a_missing_folder_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "none" / "a", b"x")


def test_a_sweep_takes_what_the_dead_left_and_nothing_else(tmp_path):
    (tmp_path / "deep").mkdir()
    names = ("a.json", ".hidden", "deep/.b.json.x.unfinished", "c.unfinished")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".ID.y.unfinished" / "data").mkdir(parents=True)
    with making(tmp_path, "d") as mine:
        assert sweep(tmp_path) == 2
        assert mine.is_dir()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [".hidden", "a.json", "c.unfinished", "deep"]


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    make, swept = files._new_file, []

    def make_and_sweep(**where):
        path = make(**where)
        if not swept:
            swept.append(sweep(tmp_path))
        return path

    monkeypatch.setattr(files, "_new_file", make_and_sweep)
    publish(tmp_path / "a", b"x")
    assert swept == [1] and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_one_claims_at_a_time(tmp_path):
    with claim(tmp_path) as mine, claim(tmp_path) as other, claim(tmp_path / "none") as nothing:
        assert (mine, other, nothing) == (True, False, False)

"""Files are there whole or not at all."""

import errno
import os
import stat

import pytest

from playground.files import publish, publish_by


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

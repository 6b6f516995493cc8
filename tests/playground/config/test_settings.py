"""What a host decides, from the environment."""

from pathlib import Path

import pytest

from playground.config import settings
from playground.config.settings import SettingsError, find_root, from_environment


def test_defaults():
    found = from_environment({})
    assert (found.max_queued, found.max_params, found.hub) == (50, 50_000_000, True)
    assert found.max_running >= 2
    assert found.n_cpus >= 1


def test_every_limit_is_read():
    names = ("MAX_RUNNING", "MAX_QUEUED", "MAX_PARAMS", "MAX_STEPS", "MAX_UPLOAD_BYTES", "HUB",
             "MAX_RUNNING_EACH", "MAX_QUEUED_EACH", "MAX_BLOCK_SIZE")  # fmt: skip
    found = from_environment({f"PLAYGROUND_{name}": str(number) for number, name in enumerate(names, start=3)} | {"PLAYGROUND_HUB": "0"})
    assert (found.max_running, found.max_queued, found.max_params, found.max_steps, found.max_upload_bytes) == (3, 4, 5, 6, 7)
    assert (found.max_running_each, found.max_queued_each, found.max_block_size) == (9, 10, 11)
    assert found.hub is False
    assert (from_environment({}).heartbeat_s, from_environment({"PLAYGROUND_HEARTBEAT_S": "30"}).heartbeat_s) == (120, 30)


def test_all_bad_ones_are_named_at_once():
    bad = {"PLAYGROUND_MAX_RUNNING": "0", "PLAYGROUND_MAX_QUEUED": "-1", "PLAYGROUND_MAX_PARAMS": "many", "PLAYGROUND_HUB": "²"}
    with pytest.raises(SettingsError) as caught:
        from_environment(bad)
    assert [problem.path for problem in caught.value.problems] == list(bad)
    assert "PLAYGROUND_MAX_RUNNING: '0' is not possible; use a whole number from 1 up" in str(caught.value)


@pytest.mark.parametrize("text", ["1.5", "1e3", "nan", "9" * 5000, "٣", "0x10", "1_000"])
def test_only_plain_whole_numbers(text):
    with pytest.raises(SettingsError, match="PLAYGROUND_MAX_STEPS"):
        from_environment({"PLAYGROUND_MAX_STEPS": text})


def test_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = {"PLAYGROUND_ROOT": str(tmp_path / "a")}
    assert find_root({}) == tmp_path / "runs"
    assert find_root(there) == tmp_path / "a"
    assert find_root(there, str(tmp_path / "b")) == tmp_path / "b"
    assert find_root(there | {"SPACE_ID": "x/y"}) == tmp_path / "a"
    assert find_root({}, "~/c") == Path.home() / "c"


@pytest.mark.parametrize("writable", [True, False])
def test_the_root_on_spaces(tmp_path, monkeypatch, writable):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings.os, "access", lambda path, mode: writable and path == "/data")
    assert find_root({"SPACE_ID": "x/y"}) == (Path("/data") if writable else tmp_path / "runs")
    assert find_root({}) == tmp_path / "runs"


def test_names_and_proxies_are_read_and_wrong_ones_are_named():
    found = from_environment({"PLAYGROUND_HOSTS": "Play.School.example, other", "PLAYGROUND_PROXIES": "2"})
    assert (found.hosts, found.proxies) == (("play.school.example", "other"), 2)
    assert from_environment({"SPACE_ID": "me/space"}).proxies == 1 and from_environment({}).proxies == 0
    with pytest.raises(SettingsError) as caught:
        from_environment({"PLAYGROUND_HOSTS": "http://x/", "PLAYGROUND_PROXIES": "one"})
    assert [problem.path for problem in caught.value.problems] == ["PLAYGROUND_HOSTS", "PLAYGROUND_PROXIES"]


def test_who_may_frame_the_page_is_read_and_a_bad_origin_refused():
    found = from_environment({"PLAYGROUND_FRAME_ANCESTORS": "https://Course.example, http://localhost:8080 https://*.school.example"})
    assert found.framed_by == ("https://course.example", "http://localhost:8080", "https://*.school.example")
    for bad in ("course.example", "https://x/path", "https://x; script-src *", "'none'"):
        with pytest.raises(SettingsError, match="FRAME_ANCESTORS"):
            from_environment({"PLAYGROUND_FRAME_ANCESTORS": bad})

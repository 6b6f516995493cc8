"""A run's files, and ids that would lead elsewhere."""

import pytest

from models.knobs import ConfigError
from playground.config.run import complete
from playground.runs.folder import RunFolder
from playground.runs.store import NoSuchRun, new_run_id


@pytest.mark.parametrize(
    "run_id",
    [
        "", ".", "..", "../../etc", "abcdefghi/", "../abcdefg", "abcdefghij/..", "ABCDEFGHIJ", "abcdefghi1", "abcdefghij\n", "abcdefghijk",
        "a\0cdefghij", None, 7, b"abcdefghij",
    ],
)  # fmt: skip
def test_what_is_no_run_id_is_refused(tmp_path, run_id):
    with pytest.raises(NoSuchRun):
        RunFolder(tmp_path, run_id)
    assert list(tmp_path.iterdir()) == []


def test_new_ids_are_ids_and_differ(tmp_path):
    ids = {new_run_id() for _ in range(1000)}
    assert len(ids) == 1000
    for run_id in ids:
        assert RunFolder(tmp_path, run_id).path == tmp_path / "runs" / run_id


def test_the_config_comes_back(tmp_path, tiny):
    folder, config = RunFolder(tmp_path, "abcdefghij"), complete(tiny(), 65, "0123456789abcdef")
    with folder.created(config):
        pass
    assert folder.read_config() == config
    assert [path.name for path in folder.path.iterdir()] == ["config.json"]
    with pytest.raises(OSError, match="not empty"), folder.created(config):
        pass
    assert [path.name for path in folder.path.parent.iterdir()] == ["abcdefghij"]


def test_a_config_of_something_else_is_refused(tmp_path, tiny):
    folder = RunFolder(tmp_path, "abcdefghij")
    with folder.created(complete(tiny(), 65, None)):
        pass
    folder.config.write_text('{"model": {"n_layers": 3}}')
    with pytest.raises(ConfigError, match=r"model\.n_layers.*did you mean model\.n_layer") as refused:
        folder.read_config()
    assert "model.vocab_size: this is missing" in str(refused.value)


def test_the_end_of_the_log(tmp_path):
    folder = RunFolder(tmp_path, "abcdefghij")
    assert folder.log_tail() == ""
    folder.path.mkdir(parents=True)
    folder.log.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % i for i in range(5000)))
    assert folder.log_tail(2) == "line 4998\nline 4999"
    folder.log.write_bytes(b"x" * 100_000)
    assert len(folder.log_tail()) == 4000

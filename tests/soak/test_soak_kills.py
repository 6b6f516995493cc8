"""The checks of `soak kills` detect damage: each kind of damage is made once, and must be found."""

import json
import shutil

import pytest

from playground.runs.folder import RunFolder
from playground.runs.store import Store
from playground.training.events import Progress
from tests.patience import LONGEST_S
from tests.soak import evidence, kills
from tests.soak.evidence import HalfWritten


@pytest.fixture
def copied(trained, tmp_path):
    """(folder of the run, folder of a copy of it)."""
    root, run_id = trained
    shutil.copytree(root, tmp_path / "copy")
    return RunFolder(root, run_id), RunFolder(tmp_path / "copy", run_id)


def test_a_whole_run_has_nothing_wrong(copied):
    whole, copy = copied
    known = set()
    assert evidence.check_published(copy, known) == []
    assert len(known) > 5
    assert evidence.differences(whole, copy) == []
    assert evidence.leftovers(copy.path) == evidence.incomplete_checkpoints(copy) == []


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"", lambda data: data[:40]])
def test_a_file_that_is_not_whole_is_found(copied, damage):
    _, copy = copied
    path = copy.checkpoints / "000020.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(HalfWritten, match=r"000020\.safetensors"):
        evidence.tensors(path)
    assert len(evidence.check_published(copy, set())) == 1


def test_a_checkpoint_without_its_weights_or_with_half_a_json_is_found(copied):
    _, copy = copied
    (copy.checkpoints / "000020.safetensors").unlink()
    (copy.checkpoints / "000040.json").write_text('{"step": 4')
    assert len(evidence.check_published(copy, set())) == 2


def test_one_other_bit_is_found(copied):
    whole, copy = copied
    path = copy.checkpoints / "000060.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert ["step 60 in 1 tensors" in problem for problem in evidence.differences(whole, copy)] == [True]


def test_what_is_left_behind_is_found(copied):
    _, copy = copied
    (copy.checkpoints / ".000080.json.abc.unfinished").touch()
    (copy.checkpoints / "000080.safetensors").touch()
    assert [path.name for path in evidence.leftovers(copy.path)] == [".000080.json.abc.unfinished"]
    assert [path.name for path in evidence.incomplete_checkpoints(copy)] == ["000080.safetensors"]


def test_a_curve_with_a_gap_a_double_or_another_loss_is_found(tmp_path):
    db = Store(tmp_path)
    db.create()
    for run_id, steps in (("whole", (1, 2, 3)), ("gap", (1, 3)), ("double", (1, 2, 2, 3))):
        db.add_run(run_id, name="", owner="o", config="{}", n_params=1, state="finished")
        db.append(run_id, [Progress(step, 0, 0.0, loss=1.0, grad_norm=1.0, lr=0.1, tokens_per_s=1.0) for step in steps], {})
    curve = evidence.curve(db, "whole")
    assert evidence.curve_problems(db, "whole", curve) == []
    assert "1 points are missing" in evidence.curve_problems(db, "gap", curve)[0]
    assert "1 twice" in evidence.curve_problems(db, "double", curve)[0]
    assert "1 foreign" in evidence.curve_problems(db, "whole", [(1, 1.0), (2, 1.0), (3, 2.0)])[0]


def test_two_processes_at_one_run_are_found():
    one, other, next_one = (evidence.Worker(pid, "abcdefghij", holds) for pid, holds in ((1, True), (2, True), (3, False)))
    assert evidence.twice([one, other]) == ["abcdefghij"]
    assert evidence.twice([one, next_one, evidence.Worker(4, None, True)]) == []


def test_a_sound_database(trained):
    assert Store(trained[0]).integrity() == []


def test_a_damaged_database_is_found(trained, tmp_path):
    db = Store(tmp_path)
    data = bytearray((trained[0] / "playground.db").read_bytes())
    half = len(data) // 2
    data[half:] = b"x" * (len(data) - half)
    db.path.write_bytes(data)
    assert db.integrity() != []


def test_what_cannot_be_asked_of_a_campaign(run_python, tmp_path):
    for words, said in (
        ([], "'--root' is not a command"),
        (["kils"], "'kils' is not a command; use one of kills, faults, visitors, fuzz"),
        (["kills", "--kills", "0"], "a whole number from 1"),
    ):
        process = run_python("-m", "tests.soak", *words, "--root", str(tmp_path / "root"))
        _, errors = process.communicate(timeout=LONGEST_S)
        assert process.returncode == 2 and said in errors, errors
    assert not (tmp_path / "root").exists()


@pytest.mark.skipif(not evidence.PROC.exists(), reason="looks at processes as Linux shows them")
def test_a_root_with_runs_is_not_for_killing(run_python, trained):
    process = run_python("-m", "tests.soak", "kills", "--root", str(trained[0]), "--json")
    out, errors = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, out) == (2, "") and "choose an empty folder" in errors


SERVE = """
import signal, sys, threading
from pathlib import Path
from playground.config.settings import Settings
from playground.runs.store import Store
from playground.workers.supervisor import Supervisor
end = threading.Event()
signal.signal(signal.SIGINT, lambda *_: end.set())
supervisor = Supervisor(Settings(Path(sys.argv[1]), max_running=2, nice=0), Store(Path(sys.argv[1])))
supervisor.start()
end.wait()
supervisor.shutdown()
"""


@pytest.mark.skipif(not evidence.PROC.exists(), reason="looks at processes as Linux shows them")
def test_a_campaign_without_the_page(tmp_path):
    from playground.config.settings import Settings

    class OnlyTheQueue(kills.App):
        def command(self):
            return [kills.sys.executable, "-c", SERVE, str(self.settings.root)]

        def serves(self):
            return self.lives()

    tally = kills.kill(Settings(tmp_path.resolve() / "root", n_cpus=1), n_kills=2, n_runs=1, seed=5, n_steps=200, app=OnlyTheQueue)
    assert tally.violations == []
    assert sum(tally.kills.values()) == 2
    assert tally.checks["of them bit-identical to the undisturbed run, with the same curve"] == tally.checks["runs that ended"] >= 1
    assert json.loads(tally.as_json())["violations"] == []

"""The training script, executed: it draws the run's batches, takes its steps and prints its losses."""

import ast
import contextlib
import io
import math
import re
import subprocess
import sys

import pytest
import torch

from models.presets import ARCHITECTURES
from models.source import NotWritten
from playground.config.optim import OPTIMIZERS, SCHEDULES
from playground.config.run import CompleteRun
from playground.config.settings import Settings
from playground.data import dataset
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.store import Store
from playground.training.events import Progress
from playground.training.optim import learning_rate
from playground.training.script import OPTIMIZER_CODE, SCHEDULE_CODE, script
from playground.workers import worker

LOSS = re.compile(r"step (\d+)  loss (\S+)")
EXACT = {"train.device": "cpu", "train.dtype": "float32", "train.max_steps": 50, "train.log_interval": 1, "model.dropout": 0.0}


def code_of(config: CompleteRun, root) -> str:
    return script(config, dataset.prepared_folder(config.data, root).relative_to(root).as_posix(), "a run")


def executed(code: str, root) -> dict[int, float]:
    """The losses that a script prints."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setattr(sys, "argv", ["script", str(root)])
        exec(compile(code, "script", "exec"), {})
    return losses(said.getvalue())


def losses(printed: str) -> dict[int, float]:
    return {int(step): float(loss) for step, loss in LOSS.findall(printed)}


@pytest.fixture
def same(new_state, data_root):
    """`same({"optim.name": "sgd"})`: asserts that the script of the tiny config with these changes trains as its TrainState does."""

    def check(changes: dict) -> str:
        state = new_state({**EXACT, **changes})
        wanted = [state.step().loss.item() for _ in range(state.config.train.max_steps)]
        code = code_of(state.config, data_root)
        printed = executed(code, data_root)
        assert list(printed) == list(range(1, len(wanted) + 1))
        for step, loss in enumerate(wanted, 1):
            assert abs(printed[step] - loss) <= 1e-5, (step, printed[step], loss)
        assert abs(wanted[0] - wanted[-1]) > 1e-2, "it learns"
        return code

    return check


def recorded(tmp_path, config) -> tuple[CompleteRun, dict[int, float]]:
    """A run trained by a worker, and the points of its loss curve."""
    db = Store(tmp_path)
    db.create()
    run_id = create_run(db, Settings(tmp_path), config, HOST, state=store.STARTING, name="to be written out")
    outcome = worker.execute(tmp_path, run_id, torch.get_num_threads(), worker.Interruption())
    assert outcome.state == "finished", outcome
    points = {row.step: row.body["loss"] for row in db.events(run_id, kinds=[Progress.kind])}
    return RunFolder(tmp_path, run_id).read_config(), points


@pytest.mark.parametrize("source", ["tiny-tales", "task:copy"])
def test_a_process_of_its_own_prints_the_points_that_a_worker_has_recorded(tmp_path, tiny, source):
    task = {"data.length": 4, "data.alphabet": 4, "model.block_size": 20} if source.startswith("task") else {}
    changes = {**EXACT, "train.log_interval": 4, "data.source": source, "probe.interval": 7, "train.eval_interval": 20, **task}
    config, points = recorded(tmp_path, tiny(**changes))
    path = tmp_path / "train.py"
    path.write_text(code_of(config, tmp_path))
    done = subprocess.run([sys.executable, str(path), str(tmp_path)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = losses(done.stdout)
    assert list(printed) == list(points) == [1, *range(4, 50, 4), 50]
    assert printed == pytest.approx(points, abs=1e-5, rel=0)
    assert points[50] < points[1] - 0.1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_trains_every_architecture_as_the_run_does(same, name):
    model = ARCHITECTURES[name].config.model_dump(
        exclude={"n_layer", "n_embd", "block_size", "n_head", "vocab_size"}, exclude_defaults=True
    )
    code = same({f"model.{knob}": value for knob, value in model.items()} | {"model.n_embd": 32, "model.n_head": 2, "optim.lr": 2e-3})
    assert len([line for line in code.splitlines() if line.strip()]) <= 210


ARMS = {
    "no decay, no clipping": {"optim.weight_decay": 0.0, "optim.grad_clip": None},
    "accumulation": {"train.accumulation": 3},
    "dropout, with the masks of the run": {"model.dropout": 0.2},
    "an order of its own": {"train.data_seed": 5, "train.seed": 6},
    "half of the text": {"data.share": 0.5},
    "muP": {"model.parametrisation": "mup", "model.base_width": 8},
    "muP without decay": {"model.parametrisation": "mup", "model.base_width": 8, "optim.weight_decay": 0.0, "optim.name": "lion"},
    "shared layers": {"model.share_layers": True, "model.window": 4, "model.window_pattern": "LG"},
    "Muon with a rate for the rest": {"optim.name": "muon", "optim.rest_lr": 3e-3, "optim.weight_decay": 0.0, "optim.ns_steps": 3},
    "Muon without attention": {"optim.name": "muon", "model.sublayers": "mlp"},
    "SGD without momentum": {"optim.name": "sgd", "optim.beta1": 0.0, "optim.lr": 0.3},
    "bytes": {"data.tokenizer": "byte"},
}


@pytest.mark.parametrize("changes", ARMS.values(), ids=ARMS)
def test_it_trains_as_the_run_does(same, changes):
    same(changes)


@pytest.mark.parametrize(
    "changes", [{}, {"data.scored": "all"}, {"data.source": "task:recall", "data.pairs": 3, "data.length": 10, "data.alphabet": 8}]
)
def test_it_trains_on_the_examples_of_a_task(same, task_changes, changes):
    same({**task_changes, **changes})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_written_out(same, name):
    same({"optim.name": name, "optim.lr": {"sgd": 0.1, "lion": 1e-3}.get(name, 5e-3), "model.n_kv_head": 1})


@pytest.mark.parametrize("changes", [{}, {"optim.warmup_steps": 0}, {"optim.min_lr": 1e-5}, {"optim.warmup_steps": 50}])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_gives_the_rates_of_the_run(config_of, data_root, schedule, changes):
    config = config_of({**EXACT, "optim.schedule": schedule, **changes})
    code = code_of(config, data_root)
    names: dict = {"math": math, "torch": torch, "GPT": lambda: torch.nn.Linear(2, 2)}
    exec(code[code.index("# ---- the optimizer") : code.index("# ---- the steps")], names)
    warmup, optim = config.optim.warmup_steps, config.optim
    wanted = [learning_rate(optim, step, (step - warmup) / max(1, 50 - warmup)) for step in range(50)]
    assert [names["learning_rate"](step) for step in range(50)] == pytest.approx(wanted, rel=1e-12)


def test_the_tables_have_what_can_be_chosen():
    assert OPTIMIZER_CODE.keys() == OPTIMIZERS.keys() and SCHEDULE_CODE.keys() == SCHEDULES.keys()


@pytest.mark.parametrize(
    ("knob", "changes"),
    [
        ("train.max_steps", {"train.max_steps": None, "train.max_seconds": 5.0}),
        ("data.share", {"data.source": "task:copy", "data.length": 4, "data.alphabet": 4, "model.block_size": 17, "data.share": 0.5}),
    ],
)
def test_what_cannot_be_repeated_is_refused_by_name(config_of, data_root, knob, changes):
    with pytest.raises(NotWritten) as refused:
        code_of(config_of(changes), data_root)
    assert refused.value.knob == knob and len(refused.value.reason) > 20


@pytest.mark.parametrize("changes", [{}, *ARMS.values(), {"data.source": "task:copy", "data.length": 4, "model.block_size": 20}])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_in_a_script_is_idle(config_of, data_root, tmp_path, name, changes):
    changes = {path: value for path, value in changes.items() if not path.startswith("optim.")}
    if name in ("sgd", "muon") and "model.parametrisation" in changes:
        return
    path = tmp_path / "train.py"
    path.write_text(code_of(config_of({**EXACT, **changes, "optim.name": name}), data_root))
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--preview", "--select", "F,E,W", "--ignore", "E501,E741", str(path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    tree = ast.parse(path.read_text())
    made = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)}
    assert made <= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

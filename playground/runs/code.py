"""A design or a run as one file of Python: its model, or its model and the loop that trains it. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from models.source import NotWritten, source
from playground.config.run import CompleteRun
from playground.data import dataset
from playground.runs.folder import RunFolder
from playground.runs.store import Run
from playground.training.script import script


def of_design(config: CompleteRun, root: Path, training: bool) -> str:
    """The model's code, with `training` the loop below it. Raises NotWritten."""
    return _script(config, root, "a run of this design") if training else source(config.model)


def of_run(run: Run, root: Path) -> str:
    """The script that prints a run's losses. Raises NotWritten, and ConfigError where its config is damaged."""
    if run.parent is not None or run.parent_step is not None:
        raise NotWritten("parent", run.parent, "this run began with the weights of another one, and a script begins with new ones")
    return _script(RunFolder(root, run.id).read_config(), root, f"run {run.id}")


def _script(config: CompleteRun, root: Path, title: str) -> str:
    return script(config, dataset.prepared_folder(config.data, root).relative_to(root).as_posix(), title)

"""Downloads of a run: its weights, what it recorded, its config. The routes have checked access before."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response, StreamingResponse

from models.knobs import ConfigError
from playground.runs import code, export, frames, sampler
from playground.runs.access import Visitor
from playground.runs.folder import RunFolder
from playground.runs.store import Run, Store
from playground.training import paths
from playground.training.errors import CheckpointError
from playground.web.errands import Errands

MOST_EXPORTS, EXPORTS_EACH = 8, 2
EXPORT_PATIENCE_S = 5.0  # a program's download succeeds at once where it takes no longer
UNHEARD_S = 15.0


def weights(root: Path, run: Run, step: int) -> Response:
    """A checkpoint's safetensors file; a step below 0 is the newest."""
    there = sampler.steps(root, run.id)
    step = there[-1] if there and step < 0 else step
    if step not in there:
        raise HTTPException(404, f"this run has no checkpoint at step {step}")
    path = paths.weights(RunFolder(root, run.id).checkpoints, step)
    return FileResponse(path, filename=f"{file_name(run)}-{path.name}", media_type="application/octet-stream")


class Exports:
    """The exports of one app: one is written at a time, and the others wait in line."""

    def __init__(self, root: Path):
        self.root = root
        self.line = Errands(1, MOST_EXPORTS, each=EXPORTS_EACH, unheard_s=UNHEARD_S, kept_s=0.0, noun="folders are being written")

    def transformers(self, run: Run, step: int, visitor: Visitor, patience_s: float = EXPORT_PATIENCE_S) -> FileResponse:
        """A checkpoint as a folder that transformers loads, if it has a model family with this architecture. Raises Underway."""
        name, step = file_name(run), sampler.newest(self.root, run.id) if step < 0 else step
        write = partial(export.transformers_zip, self.root, run, step, name)
        try:
            path = self.line.answer((run.id, run.generation, step), write, visitor.id, visitor.address, patience_s)
        except (CheckpointError, ConfigError) as error:
            raise HTTPException(404, str(error)) from None
        return FileResponse(path, filename=f"{name}.zip", media_type="application/zip")


def measures(db: Store, run: Run) -> Response:
    """Everything measured inside the model, one line per step, quantity, node, layer and head."""
    return StreamingResponse(frames.measures_csv(db, run.id), media_type="text/csv", headers=_named(f"{file_name(run)}-inside.csv"))


def metrics(db: Store, run: Run) -> Response:
    """The curves, one line per recorded point."""
    return StreamingResponse(frames.metrics_csv(db, run.id), media_type="text/csv", headers=_named(f"{file_name(run)}.csv"))


def config(root: Path, run: Run) -> Response:
    """The run's config.json, unchanged."""
    folder = RunFolder(root, run.id)
    if not folder.config.exists():
        folder.read_config()  # says so
    return Response(folder.config.read_bytes(), media_type="application/json", headers=_named(f"{file_name(run)}.json"))


def script(root: Path, run: Run) -> Response:
    """The run as one file of Python that prints its losses. Raises NotWritten."""
    return Response(code.of_run(run, root), media_type="text/x-python", headers=_named(f"{file_name(run)}.py"))


def file_name(run: Run) -> str:
    """A run's name made safe for a file, with its id."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in run.name).strip("-")
    return f"{safe[:40] or 'run'}-{run.id}"


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}

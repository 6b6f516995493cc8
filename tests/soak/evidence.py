"""Checks of files, database and processes after a fault, from outside the app.

They do not rely on the code under test: files are parsed byte by byte, processes are read from /proc. Imports no torch.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from playground.runs.folder import RunFolder
from playground.runs.store import Store
from playground.training import paths

PROC = Path("/proc")
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class HalfWritten(ValueError):
    """A published file is incomplete."""


def tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """(type, shape, bytes) of every tensor of a safetensors file; raises HalfWritten unless it is complete to the last byte."""
    data = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
    except (struct.error, ValueError) as error:
        raise HalfWritten(f"{path}: its header cannot be read ({error})") from None
    found, body, end = {}, memoryview(data)[8 + length :], 0
    named = sorted((entry["data_offsets"], name, entry) for name, entry in header.items() if name != "__metadata__")
    for (first, last), name, entry in named:
        if first != end or last - first != math.prod(entry["shape"]) * SIZES[entry["dtype"]]:
            raise HalfWritten(f"{path}: {name} does not fill its place")
        found[name], end = (entry["dtype"], tuple(entry["shape"]), bytes(body[first:last])), last
    if end != len(body):
        raise HalfWritten(f"{path}: {len(body):,} bytes of tensors where {end:,} are announced")
    return found


def check_published(folder: RunFolder, known: set[tuple[str, int]]) -> list[str]:
    """What is wrong with a run's published files. Those in `known` (path, mtime) were checked before and are skipped."""
    problems = []
    for step in folder.checkpoint_steps():
        info, weights = paths.info(folder.checkpoints, step), paths.weights(folder.checkpoints, step)
        problems += _problems(info, known, json.loads)
        # Thinning out deletes the json of a checkpoint before its weights.
        if not weights.exists() and info.exists():
            problems.append(f"{info}: a checkpoint without its weights")
    published = [path for _, path in paths.tensor_files(folder.checkpoints)]
    for path in [*published, *(probe.path for probe in paths.all_probes(folder.probes))]:
        problems += _problems(path, known, None)
    for path in (folder.config, folder.tokenizer):
        problems += _problems(path, known, json.loads)
    return problems


def _problems(path: Path, known: set[tuple[str, int]], parse) -> list[str]:
    """The problems of one file; none where it was replaced or thinned out meanwhile."""
    try:
        key = (str(path), path.stat().st_mtime_ns)
        if key in known:
            return []
        parse(path.read_text()) if parse else tensors(path)
    except FileNotFoundError:
        return []
    except ValueError as error:
        return [str(error) if isinstance(error, HalfWritten) else f"{path}: {error}"]
    known.add(key)
    return []


def leftovers(root: Path) -> list[Path]:
    """Temporary files and folders, which should exist only while something is being written or deleted."""
    return sorted(path for path in root.rglob(".*") if path.name not in (".gitignore", ".gitattributes"))


def incomplete_checkpoints(folder: RunFolder) -> list[Path]:
    """Weights and states without the json that makes them a checkpoint."""
    there = folder.checkpoint_steps()
    return [path for step, path in paths.tensor_files(folder.checkpoints) if step not in there]


def differences(run: RunFolder, undisturbed: RunFolder) -> list[str]:
    """Where the weights of two runs of one config differ, at all steps of which both keep a checkpoint. Their last steps must be equal."""
    steps, others = (folder.checkpoint_steps() for folder in (run, undisturbed))
    if not steps or not others or steps[-1] != others[-1]:
        return [f"{run.path.name} has checkpoints {steps}, undisturbed {others}"]
    problems = []
    for step in sorted(set(steps) & set(others)):
        mine, other = (tensors(paths.weights(folder.checkpoints, step)) for folder in (run, undisturbed))
        unlike = sorted(key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key))
        if unlike:
            problems.append(f"{run.path.name} differs from the undisturbed run at step {step} in {len(unlike)} tensors: {unlike[0]}, ...")
    return problems


def curve(db: Store, run_id: str) -> list[tuple[int, float]]:
    """(step, training loss) of every recorded point, in the order in which they were recorded."""
    return [(row.step, row.body["loss"]) for row in db.events(run_id, kinds=["progress"])]


def curve_problems(db: Store, run_id: str, undisturbed: list[tuple[int, float]]) -> list[str]:
    """The points of a run's curve that are missing, recorded twice or from another run."""
    points = curve(db, run_id)
    if points == undisturbed:
        return []
    missing, foreign = sorted(set(undisturbed) - set(points)), sorted(set(points) - set(undisturbed))
    twice = len(points) - len(set(points))
    return [f"{run_id}: of its curve {len(missing)} points are missing {missing[:3]}, {len(foreign)} foreign {foreign[:3]}, {twice} twice"]


@dataclass(frozen=True)
class Worker:
    """A live worker process. `run` is None for a standby; `holds`: it holds a lock, so it has started its run."""

    pid: int
    run: str | None
    holds: bool


def workers(root: Path) -> list[Worker]:
    """The worker processes of a root, from /proc. Linux only."""
    holders, found = _lock_holders(), []
    for folder in PROC.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            if "playground.workers.worker" not in words or str(root) not in words:
                continue
            # A standby that was given a run writes into the run's log.
            log = re.fullmatch(re.escape(str(root)) + r"/runs/([a-z2-7]{10})/worker\.log", os.readlink(folder / "fd/1"))
        except OSError:
            continue
        found.append(Worker(int(folder.name), log[1] if log else None, int(folder.name) in holders))
    return found


def twice(found: list[Worker]) -> list[str]:
    """Runs that more than one process trains at this instant."""
    training = [worker.run for worker in found if worker.run and worker.holds]
    return sorted({run for run in training if training.count(run) > 1})


def _lock_holders() -> set[int]:
    """Processes that hold an exclusive lock on some file."""
    lines = (line.split() for line in (PROC / "locks").read_text().splitlines())
    return {int(words[4]) for words in lines if words[1:4] == ["FLOCK", "ADVISORY", "WRITE"]}

"""Probes as files; `paths` has their names.

The tensors are those of `quantities.Probe`; the text and the measured values are in the file's metadata. A run's
probes take at most `BUDGET_BYTES`: older ones are thinned out evenly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from playground.inside.quantities import PROBE_BUDGET_MB, Probe
from playground.system.files import evenly, publish, text_hash
from playground.training import paths

BUDGET_BYTES, KEEP_PROBES = PROBE_BUDGET_MB * 2**20, 200


def probe_path(run_folder: Path, digest: str, step: int) -> Path:
    return paths.probe(paths.probes(run_folder), digest, step)


def publish_probe(run_folder: Path, step: int, probe: Probe[Tensor], text: str) -> None:
    """Write a probe of this text, and keep what is there within the budget. Raises OSError."""
    digest = text_hash(text)
    path = probe_path(run_folder, digest, step)
    for folder in (path.parent.parent, path.parent):  # but not the run's own folder: a deleted run must not come back
        folder.mkdir(exist_ok=True)
    publish(path, save(probe.tensors, {"text": text, "values": json.dumps(probe.values, separators=(",", ":"))}))
    thin(run_folder, digest)


def recorded_steps(run_folder: Path, digest: str) -> list[int]:
    """The steps at which a probe text was recorded, ascending."""
    return paths.probe_steps(paths.probes(run_folder), digest)


def thin(run_folder: Path, digest: str, budget: int = BUDGET_BYTES, keep: int = KEEP_PROBES) -> None:
    """Keep a run's probes within `budget` bytes: those of texts that are no longer recorded go first, then those of `digest`
    are thinned out evenly, at most `keep` of them, first and last always kept."""
    steps = recorded_steps(run_folder, digest)
    sizes = {step: _size(probe_path(run_folder, digest, step)) for step in steps}
    largest = max(sizes.values(), default=0)
    fits = max(2, min(keep, budget // largest)) if largest else keep
    for step in set(steps) - evenly(steps, fits):
        _remove([probe_path(run_folder, digest, step)])
        del sizes[step]
    others = [each.path for each in paths.all_probes(paths.probes(run_folder)) if each.text_hash != digest]
    if others and sum(sizes.values()) + sum(map(_size, others)) > budget:
        _remove(others)


def _size(path: Path) -> int:
    """In bytes; 0 for what another process has just removed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)

"""File names of a run's checkpoints and probes: they are built and parsed here, and nowhere else.

Under the folder of a run:

    checkpoints/NNNNNN.safetensors         the weights
    checkpoints/NNNNNN.state.safetensors   the rest of the training state, needed to resume
    checkpoints/NNNNNN.json                information on it; published last: without it the checkpoint does not exist
    probes/TEXTHASH/NNNNNN.safetensors     what was measured on a text

NNNNNN is the step, at least six digits. Files of other names are ignored. Imports no torch.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_STEP = "([0-9]{6,})"
_INFO = re.compile(rf"{_STEP}\.json")
_TENSORS = re.compile(rf"{_STEP}(?:\.state)?\.safetensors")
_PROBE = re.compile(rf"{_STEP}\.safetensors")


def checkpoints(run: Path) -> Path:
    """The folder of a run's checkpoints, given the run's own."""
    return run / "checkpoints"


def probes(run: Path) -> Path:
    """The folder of a run's probes, given the run's own."""
    return run / "probes"


# In the folder of the checkpoints.


def weights(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}.safetensors"


def state(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}.state.safetensors"


def info(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}.json"


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints that exist, ascending."""
    return sorted(_files(folder, _INFO))


def tensor_files(folder: Path) -> list[tuple[int, Path]]:
    """Weights and states with their steps, also those whose checkpoint was never published."""
    found = ((_TENSORS.fullmatch(path.name), path) for path in _in(folder))
    return sorted((int(match[1]), path) for match, path in found if match)


# In the folder of the probes.


class ProbeFile(NamedTuple):
    """The file of one probe."""

    text_hash: str
    step: int
    path: Path


def probe(folder: Path, text_hash: str, step: int) -> Path:
    return folder / text_hash / f"{step:06d}.safetensors"


def probe_steps(folder: Path, text_hash: str) -> list[int]:
    """The steps at which a probe of this text is kept, ascending."""
    return sorted(_files(folder / text_hash, _PROBE))


def all_probes(folder: Path) -> list[ProbeFile]:
    """Those of all texts."""
    texts = [each for each in _in(folder) if each.is_dir() and not each.is_symlink()]
    return [ProbeFile(text.name, step, path) for text in texts for step, path in sorted(_files(text, _PROBE).items())]


def _files(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The files of a folder that match, by step."""
    found = ((pattern.fullmatch(path.name), path) for path in _in(folder))
    return {int(match[1]): path for match, path in found if match}


def _in(folder: Path) -> list[Path]:
    """What is in a folder; nothing where there is none, or where it has just been removed."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []

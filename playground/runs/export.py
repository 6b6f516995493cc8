"""Exports a checkpoint as a zip of a folder that `transformers` loads. Imports torch only for the export itself.

A zip is written to ROOT/exports, tensor by tensor, and sent from there; a few are kept for a while.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from models.config import ModelConfig
from models.families import closest
from playground.data import tokenizers
from playground.runs import sampler
from playground.runs.card import model_card
from playground.runs.folder import RunFolder
from playground.runs.sampler import SampleConfig
from playground.runs.store import Run
from playground.system.files import publish_by
from playground.training import paths
from playground.training.errors import CheckpointError

KEPT, KEPT_S = 3, 600.0


def why_not(config: ModelConfig) -> str:
    """Which knobs no family of transformers supports, in words for people; empty where the config can be exported."""
    family, problems = closest(config, inference=True)
    if not problems:
        return ""
    return f"no family of transformers computes this; the closest is {family.title}, but " + "; ".join(map(str, problems))


def transformers_zip(root: Path, run: Run, step: int, name: str, report: Callable[[float | None, str], None]) -> Path:
    """The zip of a checkpoint, with config, weights, tokenizer and model card in a folder `name`; written anew unless it is kept. It may be
    removed after `KEPT_S`: open it at once. Raises NoSuchRun, CheckpointError, UnsupportedArchitecture, OSError."""
    path = root / "exports" / f"{name}-{sampler.stamp(root, run.id, step)}.zip"
    _clear(path.parent, keep=path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        publish_by(path, partial(_write, root, run, step, name, report))
    return path


def _write(root: Path, run: Run, step: int, name: str, report: Callable[[float | None, str], None], target: str) -> None:
    folder = RunFolder(root, run.id)
    weights = paths.weights(folder.checkpoints, step)
    whole, done = max(1, weights.stat().st_size), 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        small = [(file, iter([text.encode()])) for file, text in _texts(folder, run, step, name).items()]
        for file, pieces in itertools.chain(_weights(folder, weights), small):
            with archive.open(f"{name}/{file}", "w", force_zip64=True) as entry:
                for piece in pieces:
                    entry.write(piece)
                    done += len(piece)
                    report(min(1.0, done / whole), "writing the folder")


def _weights(folder: RunFolder, weights: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The model's files, piece by piece."""
    import torch
    from safetensors import SafetensorError, safe_open

    from models.interop import to_files

    try:
        with safe_open(weights, framework="pt") as file:
            dtypes = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
            dtype = dtypes[file.get_slice("wte.weight").get_dtype()]
            yield from to_files(folder.read_config().model, dtype, file.get_tensor)
    except FileNotFoundError:
        raise CheckpointError("this checkpoint has just been thinned out; choose another one") from None
    except SafetensorError as error:
        raise CheckpointError(f"{weights.name} is damaged or not a checkpoint of this model ({error})") from None


def _texts(folder: RunFolder, run: Run, step: int, name: str) -> dict[str, str]:
    """The files beside the model's: its tokenizer, how far it writes, its card, and the config that trains it again."""
    config, tokenizer = folder.read_config(), tokenizers.load_file(folder.tokenizer)
    context = config.model.block_size
    generation = {"max_length": context, "do_sample": True, "temperature": SampleConfig().temperature}
    return tokenizers.hub_files(tokenizer, context) | {
        "generation_config.json": json.dumps(generation, indent=2),
        "playground.json": folder.config.read_text(),
        "README.md": model_card(run, config, step, tokenizer, name),
    }


def _clear(folder: Path, keep: Path) -> None:
    """Remove the zips that are old, and the oldest where there are too many. Whoever is reading one goes on."""
    others = [path for path in folder.glob("*.zip") if path != keep]
    with contextlib.suppress(FileNotFoundError):
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for number, path in enumerate(others, start=1):
            if number >= KEPT or time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink()

"""Exports a checkpoint as a zip of a folder that `transformers` loads. Imports torch only for the export itself."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from models.config import ModelConfig
from models.families import closest
from playground.data.tokenizers import hub_files
from playground.runs import sampler


def why_not(config: ModelConfig) -> str:
    """Which knobs no family of transformers supports, in words for people; empty where the config can be exported."""
    family, problems = closest(config, inference=True)
    if not problems:
        return ""
    return f"no family of transformers computes this; the closest is {family.title}, but " + "; ".join(map(str, problems))


def transformers_zip(root: Path, run_id: str, step: int | None, folder: str) -> bytes:
    """The zip: config, weights and tokenizer in one folder. Raises NoSuchRun, CheckpointError, UnsupportedArchitecture."""
    from models.interop import to_files

    loaded = sampler.load(root, run_id, step)
    files = to_files(loaded.model) | {name: text.encode() for name, text in hub_files(loaded.tokenizer).items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(f"{folder}/{name}", data)
    return buffer.getvalue()

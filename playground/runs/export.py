"""A checkpoint as a folder that `transformers` loads, in one zip. Imports torch when one is made."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from models.config import ModelConfig
from models.families import closest
from playground.data.tokenizers import hub_files
from playground.runs import sampler


def why_not(config: ModelConfig) -> str:
    """Which knobs keep a config out of the closest family, for people; empty where nothing does."""
    family, problems = closest(config, inference=True)
    if not problems:
        return ""
    return f"no family of transformers computes this; the closest is {family.title}, but " + "; ".join(map(str, problems))


def transformers_zip(root: Path, run_id: str, step: int | None, folder: str) -> bytes:
    """Config, weights and tokenizer under one folder name. Raises NoSuchRun, CheckpointError, UnsupportedArchitecture."""
    from models.interop import to_files

    loaded = sampler.load(root, run_id, step)
    files = to_files(loaded.model) | {name: text.encode() for name, text in hub_files(loaded.tokenizer).items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(f"{folder}/{name}", data)
    return buffer.getvalue()

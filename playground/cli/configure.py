"""A run's config from preset, config file and flags, in this order. Creates and starts nothing.

All problems are collected, so that they can be corrected at once.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.knobs import ConfigError, Problem, flat, nested, parse
from playground.cli.flags import Flag, Typed, flags_of
from playground.config.limits import check_config
from playground.config.presets import PRESETS, with_source
from playground.config.run import RunConfig
from playground.config.settings import Settings, find_root, from_environment
from playground.data import corpora
from playground.data.config import SOURCES, UPLOAD
from playground.data.encodings import UnsureEncoding
from playground.data.errors import CorpusError
from playground.data.hub import HUB
from playground.data.own import Reading
from playground.data.tables import NeedsColumn
from playground.runs.creation import check_early, checked, collecting, fetch

MOST_RUNS = 64
OF_FILES = {"column", "encoding"}
VARIED = ("train.seed", *(spec.path for spec in RunConfig.specs() if spec.path.startswith("optim.") and spec.path != "optim.name"))
CONFIG_FLAGS = (
    Flag("preset", "NAME", f"Start from a named config: {', '.join(PRESETS)}. (default: default, whose values are the defaults below)"),
    Flag("config", "FILE", "A JSON file with any of the sections model, data, optim, train and probe; over the preset, under the flags."),
    Flag(
        "column", "NAME", "Of a table (CSV, TSV, JSONL, Parquet) as --data.source, the column with the text; --column= takes it as it is."
    ),
    Flag("encoding", "NAME", "Of a file as --data.source, such as cp1252. (default: by its byte order mark, else utf-8)"),
    *flags_of(PRESETS["default"].config),
)


def settings_from(typed: Typed, environ: Mapping[str, str]) -> Settings:
    """The settings from the environment; where it is wrong, the defaults, and the problems go to `typed.problems`."""
    with collecting(typed.problems):
        return from_environment(environ, root=typed.text("root"))
    return Settings(root=find_root(environ, typed.text("root")))


def config_from(typed: Typed, environ: Mapping[str, str], progress: corpora.Progress | None = None) -> tuple[RunConfig, Settings]:
    """The requested config. If `--data.source` is a path, its text is copied into the root.

    Raises ConfigError with every problem of flags, file, environment, values, text and limits.
    """
    problems, settings = typed.problems, settings_from(typed, environ)
    changes = _overlay(_config_file(typed), nested(typed.settings))
    tree = _overlay(with_source(_preset(typed), changes), changes)
    path = typed.settings.get("data.source")
    if path is not None and (path in SOURCES or UPLOAD.fullmatch(path) or HUB.fullmatch(path)):
        path = None
    problems += [
        Problem(f"--{name}", "is about a file as --data.source, and none is named") for name in OF_FILES & typed.values.keys() if not path
    ]
    if any(name.startswith("data.") for name in typed.settings):
        tree["data"]["fingerprint"] = None  # that of a config file belongs to the data as they were before these flags
    # New data are made in a temporary folder first, so that a refused command leaves nothing in the root.
    with tempfile.TemporaryDirectory(prefix="playground-") as staging:
        if path is not None:
            tree["data"]["source"] = "tiny-tales"
            with collecting(problems):
                tree["data"]["source"] = _add_path(Path(staging), path, typed)
        with collecting(problems):
            config = parse(RunConfig, tree)
            to_fetch = settings.hub and not corpora.is_here(config.data.source, settings.root)
            if to_fetch and problems:
                check_config(config, settings)
            else:
                check_early(config, settings)
                if to_fetch:
                    fetch(config, settings, progress)
                new = path is not None or not settings.root.exists()
                checked(config, replace(settings, root=Path(staging)) if new else settings)
    if problems:
        raise ConfigError(_distinct(problems))
    if path is not None:
        try:
            _add_path(settings.root, path, typed)
        except OSError as error:  # it has just been read: what cannot be is the root
            raise ConfigError([Problem("--root", f"{error}; choose a folder that can be written")]) from None
    return config, settings


def _add_path(root: Path, path: str, typed: Typed) -> str:
    """As `corpora.add_path`; what the person must say more is a problem of its flag."""
    try:
        return corpora.add_path(root, path, Reading(typed.text("column"), typed.text("encoding")))
    except NeedsColumn as error:
        raise CorpusError(error.problems[0].message, "--column") from None
    except UnsureEncoding as error:
        raise CorpusError(error.problems[0].message, "--encoding") from None


@dataclass(frozen=True)
class Variant:
    """One of several runs with models of one shape: its config, and the part of its name that tells it from the others."""

    config: RunConfig
    words: str


def variants(config: RunConfig, typed: Typed) -> list[Variant]:
    """The runs of `--vary` and `--repeat`: each value with each seed. Raises ConfigError with every problem."""
    problems: list[Problem] = []
    path, values = _varied(typed.text("vary"), problems)
    repeat = _repeat(typed.text("repeat"), problems)
    if len(values) * repeat > MOST_RUNS:
        problems.append(Problem("--repeat", f"{len(values)} values {repeat} times are {len(values) * repeat} runs; keep it to {MOST_RUNS}"))
    found = []
    for value in values:
        changed = flat(config) | ({} if value is None else {path: value})
        with collecting(problems):
            one = parse(RunConfig, nested(changed))
            for i in range(repeat):
                seed = one.train.seed + i
                each = one.model_copy(update={"train": one.train.model_copy(update={"seed": seed})})
                words = [] if value is None else [f"{path.rpartition('.')[2]} {value}"]
                found.append(Variant(each, ", ".join([*words, f"seed {seed}"] if repeat > 1 else words)))
    if problems:
        raise ConfigError(_distinct(problems))
    return found


def _varied(text: str | None, problems: list[Problem]) -> tuple[str, list[str | None]]:
    """The path of the varied knob and its values; [None] where only the seed varies."""
    name, _, listed = (text or "seed").partition("=")
    path = "train.seed" if name == "seed" else name
    if path not in VARIED:
        problems.append(Problem("--vary", f"{name[:60]!r} cannot vary between runs of one shape; use one of {', '.join(VARIED)}"))
    values = [value.strip() for value in listed.split(",") if value.strip()]
    if path != "train.seed" and not values:
        problems.append(Problem("--vary", f"needs values: --vary {path[:60]}=A,B"))
    for value in {value for value in values if values.count(value) > 1}:
        problems.append(Problem("--vary", f"{value[:60]!r} is there twice; give each value once, and --repeat for several seeds"))
    return path, [*values] if values else [None]


def _repeat(text: str | None, problems: list[Problem]) -> int:
    if text is None or (text.isdecimal() and 1 <= int(text) <= MOST_RUNS):
        return int(text or 1)
    problems.append(Problem("--repeat", f"{text[:60]!r} is not possible; use a whole number from 1 up to {MOST_RUNS}"))
    return 1


def _preset(typed: Typed) -> dict[str, Any]:
    name = typed.text("preset") or "default"
    if name not in PRESETS:
        typed.problems.append(Problem("--preset", f"{name[:60]!r} is not a preset; use one of {', '.join(PRESETS)}"))
        name = "default"
    return PRESETS[name].config.model_dump()


def _config_file(typed: Typed) -> dict[str, Any]:
    """The sections of the config file."""
    path = typed.text("config")
    if path is None:
        return {}
    try:
        tree = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        typed.problems.append(Problem("--config", f"{path}: {error.strerror or error}; name a readable JSON file"))
        return {}
    except (ValueError, RecursionError) as error:
        typed.problems.append(Problem("--config", f"{path} is not JSON ({error}); see a run's config.json for an example"))
        return {}
    if not isinstance(tree, dict):
        typed.problems.append(Problem("--config", f"{path} holds a {type(tree).__name__}; it must be a JSON object with sections"))
        return {}
    sections = [name for name in RunConfig.model_fields if name in tree and not isinstance(tree[name], dict)]
    for name in sections:
        typed.problems.append(Problem(name, f"is an object with settings, not {str(tree[name])[:60]!r}"))
    return {name: value for name, value in tree.items() if name not in sections}


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` overridden by `over`, key by key."""
    merged = dict(base)
    for name, value in over.items():
        inner = merged.get(name)
        merged[name] = _overlay(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _distinct(problems: list[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))

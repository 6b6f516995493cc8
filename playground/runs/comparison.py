"""Runs compared in pairs: by how much one is better than another on the very passages, or examples, that both were judged on."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from models.knobs import flat
from playground.config.presets import PRESETS, in_words, name_of, shortened
from playground.config.run import RECORDING, CompleteRun, RunConfig
from playground.data.sample import paired_difference
from playground.runs.store import Row, Run

SETTINGS = tuple(spec for spec in RunConfig.specs() if spec.knob.group != RECORDING)  # what is recorded changes nothing that is learnt
ONE_SEED = (
    "± is the error of the held-out sample alone: another seed would move each of these runs too. Whether a setting is better, an "
    "experiment with several seeds says."
)
LONGEST = 80  # a name in a list or a legend, which may take two lines
NEARLY_ALL = 3 / 4  # of the runs: what so many have in common, the others' names say
ERRORS = 2.0  # standard errors from which on two runs are told apart


class Judged(NamedTuple):
    """A run, the fingerprint of its data, and the last point of its held-out curve."""

    run: Run
    fingerprint: str | None
    point: Row | None


def compared(runs: Sequence[Judged]) -> list[str]:
    """A sentence on each run but the first, against the first, and one on what they can't say. Those that were not judged on the same
    sample are left out."""
    names, (first, *others) = distinct([each.run for each in runs]), runs
    found = [said for other in others if (said := _against(first, other, names)) is not None]
    return [*found, ONE_SEED] if found else []


def distinct(runs: Sequence[Run]) -> dict[str, str]:
    """A name for each run by its id: the one that somebody gave it; of those that nobody named, begun from one preset, what sets each apart
    from most of the others. Where several have one name, it says which is which."""
    titles = {run.id: title for run in runs if (title := title_of_unnamed(run))}
    names = {run.id: run.name for run in runs}
    for title in set(titles.values()):
        names |= _told_apart([run for run in runs if titles.get(run.id) == title], title, len(set(titles.values())) > 1)
    often = Counter(names.values())
    return {run_id: name if often[name] == 1 else f"{name} ({run_id[:4]})" for run_id, name in names.items()}


def title_of_unnamed(run: Run) -> str:
    """The title of the preset that a run is named after, because nobody named it; else empty."""
    config, preset = run.readable_config, PRESETS.get(run.preset)
    if config is None or preset is None:
        return ""
    made = _name_of(config, run.preset)
    return preset.title if run.name == made or run.name.startswith(f"{made} #") else ""


_name_of = lru_cache(maxsize=2000)(name_of)


@lru_cache(maxsize=2000)
def _in_words(config: CompleteRun) -> dict[str, str]:
    values = flat(config)
    return {spec.path: in_words(spec, values[spec.path]) for spec in SETTINGS}


def _told_apart(runs: Sequence[Run], title: str, says_title: bool) -> dict[str, str]:
    """Names of runs of one preset that nobody named: the settings in which they differ, without values that nearly all have."""
    configs = {run.id: run.readable_config for run in runs}
    values = {run_id: _in_words(config) for run_id, config in configs.items() if config is not None}
    if len(values) < 2:
        return {}
    usual = {}
    for path in (spec.path for spec in SETTINGS):
        ((words, n),) = Counter(each[path] for each in values.values()).most_common(1)
        usual[path] = words if n >= NEARLY_ALL * len(values) else ""
    said = {run_id: [words for path, words in each.items() if words != usual[path]] for run_id, each in values.items()}
    names = {run_id: shortened(words, f"{title}: " if says_title else "", LONGEST) or title for run_id, words in said.items()}
    often = Counter(names.values())
    number = {run.id: " #" + run.name.rpartition(" #")[2] if re.search(r" #\d+$", run.name) else "" for run in runs}
    return {run_id: name if often[name] == 1 else name + number[run_id] for run_id, name in names.items()}


def differing(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """(path, label) of each setting in which these runs differ; those whose config can't be read are left out."""
    values = [flat(config) for run in runs if (config := run.readable_config) is not None]
    return [(spec.path, spec.knob.label) for spec in SETTINGS if len({repr(each[spec.path]) for each in values}) > 1]


def grouped(runs: Sequence[Run], path: str) -> dict[str, str]:
    """By run id, its value of a setting in words."""
    (spec,) = (spec for spec in SETTINGS if spec.path == path)
    known = {run.id: flat(config)[path] for run in runs if (config := run.readable_config) is not None}
    return {run_id: f"{spec.knob.label}: {spec.said(value)}" for run_id, value in known.items()}


def _against(one: Judged, other: Judged, names: Mapping[str, str]) -> str | None:
    if one.point is None or other.point is None or one.fingerprint is None or one.fingerprint != other.fingerprint:
        return None
    a, b = one.point.body, other.point.body
    groups = [np.array(body.get("by_group") or [], dtype=float) for body in (a, b)]
    if not len(groups[0]) or len(groups[0]) != len(groups[1]) or not all(np.isfinite(each).all() for each in groups):
        return None
    if a["n_tokens"] == b["n_tokens"] and _cut(one.run) == _cut(other.run):
        size, unit = float(a["n_tokens"]), "nats per token"
    elif a.get("bits_per_byte") and b.get("bits_per_byte"):  # other tokens of the same text
        size, unit = a["loss"] * a["n_tokens"] / a["bits_per_byte"], "bits per byte"  # ln 2 times the bytes of all passages
    else:
        return None
    difference, error = paired_difference(groups[0], groups[1], size)
    if not math.isfinite(error):
        return None
    verdict = "not told apart" if abs(difference) < ERRORS * error else "this run is better" if difference < 0 else "this run is worse"
    steps = f"step {other.point.step:,}" if other.point.step == one.point.step else f"step {other.point.step:,} against {one.point.step:,}"
    return (
        f"{names[other.run.id]}: {difference:+.3f} ± {error:.3f} {unit} against {names[one.run.id]} on the same {len(groups[0])} "
        f"held-out {'examples' if _is_task(one.run) else 'passages'} ({steps}): {verdict}."
    )


def _cut(run: Run) -> Any:
    """What decides how its text is cut into tokens."""
    data = None if run.readable_config is None else run.readable_config.data
    return data and (data.tokenizer, data.bpe_vocab)


def _is_task(run: Run) -> bool:
    return run.readable_config is not None and run.readable_config.data.is_task

"""A design as a part of the page's address: its preset, and each knob that differs from it, by name.

`default,n_layer=6,norm_placement=post`. A name that two sections have stands with its section (`train.seed`). What a later version does
not know any more is left out, and said, so that an old link still opens; so does one that was escaped as a whole on its way.
"""

from __future__ import annotations

from collections import Counter
from urllib.parse import quote, unquote

from models.knobs import differences, flat, nested, parse
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.ui import form

LONGEST = 4000
_times = Counter(spec.path.rpartition(".")[2] for spec in form.SPECS)
_NAMES = {spec.path: last if _times[last := spec.path.rpartition(".")[2]] == 1 else spec.path for spec in form.SPECS}
_PATHS = {name: path for path, name in _NAMES.items()}
_KEPT = ":/.-"  # what needs no escape and is easier to read without


def written(config: RunConfig, preset: str) -> str:
    """The design as text, the preset alone where nothing differs from it."""
    changed = differences(config, PRESETS[preset].config)
    specs = {spec.path: spec for spec in form.SPECS}
    return ",".join([preset, *(f"{_NAMES[path]}={_text(form.shown_value(specs[path], value))}" for path, value in changed.items())])


def read(text: str) -> tuple[str, RunConfig, list[str]]:
    """The preset, the design, and the names that are not known here. Raises ConfigError where the values can't be."""
    text = text[:LONGEST]
    first, *rest = (unquote(text) if "%2C" in text and "," not in text else text).split(",")
    preset = first if first in PRESETS else "default"
    given = {name: unquote(value) for name, equals, value in (each.partition("=") for each in rest) if equals and name}
    unknown = [name for name in given if name not in _PATHS] + ([] if first in PRESETS else [first])
    changes = {_PATHS[name]: value for name, value in given.items() if name in _PATHS}
    return preset, parse(RunConfig, nested(flat(PRESETS[preset].config) | changes)), unknown


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else quote(str(value), safe=_KEPT)

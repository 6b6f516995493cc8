"""Parses command line flags into values, and reports all problems together.

The flags of a config are derived from its fields. Knows nothing of runs and commands.
"""

from __future__ import annotations

import contextlib
import difflib
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from models.knobs import Knobs, Problem, Spec, flat


@dataclass(frozen=True)
class Flag:
    """`--name VALUE`, or a switch where `metavar` is empty. `path` is the field it sets, if any."""

    name: str
    metavar: str
    help: str
    path: str = ""
    group: str = ""
    is_bool: bool = False


COMMON = (
    Flag("root", "DIR", "Where runs are kept. Otherwise PLAYGROUND_ROOT, else ./runs."),
    Flag("json", "", "Answer in JSON on standard output."),
    Flag("help", "", "Show this text."),
)


@dataclass
class Typed:
    """A parsed command line. `values` by flag name (True for a switch), `settings` by the path of a field."""

    values: dict[str, str | bool] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    positionals: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) else None

    @property
    def as_json(self) -> bool:
        return "json" in self.values


def flags_of(config: Knobs, *, dashes: bool = False) -> tuple[Flag, ...]:
    """One flag per visible knob: `--model.n_layer`, or with `dashes` `--max-new-tokens`. Left out, a flag is what `config` has."""
    values = flat(config)
    return tuple(
        Flag(
            name=spec.path.replace("_", "-") if dashes else spec.path,
            metavar=_metavar(spec),
            help=describe(spec, values[spec.path]),
            path=spec.path,
            group=spec.knob.group,
            is_bool=spec.kind == "bool",
        )
        for spec in config.specs()
    )


def read(argv: Iterable[str], flags: Iterable[Flag], positionals: tuple[str, ...] = ()) -> Typed:
    """Parse a command line. Never raises: everything that is wrong with it goes to `problems`."""
    typed, known, rest = Typed(), {flag.name: flag for flag in flags}, list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            typed.positionals.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        flag = known.get(name)
        if flag is None:
            typed.problems.append(Problem(f"--{name}", f"there is no such flag{_did_you_mean(name, known)}"))
            if not equals and rest and not rest[0].startswith("--"):
                rest.pop(0)
        elif not flag.metavar:
            if equals:
                typed.problems.append(Problem(f"--{name}", f"takes no value, so leave out {value!r}"))
            typed.values[name] = True
        elif equals or (rest and _is_value(rest[0], flag)):
            _set(typed, flag, value if equals else rest.pop(0))
        elif flag.is_bool:
            _set(typed, flag, "true")
        else:
            typed.problems.append(Problem(f"--{name}", f"needs a value: --{name} {flag.metavar}"))
    _check_positionals(typed, positionals)
    return typed


def _is_value(word: str, flag: Flag) -> bool:
    """Whether a word is the flag's value: a negative number is one; a boolean flag such as `--model.bias` needs none."""
    if flag.is_bool:
        return word.lower() in ("true", "false", "yes", "no", "on", "off", "0", "1", "none")
    return not word.startswith("--")


def _set(typed: Typed, flag: Flag, value: str) -> None:
    typed.values[flag.name] = value
    if flag.path:
        typed.settings[flag.path] = value


def _check_positionals(typed: Typed, names: tuple[str, ...]) -> None:
    for name in names[len(typed.positionals) :]:
        remedy = "`python -m playground runs` lists the runs" if name == "RUN" else "--help shows what it can be"
        typed.problems.append(Problem(name, f"is missing; {remedy}"))
    for extra in typed.positionals[len(names) :]:
        typed.problems.append(Problem(repr(extra[:60]), "is neither a flag nor expected here; flags begin with --"))


def _did_you_mean(name: str, known: dict[str, Flag]) -> str:
    endings = [other for other in known if "." in other and other.endswith("." + name)]
    close = endings or difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join('--' + other for other in close)}?" if close else "; see the flags with --help"


def _metavar(spec: Spec) -> str:
    return {"int": "N", "float": "X", "bool": "true|false", "choice": "|".join(map(str, spec.choices)), "text": "TEXT"}[spec.kind]


def describe(spec: Spec, default: Any) -> str:
    """Help, default, bounds and unit of a knob in one line."""
    facts = []
    if default is not None:
        facts.append(f"default {str(default).lower() if isinstance(default, bool) else default}")
    elif spec.optional:
        facts.append(f"default none: {spec.knob.none_means}" if spec.knob.none_means else "default none")
    if spec.low is not None:
        facts.append(f"{'above' if spec.low_open else 'from'} {spec.low:,.10g}")
    if spec.high is not None:
        facts.append(f"up to {spec.high:,.10g}")
    if spec.max_length is not None:
        facts.append(f"at most {spec.max_length:,} characters")
    unit = f" In {spec.knob.unit}." if spec.knob.unit else ""
    return f"{spec.knob.help}{unit} ({', '.join(facts)})"


def help_text(usage: str, about: str, flags: Iterable[Flag]) -> str:
    """The text of `--help`, flags grouped as declared."""
    lines = [f"usage: {usage}", "", *textwrap.wrap(about, 100)]
    for group, members in groupby(sorted_by_group(flags), key=lambda flag: flag.group):
        lines += ["", f"{group}:" if group else "options:"]
        for flag in members:
            lines.append(f"  --{flag.name} {flag.metavar}".rstrip())
            indent = " " * 6
            lines += textwrap.wrap(flag.help, 94, break_on_hyphens=False, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)


def sorted_by_group(flags: Iterable[Flag]) -> list[Flag]:
    """Flags sorted by group, groups in the order of their first flag."""
    flags = list(flags)
    order = list(dict.fromkeys(flag.group for flag in flags))
    return sorted(flags, key=lambda flag: order.index(flag.group))


def number(typed: Typed, name: str, default: float, low: float, high: float) -> float:
    """The value of a numeric flag; a wrong one is noted in `typed.problems`, and gives the default."""
    text = typed.text(name)
    if text is None:
        return default
    with contextlib.suppress(ValueError):
        if low <= float(text) <= high:
            return float(text)
    typed.problems.append(Problem(f"--{name}", f"{text[:60]!r} is not possible here; use a number from {low:g} up to {high:,.0f}"))
    return default

"""One declaration per knob: a field that carries its bounds, its words and its place on the page.

Knows nothing of any particular config. Form controls, command line flags, JSON and every
validation message are derived from what is declared here. Imports no torch.

What a knob can be set to is a table of `Entry`s by value, where more depends on the value than its name: the field is
`Annotated[str, OneOf(TABLE)]`. The table is read anew each time, so an entry added to it is at once a valid value, an
option of the control and of the flag, and part of the JSON schema.
"""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, PydanticKnownError, core_schema

SET = ("set",)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One value that a knob can be set to; each kind of choice adds what its code needs to know.

    `label` is its name for people; `about` its clause in the knob's help and `paper` its source, both may be empty;
    `reads` are the knobs that have an effect with this value, of those that don't always have one.
    """

    label: str
    about: str = ""
    paper: str = ""
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class OneOf:
    """Marks a field whose values are the keys of a table: `Annotated[str, OneOf(TABLE)]`."""

    table: Mapping[str, Entry]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Callable[[CoreSchema], dict]) -> dict:
        return handler(schema) | {"enum": list(self.table)}

    def _known(self, value: str) -> str:
        if value not in self.table:
            raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, self.table))})
        return value

    def reading(self, knob: str) -> tuple[str, ...]:
        """The values with which a knob has an effect."""
        return tuple(value for value, entry in self.table.items() if knob in entry.reads)


def abouts(table: Mapping[str, Entry], separator: str = "; ", named: bool = False) -> str:
    """What a knob's help says of its values, one clause each, with their names in front where `named`."""
    return separator.join(f"{value}: {entry.about}" if named else entry.about for value, entry in table.items() if entry.about)


def papers(table: Mapping[str, Entry]) -> str:
    return "; ".join(entry.paper for entry in table.values() if entry.paper)


@dataclass(frozen=True)
class Needs:
    """A condition for a knob to have an effect: another field of its config has one of certain values.

    `values` are these (`SET`: any but None), or a function that returns them; by default those whose entries in the other
    field's table read the knob. A knob that was changed although it has no effect is refused; with `refuses=False` the form
    only says so, so that configs made before the condition was declared stay valid.
    """

    field: str
    values: tuple | Callable[[], tuple] | None = None
    refuses: bool = True

    @property
    def wanted(self) -> tuple:
        return self.values() if callable(self.values) else self.values or ()

    def met(self, value: Any) -> bool:
        """Whether the knob has an effect with this value of the other field."""
        return value is not None if self.wanted == SET else value in self.wanted


@dataclass(frozen=True)
class Knob:
    """What a person needs to know about one field.

    `slider` gives the range offered by hand (values beyond it are allowed up to the field's
    bounds); `open` puts the control in the always visible part of the form; `hidden` fields
    are filled in by the program and are neither control nor flag; `none_means` is the text
    for a value left empty; `needs` are the conditions for this field to have an effect;
    `choice_labels` name values that have no table.
    """

    label: str
    help: str
    group: str = ""
    unit: str = ""
    paper: str = ""
    open: bool = False
    hidden: bool = False
    slider: tuple[float, float] | None = None
    step: float | None = None
    none_means: str = ""
    needs: tuple[Needs, ...] = ()
    choice_labels: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, schema: dict[str, Any]) -> None:
        """Add label, group, unit, paper and `none_means` to the field's JSON schema."""
        schema["knob"] = {name: value for name in ("label", "group", "unit", "paper", "none_means") if (value := getattr(self, name))}


def knob(
    default: Any,
    *,
    label: str,
    help: str,
    needs: Needs | tuple[Needs, ...] = (),
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    max_length: int | None = None,
    **words: Any,
) -> Any:
    """Declare a field: its default, its bounds (`ge gt le lt`) and the words of `Knob`."""
    needs = (needs,) if isinstance(needs, Needs) else needs
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt, "max_length": max_length}
    return Field(
        default,
        description=help,
        json_schema_extra=Knob(label=label, help=help, needs=needs, **words),
        **{name: bound for name, bound in bounds.items() if bound is not None},
    )


@dataclass(frozen=True)
class Spec:
    """A knob as its users see it: dotted path, type, default, bounds and words.

    `table` maps each choice to its entry, or to its name; `needs` are the knob's, with their values filled in.
    """

    path: str
    kind: Literal["int", "float", "bool", "choice", "text"]
    optional: bool
    default: Any
    table: Mapping[str, Entry | str]
    low: float | None
    high: float | None
    low_open: bool
    high_open: bool
    max_length: int | None
    needs: tuple[Needs, ...]
    knob: Knob

    @property
    def choices(self) -> tuple[str, ...]:
        """The values to choose from; none where it is no choice."""
        return tuple(self.table)

    def label_of(self, choice: str) -> str:
        entry = self.table.get(choice)
        return entry.label if isinstance(entry, Entry) else self.knob.choice_labels.get(choice, choice)

    def said(self, value: Any) -> str:
        """A value of this knob in the words that its control uses."""
        if value is None:
            return self.knob.none_means
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, str):
            return self.label_of(value)
        return f"{value:g}" if isinstance(value, float) else str(value)

    @property
    def elem_id(self) -> str:
        """The control's id on the page: the path with dots turned into dashes."""
        return self.path.replace(".", "-")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a config, said so that it can be put right."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(ValueError):
    """A config that cannot be used. `problems` holds every reason, not only the first."""

    code = "invalid"

    def __init__(self, problems: Iterable[Problem]):
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


Rule = Callable[..., str | None]


class Knobs(BaseModel, frozen=True):
    """Base of all configs: frozen, closed to unknown keys, finite floats only.

    `RULES` are functions named after what they demand; their parameters are the fields they
    read, and they return what is wrong or None. A problem belongs to the first parameter's
    field. Rules run also when other fields are invalid, so all problems come at once.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=False)
    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything_at_once(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        errors: list[InitErrorDetails] = []
        config = None
        if isinstance(data, dict):
            data = {name: _soften(cls, name, value) for name, value in data.items()}
            errors += [_error((name,), "a number is needed, not a yes or no", data[name]) for name in _bools_as_numbers(cls, data)]
        try:
            config = handler(data)
        except ValidationError as error:
            errors += [_again(details) for details in error.errors(include_url=False)]
        bad = {place[0] for details in errors if (place := details.get("loc"))}
        values = config.__dict__ if config is not None and not bad else _valid_values(cls, data, bad)
        errors += [_error((name,), message, values[name]) for name, message in _idle(cls, values)]
        for rule in cls.RULES:
            reads = _reads(rule)
            if all(name in values for name in reads):
                message = rule(**{name: values[name] for name in reads})
                if message:
                    errors.append(_error((reads[0],), message, values[reads[0]]))
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return config

    @classmethod
    def specs(cls, prefix: str = "") -> list[Spec]:
        """Every visible knob of this config and of the configs inside it, in declared order."""
        return list(_specs(cls, prefix))


Config = TypeVar("Config", bound=Knobs)


def parse(cls: type[Config], data: Any) -> Config:
    """Build a config from loose data, or raise `ConfigError` with every problem."""
    if not isinstance(data, dict):
        raise ConfigError([Problem("", f"a config is a JSON object with sections, not {type(data).__name__}")])
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_problem(cls, details) for details in error.errors(include_url=False)) from None


def changed(config: Config, **changes: Any) -> Config:
    """The config with other values of some fields. Raises ConfigError as `parse` does."""
    return parse(type(config), config.model_dump() | changes)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """`{"model.n_layer": 4}` -> `{"model": {"n_layer": 4}}`."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        here = tree
        for parent in parents:
            child = here.setdefault(parent, {})
            if not isinstance(child, dict):
                raise ConfigError([Problem(path, f"{parent} is already set to {child!r}")])
            here = child
        here[leaf] = value
    return tree


def flat(config: Knobs | dict, prefix: str = "") -> dict[str, Any]:
    """`{"model": {"n_layer": 4}}` -> `{"model.n_layer": 4}`; the inverse of `nested`."""
    tree = config.model_dump() if isinstance(config, Knobs) else config
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves


def differences(config: Knobs, base: Knobs) -> dict[str, Any]:
    """The visible knobs in which `config` differs from `base`, by path."""
    mine, theirs = flat(config), flat(base)
    return {spec.path: mine[spec.path] for spec in type(config).specs() if mine[spec.path] != theirs.get(spec.path)}


def said(config: Knobs) -> dict[str, str]:
    """The values of the visible knobs, by path, in the words that their controls use."""
    values = flat(config)
    return {spec.path: spec.said(values[spec.path]) for spec in type(config).specs()}


# What follows from a class alone is asked for at every look at a config, and found once.


@cache
def _specs(cls: type[Knobs], prefix: str) -> tuple[Spec, ...]:
    specs: list[Spec] = []
    for name, info in cls.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Knobs):
            specs += _specs(info.annotation, f"{prefix}{name}.")
        else:
            specs.append(_spec(cls, prefix, name, info))
    return tuple(spec for spec in specs if not spec.knob.hidden)


@cache
def _reads(rule: Rule) -> tuple[str, ...]:
    """The fields that a rule reads."""
    return tuple(inspect.signature(rule).parameters)


def _spec(cls: type[Knobs], prefix: str, name: str, info: FieldInfo) -> Spec:
    annotation, optional = _unwrap(info.annotation)
    bounds = {kind: getattr(mark, kind) for mark in info.metadata for kind in ("ge", "gt", "le", "lt", "max_length") if hasattr(mark, kind)}
    one_of = _one_of(info)
    kind: Literal["int", "float", "bool", "choice", "text"]
    table: Mapping[str, Entry | str]
    if one_of is not None:
        kind, table = "choice", one_of.table
    elif get_origin(annotation) is Literal:
        kind, table = "choice", {choice: choice for choice in get_args(annotation)}
    else:
        kinds: dict[Any, Literal["int", "float", "bool", "text"]] = {int: "int", float: "float", bool: "bool", str: "text"}
        kind, table = kinds[annotation], {}
    return Spec(
        path=prefix + name,
        kind=kind,
        optional=optional,
        default=info.default,
        table=table,
        low=bounds.get("ge", bounds.get("gt")),
        high=bounds.get("le", bounds.get("lt")),
        low_open="gt" in bounds,
        high_open="lt" in bounds,
        max_length=bounds.get("max_length"),
        needs=_needs(cls, name),
        knob=_knob(info),
    )


def _knob(info: FieldInfo) -> Knob:
    if not isinstance(info.json_schema_extra, Knob):
        raise TypeError(f"a field without `knob`: {info!r}")
    return info.json_schema_extra


def _one_of(info: FieldInfo) -> OneOf | None:
    return next((mark for mark in info.metadata if isinstance(mark, OneOf)), None)


@cache
def _needs(cls: type[Knobs], name: str) -> tuple[Needs, ...]:
    """The conditions of a field; where one names no values, those whose entries in the other field's table read it."""
    found = []
    for need in getattr(cls.model_fields[name].json_schema_extra, "needs", ()):
        if need.values is None:
            one_of = _one_of(cls.model_fields[need.field])
            if one_of is None:
                raise TypeError(f"{name} needs {need.field}, which has no table that could say with which values it acts")
            need = replace(need, values=partial(one_of.reading, name))
        found.append(need)
    return tuple(found)


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """`int | None` -> `(int, True)`; `int` -> `(int, False)`."""
    if get_origin(annotation) in (Union, types.UnionType):
        (inner,) = [part for part in get_args(annotation) if part is not type(None)]
        return inner, True
    return annotation, False


def _idle(cls: type[Knobs], values: dict[str, Any]) -> list[tuple[str, str]]:
    """(field, message) of the fields that were changed although they have no effect in this config."""
    found = []
    for name, info in cls.model_fields.items():
        missing = [need for need in _needs(cls, name) if need.refuses and need.field in values and not need.met(values[need.field])]
        if missing and name in values and values[name] != info.default:
            wanted = "a value" if missing[0].wanted == SET else " or ".join(map(str, missing[0].wanted))
            default = "its default" if info.default is None else str(info.default)
            need = f"it needs {missing[0].field} to be {wanted}"
            found.append((name, f"{values[name]} has no effect here; {need}. Change that, or set this back to {default}"))
    return found


def _soften(cls: type[Knobs], name: str, value: Any) -> Any:
    """Empty text or `none`, from a flag or an emptied control, becomes None where a field allows None."""
    info = cls.model_fields.get(name)
    if info is not None and isinstance(value, str) and value.strip().lower() in ("", "none", "null") and _unwrap(info.annotation)[1]:
        return None
    return value


def _bools_as_numbers(cls: type[Knobs], data: dict) -> list[str]:
    return [
        name
        for name, value in data.items()
        if isinstance(value, bool) and name in cls.model_fields and _unwrap(cls.model_fields[name].annotation)[0] in (int, float)
    ]


def _valid_values(cls: type[Knobs], data: Any, bad: set) -> dict[str, Any]:
    """The fields that are valid by themselves, coerced: rules can still be checked on these."""
    if not isinstance(data, dict):
        return {}
    values = {name: info.get_default(call_default_factory=True) for name, info in cls.model_fields.items() if name not in bad}
    for name, value in data.items():
        if name not in bad and name in cls.model_fields:
            values[name] = TypeAdapter(cls.model_fields[name].annotation).validate_python(value)
    return values


def _error(loc: tuple, message: str, value: Any) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("rule", "{message}", {"message": message}), loc=loc, input=value)


def _again(details: ErrorDetails) -> InitErrorDetails:
    """A reported error, converted so that it can be raised again."""
    if details["type"] == "rule":
        kind = PydanticCustomError("rule", "{message}", details.get("ctx"))
        return InitErrorDetails(type=kind, loc=details["loc"], input=details["input"])
    return InitErrorDetails(type=details["type"], loc=details["loc"], input=details["input"], ctx=details.get("ctx", {}))


def _problem(cls: type[Knobs], details: ErrorDetails) -> Problem:
    """Turn pydantic's report into one that names the field, the value and the remedy."""
    path = ".".join(map(str, details["loc"]))
    value, kind = details["input"], details["type"]
    spec = next((spec for spec in cls.specs() if spec.path == path), None)
    if kind == "rule":
        return Problem(path, details.get("ctx", {})["message"])
    if kind == "missing":
        return Problem(path, "this is missing")
    if kind == "extra_forbidden":
        return Problem(path, f"there is no such setting{_did_you_mean(cls, path)}")
    if spec is None:
        return Problem(path, f"{_short(value)}: {details['msg'].lower()}")
    said = "this is empty" if value == "" else f"{_short(value)} is not possible here"
    return Problem(path, f"{said}; {_wanted(spec)}")


def _wanted(spec: Spec) -> str:
    if spec.kind == "choice":
        return "use one of " + ", ".join(map(str, spec.choices))
    if spec.kind == "bool":
        return "use true or false"
    if spec.kind == "text":
        return f"use a text of at most {spec.max_length} characters" if spec.max_length else "use a text"
    noun = "a whole number" if spec.kind == "int" else "a number"
    low = None if spec.low is None else f"{'above' if spec.low_open else 'from'} {_number(spec.low)}"
    high = None if spec.high is None else f"{'below' if spec.high_open else 'up to'} {_number(spec.high)}"
    return " ".join(["use", noun, *filter(None, [low, high])])


def _did_you_mean(cls: type[Knobs], path: str) -> str:
    close = difflib.get_close_matches(path, [spec.path for spec in cls.specs()], n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else "; see the list of settings with --help"


def _number(value: float) -> str:
    """Written out: 1,000,000 and not 1e+06."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

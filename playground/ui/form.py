"""Controls derived from the declared knobs: one control per knob, its id the knob's path with dashes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import gradio as gr

from models.knobs import Problem, Spec
from playground.config.run import RunConfig

SPECS: list[Spec] = RunConfig.specs()
AUTOMATIC = "none"
_BY_PATH = {spec.path: spec for spec in SPECS}
# Names that no sentence has by chance, such as n_embd.
_LABELS = {name: spec.knob.label for spec in SPECS if "_" in (name := spec.path.rpartition(".")[2])}
_NAMES = re.compile(rf"\b({'|'.join(map(re.escape, _LABELS))})\b")
Control = gr.Dropdown | gr.Radio | gr.Checkbox | gr.Textbox | gr.Slider | gr.Number


def groups() -> dict[str, list[Spec]]:
    """The knobs that sit in closed sections, by section."""
    found: dict[str, list[Spec]] = {}
    for spec in SPECS:
        if not spec.knob.open:
            found.setdefault(spec.knob.group, []).append(spec)
    return found


def dropdown(spec: Spec, value: Any, choices: Iterable[tuple[str, str]]) -> gr.Dropdown:
    """The control for a knob whose values are known here alone."""
    return gr.Dropdown(list(choices), value=shown_value(spec, value), **_words(spec))


def control(spec: Spec, value: Any) -> Control:
    """The control for a knob. It does not enforce bounds: the config checks them and says what is wrong."""
    words, shown = _words(spec), shown_value(spec, value)
    if spec.kind == "choice":
        pairs = [(spec.label_of(choice), choice) for choice in spec.choices]
        pairs = [(spec.knob.none_means, AUTOMATIC), *pairs] if spec.optional else pairs
        return gr.Radio(pairs, value=shown, **words) if len(pairs) <= 3 else gr.Dropdown(pairs, value=shown, **words)
    if spec.kind == "bool":
        if spec.optional:
            return gr.Radio([(spec.knob.none_means, AUTOMATIC), ("on", "true"), ("off", "false")], value=shown, **words)
        return gr.Checkbox(value=shown, **words)
    if spec.kind == "text":
        return gr.Textbox(value=shown, placeholder=spec.knob.none_means or None, max_lines=4, max_length=spec.max_length, **words)
    if spec.knob.slider and not spec.optional:
        low, high = spec.knob.slider
        return gr.Slider(low, high, value=shown, step=spec.knob.step or (1 if spec.kind == "int" else 0.01), buttons=[], **words)
    if spec.optional:  # a number box cannot be empty from the start
        return gr.Textbox(value=shown, placeholder=spec.knob.none_means, max_lines=1, max_length=30, **words)
    return gr.Number(value=shown, step=1 if spec.kind == "int" else 0.0001, buttons=[], **words)


def _words(spec: Spec) -> dict[str, Any]:
    return {"label": label(spec), "info": hint(spec), "elem_id": spec.elem_id, "interactive": True}


def label(spec: Spec) -> str:
    return f"{spec.knob.label} ({spec.knob.unit})" if spec.knob.unit else spec.knob.label


def hint(spec: Spec) -> str:
    """One or two sentences under the control, with the paper where there is one."""
    empty = f" Empty: {spec.knob.none_means}." if spec.optional and spec.kind in ("int", "float", "text") else ""
    paper = f" {spec.knob.paper}." if spec.knob.paper else ""
    return spec.knob.help + empty + paper


def shown_value(spec: Spec, value: Any) -> Any:
    """A config's value as its control shows it."""
    if spec.optional and spec.kind in ("bool", "choice"):
        return AUTOMATIC if value is None else str(value).lower()
    if spec.kind == "text" or spec.optional:
        return "" if value is None else str(value)
    return value


def shown_problem(problem: Problem) -> dict[str, str]:
    """A problem as the page shows it: beside which control, and with the names that the controls have."""
    spec = _BY_PATH.get(problem.path)
    message = _NAMES.sub(lambda found: _LABELS[found[0]], problem.message)
    label = problem.path if spec is None else spec.knob.label
    return {"id": problem.path.replace(".", "-"), "path": problem.path, "label": label, "message": message}


def read(values: Iterable[Any]) -> dict[str, Any]:
    """The values of the controls, in the order of SPECS, as a flat config for `parse`."""
    flat = {}
    for spec, value in zip(SPECS, values, strict=True):
        if value is None and not spec.optional:
            value = ""
        flat[spec.path] = value
    return flat

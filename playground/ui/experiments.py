"""The Experiments tab: ready ones, one's own, and what those that were begun have found. Its panel fetches what it shows by itself."""

from __future__ import annotations

import math
from itertools import count
from typing import Any

import gradio as gr

from models.knobs import ConfigError, Problem, differences, flat, nested, parse
from playground.config import experiment as documents
from playground.config.experiment import Experiment
from playground.config.gallery import DOCUMENTS
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.runs.creation import check_early
from playground.runs.store import StoreBusy
from playground.ui import form
from playground.ui.common import EVENT, Services, preset_of, refusals_as_toasts, run_of
from playground.ui.design import Design
from playground.ui.panel import Panel
from playground.ui.runs import opened
from playground.web import experiments
from playground.workers.admission import CannotDo
from playground.workers.director import RUN, STOP


class Experiments:
    """Builds the tab and owns its handlers. The panel's value says what to show next: `{"open": ID}`, `{"draft": document}`, or what was
    `checked` of a draft; each with a number of its own, so that the same can be said twice."""

    def __init__(self, services: Services):
        self.services, self._numbers = services, count(1)

    def build(self) -> None:
        self.panel = Panel("experiments", {"knobs": _knobs()}, events=("act",), elem_id="experiments")

    def wire(self, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs, design: Design) -> None:
        self.panel.act(self.act, visitor, [self.panel, wire, tabs], **EVENT)
        design.picture.vary(self.vary, [design.preset, *design.controls], [self.panel, tabs], **EVENT)

    def act(self, kept: object, event: gr.EventData) -> list:
        """Do what a button of the panel asks for: `do` is start or check (with a `document`), steer (`id`,
        `wanted`), delete (`id`) or look (`run`, in the `tab` play or inside)."""
        asked = event._data if isinstance(event._data, dict) else {}
        what = asked.get("do")
        if what == "check":
            return [self.say(checked=self._checked(asked)), gr.skip(), gr.skip()]
        with refusals_as_toasts():
            who = self.services.visitor(kept)
            if what == "start":
                document = documents.read(asked.get("document"))
                return [self.say(open=self.services.supervisor.submit_experiment(document, who)), gr.skip(), gr.skip()]
            if what == "delete":
                self.services.supervisor.delete_experiment(str(asked.get("id"))[:100], who)
                return [self.say(all=True), gr.skip(), gr.skip()]
            if what == "steer" and asked.get("wanted") in (RUN, STOP):
                self.services.supervisor.steer_experiment(str(asked.get("id"))[:100], who, asked["wanted"])
                return [gr.skip(), gr.skip(), gr.skip()]
            if what == "look":
                return [gr.skip(), opened(self.services.access.run(run_of(asked), who), who), gr.Tabs(selected=_tab(asked))]
            raise CannotDo("there is no such action")

    def say(self, **told: Any) -> dict[str, Any]:
        """A new value of the panel."""
        return {"knobs": _knobs(), "number": next(self._numbers), **told}

    def named(self, experiment: str) -> dict[str, Any]:
        """The panel's value that shows a ready experiment, or the one with this id."""
        return self.say(ready=experiment) if experiment in DOCUMENTS else self.say(open=experiment[:40])

    def vary(self, event: gr.EventData, preset: str, *values) -> list:
        """Begin an experiment on the setting whose Compare… was pressed, with the design of the form as its base."""
        asked = event._data if isinstance(event._data, dict) else {}
        with refusals_as_toasts():
            return [self.draft(preset, asked.get("knob"), values), gr.Tabs(selected="experiments")]

    def draft(self, preset: str, path: object, values: tuple) -> dict[str, Any]:
        """The panel's value that shows the form of an experiment on one knob."""
        flat_values = form.read(values)
        spec = next((spec for spec in form.SPECS if spec.path == path), None)
        if spec is None or path in documents.NOT_COMPARED:
            raise CannotDo("this setting cannot be a factor of an experiment")
        name = preset_of(preset)
        config = parse(RunConfig, nested(flat_values))
        left_out = documents.NOT_COMPARED | {spec.path}
        changed = {path: value for path, value in differences(config, PRESETS[name].config).items() if path not in left_out}
        values_of = [value for value in _values(spec, flat(config)[spec.path]) if _fits(config, spec.path, value)]
        document = {"preset": name, "changes": changed, "factors": {spec.path: values_of}, "steps": config.train.max_steps}
        return self.say(draft=document | {"label": spec.knob.label})

    def _checked(self, asked: dict) -> dict[str, Any]:
        """What a draft would be, its problems, or what is being done for it until it can be told: data may have to be prepared."""
        number = {"asked": asked.get("asked")}
        try:
            return self._described(documents.read(_document(asked))) | number
        except (ConfigError, CannotDo, StoreBusy, OSError) as error:
            problems = error.problems if isinstance(error, ConfigError) else [Problem("data", str(error))]
            return {"problems": [f"{each.path}: {each.message}" for each in problems]} | number
        except ValueError:  # no arm can be named after such a value, as a number of thousands of digits
            return {"problems": ["these values cannot be used; give numbers, words, on or off"]} | number

    def _described(self, experiment: Experiment) -> dict[str, Any]:
        limits, arms = self.services.limits(), documents.configs_of(experiment)
        for config in arms.values():
            check_early(config, limits)
        # One after the other, so that a draft takes one place in the line for data, not one for each arm.
        each = (self.services.preparing(config.data) for config in arms.values())
        waiting = next((words for words in each if words is not None), None)
        return experiments.described(experiment, limits) if waiting is None else {"waiting": waiting}


def _document(asked: dict) -> Any:
    """The document as typed; where it has factors, with the claims of each arm against the first."""
    document, claims = asked.get("document"), asked.get("claims")
    if not (isinstance(document, dict) and isinstance(claims, dict)):
        return document
    factors = document.get("factors")
    if not (isinstance(factors, dict) and factors and all(isinstance(values, list) and values for values in factors.values())):
        raise ConfigError([Problem("factors", "choose a setting, and at least two values of it")])
    if math.prod(map(len, factors.values())) > documents.MOST_ARMS:
        raise ConfigError([Problem("factors", f"these are more than {documents.MOST_ARMS} arms; leave out some values")])
    return document | {"claims": documents.against_the_first(documents.grid(factors), str(claims.get("kind")), claims.get("delta") or 0)}


def _tab(asked: dict) -> str:
    return "inside" if asked.get("tab") == "inside" else "play"


def _knobs() -> list[dict[str, Any]]:
    """The knobs that can be factors, with the values offered of each."""
    return [
        {"knob": spec.path, "label": spec.knob.label, "group": spec.knob.group, "kind": spec.kind, "choices": list(spec.choices)}
        for spec in form.SPECS
        if spec.path not in documents.NOT_COMPARED
    ]


def _fits(config: RunConfig, path: str, value: Any) -> bool:
    try:
        parse(RunConfig, nested(flat(config) | {path: value}))
    except ConfigError:
        return False
    return True


def _values(spec: Any, now: Any) -> list[Any]:
    """The values to try first: those of a choice or a switch, half and twice the present value of a number."""
    if spec.kind == "bool":
        return [True, False]
    if spec.kind == "choice":
        others = [choice for choice in spec.choices if choice != now]
        return [*([now] if now in spec.choices else []), *others][:6]
    if isinstance(now, int | float) and now:
        return [max(1, now // 2), now, now * 2] if spec.kind == "int" else [now / 2, now, now * 2]
    return [now, 1 if spec.kind == "int" else 0.1]

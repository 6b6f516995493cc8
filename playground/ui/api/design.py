"""Endpoints of a design: what one can begin with, every knob, and what a run would cost or what is wrong with it before it begins."""

import time
from typing import Annotated, TypedDict, cast

from models.config import flops_per_token, n_params
from models.graph import formulas, graph
from models.knobs import ConfigError, Problem, flat, parse
from playground.config import estimate
from playground.config.presets import GROUPS, PRESETS, name_of
from playground.config.run import CompleteRun, RunConfig
from playground.data import dataset
from playground.runs import sampler
from playground.runs.access import Visitor
from playground.runs.creation import check_early, check_fork, checked, collecting
from playground.ui import facts
from playground.ui.api.part import UNCHANGED, Config, Part, Wrong, merged, preset_named, text, told
from playground.workers.admission import NoMemory
from playground.workers.supervisor import PATIENCE_S


class PresetAbout(TypedDict):
    name: Annotated[str, "for the argument preset"]
    title: str
    sentence: Annotated[str, "why one would choose it"]
    group: str


class PresetTold(PresetAbout):
    config: Annotated[Config, "all of it"]


class Schema(TypedDict):
    title: str
    description: str
    type: str
    properties: Annotated[dict, "by section, or by knob: type, bounds, default and meaning"]
    additionalProperties: bool


class PartCost(TypedDict):
    part: Annotated[str, "of the model; all: the whole"]
    n_params: int
    flops_per_token: Annotated[int, "FLOP of a forward pass"]


class Cost(TypedDict):
    n_params: Annotated[int, "parameters"]
    flops_per_token: Annotated[int, "FLOP of training on one token"]
    memory_bytes: Annotated[int, "the most that it takes"]
    seconds: Annotated[float | None, "of training on this machine if nothing else trains; null: not measured yet"]
    trains_on: Annotated[int | None, "tokens or examples; null: as many as its time allows"]
    unit: Annotated[str, "of trains_on: tokens or examples"]
    epochs: Annotated[float | None, "how many times it sees the training data"]
    parts: list[PartCost]


class Data(TypedDict):
    title: str
    kind: Annotated[str, "text or task"]
    unit: Annotated[str, "of the next two: tokens or examples"]
    n_train: int
    n_held_out: int
    vocab_size: Annotated[int, "different tokens"]
    floor: Annotated[float | None, "the best possible held-out loss, in nats per token; null: unknown"]


class Review(TypedDict):
    possible: Annotated[bool, "whether /start_run (or /fork_run) would take it, if there is room in the queue"]
    problems: Annotated[list[Wrong], "everything that is wrong; empty where it is possible"]
    warnings: Annotated[list[str], "what is possible and perhaps not meant"]
    name: Annotated[str, "what it would be called: its preset and what differs"]
    formulas: Annotated[list[str], "a block of the model, a line for each sublayer"]
    cost: Annotated[Cost | None, "null where the design is not possible"]
    data: Annotated[Data | None, "what it would learn from"]


class Designing(Part):
    def presets(self) -> list[PresetAbout]:
        """The presets: architectures and recipes to begin with, and for each task one that learns it and one that cannot.

        Returns:
            In the order in which the page shows them.
        """
        in_order = sorted(PRESETS, key=lambda name: GROUPS.index(PRESETS[name].group))
        return [_about(name) for name in in_order]

    def preset(self, name: str = "default") -> PresetTold:
        """A preset with its whole configuration.

        Args:
            name: One of /presets.

        Returns:
            Its words and its config.
        """
        return {**_about(name), "config": cast(Config, preset_named(name).config.model_dump(mode="json"))}

    def config_schema(self, section: str = "") -> Schema:
        """The JSON schema of a run's config: every knob with type, bounds, default, meaning, unit and paper.

        Args:
            section: model, data, optim, train or probe for that section alone; left out, all (about 30,000 characters).

        Returns:
            A JSON schema without references.
        """
        whole, wanted = RunConfig.model_json_schema(), text(section, "section", 20)
        visible = {spec.path for spec in RunConfig.specs()}
        sections = {}
        for name, found in whole["properties"].items():
            found = whole["$defs"][found["$ref"].rpartition("/")[2]]
            knobs = {knob: schema for knob, schema in found["properties"].items() if f"{name}.{knob}" in visible}
            sections[name] = found | {"properties": knobs}
        if wanted and wanted not in sections:
            raise ConfigError([Problem("section", f"there is no section {wanted!r}; use one of {', '.join(sections)}")])
        if wanted:
            return cast(Schema, sections[wanted])
        return cast(Schema, {name: value for name, value in whole.items() if name != "$defs"} | {"properties": sections})

    def review_run(
        self, config: Config = UNCHANGED, preset: str = "default", run_id: str = "", step: int | None = None, owner_key: str = ""
    ) -> Review:
        """Review a design before it is trained: everything that is wrong with it, what it would cost in parameters, memory and time, and
        what is perhaps not meant. Starts nothing. Refused as underway while its data are being prepared: call it again.

        Args:
            config: What is changed of the preset, by section and knob, as for /start_run.
            preset: The preset to begin with, one of /presets.
            run_id: To fork: the run whose config is changed, and whose weights are taken over, as for /fork_run.
            step: To fork: the step of its checkpoint; left out, the newest.
            owner_key: To fork a private run: its owner's key.

        Returns:
            Problems, warnings and costs.
        """
        visitor, problems, settings = self._visitor(owner_key), list[Problem](), self.services.limits()
        run = self._run(run_id, owner_key) if run_id else None
        base = preset_named(preset).config if run is None else run.config
        asked, complete, name = merged(base.model_dump(), config), None, ""
        with collecting(problems):
            wanted = parse(RunConfig, asked)
            name = name_of(wanted, preset if run is None else run.preset)
            complete = self._checked(wanted, visitor)
            if run is not None:
                at = sampler.parse_step(step)
                check_fork(self.root, run, sampler.newest(self.root, run.id) if at is None else at, complete)
        if complete is None:
            return _refused(problems, name)
        try:
            self.services.supervisor.admission.check_memory(complete, settings)
        except NoMemory as error:
            problems.append(Problem("", str(error)))
        known = dataset.about(complete.data, self.root)
        return {
            "possible": not problems, "problems": told(problems), "name": name, "formulas": formulas(complete.model),
            "warnings": _warnings(complete, known, config), "cost": self._cost(complete, known), "data": _data(known),
        }  # fmt: skip

    def _checked(self, config: RunConfig, visitor: Visitor) -> CompleteRun:
        settings, until = self.services.limits(), time.monotonic() + PATIENCE_S
        check_early(config, settings)
        self.services.prepare(config, visitor, until - time.monotonic())
        return checked(config, settings)

    def _cost(self, config: CompleteRun, known: dataset.About) -> Cost:
        learns = facts.learns(config, known)
        return {
            "n_params": n_params(config.model), "flops_per_token": 3 * flops_per_token(config.model),
            "memory_bytes": estimate.memory_bytes(config), "seconds": facts.seconds(config, self.root),
            "trains_on": learns["total"], "unit": learns["unit"], "epochs": learns["times"],
            "parts": [
                {"part": part, "n_params": params, "flops_per_token": flops} for part, params, flops in facts.by_part(graph(config.model))
            ],
        }  # fmt: skip


def _about(name: str) -> PresetAbout:
    preset = preset_named(name)
    return {"name": name, "title": preset.title, "sentence": preset.sentence, "group": preset.group}


def _refused(problems: list[Problem], name: str) -> Review:
    return {
        "possible": False, "problems": told(problems), "warnings": [], "name": name, "formulas": [], "cost": None, "data": None,
    }  # fmt: skip


def _warnings(config: CompleteRun, known: dataset.About, asked: Config) -> list[str]:
    """What the form says beside its controls: knobs without effect, of those that were named, odd values, and a short text."""
    named = {path.replace(".", "-"): path for path in flat(dict(asked))}
    beside = [each for each in facts.idle(config) if each["id"] in named] + facts.cautions(config)
    said = [f"{each['id'].replace('-', '.', 1)}: {each['message']}" for each in beside]
    return said + ([] if known.is_task else facts.warnings(config, known))


def _data(known: dataset.About) -> Data:
    unit = "examples" if known.is_task else "tokens"
    return {
        "title": known.title, "kind": known.kind, "unit": unit, "n_train": known.n_train, "n_held_out": known.n_held_out,
        "vocab_size": known.vocab_size, "floor": known.floor,
    }  # fmt: skip

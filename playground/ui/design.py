"""The design of a run: architecture, data and training recipe as controls, their picture with size and cost, and the button Train."""

from __future__ import annotations

import gradio as gr

from models.knobs import ConfigError, Problem, differences, flat, nested, parse
from playground.config.presets import PRESETS
from playground.config.run import CompleteRun, RunConfig
from playground.data.config import TASK
from playground.runs.creation import check_early, check_fork, checked
from playground.runs.store import NoSuchRun, Run
from playground.ui import address, form
from playground.ui.common import EVENT, Services, preset_of, refusals_as_toasts
from playground.ui.data import PATHS, SOURCE, DataForm, chosen_preset, source_choices
from playground.ui.facts import facts, searchable, section_id
from playground.ui.panel import Panel

OPEN_ORDER = (
    "model.n_layer", "model.n_head", "model.n_embd", "model.block_size", "model.norm_placement", "model.residual",
    "optim.lr", "optim.warmup_steps", "train.batch_size", "train.max_steps", "data.source",
)  # fmt: skip


FRESH = "new weights", ""
ORIGIN = "origin"


class Design:
    """Builds its two parts of the Play tab and owns its handlers. `controls` follow the order of `form.SPECS`."""

    def __init__(self, services: Services):
        self.services, self.data = services, DataForm(services)
        self.config = PRESETS["default"].config

    def build_recipe(self) -> None:
        """The Train button, which comes first for the keyboard, and a control for each knob: those of OPEN_ORDER, and closed sections."""
        with gr.Column(elem_id="go", min_width=0):
            self.train = gr.Button("Train", variant="primary", elem_id="train")
        values, by_path = flat(self.config), {spec.path: spec for spec in form.SPECS}
        self._made: dict[str, form.Control] = {}
        self.sections: dict[str, gr.Accordion] = {}
        with gr.Column(elem_id="design-form", min_width=0):
            self.preset = gr.Dropdown(
                [(preset.title, name) for name, preset in PRESETS.items()], value="default", label="preset",
                info=PRESETS["default"].sentence, elem_id="preset",
            )  # fmt: skip
            self.gallery = Panel("presets", events=("choose",), elem_id="presets")
            self.origin = gr.Dropdown(
                [FRESH], value="", label="starts from", visible=False, elem_id=ORIGIN,
                info="The weights of a checkpoint are taken over. Change what they allow: rate, schedule, optimizer, dropout, looks.",
            )  # fmt: skip
            with gr.Row(elem_classes="pg-open"):
                for path in OPEN_ORDER:
                    if path == "data.source":
                        self._made[path] = self.source = form.dropdown(by_path[path], values[path], source_choices())
                    else:
                        self._made[path] = form.control(by_path[path], values[path])
            self.data.build(self._section)
            Panel("search", searchable(), elem_id="search")
            for name in [name for name in form.groups() if name not in self.sections]:
                self._section(name)

    def _section(self, name: str) -> None:
        values = flat(self.config)
        with gr.Accordion(name, open=name == TASK, visible=name != TASK, elem_id=section_id(name)) as self.sections[name]:
            for spec in form.groups()[name]:
                self._made[spec.path] = form.control(spec, values[spec.path])

    def build_picture(self) -> None:
        self.picture = Panel("design", events=("again", "vary"), elem_id="picture")
        self.compare = gr.Dropdown(
            [("nothing", ""), *((preset.title, name) for name, preset in PRESETS.items())], value="", label="compare with",
            info="Draws a second architecture beside this one and marks what differs.", elem_id="compare",
        )  # fmt: skip

    def built(self) -> None:
        """To be called when both parts stand."""
        values = flat(self.config)
        self.controls = [self._made[spec.path] for spec in form.SPECS]
        self.picture.value, self.data.panel.value = self.review("default", "", "", *(values[path] for path in PATHS))[:2]
        self.reviewed = [self.preset, self.compare, self.origin, *self.controls]
        self.seen = [self.picture, self.data.panel, *self.sections.values(), self.data.cutting]

    def wire(self, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs) -> None:
        """Connect the events. A choice reviews the whole form; a preset fills it and reviews it once."""
        review = {
            "fn": self.review,
            "inputs": self.reviewed,
            "outputs": self.seen,
            "queue": False,
            "trigger_mode": "always_last",
            **EVENT,
        }
        gr.on([_edited(control) for control in [self.compare, self.origin, *self.controls] if control is not self.source], **review)
        self.picture.again(**review)  # the panel repeats it while the machine's speed is still being measured
        self.preset.select(self.fresh, None, self.origin, queue=False, **EVENT)
        self.preset.select(self.apply_preset, self.preset, [self.preset, *self.controls], **EVENT).then(**review)
        chosen = self.gallery.choose(chosen_preset, None, self.preset, **EVENT)
        chosen.then(self.fresh, None, self.origin, queue=False, **EVENT)
        chosen.then(self.apply_preset, self.preset, [self.preset, *self.controls], **EVENT).then(**review)
        self.data.wire(self.source, self.controls, visitor, review, self.apply_preset, [self.preset, *self.controls])
        self.train.click(self.start, [visitor, self.preset, self.origin, *self.controls], [wire, tabs, self.origin], **EVENT)

    # Handlers.

    def review(self, preset: str, compare: str, origin: object, *values) -> list:
        """Evaluate the form: problems or facts for the picture and the data panel, and the section labels. Never raises."""
        base, labels = PRESETS[preset_of(preset)].config, [gr.skip() for _ in (*self.sections, self.data.cutting)]
        data = gr.skip()
        try:
            config, limits = parse(RunConfig, nested(form.read(values))), self.services.limits()
            data = self.data.missing(config.data.source) or data  # shown where the download has failed
            check_early(config, limits)
            waiting = self.data.progress(config)
            if waiting is not None:
                return [waiting, waiting, *labels]
            config = checked(config, limits)
            self._check_origin(origin, config)
        except (ConfigError, OSError) as error:
            full = [Problem("data.source", f"the data could not be prepared: {error}")]  # a full disk, for example
            problems = error.problems if isinstance(error, ConfigError) else full
            return [{"problems": [_shown(problem) for problem in problems]}, data, *labels]
        known = facts(config, self.services.settings.root, compare) | {"address": address.written(config, preset_of(preset))}
        return [known, known.pop("data"), *self._section_updates(config, differences(config, base))]

    def apply_preset(self, preset: str) -> list:
        """Fill every control from a preset."""
        chosen = PRESETS[preset_of(preset)]
        return [gr.update(info=chosen.sentence), *self.fill(chosen.config)]

    def start_from(self, run: Run, steps: list[int]) -> dict:
        """An update that offers a run's checkpoints as what the next run starts from, the newest chosen."""
        choices = [(f"{run.name}, step {step:,}", f"{run.id}:{step}") for step in reversed(steps)]
        return gr.update(choices=[*choices, FRESH], value=choices[0][1], visible=True)

    def fill(self, config: RunConfig) -> list:
        """Updates that make the controls show a config."""
        values = flat(config)
        updates = [gr.update(value=form.shown_value(spec, values[spec.path])) for spec in form.SPECS]
        updates[SOURCE] = gr.update(choices=source_choices(config.data.source), value=config.data.source)
        return updates

    def start(self, kept: object, preset: str, origin: object, *values) -> list:
        """Queue the run and open it. `origin`: the checkpoint it starts from, RUN:STEP, or empty."""
        parent, step = _origin(origin)
        forked = {} if step is None else {"parent": parent, "parent_step": step}
        with refusals_as_toasts():
            visitor = self.services.visitor(kept)
            run_id = self.services.supervisor.submit(nested(form.read(values)), visitor, preset=preset_of(preset), **forked)
        return [{"run": run_id, "mine": True}, gr.Tabs(selected="play"), self.fresh()]

    def fresh(self) -> dict:
        """An update with which the next run starts from new weights."""
        return gr.update(choices=[FRESH], value="", visible=False)

    # What the handlers use.

    def _check_origin(self, origin: object, config: CompleteRun) -> None:
        """Raises ConfigError where the chosen checkpoint does not fit. Names nothing of its run, which may be private."""
        parent, step = _origin(origin)
        if step is None:
            return
        try:
            run = self.services.db.run(parent)
        except NoSuchRun:
            raise ConfigError([Problem(ORIGIN, "this run is gone; choose new weights")]) from None
        try:
            check_fork(self.services.settings.root, run, step, config, "this checkpoint")
        except ConfigError as error:
            raise ConfigError(Problem(ORIGIN, problem.message) for problem in error.problems) from None

    def _section_updates(self, config: RunConfig, changed: dict) -> list:
        """Label each section with its number of changed settings; show the task section for a task only, the tokenizers for a text only."""
        counts = {name: sum(spec.path in changed for spec in form.groups()[name]) for name in self.sections}
        labels = {name: f"{name} ({count} changed)" if count else name for name, count in counts.items()}
        is_task = config.data.is_task
        updates = [gr.update(label=label, visible=is_task or name != TASK) for name, label in labels.items()]
        return [*updates, gr.update(visible=not is_task)]


def _origin(chosen: object) -> tuple[str, int | None]:
    """The run and the step of RUN:STEP; no step where it is something else."""
    run, _, step = chosen.partition(":") if isinstance(chosen, str) else ("", "", "")
    return run, int(step) if step.isascii() and step.isdigit() and len(step) < 16 else None


def _shown(problem: Problem) -> dict[str, str]:
    return form.shown_problem(problem) | ({"label": "starts from"} if problem.path == ORIGIN else {})


def _edited(control: form.Control):
    """The event to listen to for a person's edits. `input` would miss text pasted into a text box and a typed number that a
    slider clamps to its range, and would report each choice of a dropdown twice."""
    if isinstance(control, gr.Dropdown):
        return control.select
    return control.change if isinstance(control, gr.Textbox | gr.Slider) else control.input

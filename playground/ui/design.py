"""The Design tab: choose an architecture, a text and a recipe; see what they amount to; train."""

from __future__ import annotations

import html
from dataclasses import asdict
from pathlib import Path

import gradio as gr

from models.knobs import ConfigError, differences, flat, nested, parse
from playground.access import Visitor
from playground.config import SOURCES, RunConfig
from playground.data import corpora
from playground.presets import PRESETS
from playground.supervisor import CannotDo, checked
from playground.ui import form
from playground.ui.common import EVENT, Services, preset_of, told
from playground.ui.facts import facts, searchable, section_id
from playground.ui.panel import Panel

OPEN_ORDER = (
    "data.source", "model.n_layer", "model.n_head", "model.n_embd", "model.block_size", "model.norm_placement", "model.residual",
    "optim.lr", "optim.warmup_steps", "train.batch_size", "train.max_steps",
)  # fmt: skip


class Design:
    """Builds the tab and owns its handlers. `controls` follow the order of `form.SPECS`."""

    def __init__(self, services: Services):
        self.services = services
        self.config = PRESETS["default"].config

    def build(self) -> None:
        controls: dict[str, gr.components.Component] = {}
        values = flat(self.config)
        with gr.Row(equal_height=False, elem_id="design"):
            with gr.Column(scale=5, min_width=330, elem_id="design-form"):
                self.preset = gr.Dropdown(
                    [(preset.title, name) for name, preset in PRESETS.items()], value="default", label="preset",
                    info=PRESETS["default"].sentence, elem_id="preset",
                )  # fmt: skip
                with gr.Row(elem_classes="pg-open"):
                    by_path = {spec.path: spec for spec in form.SPECS}
                    for path in OPEN_ORDER:
                        choices = self._source_choices() if path == "data.source" else None
                        controls[path] = form.control(by_path[path], values[path], choices)
                self._build_own_text()
                Panel("search", searchable(), elem_id="search")
                self.sections: dict[str, gr.Accordion] = {}
                for name, specs in form.groups().items():
                    with gr.Accordion(name, open=False, elem_id=section_id(name)) as section:
                        self.sections[name] = section
                        for spec in specs:
                            controls[spec.path] = form.control(spec, values[spec.path])
            with gr.Column(scale=6, min_width=330, elem_id="design-picture"):
                self.picture = Panel(
                    "design", self.review("default", "", *(values[s.path] for s in form.SPECS))[0], events=("again",), elem_id="picture"
                )
                self.train = gr.Button("Train", variant="primary", elem_id="train")
                self.compare = gr.Dropdown(
                    [("nothing", ""), *((preset.title, name) for name, preset in PRESETS.items())], value="", label="compare with",
                    info="Draws a second architecture beside this one and marks what differs.", elem_id="compare",
                )  # fmt: skip
        self.controls = [controls[spec.path] for spec in form.SPECS]
        self.reviewed = [self.preset, self.compare, *self.controls]

    def _build_own_text(self) -> None:
        with gr.Accordion("Your own text", open=False, elem_id="section-own-text"):
            self.upload = gr.UploadButton(
                "Upload a text file", file_types=["text", ".txt", ".md", ".py", ".csv", ".json"], elem_id="upload"
            )
            self.paste = gr.Textbox(
                label="or paste it here", lines=4, max_lines=8, elem_id="paste", placeholder="At least a few thousand characters."
            )
            self.use_paste = gr.Button("Use the pasted text", elem_id="use-paste", size="sm")

    def wire(self, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs) -> None:
        """Connect the events. A choice reviews the whole form; a preset fills it and reviews it once."""
        seen = [self.picture, *self.sections.values()]
        review = {
            "fn": self.review,
            "inputs": self.reviewed,
            "outputs": seen,
            "queue": False,
            "trigger_mode": "always_last",
            **EVENT,
        }
        gr.on([_edited(control) for control in [self.compare, *self.controls]], **review)
        self.picture.again(**review)  # asked for while this machine is still being measured
        self.preset.select(self.apply_preset, self.preset, [self.preset, *self.controls], **EVENT).then(**review)
        source = self.controls[[spec.path for spec in form.SPECS].index("data.source")]
        self.upload.upload(
            self.take_file, self.upload, source, show_progress="minimal", concurrency_limit=None, api_visibility="private"
        ).then(**review)
        self.use_paste.click(self.take_paste, self.paste, source, **EVENT).then(**review)
        self.train.click(self.start, [visitor, self.preset, *self.controls], [wire, tabs], **EVENT)

    # Handlers.

    def review(self, preset: str, compare: str, *values) -> list:
        """What the form amounts to, for the picture and the section labels. Never raises."""
        base = PRESETS[preset_of(preset)].config
        try:
            config = checked(parse(RunConfig, nested(form.read(values))), self.services.settings)
        except ConfigError as error:
            wrong = {"problems": [asdict(problem) | {"id": problem.path.replace(".", "-")} for problem in error.problems]}
            return [wrong, *(gr.skip() for _ in form.groups())]
        return [facts(config, self.services.settings.root, compare), *self._section_labels(differences(config, base))]

    def apply_preset(self, preset: str) -> list:
        """Fill every control from a preset."""
        chosen = PRESETS[preset_of(preset)]
        return [gr.update(info=chosen.sentence), *self.fill(chosen.config)]

    def fill(self, config: RunConfig) -> list:
        """Updates that make the controls show a config."""
        values = flat(config)
        updates = [gr.update(value=form.shown_value(spec, values[spec.path])) for spec in form.SPECS]
        at = [spec.path for spec in form.SPECS].index("data.source")
        updates[at] = gr.update(choices=self._source_choices(config.data.source), value=config.data.source)
        return updates

    def take_file(self, path: str) -> dict:
        """Keep an uploaded text and choose it."""
        with told():
            if not isinstance(path, str):
                raise CannotDo("no file has arrived; choose one again")
            return self._choose(Path(path).read_bytes(), Path(path).name)

    def take_paste(self, text: str) -> dict:
        """Keep a pasted text and choose it."""
        with told():
            return self._choose(str(text or "").encode("utf-8", "surrogatepass"), "pasted text")

    def start(self, visitor: str | None, preset: str, *values) -> list:
        """Queue the run and turn to it."""
        with told():
            run_id = self.services.supervisor.submit(nested(form.read(values)), Visitor.from_key(visitor), preset=preset_of(preset))
        return [{"run": run_id, "mine": True}, gr.Tabs(selected="train")]

    # What the handlers use.

    def _choose(self, data: bytes, name: str) -> dict:
        source = corpora.add_bytes(self.services.settings.root, data, self.services.settings.max_upload_bytes)
        gr.Info(f"Chosen: {html.escape(name)}, {len(data) / 1000:,.1f} kB of text.", duration=4)
        return gr.update(choices=self._source_choices(source, name), value=source)

    def _source_choices(self, chosen: str = "", name: str = "own text") -> list[tuple[str, str]]:
        choices = [(corpora.BUILT_IN[source].title, source) for source in SOURCES]
        if chosen and chosen not in SOURCES:
            choices.append((f"{name[:40]} ({chosen[7:13]})", chosen))
        return choices

    def _section_labels(self, changed: dict) -> list:
        counts = {name: sum(spec.path in changed for spec in specs) for name, specs in form.groups().items()}
        return [gr.update(label=f"{name} ({count} changed)" if count else name) for name, count in counts.items()]


def _edited(control: gr.components.Component):
    """The event of a person's edit. A text box does not report what is pasted as input, a slider not
    that it cut a typed number down to its range, and a dropdown reports each choice twice."""
    if isinstance(control, gr.Dropdown):
        return control.select
    return control.change if isinstance(control, gr.Textbox | gr.Slider) else control.input

"""What the Play tab shows before the first run: questions to begin with, each with a picture of what answers it."""

from __future__ import annotations

from dataclasses import asdict

import gradio as gr

from models.config import ModelConfig
from models.graph import sketch
from models.knobs import flat, nested
from playground.config.experiment import configs_of
from playground.config.gallery import ready
from playground.config.presets import PRESETS
from playground.config.starts import STARTS, Start
from playground.ui.common import EVENT, Services, refusals_as_toasts
from playground.ui.design import Design
from playground.ui.experiments import Experiments
from playground.ui.panel import Panel
from playground.workers.admission import CannotDo

MOST_PICTURES = 2


class StartHere:
    """Builds the cards and owns their handler."""

    def __init__(self, services: Services, design: Design, experiments: Experiments):
        self.services, self.design, self.experiments = services, design, experiments

    def build(self) -> None:
        cards = [card(name, start) for name, start in STARTS.items()]
        self.panel = Panel("start", cards, events=("begin",), elem_id="start")

    def wire(self, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs) -> None:
        design = self.design
        outputs = [wire, tabs, self.experiments.panel, design.preset, *design.controls]
        begun = self.panel.begin(self.begin, visitor, outputs, **EVENT)
        begun.then(design.review, design.reviewed, design.seen, queue=False, **EVENT)

    def begin(self, kept: object, event: gr.EventData) -> list:
        """Train the preset of the card with this `name`, or open its experiment."""
        start = STARTS.get(str(event._data.get("name")) if isinstance(event._data, dict) else "")
        with refusals_as_toasts():
            if start is None:
                raise CannotDo("there is no such card")
            controls = [gr.skip() for _ in self.design.controls]
            if start.experiment:
                return [gr.skip(), gr.Tabs(selected="experiments"), self.experiments.named(start.experiment), gr.skip(), *controls]
            config = PRESETS[start.preset].config
            run_id = self.services.supervisor.submit(nested(flat(config)), self.services.visitor(kept), preset=start.preset)
        opened = gr.Tabs(selected="inside") if start.view else gr.skip()
        return [{"run": run_id, "mine": True}, opened, gr.skip(), start.preset, *self.design.fill(config)]


def card(name: str, start: Start) -> dict:
    """What the page draws of a start: its words, and the architectures that it is about."""
    models = [PRESETS[start.preset].config.model] if start.preset else _models(start.experiment)
    graphs = [asdict(sketch(model)) for model in models]
    different = [each for i, each in enumerate(graphs) if each not in graphs[:i]]
    about = {"name": name, "question": start.question, "sentence": start.sentence, "view": start.view}
    return about | {"opens": "experiment" if start.experiment else "run", "graphs": different[:MOST_PICTURES]}


def _models(experiment: str) -> list[ModelConfig]:
    return [config.model for config in configs_of(ready()[experiment].quick).values()]

"""What the Play tab shows before the first run: questions to begin with, each with a picture of what answers it."""

from __future__ import annotations

from dataclasses import asdict

import gradio as gr

from models.config import ModelConfig
from models.graph import sketch
from models.knobs import flat, nested
from playground.config.experiment import Experiment, configs_of
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
        """Train the preset of the card with this `name`, or begin its experiment with the `answer` that was chosen."""
        asked = event._data if isinstance(event._data, dict) else {}
        start = STARTS.get(str(asked.get("name")))
        with refusals_as_toasts():
            who = self.services.visitor(kept)
            if start is None:
                raise CannotDo("there is no such card")
            if start.experiment:
                begun = self.services.supervisor.submit_experiment(_predicted(start, asked.get("answer")), who)
                unchanged = [gr.skip() for _ in self.design.controls]
                return [gr.skip(), gr.Tabs(selected="experiments"), self.experiments.say(open=begun), gr.skip(), *unchanged]
            config = PRESETS[start.preset].config
            run_id = self.services.supervisor.submit(nested(flat(config)), who, preset=start.preset)
        opened = gr.Tabs(selected="inside") if start.view else gr.skip()
        return [{"run": run_id, "mine": True}, opened, gr.skip(), start.preset, *self.design.fill(config)]


def _predicted(start: Start, answer: object) -> Experiment:
    """The card's experiment with what the person expects of it, which may be nothing."""
    prediction = start.answers.get(answer) if isinstance(answer, str) else None
    return ready()[start.experiment].quick.model_copy(update={"prediction": prediction})


def card(name: str, start: Start) -> dict:
    """What the page draws of a start: its words, and the architectures that it is about."""
    models = [PRESETS[start.preset].config.model] if start.preset else _models(start.experiment)
    graphs = [asdict(sketch(model)) for model in models]
    different = [each for i, each in enumerate(graphs) if each not in graphs[:i]]
    about = {"name": name, "question": start.question, "sentence": start.sentence, "view": start.view}
    return about | {"answers": list(start.answers), "graphs": different[:MOST_PICTURES]}


def _models(experiment: str) -> list[ModelConfig]:
    return [config.model for config in configs_of(ready()[experiment].quick).values()]

"""The Inside tab: every attention head of the open run on a text of one's choice."""

from __future__ import annotations

import gradio as gr

from playground import sampler, store
from playground.access import Visitor
from playground.live import attention_dict
from playground.supervisor import CannotDo
from playground.ui.common import EVENT, Services, run_of, told
from playground.ui.panel import Panel


class Inside:
    """Builds the tab and owns its handlers."""

    def __init__(self, services: Services):
        self.services = services

    def build(self) -> None:
        with gr.Row(equal_height=True, elem_id="probe-row"):
            self.text = gr.Textbox(
                label="probe text", lines=1, max_lines=3, max_length=2000, scale=6, min_width=240, elem_id="probe-text",
                placeholder="Leave it to the run, or write your own sentence",
                info="The text on which the heads are shown, up to 64 tokens. The owner of a training run changes what it records; "
                "everybody else gets an answer from the newest checkpoint.",
            )  # fmt: skip
            self.use = gr.Button("Look at this text", scale=1, min_width=140, size="sm", elem_id="use-probe")
        self.panel = Panel("heads", elem_id="heads")

    def wire(self, visitor: gr.BrowserState, wire: Panel) -> None:
        for event in (self.use.click, self.text.submit):
            event(self.look, [visitor, wire, self.text], self.panel, **EVENT)

    def look(self, visitor: str | None, wire: object, text: str) -> dict | None:
        """The owner's run looks at the text from now on; for everybody else it is computed once, from a checkpoint."""
        with told():
            run_id, who, text = run_of(wire), Visitor.from_key(visitor), str(text or "")[:2000]
            if not text:
                return {"run": run_id}
            run = self.services.db.run(run_id)
            if who.owns(run) and run.state in store.WAITING:
                self.services.supervisor.set_probe_text(run_id, who, text)
                return {"run": run_id}
            if not sampler.steps(self.services.settings.root, run_id):
                raise CannotDo("this run has no checkpoint yet; try again when it has taken its first steps")
            step, tokens, maps = sampler.attention(self.services.settings.root, run_id, None, text)
            return {"run": run_id, "own": attention_dict(step, tokens, maps)}

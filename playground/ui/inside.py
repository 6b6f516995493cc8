"""The Inside tab: attention, activations and gradients in the open run's model, part by part, at any step."""

from __future__ import annotations

import gradio as gr

from playground.config.run import MAX_PROBE_TEXT
from playground.runs import lookup, store
from playground.ui.common import EVENT, Services, refusals_as_toasts, run_of
from playground.ui.panel import Panel, calls


class Inside:
    """Builds the tab and owns its handlers. The panel fetches its data itself."""

    def __init__(self, services: Services):
        self.services = services

    def build(self) -> None:
        self.panel = Panel("inside", elem_id="inside")
        with gr.Row(equal_height=True, elem_id="probe-row"):
            self.text = gr.Textbox(
                label="probe text", lines=1, max_lines=3, max_length=MAX_PROBE_TEXT, scale=6, min_width=240, elem_id="probe-text",
                placeholder="Leave it to the run, or write your own sentence",
                info="Everything here is measured on this text, up to 64 tokens. Your own run records the new text from now on, and its "
                "checkpoints are measured again; in other people's runs only you see it, measured on the checkpoints.",
            )  # fmt: skip
            self.use = gr.Button("Look at this text", scale=1, min_width=140, size="sm", elem_id="use-probe")

    def wire(self, visitor: gr.BrowserState, wire: Panel) -> None:
        for event in (self.use.click, self.text.submit):
            looked = event(self.look, [visitor, wire, self.text], None, js=calls("lookAt"), **EVENT)
            looked.then(None, None, None, js=calls("lookAgain"), api_visibility="private")  # the reprobing has begun: poll its progress

    def look(self, kept: object, wire: object, text: str) -> None:
        """For the owner: the run probes this text from now on, and its checkpoints are probed again in the background."""
        with refusals_as_toasts():
            run_id, who, text = run_of(wire), self.services.visitor(kept), str(text or "")[:MAX_PROBE_TEXT]
            run = self.services.access.run(run_id, who)
            if not text or not who.owns(run):
                return
            self.services.supervisor.set_probe_text(run_id, who, text)
            if run.state != store.QUEUED:
                root, db, run_later = self.services.settings.root, self.services.db, self.services.computing.run
                again = ("reprobe", run_id, text)

                def wanted() -> bool:
                    return db.run(run_id).probe_text == text

                self.services.reprobing.forget(again)  # it may have ended early because another text was wanted
                do = lambda report: lookup.reprobe(root, run_id, text, report, wanted, run_later)  # noqa: E731
                self.services.reprobing.go(again, do, 0.0, who.address)

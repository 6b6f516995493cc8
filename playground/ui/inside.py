"""The Inside tab: what goes on in the open run's model, part by part, at any step."""

from __future__ import annotations

import gradio as gr

from playground.config.run import MAX_PROBE_TEXT
from playground.runs import lookup, store
from playground.ui.common import EVENT, Services, run_of, told
from playground.ui.panel import Panel, calls


class Inside:
    """Builds the tab and owns its handlers. What is shown is fetched by the panel itself."""

    def __init__(self, services: Services):
        self.services = services

    def build(self) -> None:
        self.panel = Panel("inside", elem_id="inside")
        with gr.Row(equal_height=True, elem_id="probe-row"):
            self.text = gr.Textbox(
                label="probe text", lines=1, max_lines=3, max_length=MAX_PROBE_TEXT, scale=6, min_width=240, elem_id="probe-text",
                placeholder="Leave it to the run, or write your own sentence",
                info="The text on which everything here is measured, up to 64 tokens. The owner changes what the run records, and its "
                "checkpoints are looked at again; everybody else gets an answer of their own from the checkpoints.",
            )  # fmt: skip
            self.use = gr.Button("Look at this text", scale=1, min_width=140, size="sm", elem_id="use-probe")

    def wire(self, visitor: gr.BrowserState, wire: Panel) -> None:
        for event in (self.use.click, self.text.submit):
            looked = event(self.look, [visitor, wire, self.text], None, js=calls("lookAt"), **EVENT)
            looked.then(None, None, None, js=calls("lookAgain"), api_visibility="private")  # by now the work it began can be asked about

    def look(self, kept: object, wire: object, text: str) -> None:
        """The owner's run records the text from now on, and its checkpoints are looked at once more in the background."""
        with told():
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

                self.services.errands.forget(again)  # one that gave up when another text was wanted
                self.services.errands.go(again, lambda report: lookup.reprobe(root, run_id, text, report, wanted, run_later), patience_s=0)

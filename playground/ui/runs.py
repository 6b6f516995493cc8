"""The Runs tab: every run with its state and best loss; compare, rename, delete, resume, continue, download."""

from __future__ import annotations

import gradio as gr

from playground.runs import sampler, store
from playground.runs.access import Visitor
from playground.runs.folder import RunFolder
from playground.ui.common import EVENT, Services, refusals_as_toasts, run_of
from playground.ui.design import Design
from playground.ui.panel import Panel, calls
from playground.web.status import knobs_of_the_list
from playground.workers.admission import CannotDo


class Runs:
    """Builds the tab and owns its handlers. The value of the table is the chosen run."""

    def __init__(self, services: Services):
        self.services = services

    def build(self) -> None:
        self.table = Panel("runs", {"run": None, "knobs": knobs_of_the_list()}, events=("pick", "clear"), elem_id="runs-table")
        with gr.Column(elem_id="runs-chosen", min_width=0):
            with gr.Row(elem_id="runs-actions"):
                self.open = gr.Button("Open", elem_id="run-open", size="sm")
                self.resume = gr.Button("Resume this run", elem_id="run-resume", size="sm")
                self.further = gr.Button("Train further", elem_id="run-further", size="sm")
                self.fork = gr.Button("Change and go on", elem_id="run-fork", size="sm")
                self.copy = gr.Button("Copy configuration to Play", elem_id="run-copy", size="sm")
                self.hide = gr.Button("Make private", elem_id="run-private", size="sm")
                self.delete = gr.Button("Delete", variant="stop", elem_id="run-delete", size="sm")
            with gr.Row(elem_id="runs-name"):
                self.name = gr.Textbox(
                    label="new name",
                    show_label=False,
                    placeholder="a new name",
                    max_lines=1,
                    max_length=80,
                    scale=4,
                    elem_id="run-name",
                    container=False,
                )
                self.rename = gr.Button("Rename", scale=1, size="sm", elem_id="run-rename")
        Panel("ticked", elem_id="runs-ticked")

    def wire(self, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs, design: Design) -> None:
        chosen = [visitor, self.table]
        for event in (self.open.click, self.table.pick):
            event(self.open_run, chosen, [wire, tabs], **EVENT)
        self.resume.click(self.resume_run, chosen, [wire, tabs], **EVENT)
        self.further.click(self.continue_run, chosen, [wire, tabs], **EVENT)
        self.wire_copy(self.copy, chosen, tabs, design)
        self.fork.click(self.fork_run, chosen, [tabs, design.preset, design.origin, *design.controls], **EVENT).then(
            design.review, design.reviewed, design.seen, queue=False, **EVENT
        )
        self.rename.click(self.rename_run, [*chosen, self.name], self.name, **EVENT)
        self.hide.click(self.set_private, chosen, None, **EVENT)
        self.table.clear(self.delete_offered, visitor, None, **EVENT)
        self.delete.click(
            self.delete_run, [*chosen, wire], wire,
            js=calls("confirmDelete"), **EVENT,
        )  # fmt: skip

    def wire_copy(self, button: gr.Button, chosen: list, tabs: gr.Tabs, design: Design) -> None:
        """Make the button fill the recipe with the chosen run's config."""
        filled = button.click(self.copy_config, chosen, [tabs, design.preset, *design.controls], **EVENT)
        filled.then(design.review, design.reviewed, design.seen, queue=False, **EVENT)
        button.click(design.fresh, None, design.origin, queue=False, **EVENT)

    def open_run(self, kept: object, table: object) -> list:
        with refusals_as_toasts():
            return [self._opened(chosen_of(table), kept), gr.Tabs(selected="play")]

    def resume_run(self, kept: object, table: object) -> list:
        with refusals_as_toasts():
            run_id = chosen_of(table)
            self.services.supervisor.resume(run_id, self.services.visitor(kept))
            return [self._opened(run_id, kept), gr.Tabs(selected="play")]

    def continue_run(self, kept: object, table: object) -> list:
        with refusals_as_toasts():
            run_id = self.services.supervisor.continue_run(chosen_of(table), self.services.visitor(kept))
            return [self._opened(run_id, kept), gr.Tabs(selected="play")]

    def copy_config(self, kept: object, table: object) -> list:
        with refusals_as_toasts():
            run = self.services.access.run(chosen_of(table), self.services.visitor(kept))
            config = RunFolder(self.services.settings.root, run.id).read_config()
        design = Design(self.services)
        return [gr.Tabs(selected="play"), gr.update(value=run.preset or "default"), *design.fill(config)]

    def fork_run(self, kept: object, table: object) -> list:
        """Fill the recipe with a run's config and its checkpoints as what the next run starts from."""
        with refusals_as_toasts():
            run = self.services.access.run(chosen_of(table), self.services.visitor(kept))
            steps = sampler.steps(self.services.settings.root, run.id)
            if not steps:
                raise CannotDo("this run has no checkpoint yet; try again when it has taken its first steps")
        tab, preset, *controls = self.copy_config(kept, table)
        return [tab, preset, Design(self.services).start_from(run, steps), *controls]

    def rename_run(self, kept: object, table: object, name: str) -> str:
        with refusals_as_toasts():
            self.services.supervisor.rename(chosen_of(table), self.services.visitor(kept), str(name or ""))
        return ""

    def set_private(self, kept: object, table: object) -> None:
        """Make a public run private, or a private one public."""
        with refusals_as_toasts():
            private = bool(table.get("private")) if isinstance(table, dict) else False
            self.services.supervisor.set_private(chosen_of(table), self.services.visitor(kept), not private)
        gr.Info("Everybody sees the run now." if private else "Only you and the host see the run now.", duration=4)

    def delete_offered(self, kept: object, event: gr.EventData) -> None:
        """Delete the runs that were proposed for deletion, after their owner has confirmed."""
        runs = event._data.get("runs") if isinstance(event._data, dict) else None
        with refusals_as_toasts():
            for run_id in runs if isinstance(runs, list) else []:
                self.services.supervisor.delete(str(run_id), self.services.visitor(kept))

    def delete_run(self, kept: object, table: object, wire: object) -> dict:
        """Delete the chosen run. The browser asks for confirmation first and sends `kept` where it was refused."""
        if isinstance(table, dict) and table.get("kept"):
            return gr.skip()
        with refusals_as_toasts():
            run_id = chosen_of(table)
            self.services.supervisor.delete(run_id, self.services.visitor(kept))
        return {"run": None, "mine": False} if isinstance(wire, dict) and wire.get("run") == run_id else gr.skip()

    def _opened(self, run_id: str, kept: object) -> dict:
        visitor = self.services.visitor(kept)
        return opened(self.services.access.run(run_id, visitor), visitor)


def chosen_of(table: object) -> str:
    """The run that is chosen in the table; raises CannotDo where there is none."""
    return run_of(table, "choose a run in the table first")


def opened(run: store.Run, visitor: Visitor) -> dict:
    """What the page stores about its open run."""
    return {"run": run.id, "mine": visitor.owns(run)}

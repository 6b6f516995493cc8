"""The Runs tab: every run with its state and best loss; compare, rename, delete, resume, continue, download."""

from __future__ import annotations

import gradio as gr

from playground import store
from playground.access import Visitor
from playground.runs import RunFolder
from playground.ui.common import EVENT, Services, run_of, told
from playground.ui.design import Design
from playground.ui.panel import Panel


class Runs:
    """Builds the tab and owns its handlers. The table's value says which run is chosen."""

    def __init__(self, services: Services):
        self.services = services

    def build(self) -> None:
        self.table = Panel("runs", {"run": None}, events=("pick",), elem_id="runs-table")
        with gr.Row(elem_id="runs-actions"):
            self.open = gr.Button("Open", elem_id="run-open", size="sm")
            self.resume = gr.Button("Resume this run", elem_id="run-resume", size="sm")
            self.further = gr.Button("Train further", elem_id="run-further", size="sm")
            self.copy = gr.Button("Copy configuration to Design", elem_id="run-copy", size="sm")
            self.delete = gr.Button("Delete", variant="stop", elem_id="run-delete", size="sm")
        with gr.Row(elem_id="runs-name"):
            self.name = gr.Textbox(
                label="new name", max_lines=1, max_length=80, scale=4, elem_id="run-name", info="Shown everywhere instead of the old one."
            )
            self.rename = gr.Button("Rename", scale=1, size="sm", elem_id="run-rename")

    def wire(self, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs, design: Design) -> None:
        chosen = [visitor, self.table]
        for event in (self.open.click, self.table.pick):
            event(self.open_run, chosen, [wire, tabs], **EVENT)
        self.resume.click(self.resume_run, chosen, [wire, tabs], **EVENT)
        self.further.click(self.continue_run, chosen, [wire, tabs], **EVENT)
        filled = self.copy.click(self.copy_config, self.table, [tabs, design.preset, *design.controls], **EVENT)
        filled.then(design.review, design.reviewed, design.seen, queue=False, **EVENT)
        self.rename.click(self.rename_run, [*chosen, self.name], self.name, **EVENT)
        self.delete.click(
            self.delete_run, [*chosen, wire], wire,
            js="(visitor, table, wire) => [visitor, window.playground.confirmDelete(table), wire]", **EVENT,
        )  # fmt: skip

    def open_run(self, visitor: str | None, table: object) -> list:
        with told():
            run = self.services.db.run(chosen_of(table))
            return [opened(run, visitor), gr.Tabs(selected="train")]

    def resume_run(self, visitor: str | None, table: object) -> list:
        with told():
            run_id = chosen_of(table)
            self.services.supervisor.resume(run_id, Visitor.from_key(visitor))
            return [opened(self.services.db.run(run_id), visitor), gr.Tabs(selected="train")]

    def continue_run(self, visitor: str | None, table: object) -> list:
        with told():
            run_id = self.services.supervisor.continue_run(chosen_of(table), Visitor.from_key(visitor))
            return [opened(self.services.db.run(run_id), visitor), gr.Tabs(selected="train")]

    def copy_config(self, table: object) -> list:
        with told():
            run = self.services.db.run(chosen_of(table))
            config = RunFolder(self.services.settings.root, run.id).read_config()
        design = Design(self.services)
        return [gr.Tabs(selected="design"), gr.update(value=run.preset or "default"), *design.fill(config)]

    def rename_run(self, visitor: str | None, table: object, name: str) -> str:
        with told():
            self.services.supervisor.rename(chosen_of(table), Visitor.from_key(visitor), str(name or ""))
        return ""

    def delete_run(self, visitor: str | None, table: object, wire: object) -> dict:
        """The browser asks first, and sends no run where the answer was no."""
        if isinstance(table, dict) and table.get("kept"):
            return gr.skip()
        with told():
            run_id = chosen_of(table)
            self.services.supervisor.delete(run_id, Visitor.from_key(visitor))
        return {"run": None, "mine": False} if isinstance(wire, dict) and wire.get("run") == run_id else gr.skip()


def chosen_of(table: object) -> str:
    """The run that is chosen in the table; raises CannotDo where there is none."""
    return run_of(table, "choose a run in the table first")


def opened(run: store.Run, visitor: str | None) -> dict:
    """What the page keeps of the run that is open in it."""
    return {"run": run.id, "mine": Visitor.from_key(visitor).owns(run)}

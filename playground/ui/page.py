"""The page: a bar that shows the open run, five tabs, and what is wired between them."""

from __future__ import annotations

import gradio as gr

from playground.access import Visitor
from playground.live import ASSETS
from playground.store import NoSuchRun
from playground.ui import api, train
from playground.ui.blocks import Blocks
from playground.ui.common import EVENT, Services, run_of, told
from playground.ui.design import Design
from playground.ui.inside import Inside
from playground.ui.panel import Panel
from playground.ui.runs import Runs, opened
from playground.ui.sample import Sample

# The key that obfuscates what the browser keeps is in the page's source in any case; a fixed one
# lets the browser read its own secret again after the app has restarted.
STORAGE_KEY, STORAGE_SECRET = "gpt-playground-visitor", "gpt-playground-1"
NEW_SECRET = "(v) => v || Array.from(crypto.getRandomValues(new Uint8Array(24)), b => b.toString(16).padStart(2, '0')).join('')"
COPY_LINK = "(wire) => window.playground.copyLink(wire)"


def build(services: Services) -> gr.Blocks:
    """The whole app, not yet launched."""
    with Blocks(title="GPT playground", fill_width=True, analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        api.build(services)  # first: its names are promised, those of the page's own handlers are not
        visitor = gr.BrowserState(None, storage_key=STORAGE_KEY, secret=STORAGE_SECRET)
        wire = Panel("wire", {"run": None, "mine": False}, visible="hidden", elem_id="wire")
        buttons = _bar()
        design, inside, sample, runs = Design(services), Inside(services), Sample(services), Runs(services)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Design", id="design"):
                design.build()
            with gr.Tab("Train", id="train"):
                train.build()
            with gr.Tab("Inside", id="inside"):
                inside.build()
            with gr.Tab("Sample", id="sample") as sample_tab:
                sample.build()
            with gr.Tab("Runs", id="runs"):
                runs.build()
        design.wire(visitor, wire, tabs)
        inside.wire(visitor, wire)
        sample.wire(wire, sample_tab)
        runs.wire(visitor, wire, tabs, design)
        _wire_bar(services, buttons, visitor, wire)
        _wire_load(services, page, visitor, wire, tabs)
    return page


def theme() -> gr.themes.Base:
    """System fonts only: nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    ).set(body_text_color_subdued="*neutral_500", block_info_text_color="*neutral_500", block_info_text_color_dark="*neutral_400")


def css() -> str:
    return (ASSETS / "page.css").read_text()


def _bar() -> dict[str, gr.Button]:
    with gr.Row(elem_id="bar"):
        Panel("status", elem_id="status")
        with gr.Row(elem_id="bar-buttons"):
            return {
                name: gr.Button(name, size="sm", min_width=80, elem_id=name.lower().replace(" ", "-"))
                for name in ("Pause", "Resume", "Stop", "Copy link")
            }


def _wire_bar(services: Services, buttons: dict[str, gr.Button], visitor: gr.BrowserState, wire: Panel) -> None:
    def steer(name: str):
        method = getattr(services.supervisor, name.lower())

        def handle(visitor_key: str | None, open_run: object) -> None:
            with told():
                method(run_of(open_run), Visitor.from_key(visitor_key))

        return handle

    for name in ("Pause", "Resume", "Stop"):
        buttons[name].click(steer(name), [visitor, wire], None, **EVENT)
    buttons["Copy link"].click(None, wire, None, js=COPY_LINK, api_visibility="private")


def _wire_load(services: Services, page: gr.Blocks, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs) -> None:
    def open_from_address(visitor_key: str | None, request: gr.Request) -> list:
        """`?run=ID` opens that run for whoever has the link."""
        run_id = request.query_params.get("run")
        if not run_id:
            return [gr.skip(), gr.skip()]
        try:
            run = services.db.run(run_id)
        except NoSuchRun:
            return [{"run": None, "mine": False, "missing": run_id[:40]}, gr.skip()]
        return [opened(run, visitor_key), gr.Tabs(selected="train")]

    page.load(None, visitor, visitor, js=NEW_SECRET, api_visibility="private").then(open_from_address, visitor, [wire, tabs], **EVENT)

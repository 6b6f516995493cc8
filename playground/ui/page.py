"""The page: the bar with the open run, the tabs, and the events that connect them."""

from __future__ import annotations

import html

import gradio as gr
from gradio import themes

from models.knobs import ConfigError
from playground.runs.access import Visitor
from playground.runs.store import NoSuchRun, Run
from playground.ui import address, api, play
from playground.ui.blocks import Blocks
from playground.ui.common import EVENT, Services, preset_of, refusals_as_toasts, run_of
from playground.ui.design import Design
from playground.ui.experiments import Experiments
from playground.ui.host import HostTab
from playground.ui.inside import Inside
from playground.ui.panel import Panel, calls
from playground.ui.runs import Runs, opened
from playground.ui.sample import Sample
from playground.ui.start import StartHere
from playground.ui.you import You
from playground.web.assets import assets

# Gradio obfuscates what the browser keeps with a secret that is in the page's source in any case. A fixed one
# lets the browser read its own key again after the app has restarted.
STORAGE_KEY, STORAGE_SECRET = "gpt-playground-visitor", "gpt-playground-1"
# In a page of its own, because Gradio drops what stands behind the # of an address where it opens the API's.
API_LINK = '<a href="?view=api" target="_blank" rel="noopener">API for programs and agents</a>'
TABS = ("play", "inside", "sample", "experiments", "runs", "host")


def build(services: Services) -> Blocks:
    """Build the whole page; it is not launched yet."""
    with Blocks(title="GPT playground", fill_width=True, analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        api.build(services)  # first, so that the endpoints get their documented names, also where a handler of the page has the same
        visitor = gr.BrowserState(None, storage_key=STORAGE_KEY, secret=STORAGE_SECRET)
        wire = Panel("wire", {"run": None, "mine": False}, visible="hidden", elem_id="wire")
        you, experiments = You(services), Experiments(services)
        host = HostTab(services, experiments)
        buttons = _bar(you)
        design, inside, sample, runs = Design(services), Inside(services), Sample(services), Runs(services)
        start = StartHere(services, design, experiments)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Play", id="play"):
                play.build(design, start)
            with gr.Tab("Inside", id="inside"):
                inside.build()
            with gr.Tab("Sample", id="sample") as sample_tab:
                sample.build()
            with gr.Tab("Experiments", id="experiments"):
                experiments.build()
            with gr.Tab("Runs", id="runs"):
                runs.build()
            with gr.Tab("Host", id="host", visible=False) as host_tab:
                host.build()
        gr.HTML(API_LINK, elem_id="api-link")
        design.wire(visitor, wire, tabs)
        inside.wire(visitor, wire)
        sample.wire(visitor, wire, sample_tab)
        runs.wire(visitor, wire, tabs, design)
        experiments.wire(visitor, wire, tabs, design)
        start.wire(visitor, wire, tabs)
        you.wire(visitor)
        host.wire(visitor, wire, tabs)
        _wire_bar(services, buttons, visitor, wire)
        runs.wire_copy(buttons["Copy configuration"], [visitor, wire], tabs, design)
        _wire_load(services, page, visitor, wire, tabs, you.panel, host_tab, experiments, design)
    return page


def theme() -> themes.Base:
    """System fonts only: nothing is fetched from elsewhere."""
    return themes.Base(
        primary_hue=themes.colors.blue,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    ).set(
        body_text_color_subdued="*neutral_500",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        color_accent="*primary_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
    )


def css() -> str:
    return assets().text("page.css")


def _bar(you: You) -> dict[str, gr.Button]:
    with gr.Row(elem_id="bar"):
        Panel("status", elem_id="status")
        with gr.Row(elem_id="bar-buttons"):
            buttons = {
                name: gr.Button(name, size="sm", min_width=80, elem_id=name.lower().replace(" ", "-"))
                for name in ("Pause", "Resume", "Stop", "Copy configuration", "Copy link")
            }
            you.build()
    return buttons


def _wire_bar(services: Services, buttons: dict[str, gr.Button], visitor: gr.BrowserState, wire: Panel) -> None:
    def steer(name: str):
        method = getattr(services.supervisor, name.lower())

        def handle(kept: object, open_run: object) -> None:
            with refusals_as_toasts():
                method(run_of(open_run), services.visitor(kept))

        return handle

    for name in ("Pause", "Resume", "Stop"):
        buttons[name].click(steer(name), [visitor, wire], None, **EVENT)
    buttons["Copy link"].click(None, wire, None, js=calls("copyLink"), api_visibility="private")


def _wire_load(
    services: Services, page: gr.Blocks, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs, you: Panel, host_tab: gr.Tab,
    experiments: Experiments, design: Design,
) -> None:  # fmt: skip
    def greet(kept: object, asked: object, request: gr.Request) -> list:
        """Open what the address names: the run of `?run=ID`, if the visitor may see it, or the experiment of `?experiment=ID`; the design
        and the tab after `#` (`asked`), or the open run's design. Show the Host tab to the host."""
        who, asked = services.visitor(kept), asked if isinstance(asked, dict) else {}
        others = any(owner != who.id for owner in services.db.last_starts())
        about = {"name": services.db.names().get(who.id, ""), "host": who.is_host, "others": others}
        rest = [about, gr.Tab(visible=True) if who.is_host else gr.skip()]
        run_id, experiment = request.query_params.get("run"), request.query_params.get("experiment")
        if experiment:
            return [gr.skip(), gr.Tabs(selected="experiments"), *rest, experiments.named(experiment), *_designed(services, design, asked)]
        tab = _tab_of(asked, who)
        if not run_id:
            return [gr.skip(), tab, *rest, gr.skip(), *_designed(services, design, asked)]
        try:
            run = services.access.run(run_id, who)
        except NoSuchRun:
            missing = {"run": None, "mine": False, "missing": run_id[:40]}
            return [missing, tab, *rest, gr.skip(), *_designed(services, design, asked)]
        return [opened(run, who), tab, *rest, gr.skip(), *_designed(services, design, asked, run)]

    identified = page.load(None, visitor, visitor, js=calls("identify"), api_visibility="private")
    outputs = [wire, tabs, you, host_tab, experiments.panel, design.preset, *design.controls]
    greeted = identified.then(greet, [visitor, wire], outputs, js=calls("arrive"), **EVENT)
    greeted.then(design.review, design.reviewed, design.seen, queue=False, **EVENT)


def _tab_of(asked: dict, who: Visitor) -> gr.Tabs | dict:
    known = TABS if who.is_host else TABS[:-1]
    return gr.Tabs(selected=asked["tab"]) if asked.get("tab") in known else gr.skip()


def _designed(services: Services, design: Design, asked: dict, run: Run | None = None) -> list:
    """What fills the recipe: the design in the address, or else that of the run that is opened."""
    nothing = [gr.skip() for _ in (design.preset, *design.controls)]
    text = asked.get("design")
    if not (isinstance(text, str) and text):
        config = None if run is None else run.readable_config
        return nothing if config is None or run is None else [preset_of(run.preset), *design.fill(config)]
    try:
        preset, config, unknown = address.read(text)
    except ConfigError as error:
        gr.Warning(html.escape(f"The design in the address cannot be: {error}"))
        return nothing
    if unknown:
        gr.Warning(html.escape(f"The design in the address names what is not known here: {', '.join(unknown)[:200]}."))
    return [preset, *design.fill(config)]

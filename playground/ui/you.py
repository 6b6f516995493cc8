"""The visitor's identity: the name that others see beside their runs, and the owner key, to use the runs from another browser too."""

from __future__ import annotations

import gradio as gr

from playground.ui.common import EVENT, Services, refusals_as_toasts
from playground.ui.panel import Panel, calls


class You:
    """Builds the panel in the bar and owns its handlers. The owner key is shown by the browser, which alone keeps it."""

    def __init__(self, services: Services):
        self.services = services

    def build(self) -> None:
        self.panel = Panel("you", {}, events=("name", "rekey"), elem_id="you")

    def wire(self, visitor: gr.BrowserState) -> None:
        self.panel.name(self.name, visitor, self.panel, **EVENT)
        self.panel.rekey(None, None, visitor, js=calls("rekeyed"), api_visibility="private").then(
            None, None, None, js=calls("reloadSoon"), api_visibility="private"
        )

    def name(self, kept: object, event: gr.EventData) -> dict:
        """Store the typed name; an empty one removes it."""
        typed = event._data.get("name") if isinstance(event._data, dict) else ""
        with refusals_as_toasts():
            who = self.services.visitor(kept)
            return {"name": self.services.access.call(who, typed or ""), "host": who.is_host}

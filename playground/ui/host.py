"""The Host tab: a wall of everyone's runs and what only the host may do. It is there for whoever holds the host's token."""

from __future__ import annotations

import gradio as gr

from playground.hosting import Host
from playground.supervisor import CannotDo
from playground.ui.common import EVENT, Services, run_of, told
from playground.ui.panel import Panel
from playground.ui.runs import opened


class HostTab:
    """Builds the tab and owns its one handler, which refuses everybody else. What is shown the panel fetches itself."""

    def __init__(self, services: Services):
        self.services, self.host = services, Host(services.supervisor)

    def build(self) -> None:
        self.panel = Panel("host", {}, events=("act",), elem_id="host-wall")

    def wire(self, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs) -> None:
        self.panel.act(self.act, visitor, [wire, tabs], **EVENT)

    def act(self, kept: object, event: gr.EventData) -> list:
        """Do what was pressed: `do` names it, `run` is the run it is about, `limits` what was typed."""
        asked = event._data if isinstance(event._data, dict) else {}
        with told():
            who = self.services.visitor(kept)
            who.must_be_host()
            if asked.get("do") == "open":
                return [opened(self.services.access.run(run_of(asked), who), who), gr.Tabs(selected="train")]
            gr.Info(self._done(asked, who), duration=4)
        return [gr.skip(), gr.skip()]

    def _done(self, asked: dict, who) -> str:
        """Do it, and say what was done. Raises CannotDo for what is not on offer."""
        supervisor, host = self.services.supervisor, self.host
        match asked.get("do"):
            case "pause":
                supervisor.pause(run_of(asked), who)
                return "The run pauses."
            case "stop":
                supervisor.stop(run_of(asked), who)
                return "The run stops."
            case "resume":
                supervisor.resume(run_of(asked), who)
                return "The run goes on."
            case "remove":
                supervisor.delete(run_of(asked), who)
                return "The run is removed."
            case "pause_all":
                return f"{_runs(host.pause_all(who))} paused."
            case "resume_all":
                return f"{_runs(host.resume_all(who))} resumed."
            case "clear_idle":
                return f"{_runs(host.clear_idle(who))} paused that nobody looked at."
            case "limits":
                host.set_limits(who, asked.get("limits") if isinstance(asked.get("limits"), dict) else {})
                return "The limits are set; they hold from now on."
        raise CannotDo("there is nothing like this to do")


def _runs(n: int) -> str:
    return "1 run is" if n == 1 else f"{n:,} runs are"

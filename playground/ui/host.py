"""The Host tab: everyone's runs, and the actions that only the host may do. Shown only to visitors with the host's token."""

from __future__ import annotations

import gradio as gr

from playground.runs.access import Visitor
from playground.ui.common import EVENT, Services, refusals_as_toasts, run_of
from playground.ui.experiments import Experiments
from playground.ui.panel import Panel
from playground.ui.runs import opened
from playground.web.hosting import Host
from playground.workers.admission import CannotDo
from playground.workers.director import RUN, STOP


class HostTab:
    """Builds the tab and owns its one handler, which refuses everybody but the host. The panel fetches its data itself."""

    def __init__(self, services: Services, experiments: Experiments):
        self.services, self.host, self.experiments = services, Host(services.supervisor), experiments

    def build(self) -> None:
        self.panel = Panel("host", {}, events=("act",), elem_id="host-wall")

    def wire(self, visitor: gr.BrowserState, wire: Panel, tabs: gr.Tabs) -> None:
        self.panel.act(self.act, visitor, [wire, self.experiments.panel, tabs], **EVENT)

    def act(self, kept: object, event: gr.EventData) -> list:
        """Do the action of a pressed button: `do` names it, `run` or `experiment` is what it is done to, `limits` as typed."""
        asked = event._data if isinstance(event._data, dict) else {}
        with refusals_as_toasts():
            who = self.services.visitor(kept)
            who.must_be_host()
            if asked.get("do") == "open":
                return [opened(self.services.access.run(run_of(asked), who), who), gr.skip(), gr.Tabs(selected="play")]
            if asked.get("do") == "open_experiment":
                return [gr.skip(), self.experiments.say(open=_experiment_of(asked)), gr.Tabs(selected="experiments")]
            gr.Info(self._done(asked, who), duration=4)
        return [gr.skip(), gr.skip(), gr.skip()]

    def _done(self, asked: dict, who: Visitor) -> str:
        """Do the action; returns a message that says what was done. Raises CannotDo for an unknown action."""
        supervisor, host, what = self.services.supervisor, self.host, asked.get("do")
        to_one = {
            "pause": (supervisor.pause, "The run pauses."), "resume": (supervisor.resume, "The run goes on."),
            "stop": (supervisor.stop, "The run stops."), "remove": (supervisor.delete, "The run is removed."),
        }  # fmt: skip
        to_all = {
            "pause_all": (host.pause_all, "paused"), "resume_all": (host.resume_all, "resumed"),
            "clear_idle": (host.clear_idle, "paused because nobody looked at them"),
        }  # fmt: skip
        if what == "limits":
            limits = asked.get("limits")
            host.set_limits(who, limits if isinstance(limits, dict) else {})
            return "The limits are set; they hold from now on."
        if what == "clear_address":
            return f"{_runs(host.clear_address(who, str(asked.get('address'))[:60]))} stopped."
        if what in ("stop_experiment", "go_on_experiment"):
            supervisor.steer_experiment(_experiment_of(asked), who, STOP if what == "stop_experiment" else RUN)
            return f"The experiment {'stops' if what == 'stop_experiment' else 'goes on'}."
        if isinstance(what, str) and what in to_one:
            act, said = to_one[what]
            act(run_of(asked), who)
            return said
        if isinstance(what, str) and what in to_all:
            act, said = to_all[what]
            return f"{_runs(act(who))} {said}."
        raise CannotDo("there is no such action")


def _experiment_of(asked: dict) -> str:
    return str(asked.get("experiment"))[:40]


def _runs(n: int) -> str:
    return "1 run is" if n == 1 else f"{n:,} runs are"

"""Queues the runs of experiments that the app trains: one of each waits at a time, so that an experiment takes turns with everybody.

Asked by the supervisor now and then. What is missing follows from the store, so an app that was restarted goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from models.knobs import ConfigError
from playground.config.experiment import Plan
from playground.config.settings import Settings
from playground.runs import experiments, store
from playground.runs.access import Visitor
from playground.runs.store import Experiment, Store
from playground.workers.admission import CannotDo

EVERY_S = 1.0
RUN, STOP = "run", "stop"

Submit = Callable[..., str]  # `Supervisor.submit`


class Director:
    """`held`: by experiment, why its next run could not be queued; tried again each time."""

    def __init__(self, db: Store, submit: Submit, clock: Callable[[], float] = time.monotonic):
        self.db, self.submit, self.clock = db, submit, clock
        self.held: dict[str, str] = {}
        self._plans: dict[str, Plan] = {}
        self._asked_at = float("-inf")

    def direct(self, settings: Settings) -> None:
        """Queue the next run of each experiment of which none waits."""
        if self.clock() - self._asked_at < EVERY_S:
            return
        self._asked_at = self.clock()
        wanted = [each for each in self.db.experiments() if each.wanted == RUN]
        waiting = {run.id for run in self.db.runs_in([store.QUEUED])} if wanted else set()
        for each in wanted:
            if not waiting & self.db.members(each.id).keys():
                self._queue_next(each, settings)

    def _queue_next(self, experiment: Experiment, settings: Settings) -> None:
        try:
            plan = self._plans.get(experiment.id) or experiments.planned(experiments.read(self.db, experiment.id), settings)
            self._plans[experiment.id] = plan
            following = next(iter(experiments.missing(self.db, experiment.id, plan)), None)
            if following is not None:
                about = experiments.about_run(experiment.id, following, plan)
                self.submit(following.config, Visitor(experiment.owner), **about)
            self.held.pop(experiment.id, None)
        except (CannotDo, ConfigError, OSError) as error:  # a full queue or disk, or data that are gone: perhaps not for long
            self.held[experiment.id] = str(error)

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
from playground.runs.experiments import Plans
from playground.runs.store import Experiment, Run, Store
from playground.training.outcome import Cause
from playground.workers.admission import CannotDo

EVERY_S = 1.0
RUN, STOP, DONE = "run", "stop", "done"
MOST_TURNS = 4  # how many times a run whose worker dies is begun

Submit = Callable[..., str]  # `Supervisor.submit`
Resume = Callable[[str, Visitor], None]  # `Supervisor.resume`
Halt = Callable[[str, Visitor], None]  # `Supervisor.halt_runs`


class Director:
    """`threads`: of each run, the same for all, because arms are compared. `held`: by experiment, why its next run could not be queued;
    tried again each time."""

    def __init__(
        self, db: Store, submit: Submit, resume: Resume, halt: Halt, plans: Plans, threads: int,
        clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        self.db, self.submit, self.resume, self.halt = db, submit, resume, halt
        self.plans, self.threads, self.clock = plans, threads, clock
        self.held: dict[str, str] = {}
        self._asked_at = float("-inf")

    def direct(self) -> None:
        """Queue the next run of each experiment of which none waits."""
        if self.clock() - self._asked_at < EVERY_S:
            return
        self._asked_at = self.clock()
        wanted = [each for each in self.db.experiments() if each.wanted == RUN]
        waiting = {run.id for run in self.db.runs_in([store.QUEUED])} if wanted else set()
        for each in wanted:
            if not waiting & self.db.members(each.id).keys():
                self._queue_next(each)

    def _queue_next(self, experiment: Experiment) -> None:
        try:
            self._go_on(experiment, self.plans.of(experiment.id))
            self.held.pop(experiment.id, None)
        except (CannotDo, ConfigError, KeyError, OSError) as error:  # a full queue or disk, or data that are gone: perhaps not for long
            self.held[experiment.id] = str(error)

    def _go_on(self, experiment: Experiment, plan: Plan) -> None:
        """Queue a run that was cut off, or else the next one; end what is decided. Raises CannotDo where a run was halted by somebody, or
        has failed."""
        runs = self.db.runs_of(experiment.id)
        cut_off = [run for run in runs if _goes_on(run)]
        halted = [run for run in runs if run.state in store.RESUMABLE and not _goes_on(run)]
        if halted and not cut_off:  # before all that takes longer: it may stay so for days
            raise CannotDo(f"{halted[0].name!r} is {halted[0].state} ({halted[0].reason}); stop the experiment and let it go on")
        if experiments.is_decided(self.db, experiment.id, plan):
            self.db.want_experiment(experiment.id, DONE)
            self.halt(experiment.id, Visitor(experiment.owner))
            return
        if cut_off:
            self.resume(cut_off[0].id, Visitor(experiment.owner))
            return
        following = next(iter(experiments.missing(self.db, experiment.id, plan)), None)
        if following is not None and self.db.experiment(experiment.id).wanted == RUN:  # perhaps it was stopped a moment ago
            about = experiments.about_run(self.db, experiment.id, following, plan)
            self.submit(following.config, Visitor(experiment.owner), threads=self.threads, **about)
        elif following is None and all(run.state in experiments.ENDED for run in runs):
            self.db.want_experiment(experiment.id, DONE)


def _goes_on(run: Run) -> bool:
    """Whether a run goes on by itself: it was stopped together with its experiment, or its worker has died, and not again and again."""
    stopped = run.state == store.STOPPED and run.cause == Cause.EXPERIMENT
    return stopped or (run.state == store.INTERRUPTED and run.generation < MOST_TURNS)


def threads_each(settings: Settings) -> int:
    """Threads of each run of an experiment, so that as many runs train at once as may: two small ones with a thread each are quicker than
    one after the other with two."""
    return max(1, settings.n_cpus // settings.max_running)

"""Actions of the host on everyone's runs and on the limits. Every method raises NotAllowed for anybody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.knobs import ConfigError, Problem
from playground.config.settings import LIMITS, SettingsError, read_limit
from playground.runs import store
from playground.runs.access import HOST, Visitor
from playground.runs.store import Run
from playground.training.outcome import Cause
from playground.workers.admission import CannotDo, at_address
from playground.workers.supervisor import Supervisor

IDLE_S = 60.0
FOR_ALL = "paused by the host, with all the others"


class Host:
    """One per app, beside its supervisor."""

    def __init__(self, supervisor: Supervisor):
        self.supervisor, self.db, self.audience = supervisor, supervisor.db, supervisor.audience

    def pause_all(self, visitor: Visitor) -> int:
        """Pause every run that trains or waits, with a checkpoint; returns how many."""
        visitor.must_be_host()
        return self._each(self.db.runs_in(store.IN_PROGRESS), lambda run: self.supervisor.pause(run.id, visitor, FOR_ALL, Cause.HOST_ALL))

    def resume_all(self, visitor: Visitor) -> int:
        """Resume the runs that `pause_all` has paused; returns how many."""
        visitor.must_be_host()
        paused = [run for run in self.db.runs_in([store.PAUSED]) if run.cause == Cause.HOST_ALL]
        return self._each(paused, lambda run: self.supervisor.resume(run.id, visitor))

    def clear_idle(self, visitor: Visitor) -> int:
        """Pause the runs that train or wait and that nobody has looked at for `IDLE_S`, except the host's own; returns how many."""
        visitor.must_be_host()
        waiting = [run for run in self.db.runs_in(store.IN_PROGRESS) if run.owner != HOST.id and self.audience.unseen_s(run.id) > IDLE_S]
        why = "paused by the host because nobody looked at it; resume it to go on"
        return self._each(waiting, lambda run: self.supervisor.pause(run.id, visitor, why, Cause.HOST_IDLE))

    def clear_address(self, visitor: Visitor, address: str) -> int:
        """Stop every run that trains or waits and whose owner came from this network address last; returns how many."""
        visitor.must_be_host()
        theirs = at_address(self.db.runs_in(store.IN_PROGRESS), self.supervisor.admission.addresses, address)
        # Waiting runs first, or they would start in the place of those that end.
        theirs.sort(key=lambda run: run.state != store.QUEUED)
        return self._each(theirs, lambda run: self.supervisor.stop(run.id, visitor))

    def set_limits(self, visitor: Visitor, typed: Mapping[str, object]) -> None:
        """Change limits from typed text, all of them or none; empty means no limit. Raises ConfigError with every problem."""
        visitor.must_be_host()
        values, problems = {}, []
        for name, text in typed.items():
            if name not in LIMITS:
                problems.append(Problem(str(name)[:60], f"there is no such limit; use one of {', '.join(LIMITS)}"))
                continue
            try:
                values[name] = read_limit(name, str(text)[:60], LIMITS[name].label)
            except SettingsError as error:
                problems += error.problems
        highest = self.supervisor.settings.max_upload_bytes
        if (values.get("max_upload_bytes") or 0) > highest:
            label = LIMITS["max_upload_bytes"].label
            problems.append(Problem(label, f"the app was started for at most {highest:,} bytes; PLAYGROUND_MAX_UPLOAD_BYTES allows more"))
        if problems:
            raise ConfigError(problems)
        for name, value in values.items():
            self.db.set_limit(name, value)

    def _each(self, runs: list[Run], do: Callable[[Run], object]) -> int:
        """Apply `do` to each run and count successes; runs that have ended meanwhile are skipped."""
        done = 0
        for run in runs:
            try:
                do(run)
                done += 1
            except (CannotDo, store.NoSuchRun):
                continue
        return done

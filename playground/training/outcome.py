"""How a run ends: what is reported of it, and the code of its cause. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from playground.system.files import publish


class Cause(StrEnum):
    """Why a run is in its state, or is asked to leave it. Programs decide by it; the words that stand beside it are for people."""

    NONE = ""

    OWNER = "owner"  # its owner has paused or stopped it
    HOST = "host"  # the host has paused or stopped it by itself
    HOST_ALL = "host_all"  # the host has paused it together with all others
    HOST_IDLE = "host_idle"  # the host has paused it because nobody looked at it
    IDLE = "idle"  # nobody looked at it for longer than the limit
    TIME = "time"  # it has trained for longer than the limit
    TURN = "turn"  # it waits again because others do
    ROOM = "room"  # it waits until memory is free
    EXPERIMENT = "experiment"  # it was stopped together with its experiment, and goes on with it

    STEPS = "steps"  # all steps of its config are done
    SECONDS = "seconds"  # all training time of its config is used
    DIVERGED = "diverged"  # a loss or a weight is no finite number

    SIGNAL = "signal"  # its process was asked to end
    KILLED = "killed"  # its process was killed, as systems do when memory runs out
    DIED = "died"  # its process ended otherwise, or it is not known how
    UNRECORDED = "unrecorded"  # its process could not record how the run ended
    HUNG = "hung"  # its process showed no sign of work and was ended
    NOT_STARTED = "not_started"  # no process could be started, or it did not get to work

    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"  # the files of the run may not be written any more
    MEMORY = "memory"  # the process was refused more memory
    ERROR = "error"  # anything else that was raised; the words and the log say what

    @classmethod
    def _missing_(cls, value: object) -> Cause:
        """Unknown codes become NONE: a worker may be of another version than the app."""
        return cls.NONE


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `state` is finished, paused, stopped or diverged, or queued where it goes on at its next turn; `cause` is for
    programs and `reason` for people.

    Losses in nats per token: `eval_loss` on the held-out sample, `val_loss` on the whole held-out split, once at the end. Of `seconds`,
    `recording_s` went into probes, samples and recording, `validation_s` and `checkpoint_s` likewise, and `final_validation_s` after them
    into the whole held-out split; `probing_s` is that of the `n_probes` probes alone. `looking_cpu_s` is what `recording_s` is, in
    seconds of computing (all threads together), out of `cpu_s`.
    """

    state: str
    cause: Cause
    reason: str
    step: int
    seconds: float
    train_loss: float | None
    val_loss: float | None
    tokens_per_s: float = 0.0
    eval_loss: float | None = None
    recording_s: float = 0.0
    validation_s: float = 0.0
    final_validation_s: float = 0.0
    checkpoint_s: float = 0.0
    probing_s: float = 0.0
    n_probes: int = 0
    looking_cpu_s: float = 0.0
    cpu_s: float = 0.0

    def publish(self, path: Path) -> None:
        """Write it as one JSON object, NaN and infinity as Python's json does. Raises OSError."""
        publish(path, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """Raises OSError where there is no such file."""
        fields = json.loads(path.read_text())
        return cls(**fields | {"cause": Cause(fields["cause"])})

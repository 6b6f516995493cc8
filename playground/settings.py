"""What the host of a playground decides, read from the environment once, at the start.

Never changes what a given config computes; contract of names: PLAYGROUND_*.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.knobs import ConfigError, Problem


class SettingsError(ConfigError):
    """Environment variables whose values cannot be used; names every one."""


@dataclass(frozen=True)
class Settings:
    """Limits of one installation. Sizes in bytes. Those of a person are None where they are the machine's own.

    `heartbeat_s`: a worker that has shown no sign of work for so long is taken to hang.
    """

    root: Path
    max_running: int = 2
    max_running_each: int | None = None
    max_queued: int = 50
    max_queued_each: int | None = None
    max_params: int = 50_000_000
    max_block_size: int = 4096
    max_steps: int = 1_000_000
    max_upload_bytes: int = 20_000_000
    hub: bool = True
    heartbeat_s: float = 120.0
    nice: int = 10
    n_cpus: int = 2


def n_cpus() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_root(environ: Mapping[str, str], explicit: str | None = None) -> Path:
    """`--root`, else PLAYGROUND_ROOT, else /data on Spaces where it is writable, else ./runs."""
    if explicit:
        return Path(explicit).expanduser().absolute()
    if environ.get("PLAYGROUND_ROOT"):
        return Path(environ["PLAYGROUND_ROOT"]).expanduser().absolute()
    if environ.get("SPACE_ID") and os.access("/data", os.W_OK):
        return Path("/data")
    return Path("runs").absolute()


def from_environment(environ: Mapping[str, str] = os.environ, root: str | None = None) -> Settings:
    """Read every PLAYGROUND_* limit; raises SettingsError naming all bad ones."""
    cores, problems = n_cpus(), []

    def whole(name: str, default: int | None, low: int) -> int | None:
        text = environ.get(name, "").strip()
        if not text:
            return default
        if not re.fullmatch("[0-9]{1,15}", text) or int(text) < low:
            problems.append(Problem(name, f"{text[:60]!r} is not possible; use a whole number from {low} up"))
            return default
        return int(text)

    settings = Settings(
        root=find_root(environ, root),
        max_running=whole("PLAYGROUND_MAX_RUNNING", max(2, cores // 2), low=1),
        max_running_each=whole("PLAYGROUND_MAX_RUNNING_EACH", None, low=1),
        max_queued=whole("PLAYGROUND_MAX_QUEUED", 50, low=0),
        max_queued_each=whole("PLAYGROUND_MAX_QUEUED_EACH", None, low=0),
        max_params=whole("PLAYGROUND_MAX_PARAMS", 50_000_000, low=1),
        max_block_size=whole("PLAYGROUND_MAX_BLOCK_SIZE", 4096, low=1),
        max_steps=whole("PLAYGROUND_MAX_STEPS", 1_000_000, low=1),
        max_upload_bytes=whole("PLAYGROUND_MAX_UPLOAD_BYTES", 20_000_000, low=1),
        hub=whole("PLAYGROUND_HUB", 1, low=0) > 0,
        heartbeat_s=whole("PLAYGROUND_HEARTBEAT_S", 120, low=10),
        n_cpus=cores,
    )
    if problems:
        raise SettingsError(problems)
    return settings


def calm_threads(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which torch's idle threads soon go to sleep instead of spinning.

    By default they spin for milliseconds between two matrix products, which beside another process that computes
    was seen to cost nine tenths of the speed and more. So many turns bridge the gap to the next product, and so a
    run that is alone keeps its speed; with a fifth of them it was slower by a sixth, and quicker by a half beside
    another. Takes effect where it is set before torch is imported.
    """
    return {"GOMP_SPINCOUNT": "5000", **environ}

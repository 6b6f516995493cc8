"""What the host of a playground decides: read from the environment once, and changed in the Host tab.

Never changes what a given config computes; contract of names: PLAYGROUND_*.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from models.knobs import ConfigError, Problem
from playground.system.cores import n_cpus

TOKEN = "PLAYGROUND_HOST_TOKEN"
SHORTEST_TOKEN = 12


class SettingsError(ConfigError):
    """Values that cannot be used as limits; names every one."""


@dataclass(frozen=True)
class Limit:
    """A whole number that the host sets: `low` is the least that makes sense; `label`, `unit` and `help` are for people.
    An `optional` one may be left out, which means no limit beside the machine's own."""

    low: int
    label: str
    unit: str
    help: str
    optional: bool


def limit(default: int | None, low: int, label: str, unit: str, help: str, optional: bool | None = None) -> Any:
    optional = default is None if optional is None else optional
    return field(default=default, metadata={"limit": Limit(low, label, unit, help, optional)})


@dataclass(frozen=True)
class Settings:
    """One installation. Limits of one person apply to everybody but the host, limits of a run to all runs of the page."""

    root: Path
    max_running: int = limit(2, 1, "runs that train at the same time", "runs", "Two, or half the cores if that is more.")
    max_running_each: int | None = limit(
        None, 1, "runs of one person that train at the same time", "runs", "Left out: as many as may train in all."
    )
    max_queued: int = limit(50, 0, "runs that may wait", "runs", "Runs beyond it are refused, to be started again later.")
    max_queued_each: int | None = limit(None, 0, "runs of one person that may wait", "runs", "Left out: as many as may wait in all.")
    max_queued_address: int | None = limit(
        None, 1, "runs from one address that take others' places", "runs",
        "One address may fill the queue, but for people elsewhere only so many of its runs count. Left out: half of those that may wait.",
    )  # fmt: skip
    max_new_address: int | None = limit(
        60, 1, "new people from one address in an hour", "people", "A person is new with their first run.", optional=True
    )
    max_turn_seconds: int | None = limit(
        300, 10, "training in one go while others wait", "s",
        "After it a run saves a checkpoint and queues again; at its next turn it resumes exactly.", optional=True,
    )  # fmt: skip
    max_seconds: int | None = limit(None, 1, "training of one run", "s", "A run that reaches it is stopped with a checkpoint.")
    max_idle_seconds: int | None = limit(
        None, 30, "training that nobody looks at", "s", "After it the run is paused with a checkpoint; its owner can resume it."
    )
    max_params: int = limit(50_000_000, 1, "parameters of one model", "parameters", "The weights take four bytes for each.")
    max_block_size: int = limit(4096, 1, "context of one model", "tokens", "The memory of attention grows with its square.")
    max_steps: int = limit(1_000_000, 1, "steps of one run", "steps", "Checked in the config, before the run starts.")
    max_memory_percent: int = limit(
        80, 10, "memory that all runs together may take", "%",
        "Of what is free without them. A run estimated to need more is refused; one that must wait for memory waits in the queue.",
    )  # fmt: skip
    max_upload_bytes: int = limit(20_000_000, 1, "size of one uploaded text", "bytes", "Also applies to a text from the Hub.")
    max_disk_each: int | None = limit(
        None, 1_000_000, "disk for the runs and texts of one person", "bytes",
        "Over it, old probes are thinned and old runs offered for deletion. Left out: a quarter of the disk for everything.",
    )  # fmt: skip
    max_disk: int | None = limit(
        None, 1_000_000, "disk for everything", "bytes", "Over it, nobody can start another run. Left out: nine tenths of what was free."
    )
    heartbeat_s: int = limit(120, 10, "silence after which a worker is taken to hang", "s", "It is ended, and its run is interrupted.")
    hub: bool = True
    hosts: tuple[str, ...] = ()  # names beside those of this machine under which the page may be asked for; "*": any
    framed_by: tuple[str, ...] = ()  # origins whose pages may show this one in a frame
    proxies: int = 0  # reverse proxies in front, each of which adds the address of whoever it serves to X-Forwarded-For
    nice: int = 10
    n_cpus: int = 2

    @property
    def running_each(self) -> int:
        """Runs of one person that may train at the same time."""
        return self.max_running if self.max_running_each is None else self.max_running_each

    @property
    def queued_address(self) -> int:
        """Runs from one address that wait and count for people at other addresses."""
        return max(1, self.max_queued // 2) if self.max_queued_address is None else self.max_queued_address

    def with_limits(self, changed: Mapping[str, int | None]) -> Settings:
        """A copy with the limits that the Host tab has changed; unknown names are ignored."""
        return replace(self, **{name: value for name, value in changed.items() if name in LIMITS})


LIMITS: dict[str, Limit] = {each.name: each.metadata["limit"] for each in fields(Settings) if "limit" in each.metadata}


def read_limit(name: str, text: str, called: str) -> int | None:
    """A limit as a person typed it; empty text is no limit, where it is optional. Raises SettingsError with the least value."""
    about, text = LIMITS[name], text.strip()
    if about.optional and (not text or (text == "0" and about.low > 0)):
        return None
    if not re.fullmatch("[0-9]{1,15}", text) or int(text) < about.low:
        or_none = ", or 0 for no limit" if about.optional and about.low > 0 else ""
        raise SettingsError([Problem(called, f"{text[:60]!r} is not possible; use a whole number from {about.low:,} up{or_none}")])
    return int(text)


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
    changed: dict[str, int | None] = {"max_running": max(2, cores // 2)}
    for name in LIMITS:
        text = environ.get(f"PLAYGROUND_{name.upper()}", "").strip()
        if text:
            try:
                changed[name] = read_limit(name, text, f"PLAYGROUND_{name.upper()}")
            except SettingsError as error:
                problems += error.problems
    hub = environ.get("PLAYGROUND_HUB", "").strip() or "1"
    if hub not in ("0", "1"):
        problems.append(Problem("PLAYGROUND_HUB", f"{hub[:60]!r} is not possible; use 0 or 1"))
    token = environ.get(TOKEN, "").strip()
    if token and not re.fullmatch(rf"[A-Za-z0-9_-]{{{SHORTEST_TOKEN},100}}", token):
        problems.append(Problem(TOKEN, f"a token has {SHORTEST_TOKEN} to 100 of the characters A-Z, a-z, 0-9, _ and -"))
    hosts = tuple(name.strip().lower() for name in environ.get("PLAYGROUND_HOSTS", "").split(",") if name.strip())
    for name in hosts:
        if not re.fullmatch(r"\*|[a-z0-9_.-]{1,253}", name):
            problems.append(Problem("PLAYGROUND_HOSTS", f"{name[:60]!r} is no host name; write names without a port, with commas between"))
    framed_by = tuple(environ.get("PLAYGROUND_FRAME_ANCESTORS", "").lower().replace(",", " ").split())
    for origin in framed_by:
        if not re.fullmatch(r"https?://(\*\.)?[a-z0-9_.-]{1,253}(:[0-9]{1,5})?", origin):
            words = f"{origin[:60]!r} is no origin; write such as https://course.example, with commas between"
            problems.append(Problem("PLAYGROUND_FRAME_ANCESTORS", words))
    proxies = environ.get("PLAYGROUND_PROXIES", "").strip() or ("1" if environ.get("SPACE_ID") else "0")
    if not re.fullmatch("[0-9]", proxies):
        problems.append(Problem("PLAYGROUND_PROXIES", f"{proxies[:60]!r} is not possible; use a whole number from 0 up to 9"))
    if problems:
        raise SettingsError(problems)
    found = Settings(root=find_root(environ, root), hub=hub == "1", hosts=hosts, framed_by=framed_by, proxies=int(proxies), n_cpus=cores)
    return found.with_limits(changed)

"""What several commands begin with: settings, the database, and a word on the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from models.knobs import ConfigError, Problem
from playground.cli.configure import settings_from
from playground.cli.flags import Typed
from playground.config.settings import Settings
from playground.runs.store import Store

Found = TypeVar("Found")


def settings_of(typed: Typed) -> Settings:
    """Raises ConfigError with every problem of the command line and the environment."""
    settings = settings_from(typed, os.environ)
    if typed.problems:
        raise ConfigError(typed.problems)
    return settings


def existing(settings: Settings, look: Callable[[Store], Found]) -> Found | None:
    """What `look` reads from the database; None where there is none: reading creates nothing."""
    db = Store(settings.root)
    if not db.path.exists():
        return None
    return look(db)


def database_of(settings: Settings) -> Store:
    """Raises ConfigError where the root cannot hold one."""
    db = Store(settings.root)
    try:
        db.create()
    except OSError as error:
        raise ConfigError([Problem("--root", f"{error}; choose a folder that can be written")]) from None
    return db


def say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)

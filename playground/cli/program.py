"""Runs one of several commands, and turns its errors into messages and an exit status.

Exit status 2 for bad input, 1 for a failure, else what the command returns. Knows nothing of the commands themselves.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from models.knobs import ConfigError
from models.source import NotWritten
from playground.cli.flags import COMMON, Flag, Typed, help_text, read
from playground.runs.store import NoSuchExperiment, NoSuchRun, StoreBusy
from playground.workers.admission import CannotDo


class Command(NamedTuple):
    """A command: its usage line, what it does, and its function."""

    usage: str
    about: str
    run: Callable[[Typed], int]
    flags: tuple[Flag, ...] = ()
    positionals: tuple[str, ...] = ()


def main(program: str, commands: Mapping[str, Command], argv: list[str]) -> int:
    """Run one command of `python -m PROGRAM`; returns the exit status."""
    try:
        status = _dispatch(program, commands, argv)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        return _refuse(*map(str, error.problems))
    except (NoSuchRun, NoSuchExperiment, CannotDo, NotWritten) as error:
        return _refuse(str(error))
    except BrokenPipeError:
        # The reader has closed the pipe; Python must not try to flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 1
    except (OSError, StoreBusy, ValueError, ArithmeticError) as error:
        return _refuse(str(error), status=1)


def _dispatch(program: str, commands: Mapping[str, Command], argv: list[str]) -> int:
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(_overview(program, commands))
        return 0 if argv else 2
    found = commands.get(argv[0])
    if found is None:
        return _refuse(f"{argv[0][:60]!r} is not a command; use one of {', '.join(commands)}")
    flags = (*found.flags, *COMMON)
    if "--help" in argv or argv[1:2] == ["-h"]:
        print(help_text(f"python -m {program} {found.usage}", found.about, flags))
        return 0
    return found.run(read(argv[1:], flags, found.positionals))


def _refuse(*lines: str, status: int = 2) -> int:
    with contextlib.suppress(OSError):
        print(*lines, sep="\n", file=sys.stderr)
    return status


def _overview(program: str, commands: Mapping[str, Command]) -> str:
    lines = [f"usage: python -m {program} COMMAND ...", ""]
    lines += [f"  {found.usage}\n      {found.about}" for found in commands.values()]
    return "\n".join([*lines, "", f"  python -m {program} COMMAND --help shows every flag."])

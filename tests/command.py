"""A command of the command line, in a process of its own or given to `main` in this one, which saves a second or more."""

import contextlib
import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

import torch

from playground.cli.commands import main
from tests.patience import LONGEST_S


class Done:
    """What came of a command."""

    def __init__(self, status: int, out: str, err: str):
        self.status, self.out, self.err = status, out, err
        assert "Traceback" not in err

    @classmethod
    def of(cls, process: subprocess.Popen) -> "Done":
        out, err = process.communicate(timeout=LONGEST_S)
        return cls(process.returncode, out, err)

    @property
    def json(self):
        def refuse(word):
            raise ValueError(f"{word} is not JSON")

        return json.loads(self.out.splitlines()[-1], parse_constant=refuse)


@contextlib.contextmanager
def as_it_was() -> Iterator[None]:
    """Put back what a command changes in its process: the environment, what signals do, torch's threads."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    threads = torch.get_num_threads()
    with mock.patch.dict(os.environ):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def run_here(*words: object, root: Path | None, env: Mapping[str, str] | None = None) -> Done:
    """Run a command to its end in this process, with `env` added to its environment."""
    out, err = io.StringIO(), io.StringIO()
    with as_it_was(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        os.environ.update(env or {})
        status = main([*map(str, words), *(["--root", str(root)] if root else [])])
    return Done(status, out.getvalue(), err.getvalue())

"""The standby: a process that has torch imported and forks a worker for each run, so that a run begins in milliseconds.

Importing torch takes seconds of a core, which the runs that train would miss; a forked worker shares the memory of what is imported.
A process with a GPU cannot be forked, and on macOS its libraries must not be: there the standby itself becomes the next run's worker,
and another one takes its place.

It reads `start RUN THREADS CORES` and `kill RUN` on its standard input, and ends with it; the workers go on. It writes `forks` once it is
ready to, `started RUN PID` and `ended RUN STATUS`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from playground.runs.folder import RunFolder
from playground.system import cores

REAP_S = 0.1


class Worker:
    """A worker that a standby has started. `returncode` is its exit status, or the negative number of the signal that ended it."""

    def __init__(self, standby: Standby, run_id: str):
        self.standby, self.run_id = standby, run_id
        self.began = False  # whether the standby has said so
        self.returncode: int | None = None

    def poll(self) -> int | None:
        self.standby.hear()
        if self.standby.became == self.run_id:
            self.returncode = self.standby.process.poll()
        return self.returncode

    @property
    def is_orphan(self) -> bool:
        """Whether it may go on, but its end will not be told: its standby has ended."""
        return self.returncode is None and self.standby.became != self.run_id and self.standby.process.poll() is not None

    def kill(self) -> None:
        """End it, unless it has ended already. A standby that has not even started it hangs, and is ended: it would take all later
        runs too."""
        self.standby.hear()
        if self.standby.became == self.run_id or not self.began:
            self.standby.process.kill()
        else:
            with contextlib.suppress(OSError):
                self.standby.tell(f"kill {self.run_id}")


class Standby:
    """A standby process, for the app that has started it."""

    def __init__(self, process: subprocess.Popen):
        assert process.stdin is not None and process.stdout is not None
        self.process, self._stdin, self._stdout = process, process.stdin, process.stdout
        os.set_blocking(self._stdout.fileno(), False)
        self.forks = False
        self.became = ""  # the run whose worker it is now
        self._workers: dict[str, Worker] = {}
        self._unread = b""

    @property
    def pid(self) -> int | None:
        """None where it has ended, or waits for no more runs."""
        self.hear()
        return self.process.pid if self.process.poll() is None and not self.became else None

    @property
    def can_launch(self) -> bool:
        """Whether it will take another run: one that does not fork, or has not said so yet, takes but one."""
        return self.pid is not None and (self.forks or not self._workers)

    def launch(self, run_id: str, threads: int, pinned: str) -> Worker:
        """Start the worker of a run; raises OSError where the standby has ended."""
        self._workers[run_id] = worker = Worker(self, run_id)
        self.tell(f"start {run_id} {threads} {pinned}")
        return worker

    def tell(self, line: str) -> None:
        self._stdin.write(f"{line}\n".encode())
        self._stdin.flush()

    def hear(self) -> None:
        """Take in what it has written."""
        with contextlib.suppress(BlockingIOError, ValueError):
            while found := os.read(self._stdout.fileno(), 2**16):
                self._unread += found
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            match line.decode().split():
                case ["forks"]:
                    self.forks = True
                case ["started", run_id, pid] if run_id in self._workers:
                    self._workers[run_id].began = True
                    if int(pid) == self.process.pid:
                        self.became = run_id
                case ["ended", run_id, status] if run_id in self._workers:
                    self._workers.pop(run_id).returncode = int(status)

    def close(self) -> None:
        """End it, but not the workers."""
        if self.became:
            return
        with contextlib.suppress(OSError):
            self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._stdout.close()


# The process itself.


def serve(root: Path, work: Callable[[str, int, str], int]) -> int:
    """Fork a process that does `work(run id, threads, cores)` for each run that is asked for; returns the exit status. `work` is done in
    this process where it cannot be forked."""
    forks, children = can_fork(), {}
    if forks:
        _say("forks")
    for line in _lines(lambda: _reap(children)):
        match line.split():
            case ["start", run_id, its_threads, *pinned] if not forks:
                _say(f"started {run_id} {os.getpid()}")
                _write_to_log_of(root, run_id)
                return work(run_id, int(its_threads), "".join(pinned))
            case ["start", run_id, its_threads, *pinned]:
                pid = os.fork()
                if pid == 0:
                    _be_worker(root, run_id, lambda: work(run_id, int(its_threads), "".join(pinned)))
                children[pid] = run_id
                _say(f"started {run_id} {pid}")
            case ["kill", run_id]:
                for pid in [pid for pid, theirs in children.items() if theirs == run_id]:
                    os.kill(pid, signal.SIGKILL)  # not reaped yet, so its number is still its own
    return 0


def can_fork() -> bool:
    """Whether this process, with torch imported, may be forked."""
    import torch

    return sys.platform == "linux" and not torch.accelerator.is_available() and torch.get_num_threads() == 1


def apart(do: Callable[[], object]) -> None:
    """Do something in a forked process and wait for its end; in this one where it cannot be forked."""
    if not can_fork():
        do()
    elif (pid := os.fork()) == 0:
        try:
            do()
        finally:
            os._exit(0)
    else:
        os.waitpid(pid, 0)


def _be_worker(root: Path, run_id: str, work: Callable[[], int]) -> None:
    """What a forked process does, in a session and with a log of its own. Does not return."""
    status = os.EX_SOFTWARE
    try:
        os.setsid()
        cores.yield_session()
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        _write_to_log_of(root, run_id)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)  # what the standby would do at its end is not done again


def _write_to_log_of(root: Path, run_id: str) -> None:
    with open(RunFolder(root, run_id).log, "ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _reap(children: dict[int, str]) -> float | None:
    """Report the workers that have ended; returns in how many seconds to look again, None for not at all."""
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _say(f"ended {children.pop(pid)} {os.waitstatus_to_exitcode(status)}")
    return REAP_S if children else None


def _lines(between: Callable[[], float | None]):
    """The lines of standard input; `between` is called again and again while it waits, and returns for how long."""
    unread = b""
    while True:
        if not select.select([0], [], [], between())[0]:
            continue
        found = os.read(0, 2**16)
        if not found:
            return
        *lines, unread = (unread + found).split(b"\n")
        yield from (line.decode() for line in lines)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the app has ended
        os.write(1, f"{line}\n".encode())

"""Where a run's files lie, and its config as it was written. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from models.knobs import ConfigError, Problem, parse
from playground.config.run import CompleteRun
from playground.runs.store import NoSuchRun, run_lock
from playground.system.files import making, publish, text_hash
from playground.training import paths

MAX_NAME = 80
_RUN_ID = re.compile(r"[a-z2-7]{10}")


class RunFolder:
    """The files of one run under ROOT/runs/ID. Raises NoSuchRun for anything that is no run id."""

    def __init__(self, root: Path, run_id: str):
        if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
            raise NoSuchRun(str(run_id))
        self.path = root / "runs" / run_id
        self.config = self.path / "config.json"
        self.tokenizer = self.path / "tokenizer.json"
        self.data_digest = self.path / "data.sha256"
        self.log = self.path / "worker.log"
        self.outcome = self.path / "outcome.json"  # a `training.outcome.Outcome` of its last worker; absent while one trains
        self.lock = run_lock(root, run_id)
        self.checkpoints, self.probes = paths.checkpoints(self.path), paths.probes(self.path)

    @contextlib.contextmanager
    def created(self, config: CompleteRun) -> Iterator[None]:
        """Make the folder atomically. It stays claimed inside the `with`, where the caller adds the run to the store. So a
        folder that is unclaimed and not in the store belongs to a process that died, and may be removed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with making(self.path.parent, self.path.name) as folder:
            folder.chmod(0o755)
            publish(folder / self.config.name, config.model_dump_json(indent=2).encode())
            folder.rename(self.path)
            yield

    def read_config(self) -> CompleteRun:
        """Raises ConfigError where the file is not a run's config, not whole, or not there."""
        try:
            tree = json.loads(self.config.read_text())
        except (FileNotFoundError, ValueError):
            tree = None
        if not isinstance(tree, dict):
            raise ConfigError([Problem("", f"the config.json of run {self.path.name} is damaged or missing")])
        return parse(CompleteRun, tree)

    def checkpoint_steps(self) -> list[int]:
        """The steps of the checkpoints that exist, ascending."""
        return paths.checkpoint_steps(self.checkpoints)

    def probe_steps(self, text: str) -> list[int]:
        """The steps at which a probe of this text is kept, ascending."""
        return paths.probe_steps(self.probes, text_hash(text))

    def probe(self, text: str, step: int) -> Path:
        return paths.probe(self.probes, text_hash(text), step)

    def log_tail(self, n_lines: int = 15) -> str:
        """The last lines that the worker wrote, at most 4,000 characters."""
        try:
            text = self.log.read_bytes()[-20_000:].decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.strip().splitlines()[-n_lines:])[-4000:]


def clean_name(name: object, longest: int = MAX_NAME) -> str:
    """A name as one line of printable characters, cut to `longest`."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(name)[:10_000]).split())[:longest]

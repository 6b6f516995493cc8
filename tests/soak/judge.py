"""The checks of the fuzzer: what no answer may contain and no attack may change. Every violation is reported as a sentence."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

from playground.runs.folder import RunFolder
from playground.runs.store import Run
from playground.system.files import REPOSITORY
from tests.soak.client import Answer
from tests.soak.hostile import MARK
from tests.soak.house import App

TRACEBACK = b"Traceback (most recent call last)"
SQLITE = b"SQLite format 3\x00"
LIVE_MARKUP = re.compile(rf"<(script|img|svg|iframe|b|a)\b[^&\n]{{0,40}}{MARK}".encode())
PROGRESS = ("step", "seconds", "tokens_per_s", "train_loss", "eval_loss", "best_eval_loss")
MOST_TOLD = 40


@dataclass
class Findings:
    """How often each kind of target answered in each way, and the violations with how often each was seen."""

    counts: dict[str, Counter] = field(default_factory=dict)
    violations: Counter = field(default_factory=Counter)

    def count(self, kind: str, how: str) -> None:
        self.counts.setdefault(kind, Counter())[how] += 1

    def blame(self, what: str) -> None:
        self.violations[what] += 1

    def listed(self) -> list[str]:
        return [f"{what} (seen {n} times)" if n > 1 else what for what, n in self.violations.most_common(MOST_TOLD)]


class Judge:
    """Checks every answer. `secrets`: by name, bytes that no answer may contain."""

    def __init__(self, app: App, findings: Findings, secrets: dict[str, bytes]):
        self.findings = findings
        self.secrets = secrets | {
            "a traceback": TRACEBACK, "the database": SQLITE, "the path of the root": str(app.root).encode(),
            "the path of the code": f"{REPOSITORY}/".encode(), "the path of a library": f"{sys.prefix}/".encode(),
        }  # fmt: skip

    def look(self, kind: str, asked: str, answer: Answer, sent: bytes = b"", *, private: bool = False) -> str:
        """Count and check the answer to `asked`; it may repeat what was `sent`. `private`: the page shows its messages as HTML."""
        how = self._class(answer)
        self.findings.count(kind, how)
        if how == "crash":
            self.findings.blame(f"{asked}: an error nobody foresaw, {answer.status} {answer.body[:80]!r}")
        known = sent + b"\n" + unquote_to_bytes(sent)  # an answer may repeat what was sent
        for what, secret in self.secrets.items():
            if secret in answer.body and secret not in known:
                self.findings.blame(f"{asked}: {what} was served")
        html = answer.headers.get("content-type", "").startswith("text/html")
        if (html or (private and answer.status >= 500)) and LIVE_MARKUP.search(_unescaped(answer.body)):
            self.findings.blame(f"{asked}: markup of a visitor would be run")
        return how

    @staticmethod
    def _class(answer: Answer) -> str:
        if answer.status < 500:
            return f"{answer.status // 100}xx"
        if answer.status == 503 and "retry-after" in answer.headers and not answer.body:  # to HEAD, whose answers have no body
            return "told"
        try:
            said = json.loads(answer.body)
        except ValueError:
            return "crash"
        return "told" if isinstance(said, dict) and ("error" in said or "detail" in said) else "crash"


def _unescaped(body: bytes) -> bytes:
    """The body with the quotes that JSON escapes unescaped, as a browser sees them."""
    return body.replace(b'\\"', b'"')


@dataclass(frozen=True)
class Untouched:
    """A run of somebody else as it was before the attack."""

    run: Run
    digests: dict[str, str]

    @classmethod
    def of(cls, app: App, run_id: str) -> Untouched:
        run = app.db.run(run_id)
        ended = run.ended_at is not None
        return cls(run, digests(RunFolder(app.root, run_id).path) if ended else _written_once(app, run_id))

    def compare(self, app: App, findings: Findings) -> None:
        """Check that an ended run has not changed in any byte, and that a running one has made progress and not changed otherwise."""
        now = Untouched.of(app, self.run.id)
        ignored = PROGRESS if self.run.ended_at is None else ()
        before, after = ({name: value for name, value in asdict(run).items() if name not in ignored} for run in (self.run, now.run))
        for name in before:
            if before[name] != after[name]:
                findings.blame(f"somebody else's run: its {name} was {str(before[name])[:60]} and is {str(after[name])[:60]}")
        for name in self.digests.keys() | now.digests.keys():
            if self.digests.get(name) != now.digests.get(name):
                findings.blame(f"somebody else's run: its file {name} has changed")
        if ignored and now.run.step <= self.run.step:
            findings.blame(f"somebody else's run: it has stood still at step {now.run.step}")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, by its name there."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _written_once(app: App, run_id: str) -> dict[str, str]:
    folder = RunFolder(app.root, run_id)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder.config, folder.tokenizer)}


@dataclass(frozen=True)
class Surroundings:
    """The files around the root, none of which may change. `outside` holds a file that nobody may read."""

    files: dict[str, str]

    @classmethod
    def of(cls, app: App, outside: Path) -> Surroundings:
        ours = {str(path): "there" for path in _ours()}
        beside = {path.name: "there" for path in app.place.iterdir()}
        return cls(ours | digests(outside) | beside | digests(app.place / "home"))

    def compare(self, app: App, outside: Path, findings: Findings) -> None:
        now = Surroundings.of(app, outside)
        for name in self.files.keys() | now.files.keys():
            if self.files.get(name) != now.files.get(name):
                findings.blame(f"outside the root, {name} was made or changed")


def _ours() -> list[Path]:
    """The app's own files and folders, without Python's caches."""
    packages = [folder for name in ("playground", "models") for folder in [REPOSITORY / name, *(REPOSITORY / name).rglob("*/")]]
    folders = [REPOSITORY, REPOSITORY / "assets", *(folder for folder in packages if not folder.name.startswith("__"))]
    return [path for folder in folders for path in folder.iterdir() if not path.name.startswith((".", "__"))]


# Raised by uvicorn for bytes that are no HTTP, after an answer that ended the connection; it then closes the connection.
NOT_OURS = ("h11._util.LocalProtocolError",)
FAILED_HERE = re.compile(r" failed: (.* \((?:playground|models|tests)/[\w/]+\.py:\d+\))$", re.MULTILINE)  # as `ui.shield` says it


def complaints(said: str) -> Counter:
    """What the app should not print: the last line of each traceback, and requests at which our own code raised."""
    found = Counter(FAILED_HERE.findall(said))
    for part in said.split(TRACEBACK.decode())[1:]:
        last = next((line for line in part.splitlines()[1:] if line and not line.startswith((" ", "+", "|"))), "?")
        if not last.startswith(NOT_OURS):
            found[f"a traceback, {last[:160]}"] += 1
    return found

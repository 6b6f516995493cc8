"""Texts that people brought: who did, what they take, and how they are deleted. A text that several people bring is kept once."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from models.knobs import ConfigError, Problem
from playground.data import corpora
from playground.data.config import UPLOAD
from playground.data.own import PLAIN, Reading
from playground.runs import store
from playground.runs.access import NotAllowed, Visitor
from playground.runs.store import Store


def keep(db: Store, root: Path, visitor: Visitor, files: list[tuple[str, bytes]], max_bytes: int, reading: Reading = PLAIN) -> str:
    """Keep several files, (name, bytes) each, as one text of this visitor's; returns its source. Raises CorpusError, NotAllowed."""
    visitor.must_be_known()
    source = corpora.add_files(root, files, max_bytes, reading)
    db.add_upload(visitor.id, source, corpora.size_of(root, source))
    return source


def delete(db: Store, root: Path, visitor: Visitor, source: str) -> None:
    """Delete a text of this visitor's, or any as the host; the file goes with the last who has it, and its tokens with it. Raises
    ConfigError where there is no such text or a run still needs it, NotAllowed where it is somebody else's."""
    if not UPLOAD.fullmatch(source):
        raise ConfigError([Problem("source", f"{source[:80]!r} is no text that was brought here")])
    owners = db.owners_of_upload(source)
    if not visitor.is_host and visitor.id not in owners:
        raise NotAllowed("only whoever brought a text may delete it")
    needing = [run for run in db.runs_in((*store.IN_PROGRESS, store.PAUSED)) if source in run.config_json]
    left = set() if visitor.is_host else set(owners) - {visitor.id}
    if needing and not left:
        raise ConfigError([Problem("source", f"{needing[0].name!r} still trains on this text; stop it first")])
    db.drop_upload(source, None if visitor.is_host else visitor.id)
    if not left:
        digest = source.partition(":")[2]
        corpora.remove(root, source)
        for about in (root / "prepared").glob("*/about.json"):
            with contextlib.suppress(FileNotFoundError):  # dropped meanwhile, to make room for others
                if json.loads(about.read_text())["fingerprint"] == digest[:16]:
                    shutil.rmtree(about.parent, ignore_errors=True)

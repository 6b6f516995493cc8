"""Where texts come from: generated here, part of Python, fetched from the Hub, or uploaded.

Knows nothing of tokens. An uploaded text is kept under ROOT/corpora by the sha256
of its UTF-8 bytes, and named `upload:SHA256`; one from the Hub is kept the same way, beside a note
of where it came from. Only `fetch` uses the network.
"""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from playground.data import fetching, hub, own, tales
from playground.data.config import TEXTS, UPLOAD, DataConfig
from playground.data.errors import CorpusError
from playground.data.hub import HUB
from playground.data.own import PLAIN, Reading
from playground.system.files import publish

TALES_CHARS = 1_200_000
SLICE_CHARS = 8_000_000
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

Progress = Callable[[float | None, str], None]


@dataclass(frozen=True)
class Text:
    """A corpus. `held_out_at`: the character where the held-out part begins, None for the last tenth;
    `held_out_nats`: -log p of that part, where the text comes from a known distribution; `edition`: which
    one of several it is, in words."""

    text: str
    held_out_at: int | None = None
    held_out_nats: float | None = None
    edition: str = ""


@dataclass(frozen=True)
class Source:
    """A built-in corpus: `read` makes it without the network, or `wanted` says what to fetch from the Hub."""

    about: str
    read: Callable[[DataConfig], Text] | None = None
    wanted: hub.HubText | None = None
    clean: Callable[[str], str] = str
    sha256: str | None = None


def _tiny_tales(config: DataConfig) -> Text:
    made = tales.tales(config.seed, TALES_CHARS)
    return Text(made.text, made.held_out_at, made.held_out_nats, f"edition {tales.VERSION}, seed {config.seed}")


def _python() -> str:
    return f"of Python {sys.version.split()[0]}"


def _python_docs(config: DataConfig) -> Text:
    from pydoc_data.topics import topics

    return Text("\n\n".join(topics[name] for name in sorted(topics)), edition=_python())


def _python_stdlib(config: DataConfig) -> Text:
    """Every module of the standard library but its tests, in the order of their names."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "pydoc_data", "encodings"}
    paths = [path for path in sorted(folder.rglob("*.py")) if not left_out & set(path.relative_to(folder).parts)]
    if not paths:
        raise CorpusError("this Python came without the source of its standard library; choose tiny-tales or python-docs")
    return Text("\n\n".join(path.read_text("utf-8", "replace").strip() for path in paths) + "\n", edition=_python())


BUILT_IN: dict[str, Source] = {
    "tiny-tales": Source(
        "Short stories from a grammar written for this playground, so the best possible loss is known. Any number of them, by seed.",
        read=_tiny_tales,
    ),
    "python-docs": Source(
        "The language reference that ships with Python: real English about code. Varies a little by Python version.", read=_python_docs
    ),
    "python-stdlib": Source(
        "The source code of the Python that runs this: real programs, with their comments. Varies by Python version.", read=_python_stdlib
    ),
    "tiny-shakespeare": Source(
        "A million characters of Shakespeare's plays, fetched once from the Hugging Face Hub.",
        wanted=hub.TINY_SHAKESPEARE, sha256=SHAKESPEARE_SHA256,
    ),
    "tiny-stories": Source(
        "Short stories for children, written by a large model (Eldan and Li 2023, arXiv:2305.07759): a slice of eight million "
        "characters, fetched once from the Hugging Face Hub.",
        wanted=hub.TINY_STORIES, clean=hub.clean_stories,
    ),
}  # fmt: skip
assert BUILT_IN.keys() == TEXTS.keys()
OFFLINE = tuple(name for name, source in BUILT_IN.items() if source.wanted is None)


def read(config: DataConfig, root: Path) -> Text:
    """The whole text, without the network; raises CorpusError where it is not available."""
    source, built_in = config.source, BUILT_IN.get(config.source)
    if built_in is not None and built_in.read is not None:
        return built_in.read(config)
    digest = _digest(source, root)
    if digest is None:
        raise CorpusError(f"{title(source)} is not on this machine yet; fetch it, or choose {' or '.join(OFFLINE)}")
    path = _path(root, digest)
    if not path.exists():
        raise CorpusError(f"the uploaded text {digest[:12]}… is no longer here; upload it again")
    note = _note(source, root)
    edition = "" if note is None else f"commit {note['commit'][:12]}" + ("" if note["whole"] else ", the beginning only")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        path.unlink(missing_ok=True)  # so that it can be uploaded or fetched again
        raise CorpusError(f"the stored copy of {title(source)} was damaged and has been removed; bring it again")
    return Text(data.decode(), edition=edition)


def identity(config: DataConfig, root: Path) -> list:
    """What the text depends on, to tell one from another without reading it."""
    source = config.source
    if source == "tiny-tales":
        return [source, tales.VERSION, config.seed, TALES_CHARS]
    if source in OFFLINE:
        return [source, sys.version, sysconfig.get_paths()["stdlib"]]
    return ["text", _digest(source, root)]


def title(source: str) -> str:
    """The name of a source for people."""
    if source in TEXTS:
        return TEXTS[source]
    return source.removeprefix("hub:") if HUB.fullmatch(source) else "own text"


def is_here(source: str, root: Path) -> bool:
    """Whether the text can be read without the network."""
    return not from_hub(source) or _digest(source, root) is not None


def from_hub(source: str) -> bool:
    return bool(HUB.fullmatch(source)) or (source in BUILT_IN and source not in OFFLINE)


def fetch(source: str, root: Path, max_chars: int, progress: Progress | None = None) -> None:
    """Download a text from the Hub and keep it, with a note of its commit; one that is here already is left as it is.

    Raises CorpusError, and keeps nothing then.
    """
    if is_here(source, root):
        return
    known = BUILT_IN.get(source, Source("", wanted=None))
    wanted = known.wanted or hub.HubText.parse(source)
    at_most = min(max_chars, SLICE_CHARS) if source in BUILT_IN else max_chars
    with tempfile.TemporaryDirectory(prefix="playground-fetched-") as aside:  # a fetch that fails leaves nothing in the root
        found = fetching.fetch(wanted, at_most, Path(aside) / "text", progress)
    text = known.clean(found.text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if known.sha256 not in (None, digest):
        raise CorpusError(
            f"what the Hugging Face Hub holds now is not {title(source)} as it is known (sha256 {digest[:12]}… instead of "
            f"{known.sha256[:12]}…); choose {' or '.join(OFFLINE)}, or upload the text yourself"
        )
    add_text(root, text)
    note = {"source": source, "sha256": digest, "commit": found.commit, "whole": found.whole, "read_bytes": found.n_read_bytes}
    publish(_note_path(source, root), json.dumps(note).encode())


def add_text(root: Path, text: str) -> str:
    """Keep a text; returns its source name `upload:SHA256`. The same text is kept once."""
    data = text.encode()
    digest = hashlib.sha256(data).hexdigest()
    path = _path(root, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        publish(path, data)
    return f"upload:{digest}"


def add_files(root: Path, files: Iterable[tuple[str, bytes]], max_bytes: int, reading: Reading = PLAIN) -> str:
    """Keep several files, (name, bytes) each, as one text with an empty line between two; returns its source name. Raises CorpusError
    naming the file, and keeps nothing then."""
    return add_text(root, own.text_of(list(files), max_bytes, reading))


def size_of(root: Path, source: str) -> int:
    """Bytes that a text takes which was brought here; 0 where it is gone."""
    try:
        return _path(root, source.partition(":")[2]).stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def remove(root: Path, source: str) -> None:
    """Remove a text that was brought here."""
    _path(root, source.partition(":")[2]).unlink(missing_ok=True)


def add_path(root: Path, path: str, reading: Reading = PLAIN) -> str:
    """Copy a file named on the command line into the root; returns its source name."""
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror or error}; use one of {', '.join(BUILT_IN)} or a readable text file") from None
    return add_files(root, [(path, data)], max_bytes=2**31, reading=reading)


def _path(root: Path, digest: str) -> Path:
    return root / "corpora" / f"{digest}.txt"


def _note_path(source: str, root: Path) -> Path:
    return root / "corpora" / f"hub-{hashlib.sha256(source.encode()).hexdigest()[:24]}.json"


def _note(source: str, root: Path) -> dict | None:
    try:
        return json.loads(_note_path(source, root).read_text())
    except FileNotFoundError:
        return None


def _digest(source: str, root: Path) -> str | None:
    """The sha256 under which a text is kept; None for one that has not been fetched."""
    match = UPLOAD.fullmatch(source)
    if match:
        return match[1]
    if not from_hub(source):
        raise CorpusError(f"{source[:80]!r} is not a data source; use one of {', '.join(BUILT_IN)}, or upload or paste a text")
    known = BUILT_IN.get(source)
    if known is not None and known.sha256 is not None and _path(root, known.sha256).exists():
        return known.sha256  # uploaded by somebody, or copied here: the same text
    note = _note(source, root)
    return note["sha256"] if note is not None and _path(root, note["sha256"]).exists() else None

"""Where texts come from: built in, from the Hub, or brought by a person.

Knows nothing of tokens. A text that somebody brought is kept under ROOT/corpora by the sha256
of its UTF-8 bytes, and named `upload:SHA256`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from models.knobs import ConfigError, Problem
from playground.config import UPLOAD
from playground.files import publish


@dataclass(frozen=True)
class Source:
    """A built-in corpus: what it is called, what it is, how to get it, what is known without getting it."""

    name: str
    title: str
    about: str
    read: Callable[[Path], str]
    needs_network: bool = False
    n_chars: int | None = None
    vocab_size: int | None = None


class CorpusError(ConfigError):
    """A text that cannot be had or used, said with what can be done instead."""

    def __init__(self, message: str):
        super().__init__([Problem("data.source", message)])


def _python_docs(root: Path) -> str:
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


SHAKESPEARE_REPO = "karpathy/tiny_shakespeare"
SHAKESPEARE_REVISION = "refs/convert/parquet"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_SPLITS = ("train", "validation", "test")


def _tiny_shakespeare(root: Path) -> str:
    """The three parquet splits of the Hub's converted copy, joined and checked by sha256, cached under the root."""
    cached = root / "corpora" / f"{SHAKESPEARE_SHA256}.txt"
    if cached.exists():
        return _read(cached)
    text = _from_hub()
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != SHAKESPEARE_SHA256:
        raise CorpusError(
            f"what {SHAKESPEARE_REPO} on the Hugging Face Hub holds now is not Tiny Shakespeare as it is known "
            f"(sha256 {found[:12]}… instead of {SHAKESPEARE_SHA256[:12]}…); choose python-docs, or upload the text yourself"
        )
    add_text(root, text)
    return text


def _from_hub() -> str:
    """The splits in order, all of one commit. `token=False`: a host's token must not open private data to visitors."""
    import httpx2  # what huggingface_hub talks HTTP with
    import huggingface_hub
    import pandas
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        api = huggingface_hub.HfApi(token=False)
        repo = api.repo_info(SHAKESPEARE_REPO, repo_type="dataset", revision=SHAKESPEARE_REVISION, timeout=10)
        names = sorted(file.rfilename for file in repo.siblings or [])
        wanted = [name for split in SHAKESPEARE_SPLITS for name in names if f"/{split}/" in f"/{name}" and name.endswith(".parquet")]
        paths = [
            huggingface_hub.hf_hub_download(SHAKESPEARE_REPO, name, repo_type="dataset", revision=repo.sha, token=False) for name in wanted
        ]
        return "".join("".join(pandas.read_parquet(path, columns=["text"])["text"]) for path in paths)
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise CorpusError(
            f"Tiny Shakespeare could not be fetched from the Hugging Face Hub ({type(error).__name__}); "
            "choose python-docs, which needs no network, or upload or paste a text"
        ) from error


BUILT_IN: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "python-docs", "Python documentation",
            "The language reference that ships with Python: real English about code. Varies a little by Python version.",
            _python_docs,
        ),
        Source(
            "tiny-shakespeare", "Tiny Shakespeare",
            "A million characters of Shakespeare's plays, fetched once from the Hugging Face Hub.",
            _tiny_shakespeare, needs_network=True, n_chars=1_115_394, vocab_size=65,
        ),
    )
}  # fmt: skip


@lru_cache(maxsize=4)
def load_text(source: str, root: Path) -> str:
    """The whole text of a source; raises CorpusError where it cannot be had."""
    if source in BUILT_IN:
        return BUILT_IN[source].read(root)
    match = UPLOAD.fullmatch(source)
    if not match:
        raise CorpusError(f"{source[:80]!r} is not a data source; use one of {', '.join(BUILT_IN)}, or upload or paste a text")
    path = root / "corpora" / f"{match[1]}.txt"
    if not path.exists():
        raise CorpusError(f"the uploaded text {match[1][:12]}… is no longer here; upload it again")
    return _read(path)


def is_here(source: str, root: Path) -> bool:
    """Whether the text can be read without the network."""
    known = BUILT_IN.get(source)
    return known is None or not known.needs_network or (root / "corpora" / f"{SHAKESPEARE_SHA256}.txt").exists()


def add_text(root: Path, text: str) -> str:
    """Keep a text; returns its source name `upload:SHA256`. The same text is kept once."""
    data = text.encode()
    digest = hashlib.sha256(data).hexdigest()
    folder = root / "corpora"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest}.txt"
    if not path.exists():
        publish(path, data)
    return f"upload:{digest}"


def add_bytes(root: Path, data: bytes, max_bytes: int) -> str:
    """Check that uploaded bytes are usable text and keep them; raises CorpusError with the remedy."""
    if len(data) > max_bytes:
        raise CorpusError(f"the text has {len(data) / 1e6:.1f} MB; this playground takes at most {max_bytes / 1e6:.1f} MB, so cut it first")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CorpusError("the text is in UTF-16; save it as UTF-8")
    if b"\0" in data:
        raise CorpusError(f"this looks like a binary file (a zero byte at offset {data.index(0):,}); save it as plain text in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        offset = error.start + len(data) - len(error.object)  # a byte order mark is not counted by the decoder
        raise CorpusError(f"the text is not UTF-8 (byte 0x{data[offset]:02x} at offset {offset:,}); save it as UTF-8") from None
    if not text.strip():
        raise CorpusError("the text is empty; choose a file with text in it")
    return add_text(root, text.replace("\r\n", "\n"))


def add_path(root: Path, path: str) -> str:
    """Copy a file named on the command line into the root; returns its source name."""
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror or error}; use one of {', '.join(BUILT_IN)} or a readable text file") from None
    return add_bytes(root, data, max_bytes=2**31)


def _read(path: Path) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()

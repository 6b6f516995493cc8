"""Texts of public dataset repositories on the Hugging Face Hub, read only as far as needed.

Knows nothing of where a text is kept: nothing is written to disk. Every file is read over HTTP by ranges of
bytes, all at one commit, and always without a token: a host's token must not open its private data to visitors.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from playground.data import tables
from playground.data.encodings import UnsureEncoding, pieces
from playground.data.errors import CorpusError
from playground.data.tables import NeedsColumn, shown, some

Progress = Callable[[float | None, str], None]

HUB = re.compile(
    r"""
    (?=[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\\]{1,200}\Z)(?!.*\.\.)  # no "..", nothing invisible
    hub:
    (?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})
    (?:@(?P<revision>[A-Za-z0-9][\w./-]{0,79}))?
    :(?P<path>(?!/)[^:\s](?:[^:]{0,148}[^:\s])?)
    (?::(?P<field>[^:]{1,80}))?
    """,
    re.VERBOSE | re.ASCII,
)
FORM = "hub:OWNER/NAME:PATH for a text file, hub:OWNER/NAME:PATH:FIELD for CSV, JSONL or Parquet"
TEXT = re.compile(  # listed, and matched by patterns; a file of any other name is read as text if it is named exactly
    r".+\.(txt|text|md|markdown|rst|tex|html?|xml|json|ya?ml|toml|ini|srt|log|abc|pgn|fasta|sql|sh|pyi?|js|ts|java|c|h|cc|cpp|hpp|cs|go"
    r"|rs|rb|php|lua|jl|hs|ml|scala|swift|kt|r|lean|v|lisp|scm)",
    re.IGNORECASE,
)
MAX_FILES = 50
MAX_LISTED = 200
ANSWER_BYTES = 64 * 2**20  # of the longest list of files that is read
TABLE_BYTES = 64 * 2**20  # read of tables for one text at most, beside 4 bytes a character
WINDOW_BYTES = tables.BUFFER_BYTES, 8 * 2**20  # of one range: at first, doubling up to the largest
CONNECT_S = 3.0  # for each of a host's addresses, of which there can be eight
TIMEOUT_S = 10.0  # without a byte
RETRIES = 1  # of a broken connection, from where it broke
SLOW_S, SLOW_BYTES = 30.0, 30_000  # given up where fewer bytes come in that time
TICK_S = 0.25


@dataclass(frozen=True)
class HubText:
    """Files of a public dataset: `source` as written, `repo` OWNER/NAME, `paths` or patterns in the order in which they are
    read, `field` of a table or None, and what stands between two records and two files."""

    source: str
    repo: str
    paths: tuple[str, ...]
    field: str | None = None
    revision: str = "main"
    joiner: str = "\n\n"

    @classmethod
    def parse(cls, source: str) -> HubText:
        """From hub:OWNER/NAME[@REVISION]:PATH[:FIELD]; raises CorpusError with the remedy."""
        match = HUB.fullmatch(source)
        if not match:
            raise CorpusError(f"{shown(source)} does not name a text on the Hugging Face Hub; write {FORM}, in at most 200 characters")
        wanted = cls(source, match["repo"], (match["path"],), match["field"], match["revision"] or "main")
        _check_repo(wanted.repo, wanted.revision)
        kind = tables.kind_of(match["path"])
        named = not match["path"].endswith(("/", "*"))
        if named and kind is None and wanted.field is not None:
            raise CorpusError(f"{shown(match['path'])} is read as text, which has no fields; leave out :{wanted.field}")
        return wanted


@dataclass(frozen=True)
class Fetched:
    """A text, its `commit` (40 hex digits), whether it is `whole` or the beginning, and the bytes read of its files."""

    text: str
    commit: str
    whole: bool
    n_read_bytes: int


TINY_SHAKESPEARE = HubText(
    "tiny-shakespeare",
    "karpathy/tiny_shakespeare",
    ("*/train/*.parquet", "*/validation/*.parquet", "*/test/*.parquet"),
    field="text",
    revision="refs/convert/parquet",
    joiner="",
)
TINY_STORIES = HubText("tiny-stories", "roneneldan/TinyStories", ("TinyStories-valid.txt",))


def clean_stories(text: str) -> str:
    """TinyStories with an empty line in place of every line `<|endoftext|>`; else as it is."""
    stories = re.split(r"^<\|endoftext\|>[ \t]*$", text, flags=re.MULTILINE)
    if len(stories) == 1:
        return text
    return "\n\n".join(story.strip("\n") for story in stories if story.strip()) + "\n"


def fetch(wanted: HubText, max_chars: int, progress: Progress | None = None) -> Fetched:
    """Read a text up to `max_chars` characters; a longer one is cut at the end of a record, paragraph or line.

    Of a table's field, texts are taken as they are and numbers as Python writes them; what is missing, empty
    or of another kind is left out. CRLF and CR become LF. `progress` is told the share done, or None, and words; what it
    raises ends the reading. Raises CorpusError with the remedy.
    """
    meter = _Meter(progress or (lambda share, words: None), max_chars)
    meter.say(None, "asking the Hugging Face Hub")
    commit, sizes = _repo(wanted.repo, wanted.revision)
    names = _chosen(wanted, sizes)
    kind = _kind(names)
    if kind is None and wanted.field is not None:
        raise CorpusError(f"{shown(names[0])} is read as text, which has no fields; leave out :{wanted.field}")
    meter.total = sum(sizes[name] for name in names)
    meter.limit = 4 * max_chars + (256 if kind is None else TABLE_BYTES)

    parts: list[str] = []
    whole = True
    for name in names:
        path = f"/datasets/{wanted.repo}/resolve/{commit}/{quote(name)}"
        with contextlib.closing(_Remote(path, name, sizes[name], meter)) as remote:
            for piece in filter(None, _texts(remote, kind, wanted.field, max_chars - meter.n_chars)):
                room = max_chars - meter.n_chars - (len(wanted.joiner) if parts else 0)
                whole = len(piece) <= room
                if not whole and (kind is None or not parts):
                    piece = _cut(piece, room)
                if whole or (piece and len(piece) <= room):
                    meter.has(meter.n_chars + len(piece) + (len(wanted.joiner) if parts else 0))
                    parts.append(piece)
                meter.tick()
                if not whole:
                    break
        if not whole:
            break
    text = wanted.joiner.join(parts)
    if not text.strip():
        of = "" if wanted.field is None else f" in the field {shown(wanted.field)}"
        raise CorpusError(f"{shown(wanted.source)} has no text{of}; choose another file or field")
    meter.say(1.0, f"{meter.n_read / 1e6:.1f} MB read")
    return Fetched(text, commit, whole, meter.n_read)


def listing(repo: str, revision: str = "main") -> list[tuple[str, int]]:
    """Up to 200 files of a dataset that can be read, by their extension, with their bytes. Raises CorpusError."""
    _, sizes = _repo(repo, revision)
    return [(name, size) for name, size in sorted(sizes.items()) if _readable(name)][:MAX_LISTED]


# ---- which files


def _kind(names: list[str]) -> str | None:
    """What kind of table all of these are, None for text; raises CorpusError where they differ."""
    kinds = {tables.kind_of(name) for name in names}
    if len(kinds) > 1:
        found = " and ".join(sorted(kind or "text" for kind in kinds))
        raise CorpusError(f"the files named are of several kinds ({found}); name those of one kind, as in data/*.txt")
    return kinds.pop()


def _readable(name: str) -> bool:
    return tables.kind_of(name) is not None or TEXT.fullmatch(name) is not None


def _chosen(wanted: HubText, sizes: dict[str, int]) -> list[str]:
    """The files that the paths name: a path as it is, one with * as a pattern (which crosses /), one with / at its end as a folder."""
    names: list[str] = []
    for path in wanted.paths:
        if "*" in path:
            found = [name for name in sorted(sizes) if _readable(name) and fnmatchcase(name, path)]
        elif path.endswith("/"):
            found = [name for name in sorted(sizes) if _readable(name) and name.startswith(path)]
        else:
            found = [path] if path in sizes else []
        if not found:
            there = some(sorted((name for name in sizes if _readable(name)), key=lambda name: (name.count("/"), name)), 8)
            raise CorpusError(f"{wanted.repo} at {wanted.revision} has no file {shown(path)}; it has {there or 'none that can be read'}")
        names += found
    if len(names) > MAX_FILES:
        raise CorpusError(f"{shown(wanted.source)} names {len(names)} files, and at most {MAX_FILES} are read; name fewer of them")
    return names


def _check_repo(repo: str, revision: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise CorpusError(f"{shown(repo)} is not the name of a dataset; write it as OWNER/NAME") from None
    if not HUB.fullmatch(f"hub:{repo}@{revision}:-"):
        raise CorpusError(
            f"{shown(repo)} at {shown(revision)} is not a dataset and a revision; write OWNER/NAME, and main for the revision"
        )


def _repo(repo: str, revision: str) -> tuple[str, dict[str, int]]:
    """The commit that a revision means now, and its files with their bytes. Raises CorpusError.

    Requested directly: HfApi would first fetch a list for its telemetry, with waits of its own, and keep that on disk.
    """
    _check_repo(repo, revision)
    began_s, parts, n_bytes = time.monotonic(), [], 0
    with _refusals(f"{repo} at {revision}"):
        with contextlib.closing(_get(f"/api/datasets/{repo}/revision/{quote(revision, safe='')}?blobs=true")) as response:
            for part in response.iter_bytes():
                parts.append(part)
                n_bytes += len(part)
                if time.monotonic() - began_s > SLOW_S or n_bytes > ANSWER_BYTES:
                    raise ValueError("an answer without end")
        answer = json.loads(b"".join(parts))
        commit, files = answer["sha"], answer["siblings"]
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise ValueError("not a commit")
        sizes = {file["rfilename"]: (file.get("lfs") or file).get("size") for file in files}
        sizes = {name: size for name, size in sizes.items() if name.isprintable() and ".." not in name.split("/") and isinstance(size, int)}
    return commit, sizes


# ---- HTTP


def _get(path: str, headers: dict[str, str] | None = None) -> Any:
    """The answer to a request without a token, its body not yet read. Raises what the library raises."""
    import httpx2  # what huggingface_hub talks HTTP with
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session, hf_raise_for_status

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")  # the library looks only when it is imported
    headers = {"User-Agent": f"playground; hf_hub/{huggingface_hub.__version__}", **(headers or {})}
    session = get_session()
    timeout = httpx2.Timeout(TIMEOUT_S, connect=min(CONNECT_S, TIMEOUT_S))
    response = session.send(session.build_request("GET", endpoint + path, headers=headers, timeout=timeout), stream=True)
    try:
        hf_raise_for_status(response)
    except BaseException:
        response.close()
        raise
    return response


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Turns what the library raises into CorpusError with the remedy."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
        return
    except CorpusError:
        raise
    except errors.OfflineModeIsEnabled:
        message = "this host is set to work offline (HF_HUB_OFFLINE); unset that, or choose a built-in text that needs no network"
    except (errors.HfHubHTTPError, errors.EntryNotFoundError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, errors.GatedRepoError) or status == 403:
            message = f"{what}: the dataset is gated, and this playground reads without an account; choose a public one, or upload the text"
        elif isinstance(error, errors.RevisionNotFoundError):
            message = f"{what}: the dataset has no such revision; leave out @REVISION for its newest state"
        elif isinstance(error, errors.RepositoryNotFoundError) or status == 401:
            message = f"{what}: there is no such public dataset (it may be private, or a model); look up its name as OWNER/NAME"
        elif isinstance(error, errors.EntryNotFoundError) or status == 404:
            message = f"{what} was not found on the Hugging Face Hub; look up its name"
        elif status == 429:
            message = "the Hugging Face Hub takes no more requests from this host for now; try again in some minutes"
        else:
            message = f"the Hugging Face Hub could not serve {what} (status {status}); try again later, or choose a built-in text"
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):  # also while the library reads an error's body
        message = "the answer of the Hugging Face Hub is not understood; try again later, or choose a built-in text"
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, RuntimeError) as error:
        others = "Tiny Tales, the Python texts and every task need no network"
        message = f"the Hugging Face Hub could not be reached ({type(error).__name__}); {others}"
    raise CorpusError(message)


class _Meter:
    """Counts the bytes read, over all files, and reports progress a few times a second."""

    def __init__(self, progress: Progress, max_chars: int):
        self.say = progress
        self.max_chars = max_chars
        self.total = self.limit = self.n_read = self.n_chars = 0
        self.bytes_per_char = 1.0
        self.said_s = time.monotonic()

    def has(self, n_chars: int) -> None:
        """Note that the bytes read so far gave `n_chars` characters."""
        self.n_chars = n_chars
        self.bytes_per_char = self.n_read / max(n_chars, 1)

    def tick(self) -> None:
        now = time.monotonic()
        if now - self.said_s < TICK_S:
            return
        self.said_s = now
        expected = max(min(self.total, self.bytes_per_char * self.max_chars), self.n_read, 1)
        self.say(min(self.n_read / expected, 1.0), f"{self.n_read / 1e6:.1f} of {expected / 1e6:.1f} MB")


class _Remote(io.RawIOBase):
    """One file of `size` bytes as a seekable binary file, fetched in ranges that grow while it is read on.

    The file objects of huggingface_hub are not used: they retry six times for ten seconds, fetch 5 MB at a
    time, and cannot be cancelled in between. `failure` keeps the exception, because pyarrow hides it from its caller.
    """

    def __init__(self, path: str, name: str, size: int, meter: _Meter):
        super().__init__()
        self.path, self.name, self.size, self.meter = path, name, size, meter
        self.position = 0
        self.failure: BaseException | None = None
        self._waiting = b""
        self._response: Any = None
        self._stream: Iterator[bytes] = iter(())
        self._until = 0
        self._window = WINDOW_BYTES[0]
        self._mark = time.monotonic(), meter.n_read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if position != self.position:
            self._drop()
            self._window = WINDOW_BYTES[0]
            self.position = max(0, position)
        return self.position

    def read(self, size: int | None = -1) -> bytes:
        """Exactly that many bytes, fewer only at the end of the file."""
        wanted = self.size - self.position if size is None or size < 0 else size
        parts = []
        while wanted > 0 and (part := self.read_some(wanted)):
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def tick(self) -> None:
        self.meter.tick()

    def read_some(self, n_bytes: int, /) -> bytes:
        """Between one and `n_bytes` bytes, none at the end. Raises CorpusError, and what `progress` raises."""
        try:
            if not self._waiting and self.position < self.size:
                self._waiting = self._more(n_bytes)
        except BaseException as error:
            self.failure = error
            self._drop()
            raise
        part, self._waiting = self._waiting[:n_bytes], self._waiting[n_bytes:]
        self.position += len(part)
        return part

    def close(self) -> None:
        self._drop()
        super().close()

    def _more(self, n_bytes: int) -> bytes:
        import httpx2

        # RuntimeError: a network error in another thread closes the client that the library shares
        broken = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, RuntimeError)
        data = b""
        for left in range(RETRIES, -1, -1):
            if self.meter.n_read >= self.meter.limit:
                raise CorpusError(
                    f"{self.name}: {self.meter.n_read / 1e6:.0f} MB were read without finding {self.meter.max_chars:,} characters "
                    "of this field; choose a smaller file or another field"
                )
            with _refusals(self.name):
                try:
                    if self._response is None or self.position >= self._until:
                        next(self._stream, b"")  # read to the end, so that the connection is reused
                        self._open(n_bytes)
                    data = next(self._stream, b"")
                    if not data:
                        raise httpx2.RemoteProtocolError("the server ends too early")
                    break
                except broken:
                    self._drop()
                    if not left:
                        raise
            self.meter.tick()
            time.sleep(TIMEOUT_S / 20)
        self._received(len(data))
        return data

    def _received(self, n_bytes: int) -> None:
        self.meter.n_read += n_bytes
        now = time.monotonic()
        since, n_read = self._mark
        if now - since > SLOW_S:
            if self.meter.n_read - n_read < SLOW_BYTES:
                raise CorpusError(f"the Hugging Face Hub sends {self.name} too slowly; try again later, or choose a built-in text")
            self._mark = now, self.meter.n_read
        self.meter.tick()

    def _open(self, n_bytes: int) -> None:
        """Ask for the next range."""
        self._drop()
        at, left = self.position, self.meter.limit - self.meter.n_read
        self._until = min(self.size, at + max(min(n_bytes, WINDOW_BYTES[1]), self._window), at + left)
        self._window = min(2 * self._window, WINDOW_BYTES[1])
        self._response = _get(self.path, {"Range": f"bytes={at}-{self._until - 1}", "Accept-Encoding": "identity"})
        if not self._right(at):
            raise ValueError("another range than asked for")
        self._stream = self._response.iter_bytes()

    def _right(self, at: int) -> bool:
        """Whether the answer is the range that was asked for, or the whole file where its start was asked for."""
        if self._response.status_code == 200 and at == 0:
            self._until = self.size
            return True
        said = re.fullmatch(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)", self._response.headers.get("Content-Range", ""))
        encoding = self._response.headers.get("Content-Encoding", "identity")
        return encoding == "identity" and said is not None and int(said[1]) == at and said[3] in ("*", str(self.size))

    def _drop(self) -> None:
        response, self._response, self._stream, self._waiting = self._response, None, iter(()), b""
        if response is not None:
            with contextlib.suppress(Exception):  # the response is not used any more, so an error on closing does not matter
                response.close()


def _texts(remote: _Remote, kind: str | None, field: str | None, room: int) -> Iterator[str]:
    """The texts of one file: its whole text as one piece, or those of one field of a table."""
    try:
        if kind is None:
            yield _whole(remote, room)
        else:
            yield from tables.texts(remote, kind, field)
    except NeedsColumn as error:
        remedy = "" if field else "; say which one holds the text, as in hub:OWNER/NAME:PATH:FIELD"
        raise CorpusError(f"{error.fault}; its fields are {some(error.columns, 20)}{remedy}") from None
    except UnsureEncoding as error:
        raise CorpusError(f"{error.fault}; choose another file, or bring it as your own text, where its encoding can be chosen") from None


def _whole(remote: _Remote, room: int) -> str:
    """The file's text, read only until it is more than there is room for."""
    already, parts, n_chars = remote.meter.n_chars, [], 0
    for text in pieces(remote):
        parts.append(text)
        n_chars += len(text)
        remote.meter.has(already + min(n_chars, room))  # for the progress only; the caller counts what it takes
        if n_chars > room:
            break
    remote.meter.n_chars = already
    return "".join(parts)


def _cut(text: str, room: int) -> str:
    """At most `room` characters: to the last empty line, else the last line end, if that is in the second half."""
    text = text[: max(room, 0)]
    for end in ("\n\n", "\n"):
        at = text.rfind(end)
        if at >= len(text) / 2:
            return text[: at + 1]
    return text

"""Bytes to text: byte order marks, encodings, line ends, and what a file without text is, by its first bytes.

Knows neither network nor disk, nor what a text is for.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import Protocol

from playground.data.errors import CorpusError

PIECE_BYTES = 2**16
HEAD_BYTES = 64  # at least, of what a file's kind and mark are looked for in
GUESS_BYTES = 2**14  # on each side of the byte that is not UTF-8, of what the encoding is guessed from
ENOUGH_BYTES = 16  # to tell text in 16 bits from something else
SHOWN_CHARS = 40  # on each side of it, of what a person judges the guess by

MARKS = (  # the longest first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UNPACK = "unpack it first"
_EXPORT = "save it as plain text (.txt) in UTF-8"
_NO_TEXT = "choose a file of plain text"
KINDS = (
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ\0", "compressed with xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"%PDF-", "a PDF", "copy its text into a plain text file, or export it as text"),
    (b"{\\rtf", "in Rich Text Format", _EXPORT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an old Office version", _EXPORT),
    (b"PAR1", "a Parquet file", "give its name the ending .parquet, and say which column holds the text"),
    (b"ARROW1", "an Arrow file", "save it as Parquet or CSV"),
    (b"SQLite format 3\0", "an SQLite database", "export a table of it as CSV"),
    (b"\x89HDF", "an HDF5 file", _NO_TEXT),
    (b"\x80\x02", "a Python pickle, which is never opened here", _NO_TEXT),
    (b"\x80\x03", "a Python pickle, which is never opened here", _NO_TEXT),
    (b"\x80\x04\x95", "a Python pickle, which is never opened here", _NO_TEXT),
    (b"\x80\x05\x95", "a Python pickle, which is never opened here", _NO_TEXT),
    (b"\x89PNG", "a picture (PNG)", _NO_TEXT),
    (b"\xff\xd8\xff", "a picture (JPEG)", _NO_TEXT),
    (b"GIF87a", "a picture (GIF)", _NO_TEXT),
    (b"GIF89a", "a picture (GIF)", _NO_TEXT),
    (b"ID3\x03", "a sound (MP3)", _NO_TEXT),
    (b"ID3\x04", "a sound (MP3)", _NO_TEXT),
    (b"OggS\0", "a sound (Ogg)", _NO_TEXT),
    (b"\x7fELF", "a program (ELF)", _NO_TEXT),
    (b"MZ\x90\0", "a program for Windows", _NO_TEXT),
)
PACKED = {  # a folder in a zip archive that tells what it is
    "word/": ("a Word document", _EXPORT),
    "xl/": ("an Excel workbook", "save the sheet as CSV"),
    "ppt/": ("a PowerPoint presentation", _EXPORT),
    "META-INF/container.xml": ("an EPUB book", "convert it to plain text"),
    "content.xml": ("an OpenDocument file", _EXPORT),
}


class Opened(Protocol):
    """A file that is being read, here or elsewhere."""

    name: str

    def read_some(self, n_bytes: int, /) -> bytes:
        """Between one and `n_bytes` bytes, none at the end."""
        ...


class Held(io.BytesIO):
    """A file in memory, as it is read."""

    failure: BaseException | None = None

    def __init__(self, name: str, data: bytes):
        super().__init__(data)
        self.name = name

    read_some = io.BytesIO.read1

    def tick(self) -> None:
        pass


class NotText(CorpusError):
    """A file without text; the message says what it is."""


class UnsureEncoding(CorpusError):
    """Text that is not UTF-8. `proposed`: the encoding that fits best, as Python names it, or None; `reads`: a few words around the first
    byte that is not UTF-8, in that encoding. Whoever brought the text must say whether they are right."""

    def __init__(self, fault: str, proposed: str | None, reads: str):
        self.fault, self.proposed, self.reads = fault, proposed, reads
        looks = f". In {proposed} it reads “{reads}”: if that is right, choose this encoding; else" if proposed else ";"
        super().__init__(f"{fault}{looks} save it as UTF-8")


def pieces(file: Opened, encoding: str | None = None) -> Iterator[str]:
    """The text of a file, piece by piece, with \\n at line ends and without its byte order mark. A mark decides the encoding, else
    `encoding` does, else it must be UTF-8. Raises NotText, UnsureEncoding, and CorpusError where `encoding` doesn't fit."""
    first = file.read_some(PIECE_BYTES)
    while 0 < len(first) < HEAD_BYTES and (more := file.read_some(PIECE_BYTES)):
        first += more
    _refuse_kinds(file.name, first)
    mark, codec = next(((mark, codec) for mark, codec in MARKS if first.startswith(mark)), (b"", encoding or "utf-8"))
    decoder, lines = _decoder(file.name, codec), io.IncrementalNewlineDecoder(None, translate=True)
    at, data = len(mark), first[len(mark) :]  # where `data` begins in the file
    while True:
        start = at - len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise _undecoded(file.name, error, start, codec, is_asked=bool(encoding or mark)) from None
        if "\0" in text:
            raise _binary(file.name, first, start + len(text[: text.index("\0")].encode(codec)))
        yield lines.decode(text, final=not data)
        if not data:
            return
        at += len(data)
        data = file.read_some(PIECE_BYTES)


def kind_of(first: bytes) -> tuple[str, str] | None:
    """What a file is that begins with these bytes and holds no text, and what can be done about it."""
    found = next(((what, remedy) for begins, what, remedy in KINDS if first.startswith(begins)), None)
    if found is None and first[:4] == b"RIFF" and first[8:12] in (b"WAVE", b"AVI ", b"WEBP"):
        return "a sound, film or picture (RIFF)", _NO_TEXT
    return found


def _refuse_kinds(name: str, first: bytes) -> None:
    known = kind_of(first)
    if known is None:
        return
    what, remedy = known
    if first.startswith(b"PK"):
        what, remedy = next((told for inside, told in PACKED.items() if inside.encode() in first), (what, remedy))
    raise NotText(f"{name} is {what}; {remedy}")


def _decoder(name: str, codec: str) -> codecs.IncrementalDecoder:
    try:
        if not codecs.lookup(codec)._is_text_encoding:  # "rot13" and "zip" are codecs too
            raise LookupError
        return codecs.getincrementaldecoder(codec)()
    except (LookupError, ValueError):
        raise CorpusError(f"{name}: {codec[:40]!r} is not an encoding; use one such as utf-8, cp1252, latin-1 or shift_jis") from None


def _undecoded(name: str, error: UnicodeDecodeError, start: int, codec: str, is_asked: bool) -> CorpusError:
    where = f"byte 0x{error.object[error.start]:02x} at offset {start + error.start:,}"
    if is_asked:
        return CorpusError(f"{name} is not in {codec} ({where}); choose another encoding, or save it as UTF-8")
    proposed = _guessed(error.object[max(0, error.start - GUESS_BYTES) : error.start + GUESS_BYTES])
    reads = ""
    if proposed:
        before = error.object[: error.start].decode("utf-8", "replace")[-SHOWN_CHARS:]
        after = error.object[error.start : error.start + 8 * SHOWN_CHARS].decode(proposed, "replace")[:SHOWN_CHARS]
        reads = " ".join((before + after).split())
    is_text = sum(map(str.isalpha, reads)) > len(reads) / 3
    return UnsureEncoding(f"{name} is not UTF-8 ({where})", proposed if is_text else None, reads)


def _guessed(data: bytes) -> str | None:
    """The encoding that fits these bytes best; None where none does."""
    import charset_normalizer

    best = charset_normalizer.from_bytes(data).best()
    if best is None:
        return None
    # Several may read these bytes alike; then the one that most such files are in.
    return "cp1252" if "cp1252" in best.could_be_from_charset else best.encoding


def _binary(name: str, first: bytes, offset: int) -> CorpusError:
    """Every other byte zero is what Latin letters are in UTF-16; anything else with zero bytes is no text."""
    for parity, codec in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = first[parity::2], first[1 - parity :: 2]
        if len(first) >= ENOUGH_BYTES and zeros.count(0) > 0.7 * len(zeros) and 0 not in others:
            reads = " ".join(first[: 4 * SHOWN_CHARS].decode(codec, "replace").split())
            return UnsureEncoding(f"{name} is not UTF-8 (a zero byte at offset {offset:,})", codec, reads)
    return NotText(f"{name} looks like a binary file (a zero byte at offset {offset:,}); {_NO_TEXT}")

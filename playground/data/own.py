"""Files that people bring, as one text: plain text in any encoding, or one column of tables.

Knows nothing of where a text is kept. Tables are read in a process of their own (`fetching.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playground.data import fetching, tables
from playground.data.encodings import Held, pieces
from playground.data.errors import CorpusError

AS_IT_IS = ""  # for a column: the whole file as text, with commas and quotes


@dataclass(frozen=True)
class Reading:
    """How files are read. `column` holds the text of a table, None: not said yet, `AS_IT_IS`: no table; `encoding`: as Python names it,
    None: UTF-8."""

    column: str | None = None
    encoding: str | None = None


PLAIN = Reading()


def text_of(files: Sequence[tuple[str, bytes]], max_bytes: int, reading: Reading) -> str:
    """Several files, (name, bytes) each, as one text with an empty line between two. Raises CorpusError naming the file, among them
    NeedsColumn and UnsureEncoding where the person must say more."""
    total = sum(len(data) for _, data in files)
    if total > max_bytes:
        raise CorpusError(
            f"{_all(files)} has {total / 1e6:.1f} MB; this playground takes at most {max_bytes / 1e6:.1f} MB, so cut it first"
        )
    text = "\n\n".join(_text(name, data, max_bytes, reading) for name, data in files)
    if not text.strip():
        raise CorpusError(f"{_all(files)} is empty; choose a file with text in it")
    return text


def _text(name: str, data: bytes, max_bytes: int, reading: Reading) -> str:
    kind = tables.kind_of(name)
    if kind is None or (reading.column == AS_IT_IS and kind != "Parquet"):
        return "".join(pieces(Held(name, data), reading.encoding))
    with tempfile.TemporaryDirectory(prefix="playground-table-") as aside:
        path = Path(aside) / "table"
        path.write_bytes(data)
        return fetching.read_table(path, name, kind, reading.column or None, reading.encoding, max_bytes)


def _all(files: Sequence) -> str:
    return files[0][0] if len(files) == 1 else f"what was chosen, {len(files)} files together,"

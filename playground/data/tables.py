"""One column of a table as texts: CSV, TSV, JSONL and Parquet, read only as far as needed.

Knows neither network nor disk. What is packed into a Parquet file or a line of JSON can be much larger than the file, so tables are read
in a process with a limit on its memory (`fetching.py`).
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import Protocol

from playground.data.encodings import Opened, pieces
from playground.data.errors import CorpusError

TABLES = {".csv": "CSV", ".tsv": "TSV", ".parquet": "Parquet", ".jsonl": "JSONL", ".ndjson": "JSONL"}
BATCH_ROWS = 16  # of a table that are decoded at a time: each may be as long as a text
BUFFER_BYTES = 64 * 2**10
PEEKED = 100  # records of JSONL in which a key is looked for: it may be missing in some


class OpenedTable(Opened, Protocol):
    """A table that is being read. `failure`: what went wrong underneath, because pyarrow hides it from its caller."""

    failure: BaseException | None

    def tick(self) -> None:
        """Called for each record that gives no text."""
        ...


class NeedsColumn(CorpusError):
    """A table of which no column was chosen, or one that it has not. `columns` are those it has; `fault` says it without the remedy;
    `is_binary`: it cannot be taken as it is."""

    def __init__(self, fault: str, columns: list[str], asked: str | None, is_binary: bool = False):
        self.fault, self.columns, self.asked, self.is_binary = fault, columns, asked, is_binary
        super().__init__(f"{fault}; its columns are {some(columns, 20)}" + ("" if asked else ": say which one holds the text"))


def kind_of(name: str) -> str | None:
    """What kind of table a file of this name is, None for text."""
    return TABLES.get(PurePath(name).suffix.lower())


def texts(file: OpenedTable, kind: str, column: str | None, encoding: str | None = None) -> Iterator[str]:
    """The texts of one column, in order: as they are, numbers as Python writes them; what is missing, empty or of another kind is left
    out. Raises NeedsColumn, CorpusError."""
    for value in _values(file, kind, column, encoding):
        if isinstance(value, str) and value:
            plain = re.sub("[\ud800-\udfff]", "\ufffd", value)  # JSON can encode lone surrogates
            yield re.sub("\r\n?", "\n", plain)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield str(value)
        else:
            file.tick()


def _values(file: OpenedTable, kind: str, column: str | None, encoding: str | None) -> Iterator[object]:
    if kind == "Parquet":
        return _of_parquet(file, column)
    if kind == "JSONL":
        return _of_jsonl(file, column, encoding)
    return _of_csv(file, column, encoding, "\t" if kind == "TSV" else ",")


def _index(name: str, columns: list[str], column: str | None, is_binary: bool = False) -> int:
    """Where the column is among those of the table."""
    if column is None:
        raise NeedsColumn(f"{name} is a table", columns, None, is_binary)
    if column not in columns:
        raise NeedsColumn(f"{name} has no column {shown(column)}", columns, column, is_binary)
    return columns.index(column)


def _of_csv(file: OpenedTable, column: str | None, encoding: str | None, delimiter: str) -> Iterator[object]:
    csv.field_size_limit(max(csv.field_size_limit(), min(2**31 - 1, sys.maxsize)))  # the bytes read are bounded already
    rows = csv.reader(_lines(file, encoding), delimiter=delimiter)
    try:
        index = _index(file.name, next(rows, []), column)
        for row in rows:
            yield row[index] if index < len(row) else None
    except csv.Error as error:
        raise CorpusError(f"{file.name}: line {rows.line_num:,} cannot be read as CSV ({error}); choose another file") from None


def _of_jsonl(file: OpenedTable, column: str | None, encoding: str | None) -> Iterator[object]:
    seen: dict[str, None] = {}
    for number, line in enumerate(_lines(file, encoding), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise CorpusError(f"{file.name}: line {number:,} is not a JSON object; choose another file")
        if column is None or (column not in seen and len(seen) < PEEKED):
            seen |= dict.fromkeys(record)
        if column not in seen and (column is None or number >= PEEKED):
            break
        yield record.get(column)
    _index(file.name, list(seen), column)


def _of_parquet(file: OpenedTable, column: str | None) -> Iterator[object]:
    """Page by page, so that even of a large row group only the beginning is read."""
    import pyarrow
    from pyarrow import parquet, types

    try:
        opened = parquet.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
        schema = opened.schema_arrow
        name = schema.names[_index(file.name, schema.names, column, is_binary=True)]
        kind = schema.field(schema.names.index(name)).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        readable = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_floating, types.is_null)
        if not any(is_such(kind) for is_such in readable):
            raise CorpusError(f"{file.name}: the column {shown(name)} holds {str(kind)[:60]}, not text; choose another column")
        for batch in opened.iter_batches(batch_size=BATCH_ROWS, columns=[name], use_threads=False):
            yield from batch.column(0).to_pylist()
    except (CorpusError, MemoryError):
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if file.failure is not None:
            raise file.failure from None
        raise CorpusError(f"{file.name} is not a Parquet file that can be read ({type(error).__name__}); choose another file") from error


def _lines(file: OpenedTable, encoding: str | None) -> Iterator[str]:
    """Lines with their \\n, the only line end here: a record may contain others."""
    parts: list[str] = []
    for text in pieces(file, encoding):
        *lines, rest = text.split("\n")
        for line in lines:
            yield "".join([*parts, line, "\n"])
            parts = []
        parts.append(rest)
    if any(parts):
        yield "".join(parts)


def shown(text: str) -> str:
    """A name in a message: quoted, and not too long."""
    return repr(text if len(text) <= 80 else text[:79] + "…")


def some(names: list[str], n: int) -> str:
    """The first `n` names in a message, and how many more there are."""
    listed = ", ".join(name if len(name) <= 60 and name.isprintable() else shown(name) for name in names[:n])
    return listed + (f" and {len(names) - n} more" if len(names) > n else "")

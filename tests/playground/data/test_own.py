"""Files that people bring: what is read, what is asked, and what each kind of file without text is called."""

import bz2
import codecs
import gzip
import io
import json
import lzma
import pickle
import resource
import sqlite3
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.data import encodings, own
from playground.data.encodings import Held, NotText, UnsureEncoding, pieces
from playground.data.errors import CorpusError
from playground.data.own import AS_IT_IS, Reading
from playground.data.tables import NeedsColumn

LIMIT = 2_000_000
UNFOLDS = Path(__file__).parents[2] / "data" / "unfolds.parquet"
POEM = "Für Elise, die heute größer wäre.\nÄrger und Öl überall, sagte Jürgen, und süße Träume.\n" * 20


def read(name: str, data: bytes, column: str | None = None, encoding: str | None = None) -> str:
    return own.text_of([(name, data)], LIMIT, Reading(column, encoding))


def refused(name: str, data: bytes, kind: type[CorpusError] = CorpusError, **asked) -> CorpusError:
    with pytest.raises(kind) as caught:
        read(name, data, **asked)
    assert name in str(caught.value), "the file is named"
    return caught.value


# ---- encodings


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-be"])
def test_a_mark_decides_the_encoding_whatever_is_asked(codec):
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE, "utf-32-be": codecs.BOM_UTF32_BE}.get(codec, b"")
    assert read("letter.txt", mark + POEM.encode(codec)) == POEM
    assert read("letter.txt", mark + POEM.encode(codec), encoding="latin-1") == POEM


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.integers(1, 7))
def test_any_text_in_any_pieces_is_what_python_reads(text, n_bytes):
    """Against `open`, with its universal newlines, of files that begin neither with a mark nor as a known kind does."""
    data = text.encode()
    if encodings.kind_of(data) or any(data.startswith(mark) for mark, _ in encodings.MARKS):
        return

    class Slow(Held):
        def read_some(self, size: int, /) -> bytes:
            return self.read(min(n_bytes, size))

    assert "".join(pieces(Slow("slow", data))) == io.TextIOWrapper(io.BytesIO(data), "utf-8").read()


@pytest.mark.parametrize("codec, language", [("cp1252", POEM), ("cp1251", "Я помню чудное мгновенье: передо мной явилась ты.\n" * 20)])
def test_another_encoding_is_proposed_with_what_it_reads_and_taken_once_confirmed(codec, language):
    data = language.encode(codec)
    error = refused("letter.txt", data, UnsureEncoding)
    assert error.proposed is not None and error.reads.split()[0] in language
    assert error.proposed in str(error) and error.reads in str(error)
    assert read("letter.txt", data, encoding=error.proposed) == language


def test_sixteen_bits_without_a_mark_are_proposed_not_called_binary():
    for codec in ("utf-16-le", "utf-16-be"):
        error = refused("letter.txt", "a letter in sixteen bits".encode(codec), UnsureEncoding)
        assert error.proposed == codec and error.reads == "a letter in sixteen bits"


@pytest.mark.parametrize("name", ["nonsense", "rot13", "zip", "base64", "utf-8\0", "x" * 99])
def test_what_is_no_encoding_of_text_is_refused(name):
    assert "is not an encoding" in str(refused("letter.txt", b"abc", encoding=name))


def test_an_encoding_that_does_not_fit_is_refused_with_the_place():
    assert "is not in ascii (byte 0xe4 at offset 1)" in str(refused("letter.txt", "bär".encode("latin-1"), encoding="ascii"))


def test_the_offset_is_that_of_the_file_also_behind_a_mark_and_in_a_later_piece():
    for mark in (b"", codecs.BOM_UTF8):
        data = mark + b"\xc3\xa4" * 100_000 + b"\xff rest"
        assert f"byte 0xff at offset {len(mark) + 200_000:,}" in str(refused("big.txt", data))


# ---- what holds no text


def packed(name: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr(name, "text")
    return made.getvalue()


def database() -> bytes:
    with sqlite3.connect(":memory:") as db:
        db.execute("create table t (x)")
        return db.serialize()


@pytest.mark.parametrize(
    ("name", "data", "what", "remedy"),
    [
        ("essay.docx", packed("word/document.xml"), "a Word document", "plain text"),
        ("marks.xlsx", packed("xl/workbook.xml"), "an Excel workbook", "CSV"),
        ("book.epub", packed("META-INF/container.xml"), "an EPUB book", "plain text"),
        ("all.zip", packed("one.txt"), "a zip archive", "unpack"),
        ("all.txt", gzip.compress(POEM.encode()), "gzip", "unpack"),
        ("all.bz2", bz2.compress(POEM.encode()), "bzip2", "unpack"),
        ("all.xz", lzma.compress(POEM.encode()), "xz", "unpack"),
        ("paper.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF", "export it as text"),
        ("letter.rtf", rb"{\rtf1\ansi Hello}", "Rich Text Format", "plain text"),
        ("table.txt", pd.DataFrame({"text": ["a"]}).to_parquet(), "a Parquet file", ".parquet"),
        ("runs.db", database(), "an SQLite database", "CSV"),
        ("model.bin", pickle.dumps([1.5], 4), "pickle, which is never opened", "plain text"),
        ("photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", "a picture (JPEG)", "plain text"),
        ("data.bin", b"abc\0def", "a binary file (a zero byte at offset 3)", "plain text"),
    ],
)  # fmt: skip
def test_what_holds_no_text_is_called_by_its_name_with_the_remedy(name, data, what, remedy):
    error = str(refused(name, data, NotText))
    assert what in error and remedy in error


# ---- tables

RECORDS = [{"id": 1, "text": "first, with a comma"}, {"id": 2, "text": "second\nin two lines"}, {"id": 3, "text": "ünd dritter"}]
FRAME = pd.DataFrame(RECORDS)
TABLES = {
    "poems.csv": FRAME.to_csv(index=False).encode(),
    "poems.tsv": FRAME.to_csv(index=False, sep="\t").encode(),
    "poems.jsonl": "\n".join(map(json.dumps, RECORDS)).encode(),
    "poems.ndjson": "\r\n".join(map(json.dumps, RECORDS)).encode(),
    "poems.parquet": FRAME.to_parquet(index=False),
    "POEMS.CSV": FRAME.to_csv(index=False).encode("utf-16"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_asks_for_its_column_and_is_read_once_it_is_named(name):
    error = refused(name, TABLES[name], NeedsColumn)
    assert error.columns == ["id", "text"] and error.asked is None
    assert read(name, TABLES[name], "text") == "\n\n".join(record["text"] for record in RECORDS)
    assert read(name, TABLES[name], "id") == "1\n\n2\n\n3"
    wrong = refused(name, TABLES[name], NeedsColumn, column="words")
    assert "has no column 'words'" in str(wrong) and wrong.columns == ["id", "text"]


def test_a_table_may_be_taken_as_it_is_where_it_is_text():
    assert read("poems.csv", TABLES["poems.csv"], AS_IT_IS) == TABLES["poems.csv"].decode()
    assert refused("poems.parquet", TABLES["poems.parquet"], NeedsColumn, column=AS_IT_IS).columns == ["id", "text"]


def test_a_table_in_another_encoding_asks_for_it_too():
    data = pd.DataFrame({"text": [POEM]}).to_csv(index=False).encode("cp1252")
    error = refused("poems.csv", data, UnsureEncoding, column="text")
    assert read("poems.csv", data, "text", error.proposed) == POEM


def test_a_column_without_text_and_one_of_too_much_are_refused():
    assert "has no text" in str(refused("empty.jsonl", b'{"text": null, "n": 1}\n', column="text"))
    packed_well = pd.DataFrame({"text": ["the same words again"] * 200_000}).to_parquet()
    assert len(packed_well) < 100_000
    assert "holds more than 2.0 MB" in str(refused("much.parquet", packed_well, column="text"))
    assert "much.jsonl has 3.0 MB" in str(refused("much.jsonl", 3 * json.dumps({"text": "x" * 1_000_000}).encode(), column="text"))


def test_what_unfolds_to_gigabytes_is_refused_and_this_process_stays_small():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = str(refused("small.parquet", UNFOLDS.read_bytes(), column="text"))
    assert "holds more than 2.0 MB of text" in said or "memory to be read" in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB"


def test_files_of_several_kinds_make_one_text():
    files = [("a.txt", b"plain"), ("b.txt", "größer".encode("utf-16")), ("c.jsonl", b'{"text": "a record"}')]
    assert own.text_of(files, LIMIT, Reading("text")) == "plain\n\ngrößer\n\na record"

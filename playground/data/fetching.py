"""Reads what others have packed in a process of its own: whatever is in it, this process and not the app runs out of memory.

`python -m playground.data.fetching`, asked by `fetch` for a text of the Hub and by `read_table` for a file that was brought. Nothing is
kept but the text, in the file that is named in the request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from playground.data import hub, tables
from playground.data.encodings import Held, UnsureEncoding
from playground.data.errors import CorpusError
from playground.data.hub import Fetched, HubText, Progress
from playground.data.tables import NeedsColumn
from playground.system import child

ROOM_BYTES = 2**30  # of address space: the libraries take about half of it
BYTES_A_CHAR = 16  # a text of four bytes a character, and copies of it
CPU_S = 300
ASKING = {"column": NeedsColumn, "encoding": UnsureEncoding}  # refusals that ask for something, by what they ask for


def fetch(wanted: HubText, max_chars: int, into: Path, progress: Progress | None = None) -> Fetched:
    """As `hub.fetch`, through the file `into`. Raises CorpusError, also where the process runs out of memory or time."""
    memory_bytes = ROOM_BYTES + BYTES_A_CHAR * max_chars
    request = {"wanted": asdict(wanted), "max_chars": max_chars, "into": str(into), "memory_bytes": memory_bytes}
    found = _ask(request, wanted.source, progress)
    return Fetched(into.read_bytes().decode(), **found)


def read_table(path: Path, name: str, kind: str, column: str | None, encoding: str | None, max_bytes: int) -> str:
    """One column of the table at `path`, which is called `name`, with an empty line between two records. Raises CorpusError, NeedsColumn,
    UnsureEncoding, also where the process runs out of memory or time."""
    into = path.with_suffix(".text")
    table = {"path": str(path), "name": name, "kind": kind, "column": column, "encoding": encoding}
    memory_bytes = ROOM_BYTES + BYTES_A_CHAR * max_bytes
    _ask({"table": table, "max_bytes": max_bytes, "into": str(into), "memory_bytes": memory_bytes}, name, None)
    return into.read_bytes().decode()


def _ask(request: dict, name: str, progress: Progress | None) -> dict:
    """What the process answers in the end. Raises what it refuses."""
    try:
        for said in child.talk("playground.data.fetching", request):
            if "refused" in said:
                raise CorpusError(said["refused"])
            for asked in said.keys() & ASKING.keys():
                raise ASKING[asked](**said[asked])
            if "done" in said:
                return said["done"]
            if progress is not None:
                progress(said["share"], said["words"])
    except child.ChildDied as death:
        if death.out_of_time:
            raise CorpusError(f"{name} takes too long to read, so it is packed too tightly; choose another file") from None
    raise CorpusError(_too_large(name, request["memory_bytes"]))


def _too_large(name: str, memory_bytes: int) -> str:
    return (
        f"{name} needs more than {memory_bytes / 1e9:.1f} GB of memory to be read: a record is too long, or packed too tightly; "
        "choose another file or field"
    )


# ---- in the process itself


def main() -> None:
    asked = child.request()
    child.confine(asked["memory_bytes"], CPU_S)
    do: Callable[[dict], dict[str, Any]] = _fetch if "wanted" in asked else _read_table
    name = asked["wanted"]["source"] if "wanted" in asked else asked["table"]["name"]
    try:
        done = do(asked)
    except NeedsColumn as error:
        told = {"fault": error.fault, "columns": error.columns, "asked": error.asked, "is_binary": error.is_binary}
        child.answer({"column": told})
    except UnsureEncoding as error:
        child.answer({"encoding": {"fault": error.fault, "proposed": error.proposed, "reads": error.reads}})
    except CorpusError as error:
        child.answer({"refused": error.problems[0].message})
    except MemoryError:
        child.answer({"refused": _too_large(name, asked["memory_bytes"])})
    else:
        child.answer({"done": done})


def _fetch(asked: dict) -> dict[str, Any]:
    wanted = HubText(**asked["wanted"] | {"paths": tuple(asked["wanted"]["paths"])})
    found = hub.fetch(wanted, asked["max_chars"], lambda share, words: child.answer({"share": share, "words": words}))
    Path(asked["into"]).write_bytes(found.text.encode())
    return {"commit": found.commit, "whole": found.whole, "n_read_bytes": found.n_read_bytes}


def _read_table(asked: dict) -> dict[str, Any]:
    table, n_bytes, found = asked["table"], 0, []
    for text in tables.texts(Held(table["name"], Path(table["path"]).read_bytes()), table["kind"], table["column"], table["encoding"]):
        n_bytes += len(text.encode()) + 2
        if n_bytes > asked["max_bytes"]:
            raise CorpusError(
                f"the column {tables.shown(table['column'])} of {table['name']} holds more than {asked['max_bytes'] / 1e6:.1f} MB of text, "
                "which is what this playground takes; cut it first"
            )
        found.append(text)
    if not found:
        raise CorpusError(f"the column {tables.shown(table['column'])} of {table['name']} has no text; choose another column")
    Path(asked["into"]).write_bytes("\n\n".join(found).encode())
    return {"n_records": len(found)}


if __name__ == "__main__":
    main()

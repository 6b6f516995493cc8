"""Reads a text of the Hub in a process of its own: whatever is packed into its files, this process and not the app runs out of memory.

`python -m playground.data.fetching`, asked by `fetch`. Nothing is kept but the text, in the file that is named in the request.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from playground.data import hub
from playground.data.errors import CorpusError
from playground.data.hub import Fetched, HubText, Progress
from playground.system import child

ROOM_BYTES = 2**30  # of address space: the libraries take about half of it
BYTES_A_CHAR = 16  # a text of four bytes a character, and copies of it
CPU_S = 300


def fetch(wanted: HubText, max_chars: int, into: Path, progress: Progress | None = None) -> Fetched:
    """As `hub.fetch`, through the file `into`. Raises CorpusError, also where the process runs out of memory or time."""
    memory_bytes = ROOM_BYTES + BYTES_A_CHAR * max_chars
    request = {"wanted": asdict(wanted), "max_chars": max_chars, "into": str(into), "memory_bytes": memory_bytes}
    try:
        for said in child.talk("playground.data.fetching", request):
            if "refused" in said:
                raise CorpusError(said["refused"])
            if "commit" in said:
                return Fetched(into.read_bytes().decode(), **said)
            if progress is not None:
                progress(said["share"], said["words"])
    except child.ChildDied as death:
        if death.out_of_time:
            raise CorpusError(f"{wanted.source} takes too long to read, so it is packed too tightly; choose another file") from None
    raise CorpusError(_too_large(wanted, memory_bytes))


def _too_large(wanted: HubText, memory_bytes: int) -> str:
    return (
        f"{wanted.source} needs more than {memory_bytes / 1e9:.1f} GB of memory to be read: a record is too long, or packed too tightly; "
        "choose another file or field"
    )


def main() -> None:
    """The process itself."""
    asked = child.request()
    child.confine(asked["memory_bytes"], CPU_S)
    wanted = HubText(**asked["wanted"] | {"paths": tuple(asked["wanted"]["paths"])})
    try:
        found = hub.fetch(wanted, asked["max_chars"], lambda share, words: child.answer({"share": share, "words": words}))
        Path(asked["into"]).write_bytes(found.text.encode())
    except CorpusError as error:
        child.answer({"refused": error.problems[0].message})
    except MemoryError:
        child.answer({"refused": _too_large(wanted, asked["memory_bytes"])})
    else:
        child.answer({"commit": found.commit, "whole": found.whole, "n_read_bytes": found.n_read_bytes})


if __name__ == "__main__":
    main()

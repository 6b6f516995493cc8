"""The requests of a browser that opens the page with an empty cache, found by parsing the page's own files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from tests.soak.client import Client
from tests.soak.page import Page

AT_ONCE = 6  # connections of a browser to one server
LIKE_A_BROWSER = [("Accept-Encoding", "gzip, deflate, br, zstd")]
IN_DOCUMENT = re.compile(rb'(?:src|href)=\\?"(?:\./|/)?((?:assets|static|theme|live)[^"\\]+)')
THEME = re.compile(rb'"theme_hash": ?"(\w+)"')
STATIC = re.compile(rb"""(?:from|import)\s*["'`]\./([\w.~-]+\.js)["'`]""")
LATER = re.compile(rb"""import\(["'`]\./([\w.~-]+\.js)["'`]\)(?:,__vite__mapDeps\(\[([\d,]*)\]\))?""")
PARTS = re.compile(rb"(\w+):\{((?:\w+:\(\)=>\w+\(\(\)=>import\([^()]*\)(?:,__vite__mapDeps\([^()]*\))?(?:,import\.meta\.url)?\),?)+)\}")
BESIDE = re.compile(rb"m\.f=\[([^\]]*)\]")
ALWAYS = ("Index-", "Blocks-")


async def cold_files(client: Client, page: Page) -> list[str]:
    """Paths of all files that the page needs before it can be used, except its document."""
    document = (await client.get("/")).body
    found = dict.fromkeys(f"/{name.decode()}" for name in IN_DOCUMENT.findall(document))
    theme = THEME.search(document)
    if theme:
        found[f"/theme.css?v={theme[1].decode()}"] = None
    kinds = {component["type"] for component in page.components.values()}
    waiting = [name.removeprefix("/assets/") for name in found if name.startswith("/assets/") and name.endswith(".js")]
    seen = set(waiting)
    while waiting:
        script = (await client.get(f"/assets/{waiting.pop()}")).body
        for name in _needed(script, kinds) - seen:
            seen.add(name)
            found[f"/assets/{name}"] = None
            if name.endswith(".js"):
                waiting.append(name)
    return list(found)


def _needed(script: bytes, kinds: Iterable[str]) -> set[str]:
    """The static imports of a script, and Gradio's modules for the components of this page, with what those need."""
    beside = BESIDE.search(script)
    listed = [name.strip(b"\"'./").decode() for name in beside[1].split(b",")] if beside else []
    found = {name.decode() for name in STATIC.findall(script)}
    parts = PARTS.findall(script)
    later = b"".join(text for kind, text in parts if kind.decode() in kinds) if parts else script
    for name, needs in LATER.findall(later):
        if parts or name.decode().startswith(ALWAYS):
            found |= {name.decode(), *(listed[int(i)] for i in needs.split(b",") if i)}
    return found


async def load(client: Client, paths: list[str]) -> int:
    """Fetch all files as a browser does, a few at a time; returns how many did not answer 200."""
    bad, rest = 0, list(reversed(paths))

    async def connection() -> None:
        nonlocal bad
        while rest:
            answer = await client.ask("GET", rest.pop(), headers=LIKE_A_BROWSER)
            bad += answer.status != 200

    await asyncio.gather(*(connection() for _ in range(AT_ONCE)))
    return bad

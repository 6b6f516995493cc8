"""Serves Gradio's own scripts and styles: compressed once, not for every visitor anew, and cached by browsers for good.

That is safe because their names change with their content. Knows nothing of the playground.
"""

from __future__ import annotations

import gzip
import mimetypes
from pathlib import Path

import gradio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

FOLDER = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"
KEPT = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
COMPRESSED = (".js", ".css")
MOST_BYTES = 2 << 20  # larger files belong to components that this page does not use


class Frontend:
    """Answers `/assets/{name}`."""

    def __init__(self, folder: Path = FOLDER):
        self.files = {path.name: path for path in folder.iterdir() if path.is_file()}
        self._compressed: dict[str, bytes] = {}

    async def answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = self.files.get(name)
        if path is None:
            return PlainTextResponse("there is no such file", 404)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        accepted = "gzip" in request.headers.get("accept-encoding", "")
        if not accepted or path.suffix not in COMPRESSED or path.stat().st_size > MOST_BYTES:
            return FileResponse(path, media_type=kind, headers=KEPT)
        if name not in self._compressed:
            self._compressed[name] = await run_in_threadpool(lambda: gzip.compress(path.read_bytes(), 9))
        return Response(self._compressed[name], media_type=kind, headers=KEPT | {"Content-Encoding": "gzip"})

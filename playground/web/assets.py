"""The files of assets/, and plotly's script, for browsers: compressed once, and kept there. Knows nothing of runs."""

from __future__ import annotations

import gzip
import mimetypes
from functools import lru_cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from playground.system.files import ASSETS


def answer(request: Request) -> Response:
    """A file of assets/, or plotly's script; kept by the browser, compressed once."""
    name = request.path_params["name"]
    path = asset_path(name)
    if path is None:
        raise HTTPException(404, f"there is no asset {name[:60]!r}")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    stamp = path.stat().st_mtime_ns
    etag = f'"{stamp:x}"'
    headers = {"Cache-Control": "public, max-age=31536000, immutable" if "v" in request.query_params else "no-cache", "ETag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", "") and kind.startswith(("text/", "application/javascript", "image/svg")):
        return Response(
            compressed(path, stamp), media_type=kind, headers={**headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        )
    return Response(path.read_bytes(), media_type=kind, headers=headers)


def asset_path(name: str) -> Path | None:
    """Where an asset lies; None for anything that is not one."""
    if name == "plotly.min.js":
        import plotly

        return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return next((path for path in ASSETS.iterdir() if path.name == name and path.is_file()), None)


@lru_cache(maxsize=32)
def compressed(path: Path, stamp: int) -> bytes:
    """The file's bytes, gzipped; `stamp` makes a changed file a new one."""
    return gzip.compress(path.read_bytes(), 6)


ROUTES = (Route("/assets/{name}", answer),)

"""The page's own modules and styles, and Plotly's script: read once, compressed once, and cached by browsers for good.

All lie under one version, a hash that changes when any of them does. A browser identifies a module by its whole address, the query
included, and modules import each other by relative paths: with the version in the path each module is loaded exactly once. A page
that was opened before an update asks for another version and gets 404, because those files no longer exist.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from playground.system.files import ASSETS

KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}  # browsers refuse modules of another type
KEPT = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
PLOTLY = "plotly.min.js"
FIRST = "first.js"  # no module: it stands in the document and runs before all else


@dataclass(frozen=True)
class Asset:
    kind: str
    data: bytes

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.data, 6)


class Assets:
    """The files as they were at the start of the app: what lies under a version never changes."""

    def __init__(self, folder: Path = ASSETS):
        paths = [*(path for path in folder.iterdir() if path.suffix in KINDS), _plotly()]
        self.files = {path.name: Asset(KINDS[path.suffix], path.read_bytes()) for path in sorted(paths, key=lambda path: path.name)}
        digest = hashlib.sha256()
        for name, asset in self.files.items():
            digest.update(f"{name} {len(asset.data)} ".encode() + asset.data)
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """Address of a file, relative to the page, so that it works under a sub-path too."""
        return f"live/assets/{self.version}/{name}"

    def modules(self) -> list[str]:
        """Names of the page's own modules."""
        return [name for name in self.files if name.endswith(".js") and name not in (PLOTLY, FIRST)]

    def text(self, name: str) -> str:
        return self.files[name].data.decode()

    def compress(self) -> None:
        """Compress all files before the first visitor, who would otherwise wait for it."""
        for asset in self.files.values():
            _ = asset.compressed

    def answer(self, request: Request) -> Response:
        """`/assets/{version}/{name}`."""
        version, name = request.path_params["version"], request.path_params["name"]
        asset = self.files.get(name) if version == self.version else None
        if asset is None:
            raise HTTPException(404, f"there is no asset {name[:60]!r} of version {version[:20]!r}; open the page again")
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(asset.data, media_type=asset.kind, headers=KEPT)
        return Response(asset.compressed, media_type=asset.kind, headers={**KEPT, "Content-Encoding": "gzip"})


@lru_cache(maxsize=1)
def assets() -> Assets:
    return Assets()


def _plotly() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data" / PLOTLY

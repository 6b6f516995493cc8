"""Security middleware: adds security headers to every response, and refuses cross-site changes (CSRF), requests that are too large,
and those that are meant for another address (DNS rebinding).

Plain ASGI, around all routes. Knows nothing of runs; `Access` decides who may steer them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.system.files import REPOSITORY

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# 'unsafe-inline' for scripts and styles inside the document, 'unsafe-eval' because Gradio creates functions from text.
# Spaces show the page in a frame of huggingface.co, so frame-ancestors and not X-Frame-Options.
POLICY = "; ".join(
    (
        "default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval'", "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:", "font-src 'self' data:", "media-src 'self' data: blob:", "connect-src 'self' data: blob:",
        "worker-src 'self' blob:", "object-src 'none'", "base-uri 'self'", "form-action 'self'",
    )
)  # fmt: skip
FRAMES = "frame-ancestors 'self' https://huggingface.co"
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; {FRAMES}",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Shield:
    """Wraps an app in these rules; a request body may have `max_bytes`, `hosts` says which `Host` headers are answered, and pages of
    the origins `framed_by` may show the app in a frame too."""

    def __init__(self, app: ASGIApp, max_bytes: int, hosts: Callable[[str | None], bool], framed_by: Sequence[str] = ()):
        self.app, self.max_bytes, self.hosts = app, max_bytes, hosts
        self.headers = HEADERS | {"Content-Security-Policy": " ".join([f"{POLICY}; {FRAMES}", *framed_by])}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        try:
            await self.app(scope, _Counted(receive, self.max_bytes), send_guarded)
        except Exception as error:  # Gradio's own routes raise anything for malformed requests
            print(_in_a_line(scope, error), file=sys.stderr, flush=True)
            if not started:
                await PlainTextResponse("this request cannot be understood", 400)(scope, receive, send_guarded)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        if not self.hosts(headers.get("host")):
            named = f"the playground does not know the address {headers['host'][:100]!r} as its own"
            return PlainTextResponse(f"{named}; whoever runs it can allow that with PLAYGROUND_HOSTS", 421)
        if method not in SAFE_METHODS and not same_origin(headers):
            return PlainTextResponse("this comes from another site; open the playground itself", 403)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.max_bytes:
            return PlainTextResponse(f"the request is larger than {self.max_bytes:,} bytes", 413)
        return None


def _in_a_line(scope: Scope, error: Exception) -> str:
    """The error and its place on one line, for the terminal: in our own code by the path in the repository, elsewhere by the last two
    parts of the path. Characters that are not printable become spaces."""
    frames = traceback.extract_tb(error.__traceback__)
    path = Path(frames[-1].filename) if frames else Path("nowhere")
    path = path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else Path(*path.parts[-2:])
    where = f"{path.as_posix()}:{frames[-1].lineno}" if frames else "nowhere"
    words = f"{scope['method']} {scope['path'][:80]} failed: {type(error).__name__}: {str(error)[:200]}"
    return "".join(c if c.isprintable() else " " for c in f"{words} ({where})")


class _Counted:
    """Limits the body to `max_bytes`: a longer one without a Content-Length is cut off as if its sender had disconnected."""

    def __init__(self, receive: Receive, max_bytes: int):
        self.receive, self.left = receive, max_bytes

    async def __call__(self) -> Message:
        message = await self.receive()
        if message["type"] == "http.request":
            self.left -= len(message.get("body", b""))
            if self.left < 0:
                return {"type": "http.disconnect"}
        return message


def same_origin(headers: Headers) -> bool:
    """Whether a request comes from the page itself or from a program, which sends no origin. Browsers send `Sec-Fetch-Site`, which
    no script can set; over plain HTTP they send only `Origin`."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return True
    hosts = [headers.get("host"), headers.get("x-forwarded-host")]
    return urlsplit(origin).netloc.lower() in [host.split(",")[0].strip().lower() for host in hosts if host]

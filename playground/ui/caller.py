"""Middleware that keeps the network address of whoever calls a tool over MCP. Gradio's MCP server calls the endpoints of its own app over
HTTP and passes the headers on, so all of these calls would seem to come from this machine, and share the limits of one address.

Plain ASGI. A note that only this process can write travels in a header; one that comes from outside is dropped.
"""

from __future__ import annotations

import hmac
import secrets

from gradio.route_utils import API_PREFIX
from starlette.types import ASGIApp, Receive, Scope, Send

HEADER = b"x-playground-caller"
MCP = f"{API_PREFIX}/mcp"


class Callers:
    """Wraps an app. The address is noted at a request to the MCP server, and read at what that server asks of the app."""

    def __init__(self, app: ASGIApp):
        self.app, self._secret = app, secrets.token_hex(16).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(self._seen(scope) if scope["type"] == "http" else scope, receive, send)

    def _seen(self, scope: Scope) -> Scope:
        headers = [each for each in scope["headers"] if each[0] != HEADER]
        if MCP in scope["path"]:
            address = (scope.get("client") or ("",))[0]
            return {**scope, "headers": [*headers, (HEADER, self._secret + b" " + address.encode())]}
        secret, _, address = dict(scope["headers"]).get(HEADER, b"").partition(b" ")
        if not hmac.compare_digest(secret, self._secret):
            return {**scope, "headers": headers}
        return {**scope, "headers": headers, "client": (address.decode(), 0)}

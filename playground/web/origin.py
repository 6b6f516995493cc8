"""Where a request comes from, and for which address it is meant: the visitor's network address, and the `Host` that it names.

Behind a proxy that was declared (PLAYGROUND_PROXIES) the address is the one that the outermost of them has forwarded; without that
`X-Forwarded-For` is ignored, because anybody can write it.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from playground.config.settings import Settings

SPACES = ".hf.space"


def address_of(client: str | None, forwarded_for: str, proxies: int) -> str:
    """The network address of a visitor, of IPv6 the network of 64 bits that one person is given; empty where it is not known."""
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    text = hops[-proxies] if 0 < proxies <= len(hops) else client or ""
    try:
        address = ipaddress.ip_address(text.split("%")[0])
    except ValueError:
        return text[:60]
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


class Hosts:
    """The names under which this app may be asked for. Another name that leads here is perhaps a page elsewhere that wants to act as
    this one (DNS rebinding); a number cannot be redirected so, and is always allowed."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]):
        own = socket.gethostname().lower()
        root = urlsplit(environ.get("GRADIO_ROOT_PATH", "")).hostname
        self.names = {"localhost", own, f"{own}.local", *settings.hosts, *([root] if root else [])}
        self.suffixes = (".localhost", SPACES) if environ.get("SPACE_ID") else (".localhost",)

    def allow(self, host: str | None) -> bool:
        """Whether a `Host` header names this app. Programs may leave it out, browsers cannot."""
        if not host or "*" in self.names:
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self.names or name.endswith(self.suffixes) or _is_number(name)


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

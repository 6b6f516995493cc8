"""Starts the page, the routes and the supervisor together, and ends them in order."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import sys
import threading

from gradio import http_server
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from playground.config.settings import TOKEN, Settings
from playground.runs import store
from playground.runs.access import Access
from playground.runs.store import Run, Store, StoreBusy
from playground.system import memory
from playground.system.cores import calm_threads
from playground.ui import page
from playground.ui.blocks import Blocks
from playground.ui.caller import Callers
from playground.ui.common import Services
from playground.ui.frontend import Frontend
from playground.ui.shield import Shield
from playground.web.assets import FIRST, assets
from playground.web.computing import Computing
from playground.web.origin import Hosts
from playground.web.projector import Projector
from playground.web.routes import Routes
from playground.web.wall import Wall, address_in_the_room
from playground.workers.supervisor import Supervisor

# Gradio stores the state of all controls for every page load. Nothing here needs it, so few are kept.
SESSIONS = 100
ROOM_IN_A_BODY = 4  # the size of a request over that of an upload: several files at once, or a text with escaped characters


class Mounted:
    """An app mounted under a prefix that also works behind a proxy which strips a path prefix of its own."""

    def __init__(self, app: ASGIApp, prefix: str):
        self.app, self.prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(scope.get("root_path", "")):
            scope = dict(scope, root_path=scope["root_path"].removesuffix(self.prefix), path=scope["path"].removeprefix(self.prefix))
        await self.app(scope, receive, send)


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; runs that train go on without the page."""
    os.environ.update(calm_threads(os.environ))
    # Left out, uvicorn believes the X-Forwarded-For of every program on this machine; `web/origin.py` decides instead.
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    _without_hot_reloading()
    memory.give_back()
    db = Store(settings.root)
    try:
        db.create()
    except StoreBusy as error:
        sys.exit(f"Runs cannot be kept in {settings.root}: {error}.")
    except OSError as error:
        sys.exit(f"Runs cannot be kept in {settings.root}: {error}. Choose a folder that can be written with PLAYGROUND_ROOT.")
    supervisor, token = Supervisor(settings, db), os.environ.get(TOKEN, "").strip() or secrets.token_urlsafe(12)
    computing = Computing(settings.nice, others=lambda: len(db.runs_in(store.ACTIVE)))
    services = Services(settings, db, supervisor, Access(db, token), computing=computing)
    blocks = page.build(services)
    supervisor.start()
    threading.Thread(target=assets().compress, daemon=True).start()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with db.held_open():
            _launch(blocks, services)
            print(f"GPT playground: {blocks.local_url}   (runs are kept in {settings.root}; Ctrl-C ends the page)")
            print(f"For the host alone, with the Host tab: {blocks.local_url}#host={token}", flush=True)
            _say_no_tools(blocks)
            stop.wait()
    except OSError as error:
        print(f"The page could not be opened: {error}. Choose another port with GRADIO_SERVER_PORT.", file=sys.stderr)
    finally:
        services.computing.close()
        running = supervisor.shutdown()
        _say_goodbye(running, settings)
        blocks.close(verbose=False)


def _without_hot_reloading() -> None:
    """On a Space Gradio watches for code that is edited there, through a package of Spaces' own. Its thread would end in a traceback where
    the environment is that of a Space and the package is missing."""
    if importlib.util.find_spec("spaces") is None:
        http_server.watchfn_spaces = lambda reloader: None  # pyright: ignore[reportPrivateImportUsage]


def _launch(blocks, services: Services) -> None:
    settings, port = services.settings, _port(os.environ.get("GRADIO_SERVER_PORT", ""))
    live = Routes(
        settings, services.db, errands=services.reprobing, looking=services.looking, access=services.access,
        audience=services.audience, scale=services.supervisor.enforcer.scale, experimenting=services.experimenting,
    )  # fmt: skip
    most, hosts = ROOM_IN_A_BODY * settings.max_upload_bytes + 2**20, Hosts(settings, os.environ).allow
    wall = Wall(live, address_in_the_room(os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), port), services.supervisor.admission.addresses)
    live_app = live.app(*wall.routes(), *Projector(wall).routes())
    blocks.launch(
        server_port=port,
        theme=page.theme(), head=_head(),
        app_kwargs={
            "routes": [Mount("/live", app=Mounted(live_app, "/live")), Route("/assets/{name}", Frontend().answer)],
            "openapi_url": None, "docs_url": None, "redoc_url": None,
            "middleware": [Middleware(Callers), Middleware(Shield, max_bytes=most, hosts=hosts, framed_by=settings.framed_by)],
        },
        prevent_thread_lock=True, quiet=True, show_error=False, footer_links=["api"], run_history=False, enable_monitoring=False,
        ssr_mode=False, pwa=False, max_file_size=settings.max_upload_bytes, state_session_capacity=SESSIONS,
    )  # fmt: skip


def _port(text: str) -> int:
    """Raises OSError for a malformed port, as binding one that is taken does."""
    if text and not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise OSError(f"GRADIO_SERVER_PORT={text[:20]!r} is no port; use a number from 1 to 65535")
    return int(text or 7860)


def _head() -> str:
    icon = assets().text("icon.svg").replace("#", "%23").replace('"', "'").replace("\n", "")
    style = f"<style>{page.css()}</style>"  # launch(css=...) would add a prefixed copy, more specific than the rules for states
    links = f'<link rel="icon" href="data:image/svg+xml,{icon}"><meta name="viewport" content="width=device-width, initial-scale=1">'
    # Preloaded in parallel with Gradio's scripts: an import alone would start after Gradio has built the page, one module at a time.
    modules = "".join(f'<link rel="modulepreload" href="{assets().url(name)}">' for name in assets().modules())
    return f"<script>{assets().text(FIRST)}</script>" + style + links + modules


def _say_no_tools(blocks: Blocks) -> None:
    """Why there are no tools for agents, where GRADIO_MCP_SERVER asks for them. Where they are, Gradio prints itself."""
    if blocks.mcp_error:
        print(f"There are no tools for agents. {blocks.mcp_error}", file=sys.stderr, flush=True)


def _say_goodbye(running: list[Run], settings: Settings) -> None:
    if not running:
        print("The page is closed. No run is training.", flush=True)
        return
    noun = "run goes" if len(running) == 1 else "runs go"
    command = f"python -m playground stop --all --root {settings.root}"
    print(f"The page is closed. {len(running)} {noun} on training; to stop them: {command}", flush=True)

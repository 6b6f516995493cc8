"""The page's own HTTP routes beside Gradio's: plain GET requests, mounted at /live.

Read-only. Everybody with a run's link may watch it; a private one needs the owner's key in a header. The browser keeps the cursor.
Answers are bytes, computed once for all who ask the same thing at about the same time. Imports no torch.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from models.knobs import ConfigError, parse
from models.source import NotWritten
from playground.config.run import MAX_PROBE_TEXT, CompleteRun
from playground.config.settings import Settings
from playground.runs import code, disk, sampler, store
from playground.runs.access import Access, NotAllowed, Visitor
from playground.runs.experiments import Plans
from playground.runs.folder import RunFolder
from playground.runs.points import Points
from playground.runs.store import NoSuchExperiment, NoSuchRun, Run, Store, StoreBusy
from playground.training.errors import CheckpointError
from playground.web import answers, downloads, plots, status
from playground.web.assets import assets
from playground.web.cache import Cache
from playground.web.computing import Busy, Computing
from playground.web.errands import PATIENCE_S, Errands, TooManyErrands, Underway, Unheard
from playground.web.experiments import Experimenting, for_visitor
from playground.web.listing import Listing
from playground.web.looking import Looking
from playground.web.origin import address_of
from playground.web.refusals import code_of
from playground.web.status import Statuses
from playground.workers.audience import Audience

KEY_HEADER, HOST_HEADER, PAGE_HEADER = "x-playground-key", "x-playground-host", "x-playground-page"
OBSERVED_S, LISTED_S = 2.5, 0.5  # how old an answer may be
COMPRESSED_FROM, COMPRESSION = 2000, 1  # bytes, and the level of gzip
MAX_OVERLAY, MAX_GROUPED = 12, 32  # runs
MAX_PARTS, MAX_TOKEN = 2000, 200  # characters of what is switched off, and of one token
MAX_CONFIG = 8000  # characters of a design
NEWEST = 10**12  # beyond every step


class Routes:
    """One method per route: it parses the request, checks access, and answers, perhaps from the cache. Writes nothing."""

    def __init__(
        self, settings: Settings, db: Store, *, errands: Errands | None = None,
        access: Access | None = None, audience: Audience | None = None, scale: disk.Scale | None = None, looking: Looking | None = None,
        experimenting: Callable[[Points], Experimenting] | None = None,
    ):  # fmt: skip
        self.settings, self.root, self.db = settings, settings.root, db
        self.errands, self.scale = errands or Errands(), scale or disk.Scale(settings.root)
        self.points = Points(db)
        self.exports = downloads.Exports(settings.root)
        self.looking = looking or Looking(settings.root, Computing())
        self.access, self.audience = access or Access(db), audience or Audience()
        begin = experimenting or (lambda points: Experimenting(db, self.limits, Plans(db, self.limits), points, {}))
        self.experimenting = begin(self.points)
        self.cache, self._observed, self._fresh = Cache(), Cache(OBSERVED_S), Cache(LISTED_S)
        self.statuses, self.listing = Statuses(db, self.limits), Listing(self._list)

    def app(self, *more: Route) -> Starlette:
        return Starlette(
            routes=[
                *more,
                Route("/me", self.me),
                Route("/assets/{version}/{name}", assets().answer),
                Route("/presets", self.presets),
                Route("/runs", self.list),
                Route("/overlay", self.overlay),
                Route("/code", self.code),
                Route("/experiments", self.experiments),
                Route("/experiments/ready", self.ready_experiments),
                Route("/experiments/{experiment_id}", self.experiment),
                Route("/runs/{run_id}", self.run),
                Route("/runs/{run_id}/graph", self.graph),
                Route("/runs/{run_id}/probes", self.probes),
                Route("/runs/{run_id}/probe", self.probe),
                Route("/runs/{run_id}/ablate", self.ablate),
                Route("/runs/{run_id}/patch", self.patch),
                Route("/runs/{run_id}/findings", self.findings),
                Route("/runs/{run_id}/measures.csv", self.measures),
                Route("/runs/{run_id}/weights", self.weights),
                Route("/runs/{run_id}/transformers.zip", self.transformers),
                Route("/runs/{run_id}/metrics.csv", self.metrics),
                Route("/runs/{run_id}/config.json", self.config),
                Route("/runs/{run_id}/train.py", self.script),
            ],
            exception_handlers={
                NoSuchRun: _refusal(404), NoSuchExperiment: _refusal(404), CheckpointError: _refusal(404),
                ConfigError: _refusal(422), NotWritten: _refusal(422), NotAllowed: _refusal(403),
                StoreBusy: _later, Busy: _later, TooManyErrands: _later, Underway: _later, Unheard: _later, OSError: _refusal(500),
                HTTPException: _wrong,
            },
        )  # fmt: skip

    # The visitor, and what all routes use.

    def visitor(self, request: Request) -> Visitor:
        """The visitor, by the headers that the page sends. Also notes that the page, which sends a random id, is open."""
        self.audience.here(request.headers.get(PAGE_HEADER, "")[:40])
        kept = {"key": request.headers.get(KEY_HEADER), "host": request.headers.get(HOST_HEADER)}
        client, forwarded = request.client, request.headers.get("x-forwarded-for", "")
        return self.access.visitor(kept, address_of(client and client.host, forwarded, self.settings.proxies))

    def limits(self) -> Settings:
        """The settings with the limits that the host has set meanwhile."""
        return self.settings.with_limits(self.db.limits())

    def _run(self, request: Request) -> Run:
        """The run of a route. Raises NoSuchRun, also where it is somebody else's private one."""
        run_id = request.path_params["run_id"]
        RunFolder(self.root, run_id)
        return self.access.run(run_id, self.visitor(request))

    def presets(self, request: Request) -> Response:
        """All presets, each with its picture. The same for everybody, for as long as the app runs."""
        return _json(self.cache.get(("presets",), answers.presets), request)

    # All runs.

    def list(self, request: Request) -> Response:
        """All runs that the visitor may see, newest first, with what differs from the default; with `since`, a version or empty, only
        what has changed after it, and the version of now."""
        visitor, since = self.visitor(request), request.query_params.get("since")
        self._fresh.get(("list",), self.listing.refresh)
        told = self.listing.all(visitor) if since is None else self.listing.since(visitor, since[:60])
        return _json(orjson.dumps(told), request)

    def _list(self) -> Iterator[tuple[Run, dict]]:
        of, runs = self.statuses.experiments(), self.db.runs()
        called = self.statuses.called(runs)
        for run in runs:
            yield run, status.in_list(run, self.statuses.of(run), called) | {"experiment": of.get(run.id)}

    def me(self, request: Request) -> Response:
        """About the visitor: name, whether they are the host, the disk space they use, and runs they could delete to free some."""
        visitor, settings = self.visitor(request), self.limits()
        runs, usage, uploads = self.db.runs(), self.scale.usage(), self.db.uploads()
        share, mine = usage.share(settings), usage.of(visitor.id, runs, uploads) if visitor.is_known else 0
        over = 0 if visitor.is_host else max(0, mine - share)
        offered = [
            {"id": run.id, "name": run.name, "bytes": usage.runs.get(run.id, 0)} for run in disk.offered(usage, runs, visitor.id, over)
        ]
        about = {"name": self.db.names().get(visitor.id, ""), "host": visitor.is_host, "known": visitor.is_known}
        return _json(orjson.dumps(about | {"bytes": mine, "share_bytes": share, "over_bytes": over, "offered": offered}))

    def overlay(self, request: Request) -> Response:
        """A figure of several runs' losses, for plotly in the browser; with `group`, a setting, of the means over runs of one value."""
        group = request.query_params.get("group", "")[:60]
        most = MAX_GROUPED if group else MAX_OVERLAY
        wanted = [run_id for run_id in request.query_params.get("runs", "").split(",") if run_id][:most]
        x = request.query_params.get("x", "step")
        y = request.query_params.get("y", "loss")
        for name, value, known in (("x", x, plots.X_TITLES), ("y", y, plots.Y_AXES)):
            if value not in known:
                raise HTTPException(400, f"{name} is one of {', '.join(known)}")
        for run_id in wanted:
            self.access.run(run_id, self.visitor(request))
        key = "overlay", x, y, group, *wanted
        return _json(self.cache.get(key, lambda: answers.overlay(self.db, self.points, wanted, x, y, group)), request)

    # A design.

    def code(self, request: Request) -> Response:
        """The `code` of a design, whose `config` is that of a complete run in JSON: its model, with `training` the loop below it."""
        text, training = request.query_params.get("config", "")[:MAX_CONFIG], "training" in request.query_params
        try:
            config = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise HTTPException(400, "config is the configuration of a run in JSON") from None
        write = lambda: orjson.dumps({"code": code.of_design(parse(CompleteRun, config), self.root, training)})  # noqa: E731
        return _json(self.cache.get(("code", text, training), lambda: _or_problem(write)), request)

    # Experiments.

    def ready_experiments(self, request: Request) -> Response:
        """The ready experiments, with about how long each takes here."""
        return _json(self._observed.get(("gallery",), lambda: orjson.dumps(self.experimenting.gallery())), request)

    def experiments(self, request: Request) -> Response:
        """All experiments, newest first: how far each is, and its verdict."""
        visitor = self.visitor(request)
        told = self._fresh.get(("experiments",), self.experimenting.here)
        return _json(orjson.dumps([for_visitor(each, visitor) for each in told]), request)

    def experiment(self, request: Request) -> Response:
        """What an experiment has found so far, and its runs with their curves."""
        visitor, wanted = self.visitor(request), request.path_params["experiment_id"][:40]
        told = self._fresh.get(("experiment", wanted), lambda: self.experimenting.one(wanted))
        for run in told["members"]:
            self.audience.looked(run["id"])  # whoever watches an experiment watches its runs
        return _json(orjson.dumps(for_visitor(told, visitor)), request)

    # One run.

    def run(self, request: Request) -> Response:
        """A run's status and the events after the cursor; all events at a new generation."""
        try:
            run = self._run(request)
        except NoSuchRun:
            return _json(answers.GONE)  # no error, because the page keeps polling
        after = _whole(request, "generation", -1), _whole(request, "cursor", 0)
        self.audience.looked(run.id)
        told = lambda: answers.delta(self.db, self.statuses.of, run, *after, self.audience.poll_ms())  # noqa: E731
        return _json(self.cache.get(("run", run.id, *after), told), request)

    def graph(self, request: Request) -> Response:
        """The architecture, and what is measured at its nodes."""
        run_id = self._run(request).id
        return _json(self.cache.get(("graph", run_id), lambda: answers.architecture(self.root, run_id)))

    def probes(self, request: Request) -> Response:
        """The steps with a probe: those recorded, or for another `text` those of the checkpoints. Not cached, because a page that
        has just changed the text asks once, and polls only where the answer names work in progress."""
        return _json(answers.probes(self.root, self.db, self.errands, self._run(request).id, _text(request)))

    def probe(self, request: Request) -> Response:
        """The probe at `step` or the last before it (left out: the newest), of the run's probe text or of `text`."""
        run, step, visitor = self._run(request), _whole(request, "step", -1), self.visitor(request)
        key = run.id, step if step >= 0 else NEWEST, _text(request), "maps" in request.query_params
        computed = lambda step, text: self.looking.probe(run, step, text, visitor)  # noqa: E731
        see = lambda: _or_problem(lambda: answers.probe(self.root, self.db, computed, *key))  # noqa: E731
        whose = visitor.id if _text(request) else ""  # a refusal may be meant for one visitor
        return _json(self.cache.get(("probe", whose, *key), see))

    def ablate(self, request: Request) -> Response:
        """The ablation of the parts `off` of a checkpoint; without `off`, of each part alone. `by`: zero or mean."""
        run, visitor = self._run(request), self.visitor(request)
        nearest = self._nearest(run, _whole(request, "step", -1))
        off, by, text = request.query_params.get("off"), request.query_params.get("by", "zero"), _text(request) or run.probe_text or ""
        if off is None:
            return _json(_or_problem(lambda: orjson.dumps(self.looking.worth(run, nearest, text, by, visitor))))
        return _json(_or_problem(lambda: orjson.dumps(self.looking.ablation(run, nearest, off[:MAX_PARTS], text, by, visitor))))

    def patch(self, request: Request) -> Response:
        """What changes if the token at `position` is `token`, and what restores it; `where`: stream, attn or mlp."""
        run, visitor = self._run(request), self.visitor(request)
        nearest = self._nearest(run, _whole(request, "step", -1))
        position, where = _whole(request, "position", 1), request.query_params.get("where", "stream")
        token, text = request.query_params.get("token", "")[:MAX_TOKEN], _text(request) or run.probe_text or ""
        return _json(_or_problem(lambda: orjson.dumps(self.looking.patch(run, nearest, position, token, text, where, visitor))))

    def _nearest(self, run: Run, step: int) -> int:
        """The step of the checkpoint nearest to this one; below 0: the newest."""
        newest = sampler.newest(self.root, run.id)
        return newest if step < 0 else min(sampler.steps(self.root, run.id), key=lambda kept: abs(kept - step))

    def findings(self, request: Request) -> Response:
        """What is remarkable about a run so far, in plain words."""
        run = self._run(request)
        # The findings of a run that has ended do not change.
        version = int(time.monotonic() / OBSERVED_S) if run.state in store.ACTIVE else run.step
        key = run.id, run.state in store.ACTIVE, run.generation, version
        return _json(self._observed.get(key, lambda: answers.findings(self.root, self.db, self.points, run)))

    def measures(self, request: Request) -> Response:
        return downloads.measures(self.db, self._run(request))

    def weights(self, request: Request) -> Response:
        return downloads.weights(self.root, self._run(request), _whole(request, "step", -1))

    def transformers(self, request: Request) -> Response:
        """The zip; with `ready`, whether it is there by now, for a page that asks until it is."""
        run, step, visitor = self._run(request), _whole(request, "step", -1), self.visitor(request)
        if "ready" not in request.query_params:
            return self.exports.transformers(run, step, visitor)
        self.exports.transformers(run, step, visitor, PATIENCE_S)
        return _json(b'{"ready": true}')

    def metrics(self, request: Request) -> Response:
        return downloads.metrics(self.db, self._run(request))

    def config(self, request: Request) -> Response:
        return downloads.config(self.root, self._run(request))

    def script(self, request: Request) -> Response:
        """A run as one file of Python; with `ready`, only whether it can be written, or the `problem`."""
        run = self._run(request)
        if "ready" in request.query_params:
            return _json(_or_problem(lambda: orjson.dumps({"ready": bool(code.of_run(run, self.root))})))
        return downloads.script(self.root, run)


def _json(data: bytes, request: Request | None = None) -> Response:
    """An answer in JSON; with the request, compressed where it is long and the client can read that."""
    headers = {"Cache-Control": "no-store"}
    if request is not None and len(data) > COMPRESSED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        data = gzip.compress(data, COMPRESSION, mtime=0)
    return Response(data, media_type="application/json", headers=headers)


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return max(-1, min(int(text[:30]), 2**63 - 1))
    except ValueError:
        raise HTTPException(400, f"{name} is a whole number") from None


def _or_problem(answer: Callable[[], bytes]) -> bytes:
    """The answer, or the problems of what a person asked for, which the page shows."""
    try:
        return answer()
    except (ConfigError, NotWritten) as error:
        return orjson.dumps({"problem": str(error)})


def _text(request: Request) -> str | None:
    """The text to probe, cut to the longest allowed; None for the run's own."""
    return (request.query_params.get("text") or "")[:MAX_PROBE_TEXT] or None


def _refusal(status: int) -> Callable[[Request, Exception], Response]:
    """A handler that answers with an error's message and code."""

    def answer(request: Request, error: Exception) -> Response:
        known = isinstance(error, OSError) and error.strerror  # without the path on this machine
        return JSONResponse({"error": known or str(error), "code": code_of(error)}, status)

    return answer


def _later(request: Request, error: Exception) -> Response:
    """Answers that this cannot be had now, and how far it is where it is being worked on."""
    about = {"share": error.share, "words": error.words, "place": error.place} if isinstance(error, Underway) else {}
    headers = {"Retry-After": "1" if about else "5", "Cache-Control": "no-store"}
    is_page = about and PAGE_HEADER in request.headers  # a page asks again by itself, and browsers report a 503 as an error
    return JSONResponse({"error": str(error), "code": code_of(error)} | about, 202 if is_page else 503, headers)


def _wrong(request: Request, error: Exception) -> Response:
    """Answers a malformed or unknown request with the message, and the name of the HTTP status as the code."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail, "code": HTTPStatus(error.status_code).name.lower()}, error.status_code)

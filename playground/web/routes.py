"""Store to small deltas for the browser, over plain GET routes mounted at /live.

Read-only: everybody with a run's link may watch it, unless it is private; then the owner's key comes in a header. The browser holds
the cursor; answers are bytes, computed once for all who ask the same thing at the same time. Imports no torch.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from models.config import ModelConfig, flops_per_token
from models.graph import formulas, graph, stream_nodes
from models.knobs import ConfigError, differences, parse
from playground.config import estimate
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.data import tokenizers
from playground.inside.findings import Seen, observe
from playground.inside.quantities import PROBE_BUDGET_MB, QUANTILES, QUANTITIES
from playground.runs import disk, export, frames, lookup, sampler, store
from playground.runs.access import Access, NotAllowed, Visitor
from playground.runs.folder import RunFolder
from playground.runs.store import NoSuchRun, Run, Store, StoreBusy
from playground.system.files import text_hash
from playground.training.errors import CheckpointError
from playground.web import assets, plots
from playground.web.computing import BUSY, Busy, Computing
from playground.web.errands import Errands
from playground.workers import queueing
from playground.workers.audience import Audience
from playground.workers.supervisor import queue_of

KEY_HEADER, HOST_HEADER, PAGE_HEADER = "x-playground-key", "x-playground-host", "x-playground-page"
FRESH_S, QUEUE_FRESH_S, OBSERVED_S, NAMES_FRESH_S = 0.15, 0.5, 2.5, 1.0
MAX_EVENTS = 20_000
MAX_OVERLAY = 12
MAX_PROBE_CHARACTERS = 2000

T = TypeVar("T")


class Shared:
    """Answers kept for a moment, each computed by one thread while the others wait for it."""

    def __init__(self, fresh_s: float = FRESH_S, size: int = 256):
        self.fresh_s, self.size = fresh_s, size
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple, tuple[float, Future]] = OrderedDict()

    def get(self, key: tuple, compute: Callable[[], T]) -> T:
        with self._lock:
            now = time.monotonic()
            kept = self._kept.get(key)
            mine = kept is None or (kept[1].done() and now - kept[0] > self.fresh_s)
            future = Future() if mine else kept[1]
            if mine:
                self._kept[key] = (now, future)
                self._kept.move_to_end(key)
                self._forget(now)
        if mine:
            try:
                future.set_result(compute())
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _forget(self, now: float) -> None:
        """What nobody asked for lately, oldest first: an answer may be large."""
        while len(self._kept) > 1:
            key, (since, future) = next(iter(self._kept.items()))
            if len(self._kept) <= self.size and not (future.done() and now - since > self.fresh_s):
                return
            del self._kept[key]


class Live:
    """The routes. `root` and `db` are what they read; nothing is written."""

    def __init__(
        self, root: Path, db: Store, *, errands: Errands | None = None, computing: Computing | None = None,
        settings: Settings | None = None, access: Access | None = None, audience: Audience | None = None, scale: disk.Scale | None = None,
    ):  # fmt: skip
        self.root, self.db, self.shared, self.errands = root, db, Shared(), errands or Errands()
        self.said, self.named, self.scale = Shared(OBSERVED_S), Shared(NAMES_FRESH_S), scale or disk.Scale(root)
        self.computing, self.weighing = computing or Computing(), threading.Lock()
        self.settings, self.access, self.audience = settings or Settings(root), access or Access(db), audience or Audience()
        self._queue_lock, self._queue_at, self._queued = threading.Lock(), float("-inf"), {}

    def app(self, *more: Route) -> Starlette:
        return Starlette(
            routes=[
                *more,
                Route("/me", self.me),
                *assets.ROUTES,
                Route("/runs", self.list),
                Route("/overlay", self.overlay),
                Route("/runs/{run_id}", self.run),
                Route("/runs/{run_id}/graph", self.graph),
                Route("/runs/{run_id}/moments", self.moments),
                Route("/runs/{run_id}/moment", self.moment),
                Route("/runs/{run_id}/ablate", self.ablate),
                Route("/runs/{run_id}/observations", self.observations),
                Route("/runs/{run_id}/measures.csv", self.measures),
                Route("/runs/{run_id}/weights", self.weights),
                Route("/runs/{run_id}/transformers.zip", self.transformers),
                Route("/runs/{run_id}/metrics.csv", self.metrics),
                Route("/runs/{run_id}/config.json", self.config),
            ],
            exception_handlers={
                NoSuchRun: _problem(404), CheckpointError: _problem(404),
                NotAllowed: _problem(403), HTTPException: _problem(None),
                StoreBusy: _problem(503), Busy: _problem(503), OSError: _problem(500),
            },
        )  # fmt: skip

    def run(self, request: Request) -> Response:
        """A run's status and what was recorded since the cursor; all of it at a new generation."""
        try:
            run_id = self._run(request).id
        except NoSuchRun:
            return _json(orjson.dumps({"gone": True}))  # an answer, not an error: the page asks again and again
        generation, cursor = _whole(request, "generation", -1), _whole(request, "cursor", 0)
        self.audience.looked(run_id)
        return _json(self.shared.get(("run", run_id, generation, cursor), lambda: self._delta(run_id, generation, cursor)))

    def list(self, request: Request) -> Response:
        """All runs that whoever asks may see, newest first, with what differs from their preset."""
        visitor = self.visitor(request)
        shown = [
            status | {"mine": visitor.is_owner_of(run)} for run, status in self.shared.get(("list",), self._list) if visitor.may_see(run)
        ]
        return _json(orjson.dumps(shown))

    def me(self, request: Request) -> Response:
        """What is known of whoever asks: the name, whether they are the host, the disk they use and what could be deleted."""
        visitor, settings = self.visitor(request), self.limits()
        runs, share, usage = self.db.runs(), settings.max_disk_each, self.scale.usage()
        mine = usage.of(visitor.id, runs) if visitor.is_known else 0
        over = max(0, mine - share) if share is not None and not visitor.is_host else 0
        offered = [
            {"id": run.id, "name": run.name, "bytes": usage.runs.get(run.id, 0)} for run in disk.offered(usage, runs, visitor.id, over)
        ]
        about = {"name": self.db.names().get(visitor.id, ""), "host": visitor.is_host, "known": visitor.is_known}
        return _json(orjson.dumps(about | {"bytes": mine, "share_bytes": share, "over_bytes": over, "offered": offered}))

    def visitor(self, request: Request) -> Visitor:
        """Whoever asks, by the headers that the page sends; one of them is a random name of the page itself."""
        self.audience.here(request.headers.get(PAGE_HEADER, "")[:40])
        return self.access.visitor({"key": request.headers.get(KEY_HEADER), "host": request.headers.get(HOST_HEADER)})

    def _run(self, request: Request) -> Run:
        """The run of a route. Raises NoSuchRun, also where it is somebody else's private one."""
        run_id = request.path_params["run_id"]
        RunFolder(self.root, run_id)
        return self.access.run(run_id, self.visitor(request))

    def limits(self) -> Settings:
        return self.settings.with_limits(self.db.limits())

    def overlay(self, request: Request) -> Response:
        """A figure of several runs' losses, for plotly in the browser."""
        wanted = [run_id for run_id in request.query_params.get("runs", "").split(",") if run_id][:MAX_OVERLAY]
        x = request.query_params.get("x", "step")
        y = request.query_params.get("y", "loss")
        for name, value, known in (("x", x, plots.X_TITLES), ("y", y, plots.Y_AXES)):
            if value not in known:
                raise HTTPException(400, f"{name} is one of {', '.join(known)}")
        for run_id in wanted:
            self.access.run(run_id, self.visitor(request))
        return _json(self.shared.get(("overlay", x, y, *wanted), lambda: self._overlay(wanted, x, y)))

    def graph(self, request: Request) -> Response:
        """The architecture, and what is measured at its nodes."""
        run_id = self._run(request).id
        return _json(self.shared.get(("graph", run_id), lambda: self._graph(run_id)))

    def moments(self, request: Request) -> Response:
        """The steps that can be looked at: those recorded, or for another `text` those of the checkpoints. Never an answer from
        before: a page that has just changed the text asks once, and goes on asking only where it is told of work."""
        return _json(self._moments(self._run(request).id, _text(request)))

    def moment(self, request: Request) -> Response:
        """What was seen at `step` or just before it (left out: the newest), on the recorded text or on `text`."""
        key = self._run(request).id, _whole(request, "step", -1), _text(request), "maps" in request.query_params
        return _json(self.shared.get(("moment", *key), lambda: _or_problem(self._moment, *key)))

    def ablate(self, request: Request) -> Response:
        """What a checkpoint loses without the parts `off`; without `off`, what each part is worth by itself."""
        run_id, step = self._run(request).id, _whole(request, "step", -1)
        newest = sampler.newest(self.root, run_id)
        nearest = newest if step < 0 else min(sampler.steps(self.root, run_id), key=lambda kept: abs(kept - step))
        key = run_id, nearest, request.query_params.get("off"), _text(request)
        return _json(self.shared.get(("ablate", *key), lambda: _or_problem(self._ablate, *key)))

    def observations(self, request: Request) -> Response:
        """What a person should notice, in plain words."""
        run_id = self._run(request).id
        return _json(self.said.get((run_id, self._stage(run_id)), lambda: self._observations(run_id)))

    def measures(self, request: Request) -> Response:
        """Everything measured inside the model, one line per step, quantity, node, layer and head."""
        run = self._run(request)
        headers = {"Content-Disposition": f'attachment; filename="{file_name(run)}-inside.csv"'}
        return StreamingResponse(frames.measures_csv(self.db, run.id), media_type="text/csv", headers=headers)

    def weights(self, request: Request) -> Response:
        """A checkpoint's safetensors file to keep; the newest, or that of `step`."""
        run = self._run(request)
        there = sampler.steps(self.root, run.id)
        step = _whole(request, "step", there[-1] if there else -1)
        if step not in there:
            raise HTTPException(404, f"this run has no checkpoint at step {step}")
        return FileResponse(
            RunFolder(self.root, run.id).checkpoints / f"{step:06d}.safetensors",
            filename=f"{file_name(run)}-{step:06d}.safetensors", media_type="application/octet-stream",
        )  # fmt: skip

    def transformers(self, request: Request) -> Response:
        """A checkpoint as a folder that transformers loads, where a family of it has the architecture."""
        run = self._run(request)
        step, name = _whole(request, "step", -1), file_name(run)
        try:
            data = export.transformers_zip(self.root, run.id, None if step < 0 else step, name)
        except (CheckpointError, ConfigError) as error:
            raise HTTPException(404, str(error)) from None
        return Response(data, media_type="application/zip", headers={"Content-Disposition": f'attachment; filename="{name}.zip"'})

    def metrics(self, request: Request) -> Response:
        run = self._run(request)
        data = frames.to_csv(frames.metrics(self.db, [run.id]))
        return Response(data, media_type="text/csv", headers={"Content-Disposition": f'attachment; filename="{file_name(run)}.csv"'})

    def config(self, request: Request) -> Response:
        run = self._run(request)
        data = RunFolder(self.root, run.id).config.read_bytes()
        return Response(
            data, media_type="application/json", headers={"Content-Disposition": f'attachment; filename="{file_name(run)}.json"'}
        )

    def _delta(self, run_id: str, generation: int, cursor: int) -> bytes:
        try:
            run = self.db.run(run_id)
        except NoSuchRun:  # deleted a moment ago
            return orjson.dumps({"gone": True})
        if run.generation != generation:
            cursor = 0
        rows = self.db.events(run_id, after=cursor, limit=MAX_EVENTS)
        events: dict[str, dict[str, list]] = {}
        for row in rows:
            columns = events.setdefault(row.kind, {"step": []})
            columns["step"].append(row.step)
            for name, value in row.body.items():
                columns.setdefault(name, []).append(value)
        return orjson.dumps(
            {
                "run": self.status(run),
                "generation": run.generation,
                "reset": run.generation != generation,
                "cursor": rows[-1].id if rows else cursor,
                "more": len(rows) == MAX_EVENTS,
                "events": events,
                "poll_ms": self.audience.poll_ms(),
            }
        )

    def status(self, run: Run) -> dict:
        """What a page shows of a run, its events left out. Never its owner."""
        train = run.config["train"]
        status = {
            name: getattr(run, name)
            for name in (
                "id", "name", "state", "wanted", "reason", "step", "seconds", "tokens_per_s", "train_loss", "val_loss", "best_val_loss",
                "final_val_loss", "n_params", "parent", "preset", "threads", "device", "probe_text", "created_at", "private",
            )
        }  # fmt: skip
        status["by"] = self.names().get(run.owner, "")
        status |= {"max_steps": train["max_steps"], "max_seconds": train["max_seconds"], "left_s": seconds_left(run)}
        status |= {name: run.config["model"][name] for name in ("n_layer", "n_head", "vocab_size")} | {
            "source": run.config["data"]["source"]
        }
        status["flops_per_token"] = training_flops(orjson.dumps(run.config["model"]))
        if run.state == store.QUEUED:
            status["place"], status["starts_in_s"] = self._queue().get(run.id, (None, None))
        if run.state in (store.INTERRUPTED, store.FAILED):
            status["log"] = RunFolder(self.root, run.id).log_tail()
        return status

    def names(self) -> dict[str, str]:
        """What people want to be called, by owner."""
        return self.named.get(("names",), self.db.names)

    def _queue(self) -> dict[str, tuple[int, float | None]]:
        """Of each run that waits its place, 1 for the next, and in how many seconds it is expected to start."""
        with self._queue_lock:
            if time.monotonic() - self._queue_at > QUEUE_FRESH_S:
                active, waiting, settings = self.db.runs_in(store.ACTIVE), queue_of(self.db), self.limits()
                places, each, served = settings.max_running, settings.running_each, self.db.last_starts()
                starts = queueing.starts_in(waiting, active, served, places, each, lambda run: self._takes(run, places))
                self._queued = {run.id: (i, starts[run.id]) for i, run in enumerate(waiting, start=1)}
                self._queue_at = time.monotonic()
            return self._queued

    def _takes(self, run: Run, places: int) -> float | None:
        """Training time still to come: by the pace of a run that has begun, by what this machine was measured to do for others."""
        left = seconds_left(run)
        machine = estimate.load(self.root) if left is None or run.step == 0 else None
        if machine is None:
            return left
        shared = min(places, max(1, machine.threads))  # runs at the same time share the cores
        return shared * estimated_seconds(orjson.dumps(run.config), machine)

    def _list(self) -> list[tuple[Run, dict]]:
        return [(run, self.status(run) | about_config(orjson.dumps(run.config))) for run in self.db.runs()]

    def _overlay(self, run_ids: list[str], x: str, y: str) -> bytes:
        runs = {run_id: self.db.run(run_id) for run_id in run_ids}
        names = {run_id: run.name for run_id, run in runs.items()}
        costs = {run_id: training_flops(orjson.dumps(run.config["model"])) for run_id, run in runs.items()}
        floors = {row.body["floor"] for run_id in run_ids for row in self.db.events(run_id, kinds=("facts",))}
        floor = floors.pop() if len(floors) == 1 else None
        return plots.overlay(frames.metrics(self.db, run_ids), names, costs, x, y, floor).to_json().encode()

    def _graph(self, run_id: str) -> bytes:
        config = RunFolder(self.root, self.db.run(run_id).id).read_config().model
        first, ends = stream_nodes(config)
        stream = [[first, 0], *([node, layer] for layer in range(config.n_layer) for node in ends)]
        return orjson.dumps(
            asdict(graph(config))
            | {"stream": stream, "formulas": formulas(config), "n_head": config.n_head if config.has_attention else 0}
            | {"quantities": [asdict(each) for each in QUANTITIES.values()], "quantiles": QUANTILES}
        )

    def _moments(self, run_id: str, text: str | None) -> bytes:
        run = self.db.run(run_id)
        recorded = text is None or text == run.probe_text
        steps = sampler.steps(self.root, run_id) if not recorded else self._kept(run)
        text = run.probe_text if recorded else text
        answer = {"text": text, "hash": text_hash(text or ""), "recorded": recorded, "steps": steps, "budget_mb": PROBE_BUDGET_MB}
        errand = self.errands.about(("reprobe", run_id, run.probe_text)) if recorded else None
        return orjson.dumps(answer | {"busy": None if errand is None else {"share": errand.share, "words": errand.words}})

    def _kept(self, run: Run) -> list[int]:
        return [] if run.probe_text is None else RunFolder(self.root, run.id).probe_steps(run.probe_text)

    def _moment(self, run_id: str, step: int, text: str | None, maps: bool) -> bytes:
        run, folder = self.db.run(run_id), RunFolder(self.root, run_id)
        step = step if step >= 0 else 10**12
        text = run.probe_text if text is None else text
        if text is None:
            return b"null"
        found = lookup.recorded(self.root, run_id, step, text)
        there = [kept for kept in sampler.steps(self.root, run_id) if kept <= step]
        # A text that is no longer recorded has probes up to some step only; later checkpoints know better.
        if there and (found is None or (text != run.probe_text and found[0] < there[-1])):
            found = self.computing.run_soon(lambda: lookup.computed(self.root, run_id, there[-1], text))
        if found is None:
            return b"null"
        tokenizer = tokenizers.load(folder.tokenizer.read_text())
        return orjson.dumps(lookup.as_json(*found, tokenizer, maps), option=orjson.OPT_SERIALIZE_NUMPY)

    def _ablate(self, run_id: str, step: int, off: str | None, text: str | None) -> bytes:
        text = text or self.db.run(run_id).probe_text or ""
        if off is not None:
            return orjson.dumps(self.computing.run_soon(lambda: lookup.ablate(self.root, run_id, step, off, text)))
        if not self.weighing.acquire(blocking=False):
            raise Busy(BUSY)
        try:  # takes its turns part by part, so that others are served in between
            return orjson.dumps(lookup.worth(self.root, run_id, step, text, self.computing.run_soon))
        finally:
            self.weighing.release()

    def _stage(self, run_id: str) -> tuple:
        """How far a run is, roughly while it trains: nothing new can be said of one that is over."""
        run = self.db.run(run_id)
        return (run.generation, run.step) if run.state not in store.ACTIVE else (run.generation, int(time.monotonic() / OBSERVED_S))

    def _observations(self, run_id: str) -> bytes:
        config = RunFolder(self.root, self.db.run(run_id).id).read_config()
        rows = {kind: [] for kind in ("progress", "validation", "probe", "facts")}
        for row in self.db.events(run_id, kinds=rows):
            rows[row.kind].append(row.body | {"step": row.step})
        facts = rows["facts"][-1] if rows["facts"] else None
        return orjson.dumps(observe(Seen(config, rows["progress"], rows["validation"], rows["probe"], facts)))


def seconds_left(run: Run) -> float | None:
    """Training time still to come, at the pace so far; None where it cannot be known."""
    train = run.config["train"]
    guesses = []
    if train["max_steps"] is not None and run.step > 0:
        guesses.append(run.seconds / run.step * (train["max_steps"] - run.step))
    if train["max_seconds"] is not None:
        guesses.append(train["max_seconds"] - run.seconds)
    return max(0.0, min(guesses)) if guesses else None


@lru_cache(maxsize=2000)
def estimated_seconds(config: bytes, machine: estimate.Machine) -> float:
    """Training time of a whole run by itself on this machine."""
    return estimate.run_seconds(parse(RunConfig, orjson.loads(config)), machine)


@lru_cache(maxsize=2000)
def training_flops(model: bytes) -> int:
    """What training on one token costs, in FLOP."""
    return 3 * flops_per_token(parse(ModelConfig, orjson.loads(model)))


@lru_cache(maxsize=2000)
def about_config(config: bytes) -> dict:
    """In words, the knobs in which a config differs from the default, and why transformers could not load its model."""
    config = parse(RunConfig, orjson.loads(config))
    changed = differences(config, PRESETS["default"].config)
    differs = [f"{spec.knob.label} {spec.said(changed[spec.path])}" for spec in RunConfig.specs() if spec.path in changed]
    return {"differs": differs, "no_family": export.why_not(config.model)}


def file_name(run: Run) -> str:
    """A run's name made safe for a file, with its id."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in run.name).strip("-")
    return f"{safe[:40] or 'run'}-{run.id}"


def _json(data: bytes) -> Response:
    return Response(data, media_type="application/json", headers={"Cache-Control": "no-store"})


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return max(-1, min(int(text[:30]), 2**63 - 1))
    except ValueError:
        raise HTTPException(400, f"{name} is a whole number") from None


def _or_problem(answer: Callable[..., bytes], *arguments: object) -> bytes:
    """The answer, or what is wrong with what a person typed: an answer too."""
    try:
        return answer(*arguments)
    except ConfigError as error:
        return orjson.dumps({"problem": str(error)})


def _text(request: Request) -> str | None:
    """A text to look at, cut to what a probe text may have; None for that of the run."""
    return (request.query_params.get("text") or "")[:MAX_PROBE_CHARACTERS] or None


def _problem(status: int | None) -> Callable:
    def answer(request: Request, error: Exception) -> Response:
        detail = error.detail if isinstance(error, HTTPException) else str(error)
        if isinstance(error, OSError) and error.strerror:
            detail = error.strerror  # without the path on this machine
        return JSONResponse({"error": detail}, status_code=status or getattr(error, "status_code", 500))

    return answer

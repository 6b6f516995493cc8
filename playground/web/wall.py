"""The Host tab's data: everyone's runs with their curves, those of an experiment on one card, the queue, the machine and the limits.

And all results as one table. Two GET routes beside those of `routes`; they answer only the host.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import orjson
import segno
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.knobs import ConfigError
from playground.config.experiment import Experiment, arms_of
from playground.config.settings import LIMITS
from playground.runs import frames, store
from playground.runs.experiments import ENDED, read
from playground.runs.store import Member, Run, Store
from playground.system import memory
from playground.web.routes import Routes
from playground.workers.admission import Addresses

MOST_CARDS, MOST_POINTS = 60, 240
MOST_ADDRESS = 300


@dataclass
class Curve:
    """A run's losses so far, thinned: (step, nats per token)."""

    generation: int = -1
    cursor: int = 0
    train: list[tuple[int, float]] = field(default_factory=list)
    val: list[tuple[int, float]] = field(default_factory=list)


class Curves:
    """The curves of all runs; each call reads only the events that are new."""

    def __init__(self, db: Store):
        self.db, self._lock = db, threading.Lock()
        self._kept: dict[str, Curve] = {}

    def of(self, runs: Sequence[Run]) -> dict[str, Curve]:
        with self._lock:
            self._kept = {run.id: self._grown(self._kept.get(run.id, Curve()), run) for run in runs}
            return dict(self._kept)

    def _grown(self, curve: Curve, run: Run) -> Curve:
        if curve.generation != run.generation:
            curve = Curve(run.generation)
        for row in self.db.events(run.id, after=curve.cursor, kinds=("progress", "validation")):
            curve.cursor = row.id
            if row.kind == "progress":
                curve.train.append((row.step, row.body["loss"]))
            elif not row.body["whole"]:  # that of the whole text at the end is of other windows
                curve.val.append((row.step, row.body["loss"]))
        for points in (curve.train, curve.val):
            while len(points) > MOST_POINTS:
                del points[1:-1:2]
        return curve


class Wall:
    """`link` is the page's address for others on the network, if the app knows one; else the one in the host's browser is shown.
    `addresses`: where the owners of runs come from."""

    def __init__(self, live: Routes, link: str | None = None, addresses: Addresses | None = None):
        self.live, self.db, self.link, self.curves = live, live.db, link, Curves(live.db)
        self._documents: dict[str, Experiment | None] = {}  # of experiments, which do not change; None where one cannot be read
        self.addresses = addresses or Addresses()

    def routes(self) -> list[Route]:
        return [Route("/host", self.show), Route("/host/results.csv", self.results)]

    def show(self, request: Request) -> Response:
        """All that the Host tab shows. `address` is the page's address in the host's browser."""
        self.live.visitor(request).must_be_host()
        address = self.address_of(request)
        answer = self.live.cache.get(("host",), self._seen) | {"link": address, "code": code_of(address) if address else []}
        return Response(orjson.dumps(answer), media_type="application/json", headers={"Cache-Control": "no-store"})

    def results(self, request: Request) -> Response:
        """One line per run, for spreadsheets."""
        self.live.visitor(request).must_be_host()
        data = frames.to_csv(frames.results(self.db.runs(), self.live.statuses.names()))
        headers = {"Content-Disposition": 'attachment; filename="results.csv"', "Cache-Control": "no-store"}
        return Response(data, media_type="text/csv", headers=headers)

    def address_of(self, request: Request) -> str:
        """The page's address for the people in the room."""
        return self.link or request.query_params.get("address", "")[:MOST_ADDRESS]

    def _seen(self) -> dict:
        members, runs = self.db.members(), self.db.runs()
        known = {each.id: each for each in self.db.experiments()}
        shown = dict(list(grouped(runs, members).items())[:MOST_CARDS])
        curves = self.curves.of([run for group in shown.values() for run in group])
        cards = [
            self.experiment_card(known[id], group, members, curves) if id in known else self._run(group[0], curves[id])
            for id, group in shown.items()
        ]
        settings = self.live.limits()
        limits = [
            {"name": name, "label": each.label, "unit": each.unit, "help": each.help, "low": each.low, "optional": each.optional}
            | {"value": getattr(settings, name)}
            for name, each in LIMITS.items()
        ]
        return {"cards": cards, "machine": self.machine(runs), "limits": limits, "places": settings.max_running}

    def _run(self, run: Run, curve: Curve) -> dict:
        return self.live.statuses.of(run) | {"train": curve.train, "val": curve.val, "address": self.addresses.of(run.owner)}

    def experiment_card(self, kept: store.Experiment, runs: list[Run], members: dict[str, Member], curves: dict[str, Curve]) -> dict:
        """One card for all runs of an experiment: how many of them have ended, train and wait, and the held-out curve of each."""
        document = self._document(kept.id)
        arms = [] if document is None else [arm.name for arm in arms_of(document)]
        states = Counter(run.state for run in runs)
        return {
            "experiment": kept.id, "id": kept.id, "title": kept.id if document is None else document.title,
            "n_runs": len(runs) if document is None else document.n_runs, "wanted": kept.wanted,
            "by": self.live.statuses.names().get(kept.owner, ""), "address": self.addresses.of(kept.owner), "arms": arms,
            "ended": sum(states[state] for state in ENDED), "training": sum(states[state] for state in store.ACTIVE),
            "waiting": states[store.QUEUED],
            "curves": [
                {"arm": arms.index(members[run.id].arm), "val": curves[run.id].val}
                for run in runs
                if members[run.id].role == "compared" and members[run.id].arm in arms
            ],
        }  # fmt: skip

    def _document(self, experiment_id: str) -> Experiment | None:
        if experiment_id not in self._documents:
            try:
                self._documents[experiment_id] = read(self.db, experiment_id)
            except (ConfigError, store.NoSuchExperiment):
                self._documents[experiment_id] = None
        return self._documents[experiment_id]

    def machine(self, runs: Sequence[Run]) -> dict:
        """How busy it is."""
        usage = self.live.scale.usage()
        states = Counter(run.state for run in runs)
        return {
            "training": sum(states[state] for state in store.ACTIVE), "waiting": states[store.QUEUED],
            "load": os.getloadavg()[0], "cores": self.live.settings.n_cpus, "pages": self.live.audience.n_pages(),
            "disk_bytes": usage.total, "free_bytes": usage.free, "memory": memory.of_machine(),
        }  # fmt: skip


def grouped(runs: Iterable[Run], members: Mapping[str, Member]) -> dict[str, list[Run]]:
    """The runs of each experiment by its id, and each other run by its own; the most important first."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=_importance):
        member = members.get(run.id)
        groups.setdefault(run.id if member is None else member.experiment, []).append(run)
    return groups


def _importance(run: Run) -> tuple:
    """Sort key: running runs first, then waiting ones, then ended ones, newest first."""
    if run.state in store.ACTIVE:
        return 0, run.turn_at or run.created_at
    if run.state == store.QUEUED:
        return 1, run.place or 0
    return 2, -(run.ended_at or run.created_at)


@lru_cache(maxsize=16)
def code_of(address: str) -> list[str]:
    """The address as a QR code: rows of 0 and 1."""
    return ["".join(str(int(bit)) for bit in row) for row in segno.make(address, error="m", micro=False).matrix]


def address_in_the_room(host: str, port: int) -> str | None:
    """The page's address for others on the network; None where it is served to this machine only.

    Asks the system from which of its addresses a packet to the outside would be sent; none is sent.
    """
    if host not in ("0.0.0.0", "::", ""):
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return f"http://{probe.getsockname()[0]}:{port}/"

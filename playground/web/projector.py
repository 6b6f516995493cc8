"""What a projector shows the room: everyone's held-out curves as a few large charts, each with a scale of its own, and the way in.

A GET route that answers only the host; what it answers may be seen by everybody, so private runs are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from playground.data import corpora
from playground.data.config import SOURCES
from playground.runs import store
from playground.runs.store import Run
from playground.web.wall import MOST_CARDS, Curve, Curves, Wall, code_of, grouped

MOST_CHARTS, MOST_LINES = 4, 40


class Projector:
    """The charts of a room, from the curves that its wall has."""

    def __init__(self, wall: Wall):
        self.wall, self.curves = wall, Curves(wall.db)

    def routes(self) -> list[Route]:
        return [Route("/host/projector", self.show)]

    def show(self, request: Request) -> Response:
        """`address` is the page's address in the host's browser."""
        live, address = self.wall.live, self.wall.address_of(request)
        live.visitor(request).must_be_host()
        answer = live.cache.get(("projector",), self._seen) | {"link": address, "code": code_of(address) if address else []}
        return Response(orjson.dumps(answer), media_type="application/json", headers={"Cache-Control": "no-store"})

    def _seen(self) -> dict:
        db = self.wall.db
        members, runs = db.members(), db.runs()
        known = {each.id: each for each in db.experiments()}
        groups = grouped((run for run in runs if not run.private), members)
        shown = dict(list(groups.items())[:MOST_CARDS])
        curves = self.curves.of([run for group in shown.values() for run in group])
        experiments = [_of_experiment(self.wall.experiment_card(known[id], shown[id], members, curves)) for id in shown if id in known]
        alone = self._by_scale([group[0] for id, group in shown.items() if id not in known], curves)
        charts = sorted([*experiments, *alone], key=lambda chart: not any(line["going"] for line in chart["lines"]))
        machine = self.wall.machine(runs)
        return {"charts": charts[:MOST_CHARTS], "more": max(0, len(charts) - MOST_CHARTS)} | {
            name: machine[name] for name in ("training", "waiting", "pages")
        }

    def _by_scale(self, runs: Iterable[Run], curves: Mapping[str, Curve]) -> list[dict]:
        """A chart for the runs that learn from the same data cut into the same tokens: only their losses can be compared."""
        together: dict[tuple[str, int], list[Run]] = {}
        for run in runs:
            if (config := run.readable_config) is not None:
                together.setdefault((config.data.source, config.model.vocab_size), []).append(run)
        names = self.wall.live.statuses.names()
        return [
            {
                "id": f"{source} {vocabulary}", "title": SOURCES.get(source) or corpora.title(source),
                "note": f"held-out loss in nats per token, of {vocabulary:,} kinds",
                "lines": [_line(run, names.get(run.owner, ""), curves[run.id]) for run in group[:MOST_LINES]],
            }
            for (source, vocabulary), group in together.items()
        ]  # fmt: skip


def _line(run: Run, by: str, curve: Curve) -> dict:
    return {"id": run.id, "name": run.name, "by": by, "going": run.state in store.ACTIVE, "points": curve.val}


def _of_experiment(card: dict) -> dict:
    """The runs of an experiment, each with its arm, which stands for it."""
    lines = [
        {"id": f"{card['id']}-{i}", "name": card["arms"][each["arm"]], "by": "", "arm": each["arm"], "points": each["val"]}
        | {"going": card["training"] > 0}
        for i, each in enumerate(card["curves"])
    ]
    return {
        "id": card["id"],
        "title": card["title"],
        "note": f"held-out loss in nats per token, {card['ended']} of {card['n_runs']} runs have ended",
        "lines": lines,
    }

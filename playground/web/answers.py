"""The answers of the routes, as bytes: functions of the store and of a run's files. The routes have checked access before.

Imports torch only where something is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import orjson

from models.graph import formulas, graph, sketch, stream_nodes
from models.knobs import said
from playground.config.presets import GROUPS, PRESETS
from playground.data import tokenizers
from playground.inside.findings import History
from playground.inside.findings import findings as found_in
from playground.inside.quantities import PROBE_BUDGET_MB, QUANTILES, QUANTITIES
from playground.runs import comparison, frames, lookup, sampler
from playground.runs.folder import RunFolder
from playground.runs.points import MOST, Points, thinned
from playground.runs.store import Row, Run, Store
from playground.system.files import text_hash
from playground.training.events import defaults
from playground.web import plots
from playground.web.errands import Errands
from playground.web.status import training_flops

MAX_EVENTS, MANY_EVENTS = 20_000, 1000  # in one answer, and from how many on its points are thinned
NOT_SHOWN = ("by_group",)  # what a page draws nothing of
GONE = orjson.dumps({"gone": True})


def delta(db: Store, status: Callable[[Run], dict], run: Run, generation: int, cursor: int, poll_ms: int) -> bytes:
    """A run's status and the events after the cursor; all events where the run's generation is not the one that the page knows."""
    if run.generation != generation:
        cursor = 0
    rows = db.events(run.id, after=cursor, limit=MAX_EVENTS)
    shown = rows if len(rows) < MANY_EVENTS else _thinned(rows, db.count_events(run.id))
    events: dict[str, dict[str, list]] = {}
    for row in shown:
        columns = events.setdefault(row.kind, {"step": []})
        columns["step"].append(row.step)
        for name, value in (defaults(row.kind) | row.body).items():
            if name not in NOT_SHOWN:
                columns.setdefault(name, []).append(value)
    return orjson.dumps(
        {
            "run": status(run),
            "generation": run.generation,
            "reset": run.generation != generation,
            "cursor": rows[-1].id if rows else cursor,
            "more": len(rows) == MAX_EVENTS,
            "events": events,
            "poll_ms": poll_ms,
        }
    )


def _thinned(rows: Sequence[Row], n_all: int) -> list[Row]:
    """The rows with fewer points of progress, so that a run of `n_all` rows has about as many as a screen can show."""
    progress = [row for row in rows if row.kind == "progress"]
    kept = {row.id for row in thinned(progress, max(2, MOST * len(rows) // max(n_all, MOST)))}
    return [row for row in rows if row.kind != "progress" or row.id in kept]


def overlay(db: Store, points: Points, run_ids: Sequence[str], x: str, y: str, group: str = "") -> bytes:
    """A figure of several runs' curves over one axis, for plotly in the browser, what each is worth against the first, and the settings
    in which they differ. `group`: such a setting; then one mean with its band for each of its values."""
    runs = {run_id: db.run(run_id) for run_id in run_ids}
    names = comparison.distinct(list(runs.values()))
    costs = {run_id: training_flops(run.readable_config) for run_id, run in runs.items() if run.readable_config is not None}
    facts = {run_id: next(iter(db.events(run_id, kinds=("facts",))), None) for run_id in run_ids}
    floors = {row.body["floor"] for row in facts.values() if row is not None}
    floor = floors.pop() if len(floors) == 1 else None
    rows = {run_id: points.of(run) for run_id, run in runs.items()}
    ahead = {run_id: _ahead(runs, run) if x == "step" else 0 for run_id, run in runs.items()}
    frame = frames.tidy({run_id: _in_order(some, ahead[run_id]) for run_id, some in rows.items()})
    judged = [_judged(run, facts[run_id], rows[run_id]["validation"]) for run_id, run in runs.items()]
    differing = comparison.differing(list(runs.values()))
    groups = comparison.grouped(list(runs.values()), group) if group in dict(differing) else {}
    drawn = plots.grouped(frame, groups, costs, x, y, floor) if groups else plots.overlay(frame, names, costs, x, y, floor)
    figure = orjson.loads(drawn.to_json() or "{}")
    said = comparison.compared(judged) if judged and not groups else []
    return orjson.dumps(figure | {"compared": said, "differing": differing})


def _judged(run: Run, facts: Row | None, validations: Sequence[Row]) -> comparison.Judged:
    point = next((row for row in reversed(validations) if not row.body["whole"]), None)
    return comparison.Judged(run, facts and facts.body.get("fingerprint"), point)


def _ahead(runs: Mapping[str, Run], run: Run) -> int:
    """At which step of its parent, where that is drawn too, a fork has left it."""
    parent = None if run.parent_step is None else runs.get(run.parent or "")
    return 0 if parent is None or run.parent_step is None else run.parent_step + _ahead(runs, parent)


def _in_order(rows: Mapping[str, Sequence[Row]], ahead: int) -> list[Row]:
    """The rows as they were recorded, their steps counted from so many on."""
    found = sorted((row for some in rows.values() for row in some), key=lambda row: row.id)
    return [replace(row, step=row.step + ahead) for row in found] if ahead else found


def architecture(root: Path, run_id: str) -> bytes:
    """The graph of a run's model, the quantities that are measured at its nodes, and the values of all of the run's knobs in words."""
    run = RunFolder(root, run_id).read_config()
    config = run.model
    first, ends = stream_nodes(config)
    stream = [[first, 0], *([node, layer] for layer in range(config.n_layer) for node in ends)]
    return orjson.dumps(
        asdict(graph(config))
        | {"stream": stream, "formulas": formulas(config), "n_head": config.n_head if config.has_attention else 0}
        | {"quantities": [asdict(each) for each in QUANTITIES.values()], "quantiles": QUANTILES, "values": said(run)}
    )


def presets() -> bytes:
    """All presets in the order of their groups: name, title, sentence, group, and the graph of the architecture."""
    in_order = sorted(PRESETS.items(), key=lambda each: GROUPS.index(each[1].group))
    return orjson.dumps(
        [
            {"name": name, "title": preset.title, "sentence": preset.sentence, "group": preset.group}
            | {"graph": asdict(sketch(preset.config.model))}
            for name, preset in in_order
        ]
    )


def probes(root: Path, db: Store, errands: Errands, run_id: str, text: str | None) -> bytes:
    """The steps that have a probe of a text (None: the run's own), or can have one computed, and the progress of a reprobing."""
    run, folder = db.run(run_id), RunFolder(root, run_id)
    recorded = text is None or text == run.probe_text
    text = run.probe_text if recorded else text
    steps = sampler.steps(root, run_id) if not recorded else [] if text is None else folder.probe_steps(text)
    answer = {"text": text, "hash": text_hash(text or ""), "recorded": recorded, "steps": steps, "budget_mb": PROBE_BUDGET_MB}
    errand = errands.about(("reprobe", run_id, run.probe_text)) if recorded else None
    return orjson.dumps(answer | {"busy": None if errand is None else {"share": errand.share, "words": errand.words}})


def probe(
    root: Path, db: Store, computed: Callable[[int, str], lookup.Measured], run_id: str, step: int, text: str | None, maps: bool
) -> bytes:
    """The probe at `step` or the last one before it, as recorded or `computed(step, text)`; null where there is none yet."""
    run, folder = db.run(run_id), RunFolder(root, run_id)
    text = run.probe_text if text is None else text
    if text is None:
        return b"null"
    found = lookup.recorded(root, run_id, step, text)
    there = [kept for kept in sampler.steps(root, run_id) if kept <= step]
    # A text that the run no longer records has probes up to some step only: compute from a later checkpoint instead.
    if there and (found is None or (text != run.probe_text and found[0] < there[-1])):
        found = computed(there[-1], text)
    if found is None:
        return b"null"
    tokenizer = tokenizers.load_file(folder.tokenizer)
    return orjson.dumps(lookup.as_json(*found, tokenizer, maps), option=orjson.OPT_SERIALIZE_NUMPY)


def findings(root: Path, db: Store, points: Points, run: Run) -> bytes:
    """What is remarkable about a run so far, in plain words."""
    config, rows = RunFolder(root, run.id).read_config(), points.of(run)
    told = {kind: [row.body | {"step": row.step} for row in rows[kind]] for kind in ("progress", "validation")}
    rare: dict[str, list[dict]] = {"probe": [], "facts": []}
    for row in db.events(run.id, kinds=rare):
        rare[row.kind].append(row.body | {"step": row.step})
    facts = rare["facts"][-1] if rare["facts"] else None
    return orjson.dumps(found_in(History(config, told["progress"], told["validation"], rare["probe"], facts)))

"""Thinned points: few, with every extreme, and read once."""

import json
import math
import random

import pandas as pd
import pytest

from playground.config.run import RunConfig
from playground.runs import points, store
from playground.runs.points import MOST, NEWEST, Points, thinned
from playground.runs.store import Row, Store
from playground.training.events import Progress, Validation
from playground.web import plots

RUN = "aaaaaaaaaa"


def rows_of(losses, first_step: int = 1) -> list[Row]:
    return [Row(i, i + first_step, "progress", {"loss": loss}) for i, loss in enumerate(losses)]


def test_few_rows_stay_as_they_are():
    rows = rows_of([1.0] * 50)
    assert thinned(rows, 50) == rows


def test_of_many_each_stretch_keeps_its_extremes_and_the_newest_all_stay():
    dice = random.Random(1)
    losses = [dice.gauss(3, 0.1) for _ in range(20_000)]
    losses[7_000], losses[7_001], losses[13_000] = 9.0, 0.1, float("nan")
    rows = rows_of(losses)
    kept = thinned(rows, MOST, NEWEST)
    assert len(kept) <= MOST + 3 and [row.step for row in kept] == sorted({row.step for row in kept})
    assert {rows[i].id for i in (0, 7_000, 7_001, 13_000)} <= {row.id for row in kept} and kept[-NEWEST:] == rows[-NEWEST:]
    width = 20_000 // 100
    for start in range(0, 19_000, width):  # the curve's hull on a coarser grid is the whole one's
        whole = [row.body["loss"] for row in rows[start : start + width] if not math.isnan(row.body["loss"])]
        few = [row.body["loss"] for row in kept if start < row.step <= start + width and not math.isnan(row.body["loss"])]
        assert (min(few), max(few)) == (min(whole), max(whole))


def test_stretches_are_of_steps_however_the_rows_lie():
    rows = rows_of([i % 7 for i in range(3000)]) + [Row(10_000 + i, 100_000 + 1000 * i, "progress", {"loss": i % 7}) for i in range(3000)]
    kept = thinned(rows, 200)
    assert sum(row.step > 50_000 for row in kept) > 150, "the long part of the axis has most of the points"


@pytest.fixture
def db(tmp_path):
    db = Store(tmp_path)
    db.create()
    db.add_run(RUN, name="x", owner="y", config=RunConfig().model_dump_json(), n_params=1, state=store.RUNNING)
    return db


def progress(first: int, n: int, seed: int = 0) -> list[Progress]:
    dice = random.Random(seed)
    return [Progress(step, 64 * step, 0.1 * step, 2 + dice.random(), 1.0, 1e-3, 640.0) for step in range(first, first + n)]


def test_what_comes_later_is_added_and_only_that_is_read(db, monkeypatch):
    known, read = Points(db), []
    events = db.events
    monkeypatch.setattr(db, "events", lambda *args, **kwargs: (found := events(*args, **kwargs), read.append(len(found)))[0])
    db.append(RUN, progress(1, 300), {})
    db.append(RUN, [Validation(300, loss=2.5, n_tokens=5, whole=False, seconds=1.0)], {})
    assert len(known.of(db.run(RUN))["progress"]) == 300 and sum(read) == 301
    db.append(RUN, progress(301, 5), {})
    found = known.of(db.run(RUN))
    assert [row.step for row in found["progress"]] == list(range(1, 306)) and [row.step for row in found["validation"]] == [300]
    assert sum(read) == 306
    db.begin(RUN, step=100, threads=1, device="cpu", probe_text="x")  # resumed: what lies beyond is deleted
    assert [row.step for row in known.of(db.run(RUN))["progress"]] == list(range(1, 101))


def test_the_smoothed_loss_is_that_of_all_points(db, monkeypatch):
    monkeypatch.setattr(points, "MOST", 60)
    monkeypatch.setattr(points, "AT_A_TIME", 100)
    events = progress(1, 1000)
    db.append(RUN, events, {})
    found = Points(db).of(db.run(RUN))["progress"]
    whole = plots.smooth(pd.Series([event.loss for event in events]))
    assert len(found) <= 120 and len(found) >= 50
    assert [row.body["smoothed_loss"] for row in found] == pytest.approx([whole[row.step - 1] for row in found])


def test_what_is_not_finite_is_kept_and_does_not_spoil_the_smoothed_loss(db):
    db.append(RUN, [*progress(1, 3), Progress(4, 1, 1.0, math.nan, math.inf, 0.1, 5.0), *progress(5, 1)], {})
    found = Points(db).of(db.run(RUN))["progress"]
    assert math.isnan(found[3].body["loss"]) and found[3].body["grad_norm"] == math.inf
    assert found[3].body["smoothed_loss"] == found[2].body["smoothed_loss"] and math.isfinite(found[4].body["smoothed_loss"])


def test_bodies_that_python_wrote_are_read_as_python_reads_them():
    for text in ('{"loss":NaN,"x":[1,-Infinity]}', '{"loss":1.5e-7,"t":"é\\ud83d\\ude00"}', '{"n":9007199254740993}'):
        assert repr(store._body(text)) == repr(json.loads(text))

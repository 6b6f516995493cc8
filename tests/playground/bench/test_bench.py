"""The benchmark, with settings too small to say anything: every row is measured for real."""

import json

import pytest

from playground.bench import estimates, experiment, loops, rows
from playground.config.settings import Settings
from playground.workers import speed
from tests.patience import LONGEST_S

TINY = "--model.n_layer 1 --model.n_head 1 --model.n_embd 16 --model.block_size 16 --train.batch_size 4 --probe.sample_tokens 4"


def test_a_speed_leaves_out_the_slow_beginning():
    slow_then_fast = [(1.0, 1.0), (2.0, 2.0), (3.0, 102.0), (4.0, 202.0), (5.0, 302.0)]
    assert rows.speed(slow_then_fast) == 100.0


def test_ratios_are_of_the_same_turn():
    results = rows.Results()
    for row, speeds in zip(
        results.speeds, ([100.0, 200.0], [90.0, 200.0], [80.0, 160.0], [50.0, 150.0], [40.0, 20.0], [30.0, 10.0]), strict=True
    ):
        results.speeds[row] = speeds
    assert list(rows.ratios(results).values()) == [[1.0, 1.0], [0.9, 1.0], [0.8, 0.8], [0.5, 0.75], [0.4, 0.1], [0.3, 0.05]]
    assert rows.ratios(results, rows.PRELOADED)[rows.LOOP] == [1.125, 1.25]


def test_estimates_are_compared_with_steps_that_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(estimates, "SHAPES", {"small": {"model.n_layer": 1, "model.n_embd": 32}})
    monkeypatch.setattr(speed, "SHAPES", speed.SHAPES[:4])  # smaller than the others
    found = estimates.measure(Settings(tmp_path), seconds=0.05, pairs=2)
    shares = [row["share"] for row in estimates.as_json(found)["shapes"]["small"]]
    assert len(shares) == 2 and all(0.1 < share < 10 for share in shares)
    assert "small" in estimates.table(found)


def test_bad_input_measures_nothing(run_python):
    process = run_python("-m", "playground", "bench", "--pairs", "0", "--seconds", "nan", "--model.n_layer", "0", "--pears", "3")
    out, err = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, out) == (2, "")
    assert sorted(line.split(":")[0] for line in err.splitlines()) == ["--pairs", "--pears", "--seconds", "model.n_layer"]


def test_a_view_that_is_none_measures_nothing(run_python):
    process = run_python("-m", "playground", "bench", "--browser", "chromium", "--view", "haeds")
    out, err = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, out) == (2, "") and "--view: 'haeds' is not a view; use one of diagram, curves, heads, lens" in err


@pytest.fixture(scope="module")
def measured(run_python):
    process = run_python("-m", "playground", "bench", "--pairs", "1", "--seconds", "1.5", *TINY.split(), "--json")
    out, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
def test_every_row_is_measured(measured):
    assert [row["row"] for row in measured["rows"]] == list(rows.ROWS)
    for row in measured["rows"]:
        assert len(row["tokens_per_s"]) == len(row["to_bare"]) == 1
        assert row["tokens_per_s"][0] > 100
    assert measured["rows"][0]["to_bare"] == [1.0]
    assert measured["requests"][0] >= 1 and measured["sampled_per_s"][0] > 1
    by_row = {row["row"]: row["tokens_per_s"][0] for row in measured["rows"]}
    assert measured["data_to_memory"] == [by_row[rows.LOOP] / by_row[rows.PRELOADED]]


@pytest.mark.slow
def test_starts_and_shares_are_measured(measured):
    (cold,), (warm,) = measured["cold_s"], measured["warm_s"]
    assert 0 < warm < cold
    assert set(measured["shares"]) == {"recording", "validation", "checkpoints"}
    assert all(0 <= share < 1 for (share,) in measured["shares"].values())
    assert measured["probe_ms"][0] > 0 and measured["probes_per_minute"][0] > 1 and measured["probe_mb_per_1000_steps"][0] > 0
    assert measured["machine"]["cores"] >= 1


@pytest.mark.slow
def test_several_runs_as_one_program_are_measured_beside_one(run_python):
    process = run_python("-m", "playground", "bench", "--repeat", "3", "--pairs", "1", "--seconds", "1", *TINY.split(), "--json")
    out, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, err
    found = json.loads(out.splitlines()[-1])
    assert found["repeat"] == 3 and all(len(speeds) == 1 and min(speeds) > 100 for speeds in found["tokens_per_s"].values())
    several, alone = found["tokens_per_s"][loops.TOGETHER], found["tokens_per_s"][rows.LOOP]
    assert found["gain"] == [a / b for a, b in zip(several, alone, strict=True)]


def test_an_experiment_is_timed_in_a_real_app(tmp_path, monkeypatch):
    small = {"model.n_layer": 1, "model.n_embd": 16, "model.block_size": 16, "data.tokenizer": "char"}
    monkeypatch.setattr(experiment, "DOCUMENT", experiment.DOCUMENT | {"changes": small, "budget": {"unit": "steps", "amount": 6}})
    monkeypatch.setattr(experiment, "STANDBY_SETTLED_S", 0.0)
    found = experiment.measure(Settings(tmp_path), 1, None, "")
    assert 0 < found.first_points_s[0] <= found.all_s[0] and found.theirs_s == []
    assert json.loads(experiment.as_json(found))["runs_per_minute"][0] == pytest.approx(360 / found.all_s[0])
    assert "all six runs" in experiment.table(found)

"""From a question to a verdict: the gallery, one's own experiment, and what an experiment's page leads to."""

from __future__ import annotations

import json
import re

import pytest

from playground.runs import experiments
from playground.runs.store import Store
from tests.browser.steps import answered


@pytest.fixture
def tab(visit):
    """Open the Experiments tab as a new person."""

    def open_tab(**look):
        page = visit(**look)
        page.get_by_role("tab", name="Experiments").click()
        page.wait_for_selector(".pg-experiment-card")
        return page

    return open_tab


def until_it_ends(page, app, until) -> str:
    """Wait for the end of the experiment that is shown; returns its id."""
    page.wait_for_function("new URL(location.href).searchParams.get('experiment')?.length === 10")
    experiment_id = re.search(r"experiment=([a-z2-7]{10})", page.url)[1]
    db = Store(app.root)
    n_runs = len(json.loads(db.experiment(experiment_id).document)["arms"]) * 3

    def ended() -> bool:
        return sum(db.run(run_id).state in experiments.ENDED for run_id in db.members(experiment_id)) == n_runs

    until(ended, "the end of all runs")
    page.wait_for_selector(".pg-verdict[data-verdict]:not([data-verdict=''])")
    return experiment_id


def test_three_clicks_lead_from_the_gallery_to_a_verdict(tab, app, until):
    page = tab()
    page.click("[data-ready=near-zero]")
    page.get_by_label("“GPT 2 init” is lower than -2 doublings").check()
    page.click("#experiment-run")
    page.wait_for_selector(".pg-seeds .pg-cell-run")
    until_it_ends(page, app, until)
    said = page.locator(".pg-verdict").inner_text()
    assert (
        said.startswith("Refuted: of 3 claims 1 supported, 2 refuted")
        and "“larger init” is lower than -2: refuted" in said
        and "Your prediction was right." in said
    )
    low, high = map(float, re.search(r"95% interval ([0-9.]+) to ([0-9.]+), 3 seeds", said).groups())
    mean = float(page.locator(".pg-seeds td:last-child").first.inner_text().split("±")[0].replace("−", "-"))
    assert 0 < low < -2 - mean < high, "doublings under a quarter of the stream"
    # A value leads to its run, and the address to the run alone.
    page.locator(".pg-cell-run").first.click()
    page.wait_for_function("new URL(location.href).searchParams.get('run')")
    assert "experiment" not in page.url
    page.locator("#status", has_text="Sublayers at the start: GPT 2 init, seed 1").wait_for()
    page.get_by_role("tab", name="Experiments").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Results (CSV)").click()
    rows = saved.value.path().read_text().splitlines()
    assert rows[0].startswith("experiment,arm,seed") and len(rows) == 1 + 9
    with page.expect_download() as saved:
        page.locator(".pg-experiment section:has(.pg-differences)").get_by_role("button", name="SVG").click()
    assert saved.value.suggested_filename.endswith(".svg") and "<svg" in saved.value.path().read_text()[:200]
    assert not page.locator(".pg-experiment .pg-overlay:visible").count(), "a curve of one point shows nothing, and there is no law"
    # Two arms lie side by side, with the same seed.
    page.select_option("#experiment-other", "larger init")
    page.select_option("#experiment-seed", "2")
    page.click("#experiment-beside")
    page.wait_for_selector(".pg-inside-side[data-side=b]")
    for side, arm in (("a", "GPT 2 init"), ("b", "larger init")):
        page.locator(f".pg-inside-side[data-side={side}] .pg-side-title", has_text=f"{arm}, seed 2").wait_for()
    page.select_option("#inside-other", "")
    page.get_by_role("tab", name="Experiments").click()
    # Who began it may delete it; its runs stay.
    answered(page, "#experiment-delete", sure=True)
    page.wait_for_selector(".pg-experiment-card")
    assert len(Store(app.root).runs()) >= 9


def test_compare_beside_a_setting_begins_an_experiment_on_it(visit, app):
    page = visit()
    page.wait_for_selector("#picture .pg-graph")
    page.hover("#model-norm_placement")
    page.click("#model-norm_placement .pg-vary")
    page.wait_for_selector("#experiment-run:not([disabled])")
    assert page.input_value("#own-factor-1") == "model.norm_placement"
    page.fill("#own-values-1", "pre, nonsense")
    page.locator(".pg-own-outcome .pg-problems", has_text="norm_placement").wait_for()
    assert page.locator("#experiment-run").count() == 0
    page.fill("#own-amount", "50")
    page.fill("#own-values-1", "pre, post, none")
    page.locator(".pg-own-outcome .pg-warning", has_text="“pre”: a warm-up of 100 steps is longer than its 50 steps").wait_for()
    page.locator(".pg-own-outcome", has_text="3 arms × 3 seeds: 9 runs").wait_for()
    assert page.locator(".pg-arm").count() == 3


def test_an_experiment_is_stopped_and_goes_on_and_strangers_only_watch(tab, visit, app, until):
    page = tab(width=390, dark=True)
    page.click("[data-ready=depth]")
    page.click("#experiment-run")
    page.click("#experiment-stop")
    experiment_id = re.search(r"experiment=([a-z2-7]{10})", page.url)[1]
    page.locator("#experiment-go-on").wait_for()
    db = Store(app.root)
    assert db.experiment(experiment_id).wanted == "stop"
    stranger = visit(f"?experiment={experiment_id}")
    stranger.locator(".pg-verdict", has_text="Stopped. What has ended is kept.").wait_for()
    assert stranger.locator("#experiment-go-on").count() == 0
    page.click("#experiment-go-on")
    page.locator("#experiment-stop").wait_for()
    until(lambda: any(db.run(run_id).state == "running" for run_id in db.members(experiment_id)), "a run trains again")
    page.click("#experiment-stop")
    page.locator("#experiment-go-on").wait_for()

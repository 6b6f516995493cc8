"""The Runs tab: a table that fits, rows and curves that stay while a run trains, a legend that hides and shows."""

from __future__ import annotations

import pytest

from tests.browser.steps import small_run
from tests.command import run_here

SMALL = ["--model.n_embd", "24", "--model.block_size", "16", "--train.max_steps", "30", "--train.eval_interval", "10", "--model.n_layer"]
FITS = "(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.querySelector('#runs-table .pg-table-wrap'))"
DRAWN = "document.querySelectorAll('.pg-overlay .scatterlayer .trace').length"
STEP = "(document.querySelector('.pg-overlay .pg-plot').data.find((trace) => trace.legendgroup === '{run}').x.at(-1) ?? -1)"
# What of the tab is in the document now; later, how much of it has gone.
SEEN = """() => {
  const parts = "#runs-table tr, #runs-table .pg-cell-name, .pg-overlay .pg-legend *, .pg-overlay .scatterlayer .trace";
  document.body.seen = [...document.querySelectorAll(parts)];
  return document.body.seen.length;
}"""
GONE = "document.body.seen.filter((e) => !e.isConnected).map((e) => e.outerHTML.slice(0, 120))"


@pytest.fixture(scope="module")
def trained(app):
    """Two small runs of the command line, which nobody named, with one and two layers."""
    return [run_here("train", *SMALL, layers, "--json", root=app.root).json["run_id"] for layers in ("1", "2")]


def open_runs(page, *ticked: str) -> None:
    page.get_by_role("tab", name="Runs", exact=True).click()
    for run_id in ticked:
        page.locator(f"tr[data-run='{run_id}'] input[type=checkbox]").check()
    page.wait_for_function(f"document.querySelectorAll('.pg-overlay .pg-legend button').length === {len(ticked)}")
    page.wait_for_function(f"{DRAWN} >= {len(ticked)}")


def test_a_name_in_the_legend_hides_its_lines_and_shows_them_again(visit, trained):
    page = visit()
    open_runs(page, *trained)
    page.wait_for_function(f"{DRAWN} === 4")
    names = page.locator(".pg-overlay .pg-legend button")
    assert names.all_inner_texts() == ["layers 1", "layers 2"], "in what they differ"
    names.first.click()
    page.wait_for_function(f"{DRAWN} === 2")
    assert names.first.get_attribute("aria-pressed") == "false"
    names.first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{DRAWN} === 4")
    assert names.first.get_attribute("aria-pressed") == "true"


def test_the_table_fits_and_nothing_of_it_is_made_anew_while_a_run_trains(visit, trained):
    page = visit()
    run_id = small_run(page, steps=200_000)
    page.wait_for_selector("#loss .scatterlayer .trace")
    open_runs(page, *trained, run_id)
    for width in (1440, 1024, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(FITS)
    step = STEP.format(run=run_id)
    before = page.evaluate(step)
    assert page.evaluate(SEEN) >= 3 * 2 + 3 + 5
    page.wait_for_function(f"{step} > {before}")
    assert page.evaluate(GONE) == [], "rows, names and curves stay"

    place = page.locator("#runs-chosen").bounding_box()
    plot = page.locator(".pg-overlay .pg-plot").bounding_box()
    page.locator(".pg-overlay").scroll_into_view_if_needed()
    assert place["y"] + place["height"] <= plot["y"], "what can be done with a run lies over no curve"
    page.set_viewport_size({"width": 700, "height": 900})
    page.check("#runs-all-columns")
    name = page.locator(f"tr[data-run='{run_id}'] .pg-cell-name")
    at = name.bounding_box()["x"]
    page.locator("#runs-table .pg-table-wrap").evaluate("(table) => (table.scrollLeft = 100)")
    page.wait_for_function("document.querySelector('#runs-table .pg-table-wrap').scrollLeft === 100")
    assert name.bounding_box()["x"] == pytest.approx(at, abs=1), "the name stays"
    page.get_by_role("tab", name="Play", exact=True).click()
    page.click("#stop")
    page.wait_for_function("document.body.dataset.runState === 'stopped'")

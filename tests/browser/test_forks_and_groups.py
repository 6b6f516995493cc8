"""Going on from a checkpoint with one thing changed, and ticked runs grouped by what they differ in."""

from __future__ import annotations

import re

import pytest

from playground.runs.store import Store
from tests.command import run_here

SMALL = ["--model.n_embd", "24", "--model.block_size", "16", "--train.max_steps", "30", "--train.eval_interval", "10", "--model.n_layer"]
OURS = "width=24"


@pytest.fixture
def trained(app):
    """Three small runs of the command line: one layer twice, with two seeds, and two layers."""
    made = [("1", "1"), ("1", "2"), ("2", "1")]
    return [run_here("train", *SMALL, layers, "--train.seed", seed, "--json", root=app.root).json["run_id"] for layers, seed in made]


def test_a_run_goes_on_from_a_checkpoint_with_one_thing_changed_and_runs_are_grouped(visit, app, trained):
    one = trained[0]
    page = visit()
    page.get_by_role("tab", name="Runs").click()
    for run_id in trained:
        page.locator(f"tr[data-run='{run_id}'] input[type=checkbox]").check()
    page.wait_for_function("document.querySelectorAll('.pg-overlay .scatterlayer .trace').length === 6")
    page.select_option("#overlay-group", "model.n_layer")
    page.locator(".pg-overlay .pg-legend", has_text="layers: 1 (2 runs)").wait_for()
    assert "layers: 2 (1 run)" in page.locator(".pg-overlay .pg-legend").text_content()
    page.check("#overlay-log-y")
    page.wait_for_function("document.querySelector('.pg-overlay .pg-plot')._fullLayout.yaxis.type === 'log'")
    page.select_option("#overlay-group", "")
    page.locator(".pg-overlay .pg-legend", has_text="layers 2, seed 1").wait_for()
    colour = "[...document.querySelectorAll('.pg-overlay .pg-legend button')].at(-1).style.getPropertyValue('--c')"
    last = page.evaluate(colour)
    page.locator(f"tr[data-run='{trained[0]}'] input[type=checkbox]").uncheck()
    page.wait_for_function("document.querySelectorAll('.pg-overlay .pg-legend button').length === 2")
    assert page.evaluate(colour) == last, "the others keep their colours"

    page.fill("#runs-search", f"{OURS} layers<2 seed=1")
    page.wait_for_function("document.querySelectorAll('#runs-table tbody tr').length === 1")
    page.fill("#runs-search", OURS)
    page.select_option("#runs-group", "model.n_layer")
    page.get_by_role("button", name="layers: 1 (2)").click()
    shown = page.locator(".pg-runs thead th").all_inner_texts()
    assert [shown[2], shown[3]] == ["layers", "seed"], "what differs stands after the name"
    assert not any(each.startswith("width") for each in shown), "in which all agree"

    page.locator(f"tr[data-run='{one}']").click()
    page.get_by_role("link", name="metrics (CSV)").wait_for()
    page.click("#run-fork")
    page.locator("#origin").wait_for()
    assert re.search("step 30", page.locator("#origin input").input_value())
    rate = page.locator("#optim-lr input").first
    rate.fill("0.0123")
    rate.press("Tab")
    page.click("#train")
    page.wait_for_function("new URL(location.href).searchParams.get('run')")
    child = Store(app.root).run(re.search(r"run=([a-z2-7]{10})", page.url)[1])
    assert (child.parent, child.parent_step, child.config.optim.lr) == (one, 30, 0.0123)

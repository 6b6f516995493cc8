"""Going on from a checkpoint with one thing changed, and ticked runs grouped by what they differ in."""

from __future__ import annotations

import re

import pytest

from playground.runs.store import Store
from tests.command import run_here

SMALL = ["--model.n_embd", "16", "--model.block_size", "16", "--train.max_steps", "30", "--train.eval_interval", "10", "--model.n_layer"]


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
    page.locator(".pg-overlay .legend", has_text="layers: 1 (2 runs)").wait_for()
    assert "layers: 2 (1 run)" in page.locator(".pg-overlay .legend").text_content()

    page.locator(f"tr[data-run='{one}']").click()
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

"""What axe-core finds wrong for people who use a keyboard, a screen reader or little contrast: nothing, on any tab."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command import run_here

AXE = Path(__file__).parents[1] / "js" / "node_modules" / "axe-core" / "axe.min.js"
HOW_TO = "axe-core is not installed: run tests/js/check.sh once"
FOUND = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, html }) => `${id}: ${target} ${html.slice(0, 120)}`));
}"""
TABS = ("Play", "Inside", "Sample", "Experiments", "Runs", "Host")
VIEWS = ("curves", "heads", "lens", "ablate", "patch", "diagram")
TINY = """--model.n_layer 2 --model.n_head 2 --model.n_embd 16 --model.block_size 32 --data.tokenizer char --train.max_steps 12
    --train.batch_size 2 --train.log_interval 2 --train.checkpoint_interval 6"""


@pytest.fixture(scope="module")
def axe() -> str:
    if AXE.exists():
        return AXE.read_text()
    if os.environ.get("PLAYGROUND_BROWSER_TESTS") == "required":
        pytest.fail(HOW_TO)
    pytest.skip(HOW_TO)


@pytest.fixture(scope="module")
def run_id(app) -> str:
    done = run_here("train", "--name", "for everybody", "--json", *TINY.split(), root=app.root)
    assert done.status == 0, done.err
    return done.json["run_id"]


def nothing_wrong(page, where: str) -> None:
    page.wait_for_timeout(700)  # what fades in has its colours
    assert page.evaluate(FOUND) == [], where


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True), (1440, True), (390, False)])
def test_every_tab_is_for_everybody(visit, axe, run_id, width, dark):
    page = visit(f"?run={run_id}#host=the-token-of-the-host", width=width, dark=dark)
    page.evaluate(axe)
    page.wait_for_selector("#loss .scatterlayer .trace")
    for tab in TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        nothing_wrong(page, tab)
        if tab == "Inside":
            page.wait_for_selector(".pg-inside .pg-cell:visible")
            for view in VIEWS:
                page.click(f"[data-view={view}]")
                nothing_wrong(page, f"Inside, {view}")


def test_what_opens_before_a_run_is_for_everybody(visit, axe):
    page = visit()
    page.evaluate(axe)
    page.wait_for_selector("#picture .pg-graph")
    nothing_wrong(page, "before a run")
    page.click("#presets-browse")
    page.wait_for_selector("#presets [data-preset]")
    nothing_wrong(page, "the presets")
    page.keyboard.press("Escape")
    page.click("#you-open")
    nothing_wrong(page, "you")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Experiments", exact=True).click()
    page.click("[data-ready=warm-up]")
    page.wait_for_selector("#experiment-run")
    nothing_wrong(page, "an experiment before it begins")

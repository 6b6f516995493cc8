"""Play: the recipe, the picture of the architecture as control and instrument, and what comes of it."""

from __future__ import annotations

import json

import pytest

from playground.runs import store
from playground.runs.store import Store
from tests.browser.steps import STATE, choose, fill_number, open_run, small_run, wait_state

NEWS = "document.querySelector('.pg-news').textContent"
TRACES = "document.querySelector('#loss .pg-plot').data"


def ready(page) -> None:
    page.wait_for_selector("#picture .pg-graph")
    page.wait_for_function("document.documentElement.dataset.greeted")


def layers(page) -> str:
    return page.locator("#model-n_layer input[type=number]").input_value()


def test_the_address_keeps_the_design_for_a_reload_for_others_and_for_back(visit):
    page = visit()
    ready(page)
    assert "d=" not in page.evaluate("location.hash"), "an untouched page has a short address"
    fill_number(page, "model-n_layer", 6)
    page.wait_for_function("location.hash.includes('n_layer=6')")
    choose(page, "model-norm_placement", "post")
    page.wait_for_function("location.hash == '#d=default,n_layer=6,norm_placement=post'")
    page.get_by_role("tab", name="Runs").click()
    page.wait_for_function("location.hash.endsWith('&tab=runs')")
    address = page.evaluate("location.search + location.hash")
    page.go_back()
    page.wait_for_function("document.querySelector('#picture .pg-times')?.textContent == '× 6'")
    assert page.locator("#tabs [role=tab][aria-selected=true]").inner_text() == "Play"
    other = visit(address)
    other.wait_for_function("document.querySelector('#tabs [role=tab][aria-selected=true]').textContent.trim() == 'Runs'")
    other.get_by_role("tab", name="Play").click()
    other.wait_for_function("document.querySelector('.pg-formulas').textContent.includes('x = LN(x + Attn(x))')")
    assert layers(other) == "6"
    wrong = visit("#d=default,n_layer=many")
    wrong.locator(".toast-body", has_text="The design in the address cannot be").wait_for()
    assert layers(wrong) == "4"


def test_the_drawing_shows_what_is_measured_and_what_the_next_run_changes(visit, app):
    page = visit()
    ready(page)
    first = small_run(page, steps=12)
    wait_state(page, "finished")
    cells = page.locator("#picture .pg-cell:visible")
    cells.first.wait_for()
    recorded = [row for row in Store(app.root).events(first) if row.kind == "probe"][-1].body["values"]["stream_rms"]
    page.wait_for_function("document.querySelector('#picture .pg-when').textContent.startsWith('step 12')")
    shown = [float(text) for text in cells.all_text_contents()[:3]]
    values = [recorded["embedding"][0], recorded["attn.add"][0], recorded["mlp.add"][0]]
    assert shown == pytest.approx(values, rel=0.02)
    assert not page.locator(".pg-news").is_visible(), "the recipe is that of the run"

    fill_number(page, "model-n_layer", 2)
    page.wait_for_function(f"{NEWS}.includes('layers 1 → 2')")
    assert "Train this as a new run. Against Small GPT: layers 1" in page.locator(".pg-news").inner_text()
    assert cells.count() == 0, "another architecture has not been measured"
    page.click("#copy-configuration")
    page.wait_for_function(f"!{NEWS}")
    assert layers(page) == "1"
    second = small_run(page, steps=12, layers=2)
    wait_state(page, "finished")
    page.wait_for_function(f"{TRACES}[0].x.length && {TRACES}[1].x.length")
    name = Store(app.root).run(first).name
    assert page.evaluate(f"{TRACES}[0].name") == name != Store(app.root).run(second).name
    assert f"{name}, held out" in page.locator("#loss .pg-legend").inner_text()

    page.close()
    page = visit(f"?run={first}", context=page.context)
    page.wait_for_selector("#picture .pg-cell:visible")
    assert layers(page) == "1", "a run that is opened brings its design"


def test_a_part_opens_its_settings_and_a_setting_lights_up_its_part(visit):
    page = visit()
    ready(page)
    page.locator("#picture .pg-node-attention").click()
    page.wait_for_selector("#model-qk_norm:visible")
    page.locator("#model-norm_placement").hover()
    assert page.locator("#picture .pg-lit").count() == page.locator("#picture .pg-node-norm").count() == 3
    page.locator("#optim-lr").hover()
    assert page.locator("#picture .pg-lit").count() == 0
    page.locator("#model-norm_placement [data-testid=block-info]").hover()
    page.locator(".pg-tip", has_text="Xiong et al. 2020").wait_for()
    described = page.locator("#model-norm_placement input").get_attribute("aria-describedby")
    assert "needs warm-up when deep" in page.locator(f"#{described}").inner_text()


def test_start_here_begins_a_run_or_an_experiment_with_one_click(visit, app):
    page = visit()
    ready(page)
    page.click("[data-start=heads]")
    page.wait_for_function(f"{STATE} != 'none' && {STATE} != 'loading'")
    run = Store(app.root).run(open_run(page))
    assert (run.preset, run.config.data.source) == ("induction", "task:induction")
    page.wait_for_selector("[data-view=heads][aria-selected=true]:visible")
    page.click("#stop")
    wait_state(page, store.STOPPED)
    page.get_by_role("tab", name="Play").click()
    assert page.locator("#optim-lr input").input_value() == "0.003", "the recipe is the one that is trained"
    other = visit()
    ready(other)
    other.locator("[data-start=residual]").get_by_text("No", exact=True).click()
    other.wait_for_selector(".pg-experiment .pg-verdict:visible")
    assert "without residual connections" in other.locator(".pg-question").inner_text()
    assert json.loads(Store(app.root).experiments()[0].document)["prediction"] == "lower"


def test_presets_are_found_by_what_they_are_for(visit):
    page = visit()
    ready(page)
    page.click("#presets-browse")
    page.wait_for_selector("#presets [data-preset=default] .pg-graph")
    assert page.locator(".pg-preset-groups h3").all_inner_texts()[:3] == ["Begin here", "Recipes", "Known models"]
    page.locator("#presets input[type=search]").fill("parallel rope")
    page.wait_for_function("document.querySelectorAll('#presets [data-preset]').length < 5")
    page.click("#presets [data-preset=gpt-j]")
    page.wait_for_function("location.hash == '#d=gpt-j'")
    assert page.locator("#preset input").input_value() == "GPT-J"

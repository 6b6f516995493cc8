"""The main job as a person does it: design, train, watch, look inside, sample, keep house."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import pytest
from safetensors.torch import load

from playground.runs.store import Store
from tests.browser.steps import answered, choose, fill_number, open_run, small_run, wait_state
from tests.patience import page_patience_s


def fact(page, label: str) -> str:
    return page.locator("#run-progress .pg-facts > div", has=page.get_by_text(label, exact=True)).locator("dd").inner_text()


@pytest.fixture(scope="module")
def shared_run(app, chromium):
    """One finished run that several tests look at, and the browser of its owner."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(1000 * page_patience_s())
    page.goto(app.url)
    page.wait_for_selector("#picture .pg-graph")
    page.click("#section-data > button")
    page.locator("#data-tokenizer").get_by_label("characters").check()
    page.wait_for_function("document.querySelector('#data-panel').innerText.includes('57')")
    run_id = small_run(page, steps=120)
    wait_state(page, "finished")
    page.close()
    yield run_id, context
    context.close()


def test_a_run_learns_in_front_of_its_owner_who_may_leave_and_come_back(visit, app):
    page = visit()
    page.wait_for_selector("#picture .pg-graph")
    fill_number(page, "model-n_layer", 1)
    page.wait_for_function("document.querySelector('#picture .pg-times').textContent == '× 1'")
    page.click("#train")
    page.wait_for_selector("#loss .scatterlayer .trace")
    run_id = open_run(page)
    page.wait_for_function("parseInt(document.querySelector('#run-progress dd').textContent) >= 60")
    assert float(fact(page, "training loss, nats per token")) < 6, "a fresh model starts at 6.9"
    assert "left" in page.locator(".pg-status-line").inner_text()
    # After one update or two of the warm-up it still writes what it wrote at first.
    page.wait_for_function("Number(document.querySelector('#writes h3').textContent.match(/[0-9]+/)[0]) >= 50")
    now, first = page.locator("#writes pre").all_inner_texts()
    assert now != first

    context = page.context
    page.close()
    page = visit(f"?run={run_id}", context=context)
    wait_state(page, "running")
    page.wait_for_selector("#loss .scatterlayer .trace")
    page.get_by_role("button", name="Pause", exact=True).click()
    wait_state(page, "paused")
    paused_at = Store(app.root).run(run_id).step
    page.get_by_role("button", name="Resume", exact=True).click()
    wait_state(page, "running")
    page.wait_for_function(f"parseInt(document.querySelector('#run-progress dd').textContent.replace(',', '')) > {paused_at}")
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_state(page, "stopped")
    assert Store(app.root).run(run_id).generation == 2


def test_curves_grow_without_being_drawn_anew(visit):
    page = visit()
    small_run(page, steps=600)
    page.wait_for_selector("#loss .scatterlayer .trace")
    page.evaluate("document.querySelector('#loss .main-svg').dataset.mark = 'kept'")
    count = "document.querySelector('#loss .pg-plot').data[1].x.length"
    before = page.evaluate(count)
    page.wait_for_function(f"{count} > {before + 5}")
    assert page.evaluate("document.querySelector('#loss .main-svg').dataset.mark") == "kept"
    page.check("#loss-log-y")
    page.wait_for_function("document.querySelector('#loss .pg-plot').layout.yaxis.type == 'log'")
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_state(page, "stopped", "finished")


def test_figures_follow_every_choice_and_what_cannot_work_is_refused_beside_its_control(visit, app):
    page = visit()
    page.wait_for_selector("#picture .pg-graph")
    params = page.locator("#picture dd").first
    before = params.inner_text()
    fill_number(page, "model-n_layer", 6)
    page.wait_for_function(f"document.querySelector('#picture dd').textContent != '{before}'")
    assert page.locator("#picture .pg-times").text_content() == "× 6"
    choose(page, "model-norm_placement", "post")
    page.wait_for_function("document.querySelector('.pg-formulas').textContent.includes('x = LN(x + Attn(x))')")

    fill_number(page, "model-n_head", 3)
    page.wait_for_selector("#model-n_head .pg-problem")
    assert "width=128 is not divisible by heads=3" in page.locator("#model-n_head .pg-problem").inner_text()
    n_runs = len(Store(app.root).runs())
    page.click("#train")
    page.wait_for_selector(".toast-body")
    assert "not divisible" in page.locator(".toast-body").first.inner_text()
    assert len(Store(app.root).runs()) == n_runs
    fill_number(page, "model-n_head", 4)
    page.wait_for_selector(".pg-problem", state="detached")

    page.locator("#section-mlp button").first.click()
    page.click("#model-activation input")
    page.get_by_role("option", name="ReLU", exact=True).click()
    page.wait_for_function("document.querySelector('#section-mlp button').textContent.includes('1 changed')")


def test_design_opens_with_at_most_twelve_controls_each_with_a_sentence(visit):
    page = visit()
    page.wait_for_selector("#picture .pg-graph")
    blocks = page.locator("#design-form .form > *:visible")
    assert 5 <= blocks.count() <= 12
    for i in range(blocks.count()):
        assert len(blocks.nth(i).inner_text().split()) > 5


def test_a_preset_fills_the_form(visit):
    page = visit()
    page.wait_for_selector("#picture .pg-graph")
    page.click("#preset input")
    page.get_by_role("option", name="Post-norm, no warm-up", exact=True).click()
    page.wait_for_function("document.querySelector('#picture .pg-times').textContent == '× 12'")
    assert page.locator("#optim-warmup_steps input").input_value() == "0"
    assert page.locator("#model-norm_placement input").input_value() == "post"


def test_own_text_is_checked_and_trained_on(visit, app):
    page = visit()
    page.wait_for_selector("#picture .pg-graph")
    page.locator("#section-own-text button").first.click()
    page.fill("#paste textarea", "too short")
    page.click("#use-paste")
    page.wait_for_selector("#data-source .pg-problem")
    assert "longer text" in page.locator("#data-source .pg-problem").inner_text()
    page.set_input_files(
        "#upload input[type=file], input[type=file]", {"name": "bad.txt", "mimeType": "text/plain", "buffer": b"ab\xff\xfe" * 50}
    )
    page.locator("#brought", has_text="not UTF-8").wait_for()
    page.fill("#paste textarea", "the quick brown fox jumps over the lazy dog. " * 200)
    page.click("#use-paste")
    page.wait_for_function("document.querySelector('#data-panel').textContent.includes('9,000')")
    run_id = small_run(page, steps=20)
    wait_state(page, "finished")
    assert Store(app.root).run(run_id).config.data.source.startswith("upload:")


def written(page) -> str:
    page.wait_for_function("document.querySelector('#sample-text .pg-caption').textContent.includes('mean surprise')")
    return page.locator(".pg-sampled").text_content()


def write(page) -> str:
    page.evaluate("document.querySelector('#sample-text .pg-caption').textContent = ''")
    page.click("#sample-go")
    return written(page)


def test_any_checkpoint_writes_and_the_same_seed_writes_the_same(visit, shared_run):
    run_id, _ = shared_run
    page = visit(f"?run={run_id}")
    wait_state(page, "finished")
    page.get_by_role("tab", name="Sample").click()
    page.wait_for_function("document.querySelector('#sample-run input').value != ''")
    page.fill("#sample-prompt textarea", "The ")
    fill_number(page, "sample-max_new_tokens", 60)
    first = write(page)
    assert first.startswith("The ")
    assert page.locator(".pg-token").count() == 60
    fill_number(page, "sample-seed", 2)
    other = write(page)
    assert other != first
    fill_number(page, "sample-seed", 1)
    assert write(page) == first
    page.locator(".pg-token").nth(3).hover()
    page.locator(".pg-tip .pg-odds").wait_for()
    assert page.locator(".pg-tip").inner_text().count("%") == 6, "the token and five runners-up"
    page.click("#sample-step input")
    page.get_by_role("option", name="step 0", exact=True).click()
    assert write(page) != first

    page.fill("#sample-prompt textarea", "日本")
    page.click("#sample-go")
    page.wait_for_selector(".toast-body")
    assert "日" in page.locator(".toast-body").first.inner_text()


def test_runs_are_compared_renamed_continued_downloaded_and_deleted(app, shared_run, visit):
    run_id, context = shared_run
    page = visit(context=context)
    other = small_run(page, steps=30)
    wait_state(page, "finished")
    page.get_by_role("tab", name="Runs").click()
    row = page.locator(f"tr[data-run='{run_id}']")
    row.locator("input").check()
    page.locator(f"tr[data-run='{other}'] input").check()
    page.wait_for_function("document.querySelector('.pg-overlay .pg-plot').data?.length == 4")
    page.select_option("#overlay-x", "flops")
    page.wait_for_function("document.querySelector('.pg-overlay .xtitle')?.textContent == 'FLOP spent on training'")
    with page.expect_download() as numbers:
        page.locator(".pg-overlay .pg-exports").get_by_text("CSV").click()
    assert Path(numbers.value.path()).read_text().startswith("series,x,y\n")

    row.click()
    page.fill("#run-name textarea, #run-name input", "<b>bold</b> & co")
    page.click("#run-rename")
    page.wait_for_function(
        "id => document.querySelector(`tr[data-run='${id}'] .pg-cell-name`).textContent == '<b>bold</b> & co'", arg=run_id
    )
    assert page.locator(f"tr[data-run='{run_id}'] b").count() == 0, "a name is shown as text"
    page.fill("#runs-search", "CO bold")
    page.wait_for_function(
        "[...document.querySelectorAll('#runs-table tbody tr')].map((row) => row.dataset.run).join() == '" + run_id + "'"
    )
    page.fill("#runs-search", "no such words")
    page.get_by_text("No run matches.").wait_for()
    page.fill("#runs-search", "")
    page.locator(f"tr[data-run='{other}']").wait_for()

    with page.expect_download() as weights:
        page.get_by_role("link", name="weights (safetensors)").click()
    tensors = load(Path(weights.value.path()).read_bytes())
    assert "wte.weight" in tensors
    with page.expect_download() as metrics:
        page.get_by_role("link", name="metrics (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(Path(metrics.value.path()).read_text())))
    assert any(r["train_loss"] for r in rows) and any(r["val_loss"] for r in rows) and any(r["eval_loss"] for r in rows)

    before = open_run(page)
    page.click("#run-further")
    page.wait_for_function(f"new URL(location.href).searchParams.get('run') != '{before}'")
    child = Store(app.root).run(open_run(page))
    assert child.parent == run_id
    wait_state(page, "finished")
    assert Store(app.root).events(child.id, kinds=["progress"])[0].body["loss"] < 3.5, "it went on from trained weights"

    page.get_by_role("tab", name="Runs").click()
    page.locator(f"tr[data-run='{child.id}']").click()
    answered(page, "#run-delete", sure=False)
    time.sleep(0.5)
    assert Store(app.root).run(child.id)
    answered(page, "#run-delete", sure=True)
    page.wait_for_selector(f"tr[data-run='{child.id}']", state="detached")
    assert not (app.root / "runs" / child.id).exists()


def test_somebody_else_can_look_and_sample_but_not_steer(visit, app, shared_run):
    owner = visit()
    run_id = small_run(owner, steps=4000)
    wait_state(owner, "running")
    stranger = visit(f"?run={run_id}")
    wait_state(stranger, "running")
    stranger.wait_for_selector("#loss .scatterlayer .trace")
    for name in ("pause", "stop", "resume"):
        assert not stranger.locator(f"#{name}").is_visible()
    assert stranger.locator("#copy-link").is_visible()
    stranger.evaluate("document.querySelector('#stop').click()")
    stranger.wait_for_selector(".toast-body")
    assert "only the owner" in stranger.locator(".toast-body").first.inner_text()
    assert Store(app.root).run(run_id).wanted == "run"
    owner.get_by_role("button", name="Stop", exact=True).click()
    wait_state(owner, "stopped")
    wait_state(stranger, "stopped")


def test_a_second_run_trains_beside_and_a_third_waits_with_its_place(visit, app):
    page = visit()
    ids = [small_run(page, steps=20_000) for _ in range(3)]
    wait_state(page, "queued")
    page.wait_for_function("document.querySelector('.pg-state').textContent.includes('number 1 in the queue')")
    assert [Store(app.root).run(i).state in ("starting", "running") for i in ids] == [True, True, False]
    for run_id in ids:
        page.get_by_role("tab", name="Runs").click()
        page.locator(f"tr[data-run='{run_id}']").click()
        page.click("#run-open")
        page.wait_for_function(f"new URL(location.href).searchParams.get('run') == '{run_id}'")
        page.locator("#stop").wait_for()
        page.click("#stop")
        wait_state(page, "stopped")


def test_a_link_to_a_run_that_is_gone_says_so(visit):
    page = visit("?run=aaaaaaaaaa")
    page.wait_for_function("document.querySelector('.pg-run-name').textContent.includes('There is no run aaaaaaaaaa')")


def test_killing_the_app_does_not_stop_training_and_starting_it_again_finds_the_run(visit, app, until):
    page = visit()
    run_id = small_run(page, steps=20_000)
    wait_state(page, "running")
    page.close()
    app.kill()
    before = Store(app.root).run(run_id).step
    until(lambda: Store(app.root).run(run_id).step > before + 5, "the worker went on without the app")
    app.start()
    page = visit(f"?run={run_id}", context=page.context)
    wait_state(page, "running")
    page.close()
    said = app.interrupt()
    assert "1 run goes on training" in said and "python -m playground stop --all" in said
    app.start()
    page = visit(f"?run={run_id}", context=page.context)
    page.locator("#stop").wait_for()
    page.click("#stop")
    wait_state(page, "stopped")

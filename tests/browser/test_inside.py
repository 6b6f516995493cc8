"""Looking inside, in a real Chromium: the live diagram, every head, any step, two runs, and parts switched off."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path

import pytest

from playground.bench.page import Played, Watch, open_inside
from playground.config.settings import Settings
from playground.runs.folder import RunFolder
from playground.runs.store import Store
from tests.browser.steps import small_run
from tests.command import run_here

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS_WATCHED, MAY_GROW_MB = 60, 12
SMALL = """
    --model.n_layer 2 --model.n_head 4 --model.n_embd 32 --model.block_size 64 --data.source tiny-tales --data.tokenizer char
    --train.max_steps 120 --train.batch_size 4 --train.checkpoint_interval 40 --probe.interval 20 --probe.sample_tokens 20
""".split()  # noqa: SIM905 - as one types it
CELL = ".pg-cell:visible"
SHOWN = "document.querySelector('[data-side={}] .pg-side-title').textContent"


def train(root: Path, name: str, *flags: str) -> str:
    done = run_here("train", "--name", name, "--json", *SMALL, *flags, root=root)
    assert done.status == 0, done.err
    return done.json["run_id"]


@pytest.fixture(scope="module")
def pair(app) -> tuple[str, str]:
    """A pre-norm and a post-norm run, finished."""
    return train(app.root, "pre"), train(app.root, "post", "--model.norm_placement", "post", "--optim.warmup_steps", "0")


def inside(visit, run_id: str, view: str = "diagram", **options):
    page = visit(f"?run={run_id}", **options)
    page.wait_for_selector("#run-progress .pg-facts")
    page.get_by_role("tab", name="Inside").click()
    page.wait_for_selector(CELL)
    page.click(f"[data-view={view}]")
    return page


def scrub(page, place: int) -> None:
    page.evaluate(f"s = document.getElementById('inside-step'); s.value = {place}; s.dispatchEvent(new Event('input'))")


def values_of(page, root: Path, run_id: str, step: int, quantity: str) -> dict:
    rows = [row for row in Store(root).events(run_id, kinds=("probe",)) if row.step == step]
    return rows[-1].body["values"][quantity]


def test_the_diagram_carries_the_values_of_the_step_that_is_chosen(visit, app, pair):
    page = inside(visit, pair[0])
    first = values_of(page, app.root, pair[0], 0, "stream_rms")
    scrub(page, 0)
    page.wait_for_function(f"{SHOWN.format('a')}.includes('step 0')")
    for node in ("attn.add", "mlp.add"):
        for layer in (0, 1):
            said = page.locator(f'[data-cell="{node} {layer}"] text').text_content()
            assert float(said) == pytest.approx(first[node][layer], rel=0.06), (node, layer)
    assert page.locator('[data-cell="attn 0"]').is_hidden(), "the stream is not there"
    page.select_option("#inside-quantity", "sublayer_share")
    page.locator('[data-cell="attn 0"]').wait_for()
    assert "‖f(x)‖ / ‖x‖" in page.locator(".pg-about").inner_text()
    page.click("#inside-live")
    page.wait_for_function(f"{SHOWN.format('a')}.includes('step 120')")
    last = values_of(page, app.root, pair[0], 120, "sublayer_share")
    assert float(page.locator('[data-cell="mlp 1"] text').text_content()) == pytest.approx(last["mlp"][1], rel=0.06)


def test_what_a_probe_reads_is_drawn_between_its_floor_and_its_ceiling(visit, app, pair):
    page = inside(visit, pair[0], "curves")
    page.select_option("#inside-quantity", "reads_token")
    page.wait_for_selector(".pg-view-curves .scatterlayer .trace")
    (floor,) = values_of(page, app.root, pair[0], 120, "reads_majority")["embedding"]
    plot = "document.querySelector('.pg-view-curves .js-plotly-plot')"
    drawn = page.evaluate(f"{plot}.data.filter(({{name}}) => name == 'naming the commonest token').map(({{y}}) => y.at(-1))")
    assert drawn == [floor]
    legend = page.locator(".pg-view-curves .pg-legend").inner_text()
    assert "embedding + position: the ceiling" in legend and "naming the commonest token: the floor" in legend
    page.click("[data-view=diagram]")
    scale = page.locator(".pg-inside .pg-scale")
    scale.get_by_text("naming the commonest token, the floor: ").wait_for()
    assert float(scale.inner_text().rpartition(": ")[2]) == pytest.approx(floor, rel=0.06)
    page.select_option("#inside-quantity", "stream_rms")
    page.wait_for_function("!document.querySelector('.pg-scale').textContent.includes('floor')")


def test_a_part_opens_its_details(visit, pair):
    page = inside(visit, pair[0])
    page.locator('.pg-inside [data-node="mlp"]').click()
    detail = page.locator(".pg-detail")
    detail.get_by_text("Hidden activations").wait_for()
    assert "MLP, GELU, layer 1" in detail.locator("h2").inner_text() and "saturated units" in detail.inner_text()
    detail.locator("select").select_option(index=1)
    page.wait_for_function("document.querySelector('.pg-detail h2').textContent.includes('layer 2')")
    page.locator('.pg-inside [data-node="attn"]').click()
    page.wait_for_function("document.querySelectorAll('.pg-detail canvas').length == 4")
    page.locator('.pg-inside [data-node="attn.norm_in"]').click()
    detail.get_by_text("Gain", exact=True).wait_for()
    page.locator('.pg-inside [data-node="mlp.add"]').click()
    detail.get_by_text("Gradient by token").wait_for()
    detail.get_by_role("button", name="Close").click()
    assert detail.is_hidden()


def test_two_runs_are_shown_on_one_text_with_their_time_linked(visit, app, pair):
    page = inside(visit, pair[0], "heads")
    page.wait_for_function("document.querySelectorAll('.pg-head-cell').length == 8")
    page.select_option("#inside-other", label="post")
    page.wait_for_function("document.querySelectorAll('[data-side=b] .pg-head-cell').length == 8")
    there, theirs = (RunFolder(app.root, run_id).probe_steps(Store(app.root).run(run_id).probe_text) for run_id in pair)
    scrub(page, 1)  # on a busy machine there are few
    steps = there[1], max(step for step in theirs if step <= there[1])
    page.wait_for_function(f"{SHOWN.format('a')}.includes('step {steps[0]}') && {SHOWN.format('b')}.includes('step {steps[1]}')")
    page.locator("[data-side=a] .pg-head-cell").nth(6).click()
    page.wait_for_function("document.querySelectorAll('.pg-large:not([hidden]) canvas').length == 2")
    titles = page.locator(".pg-large h3").all_inner_texts()
    assert titles == ["layer 2, head 3"] * 2
    page.click("[data-guide='Does the stream grow?']")
    for side in "ab":
        page.locator(f"[data-side={side}] .pg-answer", has_text="The stream's rms is").wait_for()
        page.wait_for_selector(f"[data-side={side}] .pg-findings li")
    page.click("[data-view=curves]")
    page.wait_for_function("document.querySelectorAll('.pg-sides .scatterlayer').length == 2")
    ranges = page.evaluate("[...document.querySelectorAll('.pg-sides .js-plotly-plot')].map((p) => p._fullLayout.yaxis.range)")
    assert ranges[0] == ranges[1], "both on the same scale"
    page.select_option("#inside-other", "")
    page.wait_for_function("document.querySelectorAll('.pg-inside-side').length == 1")


def test_the_second_run_is_drawn_also_where_its_data_come_first(visit, pair):
    page = visit(f"?run={pair[0]}")
    page.wait_for_selector("#run-progress .pg-facts")
    page.route(f"**/live/runs/{pair[0]}/graph*", lambda route: (page.wait_for_timeout(6000), route.continue_()))
    page.get_by_role("tab", name="Inside").click()
    page.locator("#inside-other option", has_text="post").wait_for(state="attached")
    page.select_option("#inside-other", label="post")
    page.wait_for_selector(f"[data-side=b] {CELL}")
    page.wait_for_function(f"{SHOWN.format('a')}.includes('pre') && {SHOWN.format('b')}.includes('post')")


def test_the_second_run_stays_when_another_is_opened_beside_it(visit, app, pair):
    third = train(app.root, "third", "--model.sublayers", "mlp", "--train.max_steps", "20")
    page = inside(visit, pair[0])
    page.select_option("#inside-other", label="post")
    page.wait_for_selector(f"[data-side=b] {CELL}")
    page.get_by_role("tab", name="Runs").click()
    page.locator(f"tr[data-run='{third}']").dblclick()
    page.get_by_role("tab", name="Play", exact=True, selected=True).wait_for()  # to which the server's answer leads
    page.get_by_role("tab", name="Inside").click()
    page.wait_for_function(f"{SHOWN.format('a')}.includes('third') && {SHOWN.format('b')}.includes('post')")
    page.wait_for_selector(f"[data-side=b] {CELL}")
    page.click("[data-view=heads]")
    page.locator("[data-side=a]").get_by_text("This model has no attention to show").wait_for()


def test_a_head_is_switched_off_and_the_loss_and_the_text_change(visit, pair):
    page = inside(visit, pair[0], "ablate")
    page.click("[data-part='mlp:1']")
    page.wait_for_function("document.querySelectorAll('.pg-ablated tbody tr').length == 2")
    change = page.locator(".pg-change").first.inner_text()
    assert re.fullmatch(r"[+−]\d+\.\d{3}", change) and change != "+0.000"
    texts = page.locator(".pg-ablated pre").all_inner_texts()
    assert len(texts) == 2 and texts[0] != texts[1]
    assert page.locator("[data-part='mlp:1']").get_attribute("aria-pressed") == "true"
    page.click("[data-part='head:1.2']")
    page.wait_for_function(f"document.querySelector('.pg-change').textContent != '{change}'")
    page.click(".pg-worth")
    page.wait_for_function("document.querySelector(\"[data-part='head:2.4'] small\").textContent != ''")
    page.get_by_role("button", name="Switch all on").click()
    page.get_by_text("Everything is on").wait_for()


def test_one_token_is_changed_and_what_restores_the_answer_is_shown(visit, pair):
    page = inside(visit, pair[0], "patch")
    page.click("[data-position='3']")
    assert page.get_by_label("the token that stands there instead").input_value(), "a guess of the model stands there at first"
    page.click(".pg-patch-go")
    page.wait_for_function("document.querySelectorAll('.pg-patch-map').length == 2")
    reach, back = (page.locator(".pg-patch-map").nth(i).locator("tbody tr") for i in (0, 1))
    assert reach.count() == back.count() == 3
    embedding = back.last.locator("td").all_inner_texts()
    assert embedding[2] == "1.00" and set(embedding[:2] + embedding[3:]) == {"0"}
    assert reach.first.locator("td").all_inner_texts()[:2] == ["0", "0"]
    page.get_by_label("which activations are shown").select_option("mlp")
    page.wait_for_function("document.querySelectorAll('.pg-patch-map tbody tr').length == 4")


def test_the_lens_says_what_each_layer_would_answer(visit, app, pair):
    page = inside(visit, pair[0], "lens")
    page.wait_for_selector(".pg-lens-cell")
    assert page.locator(".pg-lens-cell").count() == 3 * 64
    page.locator('[data-lens="2 5"]').hover()
    said = page.locator(".pg-tip").inner_text()
    assert said.startswith("after layer 2, having read") and "right would be" in said and len(re.findall(r"0\.\d{3}", said)) == 6
    losses = [float(text) for text in page.locator("text.pg-lens-loss").all_text_contents()[1:]]
    found = values_of(page, app.root, pair[0], 120, "lens_loss")
    assert losses == pytest.approx([*found["embedding"], *found["mlp.add"]], rel=0.01)


def test_every_view_is_saved_as_numbers_and_as_a_picture(visit, pair, tmp_path):
    page = inside(visit, pair[0])
    for view in ("diagram", "curves", "heads", "lens", "ablate", "patch"):
        page.click(f"[data-view={view}]")
        if view == "ablate":
            page.click("[data-part='layer:1']")
            page.wait_for_selector(".pg-change")
        elif view == "patch":
            page.click("[data-position='3']")
            page.click(".pg-patch-go")
            page.wait_for_selector(".pg-patch-map")
        page.wait_for_timeout(700)
        for name, kind in (("CSV", "csv"), ("PNG", "png")):
            with page.expect_download() as download:
                page.locator("[data-side=a] .pg-exports").get_by_text(name, exact=True).click()
            path = tmp_path / download.value.suggested_filename
            download.value.save_as(path)
            assert path.suffix == f".{kind}" and path.stat().st_size > 60, (view, name)
            if kind == "csv":
                assert len(list(csv.reader(path.read_text().splitlines()))) > 3, view
            else:
                assert path.read_bytes().startswith(b"\x89PNG"), view


def test_a_strangers_text_is_answered_and_changes_nothing(visit, app, pair):
    before = Store(app.root).run(pair[0]).probe_text
    page = inside(visit, pair[0])
    page.fill("#probe-text textarea", "the cat and the hat")
    page.click("#use-probe")
    page.wait_for_function("document.querySelector('.pg-probe-text').textContent == 'the·cat·and·the·hat'")
    assert "from a checkpoint" in page.locator(".pg-side-title").inner_text()
    assert page.evaluate("Number(document.getElementById('inside-step').max)") == 3  # the checkpoints
    assert Store(app.root).run(pair[0]).probe_text == before
    page.fill("#probe-text textarea", "Ω")
    page.click("#use-probe")
    page.wait_for_function("document.querySelector('.pg-view').textContent.includes('Ω')")
    page.fill("#probe-text textarea", "")
    page.click("#use-probe")
    page.wait_for_function("!document.querySelector('.pg-side-title').textContent.includes('checkpoint')")


def test_the_owner_trains_looks_in_and_changes_the_text_afterwards(visit, app):
    page = visit()
    page.wait_for_selector("#picture .pg-graph")
    run_id = small_run(page, steps=300, layers=2)
    page.get_by_role("tab", name="Inside").click()
    page.wait_for_selector(CELL)
    page.wait_for_function(
        "/^step [0-9]+; waiting for the look at step [0-9]+$/.test(document.querySelector('.pg-step-words').textContent)"
    )
    page.click("[data-view=heads]")
    page.locator(".pg-head-cell").nth(5).click()
    canvas = page.locator(".pg-large canvas")
    canvas.wait_for()
    assert page.locator(".pg-large h3").inner_text() == "layer 2, head 2"
    page.wait_for_timeout(800)  # the page moves to it
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    tip = page.locator(".pg-tip")
    tip.wait_for()
    assert re.search(r"layer 2, head 2: .+ looks at .+ with weight 1\.00", tip.inner_text()), "the first token sees only itself"
    page.locator(".pg-look-token").first.hover()
    page.wait_for_function("/^“.+” \\(1\\) looks at “.+” \\(1\\) 1\\.00\\.$/.test(document.querySelector('.pg-look-said').textContent)")
    assert page.locator(".pg-look-lines path").count() == 0
    page.locator(".pg-look-text").press("ArrowRight")
    page.wait_for_function("/^“.+” \\(2\\) looks at/.test(document.querySelector('.pg-look-said').textContent)")
    painted = "Array.from(document.querySelector('.pg-large canvas').getContext('2d').getImageData(0, 9, 10, 1).data).join()"
    before = page.evaluate(painted)
    page.wait_for_function(f"{painted} != '{before}'")
    assert page.locator(".pg-large h3").inner_text() == "layer 2, head 2", "it stays open"

    page.fill("#probe-text textarea", "while the run trains")
    page.click("#use-probe")
    page.wait_for_function("document.querySelector('.pg-probe-text').textContent == 'while·the·run·trains'")
    page.wait_for_function("document.body.dataset.runState == 'finished'")
    assert Store(app.root).run(run_id).probe_text == "while the run trains"

    page.fill("#probe-text textarea", "when it has ended")
    page.click("#use-probe")
    page.wait_for_function("document.querySelector('.pg-probe-text').textContent == 'when·it·has·ended'")
    folder = RunFolder(app.root, run_id)
    checkpoints = folder.checkpoint_steps()
    kept = "document.querySelector('.pg-kept').textContent"  # until the run has it, the text is that of a viewer
    page.wait_for_function(f"{kept}.startsWith('The slider moves through what the run has recorded')")
    page.wait_for_function(f"document.getElementById('inside-step').max == {len(checkpoints) - 1}")
    assert folder.probe_steps("when it has ended") == checkpoints
    scrub(page, 0)
    page.wait_for_function(f"{SHOWN.format('a')}.includes('step 0')")


def test_a_finding_leads_to_where_it_comes_from(visit, pair):
    page = inside(visit, pair[1])
    page.wait_for_selector("#inside .pg-findings [data-rule] button")
    buttons = page.locator("#inside .pg-findings [data-rule] button")
    assert all(rule.startswith("Rule: ") for rule in [button.get_attribute("title") for button in buttons.all()])
    page.route("**/findings", lambda route: route.fulfill(json=[
        {"name": "x", "sentence": "The <b>gradient</b> vanishes.", "rule": "r", "view": "curves", "quantity": "grad_stream", "weight": 3}
    ]))  # fmt: skip
    page.locator("#inside .pg-findings button", has_text="The <b>gradient</b> vanishes.").click()
    page.wait_for_selector(".pg-view-curves .scatterlayer")
    assert page.input_value("#inside-quantity") == "grad_stream"


@pytest.mark.slow
def test_a_minute_of_updates_leaves_memory_flat_and_what_was_chosen_as_it_is(visit, app):
    with Played(Settings(app.root)) as played:
        page = visit()
        open_inside(page, app.url.rstrip("/"), played.run_id, "curves")
        page.wait_for_selector(".pg-view-curves .scatterlayer .trace")
        plot = "document.querySelector('.pg-view-curves .js-plotly-plot')"
        page.evaluate(f"Plotly.relayout({plot}, {{'xaxis.range': [0, 55]}})")
        points = page.evaluate(f"{plot}.data[0].x.length")
        page.wait_for_function(f"{plot}.data[0].x.length > {points + 3}")
        assert page.evaluate(f"{plot}._fullLayout.xaxis.range") == [0, 55], "the zoom survives the updates"
        page.click("[data-view=heads]")
        page.wait_for_function("document.querySelectorAll('.pg-head-cell').length == 64")
        page.locator(".pg-head-cell").nth(9).click()
        page.locator(".pg-large canvas").wait_for()
        page.locator(".pg-head-cell").nth(9).evaluate("(cell) => (cell.dataset.mine = 'kept')")
        time.sleep(6)
        watch = Watch(page)
        before, began, _ = watch.memory_mb(), played.step, watch.busy()
        time.sleep(SECONDS_WATCHED)
        updates = (played.step - began) / 10
        assert updates > 0.5 * 2 * SECONDS_WATCHED, "the updates came"
        assert watch.memory_mb() - before < MAY_GROW_MB
        assert page.locator(".pg-large h3").inner_text() == "layer 2, head 2"
        assert page.locator(".pg-head-cell").nth(9).get_attribute("data-mine") == "kept", "the same element as before"
        page.click("[data-view=curves]")
        page.wait_for_selector(".pg-view-curves .scatterlayer .trace")

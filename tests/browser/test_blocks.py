"""Every block of the literature in the page: drawn, compared, found, and taken elsewhere."""

from __future__ import annotations

import zipfile

from playground.runs.store import Store
from tests.browser.steps import choose, small_run, taken_home, wait_state


def nodes(page, figure: int = 0) -> list[str]:
    """Titles of the drawing's nodes from top to bottom, additions as +."""
    picture = page.locator(".pg-pictures figure").nth(figure)
    return [node.text_content() or "+" for node in picture.locator(".pg-node").all()]


def ready(page) -> None:
    page.wait_for_selector("#picture .pg-graph")
    page.wait_for_timeout(300)


def test_the_drawing_follows_where_the_norms_sit(visit):
    page = visit()
    ready(page)
    attention, mlp = "attention, 4 heads", "MLP, GELU"
    before = nodes(page)
    assert before[2:8] == ["LayerNorm", attention, "+", "LayerNorm", mlp, "+"]
    choose(page, "model-norm_placement", "post")
    page.wait_for_function("document.querySelector('.pg-formulas').textContent.includes('x = LN(x + Attn(x))')")
    assert nodes(page)[2:8] == [attention, "+", "LayerNorm", mlp, "+", "LayerNorm"]
    page.uncheck("#model-residual input")
    page.wait_for_function("!document.querySelector('#picture .pg-residual')")
    assert "+" not in nodes(page)


def test_two_architectures_side_by_side_mark_what_differs(visit):
    page = visit()
    ready(page)
    choose(page, "preset", "GPT-2")
    page.wait_for_function("document.querySelector('#preset').textContent.includes('deeper stacks train')")
    choose(page, "compare", "GPT-1")
    page.wait_for_selector(".pg-two figure:nth-child(2) .pg-graph")
    assert page.locator(".pg-pictures figure").count() == 2
    changes = page.locator(".pg-changes").inner_text()
    assert "norm placement pre, not post" in changes
    same = page.locator(".pg-pictures figure").first.locator(".pg-node-mlp")
    assert "pg-differs" not in same.get_attribute("class")
    assert page.locator(".pg-pictures figure").first.locator(".pg-differs").count() > 0


def test_hovering_a_part_says_what_it_computes_and_costs(visit):
    page = visit()
    ready(page)
    choose(page, "preset", "Llama")
    page.wait_for_function("document.querySelector('.pg-formulas').textContent.includes('RMSNorm')")
    page.locator("#picture .pg-node-attention").hover()
    tip = page.locator(".pg-tip")
    tip.wait_for()
    said = tip.inner_text()
    assert "softmax(q k / √32) v" in said and "2 key and value heads" in said and "q and k rotated" in said
    assert "49,152 parameters" in said and "in each block" in said
    page.locator(".pg-parts summary").click()
    total = page.locator(".pg-parts tbody tr").last.inner_text().split()
    assert total[1] == page.locator("#picture dd").first.inner_text()


def test_any_setting_is_found_by_its_words_and_one_without_effect_says_so(visit):
    page = visit()
    ready(page)
    page.locator("#knob-search").press_sequentially("rope base")
    page.keyboard.press("Enter")
    control = page.locator("#model-rope_base")
    control.wait_for()
    page.wait_for_selector("#model-rope_base.pg-idle")
    assert "No effect now: it needs position to be rope" in control.inner_text()
    assert control.evaluate("element => element.inert")
    choose(page, "model-position", "RoPE")
    page.wait_for_selector("#model-rope_base:not(.pg-idle)")
    assert not control.evaluate("element => element.inert")
    page.locator("#knob-search").press_sequentially("no such words")
    assert "No setting has these words" in page.locator(".pg-hits").inner_text()


def test_a_trained_llama_is_taken_home_as_a_folder_for_transformers(visit, app, tmp_path):
    page = visit()
    ready(page)
    choose(page, "preset", "Llama")
    page.wait_for_function("document.querySelector('.pg-formulas').textContent.includes('RMSNorm')")
    run_id = small_run(page, steps=8)
    wait_state(page, "finished")
    taken_home(page, run_id, "transformers folder (zip)", tmp_path / "folder.zip")
    zipfile.ZipFile(tmp_path / "folder.zip").extractall(tmp_path / "folder")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(next((tmp_path / "folder").iterdir()))
    assert type(model).__name__ == "LlamaForCausalLM"
    assert sum(p.numel() for p in model.parameters()) == Store(app.root).run(run_id).n_params


def test_the_drawing_is_legible_on_a_phone_in_the_dark(visit):
    page = visit(width=390, height=844, dark=True)
    ready(page)
    choose(page, "preset", "GPT-NeoX")
    page.wait_for_function("document.querySelector('.pg-formulas').textContent.includes('LN₂')")
    page.wait_for_function("document.querySelector('.pg-node text').getBoundingClientRect().height >= 9")  # pixels
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

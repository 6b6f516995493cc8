"""The code of a design in the page: closed at first, then following every change, marked where it is new; copied and downloaded."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from playground.runs.store import Store
from playground.training.devices import choose_dtype
from tests.browser.steps import choose, small_run, taken_home, wait_state

LINES = "[...document.querySelectorAll('.pg-code-line')]"
TEXT = f"{LINES}.map((line) => line.textContent).join('')"
NEW = f"{LINES}.filter((line) => line.matches('.pg-code-new')).map((line) => line.textContent.trim())"


def opened(page) -> None:
    page.wait_for_selector("#picture .pg-graph")
    page.click(".pg-code summary")
    page.wait_for_function(f"{LINES}.length > 50")


def test_nothing_is_asked_for_while_the_panel_is_closed(visit):
    page = visit()
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "live/code" in request.url else None)
    page.wait_for_selector("#picture .pg-graph")
    choose(page, "model-norm_placement", "post")
    page.wait_for_function("document.querySelector('.pg-formulas').textContent.includes('x = LN(x + Attn(x))')")
    assert asked == [] and not page.locator(".pg-code-lines").is_visible()
    opened(page)
    assert len(asked) == 1 and "norm_after" in page.evaluate(TEXT) and page.evaluate(NEW) == []


def test_the_code_follows_each_change_and_marks_it(visit):
    page = visit()
    opened(page)
    assert "x = x + self.attn.f(self.attn.norm_in(x))" in page.evaluate(TEXT)
    choose(page, "model-norm_placement", "post")
    page.wait_for_function(f"{TEXT}.includes('norm_after')")
    new = page.evaluate(NEW)
    assert "x = self.attn.norm_after(x + self.attn.f(x))" in new and "x = self.mlp.norm_after(x + self.mlp.f(x))" in new
    assert "class CausalSelfAttention(nn.Module):" not in new and len(new) < 12
    assert "The last change:" in page.locator(".pg-code-tools").inner_text()
    page.uncheck("#model-residual input")
    page.wait_for_function(f"{TEXT}.includes('x = self.attn.norm_after(self.attn.f(x))')")
    assert "x = self.attn.norm_after(self.attn.f(x))" in page.evaluate(NEW)
    page.fill("#model-n_layer input[type=number]", "3")
    page.keyboard.press("Tab")
    page.wait_for_function(f"{TEXT}.includes('n_layer = 3')")
    assert "n_layer = 3" in page.evaluate(NEW) and not any("norm_after" in line for line in page.evaluate(NEW))


def test_it_downloads_as_a_module_that_runs_and_is_copied(visit, tmp_path):
    page = visit()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page)
    tools = page.locator(".pg-code-tools")
    with page.expect_download() as file:
        tools.get_by_role("button", name="Download").click()
    path = tmp_path / file.value.suggested_filename
    file.value.save_as(path)
    assert path.name == "gpt.py" and path.read_text() == page.evaluate(TEXT)
    count = "import gpt; print(sum(p.numel() for p in gpt.GPT().parameters()))"
    done = subprocess.run([sys.executable, "-c", count], cwd=tmp_path, capture_output=True, text=True)
    assert f"{int(done.stdout):,}" == page.locator("#picture dd").first.inner_text(), done.stderr
    tools.get_by_role("button", name="Copy").click()
    tools.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == path.read_text()
    page.check(".pg-code-tools input")
    page.wait_for_function(f"{TEXT}.includes('optimizer.step()')")
    with page.expect_download() as file:
        tools.get_by_role("button", name="Download").click()
    assert file.value.suggested_filename == "train.py" and page.evaluate(NEW) == []


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_it_scrolls_within_itself(visit, dark):
    page = visit(width=390, height=844, dark=dark)
    opened(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = "[...document.querySelectorAll('.pg-code-lines, .pg-code-tools > *')].map((e) => e.getBoundingClientRect())"
    assert page.evaluate(f"{boxes}.every(({{ left, right }}) => left >= 0 && right <= 390)")
    wide = page.evaluate("(() => { const e = document.querySelector('.pg-code-lines'); return [e.scrollWidth, e.clientWidth]; })()")
    assert wide[0] > wide[1] > 250


def test_a_run_is_taken_home_as_a_script_that_prints_its_losses(visit, app, tmp_path):
    page = visit()
    page.wait_for_selector("#picture .pg-graph")
    run_id = small_run(page, steps=20, model_block_size=16)
    wait_state(page, "finished")
    path = tmp_path / "train.py"
    assert taken_home(page, run_id, "training script (Python)", path).endswith(f"-{run_id}.py")
    done = subprocess.run([sys.executable, path, app.root], capture_output=True, text=True)
    printed = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    recorded = [row.body["loss"] for row in Store(app.root).events(run_id, kinds=["progress"])]
    exact = choose_dtype("auto", torch.device("cpu")) == torch.float32  # else the run's products were in bfloat16
    assert printed == pytest.approx(recorded, abs=1e-5 if exact else 0.05, rel=0), done.stderr

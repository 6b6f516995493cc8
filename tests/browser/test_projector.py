"""The projector: readable from the last row, in light and dark, and for the host's browser alone."""

from __future__ import annotations

import pytest

from tests.browser.conftest import HOST_TOKEN
from tests.command import run_here

SMALL = ("--model.n_layer", "1", "--model.n_head", "1", "--model.n_embd", "16", "--train.max_steps", "30", "--train.eval_interval", "10")
SMALLEST_PX = 28
TOO_SMALL = """[...document.querySelectorAll('.pg-projector *')]
    .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType == 3 && n.textContent.trim()))
    .filter((e) => parseFloat(getComputedStyle(e).fontSize) < %d).map((e) => e.textContent)"""
OUTSIDE = """[...document.querySelectorAll('.pg-projector svg text, .pg-projector p, .pg-projector h1, .pg-projector h2, .pg-qr')]
    .filter((e) => e.checkVisibility()).map((e) => [e.textContent, e.getBoundingClientRect()])
    .filter(([, box]) => box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight).map(([text]) => text)"""


@pytest.fixture(scope="module")
def trained(app):
    for name, source in (("a run of Ada", "tiny-tales"), ("one with a name that is much too long", "tiny-tales"), ("copies", "task:copy")):
        done = run_here("train", "--name", name, "--data.source", source, "--data.tokenizer", "char", *SMALL, root=app.root)
        assert done.status == 0, done.err


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read_from_the_last_row(visit, trained, dark):
    page = visit(f"?projector#host={HOST_TOKEN}", width=1920, height=1080, dark=dark, until=".pg-projector")
    page.wait_for_function("document.querySelectorAll('.pg-projector-line').length >= 3")
    said = page.locator(".pg-projector").inner_text()
    assert "Tiny Tales" in said and "Task: copy" in said and "Join: 127.0.0.1" in said
    names = page.locator(".pg-projector svg text").all_text_contents()
    assert any(name.startswith("a run of Ada ") for name in names) and any(name.startswith("one with a name…") for name in names)
    assert page.evaluate(TOO_SMALL % SMALLEST_PX) == [] and page.evaluate(OUTSIDE) == []
    assert HOST_TOKEN not in page.url, "what the room sees does not make it the host"


def test_the_question_of_the_room_is_kept_and_others_see_nothing(visit, trained):
    page = visit(f"?projector#host={HOST_TOKEN}", width=1920, height=1080, until=".pg-projector")
    page.wait_for_selector(".pg-projector-line", state="attached")
    page.click(".pg-projector h1")
    page.keyboard.type("Why two layers?")
    page.keyboard.press("Tab")
    page.reload()
    page.wait_for_selector(".pg-projector-line", state="attached")
    assert page.locator(".pg-projector h1").inner_text() == "Why two layers?"
    other = visit("?projector", until=".pg-projector")
    other.get_by_text("Only the host's browser shows this").wait_for()
    assert other.locator(".pg-projector-line").count() == 0

"""What a person does on the page again and again: fill in a setting, choose an option, train, take a file home."""

from __future__ import annotations

import re
from pathlib import Path

STATE = "document.body.dataset.runState"
RUN = "new URL(location.href).searchParams.get('run')"


def wait_state(page, *states: str) -> None:
    page.wait_for_function(f"{list(states)}.includes({STATE})")


def open_run(page) -> str:
    page.wait_for_function(RUN)
    return re.search(r"run=([a-z2-7]{10})", page.evaluate("location.href"))[1]


def fill_number(page, elem_id: str, value: object) -> None:
    box = page.locator(f"#{elem_id} input[type=number], #{elem_id} textarea, #{elem_id} input[type=text]").first
    box.fill(str(value))
    box.press("Tab")


def choose(page, control: str, option: str) -> None:
    page.click(f"#{control} input")
    page.locator(f"#{control}").get_by_role("option", name=option, exact=True).click()


def answered(page, pressed: str, sure: bool) -> None:
    """Press what asks whether one is sure, and answer. The question may come after the press, so it is waited for."""
    page.once("dialog", lambda dialog: dialog.accept() if sure else dialog.dismiss())
    with page.expect_event("dialog"):
        page.click(pressed)


def design(page, layers: int, **values: object) -> None:
    """Fill in the number of layers and other settings, by the ids of their controls with `_` before the name: `train_max_steps`."""
    page.get_by_role("tab", name="Play", exact=True).click()
    for path, value in values.items():
        section, _, name = path.partition("_")
        fill_number(page, f"{section}-{name}", value)
    fill_number(page, "model-n_layer", layers)
    page.wait_for_function(f"document.querySelector('#picture .pg-times').textContent == '× {layers}'")


def small_run(page, steps: int = 60, layers: int = 1, **values: object) -> str:
    """Train something quick; returns its id once it is under way."""
    design(page, layers, model_n_embd=32, train_max_steps=steps, **values)
    before = page.evaluate(RUN)
    page.click("#train")
    page.wait_for_function(f"{RUN} && {RUN} != '{before}'")
    return open_run(page)


def taken_home(page, run_id: str, link: str, to: Path) -> str:
    """Choose a run and press one of its downloads; returns the name that was proposed for the file."""
    page.get_by_role("tab", name="Runs").click()
    page.locator(f"tr[data-run='{run_id}']").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    download.value.save_as(to)
    return download.value.suggested_filename

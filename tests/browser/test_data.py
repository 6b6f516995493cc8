"""Choosing what to learn from, in a real Chromium: tasks with their floor, texts of one's own, tokenizers."""

from __future__ import annotations

import json
import math

import pytest

from playground.runs.store import Store

FILES = "#section-own-text input[type=file]"
PLOT = "document.querySelector('#loss .pg-plot')"


def choose(page, title: str) -> None:
    page.click("#data-source input")
    page.get_by_role("option", name=title, exact=True).click()


def open_run(page) -> str:
    page.wait_for_function("new URL(location.href).searchParams.get('run')")
    return page.evaluate("new URL(location.href).searchParams.get('run')")


def test_a_task_shows_its_examples_its_floor_and_an_accuracy_that_rises(visit, app):
    page = visit()
    choose(page, "Task: sort")
    page.wait_for_selector("#data-panel .pg-examples mark")
    for line in page.locator("#data-panel .pg-examples > div").all():
        prompt, answer = line.locator("span").inner_text(), line.locator("mark").inner_text()
        assert answer == "".join(sorted(prompt.removesuffix(">"))) + "."
    assert "0: the answer follows from the prompt" in page.locator("#data-panel").inner_text()
    assert page.locator("#section-task").is_visible()
    assert page.locator("#section-tokens").is_hidden()

    page.click("[data-preset=sort]")
    page.wait_for_function("document.querySelector('#model-n_layer input[type=number]').value == '2'")
    page.locator("#train-max_steps input, #train-max_steps textarea").first.fill("300")
    page.keyboard.press("Tab")
    page.click("#train")
    run_id = open_run(page)
    page.wait_for_selector("#accuracy .main-svg")
    page.wait_for_function("document.body.dataset.runState == 'finished'")

    db = Store(app.root)
    (facts,) = db.events(run_id, kinds=("facts",))
    accuracy = [row.body["answer"] for row in db.events(run_id, kinds=("accuracy",))]
    assert facts.body["floor"] == 0
    assert accuracy[-1] > accuracy[0] + 0.3
    assert min(row.body["loss"] for row in db.events(run_id, kinds=("progress",))) >= 0
    page.wait_for_function(f"{PLOT}.layout.shapes?.some((line) => line.y0 === 0 && line.line.dash === 'dot')")
    assert "best possible, 0.000" in page.locator("#loss .pg-legend").inner_text()
    page.wait_for_function(f"document.querySelector('#accuracy .pg-plot').data?.[1].y.length == {len(accuracy) - 1}")  # the last is of all
    assert f"{100 * accuracy[-1]:.1f}% of answers" in page.locator("#accuracy").inner_text()
    rows = page.locator("#writes .pg-asked tbody tr")
    assert rows.count() >= 4
    for row in rows.all():
        prompt, answer = row.locator(".pg-asked-prompt").inner_text(), row.locator("mark").inner_text()
        right = answer == "".join(sorted(prompt.removesuffix(">"))) + "."
        assert right == ("✓" in row.inner_text())


def test_a_task_that_chance_limits_holds_its_floor_line(visit, app):
    page = visit()
    choose(page, "Task: markov text")
    page.wait_for_selector("#data-panel .pg-examples mark")
    page.click("[data-preset=markov]")
    page.wait_for_function("document.querySelector('#model-n_layer input[type=number]').value == '1'")
    page.locator("#train-max_steps input, #train-max_steps textarea").first.fill("200")
    page.keyboard.press("Tab")
    page.click("#train")
    run_id = open_run(page)
    page.wait_for_function("document.body.dataset.runState == 'finished'")
    db = Store(app.root)
    (facts,) = db.events(run_id, kinds=("facts",))
    floor = facts.body["floor"]
    assert 0.3 < floor < math.log(6)
    (whole,) = [row.body["loss"] for row in db.events(run_id, kinds=("validation",)) if row.body["whole"]]
    assert floor < whole < math.log(6)
    page.wait_for_function(f"{PLOT}.layout.shapes?.some((line) => Math.abs(line.y0 - {floor}) < 1e-9)")


def test_a_task_that_cannot_be_split_says_how_many_examples_there_are(visit):
    page = visit()
    choose(page, "Task: parity")
    page.wait_for_selector("#section-task #data-length")
    page.fill("#data-length input[type=number]", "4")
    page.keyboard.press("Tab")
    page.wait_for_selector("#data-source .pg-problem")
    assert "only 30 different examples" in page.locator("#data-source .pg-problem").inner_text()
    choose(page, "Tiny Tales")  # what no longer has an effect goes back to its default by itself
    page.wait_for_selector("#data-panel .pg-preview")
    page.wait_for_function("document.body.dataset.design == 'right'")
    assert page.locator("#section-task").is_hidden()


def test_a_sentence_is_cut_by_every_tokenizer(visit):
    page = visit()
    page.click("#section-tokens > button")
    page.wait_for_function("document.querySelectorAll('#tokens .pg-pieces').length == 3")
    page.fill("#sentence textarea, #sentence input", "The dog sat. ☃")
    page.wait_for_function("[...document.querySelectorAll('#tokens .pg-pieces')].every((row) => row.textContent.startsWith('The'))")
    page.wait_for_function("document.querySelectorAll('#tokens .pg-unknown-piece').length == 1")
    counts = [len(row.locator("span").all()) for row in page.locator("#tokens .pg-pieces").all()]
    assert counts[0] == 14
    assert counts[1] == 16  # the snowman is three bytes
    assert counts[2] < counts[0]


def test_bpe_is_learnt_shown_and_trained_with(visit, app):
    page = visit()
    page.click("#section-data > button")
    page.locator("#data-tokenizer").get_by_label("byte pair encoding (BPE)").check()
    page.wait_for_function("document.querySelector('#data-panel').innerText.includes('1,000')")
    page.locator("#train-max_steps input, #train-max_steps textarea").first.fill("20")
    page.keyboard.press("Tab")
    page.click("#train")
    run_id = open_run(page)
    page.wait_for_function("document.body.dataset.runState == 'finished'")
    assert Store(app.root).run(run_id).config.model.vocab_size == 1000
    bits = page.locator("#run-progress .pg-facts > div", has=page.get_by_text("the same, bits per byte", exact=True)).locator("dd")
    assert 0 < float(bits.inner_text()) < 8


def test_several_files_are_one_text_and_a_bad_byte_is_named_with_its_place(visit, tmp_path):
    page = visit()
    page.click("#section-own-text > button")
    for name, text in (("one.txt", "the cat sat on the mat. " * 100), ("two.txt", "the dog ate the log. " * 100)):
        (tmp_path / name).write_text(text)
    page.set_input_files(FILES, [tmp_path / "one.txt", tmp_path / "two.txt"])
    page.wait_for_function("document.querySelector('#data-panel .pg-preview')?.textContent.startsWith('the cat sat')")
    assert f"{2400 + 2 + 2100:,}" in page.locator("#data-panel").inner_text()
    assert "short for this model" in page.locator("#data-panel").inner_text()
    (tmp_path / "bad.txt").write_bytes(b"good text " * 10 + b"\xff and more")
    page.set_input_files(FILES, [tmp_path / "one.txt", tmp_path / "bad.txt"])
    said = page.locator("#brought", has_text="bad.txt is not UTF-8")
    said.wait_for()
    assert "Not taken" in said.inner_text() and "byte 0xff at offset 100" in said.inner_text()
    assert f"{2400 + 2 + 2100:,}" in page.locator("#data-panel").inner_text(), "what was chosen before is kept"


def test_the_column_of_a_table_and_the_encoding_of_a_letter_are_asked_for(visit, tmp_path):
    page = visit()
    page.click("#section-own-text > button")
    records = [{"id": i, "text": f"the poem of number {i} is not long, though it has words enough for a line."} for i in range(60)]
    (tmp_path / "poems.jsonl").write_text("\n".join(map(json.dumps, records)))
    page.set_input_files(FILES, tmp_path / "poems.jsonl")
    page.locator("#brought", has_text="poems.jsonl is a table; its columns are id, text").wait_for()
    assert page.locator("#upload-column input").input_value() == "text"
    page.click("#upload-again")
    page.wait_for_function("document.querySelector('#data-panel .pg-preview')?.textContent.startsWith('the poem of number 0')")
    (tmp_path / "letter.txt").write_bytes("Die Tür war größer, als Jürgen gedacht hätte: überall Öl und Ärger.\r".encode("cp1252") * 60)
    page.set_input_files(FILES, tmp_path / "letter.txt")
    page.locator("#brought", has_text="letter.txt is not UTF-8").wait_for()
    page.click("#upload-encoding input")
    page.get_by_role("option", name="Western Europe (cp1252)", exact=True).click()
    page.click("#upload-again")
    page.wait_for_function("document.querySelector('#data-panel .pg-preview')?.textContent.startsWith('Die Tür war größer')")
    assert "Chosen: letter.txt" in page.locator("#brought").inner_text()


@pytest.mark.parametrize("title", ["Tiny Shakespeare (from the Hugging Face Hub)", "TinyStories, a slice (from the Hugging Face Hub)"])
def test_without_the_network_a_hub_text_says_so_and_everything_else_goes_on(visit, title):
    page = visit()
    choose(page, title)
    page.wait_for_selector("#fetch-text")
    page.click("#fetch-text")
    # At once as a message, or beside the control where it took a moment to find out.
    page.locator(".toast-body, #data-source .pg-problem", has_text="could not be reached").first.wait_for()
    page.wait_for_selector("#fetch-text")
    choose(page, "Tiny Tales")
    page.wait_for_selector("#data-panel .pg-preview")

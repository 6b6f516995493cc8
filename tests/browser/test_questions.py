"""What people come to see is at most three clicks away, in a picture and a sentence that says it."""

from __future__ import annotations

from tests.browser.steps import wait_state

MOST_CLICKS = 3


class Clicks:
    """A page on which every click counts."""

    def __init__(self, page):
        self.page, self.n = page, 0

    def on(self, selector: str, **having) -> None:
        self.page.locator(selector, **having).first.click()
        self.n += 1
        assert self.n <= MOST_CLICKS


QUESTIONS = {  # with the sentence that answers it, and its picture
    "What do residuals preserve?": (r"A linear probe reads [\d.]+% of the tokens at the embedding and [\d.]+%", "#inside .pg-cell:visible"),
    "Which layer knows what?": (r"Within 0\.1 nats of its final loss is each class of token from here on: ", "#inside .pg-lens-cell"),
    "Where does the loss fall?": (r"Read out at the embedding the loss is [\d.]+ nats per token, after ", "#inside .pg-cell:visible"),
}


def test_each_question_about_a_run_is_answered_in_three_clicks(visit):
    page = visit()
    walk = Clicks(page)
    walk.on("[data-start=stories]")
    wait_state(page, "running")
    walk.on("#tabs [role=tab]", has_text="Inside")
    before = walk.n
    for question, (sentence, picture) in QUESTIONS.items():
        walk.n = before
        walk.on(".pg-guides button", has_text=question)
        page.wait_for_function(f"/^Step [\\d,]+: {sentence}/.test(document.querySelector('.pg-answer').textContent)")
        page.locator(picture).first.wait_for()
        assert page.locator(".pg-guides [aria-pressed=true]").inner_text() == question


def test_what_a_head_looks_at_takes_two_clicks(visit):
    page = visit()
    walk = Clicks(page)
    walk.on("[data-start=heads]")
    page.locator(".pg-answer", has_text="heads").wait_for()
    walk.on(".pg-head-cell")
    page.locator(".pg-look-said", has_text="looks at").wait_for()
    page.wait_for_selector(".pg-large canvas")


def test_whether_post_norm_needs_warm_up_takes_one_click(visit):
    page = visit()
    walk = Clicks(page)
    page.locator("[data-start=warm-up] .pg-thumbs .pg-graph").nth(1).wait_for()
    walk.on("[data-start=warm-up] button", has_text="Yes")
    page.locator(".pg-verdict-word", has_text="runs have ended").wait_for()
    page.wait_for_selector(".pg-arms .pg-graph")
    assert "“post without warm-up” is higher than “post with warm-up”" in page.locator(".pg-experiment").inner_text()

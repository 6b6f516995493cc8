"""What does not fit a handler is told, and is no error on the terminal."""

from functools import partial

import gradio as gr
import pytest
from gradio.data_classes import PredictBodyInternal

from playground.ui.blocks import UNFIT, Blocks


@pytest.fixture
def page():
    with Blocks() as page:
        text, number, file = gr.Textbox(), gr.Number(), gr.File()
        file.upload(lambda path: path, file, text, api_name="take")
        number.change(lambda n: 1 // n, number, text, api_name="divide")
    return page


def _call(run_apart, page, name, data):
    handler = next(each for each in page.fns.values() if each.api_name == name)
    return run_apart(page.process_api(handler, data))["data"]


@pytest.fixture
def call(run_apart, page):
    return partial(_call, run_apart, page)


def test_the_queue_looks_less_often_and_keeps_no_statistics(run_apart, page):
    ours, theirs = page._queue, gr.Blocks()._queue
    for name in ("sleep_when_free", "progress_update_sleep_when_free", "ANALYTICS_MAX_EVENTS"):
        assert type(getattr(ours, name)) is type(getattr(theirs, name)), f"Gradio has no {name} any more"
    assert ours.sleep_when_free > theirs.sleep_when_free
    handler = next(each for each in page.fns.values() if each.api_name == "divide")
    body = PredictBodyInternal(session_hash="a", fn_index=handler._id, data=[1])
    assert run_apart(ours.push(body, None, None))[0]
    assert ours.event_analytics == {} and len(ours) == 1


def test_proper_input_passes(call):
    assert call("divide", [1]) == ["1"]


@pytest.mark.parametrize("data", [[], [{"path": 7, "meta": {"_type": "gradio.FileData"}}], ["x"], [[[]]]])
def test_unfit_input_is_told_without_a_word_of_the_machine(call, data):
    with pytest.raises(gr.Error) as error:
        call("take", data)
    assert error.value.message == UNFIT and not error.value.print_exception


def test_an_error_of_our_own_stays_one(call):
    with pytest.raises(ZeroDivisionError):
        call("divide", [0])

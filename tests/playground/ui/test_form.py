"""Controls come from the declared knobs, every one, with words and ids."""

import threading

import gradio as gr
import pytest

from models.knobs import ConfigError, Problem, flat, nested, parse
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.data.corpora import CorpusError
from playground.runs.access import Access
from playground.runs.store import Store
from playground.ui import form
from playground.ui.common import Services
from playground.ui.design import OPEN_ORDER, Design
from playground.workers.supervisor import Supervisor
from tests.patience import LONGEST_S


def test_every_knob_has_one_control_with_its_path_as_id_and_a_sentence():
    with gr.Blocks():
        controls = [form.control(spec, flat(RunConfig())[spec.path]) for spec in form.SPECS]
    assert [control.elem_id for control in controls] == [spec.path.replace(".", "-") for spec in RunConfig.specs()]
    assert all(control.info and len(control.info.split()) > 3 for control in controls)


def test_open_and_closed_knobs_are_all_of_them_once():
    closed = [spec.path for specs in form.groups().values() for spec in specs]
    assert sorted([*OPEN_ORDER, *closed]) == sorted(spec.path for spec in form.SPECS)
    assert len(OPEN_ORDER) + 1 <= 12, "the preset is a control too"


@pytest.mark.parametrize("name", PRESETS)
def test_what_the_controls_show_reads_back_as_the_same_config(name):
    config = PRESETS[name].config
    values = flat(config)
    shown = [form.shown_value(spec, values[spec.path]) for spec in form.SPECS]
    assert parse(RunConfig, nested(form.read(shown))) == config


def test_an_emptied_number_is_a_problem_of_its_control():
    values = flat(RunConfig())
    shown = [None if spec.path == "train.batch_size" else form.shown_value(spec, values[spec.path]) for spec in form.SPECS]
    with pytest.raises(ValueError, match=r"train\.batch_size: .*use a whole number"):
        parse(RunConfig, nested(form.read(shown)))


def test_a_problem_names_controls_as_the_page_does():
    with pytest.raises(ConfigError) as caught:
        parse(RunConfig, nested({"model.n_head": 3}))
    told = form.shown_problem(caught.value.problems[0])
    assert (told["id"], told["label"]) == ("model-n_head", "heads")
    assert told["message"].startswith("width=128 is not divisible by heads=3")
    assert form.shown_problem(Problem("data", "the n_embd of my_n_embd"))["message"] == "the width of my_n_embd"


def test_a_download_that_failed_leaves_the_button_to_try_again(tmp_path, until):
    db, settings = Store(tmp_path), Settings(tmp_path)
    db.create()
    design = Design(Services(settings, db, Supervisor(settings, db), Access(db)))
    source = "hub:karpathy/tiny_shakespeare:tiny_shakespeare.txt"
    chosen = flat(RunConfig()) | {"data.source": source}
    values = [form.shown_value(spec, chosen[spec.path]) for spec in form.SPECS]
    with gr.Blocks():
        design.build_recipe()
        design.build_picture()
        design.built()

    def fail(report):
        report(0.5, "half of it")
        going_on.wait(LONGEST_S)
        raise CorpusError("the Hub could not be reached")

    going_on, review = threading.Event(), lambda: design.review("default", "", "", *values)[:2]
    design.services.errands.go(("fetch", source), fail, patience_s=0.0)
    until(lambda: review()[1].get("share") == 0.5)
    going_on.set()
    picture, data = until(lambda: (told := review()) and "problems" in told[0] and told)
    assert "could not be reached" in picture["problems"][0]["message"]
    assert data["missing"] and data["allowed"]

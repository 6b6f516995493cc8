"""Controls come from the declared knobs, every one, with words and ids."""

import gradio as gr
import pytest

from models.knobs import flat, nested, parse
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.ui import form
from playground.ui.design import OPEN_ORDER


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

"""A design in the page's address comes back as it was."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.knobs import ConfigError, flat, nested, parse
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.ui import address

DEFAULT = PRESETS["default"].config


@pytest.mark.parametrize("preset", PRESETS)
def test_an_untouched_preset_is_its_name(preset):
    assert address.written(PRESETS[preset].config, preset) == preset
    assert address.read(preset) == (preset, PRESETS[preset].config, [])


@pytest.mark.parametrize("other", PRESETS)
def test_every_preset_can_be_told_as_changes_of_another(other):
    text = address.written(PRESETS[other].config, "default")
    assert address.read(text) == ("default", PRESETS[other].config, [])
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_,=:/.-%+"), text


@given(st.text(max_size=40), st.one_of(st.none(), st.integers(1, 80_000)), st.booleans(), st.floats(1e-6, 1.0))
def test_whatever_is_typed_comes_back(words, seconds, residual, lr):
    changes = {"probe.text": words or None, "train.max_seconds": seconds, "model.residual": residual, "optim.lr": lr}
    config = parse(RunConfig, nested(flat(DEFAULT) | changes))
    assert address.read(address.written(config, "default"))[1] == config


def test_it_is_short_and_readable():
    config = parse(RunConfig, nested(flat(DEFAULT) | {"model.n_layer": 6, "model.norm_placement": "post", "train.seed": 3}))
    assert address.written(config, "default") == "default,n_layer=6,norm_placement=post,train.seed=3"


def test_one_that_a_messenger_has_escaped_still_opens():
    config = parse(RunConfig, nested(flat(DEFAULT) | {"model.n_layer": 6, "probe.text": "a, b = c"}))
    assert address.read(quote(address.written(config, "default"), safe="")) == ("default", config, [])


def test_what_is_not_known_any_more_is_left_out_and_said():
    preset, config, unknown = address.read("no-such-preset,n_layer=6,n_wheels=4,seed=1,=,,n_head")
    assert (preset, config.model.n_layer, unknown) == ("default", 6, ["n_wheels", "seed", "no-such-preset"])


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError) as caught:
        address.read("default,n_layer=many,n_head=-1")
    assert {problem.path for problem in caught.value.problems} == {"model.n_layer", "model.n_head"}

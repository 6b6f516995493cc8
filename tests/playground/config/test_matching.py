"""Models made equally large or equally dear."""

import pytest

from models.config import ModelConfig, complete, flops_per_token, n_params
from models.knobs import ConfigError, parse
from playground.config.matching import COUNTS, match

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

MODELS = st.fixed_dictionaries(
    {
        "n_layer": st.integers(1, 12), "n_head": st.sampled_from([1, 2, 3, 4, 6, 8]), "n_embd": st.sampled_from([48, 96, 144, 192, 384]),
        "block_size": st.sampled_from([32, 64, 256]), "mlp_ratio": st.sampled_from([1.0, 2.625, 4.0]), "tie_weights": st.booleans(),
        "norm_placement": st.sampled_from(["pre", "post", "sandwich", "none"]), "bias": st.booleans(),
        "activation": st.sampled_from(["gelu", "relu", "swiglu"]), "position": st.sampled_from(["learned", "rope", "none"]),
        "sublayers": st.sampled_from(["attention+mlp", "mlp"]), "share_layers": st.booleans(),
    }
)  # fmt: skip


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
@hypothesis.given(MODELS, MODELS, st.sampled_from([65, 1000]), st.sampled_from(sorted(COUNTS)))
def test_any_model_with_an_mlp_is_matched_within_two_percent(one, other, vocab_size, by):
    """Wherever some width has room for a hidden unit, and none needs more of them than an MLP can have."""
    try:
        a, b = (complete(parse(ModelConfig, values), vocab_size) for values in (one, other))
    except ConfigError:
        hypothesis.assume(False)
        raise
    count = COUNTS[by]
    narrowest = b.model_copy(update={"n_embd": 2 * b.n_head, "mlp_ratio": 1.0})
    hypothesis.assume(count(narrowest) < count(a) < count(b.model_copy(update={"n_embd": 2048})))
    found = match(b, count(a), count)
    assert abs(found.mismatch) <= 0.02
    assert found.mismatch == count(found.model) / count(a) - 1
    assert parse(ModelConfig, b.model_dump() | found.chosen).model_dump() == found.model.model_dump()


def test_depth_at_equal_parameters_keeps_the_depth_and_narrows_the_model():
    deep, flat = (complete(ModelConfig(n_layer=n, n_embd=128), 1000) for n in (8, 1))
    found = match(flat, n_params(deep), n_params, fixed={"n_layer"})
    assert found.model.n_layer == 1 and found.chosen["n_embd"] > 256 and abs(found.mismatch) < 0.001


def test_width_that_is_compared_stays_and_the_depth_gives_way():
    wide, narrow = (complete(ModelConfig(n_layer=2, n_embd=n), 65) for n in (128, 64))
    found = match(narrow, flops_per_token(wide), flops_per_token, fixed={"n_embd"})
    assert found.model.n_embd == 64 and found.chosen["n_layer"] > 4 and abs(found.mismatch) < 0.001


def test_equal_models_are_left_alone():
    one, four = (complete(ModelConfig(n_head=n), 65) for n in (1, 4))
    assert match(four, n_params(one), n_params, fixed={"n_head"}).chosen == {}


def test_what_nothing_can_close_remains_and_is_said():
    both, attention = (complete(ModelConfig(sublayers=which), 65) for which in ("attention+mlp", "attention"))
    found = match(attention, n_params(both), n_params, fixed={"n_embd", "n_layer"})
    assert found.chosen == {} and found.mismatch == n_params(attention) / n_params(both) - 1 < -0.5

"""What is over a limit is told which one, whose it is, and the nearest value that is allowed."""

import pytest

from models.config import n_params
from models.knobs import ConfigError, flat, nested, parse
from playground.config.limits import check_config
from playground.config.run import RunConfig
from playground.config.settings import Settings


def refused(config, settings) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        check_config(config, settings)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_every_limit_is_named_with_the_nearest_allowed_value(tmp_path, tiny):
    config = tiny(**{"model.block_size": 64, "train.max_steps": 3000, "train.max_seconds": 40.5})
    said = refused(config, Settings(tmp_path, max_block_size=32, max_steps=2000, max_seconds=30))
    ours = "are more than this playground's limit, which its host sets"
    assert said["model.block_size"] == f"64 tokens {ours}; use at most 32"
    assert said["train.max_steps"] == f"3,000 steps {ours}; use at most 2,000"
    assert said["train.max_seconds"] == f"40.5 s of training {ours}; use at most 30"
    check_config(config, Settings(tmp_path, max_block_size=64, max_steps=3000, max_seconds=41))


@pytest.mark.parametrize("most", [2000, 3500, 9000, 60_000])
def test_the_width_that_is_offered_fits_and_the_next_one_does_not(tmp_path, tiny, most):
    config = tiny(**{"model.n_embd": 128, "model.n_head": 2, "model.n_layer": 3, "model.vocab_size": 20})
    words = refused(config, Settings(tmp_path, max_params=most))["model.n_embd"]
    assert f"are more than the {most:,} of this playground's limit" in words

    def with_width(n_embd, **changes):
        return n_params(parse(RunConfig, nested(flat(config) | {"model.n_embd": n_embd, "model.vocab_size": 20} | changes)).model)

    if "n_embd=" in words:
        offered = int(words.split("n_embd=")[1].split(" ")[0])
        assert with_width(offered) <= most < with_width(offered + 4)
    if "n_layer=" in words:
        deep = int(words.split("n_layer=")[1])
        assert with_width(128, **{"model.n_layer": deep}) <= most < with_width(128, **{"model.n_layer": deep + 1})


def test_where_no_width_of_these_heads_fits_nothing_is_promised(tmp_path, tiny):
    assert "use fewer layers and a smaller width" in refused(tiny(), Settings(tmp_path, max_params=10))["model.n_embd"]

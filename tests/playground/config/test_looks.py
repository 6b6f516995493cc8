"""When a run is looked at: by its config alone, early and then evenly, and within its share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import flops_per_token
from models.knobs import changed, flat, nested, parse
from playground.config import looks as module
from playground.config.looks import MAX_PROBE_TOKENS, PROBE_SHARE, VALIDATION_SHARE, looks, probe_flops
from playground.config.presets import PRESETS
from playground.config.run import RunConfig, complete


def run(**changes):
    return complete(parse(RunConfig, nested(flat(RunConfig()) | changes)), 65, None)


def probed(schedule, until):
    return [step for step in range(until + 1) if schedule.probed(step)]


def test_early_steps_and_then_even_ones():
    schedule = looks(run(**{"train.max_steps": 333, "probe.interval": 60, "train.batch_size": 64}), 1000)
    assert probed(schedule, 333) == [0, 1, 2, 5, 10, 20, 50, 60, 100, 120, 180, 200, 240, 300, 333]
    places = probed(schedule, 333)
    for step in range(333):
        assert schedule.next_probe(step) == next(later for later in places if later > step)
    assert schedule.next_probe(333) is None
    endless = looks(run(**{"train.max_steps": None, "train.max_seconds": 9.0, "probe.interval": 10**6}), 0)
    assert (endless.next_probe(60), endless.next_probe(10**6 - 1), endless.next_probe(3 * 10**6)) == (100, 10**6, 4 * 10**6)


@given(st.sampled_from(sorted(PRESETS)), st.integers(1, 60), st.integers(1, 8))
def test_probes_cost_no_more_than_their_share_of_the_training(name, interval, n_together):
    config = PRESETS[name].config
    config = complete(changed(config, probe=changed(config.probe, interval=interval)), 1000, None)
    schedule = looks(config, 1000, n_together)
    step = 3 * flops_per_token(config.model) * config.tokens_per_step
    assert schedule.every % interval == 0
    assert n_together * probe_flops(config) <= PROBE_SHARE * step * schedule.every
    fewer = schedule.every - interval
    assert fewer == 0 or n_together * probe_flops(config) > PROBE_SHARE * step * fewer, "and no rarer than it must be"


def test_a_held_out_curve_that_costs_too_much_is_stretched_but_keeps_ten_points():
    config = run(**{"train.max_steps": 2000, "train.eval_interval": 25, "train.batch_size": 8})
    per_step = 3 * VALIDATION_SHARE * config.tokens_per_step
    for tokens, every in ((0, 25), (25 * per_step, 25), (26 * per_step, 50), (170 * per_step, 175), (10_000 * per_step, 200)):
        assert looks(config, int(tokens)).judged_every == every
    endless = run(**{"train.max_steps": None, "train.max_seconds": 60.0, "train.eval_interval": 25, "train.batch_size": 8})
    assert looks(endless, int(10_000 * per_step)).judged_every == 10_000
    assert looks(changed(endless, train=changed(endless.train, eval_interval=5))).judged_every == 50, "nobody knows how long it gets"
    many = run(**{"train.max_steps": 1_000_000, "train.eval_interval": 1})
    assert looks(many).judged_every == 1000, "a thousand points are what a curve can show"
    few = run(**{"train.max_steps": 200, "train.eval_interval": 50})
    assert looks(few, 10**9).judged_every == 50, "a short run is not judged all the time"
    assert looks(run(**{"train.max_steps": 120, "train.eval_interval": 100}), 0).judged_every == 50
    assert looks(run(**{"train.max_steps": 4000, "train.eval_interval": 1000}), 0).judged_every == 400, "a run has ten points"


def test_the_last_step_is_always_looked_at_and_judged():
    schedule = looks(run(**{"train.max_steps": 77}), 100)
    assert schedule.probed(77) and schedule.judged(77) and not schedule.judged(0) and not schedule.probed(76)


def test_a_probe_is_counted_with_all_it_computes():
    config = run()
    per_token = flops_per_token(config.model)
    assert probe_flops(config) > (6 * min(MAX_PROBE_TOKENS, config.model.block_size)) * per_token
    without = run(**{"model.sublayers": "mlp"})
    assert probe_flops(without) < probe_flops(config) and module.INDUCTION_SEQUENCES == 20


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_has_a_curve_of_a_few_points_at_least(name):
    config = complete(PRESETS[name].config, 1000, None)
    assert config.train.max_steps // looks(config, 16_384).judged_every >= 4

"""Ready experiments: each can be read, planned and paid for."""

import pytest

from playground.config.estimate import KINDS, Machine, run_seconds
from playground.config.experiment import MOST_RUNS, plan
from playground.config.gallery import DOCUMENTS, OVERNIGHT, THOROUGH, ready
from playground.config.presets import PRESETS
from playground.config.run import complete
from playground.config.starts import STARTS

READY = ready()
COSTS = {  # measured by `workers.speed` with one thread, on two cores that were busy
    "matmul 32": 4e-11, "matmul 128": 2e-11, "matmul 512": 1.5e-11, "orthogonalize": 3.7e-11, "activations": 9.9e-10, "maps": 0.0,
    "dropout": 2.8e-08, "weights": 8.5e-10, "layers": 0.0012, "step": 0.0025,
}  # fmt: skip


def vocab_size(config) -> int:
    return 1000 if config.data.tokenizer == "bpe" else 60


@pytest.mark.parametrize("name", READY)
def test_each_ready_experiment_is_at_most_24_runs_that_are_all_possible(name):
    """But for the thorough forms of those that may take a night, which may have as many runs as an experiment can."""
    for experiment in filter(None, (READY[name].quick, READY[name].thorough)):
        most = MOST_RUNS if experiment is READY[name].thorough and name in OVERNIGHT else 24
        planned = plan(experiment, vocab_size)
        runs = [*planned.tuning(), *planned.compared(dict.fromkeys(planned.configs, 1e-3) if experiment.tuning else None)]
        assert len(runs) == planned.n_runs <= most and experiment.seeds >= 3
        assert len({run.config.digest for run in runs}) == len(runs), "two runs are the same"
        assert all(abs(matched.mismatch) < 0.02 for matched in planned.matched.values())


@pytest.mark.parametrize("name", READY)
def test_the_quick_form_takes_at_most_three_minutes_on_two_cores(name):
    """By the closed forms, at the costs that one core of the reference machine was measured to have, two runs at a time."""
    planned = plan(READY[name].quick, vocab_size)
    per_seed = [run_seconds(complete(config, vocab_size(config), None), Machine(1, COSTS)) for config in planned.configs.values()]
    assert set(COSTS) == set(KINDS) and sum(per_seed) * planned.n_runs / len(planned.configs) / 2 < 180


def test_every_thorough_form_is_of_an_experiment_and_no_id_has_two():
    assert THOROUGH.keys() <= DOCUMENTS.keys() == READY.keys()
    assert THOROUGH.keys() >= set(OVERNIGHT)
    assert len({each.quick.title for each in READY.values()}) == len(READY)


@pytest.mark.parametrize("name", STARTS)
def test_what_one_starts_with_is_a_preset_or_an_experiment_with_answers(name):
    start = STARTS[name]
    if start.preset:
        assert start.preset in PRESETS and not (start.experiment or start.answers)
    else:
        claim = ready()[start.experiment].quick.claims[0]
        assert {claim.kind} < set(start.answers.values()), "the text's claim is one answer, and there is another"
        assert len(set(start.answers.values())) == len(start.answers)

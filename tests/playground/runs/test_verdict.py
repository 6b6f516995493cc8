"""The statistics of experiments, against SciPy's own and against simulated experiments of which the truth is known."""

import numpy as np
import pytest
from scipy import stats

from playground.runs import verdict
from playground.runs.verdict import HIGHER, LOWER, REFUTED, SAME, SUPPORTED, UNDECIDED, Difference, differences, holm

SIMULATED = 2000


def simulated(n_seeds: int, true: dict[str, float], sd: float = 0.02, seed: int = 0) -> list[dict[str, dict[int, float]]]:
    """Experiments in which a seed shifts all arms by ten times the spread of their differences."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(1.5, 10 * sd, (SIMULATED, n_seeds))
    arms = {arm: shared + mean + rng.normal(0, sd / np.sqrt(2), (SIMULATED, n_seeds)) for arm, mean in true.items()}
    return [{arm: dict(enumerate(drawn[i].tolist())) for arm, drawn in arms.items()} for i in range(SIMULATED)]


def test_a_difference_is_that_of_runs_with_the_same_seed():
    values = {"a": {1: 1.0, 2: 2.0, 3: 3.5}, "b": {1: 1.5, 2: 2.25, 4: 9.0}}
    (found,) = differences(values, [("a", "b")])
    assert (found.arm, found.than, found.seeds, found.mean) == ("a", "b", (1, 2), -0.375)
    assert differences(values, [("a", "c")]) == []


@pytest.mark.parametrize("n_pairs", [1, 3])
def test_interval_and_p_are_those_of_scipys_paired_test(n_pairs):
    rng = np.random.default_rng(1)
    values = {arm: dict(enumerate(rng.normal(i / 10, 0.1, 6).tolist())) for i, arm in enumerate("abcd")}
    found = differences(values, [(arm, "a") for arm in "bcd"[:n_pairs]])
    tests = [stats.ttest_rel(list(values[each.arm].values()), list(values["a"].values())) for each in found]
    for each, test in zip(found, tests, strict=True):
        low, high = test.confidence_interval(1 - 0.05 / n_pairs)
        assert (each.low, each.high) == pytest.approx((low, high), rel=1e-9)
        assert each.bootstrap is None
    assert [each.p for each in found] == pytest.approx(holm([test.pvalue for test in tests]))


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0] and holm([]) == []


def test_from_ten_seeds_on_there_is_a_bootstrap_too():
    rng = np.random.default_rng(2)
    values = {arm: dict(enumerate(rng.normal(size=12).tolist())) for arm in "ab"}
    (found,) = differences(values, [("a", "b")])
    apart = np.array(list(values["a"].values())) - np.array(list(values["b"].values()))
    wanted = stats.bootstrap((apart,), np.mean, confidence_level=0.95, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    assert found.bootstrap == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize(("n_seeds", "n_arms"), [(3, 2), (5, 2), (5, 4)])
def test_intervals_hold_as_often_as_they_say(n_seeds, n_arms):
    """All intervals of an experiment at once, in at least 93 and at most 97 of a hundred; a little more often where they are several,
    since those that share an arm go wrong together."""
    true = {name: 0.05 * i for i, name in enumerate("abcd"[:n_arms])}
    held = 0
    for values in simulated(n_seeds, true):
        found = differences(values, [(arm, "a") for arm in list(true)[1:]])
        held += all(each.low <= true[each.arm] <= each.high for each in found)
    assert 0.93 <= held / SIMULATED <= (0.97 if n_arms == 2 else 0.98)


@pytest.mark.parametrize("n_arms", [2, 4])
def test_where_there_is_no_difference_few_verdicts_say_that_there_is(n_arms):
    wrong = 0
    for values in simulated(4, dict.fromkeys("abcd"[:n_arms], 0.0), seed=3):
        found = differences(values, [(arm, "a") for arm in "bcd"[: n_arms - 1]])
        wrong += any(verdict.verdict(LOWER, 0.0, each) != UNDECIDED for each in found)
    assert wrong / SIMULATED <= 0.06


def test_power_is_how_often_a_simulated_difference_is_found():
    sd, effect = 0.02, 0.03
    found = [differences(values, [("b", "a")])[0] for values in simulated(5, {"a": 0.0, "b": effect}, sd, seed=4)]
    seen = np.mean([each.low > 0 or each.high < 0 for each in found])
    assert verdict.power(effect, sd, 5, 0.05) == pytest.approx(seen, abs=0.03)


def test_the_detectable_difference_is_found_four_times_in_five():
    (found,) = differences({"a": {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0}, "b": {1: 0.1, 2: 0.11, 3: 0.08, 4: 0.13}}, [("b", "a")])
    assert verdict.power(found.detectable, found.sd, 4, 0.05) == pytest.approx(0.8, abs=1e-6)


def between(low: float, high: float, n: int = 5) -> Difference:
    return Difference("a", "b", tuple(range(n)), (low + high) / 2, 0.01, low, high, 0.01, None, None)


@pytest.mark.parametrize(
    ("low", "high", "lower", "higher", "same"),
    [
        (-0.5, -0.2, SUPPORTED, REFUTED, REFUTED),
        (0.2, 0.5, REFUTED, SUPPORTED, REFUTED),
        (-0.05, 0.05, UNDECIDED, UNDECIDED, SUPPORTED),
        (-0.2, 0.2, UNDECIDED, UNDECIDED, UNDECIDED),
        (-0.3, -0.05, UNDECIDED, UNDECIDED, UNDECIDED),
    ],
)
def test_the_rule(low, high, lower, higher, same):
    found = between(low, high)
    assert [verdict.verdict(kind, 0.1, found) for kind in (LOWER, HIGHER, SAME)] == [lower, higher, same]


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_seeds_never_decide(n):
    values = {"a": {seed: 1.0 + seed for seed in range(n)}, "b": {seed: 5.0 + seed for seed in range(n)}}
    (found,) = differences(values, [("a", "b")])
    assert found.mean == -4.0 and verdict.verdict(LOWER, 0.0, found) == UNDECIDED


def test_differences_without_any_spread_decide_too():
    """Of runs whose losses differ by the same in each seed."""
    (found,) = differences({"a": {1: 1.0, 2: 2.0, 3: 3.0}, "b": {1: 1.5, 2: 2.5, 3: 3.5}}, [("a", "b")])
    assert (found.low, found.high, found.p, found.detectable) == (-0.5, -0.5, 0.0, 0.0)
    assert verdict.verdict(LOWER, 0.1, found) == SUPPORTED


def test_how_many_seeds_would_decide():
    found = Difference("a", "b", (1, 2, 3), -0.05, 0.04, -0.15, 0.05, 0.2, None, None)
    needed = verdict.seeds_needed(LOWER, 0.0, found)
    assert verdict.power(0.05, 0.04, needed, 0.05) >= 0.8 > verdict.power(0.05, 0.04, needed - 1, 0.05)
    assert verdict.seeds_needed(LOWER, 0.1, found) is None, "the arms differ by less than matters"
    assert verdict.seeds_needed(SAME, 0.1, found) is not None
    assert verdict.seeds_needed(LOWER, 0.0, Difference("a", "b", (1,), -0.05, None, None, None, None, None, None)) is None


def test_shares_of_diverged_runs_are_not_sure_after_three_seeds():
    """All of one arm and none of the other: a t interval has no width. The exact one covers the truth at least at its level."""

    def all_or_none(n: int) -> verdict.Difference:
        values = {"a": dict.fromkeys(range(n), 0.0), "b": dict.fromkeys(range(n), 1.0)}
        return verdict.differences(values, [("a", "b")])[0]

    said = [verdict.verdict("lower", 0.0, all_or_none(n)) for n in (3, 5, 8)]
    assert said == ["undecided", "undecided", "supported"]
    assert all_or_none(8).p == pytest.approx(2 * 0.5**8)
    draws = np.random.default_rng(3).choice([-1, 0, 1], p=[0.1, 0.5, 0.4], size=(500, 6))
    assert np.mean([low <= 0.3 <= high for low, high in (verdict.share_interval(each, 0.05) for each in draws)]) >= 0.95


@pytest.mark.parametrize("mean", [0.0, 0.01])
def test_as_many_seeds_as_are_needed_show_that_nothing_differs(mean):
    found = verdict.Difference("a", "b", (1, 2, 3), mean, 0.04, None, None, None, None, None)
    n = verdict.seeds_needed("same", 0.04, found)
    assert n is not None

    def share(n: int) -> float:
        """Of simulated experiments, those whose interval lies within delta."""
        draws = np.random.default_rng(0).normal(mean, 0.04, (20_000, n))
        half = stats.t.ppf(0.975, n - 1) * draws.std(1, ddof=1) / n**0.5
        return float((np.abs(draws.mean(1)) + half < 0.04).mean())

    assert share(n) > 0.79 and share(n - 1) < 0.81


def test_who_looks_after_each_seed_is_not_wrong_more_often():
    """Under no difference: ending at the first look that decides, in at most 5 of a hundred, and in far more without the correction."""
    experiments = simulated(7, {"a": 0.0, "b": 0.0})[:1000]

    def wrong(n_looks: int) -> float:
        found = ([differences(_first(values, n), [("a", "b")], n_looks=n_looks)[0] for n in range(3, 8)] for values in experiments)
        return np.mean([any(verdict.verdict(LOWER, 0.0, each) != UNDECIDED for each in looks) for looks in found])

    assert wrong(5) <= 0.05 and wrong(1) > 0.08


def _first(values, n):
    return {arm: {seed: value for seed, value in by_seed.items() if seed < n} for arm, by_seed in values.items()}

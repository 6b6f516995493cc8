"""The power law through an experiment's arms, on data whose law is known."""

import numpy as np
import pytest

from playground.runs.law import curve, law

SIZES = np.array([1e3, 4e3, 1.6e4, 6.4e4, 2.56e5])
ARMS = {f"arm {i}": float(x) for i, x in enumerate(SIZES)}


@pytest.mark.parametrize(("floor", "factor", "exponent"), [(0.8, 30.0, 0.3), (0.0, 12.0, 0.08), (1.7, 5000.0, 1.1)])
@pytest.mark.parametrize("unit", [1.0, 1e9])
def test_a_law_without_noise_is_found_whatever_the_size_is_counted_in(floor, factor, exponent, unit):
    found = curve(SIZES * unit, floor + factor * SIZES**-exponent)
    assert found == pytest.approx((floor, factor * unit**exponent, exponent), rel=2e-3, abs=2e-3)


def simulated(rng: np.random.Generator, n_seeds: int, noise: float) -> dict[str, dict[int, float]]:
    """Losses of the law 1 + 20 x^-0.35, each seed off by something that all arms have in common, and each run by something of its own."""
    common = rng.normal(0, 3 * noise, n_seeds)
    return {arm: {s: 1 + 20 * x**-0.35 + common[s] + rng.normal(0, noise) for s in range(n_seeds)} for arm, x in ARMS.items()}


def test_the_interval_covers_the_true_exponent_in_19_of_20_experiments():
    """160 of them, with three seeds and with six: 95% and 3.3 standard errors. (Of 400 each with 3, 5 and 10 seeds: 95.5 to 96.8%.)"""
    rng = np.random.default_rng(5)
    for n_seeds in (3, 6):
        found = [law(ARMS, simulated(rng, n_seeds, 0.01)) for _ in range(80)]
        covered = [each.low <= 0.35 <= each.high for each in found if each is not None and each.low is not None]
        assert len(covered) == 80 and np.mean(covered) >= 0.95 - 3.3 * (0.95 * 0.05 / 80) ** 0.5
        assert np.median([each.high - each.low for each in found]) < 0.15, "an interval that says something"


def test_what_a_seed_does_to_all_arms_alike_leaves_the_exponent_alone():
    values = {arm: {seed: 1 + 20 * x**-0.35 + 0.2 * seed for seed in range(3)} for arm, x in ARMS.items()}
    found = law(ARMS, values)
    assert found is not None and found.exponent == pytest.approx(0.35, rel=1e-3) and found.high - found.low < 1e-3
    assert found.floor == pytest.approx(1.2, abs=0.01) and found.at(4e3) == pytest.approx(1.2 + 20 * 4e3**-0.35, abs=0.01)


def test_what_cannot_be_known_is_not_said():
    values = {arm: {1: 1 + 20 * x**-0.35, 2: 1.1 + 20 * x**-0.35} for arm, x in ARMS.items()}
    two = law(ARMS, values)
    assert two is not None and (two.low, two.high, two.seeds) == (None, None, (1, 2))
    flat = law(ARMS, {arm: dict.fromkeys(range(3), 2.0) for arm in ARMS})
    assert flat is not None and flat.low is None and flat.at(1e4) == pytest.approx(2.0)
    assert law(dict(list(ARMS.items())[:3]), values) is None, "three arms are no test of three numbers"
    assert law(ARMS, {arm: {i: 1.0} for i, arm in enumerate(ARMS)}) is None, "no seed that all arms have"

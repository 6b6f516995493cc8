"""What the runs of an experiment say about its claim: paired differences over seeds, their intervals, and a verdict by a stated rule.

Knows nothing of runs, files and pages: it is given numbers by arm and seed. Differences are those of runs with the same seed, so that
what a seed does to both arms alike cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95
FEWEST_SEEDS = 3  # below, the verdict is always undecided: two differences say next to nothing about their spread
BOOTSTRAP_FROM = 10  # seeds: with three, a bootstrap's 95% interval covers the truth in three of four experiments
POWER = 0.8
FAR = 20.0  # standard errors
MOST_SEEDS = 1000

LOWER, HIGHER, SAME = "lower", "higher", "same"
SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"

Values = Mapping[str, Mapping[int, float]]  # what was measured, by arm and seed


@dataclass(frozen=True)
class Difference:
    """The mean of `arm` minus `than` over the `seeds` that both have, in the unit of what was measured; `pairs`: of each seed.

    `low` and `high` bound the simultaneous interval: together, all intervals of an experiment hold with the level. `p`: two-sided, by
    Holm's correction; `bootstrap`: a second interval that assumes no normal distribution, from ten seeds on. `detectable`: the smallest
    true difference that so many seeds with such a spread would tell from zero with a power of 0.8. None where it can't be known.
    """

    arm: str
    than: str
    seeds: tuple[int, ...]
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    p: float | None
    bootstrap: tuple[float, float] | None
    detectable: float | None
    pairs: tuple[float, ...] = ()

    @property
    def n(self) -> int:
        return len(self.seeds)


def differences(values: Values, pairs: Sequence[tuple[str, str]], level: float = LEVEL, n_looks: int = 1) -> list[Difference]:
    """The paired differences of these pairs of arms. Intervals by Student's t over seeds, Bonferroni-corrected for so many pairs; p by
    Holm 1979, Scand. J. Statist. 6. The bootstrap is BCa (Efron 1987, J. Am. Stat. Assoc. 82). Pairs without a common seed are left out.

    Where the values are looked at up to `n_looks` times, each time with more seeds, and may be believed each time, both are corrected for
    that too (Bonferroni): together the intervals of all looks hold with the level.

    Where every value is 0 or 1, as of runs that diverge or not, t would be sure after three that agree: then the interval is exact (see
    `share_interval`) and p is McNemar's exact one."""
    alpha = error_each(len(pairs), n_looks, level)
    samples = {}
    for arm, than in pairs:
        seeds = tuple(sorted(values.get(arm, {}).keys() & values.get(than, {}).keys()))
        if seeds:
            samples[arm, than] = seeds, np.array([values[arm][seed] - values[than][seed] for seed in seeds])
    shares = all(value in (0, 1) for by_seed in values.values() for value in by_seed.values())
    raw = {pair: _p_of_shares(apart) if shares else _p(apart) for pair, (_, apart) in samples.items() if len(apart) > 1}
    adjusted = {pair: min(1.0, n_looks * p) for pair, p in zip(raw, holm(list(raw.values()), len(pairs)), strict=True)}
    return [_difference(pair, seeds, apart, alpha, adjusted.get(pair), shares) for pair, (seeds, apart) in samples.items()]


def error_each(n_pairs: int, n_looks: int = 1, level: float = LEVEL) -> float:
    """How often each interval may miss, so that all of so many pairs and looks together hold with the level."""
    return (1 - level) / (max(1, n_pairs) * n_looks)


def _difference(
    pair: tuple[str, str], seeds: tuple[int, ...], apart: np.ndarray, alpha: float, p: float | None, shares: bool
) -> Difference:
    n, mean, each = len(apart), float(apart.mean()), tuple(map(float, apart))
    if n < 2:
        return Difference(*pair, seeds, mean, None, None, None, None, None, None, each)
    sd = float(apart.std(ddof=1))
    if shares:
        return Difference(*pair, seeds, mean, None, *share_interval(apart, alpha), p, None, None, each)
    half = float(stats.t.ppf(1 - alpha / 2, n - 1)) * sd / math.sqrt(n)
    return Difference(*pair, seeds, mean, sd, mean - half, mean + half, p, _bootstrap(apart, alpha), _detectable(sd, n, alpha), each)


def _p(apart: np.ndarray) -> float:
    if not apart.std() > 0:  # equal to the last digit, which a t statistic can't be computed of
        return 1.0 if apart.mean() == 0 else 0.0
    t = apart.mean() / apart.std(ddof=1) * math.sqrt(len(apart))
    return float(2 * stats.t.sf(abs(t), len(apart) - 1))


def _p_of_shares(apart: np.ndarray) -> float:
    more, less = int((apart > 0).sum()), int((apart < 0).sum())
    return float(stats.binomtest(more, more + less).pvalue) if more + less else 1.0


def share_interval(apart: np.ndarray, alpha: float) -> tuple[float, float]:
    """Of the mean of differences that are -1, 0 or 1: the bounds of Clopper and Pearson 1934 (Biometrika 26) on the share of either sign,
    each at half the error, subtracted. It covers the truth at least as often as its level says."""
    more, less = (stats.binomtest(int((apart == sign).sum()), len(apart)).proportion_ci(1 - alpha / 2, method="exact") for sign in (1, -1))
    return float(more.low - less.high), float(more.high - less.low)


def holm(ps: Sequence[float], n_tests: int | None = None) -> list[float]:
    """Adjusted p values, in the order given: the i-th smallest times the number of those not smaller, never decreasing, at most 1."""
    n_tests = len(ps) if n_tests is None else n_tests
    adjusted, least = [1.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        least = max(least, min(1.0, (n_tests - rank) * ps[i]))
        adjusted[i] = least
    return adjusted


def _bootstrap(apart: np.ndarray, alpha: float) -> tuple[float, float] | None:
    if len(apart) < BOOTSTRAP_FROM or not apart.std() > 0:
        return None
    rng = np.random.default_rng(0)  # the same runs have the same interval
    found = stats.bootstrap((apart,), np.mean, confidence_level=1 - alpha, method="BCa", rng=rng).confidence_interval
    return float(found.low), float(found.high)


def power(effect: float, sd: float, n: int, alpha: float) -> float:
    """The chance that a two-sided t test over n pairs tells a true difference from zero (noncentral t; Cohen 1988)."""
    if not sd > 0:
        return 1.0 if effect else alpha
    critical, shift = stats.t.ppf(1 - alpha / 2, n - 1), abs(effect) / sd * math.sqrt(n)
    if shift > FAR:  # where SciPy's noncentral t is NaN, all that varies is the estimated spread
        return float(stats.chi2.cdf((n - 1) * (shift / critical) ** 2, n - 1))
    wrong_side = stats.nct.cdf(-critical, n - 1, shift) if shift < FAR / 4 else 0.0
    return float(stats.nct.sf(critical, n - 1, shift) + wrong_side)


def power_same(effect: float, delta: float, sd: float, n: int, alpha: float) -> float:
    """The chance that the interval over n pairs lies wholly within delta on both sides (Schuirmann 1987): that of a normal mean given the
    sample's spread, averaged over 500 quantiles of the latter."""
    if not sd > 0:
        return float(abs(effect) < delta)
    spreads = np.sqrt(stats.chi2.ppf((np.arange(500) + 0.5) / 500, n - 1) / (n - 1))
    edge = delta / sd * math.sqrt(n) - stats.t.ppf(1 - alpha / 2, n - 1) * spreads
    shift = effect / sd * math.sqrt(n)
    return float(np.maximum(0.0, stats.norm.cdf(edge - shift) - stats.norm.cdf(-edge - shift)).mean())


def _detectable(sd: float, n: int, alpha: float) -> float | None:
    return None if n < FEWEST_SEEDS else sd * _detectable_effect(n, alpha)


@lru_cache(maxsize=256)
def _detectable_effect(n: int, alpha: float) -> float:
    """In standard deviations of the paired differences."""
    root: Any = optimize.brentq(lambda effect: power(effect, 1.0, n, alpha) - POWER, 0.0, 1000.0)
    return float(root)


def verdict(kind: str, delta: float, found: Difference) -> str:
    """The rule, stated beforehand: that an arm is lower (higher) than another is supported where the interval of their difference lies
    wholly beyond delta on that side, and refuted where it does on the other; that they are the same is supported where it lies wholly
    within delta on both sides (the two one-sided tests of Schuirmann 1987, J. Pharmacokin. Biopharm. 15, at half the level), and refuted
    where it lies wholly outside. Everything else, and fewer than three seeds, is undecided."""
    if found.n < FEWEST_SEEDS or found.low is None or found.high is None:
        return UNDECIDED
    below, above = found.high < -delta, found.low > delta
    if kind == SAME:
        within = -delta < found.low and found.high < delta
        return SUPPORTED if within else REFUTED if below or above else UNDECIDED
    if not (below or above):
        return UNDECIDED
    return SUPPORTED if below == (kind == LOWER) else REFUTED


def seeds_needed(kind: str, delta: float, found: Difference, alpha: float = 1 - LEVEL) -> int | None:
    """How many seeds would decide with a power of 0.8, were the true difference and its spread those seen, and each interval might miss
    with probability `alpha`; None where more than a thousand would be needed, or where nothing is known of the spread."""
    if found.sd is None:
        return None
    margin = abs(abs(found.mean) - delta)
    if kind != SAME and abs(found.mean) <= delta:
        return None  # no number of seeds puts an interval beyond delta
    within = kind == SAME and abs(found.mean) < delta

    def decides(n: int) -> bool:
        sd = found.sd or 0.0
        return (power_same(found.mean, delta, sd, n, alpha) if within else power(margin, sd, n, alpha)) >= POWER

    return next((n for n in range(FEWEST_SEEDS, MOST_SEEDS + 1) if decides(n)), None)

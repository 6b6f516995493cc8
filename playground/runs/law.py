"""A power law through the arms of an experiment: L = E + A x^−α, where x is the size, the data or the compute of an arm.

Knows nothing of runs, files and pages: it is given numbers by arm and seed, as `verdict` is. Kaplan et al. 2020 (arXiv:2001.08361),
Hoffmann et al. 2022 (arXiv:2203.15556).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from playground.config.sizes import FEWEST_SIZES
from playground.runs.verdict import FEWEST_SEEDS, LEVEL, Values

EXPONENTS = (0.02, 4.0)  # beyond these a law over a few sizes is a straight line or a step


@dataclass(frozen=True)
class Law:
    """`floor` E, `factor` A and `exponent` α of the curve through the means over `seeds`. `low` and `high` bound the exponent with 95%:
    None where there are too few seeds, or where one of them has no exponent: it does not fall, or lies at the edge of what is sought."""

    floor: float
    factor: float
    exponent: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]
    points: tuple[tuple[float, float], ...]

    def at(self, x: float) -> float:
        return self.floor + self.factor * x**-self.exponent


def law(xs: Mapping[str, float], values: Values) -> Law | None:
    """The law through the arms, by the seeds that all of them have; None with fewer than four different sizes, or without such a seed.

    The interval is that of Student's t over the seeds' own exponents, as logarithms: each seed is fitted by itself, so that what it does
    to all arms alike is no error of the slope. With three seeds a bootstrap over them would be too narrow."""
    arms = [arm for arm in xs if values.get(arm)]
    seeds = tuple(sorted(set.intersection(*(set(values[arm]) for arm in arms)))) if arms else ()
    x = np.array([xs[arm] for arm in arms])
    if len(np.unique(x)) < FEWEST_SIZES or not seeds:
        return None
    y = np.array([[values[arm][seed] for arm in arms] for seed in seeds])  # (S, arms)
    floor, factor, exponent = curve(x, y.mean(0))
    low, high = _interval([curve(x, each) for each in y], exponent)
    return Law(floor, factor, exponent, low, high, seeds, tuple(zip(x.tolist(), y.mean(0).tolist(), strict=True)))


def curve(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """E, A (both at least 0) and α of the least squares: for each α the other two follow in closed form, so only α is sought."""
    unit = float(np.exp(np.log(x).mean()))  # numbers near 1, whatever the size is counted in
    scaled = x / unit

    def missed(log_exponent: float) -> float:
        return _of_exponent(scaled, y, math.exp(log_exponent))[0]

    tried = np.linspace(math.log(EXPONENTS[0]), math.log(EXPONENTS[1]), 30)
    best = int(np.argmin([missed(each) for each in tried]))
    around = (tried[max(0, best - 1)], tried[min(len(tried) - 1, best + 1)])
    found = optimize.minimize_scalar(missed, bounds=around, method="bounded", options={"xatol": 1e-6})
    exponent = math.exp(float(found.x))
    _, floor, factor = _of_exponent(scaled, y, exponent)
    return floor, factor * unit**exponent, exponent


def _of_exponent(x: np.ndarray, y: np.ndarray, exponent: float) -> tuple[float, float, float]:
    """The squared error, E and A for this exponent."""
    fallen = x**-exponent
    spread = fallen - fallen.mean()
    factor = max(0.0, float(spread @ y / (spread @ spread)))
    floor = float(y.mean() - factor * fallen.mean())
    if floor < 0:
        floor, factor = 0.0, max(0.0, float(fallen @ y / (fallen @ fallen)))
    return float(((y - floor - factor * fallen) ** 2).sum()), floor, factor


def _interval(by_seed: list[tuple[float, float, float]], exponent: float) -> tuple[float | None, float | None]:
    (low, high), exponents = EXPONENTS, [each for _, factor, each in by_seed if factor > 0]
    if len(exponents) < max(FEWEST_SEEDS, len(by_seed)) or min(exponents) < low * 1.01 or max(exponents) > high / 1.01:
        return None, None
    logs = np.log(exponents)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs)))
    return exponent * math.exp(-half), exponent * math.exp(half)

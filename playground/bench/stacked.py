"""Compares several runs trained together as one program with one run alone, in turns."""

from __future__ import annotations

import json

from playground.bench.figures import machine, note, spread
from playground.bench.loops import LOOP, TOGETHER
from playground.bench.rows import in_process
from playground.config.run import RunConfig
from playground.config.settings import Settings


def measure(config: RunConfig, settings: Settings, repeat: int, pairs: int) -> dict[str, list[float]]:
    """Tokens per second of one run alone and of `repeat` runs as one program, `pairs` times each."""
    found: dict[str, list[float]] = {LOOP: [], TOGETHER: []}
    for i in range(pairs):
        for row in found if i % 2 == 0 else reversed(found):
            note(f"{i + 1} of {pairs}: {row}")
            found[row].append(in_process(row, config, settings, repeat))
    return found


def gain(found: dict[str, list[float]]) -> list[float]:
    """Tokens per second of the runs together over those of one alone, turn by turn."""
    return [several / one for several, one in zip(found[TOGETHER], found[LOOP], strict=True)]


def as_json(found: dict[str, list[float]], repeat: int) -> str:
    return json.dumps({"machine": machine(), "repeat": repeat, "tokens_per_s": found, "gain": gain(found)})


def table(found: dict[str, list[float]], repeat: int) -> str:
    alone = f"{'one run after the other':32} {spread(found[LOOP], ',.0f'):>28} tokens/s"
    together = f"{f'{repeat} runs as one program':32} {spread(found[TOGETHER], ',.0f'):>28} tokens/s"
    return f"{alone}\n{together}   ratio {spread(gain(found), '.2f')}"

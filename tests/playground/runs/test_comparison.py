"""Runs compared in pairs on the passages that both were judged on."""

import math
from types import SimpleNamespace

import pytest

from models.knobs import flat, nested, parse
from playground.config.run import RunConfig
from playground.runs.comparison import Judged, compared, distinct


def judged(run_id, by_group, *, name="a run", n_tokens=3200, bits=None, step=500, fingerprint="same", **changes):
    config = parse(RunConfig, nested(flat(RunConfig()) | changes))
    run = SimpleNamespace(id=run_id, name=name, readable_config=config)
    bits = sum(by_group) / math.log(2) / 16_384 if bits is None else bits
    body = {"loss": sum(by_group) / n_tokens, "n_tokens": n_tokens, "by_group": by_group, "bits_per_byte": bits, "whole": False}
    return Judged(run, fingerprint, SimpleNamespace(step=step, body=body))


HARD = [100.0 + 7 * i for i in range(32)]


def test_a_small_difference_on_the_same_passages_is_told():
    better = [nats - 3.2 - (0.2 if i % 2 else -0.2) for i, nats in enumerate(HARD)]
    (said, _) = compared([judged("aaaa111111", HARD, name="A"), judged("bbbb111111", better, name="B")])
    error = 0.2 * math.sqrt(32 / 31) * math.sqrt(32) / 3200
    assert said == f"B: -0.032 ± {error:.3f} nats per token against A on the same 32 held-out passages (step 500): this run is better."
    (said, _) = compared([judged("bbbb111111", better, name="B"), judged("aaaa111111", HARD, name="A", step=700)])
    assert said.startswith("A: +0.032 ±") and said.endswith("(step 700 against 500): this run is worse.")


def test_what_could_be_chance_is_not_told_apart():
    other = [nats + (9.0 if i % 2 else -8.0) for i, nats in enumerate(HARD)]
    (said, _) = compared([judged("aaaa111111", HARD, name="A"), judged("bbbb111111", other, name="B")])
    assert said.endswith("not told apart.")


def test_other_tokens_of_one_text_are_compared_by_its_bytes():
    other = [nats - 16.4 + i % 2 for i, nats in enumerate(HARD)]
    one = judged("aaaa111111", HARD, name="A", **{"data.tokenizer": "char"})
    (said, _) = compared([one, judged("bbbb111111", other, name="B", n_tokens=5000, **{"data.tokenizer": "bpe"})])
    difference = (sum(other) - sum(HARD)) / math.log(2) / 16_384
    assert said.startswith(f"B: {difference:+.3f} ± ") and "bits per byte" in said


@pytest.mark.parametrize("other", [{"fingerprint": "other"}, {"fingerprint": None}, {"by_group": HARD[:-1]}, {"by_group": [math.nan] * 32}])
def test_what_was_judged_otherwise_is_left_out(other):
    assert compared([judged("aaaa111111", HARD), judged("bbbb111111", **{"by_group": HARD} | other)]) == []


def test_runs_of_one_name_are_told_apart():
    runs = [judged(run_id, HARD, name=name).run for run_id, name in (("aaaa111111", "x"), ("bbbb111111", "x"), ("cccc111111", "y"))]
    assert list(distinct(runs).values()) == ["x (aaaa)", "x (bbbb)", "y"]

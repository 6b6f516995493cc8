"""Runs compared in pairs on the passages that both were judged on."""

import math
from types import SimpleNamespace

import pytest

from models.knobs import flat, nested, parse
from playground.config.presets import name_of
from playground.config.run import RunConfig
from playground.runs.comparison import Judged, compared, distinct


def changed_by(changes):
    return parse(RunConfig, nested(flat(RunConfig()) | changes))


def judged(run_id, by_group, *, name="a run", n_tokens=3200, bits=None, step=500, fingerprint="same", **changes):
    config = changed_by(changes)
    run = SimpleNamespace(id=run_id, name=name, preset="default", readable_config=config)
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


def unnamed(*all_changes, preset="default"):
    """Runs as they are named when they begin, by the changes of each."""
    runs: list = []
    for changes in all_changes:
        config = changed_by(changes)
        made, n = name_of(config, preset), sum(run.readable_config == config for run in runs)
        name = f"{made} #{n + 1}" if n else made
        runs.append(SimpleNamespace(id=f"{'abcdefghij'[len(runs)] * 4}111111", name=name, preset=preset, readable_config=config))
    return runs


def test_runs_that_nobody_named_say_what_differs():
    deep = {"model.n_layer": 6}
    runs = unnamed(deep, deep | {"train.seed": 2}, {})
    assert list(distinct(runs).values()) == ["layers 6, seed 1337", "layers 6, seed 2", "layers 4, seed 1337"]
    runs[1].name = "mine"
    assert list(distinct(runs).values()) == ["layers 6", "mine", "layers 4"], "one that has a name is no other's reason for more words"
    assert list(distinct(runs[:1]).values()) == [runs[0].name], "one alone differs from nothing"


def test_what_nearly_all_have_in_common_is_not_said():
    odd = {"model.qk_norm": "head", "optim.lr": 0.01, "train.seed": 2}
    names = list(distinct(unnamed(*({"train.seed": seed} for seed in (1, 1, 2, 3)), odd)).values())
    assert names == ["seed 1", "seed 1 #2", "seed 2", "seed 3", "QK-norm per head, learning rate 0.01, seed 2"]
    assert list(distinct(unnamed({}, {}, {}, odd)).values())[:3] == ["Small GPT", "Small GPT #2", "Small GPT #3"]


def test_runs_of_several_presets_say_which():
    runs = unnamed({}, {"train.seed": 2}) + unnamed({}, {"optim.lr": 0.01}, preset="post-norm")
    for run, letter in zip(runs, "wxyz", strict=True):
        run.id = f"{letter * 4}111111"
    names = list(distinct(runs).values())
    assert names[:2] == ["Small GPT: seed 1337", "Small GPT: seed 2"]
    assert names[2:] == ["Post-norm, no warm-up: learning rate 0.001", "Post-norm, no warm-up: learning rate 0.01"]

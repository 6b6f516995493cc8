"""Examples to train on and examples to judge by: what is held out is never trained on."""

from collections import Counter
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from playground.data import examples, tasks
from playground.data.errors import CorpusError
from playground.data.examples import is_held_out, split
from playground.data.tasks import TASKS, Examples, Params

# More symbols than the longest prompt has, so that prompts with different symbols can be longer than trained, too.
ROOMY = Params(length=8, alphabet=16)
SIZED = [source for source, task in TASKS.items() if task.sizes(ROOMY) is not None]
FEW = ("modular-addition", "parity", "majority")


@pytest.fixture(scope="module", params=TASKS)
def cut(request):
    """(task, its examples as they are split in earnest)"""
    task = TASKS[request.param]
    return task, split(task, ROOMY)


@pytest.fixture
def short(monkeypatch):
    """Little to train on, where that is not what matters."""
    monkeypatch.setattr(examples, "TRAIN_EXAMPLES", 2000)
    monkeypatch.setattr(examples, "HELD_OUT_EXAMPLES", 200)
    monkeypatch.setattr(examples, "TRIES", 4)


def rows(drawn):
    return [tuple(tokens[:end]) for tokens, end in zip(drawn.tokens.tolist(), drawn.ends.tolist(), strict=True)]


def units(task, p, row):
    """The size of an example, by what it looks like."""
    words = [task.vocabulary(p)[i] for i in row]
    if task.name == "induction":
        return len(set(words))
    if task.name == "addition":
        return words.index("+")
    before = words[: words.index(">")]
    return len(before) // 2 if task.name == "recall" else sum(word != "-" for word in before)


def same(one, other):
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Examples))


# split


def test_nothing_held_out_is_trained_on(cut):
    task, parts = cut
    trained, held_out = set(rows(parts.train)), rows(parts.held_out)
    assert not trained & set(held_out) and held_out
    assert not task.exact or len(set(held_out)) == len(held_out)  # where chance decides they come as they are drawn
    for size, found in parts.by_size.items():
        assert len(found) == len(set(rows(found))) > 0
        assert not trained & set(rows(found)), size


def test_nothing_held_out_begins_what_is_trained_on(cut):
    """An example that a longer one begins with would be learnt along with that one."""
    _, parts = cut
    judged = {row for part in (parts.held_out, *parts.by_size.values()) for row in rows(part)}
    lengths = {len(row) for row in judged}
    assert not judged & {row[:n] for row in set(rows(parts.train)) for n in lengths if n <= len(row)}


def test_there_is_as_much_to_train_on_as_said(cut):
    task, parts = cut
    assert len(parts.train) == min(examples.TRAIN_EXAMPLES, examples.TRAIN_TOKENS // task.longest(ROOMY))
    if task.n_different(ROOMY) > 20 * examples.HELD_OUT_EXAMPLES:
        assert len(parts.held_out) == examples.HELD_OUT_EXAMPLES
    else:
        assert len(parts.held_out) == pytest.approx(task.n_different(ROOMY) / 10, rel=0.4)
    assert all(len(found) <= examples.LENGTH_EXAMPLES for found in parts.by_size.values())
    assert parts.train.tokens.shape == parts.train.nats.shape == parts.train.sure.shape == (len(parts.train), task.longest(ROOMY))


def test_where_there_are_few_every_example_is_on_one_side(cut):
    task, parts = cut
    if task.name in FEW:
        assert len(set(rows(parts.train))) + len(parts.held_out) == task.n_different(ROOMY)


def test_sizes_go_beyond_those_trained_on(cut):
    task, parts = cut
    known = task.sizes(ROOMY)
    if known is None:
        assert parts.by_size == {}
        return
    trained = {units(task, ROOMY, row) for row in rows(parts.train)}
    assert max(trained) == known.longest and known.longest in parts.by_size
    assert max(parts.by_size) == known.testable > known.longest and len(parts.by_size) >= 4
    assert sum(size > known.longest for size in parts.by_size) >= 2
    assert list(parts.by_size) == sorted(parts.by_size)
    for size, found in parts.by_size.items():
        assert {units(task, ROOMY, row) for row in rows(found)} == {size}
        assert size > known.longest or is_held_out(found).all()


def test_all_that_is_known_of_an_example_stays_with_it(cut):
    """The same tokens have the same chances wherever they were drawn, and the padding has none."""
    task, parts = cut
    for part in (parts.train[:3000], parts.held_out, *parts.by_size.values()):
        inside = np.arange(part.tokens.shape[1]) < part.ends[:, None]
        assert not part.tokens[~inside].any() and not part.nats[~inside].any()
        assert (part.starts < part.ends).all() and np.isfinite(part.nats).all()
    drawn = task.draw(ROOMY, np.random.default_rng(5), 20_000)
    nats = {row: drawn.nats[i, : len(row)] for i, row in enumerate(rows(drawn))}
    known = [(i, row) for i, row in enumerate(rows(parts.held_out)) if row in nats]
    assert known or task.n_different(ROOMY) > 1e6
    for i, row in known:
        assert parts.held_out.nats[i, : len(row)] == pytest.approx(nats[row], abs=1e-12)


def test_training_examples_come_as_often_as_they_are_drawn():
    """Repetitions stay: eight bits are as frequent as one, though there are far more kinds of them."""
    task, p = TASKS["task:parity"], Params(length=8)
    trained = Counter(len(row) - 2 for row in rows(split(task, p).train))
    kept = {n: np.mean([not held for held in is_held_out(every_parity(n))]) for n in range(1, 9)}
    for n, times in trained.items():
        assert times / trained.total() == pytest.approx(kept[n] / sum(kept.values()), abs=0.01)


def every_parity(n):
    tokens = np.array([[*bits, 2, sum(bits) % 2] for bits in product((0, 1), repeat=n)])
    nothing = np.zeros(tokens.shape)
    return Examples(tokens, np.full(len(tokens), n + 1), np.full(len(tokens), n + 2), nothing, nothing)


@pytest.mark.parametrize("source", TASKS)
def test_the_same_seed_gives_the_same_and_another_gives_others(short, source):
    task = TASKS[source]
    one, again, other = (split(task, replace(ROOMY, seed=seed)) for seed in (3, 3, 4))
    assert same(one.train, again.train) and same(one.held_out, again.held_out)
    assert one.by_size.keys() == again.by_size.keys() and all(same(one.by_size[n], again.by_size[n]) for n in one.by_size)
    assert not same(one.train, other.train) and not same(one.held_out, other.held_out)


def test_drawing_leaves_the_global_random_state_alone(short):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    split(TASKS["task:copy"], Params())
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("source", TASKS)
@hypothesis_settings(max_examples=4, deadline=None, derandomize=True)
@given(data=st.data())
def test_settings_without_a_problem_can_be_split(source, data):
    task = TASKS[source]
    ranges = {
        "length": (5, 16), "alphabet": (16, 26), "pairs": (2, 8), "blanks": (1, 12), "digits": (2, 9), "modulus": (18, 127),
        "brackets": (2, 8), "order": (1, 3), "reverse_sum": (0, 1),
    }  # fmt: skip
    values = {knob: data.draw(st.integers(*ranges[knob]), knob) for knob in task.knobs}
    p = Params(**values, seed=data.draw(st.integers(0, 2**31 - 1), "seed"))
    if tasks.problem(task, p) is not None:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples, "TRAIN_EXAMPLES", 500)
        patch.setattr(examples, "HELD_OUT_EXAMPLES", 50)
        parts = split(task, p)
    assert len(parts.train) == 500 and 10 <= len(parts.held_out) <= 50
    assert not set(rows(parts.train)) & set(rows(parts.held_out))


@pytest.mark.parametrize("source, p", [
    ("task:copy", Params(length=2, alphabet=2)), ("task:recall", Params(pairs=2, alphabet=2)), ("task:parity", Params(length=3)),
    ("task:markov", Params(length=3, alphabet=2, order=2)),
])  # fmt: skip
def test_too_few_examples_say_how_many_and_what_to_raise(short, source, p):
    task = TASKS[source]
    assert f"only {task.n_different(p)} different" in tasks.problem(task, p)
    with pytest.raises(CorpusError, match=r"only \d different examples could be held out; raise ") as caught:
        split(task, p)
    advised = str(caught.value).partition("raise ")[2].split(" or ")
    assert advised and all(task.n_different(replace(p, **{knob: getattr(p, knob) + 2})) > task.n_different(p) for knob in advised)


# the hash that decides


@pytest.mark.parametrize("source", TASKS)
def test_about_a_tenth_of_the_different_examples_is_held_out(source):
    drawn = TASKS[source].draw(Params(length=20, alphabet=20, digits=9, pairs=6, modulus=251), np.random.default_rng(7), 20_000)
    _, once = np.unique(np.hstack([drawn.tokens, drawn.ends[:, None]]), axis=0, return_index=True)
    assert len(once) > 9000
    assert is_held_out(drawn[once]).mean() == pytest.approx(0.1, abs=0.012)


def test_about_a_tenth_of_numbered_examples_is_held_out_at_every_place():
    """Also where only one token differs, be it the first, one in the middle or the last."""
    for place in (0, 3, 6):
        tokens = np.zeros((20_000, 7), dtype=np.int64)
        tokens[:, place] = np.arange(20_000)
        assert is_held_out(plain(tokens)).mean() == pytest.approx(0.1, abs=0.012)


def plain(tokens, ends=None):
    ends = np.full(len(tokens), tokens.shape[1]) if ends is None else ends
    return Examples(tokens, ends - 1, ends, np.zeros(tokens.shape), np.ones(tokens.shape))


@pytest.mark.parametrize("source", SIZED)
def test_what_is_held_out_does_not_depend_on_the_padding_or_on_the_others(source):
    drawn = TASKS[source].draw(ROOMY, np.random.default_rng(8), 500)
    held = is_held_out(drawn)
    assert 0 < held.sum() < 500
    padded = np.pad(drawn.tokens, ((0, 0), (0, 5)), constant_values=3)
    outside = np.arange(padded.shape[1]) >= drawn.ends[:, None]
    padded[outside] = np.random.default_rng(9).integers(0, 9, outside.sum())
    assert np.array_equal(is_held_out(plain(padded, drawn.ends)), held)
    assert np.array_equal(is_held_out(drawn[::-1])[::-1], held)
    assert [bool(is_held_out(plain(np.array([row])))[0]) for row in rows(drawn)[:100]] == held[:100].tolist()
    assert np.array_equal(is_held_out(plain(drawn.tokens.astype(np.uint8), drawn.ends)), held)


def test_what_is_held_out_depends_on_the_order_and_on_every_token():
    tokens = np.random.default_rng(10).integers(0, 5, (5000, 6))
    held = is_held_out(plain(tokens))
    for other in (tokens[:, ::-1], np.hstack([tokens[:, :-1], tokens[:, -1:] + 1]), np.hstack([tokens[:, :1] + 1, tokens[:, 1:]])):
        both = (held & is_held_out(plain(other))).mean()
        assert both == pytest.approx(0.01, abs=0.008)


def test_the_end_of_an_example_counts():
    """Zeros that belong to it are not padding."""
    tokens = np.hstack([np.random.default_rng(11).integers(0, 5, (5000, 6)), np.zeros((5000, 1), dtype=np.int64)])
    shorter, longer = (is_held_out(plain(tokens, np.full(5000, end))) for end in (6, 7))
    assert 0.002 < (shorter & longer).mean() < 0.02


def test_which_examples_are_held_out_never_changes():
    """A run that goes on elsewhere must find the same examples held out."""
    tokens = np.arange(100)[:, None] + np.arange(4)
    assert np.flatnonzero(is_held_out(plain(tokens))).tolist() == [9, 15, 40, 43, 70, 73, 89]

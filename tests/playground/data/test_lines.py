"""The reference lines against counting by hand, and against what is known of a source."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from playground.data import dataset, lines
from playground.data.config import DataConfig
from playground.data.tasks.base import scored


def by_hand(train, held_out, V):
    """The same models with dictionaries, token by token; rows are (token, before, earlier)."""

    def model(order):
        counts = defaultdict(Counter)
        for token, *context in train:
            counts[tuple(context[:order])][token] += 1
        return counts

    models = [model(order) for order in range(3)]

    def p(token, context, order):
        shorter = 1 / V if order == 0 else p(token, context, order - 1)
        seen = models[order][tuple(context[:order])]
        return shorter if not seen else (seen[token] + len(seen) * shorter) / (seen.total() + len(seen))

    return [-np.mean([math.log(p(token, context, order)) for token, *context in held_out]) for order in range(3)]


def test_on_a_text_they_are_those_of_counting_by_hand():
    rng = np.random.default_rng(0)
    ids = rng.choice(7, size=1500, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    ids[1::3] = (2 * ids[0::3] + 1) % 7
    train, held_out = (lines.of_text(part, 8) for part in (ids[:1000], ids[1000:]))  # one token never occurs
    found = lines.reference_losses(train, held_out, 8)
    rows = [list(zip(*(part.tolist() for part in each), strict=True)) for each in (train, held_out)]
    assert [found[name] for name in ("unigram", "bigram", "trigram")] == pytest.approx(by_hand(*rows, 8), abs=1e-9)
    assert found["chance"] == math.log(8) and found["bigram"] < found["unigram"] < found["chance"]
    assert len(held_out.token) == 499, "every token but the first"


def test_on_a_task_only_what_is_scored_counts(tmp_path):
    config = DataConfig(source="task:copy", length=4, alphabet=6)
    data = dataset.load(config, tmp_path)
    rows = []
    for part in (data.train[slice(500)], data.held_out):
        which = scored(part, data.stride, data.scored)
        rows.append([
            (int(part.tokens[i, t]), int(part.tokens[i, t - 1]) if t else -1, int(part.tokens[i, t - 2]) if t > 1 else -1)
            for i, t in zip(*np.nonzero(which), strict=True)
        ])  # fmt: skip
    V = data.tokenizer.vocab_size
    positions = [lines.of_examples(part, scored(part, data.stride, data.scored), V) for part in (data.train[slice(500)], data.held_out)]
    found = lines.reference_losses(*positions, V)
    assert [found[name] for name in ("unigram", "bigram", "trigram")] == pytest.approx(by_hand(*rows, V), abs=1e-9)


def test_a_source_of_known_order_is_known_to_the_model_of_that_order(tmp_path):
    """A Markov chain of order two: the trigram comes to its entropy, and nothing shorter does."""
    known = dataset.about(DataConfig(source="task:markov", length=40, alphabet=6, order=2), tmp_path)
    assert known.floor < known.lines["trigram"] < known.floor + 0.005
    assert known.lines["bigram"] > known.floor + 0.3


def test_they_are_counted_once_and_again_for_data_of_an_earlier_version(tmp_path):
    config = DataConfig(source="task:copy", length=4, alphabet=6)
    known = dataset.about(config, tmp_path)
    (path,) = tmp_path.glob("prepared/*/lines.json")
    path.unlink()
    assert dataset.about(config, tmp_path) == known and path.exists()
    path.write_text('{"chance": 1.0}')
    assert dataset.about(config, tmp_path).lines == {"chance": 1.0}


def test_a_text_too_short_to_hold_anything_out_has_chance_alone():
    train, held_out = (lines.of_text(np.arange(n), 8) for n in (9, 1))
    assert lines.reference_losses(train, held_out, 9) == {"chance": math.log(9)}

"""The held-out sample: fixed in bytes, whatever the tokenizer; and its error is the error that it has."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from playground.data import sample
from playground.data.dataset import TextData
from playground.data.tokenizers import ByteTokenizer, CharTokenizer, build

TEXT = "".join(f"The {word} of {n} is {n * n}, naïvely.\n" for n in range(4000) for word in ("square", "half"))


def bytes_of(tokenizer, of):
    """By passage, which bytes of the text its tokens stand for."""
    lengths = tokenizer.n_bytes[tokenizer.encode(TEXT)]
    ends = np.cumsum(lengths)
    return {p: (int((ends - lengths)[of == p].min()), int(ends[of == p].max())) for p in range(sample.PASSAGES)}


def test_passages_are_the_same_bytes_for_every_tokenizer():
    tokenizers = [ByteTokenizer(), CharTokenizer(TEXT), build("bpe", TEXT, TEXT, 300)]
    places = [bytes_of(each, sample.passages(each.n_bytes[each.encode(TEXT)])) for each in tokenizers]
    total = len(TEXT.encode())
    for p in range(sample.PASSAGES):
        begin, end = places[0][p]
        assert end - begin == sample.PASSAGE_BYTES
        assert (begin + end) / 2 == pytest.approx((2 * p + 1) * total / (2 * sample.PASSAGES), abs=1)
        for other in places[1:]:
            assert all(abs(a - b) <= 12 for a, b in zip(places[0][p], other[p], strict=True)), "up to the token on its edge"


@given(st.lists(st.integers(1, 40), max_size=400))
def test_any_text_has_passages_in_order(lengths):
    of = sample.passages(np.array(lengths, np.int64))
    inside = of[of >= 0]
    assert len(of) == len(lengths) and (np.diff(inside) >= 0).all() and (inside < sample.PASSAGES).all()
    if sum(lengths) >= sample.PASSAGES * sample.PASSAGE_BYTES:
        assert len(inside)


def test_only_windows_with_a_passage_are_read_and_only_its_tokens_scored():
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(TEXT)
    of, width, seen = sample.passages(tokenizer.n_bytes[ids]), 100, 0
    for chunk in TextData(ids, ids, tokenizer).sample(width, torch.device("cpu")):
        for inputs, targets, groups in zip(chunk.inputs, chunk.targets, chunk.groups, strict=True):
            scored = targets >= 0
            assert scored.any() and torch.equal(scored, groups >= 0)
            assert torch.equal(inputs[1:][scored[:-1]], targets[:-1][scored[:-1]])
            seen += int(scored.sum())
    n = (len(ids) - 1) // width * width
    chunks = TextData(ids, ids, tokenizer).sample(width, torch.device("cpu"))
    assert TextData(ids, ids, tokenizer).n_validated(width, width) == sum(chunk.inputs.numel() for chunk in chunks)
    assert seen == (of[1 : n + 1] >= 0).sum() == sample.PASSAGES * sample.PASSAGE_BYTES


def test_the_standard_error_is_how_far_samples_lie_from_the_whole():
    """Losses that hang together within a stretch, as in a text; 2,000 samples of 32 groups out of 400, at random."""
    rng, groups, size = np.random.default_rng(0), 400, 50
    counts = rng.integers(size // 2, size, groups)
    nats = np.array([rng.gamma(2.0, 1 + 0.5 * rng.standard_normal() ** 2, n).sum() for n in counts])
    whole, apart, said = nats.sum() / counts.sum(), [], []
    for _ in range(2000):
        drawn = rng.choice(groups, 32, replace=False)
        apart.append(nats[drawn].sum() / counts[drawn].sum() - whole)
        said.append(sample.standard_error(nats[drawn], counts[drawn], counts.sum()))
    assert np.sqrt(np.mean(np.square(said))) == pytest.approx(np.std(apart), rel=0.1)
    assert np.mean(np.abs(apart) < 2 * np.array(said)) == pytest.approx(0.95, abs=0.03)


def test_the_whole_split_has_no_error_and_one_group_says_nothing():
    counts = np.array([3, 4, 0])
    assert sample.standard_error(np.array([2.0, 5.0, 0.0]), counts, 7) == 0.0
    assert math.isnan(sample.standard_error(np.array([2.0, 0.0]), np.array([3, 0]), 7))


def test_a_paired_difference_is_told_apart_where_the_losses_are_not():
    """Two models that find the same passages hard, one of them a little better everywhere; 2,000 samples of 32 passages."""
    rng, n_tokens = np.random.default_rng(3), 100
    hard = rng.gamma(20.0, 10.0, 4000)  # nats of each of 4,000 passages
    one, other = hard + rng.normal(0, 2, 4000), hard + 3.0 + rng.normal(0, 2, 4000)
    truth = (other - one).mean() / n_tokens
    found, said = [], []
    for _ in range(2000):
        drawn = rng.choice(4000, 32, replace=False)
        difference, error = sample.paired_difference(one[drawn], other[drawn], 32 * n_tokens)
        found.append(difference)
        said.append(error)
    assert np.mean(found) == pytest.approx(truth, abs=3 * np.std(found) / math.sqrt(2000))
    assert np.sqrt(np.mean(np.square(said))) == pytest.approx(np.std(found), rel=0.06)
    alone = sample.standard_error(one[:32], np.full(32, n_tokens), 4000 * n_tokens)
    assert np.mean(said) < alone / 8, "the passages differ much more than the models"

"""Bits per byte: the same for the same model of a text, however the text is cut into tokens."""

import math
from itertools import pairwise

import pytest
import torch

from playground.data import corpora
from playground.training.events import Validation

LINES = "Die Käfer krabbeln über {0} Blätter, und {1} Bäume stehen dort: {2} Stück für 30 €.\n"
UMLAUTS = "".join(LINES.format(i, i * 7 % 100, i * i) for i in range(150))
KINDS = {"char": {}, "byte": {"data.tokenizer": "byte"}, "bpe": {"data.tokenizer": "bpe", "data.bpe_vocab": 300}}


@pytest.fixture(params=KINDS)
def state(request, new_state, data_root):
    source = corpora.add_text(data_root, UMLAUTS)
    return new_state({**KINDS[request.param], "data.source": source, "model.dropout": 0.0})


def scored_bytes(state, ids):
    """UTF-8 bytes of the tokens that are targets of whole windows, counted on the text itself."""
    width = state.config.model.block_size
    n_scored = (len(ids) - 1) // width * width
    tokenizer = state.data.tokenizer
    if tokenizer.kind == "char":
        return n_scored, len(tokenizer.decode(ids[1 : n_scored + 1]).encode())
    return n_scored, len(b"".join(tokenizer.piece(i) for i in ids[1 : n_scored + 1]))


def test_bits_per_byte_are_the_nats_over_the_bytes_of_the_text(state):
    for _ in range(3):
        state.step()
    score = state.held_out()
    ids = state.data.held_out.tolist()
    n_scored, n_bytes = scored_bytes(state, ids)
    assert score.n_tokens == n_scored
    assert score.bits_per_byte == pytest.approx(score.loss * n_scored / n_bytes / math.log(2), rel=1e-9)
    whole = state.data.tokenizer.decode(ids).encode()
    assert whole == UMLAUTS.encode()[-len(whole) :]
    assert len(whole) - 40 <= n_bytes <= len(whole)


def test_a_model_that_knows_nothing_pays_for_its_vocabulary(state):
    """Every token equally likely: log2 V bits each, spread over its bytes."""
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.zero_()
    score, V = state.held_out(), state.data.tokenizer.vocab_size
    n_scored, n_bytes = scored_bytes(state, state.data.held_out.tolist())
    assert score.loss == pytest.approx(math.log(V), rel=1e-6)
    assert score.bits_per_byte == pytest.approx(math.log2(V) * n_scored / n_bytes, rel=1e-6)
    if state.data.tokenizer.kind == "byte":
        assert score.bits_per_byte == pytest.approx(8.0, rel=1e-6)


class Fixed(torch.nn.Module):
    """The same distribution over the next token at every place."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, ids):
        return self.scores.expand(*ids.shape, -1)


def test_models_of_one_distribution_over_bytes_agree_however_it_is_cut(new_state, data_root):
    """Bytes drawn independently, each by its frequency. A token of several bytes has the product of their probabilities, which is how
    each of these models would be written down; what is left is only where the windows end."""
    source = corpora.add_text(data_root, UMLAUTS)
    data = UMLAUTS.encode()
    log_p = [math.log((data.count(bytes([byte])) + 0.5) / (len(data) + 128)) for byte in range(256)]
    found = {}
    for kind, changes in KINDS.items():
        state = new_state({**changes, "data.source": source})
        pieces = [state.data.tokenizer.piece(i) for i in range(state.data.tokenizer.vocab_size)]
        scores = torch.tensor([sum(log_p[byte] for byte in piece) for piece in pieces])
        state.model = Fixed(scores)
        # The softmax divides by the sum over the vocabulary, which is no distribution over texts: taken out again.
        score, total = state.held_out(), scores.double().logsumexp(0).item()
        n_scored, n_bytes = scored_bytes(state, state.data.held_out.tolist())
        found[kind] = score.bits_per_byte - total * n_scored / n_bytes / math.log(2)
    held_out = UMLAUTS[int(len(UMLAUTS) * 0.9) :].encode()
    wanted = -sum(log_p[byte] for byte in held_out) / len(held_out) / math.log(2)
    assert all(bits == pytest.approx(wanted, rel=0.01) for bits in found.values()), found
    assert all(a == pytest.approx(b, rel=0.01) for a, b in pairwise(found.values()))


def test_validations_carry_them(state, run_loop, tmp_path):
    _, link = run_loop(state, tmp_path)
    *some, last = link.of(Validation)
    assert some and all(event.bits_per_byte > 0 for event in some)
    assert (last.loss, last.bits_per_byte) == (state.held_out().loss, state.held_out().bits_per_byte)

"""What linear probes read: everything at the embedding, nothing where nothing is, and the token before only where it is put. And what
lenses read, by class of token: against models that do end after a layer, and least squares by numpy."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from models.config import CompleteModel
from models.gpt import GPT
from playground.data.dataset import TextData
from playground.data.tokenizers import ByteTokenizer
from playground.inside.hooks import evaluating, layer_ends, traced
from playground.inside.quantities import QUANTITIES
from playground.inside.reading import PARTS, RIDGE, depth, later, read, reading_text, share_read, translated
from playground.inside.token_classes import CLASSES


@pytest.fixture
def build():
    def build(**changes):
        torch.manual_seed(0)
        settings = {"vocab_size": 40, "n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 64, "dropout": 0.0}
        return GPT(CompleteModel(**settings | changes))

    return build


@pytest.fixture
def text():
    """(64, 64) tokens of which each is twice as frequent as the next but one."""
    weights = 0.7 ** np.arange(40)
    return np.random.default_rng(0).choice(40, (64, 64), p=weights / weights.sum())


def everything(tokens):
    return np.ones(tokens.shape, bool)


def test_at_the_embedding_every_token_that_was_met_is_read(build, text):
    found = read(build(), text, everything(text))
    flat, fitted, judged = text[:, 1:].ravel(), int(0.6 * text[:, 1:].size), int(0.75 * text[:, 1:].size)
    met = np.isin(flat[judged:], flat[:fitted]).mean()
    assert found["reads_token"]["embedding"][0] > 0.98 * met
    assert found["reads_majority"]["embedding"][0] == pytest.approx((flat[judged:] == 0).mean())
    assert found["reads_previous"]["embedding"][0] == pytest.approx((flat[judged:] == 0).mean(), abs=0.05), "the tokens are independent"
    assert sum(PARTS) == 1.0 and len(found["reads_token"]["mlp.add"]) == 2


def test_residuals_keep_the_token_and_without_them_it_is_lost(build, text):
    with_residuals = read(build(n_layer=6), text, everything(text))
    without = read(build(n_layer=6, residual=False), text, everything(text))
    floor = with_residuals["reads_majority"]["embedding"][0]
    assert with_residuals["reads_token"]["mlp.add"][-1] > 0.95
    assert floor - 0.03 <= without["reads_token"]["mlp"][-1] < floor + 0.1, "no worse than naming the commonest"


def test_only_a_head_that_looks_back_brings_the_token_before(build, text):
    model = build(n_layer=1, n_head=1, sublayers="attention", norm_placement="none", position="learned")
    before = read(model, text, everything(text))
    with torch.no_grad():  # scores decide by position alone: the head of position i looks at i - 1, and copies what is there
        model.wpe.weight[:, :] = 0.0
        n = model.config.block_size
        turn_by = 2 * np.pi / n
        angle = torch.arange(n) * turn_by
        model.wpe.weight[:, 0], model.wpe.weight[:, 1] = angle.cos(), angle.sin()
        model.wte.weight.zero_()
        model.wte.weight[:, 2:17] = torch.randn(40, 15)
        q, k, v = model.blocks[0].attn.f.qkv.weight.chunk(3)
        q.zero_(), k.zero_(), v.zero_()
        turn = torch.tensor([[np.cos(turn_by), np.sin(turn_by)], [-np.sin(turn_by), np.cos(turn_by)]], dtype=torch.float32)
        q[:2, :2], k[:2, :2] = 20_000 * turn, torch.eye(2)
        v[17:, 2:17] = torch.eye(15)
        model.blocks[0].attn.f.proj.weight.copy_(torch.eye(32))
    maps = traced(model, text[0]).maps[0][0, 0]
    assert maps.diagonal(-1).min() > 0.9, "the head looks at the previous token"
    after = read(model, text, everything(text))
    assert before["reads_previous"]["attn.add"][0] < 0.45 < 0.95 < after["reads_previous"]["attn.add"][0]
    assert after["reads_token"]["attn.add"][0] > 0.95


def test_it_is_the_linear_discriminant_analysis_of_scikit_learn():
    rng = np.random.default_rng(1)
    of = rng.choice(5, 4000, p=[0.4, 0.3, 0.1, 0.1, 0.1])
    x = rng.normal(size=(5, 8))[of] + rng.normal(size=(4000, 8)) @ rng.normal(size=(8, 8))
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01).fit(x[:2400], of[:2400])
    wanted = (reference.predict(x[3000:]) == of[3000:]).mean()
    found = share_read(torch.from_numpy(x), torch.from_numpy(of), 2400, 3000)
    assert 0.5 < wanted < 0.97 and found == pytest.approx(wanted, abs=0.012)


def test_where_nothing_is_to_be_read_the_commonest_is_named():
    rng = np.random.default_rng(2)
    of = torch.from_numpy(rng.choice(300, 4000, p=np.r_[0.2, np.full(299, 0.8 / 299)]))
    noise = torch.from_numpy(rng.normal(size=(4000, 64)))
    assert share_read(noise, of, 2400, 3000) == pytest.approx((of[3000:] == 0).double().mean().item(), abs=0.02)
    assert share_read(torch.full((4000, 4), torch.nan), of, 2400, 3000) is None
    assert share_read(torch.zeros(4000, 4), of, 2400, 3000) == pytest.approx((of[3000:] == 0).double().mean().item())


def test_what_fills_a_sequence_up_is_left_out_and_too_little_says_nothing(build, text):
    counted = everything(text)
    counted[:, 40:] = False
    filled = text.copy()
    filled[:, 40:] = 39
    assert read(build(), filled, counted) == read(build(), np.where(counted, text, 7), counted)
    assert read(build(), text[:3], everything(text[:3])) == {}


def test_the_text_that_is_read_is_spread_over_the_held_out_part():
    ids = np.arange(100_000) % 251
    tokens, counted, classes = reading_text(TextData(ids, ids, ByteTokenizer()), 64)
    assert tokens.shape == classes.shape == (64, 64) and counted.all()
    assert tokens[0, 0] == ids[0] and tokens[-1, -1] == ids[-1]
    short, *_ = reading_text(TextData(ids[:70], ids[:70], ByteTokenizer()), 64)
    assert short.shape == (1, 64)


def test_the_streams_are_those_that_a_trace_records(build, text):
    for layout in ({}, {"layout": "parallel"}, {"norm_placement": "post"}, {"residual": False}):
        model = build(**layout)
        trace, step = traced(model, text[:2]), 1 if "layout" in layout else 2
        with torch.no_grad(), evaluating(model):
            ends = layer_ends(model, torch.from_numpy(text[:2]))
        assert len(ends) == 3 and all(torch.equal(a, b) for a, b in zip(ends, trace.stream[::step], strict=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_layer": 3}, {"n_layer": 3, "norm_placement": "post", "tie_weights": False, "logit_softcap": 2.0},
        {"layout": "parallel", "embd_norm": True},
    ],
)  # fmt: skip
def test_the_loss_by_class_is_that_of_models_that_end_after_a_layer(build, text, changes):
    """Each is built with so many layers alone, and its losses are averaged one position after the other."""
    model = build(**changes)
    classes = np.random.default_rng(1).choice(5, text.shape, p=[0.3, 0.3, 0.2, 0.195, 0.005])
    counted = everything(text)
    counted[::3, 50:] = False
    found = read(model, text, counted, classes)
    n = model.config.n_layer
    assert "lens_name" not in found, "of a few tokens nothing is said"
    for n_layers in range(n + 1):
        ends = GPT(model.config.model_copy(update={"n_layer": max(1, n_layers)})).eval()
        ends.load_state_dict(model.state_dict(), strict=False)
        if n_layers == 0:
            ends.blocks = torch.nn.ModuleList()
        with torch.no_grad():
            right = ends(torch.from_numpy(text)).double().log_softmax(-1).numpy()
        for k, name in enumerate(CLASSES[:4]):
            nats = []
            for row in range(len(text)):
                for t in range(1, text.shape[1] - 1):  # the first has no token before it, the last none after it
                    if counted[row, t] and counted[row, t + 1] and classes[row, t + 1] == k:
                        nats.append(-right[row, t, text[row, t + 1]])
            first, *rest = found[f"lens_{name}"].values()
            assert [*first, *rest[0]][n_layers] == pytest.approx(np.mean(nats), rel=1e-5)
            first, *rest = found[f"translated_{name}"].values()
            assert n_layers < n or rest[0][-1] == pytest.approx(np.mean(nats), rel=1e-5), "the last layer needs no translation"
    assert found.keys() <= QUANTITIES.keys() and len(found) == 3 + 2 * (4 + 1)


def test_a_translation_is_least_squares_of_the_other_half():
    rng = np.random.default_rng(3)
    x, noise, half = rng.normal(size=(400, 6)) * [5, 1, 1, 1, 0.5, 0.1], rng.normal(size=(400, 4)), rng.random(400) < 0.5
    end = x @ rng.normal(size=(6, 4)) + 3.0 + noise
    found = translated(*(torch.from_numpy(each) for each in (x, end, half))).numpy()
    for judged in (half, ~half):
        known, aim = x[~judged] - x[~judged].mean(0), end[~judged] - end[~judged].mean(0)
        ridge = np.sqrt(RIDGE * np.square(known).sum() / 6) * np.eye(6)  # as six more rows, which want zeros
        weights = np.linalg.lstsq(np.vstack([known, ridge]), np.vstack([aim, np.zeros((6, 4))]), rcond=None)[0]
        np.testing.assert_allclose(found[judged], (x[judged] - x[~judged].mean(0)) @ weights + end[~judged].mean(0), rtol=1e-9)
    assert np.square(found - end).mean() < 1.3 * np.square(noise).mean(), "what can be translated is"
    nothing = translated(torch.zeros(400, 6), torch.from_numpy(end), torch.from_numpy(half))
    assert nothing.isfinite().all()


def test_structure_is_later_where_its_loss_falls_in_later_layers():
    rows = np.repeat(np.arange(20), 10)
    level = np.random.default_rng(4).normal(size=200) * 0.1

    def falling(*losses):
        return np.array(losses)[:, None] + level, rows

    early, late = falling(4.0, 2.0, 1.0, 1.0), falling(9.0, 9.0, 8.0, 5.0)
    assert depth(*early) == pytest.approx((2 / 3 * 1 + 1 / 3 * 2) / 3)
    assert depth(*late) == pytest.approx((1 / 4 * 2 + 3 / 4 * 3) / 3)
    assert later({"space": early, "inside": early, "start": late}) == pytest.approx(11 / 12 - 4 / 9)
    assert later({"space": late, "inside": early, "start": late, "name": late}) == pytest.approx((11 / 12 - 4 / 9) / 2)
    assert later({"start": late, "name": late, "punctuation": early}) is None, "there are no patterns"
    flat = np.array([4.0, 3.0, 4.0])[:, None] + np.random.default_rng(5).normal(size=(3, 200)), rows
    assert depth(*flat) is None and later({"space": early, "inside": flat, "start": late}) is None, "it falls by less than its error"
    assert depth(np.array([[2.0], [1.0]]), np.array([0])) is None, "a single sequence has no error"

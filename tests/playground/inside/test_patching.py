"""One token changed: what is not reached is exactly 0, what decides is exactly 1, and between them as in a model computed by hand."""

import numpy as np
import pytest
import torch

from models.config import ModelConfig
from models.gpt import GPT
from models.knobs import parse
from playground.inside.patching import patch
from playground.runs.lookup import PATCHED as WHERE

SMALL = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 40, "vocab_size": 17}
TOKENS = np.random.default_rng(0).integers(0, 17, 38)  # in batches of 26 rows and of 12
AT = 21


def build(**changes) -> GPT:
    torch.manual_seed(0)
    model = GPT(parse(ModelConfig, SMALL | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return model


def changed(tokens=TOKENS, at=AT):
    others = tokens.copy()
    others[at] = (tokens[at] + 5) % 17
    return others


PLACEMENTS = ({}, {"norm_placement": "post", "position": "rope"}, {"layout": "parallel", "attn_softcap": 5.0}, {"share_layers": True})


@pytest.mark.parametrize("changes", PLACEMENTS, ids=str)
@pytest.mark.parametrize("where", WHERE)
def test_what_lies_before_the_change_is_exactly_zero(changes, where):
    found = patch(build(**changes), TOKENS, changed(), where, lambda do: do())
    assert not found.changed[:, :AT].any() and not found.restored[:, :AT].any()
    assert np.isfinite(found.restored).all() and (found.changed[-1, AT:] > 0).all()
    if where == "stream":
        assert found.restored[0, AT] == 1.0, "the embedding of the changed token is all that differs"
        assert not np.delete(found.restored[0], AT).any() and not np.delete(found.changed[0], AT).any()
        assert found.restored[-1, -1] == 1.0 and not found.restored[-1, :-1].any(), "after the last layer only the last position is read"


@pytest.mark.parametrize("changes", [{"residual_gain": "rezero"}, {"norm_placement": "post"}], ids=str)
@torch.no_grad()
def test_it_is_the_model_computed_by_hand_with_one_activation_exchanged(changes):
    model = build(**changes).eval()
    texts = [torch.from_numpy(each)[None] for each in (TOKENS, changed())]
    found = {where: patch(model, TOKENS, changed(), where, lambda do: do()) for where in WHERE}

    def by_hand(ids, layer=None, position=0, where="", other=None):
        """The log-probabilities at the end, and all activations; one of them is that of `other`."""
        seen, x = {}, model.embed(ids, 0)

        def passing(name, at, x):
            if (name, at) == (where, layer):
                x = x.clone()
                x[0, position] = other[name, at][0, position]
            return seen.setdefault((name, at), x)

        x = passing("stream", 0, x)
        for i, block in enumerate(model.blocks):
            for name, branch in (("attn", block.attn), ("mlp", block.mlp)):
                y = passing(name, i, branch.norm_out(branch.f(branch.norm_in(x))))
                x = branch.norm_after(x + (y if branch.gain is None else branch.gain * y))
            x = passing("stream", i + 1, x)
        return model.head(model.norm(x))[0, -1].log_softmax(-1), seen

    (said, clean), (other, corrupted) = map(by_hand, texts)
    for where, (places, position) in zip(WHERE, ((3, 37), (2, 30), (2, AT)), strict=True):
        assert found[where].answer == said.argmax() and found[where].clean == pytest.approx(said.max().item(), abs=1e-5)
        assert found[where].other == pytest.approx(other[found[where].answer].item(), abs=1e-5)
        for i in range(places):
            x, y = clean[where, i][0, position], corrupted[where, i][0, position]
            assert found[where].changed[i, position] == pytest.approx((x - y).norm().item() / x.norm().item(), abs=1e-5)
            now, _ = by_hand(texts[1], i, position, where, clean)
            share = (now - other)[found[where].answer] / (said - other)[found[where].answer]
            assert found[where].restored[i, position] == pytest.approx(share.item(), abs=1e-3)


def test_where_the_change_makes_no_difference_nothing_can_be_restored():
    model = build(sublayers="mlp")
    found = patch(model, TOKENS, changed(), "stream", lambda do: do())
    assert found.clean == found.other and np.isnan(found.restored).all() and found.changed[-1, AT] > 0
    assert patch(model, TOKENS, changed(), "attn", lambda do: do()).changed.shape == (0, 38)

"""The size of an arm, counted from a model that is built."""

import pytest

from models.config import complete
from models.gpt import GPT
from models.knobs import ConfigError, nested, parse
from playground.config import experiment as documents
from playground.config.run import RunConfig
from playground.config.sizes import size_of


@pytest.mark.parametrize("changes", [{}, {"model.tie_weights": False, "model.head_bias": True}, {"model.position": "rope"}])
def test_parameters_are_those_without_embeddings_and_head(changes):
    config = parse(RunConfig, nested({"model.n_embd": 32, "train.accumulation": 2, **changes}))
    named = GPT(complete(config.model, 50)).named_parameters()
    counted = sum(p.numel() for name, p in named if not name.startswith(("wte", "wpe", "head")))
    assert size_of(config, "parameters") == counted
    assert size_of(config, "tokens") == 2000 * 12 * 2 * 64 and size_of(config, "flops") == 6 * counted * size_of(config, "tokens")
    assert size_of(config, "optim.lr") == 1e-3


def document(fit: str, widths: list[int]) -> dict:
    arms = [{"name": f"width {n}", "changes": {"model.n_embd": n}} for n in widths]
    claims = [{"kind": "lower", "arm": arms[1]["name"], "than": arms[0]["name"], "delta": 0.0}]
    return {"title": "Law", "question": "Which?", "arms": arms, "claims": claims, "fit": fit, "budget": {"unit": "steps", "amount": 5}}


def test_a_law_needs_a_size_that_its_arms_differ_in():
    for fit in ("parameters", "flops", "model.n_embd"):
        documents.plan(documents.read(document(fit, [16, 32, 48, 64])), lambda config: 50)
    with pytest.raises(ConfigError, match="fit: 'width' is no size; use one of parameters, tokens, flops, or the path of a setting"):
        documents.read(document("width", [16, 32, 48, 64]))
    for fit, widths in (("parameters", [16, 32, 48]), ("tokens", [16, 32, 48, 64])):
        with pytest.raises(ConfigError, match="fit: a law is fitted through at least 4 arms of different"):
            documents.plan(documents.read(document(fit, widths)), lambda config: 50)

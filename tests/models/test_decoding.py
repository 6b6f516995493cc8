"""Sampling: the cache changes nothing, the filters are what they are called, the seed decides."""

import pytest
import torch

from models.config import ModelConfig
from models.decoding import generate, next_token_logits, pick, window_start
from models.gpt import GPT
from models.knobs import parse

V = 12


def tiny(block_size=8, **change):
    torch.manual_seed(1)
    config = ModelConfig(vocab_size=V, n_layer=2, n_head=2, n_embd=8, block_size=block_size, init="pytorch", **change)
    return GPT(config).eval()


def tokens_of(n, seed=2):
    return torch.randint(V, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def uncached(model, tokens):
    """The rule without a cache: read the whole window again for every token."""
    window = tokens[window_start(len(tokens), model.config.block_size) :]
    with torch.no_grad():
        return model(torch.tensor([window]))[0, -1]


@pytest.mark.parametrize("block_size", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("change", [{}, {"sublayers": "mlp"}, {"position": "none", "norm_placement": "post"}], ids=str)
def test_cached_decoding_equals_uncached_far_beyond_the_context(block_size, change):
    model = tiny(block_size, **change)
    tokens = tokens_of(4 * block_size + 5)
    state = None
    for length in range(1, len(tokens) + 1):
        logits, state = next_token_logits(model, tokens[:length], state)
        torch.testing.assert_close(logits, uncached(model, tokens[:length]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("block_size", [1, 2, 3, 8, 9])
def test_window_ends_with_the_newest_token_fits_and_keeps_at_least_half(block_size):
    starts = [window_start(length, block_size) for length in range(1, 6 * block_size)]
    for length, start in enumerate(starts, 1):
        used = length - start
        assert 1 <= used <= block_size
        assert used >= min(length, block_size - max(1, block_size // 2) + 1)
        assert length > block_size or start == 0
    assert starts == sorted(starts)


def test_a_token_costs_one_step_except_where_the_window_moves():
    model, sizes = tiny(8), []
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].size(1)))
    list(generate(model, tokens_of(3), max_new_tokens=20))
    assert sizes[0] == 3
    assert [size for size in sizes[1:] if size > 1] == [5, 5, 5, 5]
    assert len(sizes) == 20


def ids(choices):
    return [choice.token for choice in choices]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_same_seed_same_tokens_and_the_global_random_state_is_left_alone():
    model = tiny()
    before = torch.get_rng_state()
    first = ids(generate(model, [1], max_new_tokens=40, generator=seeded(5)))
    assert first == ids(generate(model, [1], max_new_tokens=40, generator=seeded(5)))
    assert first != ids(generate(model, [1], max_new_tokens=40, generator=seeded(6)))
    assert torch.equal(before, torch.get_rng_state())


def test_temperature_zero_takes_the_likeliest():
    model, tokens = tiny(), [1]
    for choice in generate(model, [1], max_new_tokens=30, temperature=0):
        assert choice.token == uncached(model, tokens).argmax().item()
        tokens.append(choice.token)


def test_probabilities_are_the_models_at_temperature_one_whatever_is_sampled_at():
    model, tokens = tiny(), [1]
    for choice in generate(model, [1], max_new_tokens=20, temperature=2.0, top_k=5, generator=seeded(0)):
        wanted = uncached(model, tokens).softmax(-1)
        assert choice.probability == pytest.approx(wanted[choice.token].item(), abs=1e-6)
        for token, probability in choice.runners_up:
            assert probability == pytest.approx(wanted[token].item(), abs=1e-6)
        tokens.append(choice.token)


@pytest.mark.parametrize("n", [0, 3, V + 5])
def test_runners_up_are_the_likeliest_others_in_order(n):
    model, tokens = tiny(), [1]
    for choice in generate(model, [1], max_new_tokens=20, temperature=1.5, n_runners_up=n, generator=seeded(0)):
        order = uncached(model, tokens).argsort(descending=True).tolist()
        assert [token for token, _ in choice.runners_up] == [token for token in order if token != choice.token][:n]
        tokens.append(choice.token)


def frequencies(logits, n=4000, **filters):
    generator = seeded(0)
    draws = torch.tensor([pick(logits, generator=generator, **filters) for _ in range(n)])
    return torch.bincount(draws, minlength=len(logits)).double() / n


LOGITS = torch.tensor([0.05, 0.4, 0.1, 0.25, 0.2]).log()


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"temperature": 1.0, "top_k": None, "top_p": None}, [0.05, 0.4, 0.1, 0.25, 0.2]),
        ({"temperature": 0.5, "top_k": None, "top_p": None}, [0.0025 / 0.275, 0.16 / 0.275, 0.01 / 0.275, 0.0625 / 0.275, 0.04 / 0.275]),
        ({"temperature": 1.0, "top_k": 2, "top_p": None}, [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]),
        ({"temperature": 1.0, "top_k": 1, "top_p": None}, [0, 1, 0, 0, 0]),
        ({"temperature": 1.0, "top_k": 50, "top_p": None}, [0.05, 0.4, 0.1, 0.25, 0.2]),
        # 0.4 + 0.25 falls short of 0.7, so the third is in as well.
        ({"temperature": 1.0, "top_k": None, "top_p": 0.7}, [0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85]),
        ({"temperature": 1.0, "top_k": None, "top_p": 0.6}, [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]),
        ({"temperature": 1.0, "top_k": None, "top_p": 1e-9}, [0, 1, 0, 0, 0]),
        ({"temperature": 1.0, "top_k": None, "top_p": 1.0}, [0.05, 0.4, 0.1, 0.25, 0.2]),
        ({"temperature": 1.0, "top_k": 2, "top_p": 0.7}, [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]),
    ],
    ids=str,
)
def test_filters_keep_exactly_what_they_should(filters, wanted):
    """What is filtered out is never drawn; the rest within five sigmas of its share."""
    found, wanted = frequencies(LOGITS, **filters), torch.tensor(wanted, dtype=torch.float64)
    assert (found[wanted == 0] == 0).all()
    assert ((found - wanted).abs() <= 5 * (wanted * (1 - wanted) / 4000).sqrt() + 1e-12).all()


@pytest.mark.parametrize("temperature", [1e-3, 1e-40, 1e-310, 5e-324])
def test_a_temperature_near_zero_is_as_good_as_zero(temperature):
    assert pick(torch.tensor([-3.0, 80.0, 79.0]), temperature, None, None, seeded(0)) == 1


def test_scores_that_are_not_finite_are_said_plainly():
    model = tiny()
    with torch.no_grad():
        model.wte.weight[1] = float("nan")
    with pytest.raises(FloatingPointError, match="diverged"):
        list(generate(model, [1], max_new_tokens=1))


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="at least one token"):
        list(generate(tiny(), [], max_new_tokens=1))


def test_a_prompt_longer_than_the_context_is_read_from_its_window():
    model, prompt = tiny(8), tokens_of(30)
    (choice,) = generate(model, prompt, max_new_tokens=1, temperature=0)
    assert choice.token == uncached(model, prompt).argmax().item()


def test_generating_without_dropout_even_from_a_model_in_training():
    model = tiny(dropout=0.5)
    quiet = ids(generate(model, [1], max_new_tokens=10, temperature=0))
    assert ids(generate(model.train(), [1], max_new_tokens=10, temperature=0)) == quiet


KINDS = [
    {"position": "rope"}, {"position": "rope", "rope_fraction": 0.5, "rope_interleaved": True}, {"position": "alibi"},
    {"position": "sinusoidal"}, {"position": "none"}, {"n_kv_head": 1}, {"n_kv_head": 2, "qk_norm": "head"},
    {"qk_norm": "full", "head_dim": 6},
    {"window": 3}, {"window": 3, "window_pattern": "LG", "position": "alibi"}, {"attn_softcap": 2.0, "logit_softcap": 3.0},
    {"layout": "parallel"}, {"layout": "parallel_two_norms", "position": "rope"}, 
    {"share_layers": True, "window": 2, "window_pattern": "GL"},
    {"norm_placement": "sandwich", "embd_norm": True, "scale_embedding": True}, {"sublayers": "attention"}, {"sublayers": "mlp"},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_with_a_cache_every_kind_of_attention_and_position_decodes_as_without(kind):
    """Also past the context, where the older half of the window is forgotten at once and the rest read again from 0."""
    torch.manual_seed(0)
    base = {"vocab_size": 9, "n_layer": 3, "n_head": 4, "n_embd": 16, "block_size": 8}
    model = GPT(parse(ModelConfig, base | kind)).double().eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.4)
    tokens, state = torch.randint(9, (21,)).tolist(), None
    for n in range(1, len(tokens) + 1):
        cached, state = next_token_logits(model, tokens[:n], state)
        window = tokens[window_start(n, 8) : n]
        assert 1 <= len(window) <= 8
        plain = model(torch.tensor([window]))[0, -1]
        torch.testing.assert_close(cached, plain, rtol=0, atol=1e-11)

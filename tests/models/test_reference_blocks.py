"""The two reference models against plain transcriptions of their formulas, and the other placements by formula.

The transcriptions share no code with `models`; they spell out one head, one sublayer at a time.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.config import ModelConfig
from models.gpt import GPT
from models.presets import NANOGPT, TEACHING

V = 11
TOLERANCE = {"rtol": 0, "atol": 1e-10}


# The from-scratch teaching model.


class PlainHead(nn.Module):
    """softmax(q k^T / sqrt(head size)) v, one head, no biases."""

    def __init__(self, width, size):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, size, bias=False) for _ in range(3))

    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        scores = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
        future = torch.arange(x.shape[1])[None, :] > torch.arange(x.shape[1])[:, None]
        return scores.masked_fill(future, float("-inf")).softmax(dim=2) @ v


class PlainTeachingBlock(nn.Module):
    def __init__(self, width, n_head):
        super().__init__()
        self.heads = nn.ModuleList(PlainHead(width, width // n_head) for _ in range(n_head))
        self.proj = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def sa(self, x):
        return self.proj(torch.cat([head(x) for head in self.heads], dim=2))

    def ffwd(self, x):
        return self.narrow(torch.relu(self.wide(x)))

    def forward(self, x):
        x = x + self.sa(self.ln1(x))
        return x + self.ffwd(self.ln2(x))


class PlainTeachingGPT(nn.Module):
    def __init__(self, vocab, width, n_head, n_layer, context):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(PlainTeachingBlock(width, n_head) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocab)

    def forward(self, idx):
        x = self.tokens(idx) + self.places(torch.arange(idx.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln_f(x))


def teaching_in_our_names(plain, of):
    """`of(parameter)` of the plain model (its value or its gradient) under the names of `models.gpt.GPT`."""
    ours = {
        "wte.weight": of(plain.tokens.weight),
        "wpe.weight": of(plain.places.weight),
        "norm.weight": of(plain.ln_f.weight),
        "norm.bias": of(plain.ln_f.bias),
        "head.weight": of(plain.lm_head.weight),
        "head.bias": of(plain.lm_head.bias),
    }
    for i, block in enumerate(plain.blocks):
        rows = [of(getattr(head, part).weight) for part in ("query", "key", "value") for head in block.heads]
        ours[f"blocks.{i}.attn.f.qkv.weight"] = torch.cat(rows)
        for name, module in {
            "attn.f.proj": block.proj, "mlp.f.up": block.wide, "mlp.f.proj": block.narrow, "attn.norm_in": block.ln1,
            "mlp.norm_in": block.ln2,
        }.items():  # fmt: skip
            ours[f"blocks.{i}.{name}.weight"], ours[f"blocks.{i}.{name}.bias"] = of(module.weight), of(module.bias)
    return ours


def scatter(module):
    """Random values for everything, also for what starts at zero or one, so that a forgotten term shows."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    return module


def some_text(config, batch=3):
    generator = torch.Generator().manual_seed(4)
    return torch.randint(V, (2, batch, config.block_size), generator=generator).unbind()


def backward(model, idx, targets):
    logits = model(idx)
    F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    return logits


def assert_same_tensors(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")


def test_teaching_preset_is_the_from_scratch_block():
    config = TEACHING.model_copy(update={"vocab_size": V})
    plain = scatter(PlainTeachingGPT(V, config.n_embd, config.n_head, config.n_layer, config.block_size).double())
    model = GPT(config).double()
    weights = teaching_in_our_names(plain, lambda p: p.detach())
    assert weights.keys() == dict(model.named_parameters()).keys()
    model.load_state_dict(weights)
    idx, targets = some_text(config)
    torch.testing.assert_close(backward(model, idx, targets), backward(plain, idx, targets), **TOLERANCE)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert_same_tensors(gradients, teaching_in_our_names(plain, lambda p: p.grad))


def test_teaching_preset_drops_after_the_projections_and_nowhere_before_the_blocks():
    """The lectures' dropout: on attention weights and on both sublayers' outputs, none on the embedding."""
    model = GPT(TEACHING.model_copy(update={"vocab_size": V, "dropout": 0.2, "n_layer": 1}))
    assert model.dropout.p == 0.0
    block = model.blocks[0]
    assert (block.attn.f.attend.dropout, block.attn.f.dropout.p, block.mlp.f.dropout.p) == (0.2, 0.2, 0.2)


def test_dropout_zeroes_its_share_of_the_embedding_and_of_what_sublayers_add():
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=V, n_layer=1, n_head=2, n_embd=64, block_size=64, dropout=0.25, embd_dropout=0.5))
    share = {}

    def note(name):
        return lambda module, inputs, output: share.update({name: output.eq(0).double().mean().item()})

    block = model.blocks[0]
    block.register_forward_pre_hook(lambda module, inputs: note("embedding")(module, None, inputs[0]))
    block.attn.f.register_forward_hook(note("attention"))
    block.mlp.f.register_forward_hook(note("mlp"))
    model(torch.randint(V, (2, 64)))
    assert share == pytest.approx({"embedding": 0.5, "attention": 0.25, "mlp": 0.25}, abs=0.03)
    model.eval()(torch.randint(V, (2, 64)))
    assert max(share.values()) < 0.01


# nanoGPT's model.


def plain_nanogpt(weights, idx, *, n_layer, n_head, bias):
    """Logits as a function of a dict of weights: fused qkv, exact GELU, pre-norm, head tied to the embedding."""

    def affine(x, name):
        y = x @ weights[f"{name}.weight"].T
        return y + weights[f"{name}.bias"] if bias else y

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        y = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights[f"{name}.weight"]
        return y + weights[f"{name}.bias"] if bias else y

    def attention(x, name):
        _, T, C = x.shape
        q, k, v = affine(x, f"{name}.qkv").split(C, dim=2)
        outputs = []
        for h in range(n_head):
            part = slice(h * C // n_head, (h + 1) * C // n_head)
            scores = q[..., part] @ k[..., part].mT / math.sqrt(C // n_head)
            scores = scores + torch.full((T, T), -math.inf, dtype=x.dtype).triu(1)
            weight = scores.exp() / scores.exp().sum(-1, keepdim=True)
            outputs.append(weight @ v[..., part])
        return affine(torch.cat(outputs, dim=2), f"{name}.proj")

    def mlp(x, name):
        hidden = affine(x, f"{name}.up")
        return affine(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))), f"{name}.proj")

    x = weights["wte.weight"][idx] + weights["wpe.weight"][: idx.shape[1]]
    for i in range(n_layer):
        x = x + attention(norm(x, f"blocks.{i}.attn.norm_in"), f"blocks.{i}.attn.f")
        x = x + mlp(norm(x, f"blocks.{i}.mlp.norm_in"), f"blocks.{i}.mlp.f")
    return norm(x, "norm") @ weights["wte.weight"].T


@pytest.mark.parametrize("bias", [False, True])
def test_nanogpt_preset_is_the_nanogpt_block(bias):
    config = NANOGPT.model_copy(update={"vocab_size": V, "bias": bias, "n_layer": 3, "block_size": 20})
    model = scatter(GPT(config).double())
    names = dict(model.named_parameters())
    assert any(name.endswith(".bias") for name in names) == bias
    assert "head.weight" not in names and model.head.weight is model.wte.weight
    idx, targets = some_text(config)
    weights = {name: p.detach().clone().requires_grad_() for name, p in names.items()}
    plain = plain_nanogpt(weights, idx, n_layer=3, n_head=config.n_head, bias=bias)
    F.cross_entropy(plain.flatten(0, 1), targets.flatten()).backward()
    torch.testing.assert_close(backward(model, idx, targets), plain, **TOLERANCE)
    assert_same_tensors({name: p.grad for name, p in names.items()}, {name: w.grad for name, w in weights.items()})


@pytest.mark.parametrize("bias", [False, True])
def test_nanogpt_initialisation_scales_residual_projections_by_depth(bias):
    """Standard deviations are estimated from at least 16,384 numbers: a relative error of 3% is five sigmas."""
    torch.manual_seed(0)
    config = NANOGPT.model_copy(update={"vocab_size": 130, "bias": bias, "block_size": 128, "n_layer": 6})
    for name, parameter in GPT(config).named_parameters():
        if parameter.dim() == 1:
            assert torch.equal(parameter, torch.zeros_like(parameter) if name.endswith("bias") else torch.ones_like(parameter)), name
            continue
        std = 0.02 / math.sqrt(2 * 6) if name.endswith(".f.proj.weight") else 0.02
        assert parameter.numel() >= 16_384
        assert parameter.std().item() == pytest.approx(std, rel=0.03), name
        assert abs(parameter.mean().item()) < 5 * std / math.sqrt(parameter.numel()), name


def test_normal_initialisation_treats_all_matrices_alike():
    torch.manual_seed(0)
    config = TEACHING.model_copy(update={"vocab_size": 300, "n_embd": 128, "block_size": 128, "n_layer": 2})
    for name, parameter in GPT(config).named_parameters():
        if parameter.dim() == 2:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.03), name


# Placements, by formula on the sublayers themselves.


def block_and_input(**update):
    config = ModelConfig(vocab_size=V, n_layer=1, n_head=2, n_embd=8, block_size=6).model_copy(update=update)
    block = scatter(GPT(config).double()).blocks[0]
    return block, torch.randn(2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def layer_norm(norm, x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias


def rms_norm(norm, x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight


def test_post_norm_is_the_norm_of_the_sum():
    block, x = block_and_input(norm_placement="post")
    y = layer_norm(block.attn.norm_after, x + block.attn.f(x))
    torch.testing.assert_close(block(x), layer_norm(block.mlp.norm_after, y + block.mlp.f(y)), **TOLERANCE)


def test_pre_norm_with_rmsnorm():
    block, x = block_and_input(norm_type="rmsnorm")
    y = x + block.attn.f(rms_norm(block.attn.norm_in, x))
    torch.testing.assert_close(block(x), y + block.mlp.f(rms_norm(block.mlp.norm_in, y)), **TOLERANCE)


def test_without_norms_only_the_residual_sums_are_left():
    block, x = block_and_input(norm_placement="none")
    y = x + block.attn.f(x)
    torch.testing.assert_close(block(x), y + block.mlp.f(y), **TOLERANCE)
    assert not any("norm" in name for name, _ in block.named_parameters())


def test_without_residuals_outputs_replace_inputs():
    pre, x = block_and_input(residual=False)
    y = pre.attn.f(layer_norm(pre.attn.norm_in, x))
    torch.testing.assert_close(pre(x), pre.mlp.f(layer_norm(pre.mlp.norm_in, y)), **TOLERANCE)
    post, x = block_and_input(residual=False, norm_placement="post")
    y = layer_norm(post.attn.norm_after, post.attn.f(x))
    torch.testing.assert_close(post(x), layer_norm(post.mlp.norm_after, post.mlp.f(y)), **TOLERANCE)
    none, x = block_and_input(residual=False, norm_placement="none")
    torch.testing.assert_close(none(x), none.mlp.f(none.attn.f(x)), **TOLERANCE)


def test_attention_only_and_mlp_only_leave_the_other_out():
    attention, x = block_and_input(sublayers="attention")
    torch.testing.assert_close(attention(x), x + attention.attn.f(layer_norm(attention.attn.norm_in, x)), **TOLERANCE)
    assert not any(name.startswith("mlp") for name, _ in attention.named_parameters())
    mlp, x = block_and_input(sublayers="mlp")
    torch.testing.assert_close(mlp(x), x + mlp.mlp.f(layer_norm(mlp.mlp.norm_in, x)), **TOLERANCE)
    assert not any(name.startswith("attn") for name, _ in mlp.named_parameters())


@pytest.mark.parametrize(
    ("activation", "formula"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("relu2", lambda x: x.clamp(min=0) ** 2),
        ("silu", lambda x: x / (1 + (-x).exp())),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
        ("gelu_tanh", lambda x: x * 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    ],
)
def test_mlp_applies_the_activation_between_its_matrices(activation, formula):
    block, x = block_and_input(activation=activation, mlp_ratio=2.5)
    mlp = block.mlp.f
    hidden = x @ mlp.up.weight.T + mlp.up.bias
    assert hidden.shape[-1] == 20
    torch.testing.assert_close(mlp(x), formula(hidden) @ mlp.proj.weight.T + mlp.proj.bias, **TOLERANCE)


@pytest.mark.parametrize(
    ("final_norm", "placement", "there"), [(None, "pre", True), (None, "post", False), (True, "post", True), (False, "pre", False)]
)
def test_final_norm_stands_before_the_head(final_norm, placement, there):
    config = ModelConfig(vocab_size=V, n_layer=1, n_head=2, n_embd=8, block_size=6, final_norm=final_norm, norm_placement=placement)
    model = scatter(GPT(config).double())
    idx = torch.tensor([[1, 2, 3]])
    x = model.blocks[0](model.wte.weight[idx] + model.wpe.weight[:3])
    x = layer_norm(model.norm, x) if there else x
    torch.testing.assert_close(model(idx), x @ model.wte.weight.T, **TOLERANCE)


def test_without_positions_the_embedding_is_the_token_alone():
    config = ModelConfig(vocab_size=V, n_layer=1, n_head=2, n_embd=8, block_size=6, position="none")
    model = scatter(GPT(config).double())
    idx = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(model(idx), layer_norm(model.norm, model.blocks[0](model.wte.weight[idx])) @ model.wte.weight.T, **TOLERANCE)


def test_more_tokens_than_the_context_are_refused():
    model = GPT(ModelConfig(vocab_size=V, n_layer=1, n_head=2, n_embd=8, block_size=6))
    with pytest.raises(ValueError, match=r"7 tokens .* block_size=6"):
        model(torch.zeros(1, 7, dtype=torch.long))


def test_a_model_without_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocab_size"):
        GPT(ModelConfig())

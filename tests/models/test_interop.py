"""Converted models against their originals in `transformers`: logits, gradients, attention maps, and the way back."""

import json

import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load
from torch import nn
from torch.overrides import TorchFunctionMode

from models.config import ModelConfig
from models.dialects import DIALECTS
from models.families import FAMILIES, FOLLOWS, closest, effective, family_of, obstacles, relaxed, windows
from models.gpt import GPT
from models.interop import UnsupportedArchitecture, from_transformers, read_tensors, to_files, to_transformers
from models.knobs import ConfigError, parse
from models.presets import ARCHITECTURES
from playground.inside.hooks import traced

V, T = 13, 11
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
OLD = {"vocab_size": V, "n_embd": 20, "n_layer": 3, "n_head": 5, "n_positions": T}
NEW = {"vocab_size": V, "hidden_size": 20, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": T}
LLAMA = {**NEW, "hidden_size": 24, "intermediate_size": 27, "num_key_value_heads": 2}
ODD_HEADS = {"hidden_size": 18, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 6}  # 18 is no multiple of 4
BLOOM = {"vocab_size": V, "hidden_size": 24, "n_layer": 3, "n_head": 3}


def rotary(theta=10_000.0, **more):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


CASES = {
    "gpt2": ("gpt2", OLD),
    "gpt2-wide-untied-inverse": ("gpt2", {
        **OLD, "n_inner": 33, "tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True, "layer_norm_epsilon": 1e-2,
        "activation_function": "gelu",
    }),
    "gpt2-unscaled": ("gpt2", {**OLD, "n_head": 2, "scale_attn_weights": False, "activation_function": "silu"}),
    "gpt2-one-head": ("gpt2", {**OLD, "n_head": 1, "activation_function": "relu2", "reorder_and_upcast_attn": True}),
    "gpt1": ("openai-gpt", OLD),
    "gpt1-relu-untied": ("openai-gpt", {**OLD, "afn": "relu", "tie_word_embeddings": False, "layer_norm_epsilon": 1e-3}),
    "neox": ("gpt_neox", {**NEW, "hidden_size": 32, "intermediate_size": 30}),
    "neox-sequential-unbiased-tied": ("gpt_neox", {
        **NEW, "hidden_size": 24, "intermediate_size": 30, "attention_bias": False, "use_parallel_residual": False,
        "tie_word_embeddings": True, "hidden_act": "relu", "layer_norm_eps": 1e-3, **rotary(300.0, partial_rotary_factor=0.7),
    }),
    "neox-fast-gelu": ("gpt_neox", {
        **NEW, "hidden_size": 16, "intermediate_size": 9, "hidden_act": "gelu_fast", **rotary(partial_rotary_factor=1.0),
    }),
    "gptj": ("gptj", {**OLD, "n_embd": 30, "rotary_dim": 4}),
    "gptj-wide-tied": ("gptj", {
        **OLD, "n_embd": 30, "rotary_dim": 6, "n_inner": 7, "tie_word_embeddings": True, "activation_function": "gelu",
        "layer_norm_epsilon": 1e-3,
    }),
    "gptj-16-of-49": ("gptj", {**OLD, "n_embd": 49, "n_head": 1, "rotary_dim": 16}),  # 16 / 49 * 49 falls short of 16
    "bloom": ("bloom", BLOOM),
    "bloom-untied": ("bloom", {**BLOOM, "n_head": 12, "tie_word_embeddings": False, "layer_norm_epsilon": 1e-3, "pretraining_tp": 2}),
    "llama": ("llama", LLAMA),
    "llama-biased-tied": ("llama", {
        **LLAMA, "num_key_value_heads": 1, "head_dim": 10, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
        "hidden_act": "gelu", "rms_norm_eps": 1e-2, **rotary(500.0),
    }),
    "mistral": ("mistral", {**LLAMA, **ODD_HEADS, "sliding_window": 4}),
    "mistral-no-window": ("mistral", {
        **LLAMA, "hidden_size": 16, "sliding_window": None, "tie_word_embeddings": True, "rms_norm_eps": 1e-2,
    }),
    "qwen3": ("qwen3", {**LLAMA, **ODD_HEADS}),
    "qwen3-late-window": ("qwen3", {
        **LLAMA, "head_dim": 10, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1, "attention_bias": True,
        "rms_norm_eps": 1e-2, "tie_word_embeddings": True, **rotary(700.0),
    }),
    "qwen3-mixed-window": ("qwen3", {
        **LLAMA, "head_dim": 4, "use_sliding_window": True, "sliding_window": 3, "hidden_act": "gelu_pytorch_tanh",
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }),
    "gemma2": ("gemma2", {
        **LLAMA, "head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 3,
        "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0,
    }),
    "gemma2-uncapped-untied": ("gemma2", {
        **LLAMA, "num_key_value_heads": 1, "head_dim": 8, "attn_logit_softcapping": None, "final_logit_softcapping": None,
        "attention_bias": True, "tie_word_embeddings": False, "hidden_activation": "gelu", "query_pre_attn_scalar": 8,
        "layer_types": ["full_attention"] * 3, "rms_norm_eps": 1e-2, **rotary(50.0),
    }),
    "olmo2": ("olmo2", {**LLAMA, "hidden_size": 16, "num_key_value_heads": 1}),
    "olmo2-biased-tied": ("olmo2", {
        **LLAMA, **ODD_HEADS, "attention_bias": True, "tie_word_embeddings": True, "rms_norm_eps": 1e-2, **rotary(90.0),
    }),
}  # fmt: skip


class NoFloat32(TorchFunctionMode):
    """Where a model asks for float32 in its midst (norms, rotary angles, softmax, slopes), give it float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def swap(value):
            return torch.float64 if value is torch.float32 else value

        func = torch.Tensor.double if func is torch.Tensor.float else func
        return func(*map(swap, args), **{name: swap(value) for name, value in (kwargs or {}).items()})


def original(model_type, options, dtype=torch.float32, attention="eager"):
    """A model of transformers whose every weight matters: also what starts at zero or one is drawn."""
    hf = transformers.AutoConfig.for_model(model_type, **{**NO_TOKENS, **options})
    model = transformers.AutoModelForCausalLM.from_config(hf, dtype=dtype, attn_implementation=attention).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            gain = name.endswith("weight") and parameter.dim() == 1
            near_one = gain and "Gemma" not in type(model).__name__
            parameter.copy_((near_one + 0.15 * noise.clamp(-2.5, 2.5)) if gain else 0.3 * noise)
    return model


def text():
    return torch.randint(V, (2, 2, T), generator=torch.Generator().manual_seed(8)).unbind()


def backward(logits, targets):
    F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    return logits.detach()


def off(found, wanted, floor=0.0):
    """The largest difference, as a share of the largest number."""
    assert found.shape == wanted.shape
    return ((found - wanted).abs().max() / max(wanted.abs().max(), floor)).item()


def assert_same_function(model, gpt, logits, tolerance):
    """Same logits, and our gradients carried back to their parameters are their gradients."""
    idx, targets = text()
    assert off(backward(gpt(idx), targets), logits) < tolerance
    dialect = DIALECTS[model.config.model_type]
    theirs = dict(model.named_parameters())
    read = read_tensors(dialect, model.state_dict(keep_vars=True), gpt.state_dict(), model.config, gpt.config)
    ours = dict(gpt.named_parameters())
    carried = torch.autograd.grad([read[name] for name in ours], list(theirs.values()), [ours[name].grad for name in ours])
    floor = 1e-4 * max(parameter.grad.abs().max() for parameter in theirs.values())
    for (name, parameter), gradient in zip(theirs.items(), carried, strict=True):
        assert off(gradient, parameter.grad, floor) < tolerance, name


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_the_originals_in_float64(name):
    model_type, options = CASES[name]
    idx, targets = text()
    with NoFloat32():
        model = original(model_type, options | {"reorder_and_upcast_attn": False}, torch.float64)
        for module in list(model.modules()):
            if hasattr(module, "gelu_impl"):  # it rounds sqrt(2 / pi) to eight digits
                module.gelu_impl = nn.GELU(approximate="tanh")
        logits = backward(model(idx).logits, targets)
    gpt = from_transformers(model)
    assert gpt.wte.weight.dtype == torch.float64
    assert_same_function(model, gpt, logits, 1e-9)


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_the_originals_in_float32(name):
    model = original(*CASES[name])
    idx, targets = text()
    assert_same_function(model, from_transformers(model), backward(model(idx).logits, targets), 1e-5)


@pytest.mark.parametrize("name", CASES)
def test_attention_maps_are_the_originals(name):
    model = original(*CASES[name])
    (idx, _) = text()
    maps = traced(from_transformers(model), idx[0].numpy()).maps
    theirs = model(idx[:1], output_attentions=True).attentions
    assert len(maps) == len(theirs) == 3
    for ours, wanted in zip(maps, theirs, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_there_and_back_no_bit_changes(name):
    model = original(*CASES[name])
    gpt = from_transformers(model)
    assert family_of(gpt.config) in (model.config.model_type, "llama")  # a Mistral without a window is a Llama
    again = from_transformers(to_transformers(gpt))
    assert again.config == gpt.config
    assert_same_weights(gpt, again)
    assert not again.training
    gpt = from_transformers(model.train())
    assert gpt.training and to_transformers(gpt).training


@pytest.mark.parametrize("name", ["gpt2-wide-untied-inverse", "neox", "gemma2"])
def test_there_and_back_no_bit_changes_in_float64_either(name):
    gpt = from_transformers(original(*CASES[name], dtype=torch.float64))
    model = to_transformers(gpt)
    assert model.dtype == torch.float64
    assert_same_weights(gpt, from_transformers(model))


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def drawn(config, seed=0):
    """A GPT of ours whose every weight matters; gains stay near one, where Gemma's minus one is exact."""
    torch.manual_seed(seed)
    gpt = GPT(config.model_copy(update={"vocab_size": V})).eval()
    with torch.no_grad():
        for name, parameter in gpt.named_parameters():
            gain = "norm" in name and name.endswith("weight")
            parameter.copy_(1 + 0.15 * torch.randn(parameter.shape).clamp(-2.5, 2.5) if gain else 0.2 * torch.randn(parameter.shape))
    return gpt


FAMILY_OF_PRESET = {
    "gpt1": "openai-gpt", "gpt2": "gpt2", "gpt-neox": "gpt_neox", "gpt-j": "gptj", "bloom": "bloom", "llama": "llama", "mistral": "mistral",
    "gemma2": "gemma2", "olmo2": "olmo2", "qwen3": "qwen3",
}  # fmt: skip


@pytest.mark.parametrize("preset", FAMILY_OF_PRESET)
def test_every_preset_with_a_familys_name_is_of_that_family(preset, tmp_path):
    config = ARCHITECTURES[preset].config
    assert obstacles(config) == [] and family_of(config) == FAMILY_OF_PRESET[preset]
    gpt = drawn(config)
    to_transformers(gpt).save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert {loaded.config.bos_token_id, loaded.config.eos_token_id, loaded.config.pad_token_id} == {None}
    assert loaded.generation_config.eos_token_id is None
    idx = torch.randint(V, (2, config.block_size))
    assert off(loaded(idx).logits, gpt(idx)) < 1e-5
    assert_same_weights(gpt, from_transformers(loaded))


def test_every_family_has_a_preset_and_a_table():
    assert set(FAMILY_OF_PRESET.values()) == set(FAMILIES) == set(DIALECTS)
    for key, dialect in DIALECTS.items():
        assert dialect.family is FAMILIES[key]
        assert {dialect.model_class} == {type(original(*case)).__name__ for case in CASES.values() if case[0] == key}


OTHER_VALUES = {
    "n_head": [3, 5, 8], "norm_eps": [1e-2], "n_kv_head": [1, 2], "head_dim": [4, 10], "window": [3], "window_pattern": ["LG", "GL", "G"],
    "attn_softcap": [1.5], "attn_scale": [0.3, 1.0, 0.5], "rope_base": [300.0], "rope_fraction": [0.5, 1.0], "mlp_ratio": [4.0, 0.7],
    "logit_softcap": [1.5], "embd_dropout": [0.1], "attn_dropout": [0.1], "resid_dropout": [0.1], "dropout": [0.2],
    "n_layer": [1], "n_embd": [20], "block_size": [5], "init_std": [0.1],
}  # fmt: skip


def neighbours(config):
    """Every config that differs from this one in one knob."""
    for spec in ModelConfig.specs():
        values = OTHER_VALUES.get(spec.path) or (spec.choices if spec.kind == "choice" else [True, False])
        for value in [*values, *([None] if spec.optional else [])]:
            try:
                other = parse(ModelConfig, config.model_dump() | {spec.path: value})
            except ConfigError:
                continue
            if other != config:
                yield spec.path, other


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("preset", FAMILY_OF_PRESET)
def test_one_knob_from_a_preset_a_model_is_refused_by_name_or_the_same(preset, inference):
    small = {"n_layer": 2, "n_head": 4, "n_embd": 32, "block_size": 9}
    family, preset = FAMILIES[FAMILY_OF_PRESET[preset]], ARCHITECTURES[preset].config
    config = preset.model_copy(update=small | {"window": preset.window and 4, "head_dim": preset.head_dim and 10})
    assert obstacles(config) == []
    idx = torch.randint(V, (1, 9), generator=torch.Generator().manual_seed(1))
    accepted = 0
    for knob, other in neighbours(config):
        gpt = drawn(other)
        found = obstacles(other, inference=inference)
        if found:
            assert {knob} <= {path for p in family.problems(other) for path in (p.path, *FOLLOWS.get(p.path, ()))}, knob
            assert len(found) <= len(family.problems(other))
            with pytest.raises(UnsupportedArchitecture, match=found[0].path):
                to_transformers(gpt, inference=inference)
            continue
        accepted += 1
        here = idx[:, : other.block_size]
        model = to_transformers(gpt, inference=inference)
        assert off(model(here).logits, gpt(here)) < 1e-5, (knob, getattr(other, knob))
        again = from_transformers(model)
        assert off(again(here), gpt(here)) < 1e-5
        if not inference:
            assert same_architecture(again.config, other), knob
    assert accepted > 12


def same_architecture(a, b):
    """Equal in every knob that outlives initialisation, however it is spelled."""
    spelled = {"bias", "dropout", "window", "window_pattern", "mlp_ratio", "attn_scale", "rope_interleaved"}
    knobs = [spec.path for spec in ModelConfig.specs() if spec.path not in spelled and not spec.path.startswith("init")]
    alike = [effective(a, knob) == effective(b, knob) for knob in knobs]
    return all(alike) and a.d_ff == b.d_ff and windows(a) == windows(b)


def test_heads_that_do_not_divide_the_width_are_possible_in_some_families_only():
    odd = {"n_embd": 32, "n_head": 3, "n_kv_head": 1, "head_dim": 10, "window": None}
    llama = ARCHITECTURES["llama"].config.model_copy(update=odd)
    assert family_of(llama) == "mistral"
    idx = torch.randint(V, (1, 9))
    gpt = drawn(llama)
    assert off(to_transformers(gpt)(idx).logits, gpt(idx)) < 1e-5
    assert [problem.path for problem in obstacles(llama.model_copy(update={"mlp_bias": True}))] == ["n_head"]


def test_dropouts_go_along_and_stay_behind_where_only_the_function_counts():
    gpt = drawn(ARCHITECTURES["gpt2"].config.model_copy(update={"embd_dropout": 0.1, "attn_dropout": 0.2, "resid_dropout": 0.3}))
    model = to_transformers(gpt)
    assert (model.config.embd_pdrop, model.config.attn_pdrop, model.config.resid_pdrop) == (0.1, 0.2, 0.3)
    back = from_transformers(model).config
    assert (back.p_embd_dropout, back.p_attn_dropout, back.p_resid_dropout) == (0.1, 0.2, 0.3)
    llama = drawn(ARCHITECTURES["llama"].config.model_copy(update={"dropout": 0.2}))
    assert {problem.path for problem in obstacles(llama.config)} == {"dropout"}
    assert to_transformers(llama, inference=True).config.attention_dropout == 0.0


def test_for_inference_missing_biases_are_zeros_and_shared_layers_copies():
    config = ARCHITECTURES["nanogpt"].config.model_copy(update={"share_layers": True, "norm_gain": False, "dropout": 0.1})
    assert {problem.path for problem in obstacles(config)} == {"share_layers", "norm_gain", "bias"}
    assert obstacles(config, inference=True) == []
    gpt = drawn(config)
    before = {name: tensor.clone() for name, tensor in gpt.state_dict().items()}
    model = to_transformers(gpt, inference=True)
    idx = torch.randint(V, (2, config.block_size))
    assert off(model(idx).logits, gpt(idx)) < 1e-5
    assert not model.transformer.h[1].ln_2.bias.any() and (model.transformer.ln_f.weight == 1).all()
    assert all(torch.equal(before[name], tensor) for name, tensor in gpt.state_dict().items())
    assert relaxed(config, closest(config)[0]).has_norm_bias


def test_neighbouring_pairs_become_halves_and_halves_neighbours_with_qk_norms_too():
    for preset in ("llama", "qwen3", "olmo2", "gpt-j", "gpt-neox"):
        config = ARCHITECTURES[preset].config
        assert config.rotated > 4
        config = config.model_copy(update={"rope_interleaved": not config.rope_interleaved})
        gpt = drawn(config)
        idx = torch.randint(V, (2, config.block_size))
        assert off(to_transformers(gpt)(idx).logits, gpt(idx)) < 1e-5


SHARED = {"share_layers": True, "norm_gain": False, "dropout": 0.1}


@pytest.mark.parametrize(("preset", "changes"), [*((preset, {}) for preset in FAMILY_OF_PRESET), ("nanogpt", SHARED)])
def test_written_piece_by_piece_the_files_are_those_of_transformers(preset, changes, monkeypatch):
    """One parameter after the other, each read once: a model never lies in memory as a whole."""
    monkeypatch.setattr("models.interop.PIECE_BYTES", 1000)
    gpt = drawn(ARCHITECTURES[preset].config.model_copy(update=changes))
    own, asked = dict(gpt.named_parameters()), []
    files, longest = {}, {}
    for name, pieces in to_files(gpt.config, torch.float32, lambda name: asked.append(name) or own[name].detach()):
        pieces = list(pieces)
        files[name], longest[name] = b"".join(pieces), max(map(len, pieces[1:]), default=0)
    assert set(asked) == own.keys() and (changes or len(asked) == len(own)) and longest["model.safetensors"] == 1000
    theirs, found = to_transformers(gpt, inference=True), load(files["model.safetensors"])
    wanted = {name: tensor for name, tensor in theirs.state_dict().items() if name in found}
    assert wanted.keys() == found.keys() and [name for name in found if not torch.equal(found[name], wanted[name])] == []
    assert set(theirs.state_dict()) - found.keys() <= {"lm_head.weight"}
    config = json.loads(files["config.json"])
    assert config["architectures"] == [type(theirs).__name__] and config["dtype"] == "float32"


def test_the_context_is_the_models_or_what_was_asked_for():
    assert from_transformers(original("llama", LLAMA)).config.block_size == T
    assert from_transformers(original("llama", LLAMA), block_size=7).config.block_size == 7
    assert from_transformers(original("llama", {**LLAMA, "max_position_embeddings": 131_072})).config.block_size == 4096
    assert from_transformers(original("bloom", BLOOM)).config.block_size == 2048
    assert from_transformers(original("bloom", BLOOM), block_size=64).config.block_size == 64
    assert from_transformers(original("mistral", {**LLAMA, "sliding_window": 100_000})).config.window == 4096


def test_neither_direction_touches_the_global_random_state_or_the_weights_given():
    model = original(*CASES["llama"])
    state = torch.random.get_rng_state()
    gpt = from_transformers(model)
    back = to_transformers(gpt)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        gpt.wte.weight.zero_()
    assert model.get_input_embeddings().weight.any() and back.get_input_embeddings().weight.any()


@pytest.mark.parametrize("name", ["llama", "gptj", "bloom"])
def test_half_precision_goes_along(name):
    model = original(*CASES[name], dtype=torch.bfloat16)
    gpt = from_transformers(model)
    assert gpt.head.weight.dtype == torch.bfloat16
    again = to_transformers(gpt)
    assert again.dtype == torch.bfloat16
    (idx, _) = text()
    assert off(again(idx).logits.float(), model(idx).logits.float()) < 0.1
    assert off(gpt(idx).float(), model(idx).logits.float()) < 0.1


def test_the_tables_are_read_without_torch():
    import subprocess
    import sys

    code = "import sys, models.families as f, models.presets as p\nfor a in p.ARCHITECTURES.values(): f.obstacles(a.config)\n"
    code += "assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=__file__.split("/tests/")[0])


def test_the_measure_sees_a_small_difference():
    assert off(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5])) == pytest.approx(0.2)

"""What cannot be converted exactly is refused, and the refusal names the option or the knob."""

import dataclasses

import pytest
import torch
import transformers
from torch import nn

from models.config import ModelConfig
from models.dialects import DIALECTS
from models.families import EVERY, FAMILIES, closest, obstacles
from models.gpt import GPT
from models.interop import UnsupportedArchitecture, family_of, from_transformers, to_transformers
from models.knobs import ConfigError
from models.presets import ARCHITECTURES

V = 7
OLD = {"vocab_size": V, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 8}
NEW = {
    "vocab_size": V, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 8,
    "intermediate_size": 20,
}  # fmt: skip
SIZES = {
    "gpt2": OLD, "openai-gpt": OLD, "gptj": {**OLD, "rotary_dim": 4}, "gpt_neox": NEW,
    "bloom": {"vocab_size": V, "hidden_size": 16, "n_layer": 2, "n_head": 2}, "llama": NEW, "olmo2": NEW,
    "mistral": {**NEW, "num_key_value_heads": 2}, "qwen3": {**NEW, "head_dim": 8, "num_key_value_heads": 2},
    "gemma2": {**NEW, "head_dim": 8, "num_key_value_heads": 1},
}  # fmt: skip


def original(model_type, **options):
    no_tokens = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    hf = transformers.AutoConfig.for_model(model_type, **{**no_tokens, **SIZES[model_type], **options})
    return transformers.AutoModelForCausalLM.from_config(hf)


def scaled(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, "factor": 2.0, **more}}


BUILT_OTHERWISE = {
    "add_cross_attention": [("gpt2", {"add_cross_attention": True})],
    "activation_function": [("gpt2", {"activation_function": "tanh"}), ("gptj", {"activation_function": "quick_gelu"})],
    "hidden_act": [
        ("gpt_neox", {"hidden_act": "quick_gelu"}), ("llama", {"hidden_act": "relu"}), ("mistral", {"hidden_act": "relu2"}),
        ("qwen3", {"hidden_act": "tanh"}), ("olmo2", {"hidden_act": "sigmoid"}),
    ],
    "hidden_activation": [("gemma2", {"hidden_activation": "quick_gelu"})],
    "rope_type": [
        ("llama", scaled("linear")), ("qwen3", scaled("dynamic")), ("olmo2", scaled("yarn")), ("gemma2", scaled("linear")),
        ("mistral", scaled("longrope", short_factor=[1.0] * 4, long_factor=[2.0] * 4)),
        ("llama", scaled("llama3", low_freq_factor=1.0, high_freq_factor=4.0)), ("gpt_neox", scaled("linear", partial_rotary_factor=0.5)),
    ],
    "partial_rotary_factor": [
        ("gpt_neox", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": factor}})
        for factor in (0.4, 0.1)
    ] + [("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}})],
    "rotary_dim": [("gptj", {"rotary_dim": 0}), ("gptj", {"rotary_dim": 5}), ("gptj", {"rotary_dim": 10})],
    "head_dim": [("gpt_neox", {"head_dim": 4})],
    "apply_residual_connection_post_layernorm": [("bloom", {"apply_residual_connection_post_layernorm": True})],
    "slow_but_exact": [("bloom", {"slow_but_exact": True, "pretraining_tp": 2})],
    "layer_types": [
        ("mistral", {"layer_types": ["full_attention", "sliding_attention"]}), ("llama", {"layer_types": ["sliding_attention"] * 2}),
        ("qwen3", {"layer_types": ["chunked_attention", "full_attention"]}),
        ("gemma2", {"layer_types": ["full_attention", "linear_attention"]}),
    ],
    "sliding_window": [
        ("qwen3", {"layer_types": ["sliding_attention"] * 2}), ("gemma2", {"sliding_window": None}), ("llama", {"sliding_window": 4}),
        ("olmo2", {"sliding_window": 4}), ("mistral", {"sliding_window": 0}),
    ],
    "clip_qkv": [("olmo2", {"clip_qkv": 8.0})],
    "use_bidirectional_attention": [("gemma2", {"use_bidirectional_attention": True})],
    "is_causal": [(family, {"is_causal": False}) for family in SIZES],
    "attention_dropout": [("llama", {"attention_dropout": 1.0})],
    "resid_pdrop": [("gpt2", {"resid_pdrop": 1.0})],
    "n_layer": [("gpt2", {"n_layer": 65, "n_embd": 2, "n_head": 1})],
    "intermediate_size": [("llama", {"hidden_size": 2, "num_attention_heads": 1, "intermediate_size": 200})],
    "rms_norm_eps": [("llama", {"rms_norm_eps": 0.0})],
    "rope_theta": [("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e10}})],
    "final_logit_softcapping": [("gemma2", {"final_logit_softcapping": -1.0})],
}  # fmt: skip


@pytest.mark.parametrize(("option", "model_type", "options"), [(k, *case) for k, cases in BUILT_OTHERWISE.items() for case in cases])
def test_an_option_that_no_knob_expresses_is_named(option, model_type, options):
    model = original(model_type, **options)
    with pytest.raises(UnsupportedArchitecture) as caught:
        from_transformers(model)
    assert option in [problem.path for problem in caught.value.problems]
    assert option in str(caught.value)


def test_the_same_models_without_those_options_are_converted():
    for model_type in SIZES:
        from_transformers(original(model_type))
    from_transformers(original("bloom", slow_but_exact=True))
    from_transformers(original("bloom", pretraining_tp=2))
    from_transformers(original("gpt2", is_causal=True, reorder_and_upcast_attn=True))
    from_transformers(original("llama", layer_types=None, sliding_window=None))


def test_rotary_dim_may_not_be_missing():
    model = original("gptj")
    object.__setattr__(model.config, "rotary_dim", None)
    with pytest.raises(UnsupportedArchitecture, match="rotary_dim"):
        from_transformers(model)


def test_other_classes_are_named():
    hf = transformers.AutoConfig.for_model("phi", **NEW)
    for model in (transformers.AutoModelForCausalLM.from_config(hf), transformers.GPT2Model(transformers.GPT2Config(**OLD))):
        with pytest.raises(UnsupportedArchitecture, match=rf"architectures: {type(model).__name__} is not one of GPT2LMHeadModel"):
            from_transformers(model)


def test_tensors_that_are_too_many_too_few_or_too_large_are_named():
    model = original("llama")
    model.model.layers[1].mlp.up_proj.bias = nn.Parameter(torch.zeros(20))
    with pytest.raises(UnsupportedArchitecture, match=r"model.layers.1.mlp.up_proj.bias: a tensor that nothing here corresponds to"):
        from_transformers(model)
    model = original("llama")
    model.model.norm.register_buffer("memory", torch.zeros(1))
    with pytest.raises(UnsupportedArchitecture, match=r"model\.norm\.memory"):
        from_transformers(model)
    model = original("llama")
    model.config.attention_bias = True
    with pytest.raises(UnsupportedArchitecture, match=r"layers.0.self_attn.q_proj.bias: the model lacks this tensor"):
        from_transformers(model)
    model = original("gpt2")
    model.config.vocab_size = V + 1
    with pytest.raises(UnsupportedArchitecture, match=r"transformer.wte.weight: 112 numbers where the config makes 128"):
        from_transformers(model)


def test_ties_that_the_config_does_not_tell_of_are_named():
    model = original("llama")
    model.lm_head.weight = model.model.embed_tokens.weight
    with pytest.raises(UnsupportedArchitecture, match="tie_word_embeddings: False, but the model has one"):
        from_transformers(model)
    model = original("gpt2")
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    with pytest.raises(UnsupportedArchitecture, match="tie_word_embeddings: True, but the model has two"):
        from_transformers(model)


def test_mixed_kinds_of_numbers_are_named():
    model = original("llama")
    model.lm_head.to(torch.float64)
    with pytest.raises(UnsupportedArchitecture, match="dtype"):
        from_transformers(model)


def test_a_context_that_the_model_does_not_have_is_refused():
    for model_type in ("gpt2", "llama"):
        with pytest.raises(UnsupportedArchitecture, match=r"n_positions|max_position_embeddings"):
            from_transformers(original(model_type), block_size=9)
    with pytest.raises(UnsupportedArchitecture, match="n_positions"):
        from_transformers(original("gpt2"), block_size=7)
    with pytest.raises(UnsupportedArchitecture, match="n_positions"):
        from_transformers(original("gpt2", n_positions=5000))


HARMLESS = {
    "use_cache", "bos_token_id", "eos_token_id", "pad_token_id", "initializer_range", "summary_type", "summary_use_proj",
    "summary_activation", "summary_proj_to_labels", "summary_first_dropout", "reorder_and_upcast_attn", "classifier_dropout", "is_decoder",
    "pretraining_tp",
}  # fmt: skip
READ = {
    "gpt2": {"n_inner", "scale_attn_weights", "scale_attn_by_inverse_layer_idx"},
    "gptj": {"n_inner", "rotary_dim"},
    "gpt_neox": {"rope_parameters", "use_parallel_residual", "attention_bias"},
    "bloom": {"slow_but_exact"},
    "llama": {"rope_parameters", "attention_bias"},
    "mistral": {"rope_parameters", "sliding_window"},
    "qwen3": {"rope_parameters", "attention_bias", "use_sliding_window", "sliding_window", "max_window_layers", "layer_types"},
    "gemma2": {"rope_parameters", "attention_bias", "query_pre_attn_scalar", "sliding_window", "layer_types"},
    "olmo2": {"rope_parameters", "attention_bias"},
}


@pytest.mark.parametrize("key", DIALECTS)
def test_every_option_that_a_family_declares_is_read_refused_or_harmless(key):
    """A new release of transformers with a new option fails here."""
    dialect = DIALECTS[key]
    config = type(transformers.AutoConfig.for_model(key))
    general = {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)} - {"tie_word_embeddings"}
    declared = {field.name for field in dataclasses.fields(config)} - general
    known = {*dialect.options, *dialect.must, *READ.get(key, ()), *HARMLESS, dialect.activation}
    assert declared - known == set()


# The way there.

IN_THE_WAY = {
    "activation": {"activation": "relu2", "position": "alibi", "embd_norm": True}, "norm_placement": {"norm_placement": "sandwich"},
    "residual": {"residual": False}, "residual_gain": {"residual_gain": "rezero"}, "sublayers": {"sublayers": "attention"},
    "share_layers": {"share_layers": True}, "position": {"position": "none"}, "norm_gain": {"norm_gain": False},
    "norm_type": {"norm_type": "rmsnorm", "norm_bias": True}, "window": {"window": 3}, "qk_norm": {"qk_norm": "full"},
    "attn_softcap": {"attn_softcap": 5.0}, "attn_scale": {"attn_scale": 0.77}, "head_bias": {"head_bias": True},
    "logit_softcap": {"logit_softcap": 5.0}, "scale_embedding": {"scale_embedding": True}, "embd_norm": {"embd_norm": True},
    "bias": {"bias": False}, "qkv_bias": {"qkv_bias": False}, "final_norm": {"final_norm": False}, "head_dim": {"head_dim": 5},
    "n_kv_head": {"n_kv_head": 1}, "layout": {"layout": "parallel_two_norms"},
    "parametrisation": {"parametrisation": "mup", "base_width": 8},
}  # fmt: skip


@pytest.mark.parametrize("knob", IN_THE_WAY)
def test_the_knob_in_the_way_is_named_with_the_closest_family(knob):
    config = ModelConfig(**{"vocab_size": V, "n_layer": 2, "n_embd": 16, "activation": "gelu_tanh", **IN_THE_WAY[knob]})
    assert [problem.path for problem in obstacles(config)] == [knob]
    with pytest.raises(UnsupportedArchitecture, match=rf"the closest is .*:\n{knob}: .* needs"):
        to_transformers(GPT(config))
    with pytest.raises(ConfigError):
        family_of(config)


def test_sinusoids_and_deepnorm_have_no_family():
    assert [problem.path for problem in obstacles(ModelConfig(position="sinusoidal"))] == ["position"]
    deepnorm = ModelConfig(norm_placement="post", residual_gain="deepnorm", activation="relu")
    assert [problem.path for problem in obstacles(deepnorm)] == ["residual_gain"]
    assert closest(deepnorm)[0].title == "OpenAI GPT"


def test_the_reference_blocks_say_what_keeps_them_out():
    assert {str(problem) for problem in obstacles(ARCHITECTURES["teaching"].config)} == {
        "qkv_bias: GPT-2 needs on", "head_bias: GPT-2 needs off",
    }  # fmt: skip
    assert [str(problem) for problem in obstacles(ARCHITECTURES["nanogpt"].config)] == ["bias: GPT-2 needs norm_bias on"]


def test_every_family_judges_every_knob_that_shapes_the_function():
    """So that a new knob cannot slip through: each one is ruled on somewhere, or is written as an option."""
    ruled = {rule.knob for family in FAMILIES.values() for rule in (*EVERY, *family.asked)}
    ruled |= {"activation", "window_pattern", "rope_interleaved", "bias", "dropout", "attn_dropout"}
    written = {knob for dialect in DIALECTS.values() for knob in dialect.options.values()}
    begin = {"init", "init_std", "init_zero_residual", "base_width"}  # the last only beside a parametrisation that is ruled on
    assert {spec.path for spec in ModelConfig.specs()} - ruled - written - begin == set()

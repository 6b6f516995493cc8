"""How transformers writes each model family: its options, and the names and layouts of its tensors.

Tables, and small functions about one family each; `models.interop` applies them. Imports no transformers.

Shapes: H heads, G key and value heads, D head dimension, C channels (n_embd).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.config import ModelConfig
from models.families import FAMILIES, Family, UnsupportedArchitecture, whole_scalar, windows
from models.knobs import Problem

BLOOM_CONTEXT = 2048  # what BLOOM was trained with; its config doesn't say
MAX_BLOCK_SIZE = next(int(spec.high) for spec in ModelConfig.specs() if spec.path == "block_size" and spec.high is not None)


def refuse(option: str, message: str) -> UnsupportedArchitecture:
    return UnsupportedArchitecture([Problem(option, message)])


# Tensor layouts. `read` converts theirs to ours, `write` ours to theirs.


@dataclass(frozen=True)
class Layout:
    read: Callable[[list[Tensor], ModelConfig], Tensor]
    write: Callable[[Tensor, ModelConfig], list[Tensor]]


def _by_head(theirs: list[Tensor], config: ModelConfig) -> Tensor:  # (H * 3 * D, …) -> (3 * H * D, …)
    (fused,) = theirs
    return fused.unflatten(0, (config.n_head, 3, config.head_size)).transpose(0, 1).flatten(0, 2)


def _to_heads(ours: Tensor, config: ModelConfig) -> list[Tensor]:  # (3 * H * D, …) -> (H * 3 * D, …)
    return [ours.unflatten(0, (3, config.n_head, config.head_size)).transpose(0, 1).flatten(0, 2)]


def _thirds(ours: Tensor, config: ModelConfig) -> list[Tensor]:  # ((H + 2 G) * D, …) -> (H * D, …), 2 x (G * D, …)
    size = config.head_size
    return list(ours.split([config.n_head * size, config.kv_heads * size, config.kv_heads * size]))


SAME = Layout(lambda theirs, config: theirs[0], lambda ours, config: [ours])
TRANSPOSED = Layout(  # a matrix is (in, out); a vector stays as it is
    lambda theirs, config: theirs[0].t() if theirs[0].dim() == 2 else theirs[0],
    lambda ours, config: [ours.t() if ours.dim() == 2 else ours],
)
BY_HEAD = Layout(_by_head, _to_heads)
THREE = Layout(lambda theirs, config: torch.cat(theirs), _thirds)
GAIN_MINUS_ONE = Layout(lambda theirs, config: 1 + theirs[0], lambda ours, config: [ours - 1])


# The options that need more than renaming, family by family.


def rope(hf: Any, *also: str) -> dict:
    """Our RoPE knobs from `rope_parameters`, and the options `also` that a family has there; scaled kinds of RoPE are refused."""
    told = dict(hf.rope_parameters)
    kind = told.pop("rope_type", None) or told.pop("type", "default")
    if kind != "default":
        raise refuse("rope_type", f"{kind!r}: only plain rotary positions are possible here")
    told.pop("type", None)
    base = told.pop("rope_theta")
    read = {option: told.pop(option) for option in also if option in told}
    if told.pop("partial_rotary_factor", 1.0) != 1.0:
        raise refuse("partial_rotary_factor", "this family does not read it, so it is not clear what is meant")
    if told:
        raise refuse(f"rope_parameters.{min(told)}", "an option of rotary positions that is not known here")
    return {"position": "rope", "rope_base": base, **read}


def plain_rope(config: ModelConfig) -> dict:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base}}


def share(part: int, whole: int) -> float:
    """A fraction f with int(whole * f) == part."""
    fraction = part / whole
    return fraction if int(whole * fraction) == part else math.nextafter(fraction, 1.0)


def layer_windows(hf: Any) -> dict:
    """Window and shortest pattern from `layer_types`."""
    kinds = {"sliding_attention": "L", "full_attention": "G"}
    unknown = sorted(set(hf.layer_types) - set(kinds))
    if unknown:
        raise refuse("layer_types", f"{unknown[0]!r} is no kind of attention that is possible here; known are {', '.join(kinds)}")
    letters = "".join(kinds[kind] for kind in hf.layer_types)
    if "L" not in letters:
        return {}
    if hf.sliding_window is None:
        raise refuse("sliding_window", "some layers have a window, and its size is not set")
    lengths = range(1, len(letters) + 1)
    pattern = next(letters[:n] for n in lengths if all(letters[i] == letters[i % n] for i in range(len(letters))))
    return {"window": min(hf.sliding_window, MAX_BLOCK_SIZE), "window_pattern": pattern}


def layer_types(config: ModelConfig) -> dict:
    kinds = ["full_attention" if window is None else "sliding_attention" for window in windows(config)]
    return {"layer_types": kinds, "sliding_window": config.window}


def read_gpt2(hf: Any) -> dict:
    return {"position": "learned", "d_ff": hf.n_inner, "attn_scale": None if hf.scale_attn_weights else 1.0}


def write_gpt2(config: ModelConfig) -> dict:
    return {"n_inner": config.d_ff, "scale_attn_weights": config.attn_scale in (None, config.head_size**-0.5)}


def fold_gpt2(ours: dict[str, Tensor], hf: Any, config: ModelConfig) -> None:
    """Fold a scale of 1 / (layer + 1) on the scores into the queries."""
    if not hf.scale_attn_by_inverse_layer_idx:
        return
    for layer in range(config.n_layer):
        for kind in ("weight", "bias"):
            q, k, v = ours[f"blocks.{layer}.attn.f.qkv.{kind}"].chunk(3)
            ours[f"blocks.{layer}.attn.f.qkv.{kind}"] = torch.cat([q / (layer + 1), k, v])


def read_neox(hf: Any) -> dict:
    size = hf.hidden_size // hf.num_attention_heads
    if getattr(hf, "head_dim", None) not in (None, size):
        raise refuse("head_dim", f"{hf.head_dim}: this family's heads are hidden_size / num_attention_heads = {size}")
    told = rope(hf, "partial_rotary_factor")
    fraction = told.pop("partial_rotary_factor", 1.0)
    rotated = int(size * fraction)
    if rotated < 2 or rotated % 2 or rotated > size:
        raise refuse("partial_rotary_factor", f"{fraction:g} of a head of {size} are {rotated} numbers; an even number of them is needed")
    layout = "parallel_two_norms" if hf.use_parallel_residual else "sequential"
    biases = {"qkv_bias": hf.attention_bias, "attn_out_bias": hf.attention_bias}
    return told | {"rope_fraction": fraction, "layout": layout, "embd_dropout": hf.hidden_dropout} | biases


def write_neox(config: ModelConfig) -> dict:
    told = plain_rope(config)["rope_parameters"] | {"partial_rotary_factor": config.rope_fraction}
    return {"rope_parameters": told, "use_parallel_residual": config.parallel, "attention_bias": config.has_qkv_bias}


def read_gptj(hf: Any) -> dict:
    size = hf.n_embd // hf.n_head
    rotated = hf.rotary_dim
    if not rotated or rotated < 2 or rotated % 2 or rotated > size:
        raise refuse("rotary_dim", f"{rotated} of the {size} numbers of a head; an even number from 2 up to {size} is needed")
    return {"position": "rope", "d_ff": hf.n_inner, "rope_fraction": share(rotated, size)}


def read_bloom(hf: Any) -> dict:
    if hf.slow_but_exact and hf.pretraining_tp > 1:
        raise refuse("slow_but_exact", "with pretraining_tp above 1 it sums in slices, with a bias in each; only False is possible here")
    return {"position": "alibi", "block_size": getattr(hf, "seq_length", None) or BLOOM_CONTEXT}


def read_llama(hf: Any) -> dict:
    return rope(hf) | {"qkv_bias": hf.attention_bias, "attn_out_bias": hf.attention_bias}


def write_llama(config: ModelConfig) -> dict:
    return plain_rope(config) | {"attention_bias": config.has_qkv_bias}


def read_mistral(hf: Any) -> dict:
    return rope(hf) | ({} if hf.sliding_window is None else {"window": min(hf.sliding_window, MAX_BLOCK_SIZE)})


def write_mistral(config: ModelConfig) -> dict:
    return plain_rope(config) | {"sliding_window": windows(config)[0]}


def read_qwen3(hf: Any) -> dict:
    return read_llama(hf) | layer_windows(hf)


def write_qwen3(config: ModelConfig) -> dict:
    return write_llama(config) | layer_types(config) | {"use_sliding_window": any(windows(config))}


def read_gemma2(hf: Any) -> dict:
    return read_llama(hf) | layer_windows(hf) | {"attn_scale": hf.query_pre_attn_scalar**-0.5}


def write_gemma2(config: ModelConfig) -> dict:
    return write_llama(config) | layer_types(config) | {"query_pre_attn_scalar": whole_scalar(config)}


def read_olmo2(hf: Any) -> dict:
    return read_llama(hf) | {"head_dim": getattr(hf, "head_dim", None)}


def write_olmo2(config: ModelConfig) -> dict:
    return write_llama(config) | {"head_dim": config.head_size}


# The tables. Names of tensors lack their last part, weight or bias; {i} is the layer.

GPT_OPTIONS = {
    "vocab_size": "vocab_size", "n_embd": "n_embd", "n_layer": "n_layer", "n_head": "n_head", "n_positions": "block_size",
    "layer_norm_epsilon": "norm_eps", "embd_pdrop": "embd_dropout", "attn_pdrop": "attn_dropout", "resid_pdrop": "resid_dropout",
    "tie_word_embeddings": "tie_weights",
}  # fmt: skip
LLAMA_OPTIONS = {
    "vocab_size": "vocab_size", "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
    "num_key_value_heads": "n_kv_head", "intermediate_size": "d_ff", "max_position_embeddings": "block_size", "rms_norm_eps": "norm_eps",
    "attention_dropout": "attn_dropout", "tie_word_embeddings": "tie_weights",
}  # fmt: skip
LLAMA_FIXED = {"norm_type": "rmsnorm", "bias": False}
NO_WINDOWS = {"sliding_window": (None,), "layer_types": (None,), "attention_chunk_size": (None,)}

GPT_NAMES = {
    "blocks.attn.norm_in": "transformer.h.{i}.ln_1",
    "blocks.attn.f.qkv": "transformer.h.{i}.attn.c_attn",
    "blocks.attn.f.proj": "transformer.h.{i}.attn.c_proj",
    "blocks.mlp.norm_in": "transformer.h.{i}.ln_2",
    "blocks.mlp.f.up": "transformer.h.{i}.mlp.c_fc",
    "blocks.mlp.f.proj": "transformer.h.{i}.mlp.c_proj",
    "head": "lm_head",
}
CONV1D = {"qkv": TRANSPOSED, "proj": TRANSPOSED, "up": TRANSPOSED}
LLAMA_NAMES = {
    "wte": "model.embed_tokens",
    "blocks.attn.norm_in": "model.layers.{i}.input_layernorm",
    "blocks.attn.f.qkv": tuple(f"model.layers.{{i}}.self_attn.{part}_proj" for part in "qkv"),
    "blocks.attn.f.proj": "model.layers.{i}.self_attn.o_proj",
    "blocks.mlp.norm_in": "model.layers.{i}.post_attention_layernorm",
    "blocks.mlp.f.gate": "model.layers.{i}.mlp.gate_proj",
    "blocks.mlp.f.up": "model.layers.{i}.mlp.up_proj",
    "blocks.mlp.f.proj": "model.layers.{i}.mlp.down_proj",
    "norm": "model.norm",
    "head": "lm_head",
}
QK_NORM_NAMES = {f"blocks.attn.f.{part}_norm": f"model.layers.{{i}}.self_attn.{part}_norm" for part in "qk"}


@dataclass(frozen=True)
class Dialect:
    """One family in transformers.

    `options` maps its options to our knobs; `fixed`: knobs that never vary in this family; `read` and `write` convert what
    is more than renaming; `must`: options of which only the listed values can be converted; `layouts`: by the last part of our
    tensor's name, SAME otherwise; `fold` changes our weights by what has no knob; `interleaved`: its RoPE pairs neighbours.
    """

    family: Family
    model_class: str
    options: dict[str, str]
    names: dict[str, str | tuple[str, ...]]
    read: Callable[[Any], dict]
    write: Callable[[ModelConfig], dict]
    activation: str | None = None
    fixed: dict[str, Any] = field(default_factory=dict)
    must: dict[str, tuple] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    fold: Callable[[dict[str, Tensor], Any, ModelConfig], None] = lambda ours, hf, config: None
    interleaved: bool = False


DIALECTS = {
    dialect.family.key: dialect
    for dialect in (
        Dialect(
            FAMILIES["gpt2"], "GPT2LMHeadModel", GPT_OPTIONS,
            {"wte": "transformer.wte", "wpe": "transformer.wpe", **GPT_NAMES, "norm": "transformer.ln_f"},
            read_gpt2, write_gpt2, "activation_function",
            must={"add_cross_attention": (False,), **NO_WINDOWS}, layouts=CONV1D, fold=fold_gpt2,
        ),
        Dialect(
            FAMILIES["openai-gpt"], "OpenAIGPTLMHeadModel", GPT_OPTIONS,
            {
                "wte": "transformer.tokens_embed", "wpe": "transformer.positions_embed", **GPT_NAMES,
                "blocks.attn.norm_after": "transformer.h.{i}.ln_1", "blocks.mlp.norm_after": "transformer.h.{i}.ln_2",
            },
            lambda hf: {"position": "learned"}, lambda config: {}, "afn", fixed={"norm_placement": "post"}, must=NO_WINDOWS, layouts=CONV1D,
        ),
        Dialect(
            FAMILIES["gpt_neox"], "GPTNeoXForCausalLM",
            {
                "vocab_size": "vocab_size", "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
                "intermediate_size": "d_ff", "max_position_embeddings": "block_size", "layer_norm_eps": "norm_eps",
                "attention_dropout": "attn_dropout", "hidden_dropout": "resid_dropout", "tie_word_embeddings": "tie_weights",
            },
            {
                "wte": "gpt_neox.embed_in",
                "blocks.attn.norm_in": "gpt_neox.layers.{i}.input_layernorm",
                "blocks.attn.f.qkv": "gpt_neox.layers.{i}.attention.query_key_value",
                "blocks.attn.f.proj": "gpt_neox.layers.{i}.attention.dense",
                "blocks.mlp.norm_in": "gpt_neox.layers.{i}.post_attention_layernorm",
                "blocks.mlp.f.up": "gpt_neox.layers.{i}.mlp.dense_h_to_4h",
                "blocks.mlp.f.proj": "gpt_neox.layers.{i}.mlp.dense_4h_to_h",
                "norm": "gpt_neox.final_layer_norm",
                "head": "lm_head",
            },
            read_neox, write_neox, "hidden_act", must=NO_WINDOWS, layouts={"qkv": BY_HEAD},
        ),
        Dialect(
            FAMILIES["gptj"], "GPTJForCausalLM", GPT_OPTIONS,
            {
                **GPT_NAMES,
                "wte": "transformer.wte",
                "blocks.attn.f.qkv": tuple(f"transformer.h.{{i}}.attn.{part}_proj" for part in "qkv"),
                "blocks.attn.f.proj": "transformer.h.{i}.attn.out_proj",
                "blocks.mlp.f.up": "transformer.h.{i}.mlp.fc_in",
                "blocks.mlp.f.proj": "transformer.h.{i}.mlp.fc_out",
                "norm": "transformer.ln_f",
            },
            read_gptj, lambda config: {"n_inner": config.d_ff, "rotary_dim": config.rotated}, "activation_function",
            fixed={"layout": "parallel", "rope_interleaved": True, "qkv_bias": False, "attn_out_bias": False, "head_bias": True},
            must=NO_WINDOWS, layouts={"qkv": THREE}, interleaved=True,
        ),
        Dialect(
            FAMILIES["bloom"], "BloomForCausalLM",
            {
                "vocab_size": "vocab_size", "hidden_size": "n_embd", "n_layer": "n_layer", "n_head": "n_head",
                "layer_norm_epsilon": "norm_eps", "attention_dropout": "attn_dropout", "hidden_dropout": "resid_dropout",
                "tie_word_embeddings": "tie_weights",
            },
            {
                "wte": "transformer.word_embeddings",
                "embd_norm": "transformer.word_embeddings_layernorm",
                "blocks.attn.norm_in": "transformer.h.{i}.input_layernorm",
                "blocks.attn.f.qkv": "transformer.h.{i}.self_attention.query_key_value",
                "blocks.attn.f.proj": "transformer.h.{i}.self_attention.dense",
                "blocks.mlp.norm_in": "transformer.h.{i}.post_attention_layernorm",
                "blocks.mlp.f.up": "transformer.h.{i}.mlp.dense_h_to_4h",
                "blocks.mlp.f.proj": "transformer.h.{i}.mlp.dense_4h_to_h",
                "norm": "transformer.ln_f",
                "head": "lm_head",
            },
            read_bloom, lambda config: {"seq_length": config.block_size},
            fixed={"activation": "gelu_tanh", "embd_norm": True},
            must={"apply_residual_connection_post_layernorm": (False,), **NO_WINDOWS}, layouts={"qkv": BY_HEAD},
        ),
        Dialect(
            FAMILIES["llama"], "LlamaForCausalLM", {**LLAMA_OPTIONS, "head_dim": "head_dim", "mlp_bias": "mlp_bias"}, LLAMA_NAMES,
            read_llama, write_llama, "hidden_act", fixed=LLAMA_FIXED, must=NO_WINDOWS, layouts={"qkv": THREE},
        ),
        Dialect(
            FAMILIES["mistral"], "MistralForCausalLM", {**LLAMA_OPTIONS, "head_dim": "head_dim"}, LLAMA_NAMES,
            read_mistral, write_mistral, "hidden_act", fixed=LLAMA_FIXED, must={"layer_types": (None,), "attention_chunk_size": (None,)},
            layouts={"qkv": THREE},
        ),
        Dialect(
            FAMILIES["qwen3"], "Qwen3ForCausalLM", {**LLAMA_OPTIONS, "head_dim": "head_dim"}, {**LLAMA_NAMES, **QK_NORM_NAMES},
            read_qwen3, write_qwen3, "hidden_act", fixed={**LLAMA_FIXED, "qk_norm": "head"}, layouts={"qkv": THREE},
        ),
        Dialect(
            FAMILIES["gemma2"], "Gemma2ForCausalLM",
            {
                **LLAMA_OPTIONS, "head_dim": "head_dim",
                "attn_logit_softcapping": "attn_softcap", "final_logit_softcapping": "logit_softcap",
            },
            {
                **LLAMA_NAMES,
                "blocks.attn.norm_out": "model.layers.{i}.post_attention_layernorm",
                "blocks.mlp.norm_in": "model.layers.{i}.pre_feedforward_layernorm",
                "blocks.mlp.norm_out": "model.layers.{i}.post_feedforward_layernorm",
            },
            read_gemma2, write_gemma2, "hidden_activation",
            fixed={**LLAMA_FIXED, "norm_placement": "sandwich", "scale_embedding": True},
            must={"use_bidirectional_attention": (None, False)},
            layouts={"qkv": THREE, "norm_in": GAIN_MINUS_ONE, "norm_out": GAIN_MINUS_ONE, "norm": GAIN_MINUS_ONE},
        ),
        Dialect(
            FAMILIES["olmo2"], "Olmo2ForCausalLM", LLAMA_OPTIONS,
            {
                **LLAMA_NAMES, **QK_NORM_NAMES,
                "blocks.attn.norm_out": "model.layers.{i}.post_attention_layernorm",
                "blocks.mlp.norm_out": "model.layers.{i}.post_feedforward_layernorm",
            },
            read_olmo2, write_olmo2, "hidden_act", fixed={**LLAMA_FIXED, "norm_placement": "output", "qk_norm": "full"},
            must={"clip_qkv": (None,), **NO_WINDOWS}, layouts={"qkv": THREE},
        ),
    )
}  # fmt: skip

# Their names for knobs that no `options` table lists, for messages about values out of bounds.
OTHER_OPTIONS = {
    "mlp_ratio": "intermediate_size", "rope_base": "rope_theta", "window": "sliding_window", "attn_scale": "query_pre_attn_scalar",
    "block_size": "seq_length",
}  # fmt: skip

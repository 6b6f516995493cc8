"""Named architectures, as plain data: known models, scaled down to train on two CPU cores.

Knows nothing of training recipes.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.config import ModelConfig
from models.knobs import changed


@dataclass(frozen=True)
class Architecture:
    """A config, the sentence that says what it changed, and the paper it is from."""

    title: str
    sentence: str
    paper: str
    config: ModelConfig


DEFAULT = ModelConfig()
SMALL = ModelConfig(n_layer=4, n_head=4, n_embd=128, block_size=64)

# The from-scratch block of the teaching GPT: per-head projections without bias, ReLU, an untied head with a bias.
TEACHING = ModelConfig(
    n_layer=4, n_head=4, n_embd=64, block_size=32,
    activation="relu", qkv_bias=False, bias=True, tie_weights=False, head_bias=True,
    embd_dropout=0.0, init="normal",
)  # fmt: skip

# nanoGPT's block at the size of its CPU recipe.
NANOGPT = changed(SMALL, bias=False, activation="gelu", init="gpt2")

# The same at the size of its GPU recipe.
NANOGPT_GPU = ModelConfig(n_layer=6, n_head=6, n_embd=384, block_size=256, bias=False, activation="gelu", init="gpt2", dropout=0.2)

# What short runs learn fastest with: no learned positions or gains, QK-norm, residual branches that start at zero.
FAST = changed(
    SMALL, norm_type="rmsnorm", norm_gain=False, position="rope", qk_norm="head", activation="relu2", bias=False, tie_weights=False,
    init="gpt2", init_zero_residual=True,
)  # fmt: skip

LLAMA = changed(
    SMALL, norm_type="rmsnorm", position="rope", activation="swiglu", mlp_ratio=2.625, bias=False, tie_weights=False,
)  # fmt: skip

ARCHITECTURES: dict[str, Architecture] = {
    "teaching": Architecture(
        "Teaching GPT", "The from-scratch block of the lectures: per-head projections without bias, ReLU, untied head.",
        "Karpathy 2023, Let's build GPT", TEACHING,
    ),
    "nanogpt": Architecture(
        "nanoGPT", "One fused projection, GELU, no biases, head tied to the embedding.", "Karpathy 2022, nanoGPT", NANOGPT,
    ),
    "gpt1": Architecture(
        "GPT-1", "The original: the norm comes after the addition, and there is none before the head.",
        "Radford et al. 2018, Improving Language Understanding by Generative Pre-Training",
        changed(SMALL, norm_placement="post", activation="gelu_tanh", init="normal"),
    ),
    "gpt2": Architecture(
        "GPT-2", "Moved the norms in front of the sublayers and added a last one, so that deeper stacks train.",
        "Radford et al. 2019, Language Models are Unsupervised Multitask Learners", changed(SMALL, activation="gelu_tanh"),
    ),
    "gpt-neox": Architecture(
        "GPT-NeoX", "Attention and MLP read the same input in parallel, through two norms; a quarter of each head is rotated.",
        "Black et al. 2022, arXiv:2204.06745",
        changed(SMALL, layout="parallel_two_norms", position="rope", rope_fraction=0.25, tie_weights=False),
    ),
    "gpt-j": Architecture(
        "GPT-J", "A parallel block with one shared norm; RoPE rotates neighbouring dimensions.",
        "Wang and Komatsuzaki 2021, GPT-J-6B",
        changed(
            SMALL, layout="parallel", position="rope", rope_fraction=0.25, rope_interleaved=True, activation="gelu_tanh",
            qkv_bias=False, attn_out_bias=False, tie_weights=False, head_bias=True,
        ),
    ),
    "bloom": Architecture(
        "BLOOM", "ALiBi instead of position embeddings: attention scores fall with distance. A norm right after the embedding.",
        "Le Scao et al. 2022, arXiv:2211.05100", changed(SMALL, position="alibi", embd_norm=True, activation="gelu_tanh"),
    ),
    "llama": Architecture(
        "Llama", "RMSNorm, rotary positions, a gated MLP, shared key and value heads, no biases.",
        "Touvron et al. 2023, arXiv:2302.13971; arXiv:2307.09288", changed(LLAMA, n_kv_head=2),
    ),
    "mistral": Architecture(
        "Mistral", "Llama with a sliding window: tokens before it are seen only through the layers below.",
        "Jiang et al. 2023, arXiv:2310.06825", changed(LLAMA, n_kv_head=2, window=16),
    ),
    "gemma2": Architecture(
        "Gemma 2", "Norms before and after each sublayer, soft caps on scores, every other layer with a window.",
        "Gemma Team 2024, arXiv:2408.00118",
        changed(
            LLAMA, norm_placement="sandwich", activation="geglu_tanh", tie_weights=True, scale_embedding=True, n_kv_head=2,
            window=16, window_pattern="LG", attn_softcap=50.0, logit_softcap=30.0,
        ),
    ),
    "olmo2": Architecture(
        "OLMo 2", "Norms on the outputs of the sublayers instead of their inputs, and on queries and keys.",
        "OLMo Team 2024, arXiv:2501.00656", changed(LLAMA, norm_placement="output", qk_norm="full", norm_eps=1e-5),
    ),
    "qwen3": Architecture(
        "Qwen 3", "Llama with an RMSNorm on each head's queries and keys, which keeps attention scores in bounds.",
        "Qwen Team 2025, arXiv:2505.09388", changed(LLAMA, n_kv_head=2, qk_norm="head", head_dim=48),
    ),
}  # fmt: skip

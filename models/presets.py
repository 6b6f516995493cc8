"""Named architectures, as plain data. Knows nothing of training recipes."""

from models.config import ModelConfig

DEFAULT = ModelConfig()

# The from-scratch block of the teaching GPT: per-head projections without bias, ReLU, an untied head with a bias.
TEACHING = ModelConfig(
    n_layer=4, n_head=4, n_embd=64, block_size=32,
    activation="relu", qkv_bias=False, bias=True, tie_weights=False, head_bias=True,
    embd_dropout=0.0, init="normal",
)  # fmt: skip

# nanoGPT's block at the size of its CPU recipe.
NANOGPT = ModelConfig(n_layer=4, n_head=4, n_embd=128, block_size=64, bias=False, activation="gelu", init="gpt2")

PRESETS: dict[str, ModelConfig] = {"teaching": TEACHING, "nanogpt": NANOGPT}

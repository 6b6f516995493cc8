"""Named starting points for a whole run: an architecture with a recipe that suits it. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from models import presets as architectures
from playground.config import DataConfig, OptimConfig, RunConfig, TrainConfig


@dataclass(frozen=True)
class Preset:
    """A complete config and the one sentence that says why one would choose it."""

    title: str
    sentence: str
    config: RunConfig


_DEFAULT = RunConfig()

PRESETS: dict[str, Preset] = {
    "default": Preset(
        "Small GPT",
        "Four pre-norm layers that learn to write like the Python documentation in about a minute on two CPU cores.",
        _DEFAULT,
    ),
    **{
        name: Preset(known.title, f"{known.sentence} {known.paper}.", RunConfig(model=known.config))
        for name, known in architectures.ARCHITECTURES.items()
    },
    "nanogpt-cpu": Preset(
        "nanoGPT on a CPU",
        "nanoGPT's own recipe for machines without a GPU, on Tiny Shakespeare.",
        RunConfig(
            model=architectures.NANOGPT,
            data=DataConfig(source="tiny-shakespeare"),
            optim=OptimConfig(lr=1e-3, min_lr=1e-4, warmup_steps=100, beta1=0.9, beta2=0.99, weight_decay=0.1, grad_clip=1.0),
            train=TrainConfig(max_steps=2000, batch_size=12),
        ),
    ),
    "post-norm": Preset(
        "Post-norm, no warm-up",
        "The original placement, deep enough and rushed enough to show why pre-norm replaced it; add warm-up steps and compare.",
        RunConfig(
            model=_DEFAULT.model.model_copy(update={"norm_placement": "post", "n_layer": 12, "n_embd": 64}),
            optim=OptimConfig(warmup_steps=0, lr=3e-3),
            train=TrainConfig(max_steps=1000),
        ),
    ),
}

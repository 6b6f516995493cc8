"""Named starting points for a whole run: an architecture with a recipe that suits it. Plain data.

Each task has two: one that can learn it, and one of another architecture, all else the same, that cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models import presets as architectures
from models.config import ModelConfig
from models.knobs import Spec, changed, differences
from playground.config.optim import OptimConfig
from playground.config.run import RunConfig, TrainConfig
from playground.data.config import DataConfig, source_is_known
from playground.data.tasks import PREFIX, TASKS


@dataclass(frozen=True)
class Demonstration:
    """What a preset shows: that an architecture, in words, learns the task of a source, or that it does not."""

    source: str
    architecture: str
    learns: bool


@dataclass(frozen=True)
class Preset:
    """A complete config, the one sentence that says why one would choose it, and under which heading it is found."""

    title: str
    sentence: str
    config: RunConfig
    group: str
    shows: Demonstration | None = None


BEGIN, RECIPES, MODELS, LEARNT, NOT_LEARNT = GROUPS = (
    "Begin here", "Recipes", "Known models", "Tasks that the architecture learns", "Tasks that it cannot learn",
)  # fmt: skip
FIRST = ("teaching", "nanogpt")  # of the known models: the two that this playground starts from


@dataclass(frozen=True)
class Pair:
    """Settings of a task that one architecture can learn and another cannot: each as a label and what it changes of `SMALL`."""

    data: dict[str, Any]
    can: tuple[str, dict[str, Any]]
    cannot: tuple[str, dict[str, Any]]
    block_size: int
    steps: int = 1500
    lr: float = 3e-3
    batch_size: int = 64
    weight_decay: float = 0.1
    n_head: int = 4


SMALL = ModelConfig(n_layer=2, n_head=4, n_embd=64, dropout=0.0)
TWO, ONE = ("two layers", {}), ("one layer", {"n_layer": 1})
BLIND = ("one layer without positions", {"n_layer": 1, "position": "none"})
NO_ATTENTION = ("no attention", {"sublayers": "mlp"})
LOOKS_BACK = ("two layers, the first with a window of 2 symbols", {"window": 2, "window_pattern": "LG"})

PAIRS: dict[str, Pair] = {
    "copy": Pair({"length": 8, "alphabet": 8}, TWO, BLIND, block_size=34),
    "reverse": Pair({"length": 8, "alphabet": 8}, TWO, BLIND, block_size=34),
    "sort": Pair({"length": 8, "alphabet": 8}, TWO, NO_ATTENTION, block_size=34),
    "selective-copy": Pair({"length": 5, "alphabet": 8, "blanks": 8}, TWO, BLIND, block_size=30),
    "induction": Pair({"length": 16, "alphabet": 26}, TWO, ONE, block_size=52, steps=600, n_head=2),
    "recall": Pair({"pairs": 5, "alphabet": 8}, LOOKS_BACK, ONE, block_size=34, n_head=2),
    "addition": Pair({"digits": 2, "reverse_sum": True}, TWO, BLIND, block_size=20, steps=1000, batch_size=128),
    "modular-addition": Pair({"modulus": 31}, ("one layer", {"n_layer": 1}), NO_ATTENTION, block_size=8, batch_size=256),
    "parity": Pair({"length": 8}, ("attention and MLP", {"n_layer": 1}), ("no MLP", {"n_layer": 1, "sublayers": "attention"}),
                   block_size=20, batch_size=128),
    "majority": Pair({"length": 17}, ("one layer", {"n_layer": 1}), ("a window of 2 symbols", {"n_layer": 1, "window": 2}), block_size=40),
    "dyck": Pair({"length": 12, "brackets": 3}, TWO, NO_ATTENTION, block_size=40),
    "markov": Pair({"length": 40, "alphabet": 6, "order": 2}, ("one layer", {"n_layer": 1}), NO_ATTENTION, block_size=40),
    "bigram": Pair({"length": 60, "alphabet": 5}, TWO, ONE, block_size=60),
}  # fmt: skip


def _of_pair(name: str, pair: Pair, learns: bool) -> Preset:
    """One half of a pair as a preset."""
    words, changes = pair.can if learns else pair.cannot
    task = TASKS[PREFIX + name]
    judgement = "which is enough" if learns else "which is not enough"
    return Preset(
        f"{task.title}: {words}{'' if learns else ' (cannot)'}",
        f"{task.rule} With {words}, {judgement}. {task.paper}.",
        RunConfig(
            model=changed(SMALL, **{"block_size": pair.block_size, "n_head": pair.n_head} | changes),
            data=DataConfig(source=PREFIX + name, **pair.data),
            optim=OptimConfig(lr=pair.lr, warmup_steps=50, weight_decay=pair.weight_decay),
            train=TrainConfig(max_steps=pair.steps, batch_size=pair.batch_size, eval_interval=50),
        ),
        LEARNT if learns else NOT_LEARNT,
        Demonstration(PREFIX + name, words, learns),
    )


def data_for(source: str) -> dict:
    """The data settings that a source starts with: for a task those of its pair, for a text the defaults."""
    task = TASKS.get(source)
    config = DataConfig(source=source, **({} if task is None else PAIRS[task.name].data))
    return config.model_dump()


def with_source(base: dict, changes: dict) -> dict:
    """A preset's sections for changes that may name another source, which then starts from its own data settings."""
    data = changes.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    if not isinstance(source, str) or source == base["data"]["source"]:
        return base
    return base | {"data": data_for(source if source_is_known(source) is None else DataConfig().source)}


TALES = DataConfig(tokenizer="bpe")  # whole words are tokens: stories can be read after a minute
_DEFAULT = RunConfig(
    model=architectures.DEFAULT.model_copy(update={"block_size": 128}),
    data=TALES,
    optim=OptimConfig(lr=2e-3),
    train=TrainConfig(max_steps=1500, batch_size=6),
)

FAST = OptimConfig(
    name="muon", lr=0.01, rest_lr=0.015, momentum=0.8, ns_steps=4, warmup_steps=20, schedule="linear", min_lr=0.0, weight_decay=0.0,
    grad_clip=None,
)  # fmt: skip

PRESETS: dict[str, Preset] = {
    "default": Preset(
        "Small GPT",
        "Four pre-norm layers that learn to write short stories in about a minute on two CPU cores.",
        _DEFAULT,
        BEGIN,
    ),
    **{
        name: Preset(
            known.title, f"{known.sentence} {known.paper}.", RunConfig(model=known.config, data=TALES), BEGIN if name in FIRST else MODELS
        )
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
        RECIPES,
    ),
    "fast-cpu": Preset(
        "Fast on a CPU",
        "As many parameters as nanoGPT's CPU recipe, and its loss after a tenth of the steps: Muon, rotary positions, ReLU², QK-norm.",
        RunConfig(
            model=architectures.FAST,
            data=DataConfig(source="tiny-shakespeare"),
            optim=FAST,
            train=TrainConfig(max_steps=200, batch_size=12, eval_interval=50, checkpoint_interval=50),
        ),
        RECIPES,
    ),
    "nanogpt-gpu": Preset(
        "nanoGPT on a GPU",
        "nanoGPT's recipe for one GPU, on Tiny Shakespeare.",
        RunConfig(
            model=architectures.NANOGPT_GPU,
            data=DataConfig(source="tiny-shakespeare"),
            optim=OptimConfig(lr=1e-3, min_lr=1e-4, warmup_steps=100, beta1=0.9, beta2=0.99, weight_decay=0.1, grad_clip=1.0),
            train=TrainConfig(max_steps=5000, batch_size=64, eval_interval=250, checkpoint_interval=250),
        ),
        RECIPES,
    ),
    "fast-gpu": Preset(
        "Fast on a GPU",
        "The recipe of “Fast on a CPU” at the size of nanoGPT's GPU recipe.",
        RunConfig(
            model=changed(architectures.FAST, n_layer=6, n_head=6, n_embd=384, block_size=256, dropout=0.2),
            data=DataConfig(source="tiny-shakespeare"),
            optim=FAST,
            train=TrainConfig(max_steps=600, batch_size=64, eval_interval=100, checkpoint_interval=100),
        ),
        RECIPES,
    ),
    "post-norm": Preset(
        "Post-norm, no warm-up",
        "The original placement, deep and without warm-up: it shows why pre-norm replaced it. Add warm-up steps and compare.",
        RunConfig(
            model=architectures.DEFAULT.model_copy(update={"norm_placement": "post", "n_layer": 12, "n_embd": 64}),
            data=TALES,
            optim=OptimConfig(warmup_steps=0, lr=3e-3),
            train=TrainConfig(max_steps=1000),
        ),
        BEGIN,
    ),
    **{name: _of_pair(name, pair, True) for name, pair in PAIRS.items()},
    **{f"{name}-cannot": _of_pair(name, pair, False) for name, pair in PAIRS.items()},
}


def demonstrations(source: str) -> dict[str, Demonstration]:
    """By preset, what the presets of a task show: first that it is learnt."""
    found = {name: preset.shows for name, preset in PRESETS.items() if preset.shows is not None and preset.shows.source == source}
    return dict(sorted(found.items(), key=lambda each: not each[1].learns))


LONGEST_NAME = 64


def name_of(config: RunConfig, preset: str) -> str:
    """What a run is called that nobody has named: its preset, and in what it differs from it."""
    known = PRESETS.get(preset)
    if known is None:
        return config.summary
    found = differences(config, known.config)
    words = [in_words(spec, found[spec.path]) for spec in RunConfig.specs() if spec.path in found]
    if not words:
        return known.title
    return shortened(words, f"{known.title}: ") or f"{known.title}, {len(words)} changed"


def shortened(words: Sequence[str], before: str = "", longest: int = LONGEST_NAME) -> str:
    """As many of the words as a name has room for after `before`, and how many more there are; empty where there is no room for one."""
    for shown in range(len(words), 0, -1):
        more = f" and {len(words) - shown} more" if shown < len(words) else ""
        name = f"{before}{', '.join(words[:shown])}{more}"
        if len(name) <= longest:
            return name
    return ""


def in_words(spec: Spec, value: Any) -> str:
    """A setting with its value, as a name says it."""
    label = spec.knob.label
    if isinstance(value, bool):
        return label if value else f"no {label}"
    return f"{label} {spec.said(value)}"

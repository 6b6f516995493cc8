"""RunConfig: everything that decides what a run computes.

Imports no torch. What a host allows is in `settings`, what is recorded of a run in `store`.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import Field

from models import config as architecture
from models.choices import PARAMETRISATIONS, PLACEMENTS
from models.config import CompleteModel, ModelConfig
from models.knobs import Knobs, knob
from playground.config.optim import OPTIMIZERS, OptimConfig
from playground.data.config import DataConfig

TRAINING, RECORDING = "Training", "Recording"
MAX_PROBE_TEXT = 2000  # characters of a text that a model is looked at with, recorded or not


def run_has_an_end(max_steps: int | None, max_seconds: float | None) -> str | None:
    if max_steps is None and max_seconds is None:
        return "a run needs an end; set max_steps, max_seconds or both"
    return None


class TrainConfig(Knobs, frozen=True):
    """How long to train, how large a batch is, on which device, and how often to record."""

    RULES = (run_has_an_end,)

    max_steps: int | None = knob(
        2000, ge=1, le=10_000_000, open=True, group=TRAINING, label="steps", none_means="no limit",
        help="The run ends after this many optimizer steps.",
    )  # fmt: skip
    max_seconds: float | None = knob(
        None, gt=0, le=864_000, group=TRAINING, label="time limit", unit="seconds of training", none_means="no limit",
        help="The run ends after this much training time. Where no number of steps is set, the schedule spans this time.",
    )  # fmt: skip
    batch_size: int = knob(
        12, ge=1, le=4096, slider=(1, 256), step=1, open=True, group=TRAINING, label="batch", unit="sequences",
        help="How many sequences each batch holds.",
    )  # fmt: skip
    accumulation: int = knob(
        1, ge=1, le=1024, group=TRAINING, label="accumulation", unit="batches per step",
        help="Gradients of this many batches are averaged into one step: a larger batch in the same memory.",
    )  # fmt: skip
    seed: int = knob(
        1337, ge=0, le=2**31 - 1, group=TRAINING, label="seed",
        help="Seed of all random numbers. The same seed and configuration give the same run on the same machine.",
    )  # fmt: skip
    data_seed: int | None = knob(
        None, ge=0, le=2**31 - 1, group=TRAINING, label="seed of the order", none_means="the seed",
        help="Seed of the order in which passages or examples come. With one of its own, runs can differ in their first weights alone, or "
        "in this order alone.",
    )  # fmt: skip
    device: Literal["auto", "cpu", "cuda", "mps"] = knob(
        "auto", group=TRAINING, label="device", help="Where to compute. auto: a GPU if there is one, else the CPU.",
    )  # fmt: skip
    dtype: Literal["auto", "float32", "bfloat16"] = knob(
        "auto", group=TRAINING, label="precision",
        help="auto: bfloat16 where the device multiplies it natively, float32 elsewhere. Weights stay float32, and on a CPU all but "
        "the linear layers' products in training.",
        paper="Micikevicius et al. 2017, arXiv:1710.03740",
    )  # fmt: skip
    eval_interval: int = knob(
        200, ge=1, le=1_000_000, group=RECORDING, label="validate every", unit="steps",
        help="The held-out loss is measured on a fixed sample this often, or less often where that would cost over 3% of the training; "
        "and on the whole held-out text at the end.",
    )  # fmt: skip
    checkpoint_interval: int = knob(
        200, ge=1, le=1_000_000, group=RECORDING, label="checkpoint every", unit="steps",
        help="Weights are saved this often, to sample from and to go on from.",
    )  # fmt: skip
    log_interval: int = knob(
        5, ge=1, le=10_000, group=RECORDING, label="record every", unit="steps",
        help="Each point of the loss curve is the mean over this many steps.",
    )  # fmt: skip

    @property
    def order_seed(self) -> int:
        """Of the order of the data."""
        return self.seed if self.data_seed is None else self.data_seed


class ProbeConfig(Knobs, frozen=True):
    """What is observed while the run trains. Never changes what it learns."""

    text: str | None = knob(
        None, max_length=MAX_PROBE_TEXT, group=RECORDING, label="probe text", none_means="a line of the held-out text",
        help="The text on which attention and activations are recorded. Its first 64 tokens at most are used.",
    )  # fmt: skip
    interval: int = knob(
        20, ge=1, le=1_000_000, group=RECORDING, label="probe every", unit="steps at least",
        help="Attention and activations are recorded after 1, 2, 5, 10, 20, 50 … steps and then this often, or less often where that "
        "would cost over 1% of the training.",
    )  # fmt: skip
    sample_tokens: int = knob(
        100, ge=0, le=1000, group=RECORDING, label="live sample", unit="tokens",
        help="Length of the texts that the model writes from time to time while it trains. 0: none.",
    )  # fmt: skip


def text_fits_in_memory(train: TrainConfig, model: ModelConfig) -> str | None:
    tokens = train.batch_size * model.block_size
    if tokens > 2**21:
        return f"{train.batch_size} sequences of {model.block_size} tokens are {tokens:,} tokens at once; keep it under {2**21:,}"
    return None


def examples_fit_the_context(data: DataConfig, model: ModelConfig) -> str | None:
    needed = 0 if data.longest is None else data.longest - 1
    if needed > model.block_size:
        remedy = f"use model.block_size={needed} or more, or shorter examples"
        return f"the longest example needs a context of {needed} tokens, and there are {model.block_size}; {remedy}"
    return None


def parametrisation_suits_the_optimizer(optim: OptimConfig, model: ModelConfig) -> str | None:
    chosen = PARAMETRISATIONS[model.parametrisation]
    if chosen.hidden_rate == 0 or OPTIMIZERS[optim.name].entrywise:
        return None
    known = ", ".join(entry.label for entry in OPTIMIZERS.values() if entry.entrywise)
    return (
        f"{chosen.label} is given here for optimizers that scale each weight's step by itself ({known}), not for "
        f"{OPTIMIZERS[optim.name].label}; choose one of these, or the standard parametrisation"
    )


class RunConfig(Knobs, frozen=True):
    """A whole run: model, data, optimizer, training and probes."""

    RULES = (text_fits_in_memory, examples_fit_the_context, parametrisation_suits_the_optimizer)

    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    probe: ProbeConfig = Field(default_factory=ProbeConfig)

    @property
    def width(self) -> int:
        """Tokens of one training sequence: the context, or as many as the longest example of a task takes."""
        return self.model.block_size if (longest := self.data.longest) is None else longest - 1

    @property
    def tokens_per_step(self) -> int:
        return self.train.batch_size * self.train.accumulation * self.width

    @property
    def digest(self) -> str:
        """Identity of the config, hex; checkpoints carry it. A knob that is added later leaves it unchanged at its default."""
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:16]

    @property
    def warms_up_to_the_end(self) -> bool:
        """Whether its learning rate never reaches its peak, because the warm-up has as many steps as the run or more."""
        return self.train.max_steps is not None and self.optim.warmup_steps >= self.train.max_steps

    @property
    def summary(self) -> str:
        """A short human name, such as `4L 4H 128 pre-norm`."""
        model = self.model
        norm = f"{model.norm_placement}-norm" if PLACEMENTS[model.norm_placement].n_norms else "no norm"
        extras = [] if model.residual else ["no residual"]
        extras += [] if model.has_attention and model.has_mlp else [f"{model.sublayers} only"]
        task = [] if self.data.task is None else [f"{self.data.task.title}:"]
        return " ".join([*task, f"{model.n_layer}L {model.n_head}H {model.n_embd} {norm}", *extras])


class CompleteRun(RunConfig, frozen=True):
    """A run whose data are known, and with them its vocabulary: what `config.json` holds, and what can be built and counted."""

    model: CompleteModel = Field(default=...)


def complete(config: RunConfig, vocab_size: int, fingerprint: str | None) -> CompleteRun:
    """The run with what follows from its data."""
    model, data = architecture.complete(config.model, vocab_size), config.data.model_copy(update={"fingerprint": fingerprint})
    values: dict[str, Any] = {**dict(config), "model": model, "data": data}
    return CompleteRun.model_construct(**values)

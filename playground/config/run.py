"""RunConfig: everything that decides what a run computes.

Imports no torch. What a host allows is in `settings`, what is recorded of a run in `store`.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from models.config import ModelConfig
from models.knobs import Knobs, knob
from playground.data.config import DataConfig

OPTIMISER, TRAINING, RECORDING = "Optimiser", "Training", "Recording"


def floor_below_peak(min_lr: float | None, lr: float) -> str | None:
    if min_lr is not None and min_lr > lr:
        return f"min_lr={min_lr:g} is above lr={lr:g}; use at most {lr:g}, or leave it empty for a tenth of lr"
    return None


class OptimConfig(Knobs):
    """How a gradient becomes a change of the weights."""

    RULES = (floor_below_peak,)

    name: Literal["adamw", "muon", "sgd", "lion", "schedule_free"] = knob(
        "adamw", group=OPTIMISER, label="optimiser",
        help="AdamW scales each weight's step by its gradient's history; Muon makes the step of each matrix orthogonal, and leaves "
        "the rest to AdamW; SGD with momentum scales nothing; Lion takes only signs, and wants a rate 3 to 10 times lower; "
        "schedule-free AdamW averages its weights instead of lowering the rate.",
        paper="Loshchilov and Hutter 2017, arXiv:1711.05101; Muon: Jordan et al. 2024; Lion: Chen et al. 2023, arXiv:2302.06675; "
        "schedule-free: Defazio et al. 2024, arXiv:2405.15682",
        choice_labels={
            "adamw": "AdamW", "muon": "Muon and AdamW", "sgd": "SGD with momentum", "lion": "Lion", "schedule_free": "schedule-free AdamW",
        },
    )  # fmt: skip
    lr: float = knob(
        1e-3, gt=0, le=100, open=True, group=OPTIMISER, label="learning rate",
        help="Size of the steps at their largest. Too high and the loss jumps or diverges, too low and it crawls.",
    )  # fmt: skip
    warmup_steps: int = knob(
        100, ge=0, le=1_000_000, open=True, group=OPTIMISER, label="warm-up", unit="steps",
        help="Steps over which the learning rate rises from zero. Deep post-norm models need it.",
        paper="Xiong et al. 2020, arXiv:2002.04745",
    )  # fmt: skip
    schedule: Literal["constant", "linear", "cosine", "wsd"] = knob(
        "cosine", group=OPTIMISER, label="schedule", needs=("name", ("adamw", "muon", "sgd", "lion")),
        help="How the learning rate falls after the warm-up, until the end of the run.",
        paper="Loshchilov and Hutter 2016, arXiv:1608.03983 (cosine); Hu et al. 2024, arXiv:2404.06395 (warm-up, stable, decay)",
        choice_labels={"wsd": "stable, then linear decay"},
    )  # fmt: skip
    decay_share: float = knob(
        0.2, gt=0, le=1, slider=(0.05, 1), step=0.05, group=OPTIMISER, label="decay", unit="share of the run, at its end",
        help="How much of the run after the warm-up the rate falls; before that it stays.", needs=("schedule", ("wsd",)),
    )  # fmt: skip
    min_lr: float | None = knob(
        None, ge=0, le=100, group=OPTIMISER, label="final learning rate", none_means="a tenth of the learning rate",
        help="Where a falling schedule ends.",
    )  # fmt: skip
    weight_decay: float = knob(
        0.1, ge=0, le=10, slider=(0, 0.5), step=0.01, group=OPTIMISER, label="weight decay",
        help="Pull of matrices towards zero at each step, times the learning rate. Norms and biases are left alone.",
    )  # fmt: skip
    grad_clip: float | None = knob(
        1.0, gt=0, le=1e6, group=OPTIMISER, label="gradient clipping", none_means="off",
        help="The gradient is scaled down to at most this norm.", paper="Pascanu et al. 2012, arXiv:1211.5063",
    )  # fmt: skip
    beta1: float = knob(
        0.9, ge=0, lt=1, group=OPTIMISER, label="beta 1 or momentum",
        help="Share of the past kept in the running mean of gradients. Schedule-free: how near to the average gradients are taken.",
    )  # fmt: skip
    beta2: float = knob(
        0.99, ge=0, lt=1, group=OPTIMISER, label="beta 2", needs=("name", ("adamw", "muon", "lion", "schedule_free")),
        help="Share of the past kept in AdamW's running mean of squared gradients, and in Lion's of gradients.",
    )  # fmt: skip
    momentum: float = knob(
        0.95, ge=0, lt=1, group=OPTIMISER, label="Muon's momentum", needs=("name", ("muon",)),
        help="Share of the past kept in the gradients of matrices. Short runs like less of it.",
    )  # fmt: skip
    rest_lr: float | None = knob(
        None, gt=0, le=100, group=OPTIMISER, label="rate of what Muon leaves", none_means="the learning rate", needs=("name", ("muon",)),
        help="Learning rate of the embeddings, the head, norms and biases, which AdamW moves; scheduled alike.",
    )  # fmt: skip
    ns_steps: int = knob(
        5, ge=1, le=12, group=OPTIMISER, label="Newton-Schulz steps", needs=("name", ("muon",)),
        help="How often Muon's iteration brings a matrix of updates nearer to an orthogonal one. Fewer are quicker and rougher.",
    )  # fmt: skip


def run_has_an_end(max_steps: int | None, max_seconds: float | None) -> str | None:
    if max_steps is None and max_seconds is None:
        return "a run needs an end; set max_steps, max_seconds or both"
    return None


class TrainConfig(Knobs):
    """How long, how much at a time, and on what."""

    RULES = (run_has_an_end,)

    max_steps: int | None = knob(
        2000, ge=1, le=10_000_000, open=True, group=TRAINING, label="steps", none_means="no limit",
        help="The run ends after this many optimiser steps.",
    )  # fmt: skip
    max_seconds: float | None = knob(
        None, gt=0, le=864_000, group=TRAINING, label="time limit", unit="seconds of training", none_means="no limit",
        help="The run ends after this much training time. Without a number of steps the schedule spans it.",
    )  # fmt: skip
    batch_size: int = knob(
        12, ge=1, le=4096, slider=(1, 256), step=1, open=True, group=TRAINING, label="batch", unit="sequences",
        help="How many sequences are looked at before each gradient is applied.",
    )  # fmt: skip
    accumulation: int = knob(
        1, ge=1, le=1024, group=TRAINING, label="accumulation", unit="batches per step",
        help="Gradients of this many batches are averaged into one step: a larger batch in the same memory.",
    )  # fmt: skip
    seed: int = knob(
        1337, ge=0, le=2**31 - 1, group=TRAINING, label="seed",
        help="Start of all randomness. The same seed and configuration give the same run on the same machine.",
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
        help="The held-out loss is measured on a fixed span this often, and on the whole held-out text at the end.",
    )  # fmt: skip
    checkpoint_interval: int = knob(
        200, ge=1, le=1_000_000, group=RECORDING, label="checkpoint every", unit="steps",
        help="Weights are saved this often, to sample from and to go on from.",
    )  # fmt: skip
    log_interval: int = knob(
        5, ge=1, le=10_000, group=RECORDING, label="record every", unit="steps",
        help="Each point of the loss curve is the mean over this many steps.",
    )  # fmt: skip


class ProbeConfig(Knobs):
    """What is looked at while the run trains. Never changes what it learns."""

    text: str | None = knob(
        None, max_length=2000, group=RECORDING, label="probe text", none_means="a line of the held-out text",
        help="The text on which attention and activations are recorded. Its first 64 tokens at most are used.",
    )  # fmt: skip
    interval: int = knob(
        20, ge=1, le=1_000_000, group=RECORDING, label="probe every", unit="steps at least",
        help="Attention and activations are recorded this often, or less often where that would cost over 1% of the time.",
    )  # fmt: skip
    sample_tokens: int = knob(
        100, ge=0, le=1000, group=RECORDING, label="live sample", unit="tokens",
        help="Length of the text that the model writes now and then while it trains. 0: none.",
    )  # fmt: skip


def text_fits_in_memory(train: TrainConfig, model: ModelConfig) -> str | None:
    tokens = train.batch_size * model.block_size
    if tokens > 2**21:
        return f"{train.batch_size} sequences of {model.block_size} tokens are {tokens:,} tokens at once; keep it under {2**21:,}"
    return None


def examples_fit_the_context(data: DataConfig, model: ModelConfig) -> str | None:
    needed = 0 if data.task is None else data.task.longest(data.params) - 1
    if needed > model.block_size:
        remedy = f"use model.block_size={needed} or more, or shorter examples"
        return f"the longest example needs a context of {needed} tokens, and there are {model.block_size}; {remedy}"
    return None


class RunConfig(Knobs):
    """A whole run: what is built, from what it learns, and how."""

    RULES = (text_fits_in_memory, examples_fit_the_context)

    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    probe: ProbeConfig = Field(default_factory=ProbeConfig)

    @property
    def width(self) -> int:
        """Tokens of one training sequence: the context, or as many as the longest example of a task takes."""
        return self.model.block_size if self.data.task is None else self.data.task.longest(self.data.params) - 1

    @property
    def tokens_per_step(self) -> int:
        return self.train.batch_size * self.train.accumulation * self.width

    @property
    def digest(self) -> str:
        """Identity of the config, hex; checkpoints carry it. A knob that is added later changes none."""
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:16]

    @property
    def summary(self) -> str:
        """A short human name, such as `4L 4H 128 pre-norm`."""
        model = self.model
        norm = "no norm" if model.norm_placement == "none" else f"{model.norm_placement}-norm"
        extras = [] if model.residual else ["no residual"]
        extras += [] if model.sublayers == "attention+mlp" else [f"{model.sublayers} only"]
        task = [] if self.data.task is None else [f"{self.data.task.title}:"]
        return " ".join([*task, f"{model.n_layer}L {model.n_head}H {model.n_embd} {norm}", *extras])

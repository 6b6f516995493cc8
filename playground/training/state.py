"""The state of a training run: everything that determines its next step.

Knows nothing of recording. `step()` is the whole training step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.gpt import GPT
from models.linear import accelerate
from playground.config.run import CompleteRun
from playground.data import sample
from playground.data.batches import UNSCORED, Chunk
from playground.data.dataset import Data
from playground.inside.hooks import evaluating
from playground.training.checkpoints import (
    CheckpointError,
    CheckpointInfo,
    Checkpoints,
    Snapshot,
    model_weights,
    optimizer_tensors,
    restore_optimizer,
    set_weights,
)
from playground.training.cuda_graph import StepRunner
from playground.training.devices import autocast, choose_dtype, seed_draws, set_up
from playground.training.optim import Schedule, build_optimizer, set_rate
from playground.training.optimizers import Averaging


@dataclass(frozen=True)
class Score:
    """How well a model does on held-out data: `loss` in nats per token over `n_tokens` scored tokens, and as bits per UTF-8 byte
    of the text they stand for; of a task, the share of the answers' tokens that are the model's likeliest token, and of answers all
    of whose tokens are (so that greedy decoding would give exactly this answer). On the held-out sample also the standard `error` of
    `loss` as an estimate of that on the whole split, and the nats of each passage or example, by which runs can be compared in pairs."""

    loss: float
    n_tokens: int
    bits_per_byte: float
    token_accuracy: float | None = None
    answer_accuracy: float | None = None
    n_examples: int = 0
    error: float = 0.0
    by_group: tuple[float, ...] = ()


class Step(NamedTuple):
    """The result of one update: the loss before it, the gradient norm before clipping (both on the device), the rate used."""

    loss: Tensor
    norm: Tensor
    lr: float


class TrainState:
    """Model, optimizer, position in the data, random state, and the counts of steps and seconds.

    A fresh one depends on the config alone; `save` and `restore` make a continued run
    bit-identical to an undisturbed one on the same machine, torch and thread count.
    """

    def __init__(self, config: CompleteRun, data: Data, device: torch.device):
        self.config, self.data, self.device = config, data, device
        set_up(device)
        torch.manual_seed(config.train.seed)
        self.model = GPT(config.model).to(device).train()
        dtype = choose_dtype(config.train.dtype, device)
        accelerate(self.model, dtype)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.schedule = Schedule(config.optim, config.train.max_steps, config.train.max_seconds)
        self.batches = data.batches(config.train.batch_size, config.width, config.train.order_seed, device)
        self.n_bytes = torch.from_numpy(data.tokenizer.n_bytes).to(device)  # (V,)
        self.precision = autocast(device, dtype)
        self.steps_done = 0
        self.seconds = 0.0
        self.runner = StepRunner(self.batches, config.train.accumulation)

    @property
    def tokens(self) -> int:
        """Tokens trained on so far."""
        return self.steps_done * self.config.tokens_per_step

    def step(self, watched: bool = False) -> Step:
        """One update. One that is `watched` by hooks is never the replay of a CUDA graph."""
        lr = self.next_rate()
        loss, norm = self.runner.take(self._update, watched)
        return self.took(loss, norm, lr)

    def next_rate(self) -> float:
        """Set the learning rate of the next update; returns it. Also seeds what the update draws on a GPU."""
        if self.device.type == "cuda":  # by seed and step alone, so that eager, recorded and resumed steps have the same masks
            seed_draws(self.device, self.config.train.seed, self.steps_done)
        lr = self.schedule.lr(self.steps_done, self.seconds)
        set_rate(self.optimizer, lr)
        return lr

    def took(self, loss: Tensor, norm: Tensor, lr: float) -> Step:
        """Count an update that has been taken."""
        self.steps_done += 1
        return Step(loss, norm, lr)

    def _update(self, batch: Callable[[int], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The step itself, with the i-th of its batches from `batch(i)`: the mean loss, and the norm of its gradient."""
        n, losses = self.config.train.accumulation, []
        self.optimizer.zero_grad(set_to_none=True)
        for i in range(n):
            loss = self.loss(*batch(i)) / n
            loss.backward()
            losses.append(loss.detach())
        return reduce(torch.add, losses), self.descend()

    def descend(self) -> Tensor:
        """Clip the accumulated gradient and take the optimizer's step; returns the norm before clipping."""
        clip = self.config.optim.grad_clip
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), float("inf") if clip is None else clip)
        self.optimizer.step()
        return norm

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:  # 2 x (B, T) -> ()
        """Mean loss in nats per token."""
        return F.cross_entropy(self._logits(inputs).view(-1, self.config.model.vocab_size), targets.reshape(-1))

    def first_batch_loss(self) -> Tensor:  # -> ()
        """The loss on the batch of the next step, which leaves that step as it would have been."""
        at = self.batches.state
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            loss = self.loss(*self.batches.next())
        self.batches.state = at
        return loss

    def _logits(self, inputs: Tensor) -> Tensor:  # (B, T) -> (B, T, V)
        with self.precision:
            return self.model(inputs)

    def held_out(self) -> Score:
        """The score on the whole held-out part."""
        return self._score(self.data.chunks(self.config.width, self.device))

    def on_sample(self) -> Score:
        """The score on the held-out sample, which is the same for all runs on the same data."""
        return self._score(self.sample)

    @cached_property
    def sample(self) -> list[Chunk]:
        return list(self.data.sample(self.config.width, self.device))

    @property
    def n_validated(self) -> int:
        """Tokens that go through the model in each validation while it trains."""
        return self.data.n_validated(self.config.width, self.config.model.block_size)

    def by_size(self, at_most: int | None = None) -> dict[int, Score]:
        """Of a task: the score on (`at_most` so many) unseen examples of each size that the context holds, also beyond those trained on."""
        sized = self.data.sized_chunks(self.config.model.block_size, self.device, at_most)
        return {size: self._score(chunks) for size, chunks in sized.items()}

    def evaluation_weights(self) -> AbstractContextManager:
        """Inside the `with` the model has the weights to evaluate, sample from and save: the average, of an optimizer that averages."""
        return self.optimizer.averaged() if isinstance(self.optimizer, Averaging) else nullcontext()

    @torch.no_grad()
    def answers(self, count: int) -> list[tuple[str, str, str]]:
        """Of a task: (prompt, right answer, the model's likeliest tokens) of the first held-out examples. Each token is
        predicted from the right tokens before it, so up to the first mistake this is what greedy decoding writes."""
        with self.evaluation_weights(), evaluating(self.model):
            return self.data.answers(count, self.config.width, self._choices)

    def _choices(self, tokens: np.ndarray) -> np.ndarray:  # (N, L) -> (N, L)
        """The likeliest token at each position except the first."""
        ids = torch.from_numpy(tokens.astype(np.int64)).to(self.device)
        return torch.cat([ids[:, :1], self._logits(ids[:, :-1]).argmax(-1)], dim=1).cpu().numpy()

    @torch.no_grad()
    def _score(self, chunks: Iterable[Chunk]) -> Score:
        nats, tokens, n_bytes, right, asked, solved, examples = torch.zeros(7, dtype=torch.float64)
        groups = torch.zeros(2, max(sample.PASSAGES, sample.EXAMPLES), dtype=torch.float64)  # nats and tokens of each
        with self.evaluation_weights(), evaluating(self.model):
            for inputs, targets, answers, of in chunks:
                logits = self._logits(inputs)
                scored = targets != UNSCORED
                losses = F.cross_entropy(logits.view(-1, logits.size(-1)).float(), targets.reshape(-1), reduction="none").cpu().double()
                nats += losses.sum()
                tokens += scored.sum().cpu()
                n_bytes += self.n_bytes[targets[scored]].sum().cpu()
                if of is not None:
                    counted = scored.flatten().cpu()
                    pairs = torch.stack([losses, counted.double()])[:, counted]
                    groups.index_add_(1, of.flatten().cpu()[counted], pairs)
                if answers is not None:
                    hits = logits.argmax(-1) == targets  # (B, T)
                    right += (hits & answers).sum().cpu()
                    asked += answers.sum().cpu()
                    solved += (hits | ~answers).all(1).sum().cpu()
                    examples += len(targets)
        by_group = groups[:, groups[1] > 0].numpy()
        return Score(
            loss=(nats / tokens).item(),
            n_tokens=int(tokens),
            bits_per_byte=(nats / n_bytes).item() / math.log(2),
            token_accuracy=(right / asked).item() if asked else None,
            answer_accuracy=(solved / examples).item() if examples else None,
            n_examples=int(examples),
            error=sample.standard_error(by_group[0], by_group[1], self.data.n_scored(self.config.width)) if by_group.size else 0.0,
            by_group=tuple(by_group[0].tolist()),
        )

    def snapshot(self, train_loss: float | None, eval_loss: float | None, copy: bool = False) -> Snapshot:
        """What a checkpoint holds, from which `restore` goes on exactly. On a CPU its tensors are those that train on, unless `copy`."""
        state = {"batches": self.batches.state, "rng.cpu": torch.get_rng_state(), **optimizer_tensors(self.optimizer)}
        if self.device.type == "mps":
            state["rng.mps"] = torch.mps.get_rng_state()
        info = CheckpointInfo(
            step=self.steps_done,
            tokens=self.tokens,
            seconds=self.seconds,
            warmup_ended_s=self.schedule.warmup_ended_s,
            train_loss=train_loss,
            eval_loss=eval_loss,
            digest=self.config.digest,
            torch=torch.__version__,
            threads=torch.get_num_threads(),
        )
        metadata = {"config": self.config.model_dump_json(), "tokenizer": self.data.tokenizer.to_json(), "step": str(self.steps_done)}
        with self.evaluation_weights():
            weights = model_weights(self.model)
        if copy and self.device.type == "cpu":
            weights, state = ({name: tensor.clone() for name, tensor in tensors.items()} for tensors in (weights, state))
        return Snapshot(info, weights, state, metadata)

    def save(self, checkpoints: Checkpoints, train_loss: float | None, eval_loss: float | None) -> None:
        """Publish a checkpoint. Raises OSError on a full disk."""
        checkpoints.save(self.snapshot(train_loss, eval_loss))

    def restore(self, checkpoints: Checkpoints, info: CheckpointInfo) -> None:
        """Go back to a checkpoint of this very config; raises CheckpointError."""
        if info.digest != self.config.digest:
            raise CheckpointError(f"checkpoint {info.step} belongs to another configuration")
        state = self.start_from(checkpoints, info)
        torch.set_rng_state(state["rng.cpu"])
        if "rng.mps" in state and self.device.type == "mps":
            torch.mps.set_rng_state(state["rng.mps"])
        self.steps_done, self.seconds = info.step, info.seconds
        self.schedule.warmup_ended_s = info.warmup_ended_s

    def start_from(self, checkpoints: Checkpoints, info: CheckpointInfo) -> dict[str, Tensor]:
        """Take over a run's weights, optimizer state and position in the data, but not its count of
        steps; returns the whole saved state. Raises CheckpointError where the model is another one."""
        self.start_from_weights(checkpoints, info.step)
        state, source = checkpoints.state(info.step), checkpoints.state_path(info.step).name
        for name in ("batches", "rng.cpu"):
            if name not in state:
                raise CheckpointError(f"{source} is not the state of a run: it lacks {name}")
        restore_optimizer(self.optimizer, state, source)
        self.batches.state = state["batches"]
        return state

    def start_from_weights(self, checkpoints: Checkpoints, step: int) -> None:
        """Take over a run's weights alone. Raises CheckpointError where the model is another one."""
        set_weights(self.model, checkpoints.weights(step), checkpoints.weights_path(step).name)

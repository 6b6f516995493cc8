"""The state of a training run: all that decides what its next step computes.

Knows nothing of recording. `step()` is the whole training step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.gpt import GPT
from playground.config import RunConfig
from playground.data.batches import Batches, windows
from playground.data.split import Split
from playground.training.checkpoints import (
    CheckpointError,
    CheckpointInfo,
    Checkpoints,
    model_weights,
    optimizer_tensors,
    restore_optimizer,
    set_weights,
)
from playground.training.devices import autocast, choose_dtype
from playground.training.optim import Schedule, build_optimizer


class TrainState:
    """Model, optimiser, place in the data, random state, and the counts of steps and seconds.

    A fresh one is decided by the config alone; `save` and `restore` make a continued run
    bit-identical to an undisturbed one on the same machine, torch and thread count.
    """

    def __init__(self, config: RunConfig, split: Split, device: torch.device):
        self.config, self.split, self.device = config, split, device
        torch.manual_seed(config.train.seed)
        self.model = GPT(config.model).to(device).train()
        self.optimizer = build_optimizer(self.model, config.optim)
        self.schedule = Schedule(config.optim, config.train.max_steps, config.train.max_seconds)
        self.batches = Batches(split.train, config.train.batch_size, config.model.block_size, config.train.seed, device)
        self.precision = autocast(device, choose_dtype(config.train.dtype, device))
        self.steps_done = 0
        self.seconds = 0.0

    @property
    def tokens(self) -> int:
        """Tokens trained on so far."""
        return self.steps_done * self.config.tokens_per_step

    def step(self) -> tuple[Tensor, Tensor, float]:
        """One update: the loss before it, the gradient norm before clipping (both on the device), the rate used."""
        lr = self.schedule.lr(self.steps_done, self.seconds)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self._gradients()
        clip = self.config.optim.grad_clip
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), float("inf") if clip is None else clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        return loss, norm, lr

    def _gradients(self) -> Tensor:
        """Accumulate the gradients of one step; returns the mean loss."""
        n = self.config.train.accumulation
        total = None
        for _ in range(n):
            loss = self._loss(*self.batches.next()) / n
            loss.backward()
            total = loss.detach() if total is None else total + loss.detach()
        return total

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:  # 2 x (B, T) -> ()
        with self.precision:
            logits = self.model(inputs)  # (B, T, V)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))

    @torch.no_grad()
    def held_out_loss(self, max_tokens: int | None = None) -> tuple[float, int]:
        """Mean loss in nats per token over non-overlapping windows of the held-out split, and how many
        tokens that were: all of them, or with `max_tokens` always the same few, spread over the whole split."""
        width = self.config.model.block_size
        at_most = None if max_tokens is None else max(1, max_tokens // width)
        self.model.eval()
        total, count = torch.zeros((), dtype=torch.float64), 0
        for inputs, targets in windows(self.split.held_out, width, max(1, 8192 // width), self.device, at_most):
            total += self._loss(inputs, targets).cpu().double() * targets.numel()
            count += targets.numel()
        self.model.train()
        return (total / count).item(), count

    def save(self, checkpoints: Checkpoints, train_loss: float | None, val_loss: float | None) -> None:
        """Publish a checkpoint from which `restore` goes on exactly. Raises OSError on a full disk."""
        state = {"batches": self.batches.state, "rng.cpu": torch.get_rng_state(), **optimizer_tensors(self.optimizer)}
        if self.device.type == "cuda":
            state["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        info = CheckpointInfo(
            step=self.steps_done,
            tokens=self.tokens,
            seconds=self.seconds,
            warmup_ended_s=self.schedule.warmup_ended_s,
            train_loss=train_loss,
            val_loss=val_loss,
            digest=self.config.digest,
            torch=torch.__version__,
            threads=torch.get_num_threads(),
        )
        metadata = {"config": self.config.model_dump_json(), "tokenizer": self.split.tokenizer.to_json(), "step": str(self.steps_done)}
        checkpoints.save(info, model_weights(self.model), state, metadata)

    def restore(self, checkpoints: Checkpoints, info: CheckpointInfo) -> None:
        """Go back to a checkpoint of this very config; raises CheckpointError."""
        if info.digest != self.config.digest:
            raise CheckpointError(f"checkpoint {info.step} belongs to another configuration")
        state = self.start_from(checkpoints, info)
        torch.set_rng_state(state["rng.cpu"])
        if "rng.cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["rng.cuda"], self.device)
        self.steps_done, self.seconds = info.step, info.seconds
        self.schedule.warmup_ended_s = info.warmup_ended_s

    def start_from(self, checkpoints: Checkpoints, info: CheckpointInfo) -> dict[str, Tensor]:
        """Take over a run's weights, optimiser state and place in the data, but not its count of
        steps; returns the whole saved state. Raises CheckpointError where the model is another one."""
        set_weights(self.model, checkpoints.weights(info.step), checkpoints.weights_path(info.step).name)
        state, source = checkpoints.state(info.step), checkpoints.state_path(info.step).name
        for name in ("batches", "rng.cpu"):
            if name not in state:
                raise CheckpointError(f"{source} is not the state of a run: it lacks {name}")
        restore_optimizer(self.optimizer, state, source)
        self.batches.state = state["batches"]
        return state

"""Checkpoints of one run as files. Nothing is ever pickled.

A checkpoint is three files: the weights, the rest of the training state, and information in JSON, which is published last:
without it the checkpoint does not exist. `paths` has the names of the files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from models.config import ModelConfig
from models.gpt import GPT
from playground.system.files import evenly, publish, publish_by
from playground.training import paths
from playground.training.errors import CheckpointError

KEEP_WEIGHTS = 50
KEEP_STATES = 2
KEEP_BYTES, KEEP_LARGE = 600_000_000, 3  # where 50 would take more than so many bytes, fewer are kept, but never fewer than three


@dataclass(frozen=True)
class CheckpointInfo:
    """What is known of a checkpoint. Losses in nats per token, `eval_loss` on the held-out sample; `seconds` of training."""

    step: int
    tokens: int
    seconds: float
    warmup_ended_s: float
    train_loss: float | None
    eval_loss: float | None
    digest: str
    torch: str
    threads: int


class Snapshot(NamedTuple):
    """What a checkpoint holds: `weights` and the rest of the training `state` by name, on the CPU, and the `metadata` of the weights."""

    info: CheckpointInfo
    weights: dict[str, Tensor]
    state: dict[str, Tensor]
    metadata: dict[str, str]


class Checkpoints:
    """The checkpoint folder of one run."""

    def __init__(self, folder: Path):
        self.folder = folder

    def weights_path(self, step: int) -> Path:
        return paths.weights(self.folder, step)

    def state_path(self, step: int) -> Path:
        return paths.state(self.folder, step)

    def info_path(self, step: int) -> Path:
        return paths.info(self.folder, step)

    def save(self, snapshot: Snapshot) -> None:
        """Publish a checkpoint, then thin out older ones. Raises OSError (a full disk) with the older ones intact."""
        info, weights, state, metadata = snapshot
        self.folder.mkdir(parents=True, exist_ok=True)
        publish_tensors(self.weights_path(info.step), weights, metadata)
        publish_tensors(self.state_path(info.step), state)
        publish(self.info_path(info.step), json.dumps(asdict(info)).encode())
        self._thin()

    def list(self) -> list[CheckpointInfo]:
        """Those that exist, oldest first."""
        infos = []
        for step in paths.checkpoint_steps(self.folder):
            with contextlib.suppress(FileNotFoundError):
                infos.append(_info(json.loads(self.info_path(step).read_text())))
        return infos

    def newest_to_resume(self) -> CheckpointInfo | None:
        """The newest checkpoint from which training can resume: one whose training state is still there."""
        return next((info for info in reversed(self.list()) if self.state_path(info.step).exists()), None)

    def weights(self, step: int) -> dict[str, Tensor]:
        return read_tensors(self.weights_path(step))

    def state(self, step: int) -> dict[str, Tensor]:
        return read_tensors(self.state_path(step))

    def drop_after(self, step: int) -> None:
        """Remove checkpoints after `step`, at which a run resumes, and the files of checkpoints that were never published."""
        infos = {info.step for info in self.list()}
        found = {step for step, _ in paths.tensor_files(self.folder)}
        for other in (infos | found) - {known for known in infos if known <= step}:
            self._remove(other)

    def _thin(self) -> None:
        infos = self.list()
        for info in infos[:-KEEP_STATES]:
            self.state_path(info.step).unlink(missing_ok=True)
        scored = [(info.eval_loss, info.step) for info in infos if info.eval_loss is not None]
        best = [min(scored)[1]] if scored else []
        always = [*best, *(info.step for info in infos[-KEEP_STATES:])]
        kept = evenly([info.step for info in infos], self._how_many(infos[-1].step), always)
        for info in infos:
            if info.step not in kept:
                self._remove(info.step)

    def _how_many(self, step: int) -> int:
        """How many checkpoints are kept that are as large as this one."""
        return max(KEEP_LARGE, min(KEEP_WEIGHTS, KEEP_BYTES // max(1, self.weights_path(step).stat().st_size)))

    def _remove(self, step: int) -> None:
        """The json first, so that a half-removed checkpoint no longer exists."""
        for path in (self.info_path(step), self.state_path(step), self.weights_path(step)):
            path.unlink(missing_ok=True)


def _info(known: dict) -> CheckpointInfo:
    """Of a checkpoint's JSON; earlier versions called the loss by another name."""
    if "val_loss" in known:
        known["eval_loss"] = known.pop("val_loss")
    return CheckpointInfo(**known)


def publish_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Publish tensors as a safetensors file without a copy of them in memory. Raises OSError."""

    def write(name: str) -> None:
        try:
            save_file(tensors, name, metadata)
        except SafetensorError as error:  # has the number of the system's error only in its words
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error

    publish_by(path, write)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Raises CheckpointError where the file is missing, truncated or no safetensors file."""
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path.name} is not there") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} is damaged or not a safetensors file ({error})") from None


def model_weights(model: GPT) -> dict[str, Tensor]:
    """All parameters by name on the CPU; those that are tied or shared once, by their first name."""
    return {name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()}


def set_weights(model: GPT, weights: dict[str, Tensor], source: str) -> None:
    """Put weights into a model; raises CheckpointError, naming `source`, where they are not this model's."""
    own = model_weights(model)
    missing, foreign = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    wrong = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    for names, what in ((missing, "lacks"), (foreign, "has a foreign"), (sorted(wrong), "has another shape of")):
        if names:
            raise CheckpointError(f"{source} is not a checkpoint of this model: it {what} {names[0]}")
    model.load_state_dict(weights, strict=False)


def load_model(config: ModelConfig, path: Path, device: str = "cpu") -> GPT:
    """A model in eval mode with the weights of a file; raises CheckpointError."""
    model = GPT(config)
    set_weights(model, read_tensors(path), path.name)
    return model.to(device).eval()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's running state as named CPU tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"optim.{index}.{name}": value.detach().cpu().contiguous()
        for index, entries in state.items()
        for name, value in entries.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], source: str) -> None:
    """The inverse of `optimizer_tensors`; raises CheckpointError, naming `source`, where they are not this optimizer's."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optim."):
            _, index, name = key.split(".")
            if int(index) >= len(parameters) or (value.dim() and value.shape != parameters[int(index)].shape):
                raise CheckpointError(f"{source} is not the state of this run: {key} is of another model")
            entries.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})

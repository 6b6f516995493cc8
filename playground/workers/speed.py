"""How fast this machine trains: measured once per root by a standby worker, for `config/estimate.py` to forecast times from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from models.config import CompleteModel
from playground.config import estimate
from playground.config.estimate import KINDS, Machine
from playground.config.optim import OptimConfig
from playground.config.run import CompleteRun, TrainConfig
from playground.data.dataset import TextData
from playground.data.tokenizers import ByteTokenizer
from playground.runs import store
from playground.runs.store import Store

N_STEPS = 6  # of each shape, in turns, so that what else the machine does for a moment hits few of one; the fastest counts
SHAPES: tuple[dict, ...] = (
    {"n_layer": 1, "n_embd": 8, "batch_size": 1, "block_size": 8},
    {"n_layer": 6, "n_embd": 8, "batch_size": 1, "block_size": 8},
    {"n_layer": 2, "n_embd": 32, "batch_size": 24, "block_size": 64},
    {"n_layer": 1, "n_embd": 32, "batch_size": 12, "block_size": 64, "vocab_size": 2000},
    {"n_layer": 2, "n_embd": 64, "batch_size": 4, "block_size": 384},
    {"n_layer": 4, "n_embd": 128, "batch_size": 12, "block_size": 64},
    {"n_layer": 2, "n_embd": 128, "batch_size": 48, "block_size": 64},
    {"n_layer": 1, "n_embd": 512, "batch_size": 8, "block_size": 64},
    {"n_layer": 2, "n_embd": 512, "batch_size": 1, "block_size": 8},
    {"n_layer": 2, "n_embd": 64, "batch_size": 8, "block_size": 64, "dropout": 0.1},
    {"n_layer": 2, "n_embd": 128, "batch_size": 4, "block_size": 32, "optimizer": "muon"},
)


def measure_once(root: Path, threads: int) -> None:
    """Measure the machine's speed once per root, and only while no run trains or waits; the result is kept in the root."""
    if estimate.load(root) is None and not Store(root).runs_in(store.IN_PROGRESS):
        estimate.save(root, measure(threads))


def measure(threads: int) -> Machine:
    """Time a few training steps of small models that differ in what their steps are made of, and solve for what each kind of work costs.
    Takes about three seconds."""
    import numpy as np
    from scipy.optimize import nnls

    configs = [_config(**shape) for shape in SHAPES]
    seconds = np.array(_measured_steps(configs))
    amounts = [estimate.work(config) for config in configs]
    # Relative errors count, and no work takes less than no time.
    costs, _ = nnls(np.array([[each[kind] for kind in KINDS] for each in amounts]) / seconds[:, None], np.ones(len(seconds)))
    return Machine(threads, dict(zip(KINDS, costs.tolist(), strict=True)))


def _config(
    n_layer: int, n_embd: int, batch_size: int, block_size: int, vocab_size: int = 256, dropout: float = 0.0, optimizer: str = "adamw"
) -> CompleteRun:
    model = CompleteModel(
        n_layer=n_layer, n_embd=n_embd, n_head=max(1, n_embd // 32), block_size=block_size, vocab_size=vocab_size, dropout=dropout
    )
    return CompleteRun(model=model, train=TrainConfig(batch_size=batch_size), optim=OptimConfig(name=optimizer))


def _measured_steps(configs: Sequence[CompleteRun]) -> list[float]:
    """The fastest training step of each, in seconds that this thread computed: alone on the machine these are those of the clock (to 6%),
    and beside others they are not what the others took."""
    import numpy as np
    import torch

    from playground.training.state import TrainState

    def state(config: CompleteRun) -> TrainState:
        ids = np.arange(20 * config.model.block_size, dtype=np.uint8) % 64
        return TrainState(config, TextData(ids, ids, ByteTokenizer()), torch.device("cpu"))

    states, fastest = [state(config) for config in configs], [float("inf")] * len(configs)
    for _ in range(N_STEPS):
        for i, each in enumerate(states):
            start = time.thread_time()
            each.step()
            fastest[i] = min(fastest[i], time.thread_time() - start)
    return fastest

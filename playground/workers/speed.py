"""How fast this machine trains: measured once per root by a standby worker, for `config/estimate.py` to forecast times from."""

from __future__ import annotations

import time
from pathlib import Path

from models.config import CompleteModel, flops_per_token
from playground.config import estimate
from playground.config.estimate import TOKENS, WIDTHS, Machine
from playground.config.run import CompleteRun, TrainConfig
from playground.data.dataset import TextData
from playground.data.tokenizers import ByteTokenizer
from playground.runs import store
from playground.runs.store import Store


def measure_once(root: Path, threads: int) -> None:
    """Measure the machine's speed once per root, and only while no run trains or waits; the result is kept in the root."""
    if estimate.load(root) is None and not Store(root).runs_in(store.IN_PROGRESS):
        estimate.save(root, measure(threads))


def measure(threads: int) -> Machine:
    """Time a few training steps of small models. Takes about a second."""
    tiny = _measured_step(CompleteModel(n_layer=4, n_embd=8, n_head=2, block_size=8, vocab_size=64), batch_size=1)
    layer_s = tiny / 4
    speeds = []
    for width in WIDTHS:
        model = CompleteModel(n_layer=2, n_embd=width, block_size=64, vocab_size=128)
        seconds = max(_measured_step(model, batch_size=TOKENS // 64) - 2 * layer_s, 1e-6)
        speeds.append(3 * flops_per_token(model) * TOKENS / seconds)
    return Machine(threads, layer_s, tuple(speeds))


def _measured_step(model: CompleteModel, batch_size: int) -> float:
    """The fastest of a few training steps, in seconds."""
    import numpy as np
    import torch

    from playground.training.state import TrainState

    config = CompleteRun(model=model, train=TrainConfig(batch_size=batch_size))
    ids = np.arange(5000, dtype=np.uint8) % 64
    state = TrainState(config, TextData(ids, ids, ByteTokenizer()), torch.device("cpu"))
    times = []
    for _ in range(6):
        start = time.perf_counter()
        state.step()
        times.append(time.perf_counter() - start)
    return min(times)

"""The training loops that `bench` measures, each in its own process: `python -m playground.bench.loops ROW CONFIG ROOT REPEAT`.

Prints tokens per second. The first quarter of the time is left out.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

from models.knobs import ConfigError, parse
from playground.config.run import RunConfig
from playground.data import dataset
from playground.data.dataset import TaskData, TextData
from playground.runs.creation import complete
from playground.system import memory

BARE, LOOP, PRELOADED = "bare PyTorch loop", "training loop alone", "the same, fed from memory"
TOGETHER = "several runs as one program"
PRELOADED_BATCHES = 64
LEFT_OUT = 0.25


def bare_loop(config: RunConfig, root: Path) -> float:
    """The plain loop that a reader of nanoGPT would write: eager PyTorch, AdamW, no recording. Tokens per second."""
    import torch
    import torch.nn.functional as F

    from models.gpt import GPT
    from models.linear import accelerate
    from playground.training.devices import autocast, choose_device, choose_dtype

    config = complete(config, root)
    train, shape, device = config.train, config.model, choose_device(config.train.device)
    data = dataset.load(config.data, root)
    draw = _task_rows(config, data) if isinstance(data, TaskData) else _text_windows(config, data)
    torch.manual_seed(train.seed)
    model = GPT(shape).to(device).train()
    decayed, others = [p for p in model.parameters() if p.dim() >= 2], [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": config.optim.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.optim.lr, betas=(config.optim.beta1, config.optim.beta2), fused=True)
    dtype = choose_dtype(train.dtype, device)
    accelerate(model, dtype)  # the same matrix products as in a worker, so that only the rest of the loop is compared
    precision, clock, loss = autocast(device, dtype), Clock(config), torch.zeros((), device=device)
    while not clock.over():
        for _ in range(train.accumulation):
            x, y = (part.to(device, non_blocking=True) for part in draw())
            with precision:
                logits = model(x)
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1)) / train.accumulation
            loss.backward()
        if config.optim.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.tick(loss)
    return clock.tokens_per_s()


def _text_windows(config: RunConfig, data: TextData):
    import torch

    ids, width = torch.from_numpy(data.train.astype("int64")), config.model.block_size

    def draw():
        starts = torch.randint(len(ids) - width, (config.train.batch_size,))
        return torch.stack([ids[i : i + width] for i in starts]), torch.stack([ids[i + 1 : i + 1 + width] for i in starts])

    return draw


def _task_rows(config: RunConfig, data: TaskData):
    import torch

    from playground.data.batches import targets_of
    from playground.data.tasks.base import scored

    tokens = torch.from_numpy(data.train.tokens.astype("int64"))
    targets = torch.from_numpy(targets_of(data.train.tokens, scored(data.train, data.stride, data.scored)).astype("int64"))

    def draw():
        rows = torch.randint(len(tokens), (config.train.batch_size,))
        return torch.stack([tokens[i, : config.width] for i in rows]), torch.stack([targets[i, : config.width] for i in rows])

    return draw


def _preloaded(batches: list):
    """A batch source that repeats a few batches from memory: the speed of a loop that never waits for data."""
    import torch

    from playground.data.batches import Source

    class Preloaded(Source):
        def __init__(self):
            self.count, self.shape, self.device = 0, (1,), batches[0][0].device
            self.inputs, self.targets = (torch.stack(parts) for parts in zip(*batches, strict=True))

        def next(self):
            return batches[int(self.places())]

        def places(self):
            self.count += 1
            return torch.tensor([self.count % len(batches)])

        def take(self, places):
            return self.inputs.index_select(0, places)[0], self.targets.index_select(0, places)[0]

    return Preloaded()


def loop_preloaded(config: RunConfig, root: Path) -> float:
    """The playground's loop, fed from memory instead of from the data set. Tokens per second."""
    return loop_alone(config, root, preloaded=True)


def loop_alone(config: RunConfig, root: Path, preloaded: bool = False) -> float:
    """The playground's loop without recording, probes and samples. Tokens per second."""
    from playground.training.devices import choose_device
    from playground.training.loop import Loop
    from playground.training.state import TrainState

    memory.keep()
    config = complete(config, root)
    clock = Clock(config)

    class Timed(TrainState):
        def step(self, watched=False):
            result = super().step(watched)
            clock.tick(result.loss)
            return result

    device = choose_device(config.train.device)
    state = Timed(config, dataset.load(config.data, root), device)
    if preloaded:
        state.runner.batches = _preloaded([state.batches.next() for _ in range(PRELOADED_BATCHES)])
    clock.start()
    Loop(state, root, observe=False).run()
    return clock.tokens_per_s()


class Clock:
    """Records when each step ends; the speed leaves out the first quarter."""

    def __init__(self, config: RunConfig):
        self.seconds = math.inf if config.train.max_seconds is None else config.train.max_seconds
        self.tokens_per_step = config.tokens_per_step
        self.start()

    def start(self) -> None:
        self.began, self.times = time.perf_counter(), []

    def tick(self, loss) -> None:
        """Note the end of a step. On a GPU, wait for its loss first, because steps are only queued there."""
        if loss.is_cuda:
            loss.item()
        self.times.append(time.perf_counter() - self.began)

    def over(self) -> bool:
        return time.perf_counter() - self.began >= self.seconds

    def tokens_per_s(self) -> float:
        return speed([(t, (i + 1) * self.tokens_per_step) for i, t in enumerate(self.times)])


def speed(points: list[tuple[float, float]]) -> float:
    """Tokens per second from (seconds, tokens so far), the first quarter of the time left out."""
    late = [point for point in points if point[0] >= LEFT_OUT * points[-1][0]]
    (since, before), (now, tokens) = late[0], late[-1]
    return (tokens - before) / max(now - since, 1e-9)


def loop_together(config: RunConfig, root: Path, repeat: int) -> float:
    """`repeat` runs together as one program, without recording. Tokens per second of all runs together."""
    from playground.training.devices import choose_device
    from playground.training.stacked import Group
    from playground.training.state import TrainState

    memory.keep()
    config = complete(config, root)
    device, data, seed = choose_device(config.train.device), dataset.load(config.data, root), config.train.seed
    trains = [config.train.model_copy(update={"seed": seed + i}) for i in range(repeat)]
    group = Group([TrainState(config.model_copy(update={"train": train}), data, device) for train in trains])
    clock = Clock(config)
    while not clock.over():
        steps = group.step()
        clock.tick(steps[0].loss)
    return repeat * clock.tokens_per_s()


if __name__ == "__main__":
    row, config_json, folder, repeat = sys.argv[1:]
    try:
        asked = parse(RunConfig, json.loads(config_json))
        if row == TOGETHER:
            print(loop_together(asked, Path(folder), int(repeat)))
        else:
            print({BARE: bare_loop, LOOP: loop_alone, PRELOADED: loop_preloaded}[row](asked, Path(folder)))
    except ConfigError as error:
        sys.exit(str(error))

"""Compares the playground with nanoGPT's own, unchanged training script: same text, same machine, taking turns.

The checkout is copied first, so nothing is written into it. Seconds are wall-clock times of whole processes. Tokens per second
are those of each training loop without its evaluations; ours include probes, samples and recording.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.config import complete, flops_per_token
from models.knobs import ConfigError, Problem
from playground.bench.figures import note, spread
from playground.bench.processes import run_in_worker, warm_starts
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.data import corpora
from playground.data.config import DataConfig
from playground.runs.folder import RunFolder
from playground.runs.store import Run
from playground.system.files import REPOSITORY
from playground.training.outcome import Outcome

DATA, CONFIG, SCRIPT = "data/shakespeare_char", "config/train_shakespeare_char.py", "train.py"
ITERATION = re.compile(r"iter (\d+): loss \S+, time (\S+)ms")
EVALUATION = re.compile(r"step (\d+): train loss \S+, val loss (\d+\.\d+)")
# prepare.py imports requests to download the text, which is there already: an empty module replaces it.
PREPARE = "import runpy, sys, types; sys.modules.setdefault('requests', types.ModuleType('requests')); runpy.run_path('prepare.py')"
VOCAB_SIZE = 65  # of the characters of Tiny Shakespeare
SAMPLED, SAMPLING_CONTEXT = 500, 256
STANDBY_READY_S = 6.0


@dataclass(frozen=True)
class Recipe:
    """One of the two recipes in nanoGPT's README (`flags`), and our presets for it: the `same` recipe and the `fast` one. `target`
    is a loss in nats per token over the whole held-out split, with the recipe's context; on the CPU the one that nanoGPT's script
    reaches."""

    flags: tuple[str, ...]
    same: str
    fast: str
    target: float


CPU = Recipe(
    (
        "--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=1", "--block_size=64", "--batch_size=12", "--n_layer=4",
        "--n_head=4", "--n_embd=128", "--max_iters=2000", "--lr_decay_iters=2000", "--dropout=0.0",
    ),
    "nanogpt-cpu", "fast-cpu", 1.898,
)  # fmt: skip
CUDA = Recipe(("--log_interval=1",), "nanogpt-gpu", "fast-gpu", 1.47)


@dataclass
class Against:
    """The measurements of each turn. Seconds are those of whole processes, losses in nats per token, speeds in tokens per second."""

    tokens_per_s: list[float] = field(default_factory=list)
    our_tokens_per_s: list[float] = field(default_factory=list)
    our_float32_tokens_per_s: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    seconds_to_target: list[float] = field(default_factory=list)
    loss_at_target: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    our_loss: list[float] = field(default_factory=list)
    loss_in_same_time: list[float] = field(default_factory=list)
    share_of_matrix_speed: list[float] = field(default_factory=list)
    cached_tokens_per_s: list[float] = field(default_factory=list)
    recomputed_tokens_per_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)


def measure(settings: Settings, checkout: str, source: str, pairs: int) -> tuple[Recipe, Against]:
    """Raises ConfigError where there is no nanoGPT at `checkout`, OSError where a run fails."""
    folder = Path(checkout)
    if not (folder / SCRIPT).is_file() or not (folder / CONFIG).is_file():
        raise ConfigError([Problem("--against", f"{checkout[:100]!r} is no checkout of nanoGPT: it lacks {SCRIPT} or {CONFIG}")])
    copy, recipe, found = prepared(folder, settings.root, source), _recipe(), Against()
    config = PRESETS[recipe.same].config
    for i in range(pairs):
        turns = (_same, _same_in_float32, _fast, _long, _sampling)
        for turn in (_theirs, *(turns if i % 2 == 0 else reversed(turns))):
            note(f"{i + 1} of {pairs}: {turn.__name__[1:]}")
            turn(settings, copy, recipe, source, found)
    note("start of a run by the standby")
    found.start_s = warm_starts(_with_source(config, source), settings, pairs, ready_after_s=STANDBY_READY_S)
    speed = float(_in_process("matrix speed", config))
    found.share_of_matrix_speed = [_flops(config) * each / speed for each in found.our_tokens_per_s]
    return recipe, found


def _with_source(config: RunConfig, source: str) -> RunConfig:
    return config.model_copy(update={"data": DataConfig(source=source)})


def _recipe() -> Recipe:
    return CUDA if _in_process("device", RunConfig()).strip() == "cuda" else CPU


def prepared(checkout: Path, root: Path, source: str) -> Path:
    """A copy of the checkout with the text prepared by its own script."""
    copy = root / "nanogpt"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "*.bin", "*.pkl", "out*"))
    (copy / DATA / "input.txt").write_text(corpora.read(DataConfig(source=source), root).text)
    run_process([sys.executable, "-c", PREPARE], copy / DATA)
    return copy


def _theirs(settings: Settings, copy: Path, recipe: Recipe, source: str, found: Against) -> None:
    out, seconds = run_process([sys.executable, SCRIPT, CONFIG, *recipe.flags, "--out_dir=out"], copy)
    evaluations = dict(EVALUATION.findall(out))
    times = [float(ms) for number, ms in ITERATION.findall(out) if number not in evaluations]  # those include an evaluation
    per_iteration = re.search(r"tokens per iteration will be: ([\d,]+)", out)
    if not times or not evaluations or per_iteration is None:
        raise OSError("nanoGPT's script printed no iterations")
    tokens = int(per_iteration[1].replace(",", ""))
    found.tokens_per_s.append(tokens / (statistics.mean(times) / 1000))
    found.seconds.append(seconds)
    found.loss.append(float(list(evaluations.values())[-1]))


def _same(settings: Settings, copy: Path, recipe: Recipe, source: str, found: Against) -> None:
    """nanoGPT's recipe in a worker, as the page would train it, in the precision chosen for this machine."""
    run, tokens_per_s = _trained(settings, source, PRESETS[recipe.same].config)
    found.our_tokens_per_s.append(tokens_per_s)
    found.our_loss.append(float("nan") if run.val_loss is None else run.val_loss)


def _same_in_float32(settings: Settings, copy: Path, recipe: Recipe, source: str, found: Against) -> None:
    """The speed of the same run in float32 throughout, as nanoGPT's script computes on a CPU."""
    config = PRESETS[recipe.same].config
    max_steps = None if config.train.max_steps is None else config.train.max_steps // 2
    train = config.train.model_copy(update={"dtype": "float32", "max_steps": max_steps})
    found.our_float32_tokens_per_s.append(_trained(settings, source, config.model_copy(update={"train": train}))[1])


def _trained(settings: Settings, source: str, config: RunConfig) -> tuple[Run, float]:
    """A run trained by a worker, and its tokens per second without its validations."""
    run, _ = run_in_worker(config.model_copy(update={"data": config.data.model_copy(update={"source": source})}), settings)
    training_s = run.seconds - Outcome.read(RunFolder(settings.root, run.id).outcome).validation_s
    return run, run.step * config.tokens_per_step / training_s


def _fast(settings: Settings, copy: Path, recipe: Recipe, source: str, found: Against) -> None:
    ended, seconds = _ours(settings, recipe.fast, source)
    found.seconds_to_target.append(seconds)
    found.loss_at_target.append(ended["val_loss"])


def _long(settings: Settings, copy: Path, recipe: Recipe, source: str, found: Against) -> None:
    """The fast recipe for as many seconds as nanoGPT's script took, including the start of the process and the final validation."""
    spent_around = 4.0
    limit = str(round(max(5.0, found.seconds[-1] - spent_around), 1))
    ended, _ = _ours(settings, recipe.fast, source, "--train.max_steps", "none", "--train.max_seconds", limit)
    found.loss_in_same_time.append(ended["val_loss"])


def _sampling(settings: Settings, copy: Path, recipe: Recipe, source: str, found: Against) -> None:
    config = PRESETS[recipe.same].config
    cached, recomputed = _in_process("sampling", config).split()
    found.cached_tokens_per_s.append(float(cached))
    found.recomputed_tokens_per_s.append(float(recomputed))


def _ours(settings: Settings, preset: str, source: str, *flags: str) -> tuple[dict, float]:
    command = [sys.executable, "-m", "playground", "train", "--preset", preset, "--data.source", source, "--root", str(settings.root)]
    out, seconds = run_process([*command, "--json", *flags], REPOSITORY)
    return json.loads(out.splitlines()[-1]), seconds


def run_process(command: list[str], folder: Path) -> tuple[str, float]:
    """A process's output and its seconds; raises OSError with its last line of errors where it fails."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command[1:3])} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1][:300]}")
    return done.stdout, time.perf_counter() - began


def _flops(config: RunConfig) -> float:
    return 3 * flops_per_token(complete(config.model, VOCAB_SIZE))


# Measured in separate processes.


def _in_process(what: str, config: RunConfig) -> str:
    return run_process([sys.executable, "-m", "playground.bench.against", what, config.model_dump_json()], REPOSITORY)[0]


def matrix_speed(config: RunConfig) -> float:
    """The machine's matrix speed: FLOP/s of matrix products of the shapes of the model's linear layers, on one batch; the faster
    of torch's own product and the playground's."""
    import torch

    from models.gpt import GPT
    from models.linear import Linear, accelerate
    from playground.training.devices import autocast, choose_device, choose_dtype

    device = choose_device(config.train.device)
    dtype = choose_dtype(config.train.dtype, device)
    model = GPT(complete(config.model, VOCAB_SIZE)).to(device)
    accelerate(model, dtype)
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    with autocast(device, dtype):
        inputs = {layer.in_features: torch.randn(config.tokens_per_step, layer.in_features, device=device) for layer in layers}
        best = min(_seconds_of(layers, inputs, product, device) for product in {None, layers[0].product})
    return 2 * config.tokens_per_step * sum(layer.weight.numel() for layer in layers) / best


def _seconds_of(layers: list, inputs: dict, product, device) -> float:
    import torch

    times = []
    for layer in layers:
        layer.product = product
    for _ in range(30):
        began = time.perf_counter()
        for layer in layers:
            layer(inputs[layer.in_features])
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def sampling_speeds(config: RunConfig) -> tuple[float, float]:
    """Tokens per second of sampling 500 tokens with a context of 256: with the key-value cache on one thread, as the page does, and
    without a cache, recomputing the whole window for each token, on all threads."""
    import torch

    from models.decoding import generate, pick
    from models.gpt import GPT
    from playground.training.devices import one_thread

    torch.manual_seed(0)
    model = GPT(complete(config.model, VOCAB_SIZE).model_copy(update={"block_size": SAMPLING_CONTEXT})).eval()
    with one_thread():
        for _ in generate(model, [0], max_new_tokens=20):
            pass
        began = time.perf_counter()
        for _ in generate(model, [0], max_new_tokens=SAMPLED, generator=torch.Generator().manual_seed(0), n_runners_up=0):
            pass
        cached = SAMPLED / (time.perf_counter() - began)
    began, tokens, generator = time.perf_counter(), [0], torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(SAMPLED):
            tokens.append(pick(model(torch.tensor([tokens[-SAMPLING_CONTEXT:]]))[0, -1], 1.0, None, None, generator))
    return cached, SAMPLED / (time.perf_counter() - began)


# The report.


def ratios(found: Against) -> dict[str, list[float]]:
    """Ours over nanoGPT's, turn by turn; for sampling, with the cache over without."""

    def over(a: list[float], b: list[float]) -> list[float]:
        return [x / y for x, y in zip(a, b, strict=True)]

    return {
        "tokens_per_s": over(found.our_tokens_per_s, found.tokens_per_s),
        "float32": over(found.our_float32_tokens_per_s, found.tokens_per_s),
        "seconds_to_target": over(found.seconds_to_target, found.seconds),
        "sampling": over(found.cached_tokens_per_s, found.recomputed_tokens_per_s),
    }


def as_json(recipe: Recipe, found: Against) -> str:
    return json.dumps({"recipe": asdict(recipe), "found": asdict(found), "ratios": ratios(found)})


def table(recipe: Recipe, found: Against) -> str:
    to = ratios(found)
    rows = [
        ("nanoGPT's script, tokens/s of its own loop", spread(found.tokens_per_s, ",.0f"), ""),
        (f"{recipe.same} in the playground, tokens/s", spread(found.our_tokens_per_s, ",.0f"),
         f"ratio {spread(to['tokens_per_s'], '.2f')}"),
        ("  in float32 throughout, tokens/s", spread(found.our_float32_tokens_per_s, ",.0f"), f"ratio {spread(to['float32'], '.2f')}"),
        ("  of the machine's matrix speed", spread(found.share_of_matrix_speed, ".0%"), ""),
        ("nanoGPT's script, seconds in all", spread(found.seconds, ".1f"), ""),
        (f"{recipe.fast} to {recipe.target:g}, seconds in all", spread(found.seconds_to_target, ".1f"),
         f"ratio {spread(to['seconds_to_target'], '.3f')}"),
        ("  its loss over the whole held-out split", spread(found.loss_at_target, ".3f"), ""),
        ("nanoGPT's script, its last estimate of the held-out loss", spread(found.loss, ".3f"), ""),
        (f"{recipe.same} in the playground, whole held-out split", spread(found.our_loss, ".3f"), ""),
        (f"{recipe.fast} in the time of nanoGPT's script", spread(found.loss_in_same_time, ".3f"), ""),
        (f"writing {SAMPLED} tokens, context {SAMPLING_CONTEXT}, with the cache, tokens/s", spread(found.cached_tokens_per_s, ",.0f"), ""),
        ("  reading the whole window each time", spread(found.recomputed_tokens_per_s, ",.0f"), f"ratio {spread(to['sampling'], '.1f')}"),
        (f"{recipe.same}, from the start to its first recorded loss, s", spread(found.start_s, ".2f"), ""),
    ]  # fmt: skip
    return "\n".join(f"{name:62} {value:>28}   {ratio}".rstrip() for name, value, ratio in rows)


if __name__ == "__main__":
    from models.knobs import parse

    asked, shape = sys.argv[1], parse(RunConfig, json.loads(sys.argv[2]))
    if asked == "device":
        from playground.training.devices import available_devices

        print(available_devices()[0])
    elif asked == "sampling":
        print(*sampling_speeds(shape))
    else:
        print(matrix_speed(shape))

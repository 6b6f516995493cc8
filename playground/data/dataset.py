"""The prepared data of a run: a text as tokens, or the examples of a task.

Prepared once per root under ROOT/prepared and memory-mapped from there, so that several runs share one copy. Imports no torch
before batches are asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from models.config import ModelConfig
from playground.data import corpora, examples, lines, sample, tokenizers
from playground.data.config import DataConfig
from playground.data.errors import CorpusError
from playground.data.tasks import Examples, Task
from playground.data.tasks.base import answered, scored
from playground.data.tokenizers import CharTokenizer, Tokenizer, WordTokenizer
from playground.system import locks
from playground.system.files import making, publish, sweep

HELD_OUT = 0.1
KEEP_PREPARED = 24
PREVIEW_CHARS, N_SHOWN = 700, 8
MOST_COUNTED = 10**300
FORMAT = 2  # of the prepared files and of how a text is cut: raise it whenever either changes

Progress = Callable[[float | None, str], None]
Choose = Callable[[np.ndarray], np.ndarray]
Read = TypeVar("Read")


@dataclass(frozen=True)
class About:
    """What is known of the data of a run before it starts.

    `kind` is text or task; sizes in characters, UTF-8 bytes and tokens, of a task in examples (`n_train`, `n_held_out`)
    and tokens of the longest. `floor`: the best possible loss in nats per scored token of the held-out part, and
    `floor_bits` the same in bits per character; `ceiling`: how many of the held-out answers' tokens the best guess gets right;
    None where unknown. `lines`: the losses of models that know only how frequent tokens are, by name; see `lines.reference_losses`.
    """

    kind: str
    title: str
    edition: str
    fingerprint: str
    digest: str
    vocab_size: int
    n_chars: int
    n_tokens: int
    n_train: int
    n_held_out: int
    floor: float | None = None
    floor_bits: float | None = None
    ceiling: float | None = None
    preview: str = ""
    shown: tuple[tuple[str, str], ...] = ()
    n_different: float | None = None
    exact: bool = False
    unit: str = ""
    trained_size: int | None = None
    lines: dict[str, float] = field(default_factory=dict)

    @property
    def is_task(self) -> bool:
        return self.kind == "task"


@dataclass(frozen=True)
class TextData:
    """`train` and `held_out` are (N,) unsigned ids. What only a task has, such as answers, is empty."""

    is_task: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    train: np.ndarray
    held_out: np.ndarray
    tokenizer: Tokenizer
    about: About | None = None

    def batches(self, batch_size: int, width: int, seed: int, device):
        from playground.data.batches import Windows

        return Windows(self.train, batch_size, width, seed, device)

    def chunks(self, width: int, device) -> Iterator:
        """All held-out windows."""
        from playground.data.batches import windows

        return windows(self.held_out, width, max(1, 8192 // width), device)

    def sample(self, width: int, device, every: int = 1) -> Iterator:
        """Those that hold a passage of the held-out sample (or every so many-th one), of which alone they are scored."""
        from playground.data.batches import windows

        passages = self._passages()
        return windows(self.held_out, width, max(1, 8192 // width), device, np.where(passages % every == 0, passages, sample.NONE))

    def n_validated(self, width: int, longest: int) -> int:
        """Tokens that go through the model where it is judged while it trains."""
        return len(sample.windows_scored(self._passages(), width)) * width

    def _passages(self) -> np.ndarray:
        return sample.passages(self.tokenizer.n_bytes[self.held_out])

    def n_scored(self, width: int) -> int:
        """Tokens by which the whole held-out part is judged."""
        return (len(self.held_out) - 1) // width * width

    def sized_chunks(self, width: int, device, at_most: int | None = None) -> dict[int, Iterator]:
        return {}

    def answers(self, count: int, width: int, choose: Choose) -> list[tuple[str, str, str]]:
        return []

    def prompts(self, count: int) -> list[tuple[str, str]]:
        return []

    def probe_text(self) -> str:
        """A line of the held-out text with enough words to look at; failing that, its beginning."""
        text = self.tokenizer.decode(self.held_out[:20_000].tolist())
        lines = (line.strip() for line in text.splitlines())
        return next((line for line in lines if len(line) >= 40 and "  " not in line), text[:200])


@dataclass(frozen=True)
class TaskData:
    """Examples as `examples.split` cuts them; `scored` is answer or all, `stride` that of the task."""

    is_task: ClassVar[bool] = True

    train: Examples
    held_out: Examples
    by_size: dict[int, Examples]
    tokenizer: Tokenizer
    scored: str
    about: About | None = None
    stride: int = 1

    @property
    def exact(self) -> bool:
        """Whether each prompt has one right answer."""
        return self.about is not None and self.about.exact

    def batches(self, batch_size: int, width: int, seed: int, device):
        from playground.data.batches import Rows

        tokens, targets = self.train.tokens[:, : width + 1], self._targets(self.train)[:, :width]
        return Rows(tokens, np.ascontiguousarray(targets), batch_size, seed, device)

    def chunks(self, width: int, device) -> Iterator:
        """All held-out examples."""
        return self._chunks(self.held_out, device)

    def sample(self, width: int, device, every: int = 1) -> Iterator:
        """Those of the held-out sample (or a part of them as large), each of which is a group of its own."""
        import torch

        first = 0
        for chunk in self._chunks(self.held_out, device, sample.EXAMPLES // every):
            of = torch.arange(first, first + len(chunk.inputs), device=device)[:, None].expand_as(chunk.inputs)
            first += len(of)
            yield chunk._replace(groups=of)

    def n_validated(self, width: int, longest: int) -> int:
        """Tokens that go through the model where it is judged while it trains: the held-out sample, and unseen examples of each size that
        `longest` tokens hold."""
        sized = [(each, sample.FEW_EXAMPLES) for each in self._fitting(longest).values()]
        return sum(len(part) * width for drawn, n in [(self.held_out, sample.EXAMPLES), *sized] for part, width in _parts(drawn, n))

    def n_scored(self, width: int) -> int:
        """Tokens by which the whole held-out part is judged."""
        return int(scored(self.held_out, self.stride, self.scored)[:, 1:].sum())

    def sized_chunks(self, width: int, device, at_most: int | None = None) -> dict[int, Iterator]:
        """Unseen examples of each size, as far as they fit into `width` tokens and the one after them."""
        return {size: self._chunks(examples, device, at_most) for size, examples in self._fitting(width).items()}

    def _fitting(self, width: int) -> dict[int, Examples]:
        return {size: examples for size, examples in self.by_size.items() if examples.ends.max() - 1 <= width}

    def answers(self, count: int, width: int, choose: Choose) -> list[tuple[str, str, str]]:
        """(prompt, answer, what the model chose) of the first held-out examples; `choose` maps (N, L) tokens to the likeliest token
        at each position except the first. Where a question stands between two answers, the question is kept."""
        part = self.held_out[slice(count)]
        tokens = part.tokens[:, : width + 1]
        given = np.where(answered(part, self.stride)[:, : width + 1], choose(tokens), tokens)
        said = Examples(given, part.starts, part.ends, part.nats, part.sure)
        return [(*_spelled(part, i, self.tokenizer), _spelled(said, i, self.tokenizer)[1]) for i in range(len(part))]

    def prompts(self, count: int) -> list[tuple[str, str]]:
        """(prompt, answer) of the first held-out examples."""
        return [_spelled(self.held_out, i, self.tokenizer) for i in range(min(count, len(self.held_out)))]

    def probe_text(self) -> str:
        """The first held-out example, its answer included."""
        return self.tokenizer.decode(self.held_out.tokens[0, : self.held_out.ends[0]].tolist())

    def _targets(self, drawn: Examples) -> np.ndarray:
        from playground.data.batches import targets_of

        return targets_of(drawn.tokens, scored(drawn, self.stride, self.scored))

    def _chunks(self, drawn: Examples, device, at_most: int | None = None) -> Iterator:
        import torch

        from playground.data.batches import Chunk

        for part, width in _parts(drawn, at_most):
            rows = (part.tokens[:, :width].astype(np.int64), self._targets(part).astype(np.int64), answered(part, self.stride)[:, 1:])
            yield Chunk(*(torch.from_numpy(np.ascontiguousarray(row[:, :width])).to(device) for row in rows))


Data = TextData | TaskData


def _parts(drawn: Examples, at_most: int | None = None) -> Iterator[tuple[Examples, int]]:
    """(`at_most` so many) examples in parts that go through a model at once, each with the tokens of its longest but the last."""
    count = len(drawn) if at_most is None else min(at_most, len(drawn))
    size = max(1, 16_384 // drawn.tokens.shape[1])
    for first in range(0, count, size):
        part = drawn[slice(first, min(first + size, count))]
        yield part, int(part.ends.max()) - 1


def load(config: DataConfig, root: Path, progress: Progress | None = None) -> Data:
    """The data of a run, prepared first if it is not yet. Fetches nothing; raises CorpusError."""
    return _prepared(config, root, lambda folder: _load(config, folder), progress)


def _load(config: DataConfig, folder: Path) -> Data:
    about, tokenizer = _read_about(config, folder), _read_tokenizer(folder)
    if config.task is None:
        return TextData(_trained_text(config, folder), _mapped(folder / "held_out.npy"), tokenizer, about)
    parts = {path.name: _load_examples(path) for path in folder.iterdir() if path.is_dir() and path.name != "train"}
    by_size = {int(name): parts[name] for name in sorted(parts.keys() - {"held_out"}, key=int)}
    return TaskData(_trained_examples(config, folder), parts["held_out"], by_size, tokenizer, config.scored, about, config.task.stride)


def _trained_text(config: DataConfig, folder: Path) -> np.ndarray:
    """(N,) the tokens to train on."""
    whole = _mapped(folder / "train.npy")
    return whole[: math.ceil(config.share * len(whole))]


def _trained_examples(config: DataConfig, folder: Path) -> Examples:
    whole = _load_examples(folder / "train")
    return whole if config.share == 1 else whole[examples.is_in_share(whole, config.share)]


def tokenizer(config: DataConfig, root: Path) -> Tokenizer:
    """The tokenizer of the data, which is prepared first if it is not yet. Fetches nothing; raises CorpusError."""
    return _prepared(config, root, _read_tokenizer)


def about(config: DataConfig, root: Path) -> About:
    """What is known of the data, which is prepared first if it is not yet. Fetches nothing; raises CorpusError."""
    return _prepared(config, root, partial(_read_about, config))


def _prepared(config: DataConfig, root: Path, read: Callable[[Path], Read], progress: Progress | None = None) -> Read:
    """Read from the prepared folder; retried once, because another process may have dropped the folder in between."""
    try:
        return read(prepare(config, root, progress))
    except FileNotFoundError:
        return read(prepare(config, root, progress))


def is_prepared(config: DataConfig, root: Path) -> bool:
    """Whether `about` would answer at once."""
    return _is_whole(prepared_folder(config, root))


def prepare(config: DataConfig, root: Path, progress: Progress | None = None) -> Path:
    """The folder of the prepared data; a damaged one is made anew. Whoever wants what another is preparing waits for it."""
    folder, progress = prepared_folder(config, root), progress or (lambda share, words: None)
    if _is_whole(folder):
        os.utime(folder)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # One lock for all keys with the same first digit: so the locks need not be cleared away.
    with _alone(root / "locks" / f"prepare-{folder.name[0]}", progress):
        if not _is_whole(folder):
            _make(config, root, folder, progress)
    return folder


@contextlib.contextmanager
def _alone(path: Path, progress: Progress) -> Iterator[None]:
    """Inside the `with` no other process or thread has this lock."""
    while (lock := locks.acquire(path, patience_s=1.0)) is None:
        progress(None, "waiting for data that are being prepared already")
    try:
        yield
    finally:
        lock.release()


def _make(config: DataConfig, root: Path, folder: Path, progress: Progress) -> None:
    with making(folder.parent, folder.name) as made:
        inside = made / "data"
        inside.mkdir()
        if config.task is None:
            _write_text(config, root, inside, progress)
        else:
            _write_task(config, config.task, root, inside, progress)
        progress(None, "counting how frequent tokens are")
        _read_about(config, inside)  # leaves the reference lines there
        _put_in_place(inside, folder)
    _drop_oldest(folder.parent)


def check_length(known: About, model: ModelConfig) -> None:
    """Raises CorpusError where a part of a text holds no whole window, or a share of a task's examples none at all. BPE merges the training
    part better: it can be the shorter one."""
    if known.is_task and not known.n_train:
        raise CorpusError("no example falls into so small a share; raise it", "data.share")
    needed, shorter = model.block_size + 1, min(known.n_held_out, known.n_train)
    if not known.is_task and shorter < needed:
        remedy = f"use a context (model.block_size) of at most {shorter - 1}, or a longer text" if shorter >= 2 else "use a longer text"
        remedy += ", or a larger share of it (data.share)" if known.n_train + known.n_held_out < known.n_tokens else ""
        parts = f"{known.n_held_out:,} are held out" if shorter == known.n_held_out else f"{known.n_train:,} are trained on"
        raise CorpusError(f"the text has {known.n_tokens:,} tokens, so {parts}, fewer than one window of {needed} (context + 1); {remedy}")


def n_train(n_chars: int) -> int:
    return int(n_chars * (1 - HELD_OUT))


def _write_text(config: DataConfig, root: Path, folder: Path, progress: Progress) -> None:
    progress(None, "reading the text")
    source = corpora.read(config, root)
    text = source.text
    cut = n_train(len(text)) if source.held_out_at is None else source.held_out_at
    words = "learning the tokens" if config.tokenizer == "bpe" else "collecting the characters"
    tokenizer = tokenizers.build(config.tokenizer, text, text[:cut], config.bpe_vocab, lambda share: progress(share, words))
    progress(None, "cutting the text into tokens")
    kind = np.uint8 if tokenizer.vocab_size <= 256 else np.uint16 if tokenizer.vocab_size <= 65536 else np.uint32
    train, held_out = (tokenizer.encode(part, "data.source").astype(kind) for part in (text[:cut], text[cut:]))
    _save(folder / "train.npy", train)
    _save(folder / "held_out.npy", held_out)
    nats, n_held_out_chars = source.held_out_nats, max(1, len(text) - cut)
    _finish(folder, tokenizer, About(
        kind="text", title=corpora.title(config.source), edition=source.edition,
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16], digest=_sha256(train, held_out),
        vocab_size=tokenizer.vocab_size, n_chars=len(text),
        n_tokens=len(train) + len(held_out), n_train=len(train), n_held_out=len(held_out),
        floor=None if nats is None else nats / max(1, len(held_out)),
        floor_bits=None if nats is None else nats / np.log(2) / n_held_out_chars,
        preview=text[:PREVIEW_CHARS],
    ))  # fmt: skip


def _write_task(config: DataConfig, task: Task, root: Path, folder: Path, progress: Progress) -> None:
    p = config.params
    progress(None, "drawing examples")
    cut = examples.split(task, p)
    vocabulary = task.vocabulary(p)
    tokenizer = CharTokenizer("".join(vocabulary)) if all(len(token) == 1 for token in vocabulary) else WordTokenizer(vocabulary)
    ids = np.array([int(tokenizer.encode(token)[0]) for token in vocabulary])  # the tokenizer may number the tokens in another order
    nothing = np.zeros((len(cut.train), 0))  # these are used of held-out examples only
    train = replace(cut.train, nats=nothing, sure=nothing)
    parts = {"train": train, "held_out": cut.held_out, **{str(size): part for size, part in cut.by_size.items()}}
    for name, part in parts.items():
        _save_examples(folder / name, part, ids)
    tokens = (_load_examples(folder / name).tokens for name in ("train", "held_out"))
    sizes = task.sizes(p)
    _finish(folder, tokenizer, About(
        kind="task", title=task.title, edition="", fingerprint=_key(config, root)[:16], digest=_sha256(*tokens),
        vocab_size=len(vocabulary), n_chars=0, n_tokens=int(cut.train.ends.sum()), n_train=len(cut.train), n_held_out=len(cut.held_out),
        floor=float(cut.held_out.nats[scored(cut.held_out, task.stride, config.scored)].mean()),
        ceiling=float(cut.held_out.sure[answered(cut.held_out, task.stride)].mean()),
        shown=tuple(_spelled(_load_examples(folder / "held_out"), i, tokenizer) for i in range(min(N_SHOWN, len(cut.held_out)))),
        n_different=float(min(task.n_different(p), MOST_COUNTED)), exact=task.exact, unit="" if sizes is None else sizes.unit,
        trained_size=None if sizes is None else sizes.longest,
    ))  # fmt: skip


def _spelled(drawn: Examples, row: int, tokenizer: Tokenizer) -> tuple[str, str]:
    tokens, start, end = drawn.tokens[row].tolist(), int(drawn.starts[row]), int(drawn.ends[row])
    return tokenizer.decode(tokens[:start]), tokenizer.decode(tokens[start:end])


def _save_examples(folder: Path, drawn: Examples, ids: np.ndarray) -> None:
    folder.mkdir()
    _save(folder / "tokens.npy", ids[drawn.tokens].astype(np.uint8 if len(ids) <= 256 else np.int16))
    for name, kind in (("starts", np.int32), ("ends", np.int32), ("nats", np.float32), ("sure", np.float32)):
        _save(folder / f"{name}.npy", getattr(drawn, name).astype(kind))


def _load_examples(folder: Path) -> Examples:
    return Examples(*(_mapped(folder / f"{name}.npy") for name in ("tokens", "starts", "ends", "nats", "sure")))


def _mapped(path: Path) -> np.ndarray:
    """Shared with every process that reads it; written to by none (a write would go to a private copy)."""
    return np.lib.format.open_memmap(path, mode="c")


def _save(path: Path, values: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.lib.format.write_array(file, values, allow_pickle=False)


def _finish(folder: Path, tokenizer: Tokenizer, known: About) -> None:
    (folder / "tokenizer.json").write_text(tokenizer.to_json())
    (folder / "about.json").write_text(json.dumps({name: value for name, value in asdict(known).items() if name != "lines"}))
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    (folder / "files.json").write_text(json.dumps(sizes))


def _is_whole(folder: Path) -> bool:
    """Whether every file that was written is there, with its size."""
    try:
        sizes = json.loads((folder / "files.json").read_text())
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _put_in_place(made: Path, folder: Path) -> None:
    """Rename `made` to `folder`, unless another process was faster; a damaged folder is moved beside `made` and removed with it."""
    for name in ("damaged", "again"):
        with contextlib.suppress(OSError):
            made.rename(folder)
        if _is_whole(folder):
            return
        with contextlib.suppress(FileNotFoundError):
            folder.rename(made.parent / name)
    made.rename(folder)


def _read_tokenizer(folder: Path) -> Tokenizer:
    return tokenizers.load_file(folder / "tokenizer.json")


def _read_about(config: DataConfig, folder: Path) -> About:
    data = json.loads((folder / "about.json").read_text())
    data["shown"] = tuple(tuple(pair) for pair in data["shown"])
    if config.share < 1:
        data["n_train"] = len(_trained_text(config, folder) if config.task is None else _trained_examples(config, folder))
    return About(**data, lines=_read_lines(config, folder, data["vocab_size"]))


def _read_lines(config: DataConfig, folder: Path, vocab_size: int) -> dict[str, float]:
    """The reference lines; counted once, also of data that an earlier version has prepared."""
    path = folder / ("lines.json" if config.share == 1 else f"lines-{config.share}.json")
    with contextlib.suppress(FileNotFoundError):
        return json.loads(path.read_text())
    if (task := config.task) is None:
        parts = [lines.of_text(ids, vocab_size) for ids in (_trained_text(config, folder), _mapped(folder / "held_out.npy"))]
    else:
        drawn = [_trained_examples(config, folder), _load_examples(folder / "held_out")]
        parts = [lines.of_examples(each, scored(each, task.stride, config.scored), vocab_size) for each in drawn]
    found = lines.reference_losses(parts[0], parts[1], vocab_size)
    with contextlib.suppress(OSError):  # counted again, then
        publish(path, json.dumps(found).encode())
    return found


def _key(config: DataConfig, root: Path) -> str:
    """Identity of the data as prepared, hex."""
    if config.task is None:
        made_of = [corpora.identity(config, root), config.tokenizer, config.bpe_vocab if config.tokenizer == "bpe" else None]
    else:
        made_of = [config.source, {name: getattr(config, name) for name in (*config.task.knobs, "seed")}, config.scored]
    return hashlib.sha256(json.dumps([FORMAT, *made_of]).encode()).hexdigest()


def prepared_folder(config: DataConfig, root: Path) -> Path:
    return root / "prepared" / _key(config, root)[:32]


def _sha256(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def _drop_oldest(folder: Path) -> None:
    """Remove the least recently used folders, which can be prepared again. A worker that has a file mapped can still read it."""
    found = sorted((path for path in folder.glob("[0-9a-f]*") if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in found[:-KEEP_PREPARED]:
        shutil.rmtree(path, ignore_errors=True)
    sweep(folder)

"""The probe of a run's model at one step, as recorded by the run or computed now from a checkpoint; and ablations.

Imports torch only where something is computed. Always on the CPU.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
from safetensors import SafetensorError, safe_open

from models.knobs import ConfigError, Problem
from playground.config.looks import MAX_PROBE_TOKENS
from playground.data import dataset, tokenizers
from playground.data.errors import CorpusError
from playground.data.sample import paired_difference
from playground.data.tokenizers import Tokenizer, UnknownCharacters
from playground.inside.quantities import Probe
from playground.runs import sampler
from playground.runs.folder import RunFolder
from playground.runs.sampler import Loaded
from playground.training.errors import CheckpointError

if TYPE_CHECKING:
    from playground.data.batches import Chunk

TOKENS_A_TURN, TOKENS_A_CHUNK = 5, 1024  # written, and read for a loss, in one turn: others wait for its end
ABLATED_BY = ("zero", "mean")
PATCHED = ("stream", "attn", "mlp")
ABLATION_TOKENS, ABLATION_EVERY = 60, 4  # tokens of a sample; of the held-out sample every fourth passage or example

Measured = tuple[int, Probe[np.ndarray]]  # a probe, after its step
Turn = Callable[[Callable[[], Any]], Any]  # schedules a function: calls it when its turn comes and returns its result


def recorded(root: Path, run_id: str, step: int, text: str) -> Measured | None:
    """The newest kept probe of this text at `step` or before it; None where there is none. Imports no torch."""
    folder = RunFolder(root, run_id)
    at = max((kept for kept in folder.probe_steps(text) if kept <= step), default=None)
    if at is None:
        return None
    try:
        with safe_open(folder.probe(text, at), framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            values = orjson.loads((file.metadata() or {}).get("values", "{}"))
    except (SafetensorError, FileNotFoundError, orjson.JSONDecodeError):
        return None  # thinned out by the run meanwhile
    return at, Probe(values, tensors)


def computed(root: Path, run_id: str, step: int | None, text: str) -> Measured:
    """The probe on any text at a checkpoint (None: the newest), and its step.

    Computed in this process from the checkpoint; the run itself is not disturbed. Raises as `sample` does.
    """
    step = sampler.newest(root, run_id) if step is None else step
    found = _measured(sampler.load(root, run_id, step), text)
    return step, Probe(found.values, {name: tensor.numpy() for name, tensor in found.tensors.items()})


def at_once(do: Callable[[], Any]) -> Any:
    """The `Turn` that does not wait; those of `web.computing.Computing` queue."""
    return do()


def reprobe(
    root: Path, run_id: str, text: str, report: Callable[[float | None, str], None], wanted: Callable[[], bool], turn: Turn = at_once
) -> None:
    """Probe every checkpoint of a run with this text and keep the probes, as the run itself would have. Ends early when
    `wanted` says no; each computation goes through `turn`. Raises as `sample` does, and OSError."""
    from playground.training.probes import publish_probe

    folder, there = RunFolder(root, run_id), sampler.steps(root, run_id)
    for i, step in enumerate(there):
        report(i / len(there), f"looking at checkpoint {i + 1} of {len(there)} with this text")
        if not wanted():
            return
        if not folder.probe(text, step).exists():
            try:
                loaded = sampler.load(root, run_id, step)
            except CheckpointError:  # the run, which goes on, has thinned it out meanwhile
                continue
            publish_probe(folder.path, step, turn(lambda at=loaded: _measured(at, text)), text)


def ablate(root: Path, run_id: str, step: int | None, off: str, text: str, by: str = "zero", turn: Turn = at_once) -> dict:
    """Ablate the parts `off` (`layer:2,head:1.3`, counted from 1) of a checkpoint: the loss in nats per token on the probe
    text and on some held-out data (None where those are not on this machine), and a sampled text, each `before` and
    `after`. What the parts add is replaced `by` zero, or by its mean over these data (the probe text where there are none). Takes many
    short turns. Raises as `sample` does, and ConfigError for parts that the model lacks."""
    from playground.inside.ablation import parse_parts, without

    step = sampler.newest(root, run_id) if step is None else step
    loaded = turn(lambda: sampler.load(root, run_id, step))
    ids, parts = probe_tokens(loaded, text), parse_parts(off, loaded.model.config)
    model, held_out = turn(lambda: deepcopy(loaded.model)), turn(lambda: _held_out(root, run_id))
    means = _means(model, held_out or _as_chunks(ids), by, turn)
    before = _abilities(model, loaded.tokenizer, ids, held_out, turn)
    with without(model, parts, means):
        after = _abilities(model, loaded.tokenizer, ids, held_out, turn)
    return {"step": step, "off": [str(part) for part in parts], "by": by, "before": before, "after": after}


def worth(
    root: Path,
    run_id: str,
    step: int | None,
    text: str,
    by: str = "zero",
    turn: Turn = at_once,
    report: Callable[[float | None, str], None] | None = None,
) -> dict:
    """Ablate each part alone: how much the loss rises without it, in nats per token on some held-out data, with the standard error of
    each rise over their passages or examples (on the probe text and without errors, where those are not on this machine). `by` as of
    `ablate`. Takes many short turns. Raises as `sample` does."""
    from playground.inside.ablation import parts_of, without

    step = sampler.newest(root, run_id) if step is None else step
    loaded = turn(lambda: sampler.load(root, run_id, step))
    ids = probe_tokens(loaded, text)
    model, held_out = turn(lambda: deepcopy(loaded.model)), turn(lambda: _held_out(root, run_id))
    chunks = held_out or _as_chunks(ids)
    means, parts = _means(model, chunks, by, turn), parts_of(model.config)
    whole = _by_group(model, chunks, turn)
    rises: dict[str, float | None] = {}
    errors: dict[str, float | None] = {}
    for i, part in enumerate(parts):
        if report is not None:
            report(i / len(parts), f"switching off part {i + 1} of {len(parts)}")
        with without(model, [part], means):
            alone = _by_group(model, chunks, turn)
        rise, error = paired_difference(whole.nats, alone.nats, max(1, whole.n_tokens))
        rises[str(part)] = rise if math.isfinite(rise) and chunks else None
        errors[str(part)] = error if math.isfinite(error) and held_out else None
    on = "held-out data" if held_out else "probe text"
    return {"step": step, "on": on, "by": by, "loss": whole.loss, "rises": rises, "errors": errors}


def patch(
    root: Path,
    run_id: str,
    step: int | None,
    position: int,
    token: str,
    text: str,
    where: str = "stream",
    turn: Turn = at_once,
    report: Callable[[float | None, str], None] | None = None,
) -> dict:
    """What if the token at `position` of the probe text, counted from 1, were another: how much each activation changes, and which of
    them restore what the model says at the end (see `inside.patching`). `where`: stream, attn or mlp, one row of the maps for each place.
    Takes many short turns. Raises as `sample` does, and ConfigError for what can't be changed so."""
    from playground.inside import patching

    step = sampler.newest(root, run_id) if step is None else step
    loaded = turn(lambda: sampler.load(root, run_id, step))
    ids, tokenizer = probe_tokens(loaded, text), loaded.tokenizer
    if not 1 <= position <= len(ids):
        raise ConfigError([Problem("position", f"{position} is no token of the probe text; use 1 to {len(ids)}")])
    others = ids.copy()
    others[position - 1] = one_token(tokenizer, token, ids[position - 1])
    model = turn(lambda: deepcopy(loaded.model))
    n_turns, taken = patching.n_turns(model, len(ids), where), iter(range(10**9))

    def counted(do: Callable[[], Any]) -> Any:
        if report is not None:
            report(min(1.0, next(taken) / n_turns), "exchanging activations")
        return turn(do)

    found = patching.patch(model, ids, others, where, counted)
    told = {"answer": tokenizer.token(found.answer), "clean": found.clean, "other": found.other}
    told |= {"tokens": [tokenizer.token(i) for i in ids.tolist()], "token": tokenizer.token(int(others[position - 1]))}
    maps = {"changed": _rows(found.changed), "restored": _rows(found.restored)}
    return {"step": step, "position": position, "where": where} | told | maps


def _rows(of: np.ndarray) -> list[list[float | None]]:
    """Four significant digits; None for what is no finite number."""
    return [[float(f"{value:.4g}") if math.isfinite(value) else None for value in row] for row in of.tolist()]


def one_token(tokenizer: Tokenizer, text: str, instead: int) -> int:
    """The id of a token that a person wrote, perhaps without the space that it begins with. Raises ConfigError where it is none, several,
    or the one that it takes the place of."""
    as_written = tokenizer.encode(text, "token").tolist()
    try:
        with_space = tokenizer.encode(f" {text}", "token").tolist() if text else []
    except UnknownCharacters:  # of a text without spaces
        with_space = []
    found = [ids[0] for ids in (as_written, with_space) if len(ids) == 1]
    for token in found:
        if token != instead:
            return token
    if found:
        raise ConfigError([Problem("token", f"{text!r} is what stands there; write another token")])
    pieces = ", ".join(repr(tokenizer.token(i)) for i in as_written[:8])
    raise ConfigError([Problem("token", f"{text[:40]!r} is not one token of this run but {pieces or 'none'}; write a single one")])


def parse_where(where: str) -> str:
    """Where activations are exchanged. Raises ConfigError."""
    if where not in PATCHED:
        raise ConfigError([Problem("where", f"{where[:40]!r} is not possible; use {', '.join(PATCHED)}")])
    return where


def parse_by(by: str) -> str:
    """By what an ablated part is replaced. Raises ConfigError."""
    if by not in ABLATED_BY:
        raise ConfigError([Problem("by", f"{by[:40]!r} is not possible; use {' or '.join(ABLATED_BY)}")])
    return by


def _means(model: Any, chunks: list[Chunk], by: str, turn: Turn) -> Any:
    """What each part adds in the mean over the chunks, where that takes its place; padding after the last scored token doesn't count."""
    from playground.inside.ablation import Means

    if by == "zero" or not chunks:
        return None
    means = Means(model)

    def read(chunk: Chunk) -> None:
        import torch

        counted = (chunk.targets >= 0).flip(1).cummax(1).values.flip(1)
        with torch.no_grad(), means.watched(counted):
            model(chunk.inputs)

    for chunk in chunks:
        turn(partial(read, chunk))
    return means.get()


def probe_tokens(loaded: Loaded, text: str) -> np.ndarray:
    """(T,) ids of a probe text, cut to the longest that is probed. Raises ConfigError."""
    ids = loaded.tokenizer.encode(text, "probe.text")[: min(MAX_PROBE_TOKENS, loaded.model.config.block_size)]
    if not len(ids):
        raise ConfigError([Problem("probe.text", "the probe text is empty; write at least one character")])
    return ids


def _measured(loaded: Loaded, text: str) -> Probe[Any]:
    from playground.inside.measures import Repeats, measure

    return measure(deepcopy(loaded.model), probe_tokens(loaded, text), repeats=Repeats.of(loaded.config, loaded.tokenizer))


def _abilities(model: Any, tokenizer: Tokenizer, ids: np.ndarray, held_out: list[Chunk] | None, turn: Turn) -> dict:
    """Losses in nats per token, and a short sample, always with the same seed."""
    import torch

    from models.decoding import generate

    decoder = tokenizers.StreamDecoder(tokenizer)
    prompt = ids[: max(1, len(ids) // 2)].tolist()
    choices = generate(model, prompt, max_new_tokens=ABLATION_TOKENS, temperature=0.8, generator=torch.Generator().manual_seed(0))
    text = ""
    try:
        while some := turn(lambda: list(islice(choices, TOKENS_A_TURN))):
            text += "".join(decoder.push(choice.token) for choice in some)
    except FloatingPointError:
        text = ""
    return {
        "probe_loss": _loss(model, ids, turn),
        "held_out_loss": None if held_out is None else _by_group(model, held_out, turn).loss,
        "prompt": tokenizer.decode(prompt),
        "text": text,
    }


def _loss(model: Any, ids: np.ndarray, turn: Turn) -> float | None:
    """Cross-entropy of (T,) ids, each predicted from those before it; None for a single one."""
    return _by_group(model, _as_chunks(ids), turn).loss if len(ids) > 1 else None


def _as_chunks(ids: np.ndarray) -> list[Chunk]:
    """A text as the one sequence of the one chunk to score; none where it is a single token."""
    import torch

    from playground.data.batches import Chunk

    tokens = torch.from_numpy(ids.astype(np.int64))[None]
    return [Chunk(tokens[:, :-1], tokens[:, 1:], groups=torch.zeros_like(tokens[:, 1:]))] if len(ids) > 1 else []


def _of(chunk: Chunk) -> Any:
    """The group of each of its tokens: the chunks here have them."""
    assert chunk.groups is not None
    return chunk.groups


class _Scored(NamedTuple):
    """`nats` (G,) by group of what was scored, and how many tokens that were."""

    nats: np.ndarray
    n_tokens: int

    @property
    def loss(self) -> float | None:
        """In nats per token; None where it is no finite number."""
        loss = float(self.nats.sum()) / max(1, self.n_tokens)
        return loss if math.isfinite(loss) else None


def _by_group(model: Any, chunks: list[Chunk], turn: Turn) -> _Scored:
    """Cross-entropy over the chunks, one turn each."""
    import torch
    import torch.nn.functional as F

    def add(chunk: Chunk) -> None:
        with torch.no_grad():
            logits = model(chunk.inputs).flatten(0, 1).float()
        scored = chunk.targets.flatten() >= 0
        losses = F.cross_entropy(logits, chunk.targets.flatten(), reduction="none")[scored].double().numpy()
        np.add.at(nats, _of(chunk).flatten()[scored].numpy(), losses)

    groups = {int(group) for chunk in chunks for group in _of(chunk)[chunk.targets >= 0].unique()}
    nats = np.zeros(max(groups, default=0) + 1)
    for chunk in chunks:
        turn(partial(add, chunk))
    return _Scored(nats[sorted(groups)], sum(int((chunk.targets >= 0).sum()) for chunk in chunks))


def _held_out(root: Path, run_id: str) -> list[Chunk] | None:
    """A part of the held-out sample of a run's data; None where the data are no longer on this machine."""
    from torch import device

    from playground.data.batches import Chunk

    config = RunFolder(root, run_id).read_config()
    try:
        if not dataset.is_prepared(config.data, root):
            return None
        data = dataset.load(config.data, root)
    except (CorpusError, OSError):
        return None
    chunks = data.sample(config.width, device("cpu"), ABLATION_EVERY)
    rows = max(1, TOKENS_A_CHUNK // config.width)
    pieces = ((chunk.inputs.split(rows), chunk.targets.split(rows), _of(chunk).split(rows)) for chunk in chunks)
    return [Chunk(inputs, targets, groups=of) for piece in pieces for inputs, targets, of in zip(*piece, strict=True)]


def as_json(step: int, probe: Probe[np.ndarray], tokenizer: Tokenizer, maps: bool = True) -> dict:
    """A probe as the page draws it; arrays are left to orjson. Without `maps` the attention maps, by far the largest part, are left out.

    A map is the base64 of its lower triangle row by row, one byte per weight (255: weight 1).
    """
    tensors = probe.tensors
    ids = tensors["tokens"].tolist()
    n_layer, n_head = tensors["attention"].shape[:2]
    answer = {"step": step, "tokens": [tokenizer.token(i) for i in ids], "values": probe.values, "n_layer": n_layer, "n_head": n_head}
    if maps:
        answer["maps"] = triangles(tensors["attention"])
    for name in ("stream_rms", "grad_stream", "hidden_counts", "hidden_range", "lens_p", "lens_right"):
        if name in tensors:
            answer[name] = np.asarray(tensors[name], dtype=np.float32).round(4) if name.startswith("lens") else tensors[name]
    if "lens_top" in tensors:
        used = np.unique(tensors["lens_top"]).tolist()
        places = {token: i for i, token in enumerate(used)}
        answer["lens_words"] = [tokenizer.token(i) for i in used]
        answer["lens_top"] = np.vectorize(places.get, otypes=[np.int32])(tensors["lens_top"])
    answer["gains"] = {name.removeprefix("gain."): tensors[name].astype(np.float32) for name in tensors if name.startswith("gain.")}
    return answer


def triangles(maps: np.ndarray) -> str:
    """Base64 of the lower triangles of (L, H, T, T) maps, one byte per weight."""
    rows, columns = np.tril_indices(maps.shape[-1])
    return base64.b64encode(np.rint(maps[:, :, rows, columns].astype(np.float32) * 255).astype(np.uint8).tobytes()).decode()

"""What follows from a config (size, cost, data, diagram), as data for the picture and the search box. Knows nothing of Gradio."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from models.config import ModelConfig, complete, flops_per_token, n_params
from models.graph import Graph, formulas, graph
from models.knobs import SET, flat, said
from playground.config import estimate
from playground.config.experiment import NOT_COMPARED
from playground.config.presets import PRESETS, demonstrations
from playground.config.run import CompleteRun, RunConfig
from playground.data import corpora, dataset
from playground.data.config import DataConfig
from playground.data.dataset import About
from playground.data.tokenizers import Tokenizer, UnknownCharacters
from playground.runs import store
from playground.runs.store import Store

SPECS = RunConfig.specs()


def facts(config: CompleteRun, root: Path, compare: object = "") -> dict:
    """Figures, formulas and the graph of a complete config, beside a preset's where `compare` names one.

    Bytes, seconds on a machine of its own, FLOPs per token of one training step; how many runs train at this moment.
    """
    known = dataset.about(config.data, root)
    drawn = graph(config.model)
    return {
        "problems": [],
        "idle": idle(config),
        "cautions": cautions(config),
        "n_params": n_params(config.model),
        "flops": 3 * flops_per_token(config.model),
        "memory_bytes": estimate.memory_bytes(config),
        "seconds": seconds(config, root),
        "training_now": len(Store(root).runs_in(store.ACTIVE)),
        "data": about_data(config, known),
        "learns": learns(config, known),
        "formulas": formulas(config.model),
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "graph": asdict(drawn),
        "parts": by_part(drawn),
        "values": said(config),
        "other": beside(config, compare) if isinstance(compare, str) and compare in PRESETS else None,
    }


def learns(config: CompleteRun, known: About) -> dict:
    """How many tokens or examples a run trains on, and how many epochs (`times`) that makes."""
    steps, train = config.train.max_steps, config.train
    sequences = None if steps is None else steps * train.batch_size * train.accumulation
    total = sequences if sequences is None or known.is_task else sequences * config.width
    times = None if total is None else total / known.n_train
    return {"total": total, "unit": "examples" if known.is_task else "tokens", "times": times}


def about_data(config: CompleteRun, known: About) -> dict:
    """What the data panel says. Sizes in characters, tokens and examples; the floor in nats per token and bits per character."""
    task = config.data.task
    shown = {name: getattr(known, name) for name in (
        "kind", "title", "edition", "fingerprint", "n_chars", "n_tokens", "n_train", "n_held_out", "vocab_size", "floor", "floor_bits",
        "ceiling", "preview", "shown", "n_different", "exact",
    )}  # fmt: skip
    if task is None:
        source = corpora.BUILT_IN.get(config.data.source)
        return shown | {"lead": "" if source is None else source.about, "warnings": warnings(config, known)}
    shown_by = demonstrations(config.data.source).items()
    pair = [{"preset": preset, "architecture": shows.architecture, "learns": shows.learns} for preset, shows in shown_by]
    return shown | {"lead": task.rule, "about": task.about, "paper": task.paper, "pair": pair, "scored": config.data.scored, "warnings": []}


def warnings(config: CompleteRun, known: About) -> list[str]:
    """Warnings about a text that is too short for the model or the run."""
    found, times = [], learns(config, known)["times"]
    if known.n_train < n_params(config.model) / 20:
        found.append(
            f"The text is short for this model: {known.n_train:,} tokens to train on, and {n_params(config.model):,} parameters. "
            "It will overfit, that is learn the text by heart: watch the held-out loss rise."
        )
    elif times is not None and times > 20:
        found.append(f"This run reads the text {times:,.0f} times (epochs) and will learn parts of it by heart: watch the held-out loss.")
    if known.n_held_out < 20 * config.model.block_size:
        windows = known.n_held_out // config.model.block_size
        found.append(f"Only {windows:,} windows are held out, so the held-out loss is a rough estimate.")
    return found


def tokens(sentence: str, config: RunConfig, root: Path, waiting: dict[str, str]) -> list[dict]:
    """A sentence split by each tokenizer, for the panel. `waiting`: by tokenizer that is not ready yet, what is being done for it."""
    rows = []
    for kind, data in variants(config).items():
        if kind in waiting:
            rows.append({"kind": kind, "waiting": waiting[kind]})
            continue
        tokenizer = dataset.tokenizer(data, root)
        cut = {"vocab_size": tokenizer.vocab_size, "tokens": pieces(sentence, tokenizer)}
        rows.append({"kind": kind, "n_bytes": len(sentence.encode("utf-8", "replace")), **cut})
    return rows


def variants(config: RunConfig) -> dict[str, DataConfig]:
    """The data of a config under each tokenizer; a task has only its own."""
    if config.data.is_task:
        return {"its own": config.data}
    bpe_vocab = config.data.bpe_vocab
    changes = {"char": {"bpe_vocab": 1000}, "byte": {"bpe_vocab": 1000}, "bpe": {"bpe_vocab": bpe_vocab}}
    return {kind: config.data.model_copy(update={"tokenizer": kind, "fingerprint": None, **change}) for kind, change in changes.items()}


def pieces(sentence: str, tokenizer: Tokenizer) -> list[list]:
    """[text, whether the tokenizer can encode it] of each token."""
    try:
        return [[tokenizer.token(i), True] for i in tokenizer.encode(sentence).tolist()]
    except UnknownCharacters:
        return [[piece, True] if _reads(piece, tokenizer) else [piece, False] for piece in _parts(sentence, tokenizer)]


def _parts(sentence: str, tokenizer: Tokenizer) -> list[str]:
    return sentence.split() if tokenizer.kind == "word" else list(sentence)


def _reads(piece: str, tokenizer: Tokenizer) -> bool:
    try:
        return len(tokenizer.encode(piece)) > 0
    except UnknownCharacters:
        return False


def seconds(config: CompleteRun, root: Path) -> float | None:
    """The estimated training time of a run: from the machine's measured speed, or else scaled from the newest run that has
    one; None where neither is known yet."""
    machine = estimate.load(root)
    if machine is not None:
        return estimate.run_seconds(config, machine)
    speeds = ((run.readable_config, run.tokens_per_s) for run in Store(root).runs() if run.tokens_per_s)
    known = next(((config, speed) for config, speed in speeds if config is not None), None)
    return None if known is None else estimate.scaled_seconds(config, *known)


def section_id(name: str) -> str:
    return f"section-{name.lower().replace(' ', '-')}"


# The part of the drawing that a group of knobs shapes, by the kind of its nodes.
PARTS = {
    "Norms": "norm", "Residual stream": "add", "Attention": "attention", "Positions": "embedding", "MLP": "mlp",
    "Embedding and head": "head", "Data": "tokens", "Task": "tokens",
}  # fmt: skip
SHAPES = {"model.n_head": "attention", "model.n_embd": "embedding", "model.block_size": "embedding"}


def searchable() -> list[dict]:
    """Every knob with its section, its part of the drawing, and the text that the search box searches."""
    return [
        {
            "id": spec.elem_id,
            "path": spec.path,
            "label": spec.knob.label,
            "is_factor": spec.path not in NOT_COMPARED,
            "section": "" if spec.knob.open else f"in {spec.knob.group}",
            "section_id": section_id(spec.knob.group),
            "part": SHAPES.get(spec.path) or PARTS.get(spec.knob.group, ""),
            "words": f"{spec.path} {spec.knob.label} {spec.knob.help} {spec.knob.group} {' '.join(spec.choices)} {spec.knob.paper}".lower(),
        }
        for spec in SPECS
    ]


def idle(config: RunConfig) -> list[dict]:
    """The controls that have no effect with this config, each with a message that says what they need."""
    values, labels = flat(config), {spec.path: spec.knob.label for spec in SPECS}
    found = []
    for spec in SPECS:
        section = spec.path.rpartition(".")[0]
        missing = next((need for need in spec.needs if not need.met(values[f"{section}.{need.field}"])), None)
        if missing is not None:
            wanted = missing.wanted
            words = "set" if wanted == SET else " or ".join("on" if value is True else str(value) for value in wanted[:3])
            words += " or others like it" if len(wanted) > 3 else ""
            label = labels[f"{section}.{missing.field}"]
            found.append({"id": spec.elem_id, "message": f"No effect now: it needs {label} to be {words}."})
    return found


def cautions(config: CompleteRun) -> list[dict]:
    """The controls whose values are possible and probably not meant, each with a message that says why."""
    if not config.warms_up_to_the_end:
        return []
    peak = f"This is as long as the run ({config.train.max_steps:,} steps) or longer: the learning rate never reaches its peak."
    return [{"id": "optim-warmup_steps", "message": peak}]


def by_part(drawn: Graph) -> list[tuple[str, int, int]]:
    """(name, parameters, FLOPs per token of a forward pass) of each part, all layers together, and of the whole."""
    rows = []
    for node in drawn.nodes:
        n_params, n_flops = (drawn.n_distinct, drawn.n_layer) if node.in_block else (1, 1)
        if node.params or node.flops:
            times = f" × {drawn.n_layer}" if node.in_block else ""
            rows.append((f"{node.title}{times}", node.params * n_params, node.flops * n_flops))
    return [*rows, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]


def beside(config: CompleteRun, name: str) -> dict:
    """A preset's architecture to draw beside a config's, with the knobs in which they differ."""
    other = complete(PRESETS[name].config.model, config.model.vocab_size)
    mine, theirs = config.model.model_dump(), other.model_dump()
    specs = ModelConfig.specs()
    differs = [(s.knob.label, s.said(mine[s.path]), s.said(theirs[s.path])) for s in specs if mine[s.path] != theirs[s.path]]
    return {"title": PRESETS[name].title, "formulas": formulas(other), "graph": asdict(graph(other)), "differs": differs}

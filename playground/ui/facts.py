"""What a form amounts to, as data for the picture and the search box. Knows nothing of Gradio."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from models.config import ModelConfig, flops_per_token, n_params
from models.graph import Graph, formulas, graph
from models.knobs import SET, flat, met, parse
from playground import estimate
from playground.config import RunConfig
from playground.data.split import text_info
from playground.presets import PRESETS
from playground.store import Store

SPECS = RunConfig.specs()


def facts(config: RunConfig, root: Path, compare: object = "") -> dict:
    """Figures, formulas and the graph of a complete config, beside a preset's where `compare` names one.

    Bytes, seconds, FLOPs per token of one training step.
    """
    info = text_info(config.data.source, config.data.tokenizer, root)
    drawn = graph(config.model)
    return {
        "problems": [],
        "idle": idle(config),
        "n_params": n_params(config.model),
        "flops": 3 * flops_per_token(config.model),
        "memory_bytes": estimate.memory_bytes(config),
        "seconds": seconds(config, root),
        "n_train": info.n_tokens - info.n_held_out,
        "tokens": None if config.train.max_steps is None else config.tokens_per_step * config.train.max_steps,
        "text": asdict(info),
        "formulas": formulas(config.model),
        "graph": asdict(drawn),
        "parts": by_part(drawn),
        "other": beside(config, compare) if isinstance(compare, str) and compare in PRESETS else None,
    }


def seconds(config: RunConfig, root: Path) -> float | None:
    """How long a run will take here: by what the machine was measured to do, or else as the newest run
    that has a speed; None where there is nothing to go by yet."""
    machine = estimate.load(root)
    if machine is not None:
        return estimate.run_seconds(config, machine)
    known = next((run for run in Store(root).runs() if run.tokens_per_s), None)
    return None if known is None else estimate.scaled_seconds(config, parse(RunConfig, known.config), known.tokens_per_s)


def section_id(name: str) -> str:
    return f"section-{name.lower().replace(' ', '-')}"


def searchable() -> list[dict]:
    """Every knob with the words by which it can be found and the section it sits in."""
    return [
        {
            "id": spec.elem_id,
            "label": spec.knob.label,
            "section": "" if spec.knob.open else f"in {spec.knob.group}",
            "section_id": section_id(spec.knob.group),
            "words": f"{spec.path} {spec.knob.label} {spec.knob.help} {spec.knob.group} {' '.join(spec.choices)} {spec.knob.paper}".lower(),
        }
        for spec in SPECS
    ]


def idle(config: RunConfig) -> list[dict]:
    """The controls that have no effect with this config, each with what would give it one."""
    values = flat(config)
    found = []
    for spec in SPECS:
        if spec.knob.needs is None:
            continue
        field, wanted = spec.knob.needs
        path = f"{spec.path.rpartition('.')[0]}.{field}"
        if not met(spec.knob.needs, values[path]):
            label = next(other.knob.label for other in SPECS if other.path == path)
            words = "set" if wanted == SET else " or ".join("on" if value is True else str(value) for value in wanted)
            found.append({"id": spec.elem_id, "message": f"No effect now: it needs {label} to be {words}."})
    return found


def by_part(drawn: Graph) -> list[tuple[str, int, int]]:
    """(name, parameters, FLOPs per token of a forward pass) of each part, all layers together, and of the whole."""
    rows = []
    for node in drawn.nodes:
        n_params, n_flops = (drawn.n_distinct, drawn.n_layer) if node.in_block else (1, 1)
        if node.params or node.flops:
            times = f" × {drawn.n_layer}" if node.in_block else ""
            rows.append((f"{node.title}{times}", node.params * n_params, node.flops * n_flops))
    return [*rows, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]


def beside(config: RunConfig, name: str) -> dict:
    """A preset's architecture to draw beside a config's, with the knobs in which they differ."""
    other = PRESETS[name].config.model.model_copy(update={"vocab_size": config.model.vocab_size})
    mine, theirs = config.model.model_dump(), other.model_dump()
    specs = ModelConfig.specs()
    differs = [(s.knob.label, s.said(mine[s.path]), s.said(theirs[s.path])) for s in specs if mine[s.path] != theirs[s.path]]
    return {"title": PRESETS[name].title, "formulas": formulas(other), "graph": asdict(graph(other)), "differs": differs}

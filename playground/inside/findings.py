"""Findings: sentences on what is notable about a run, each by a rule with stated thresholds.

Works on recorded rows alone. Layers and heads are named from 1. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from models.choices import PLACEMENTS
from models.graph import stream_nodes
from playground.config.run import CompleteRun
from playground.inside.quantities import INDUCTION, PREVIOUS

VANISHES, SHORT_WARMUP = 30.0, 20
GROWS = 8.0
FORGOTTEN, KEPT = 0.1, 0.5
SINK, SINK_HEADS = 0.9, 1 / 2
OVERFIT_NATS, OVERFIT_SHARE, OVERFIT_AFTER = 0.02, 0.01, 3
BLIND, BLIND_STEPS = 0.02, 100
SPIKE, SPIKE_NATS = 1.3, 0.2
CLIPPED, CLIPPED_ROWS = 0.9, 20
DEAD, SATURATED = 0.3, 0.9
JUMPY, STUCK = 0.03, 1e-5
IDLE, OVERWRITES = 0.03, 1.5
OUTLIERS = 0.25
LENS_NATS, LENS_LATE = 0.05, 0.5
AT_FLOOR = 0.02
NAMED = 3  # heads and layers in one sentence
SMOOTH = 0.9


@dataclass(frozen=True)
class History:
    """What is known of a run so far: its config, and its recorded rows, oldest first; each row is an event's fields and its `step`.
    `facts` are those of its data."""

    config: CompleteRun
    progress: Sequence[Mapping[str, Any]]
    validation: Sequence[Mapping[str, Any]]
    measures: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any] | None = None

    def latest(self, quantity: str) -> dict[str, list]:
        """By node, per layer, from the newest row that has the quantity: not every probe follows a training step that was measured."""
        return next((row["values"][quantity] for row in reversed(self.measures) if (row.get("values") or {}).get(quantity)), {})

    def stream(self, quantity: str) -> list[tuple[int, float]]:
        """(layers passed, value) at each place of the stream that has one, in order."""
        first, ends = stream_nodes(self.config.model)
        values = self.latest(quantity)
        places = [(0, _at(values, first, 0))]
        places += [(layer + 1, _at(values, node, layer)) for layer in range(self.config.model.n_layer) for node in ends]
        return [(passed, value) for passed, value in places if value is not None]

    def heads(self, quantity: str, row: int = -1) -> list[tuple[float, int, int]]:
        """(value, layer, head) of every head, the largest first."""
        values = (self.measures[row].get("values") or {}).get(quantity) or {} if self.measures else {}
        found = []
        for layer, heads in enumerate(values.get("attn") or (), start=1):
            found += [(v, layer, head) for head, v in enumerate(heads or (), start=1) if _is_number(v)]
        return sorted(found, key=lambda each: -each[0])

    def layers(self, quantity: str) -> Iterator[tuple[str, int, float]]:
        """(node, layer from 1, value) wherever there is one."""
        for node, values in self.latest(quantity).items():
            for layer, value in enumerate(values or (), start=1):
                if _is_number(value):
                    yield node, layer, value


@dataclass(frozen=True)
class Rule:
    """`rule` states it for people; `view` of the Inside tab ("train": that tab) and `quantity` show where it comes from;
    `weight` is 3 for trouble, 2 for a finding, 1 for background. `say` gives the sentence, or None where it does not apply."""

    name: str
    rule: str
    view: str
    quantity: str
    weight: int
    say: Callable[[History], str | None]


def findings(history: History, at_most: int = 6) -> list[dict]:
    """The sentences that apply, the most important first: name, sentence, rule, view, quantity and weight."""
    found = []
    for rule in sorted(RULES, key=lambda rule: -rule.weight):
        sentence = rule.say(history)
        if sentence is not None:
            about = {name: getattr(rule, name) for name in ("name", "rule", "view", "quantity", "weight")}
            found.append(about | {"sentence": sentence})
    return found[:at_most]


# Gradients and updates.


def _vanishing(history: History) -> str | None:
    gradients = history.stream("grad_stream")
    if len(gradients) < 2:
        return None
    (first, low), (last, high) = gradients[0], gradients[-1]
    if low <= 0 < high:
        return f"No gradient reaches the embedding; {_place(last)} it is {high:.2g} nats per unit: it vanishes on its way down."
    if low <= 0 or high / low <= VANISHES:
        return None
    model, optim = history.config.model, history.config.optim
    is_post = PLACEMENTS[model.norm_placement].after
    why = " Post-norm without warm-up does this." if is_post and optim.warmup_steps < SHORT_WARMUP else ""
    return f"The gradient {_place(first)} is {_times(high / low)} smaller than {_place(last)}: it vanishes on its way down.{why}"


def _exploding(history: History) -> str | None:
    gradients = history.stream("grad_stream")
    if len(gradients) < 2 or gradients[-1][1] <= 0 or gradients[0][1] / gradients[-1][1] <= VANISHES:
        return None
    (first, high), (last, low) = gradients[0], gradients[-1]
    return f"The gradient {_place(first)} is {_times(high / low)} larger than {_place(last)}: it grows on its way down."


def _clipped(history: History) -> str | None:
    clip, last = history.config.optim.grad_clip, history.progress[-CLIPPED_ROWS:]
    rows = [row["grad_norm"] for row in last if _is_number(row.get("grad_norm"))]
    if clip is None or len(rows) < CLIPPED_ROWS:
        return None
    share = sum(norm > clip for norm in rows) / len(rows)
    if share < CLIPPED:
        return None
    return f"The gradient was above the clipping norm of {clip:g} in {_percent(share)} of the last points: clipping sets the steps' size."


def _jumpy(history: History) -> str | None:
    optim = history.config.optim
    if not history.measures or history.measures[-1].get("step", 0) <= optim.warmup_steps:
        return None
    # Gains of residual branches start at zero, so that any step is large beside them.
    ratios = ((v, node, layer) for node, layer, v in history.layers("update_ratio") if not node.endswith("add"))
    value, node, layer = max(ratios, default=(0.0, "", 0))
    if value <= JUMPY:
        return None
    return f"One step changes the weights of {_part(node, layer)} by {_percent(value)}: the learning rate may be too high."


def _stuck(history: History) -> str | None:
    ratios = [value for _, _, value in history.layers("update_ratio")]
    rate, optim = (history.progress[-1].get("lr") if history.progress else None), history.config.optim
    if not ratios or max(ratios) >= STUCK or not _is_number(rate) or rate < 0.5 * optim.lr:
        return None
    return f"One step changes no weights by more than {max(ratios):.1g} of their size: it hardly learns; try a higher learning rate."


# The residual stream.


def _grows(history: History) -> str | None:
    sizes = history.stream("stream_rms")
    if len(sizes) < 2 or sizes[0][1] <= 0 or sizes[-1][1] / sizes[0][1] <= GROWS:
        return None
    place = PLACEMENTS[history.config.model.norm_placement]
    why = " Pre-norm never rescales the stream." if place.before and place.n_norms == 1 else ""
    return f"The stream grows {_times(sizes[-1][1] / sizes[0][1])} from the embedding to {_place(sizes[-1][0], the=True)}.{why}"


def _forgotten(history: History) -> str | None:
    likeness = history.stream("stream_cosine")
    if history.config.model.residual or len(likeness) < 2 or abs(likeness[-1][1]) >= FORGOTTEN:
        return None
    gone = next(passed for passed, value in likeness if abs(value) < FORGOTTEN)
    return f"Without residuals nothing of the embedding is left {_place(gone)}: each layer sees only the output of the one before."


def _kept(history: History) -> str | None:
    likeness = history.stream("stream_cosine")
    if not history.config.model.residual or len(likeness) < 2 or likeness[-1][1] <= KEPT:
        return None
    return f"The last layer still carries the embedding (cosine {likeness[-1][1]:.2f}): residuals preserve it."


def _idle(history: History) -> str | None:
    if not history.config.model.residual:  # without residuals a sublayer replaces the stream, however small its output is
        return None
    shares: dict[int, list[float]] = {}
    for _, layer, value in history.layers("sublayer_share"):
        shares.setdefault(layer, []).append(value)
    idle = [layer for layer, values in sorted(shares.items()) if max(values) < IDLE]
    if not idle:
        return None
    verb = "changes" if len(idle) == 1 else "change"
    return f"{_layers(idle)} {verb} the stream by less than {_percent(IDLE)}: the model could nearly do without."


def _overwrites(history: History) -> str | None:
    if not history.config.model.residual:
        return None
    value, node, layer = max(((v, node, layer) for node, layer, v in history.layers("sublayer_share") if layer > 1), default=(0.0, "", 0))
    if value <= OVERWRITES:
        return None
    return f"{_part(node, layer, capital=True)} adds {value:.2g} times the size of the stream: it overwrites rather than refines."


# Activations.


def _dead(history: History) -> str | None:
    worst = max(((value, layer) for _, layer, value in history.layers("dead_units")), default=(0.0, 0))
    if worst[0] <= DEAD:
        return None
    return f"{_percent(worst[0])} of the hidden units of layer {worst[1]} are 0 on every token of the probe text: they are dead here."


def _saturated(history: History) -> str | None:
    worst = max(((value, layer) for _, layer, value in history.layers("flat_units")), default=(0.0, 0))
    if history.config.model.units_die or worst[0] <= SATURATED:
        return None
    return f"{_percent(worst[0])} of the activations in layer {worst[1]} lie in the function's flat tail: little is learnt through them."


def _outliers(history: History) -> str | None:
    worst = max(((value, passed) for passed, value in history.stream("stream_outliers")), default=(0.0, 0))
    if worst[0] <= OUTLIERS:
        return None
    share = f"{_percent(worst[0])} of the largest possible kurtosis"
    return f"A few channels of the stream carry far larger numbers than the rest {_place(worst[1])} ({share})."


# Heads.


def _sinks(history: History) -> str | None:
    heads = history.heads("attn_first")
    sinks = [each for each in heads if each[0] > SINK]
    if len(sinks) < 2 or len(sinks) < SINK_HEADS * len(heads):
        return None
    return f"{len(sinks)} of {len(heads)} heads put over {_percent(SINK)} of their attention on the first token."


def _previous(history: History) -> str | None:
    found = [each for each in history.heads("attn_previous") if each[0] >= PREVIOUS]
    if not found:
        return None
    return f"{_heads(found)} {'looks' if len(found) == 1 else 'look'} at the previous token ({found[0][0]:.2f})."


def _induction(history: History) -> str | None:
    found = [each for each in history.heads("attn_induction") if each[0] >= INDUCTION]
    if not found:
        return None
    best = [max((value for value, _, _ in history.heads("attn_induction", row)), default=0.0) for row in range(len(history.measures))]
    since = max((i for i, value in enumerate(best) if value < INDUCTION / 2), default=None)
    when = ""
    if since is not None:
        reached = next(i for i in range(since, len(best)) if best[i] >= INDUCTION)
        when = f" This appeared between steps {history.measures[since]['step']:,} and {history.measures[reached]['step']:,}."
    what = "is an induction head" if len(found) == 1 else "are induction heads"
    copies = "it copies" if len(found) == 1 else "they copy"
    return f"{_heads(found)} {what} ({found[0][0]:.2f}): {copies} what followed the same token before.{when}"


# Losses.


def _overfits(history: History) -> str | None:
    points = [(row["step"], row["loss"]) for row in history.validation if not row.get("whole") and _is_number(row.get("loss"))]
    if len(points) <= OVERFIT_AFTER:
        return None
    best = min(range(len(points)), key=lambda i: points[i][1])
    (step, low), now = points[best], points[-1][1]
    if len(points) - 1 - best < OVERFIT_AFTER or now - low <= max(OVERFIT_NATS, OVERFIT_SHARE * low):
        return None
    training = _smoothed(history)
    before = [loss for at, loss in training if at <= step]
    if not before or training[-1][1] >= before[-1]:
        return None
    return f"The training loss falls, the held-out loss rises since step {step:,}: over-fitting."


def _blind(history: History) -> str | None:
    vocabulary, training = history.config.model.vocab_size, _smoothed(history)
    if not vocabulary or not training or training[-1][0] < BLIND_STEPS or training[-1][1] < (1 - BLIND) * math.log(vocabulary):
        return None
    step, loss = training[-1]
    return f"After {step:,} steps the loss is {loss:.2f} nats per token, that of guessing blindly: it has learnt nothing yet."


def _spike(history: History) -> str | None:
    training = _smoothed(history)
    if not training:
        return None
    step, low = min(training, key=lambda each: each[1])
    now = training[-1][1]
    if now <= SPIKE * low or now <= low + SPIKE_NATS:
        return None
    return f"The training loss has risen from {low:.2f} nats per token at step {step:,} to {now:.2f}: training is not stable."


def _at_floor(history: History) -> str | None:
    floor = (history.facts or {}).get("floor")
    losses = [row["loss"] for row in history.validation if _is_number(row.get("loss"))]
    if not _is_number(floor) or not losses or losses[-1] - floor > AT_FLOOR:
        return None
    return f"The held-out loss is within {max(0.0, losses[-1] - floor):.3f} nats per token of the best possible."


# The logit lens.


def _early(history: History) -> str | None:
    losses, n = dict(history.stream("lens_loss")), history.config.model.n_layer
    if n not in losses or n < 2:
        return None
    enough = min(passed for passed, loss in losses.items() if loss <= losses[n] + LENS_NATS)
    if enough == n or (enough == 0 and losses[0] <= losses[n]):
        return None
    where = f"after layer {enough} of {n}" if enough else "at the embedding"
    return f"Stopping {where} would cost only {max(0.0, losses[enough] - losses[n]):.2g} nats per token: the layers after it add little."


def _late(history: History) -> str | None:
    losses, n = dict(history.stream("lens_loss")), history.config.model.n_layer
    if n < 2 or any(passed not in losses for passed in (0, n - 1, n)):
        return None
    drop, last = losses[0] - losses[n], losses[n - 1] - losses[n]
    if drop <= LENS_NATS or last <= LENS_LATE * drop:
        return None
    return f"{_percent(min(1.0, last / drop))} of what the model knows appears only in its last layer."


RULES = (
    Rule(
        "vanishing-gradient", f"the gradient at the last place of the stream is over {VANISHES:g} times that at the embedding",
        "diagram", "grad_stream", 3, _vanishing,
    ),
    Rule(
        "exploding-gradient", f"the gradient at the embedding is over {VANISHES:g} times that at the last place of the stream",
        "diagram", "grad_stream", 3, _exploding,
    ),
    Rule(
        "over-fitting", f"{OVERFIT_AFTER} validations or more since the best, the last one worse by {OVERFIT_NATS:g} nats and "
        f"{OVERFIT_SHARE:.0%}, while the smoothed training loss fell", "train", "", 3, _overfits,
    ),
    Rule(
        "nothing-learnt", f"after {BLIND_STEPS} steps the smoothed training loss is within {BLIND:.0%} of the logarithm of the vocabulary",
        "train", "", 3, _blind,
    ),
    Rule(
        "unstable", f"the smoothed training loss is over {SPIKE:g} times its lowest, and {SPIKE_NATS:g} nats above it",
        "train", "", 3, _spike,
    ),
    Rule(
        "updates-too-large", f"after the warm-up a step changes some part by over {JUMPY:.0%} of its weights",
        "diagram", "update_ratio", 3, _jumpy,
    ),
    Rule(
        "updates-too-small", f"a step changes every part by under {STUCK:g} of its weights, at half the full learning rate or more",
        "diagram", "update_ratio", 3, _stuck,
    ),
    Rule("dead-units", f"over {DEAD:.0%} of a layer's hidden units are 0 on every token", "diagram", "dead_units", 3, _dead),
    Rule(
        "saturated-units", f"over {SATURATED:.0%} of a layer's activations lie in the flat tail of the function",
        "diagram", "flat_units", 3, _saturated,
    ),
    Rule("induction-heads", f"a head's induction score is {INDUCTION:g} or more", "heads", "attn_induction", 2, _induction),
    Rule("attention-sink", f"half of the heads or more put over {SINK:.0%} on the first token", "heads", "attn_first", 2, _sinks),
    Rule("previous-token-heads", f"a head puts {PREVIOUS:g} or more on the previous token", "heads", "attn_previous", 2, _previous),
    Rule("best-possible", f"the held-out loss is within {AT_FLOOR:g} nats of the floor of the data", "train", "", 2, _at_floor),
    Rule(
        "stops-early", f"after an earlier layer the logit lens is within {LENS_NATS:g} nats of the model's own loss",
        "lens", "lens_loss", 2, _early,
    ),
    Rule("answers-late", f"over {LENS_LATE:.0%} of the fall of the lens' loss lies in the last layer", "lens", "lens_loss", 2, _late),
    Rule(
        "embedding-lost", f"without residuals, the stream's cosine with the embedding ends under {FORGOTTEN:g}",
        "diagram", "stream_cosine", 2, _forgotten,
    ),
    Rule("overwrites", f"a sublayer after layer 1 adds over {OVERWRITES:g} times the stream", "diagram", "sublayer_share", 2, _overwrites),
    Rule("idle-layers", f"all sublayers of a layer add under {IDLE:.0%} of the stream", "diagram", "sublayer_share", 2, _idle),
    Rule(
        "outlier-channels", f"kurtosis over {OUTLIERS:.0%} of the largest possible somewhere in the stream",
        "diagram", "stream_outliers", 2, _outliers,
    ),
    Rule("stream-grows", f"the stream ends over {GROWS:g} times as large as the embedding", "diagram", "stream_rms", 1, _grows),
    Rule("embedding-kept", f"the stream's cosine with the embedding ends over {KEPT:g}", "diagram", "stream_cosine", 1, _kept),
    Rule(
        "always-clipped", f"the gradient norm is above the clipping norm in {CLIPPED:.0%} of the last {CLIPPED_ROWS} points",
        "train", "", 1, _clipped,
    ),
)  # fmt: skip


# Words.


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _at(values: Mapping[str, Sequence], node: str, layer: int) -> float | None:
    found = values.get(node) or ()
    return found[layer] if layer < len(found) and _is_number(found[layer]) else None


def _smoothed(history: History) -> list[tuple[int, float]]:
    """(step, training loss) as an exponential average that is unbiased at its start."""
    found, total, weights = [], 0.0, 0.0
    for row in history.progress:
        if _is_number(row.get("loss")):
            total, weights = SMOOTH * total + row["loss"], SMOOTH * weights + 1
            found.append((row["step"], total / weights))
    return found


def _place(passed: int, the: bool = False) -> str:
    if the:
        return f"layer {passed}" if passed else "the embedding"
    return f"after layer {passed}" if passed else "at the embedding"


def _times(ratio: float) -> str:
    return f"{float(f'{ratio:.2g}'):,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _layers(layers: list[int]) -> str:
    return f"Layer {layers[0]}" if len(layers) == 1 else f"Layers {_and([str(layer) for layer in layers])}"


def _heads(found: list[tuple[float, int, int]]) -> str:
    """The strongest heads by name, and how many more there are."""
    names = [f"layer {layer}, head {head}" for _, layer, head in found[:NAMED]]
    if len(found) > NAMED:
        names.append(f"{len(found) - NAMED} more")
    text = "; ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
    return text[0].upper() + text[1:]


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _part(node: str, layer: int, capital: bool = False) -> str:
    """A node of the graph in words."""
    part, _, rest = node.partition(".")
    name = {"attn": "attention", "mlp": "MLP"}.get(part)
    if name is None:
        text = {"embedding": "the embedding", "embd_norm": "the norm of the embedding", "norm": "the final norm", "head": "the head"}.get(
            node, f"the addition in layer {layer}"
        )
    elif rest.startswith("norm"):
        text = f"the norm {'before' if rest == 'norm_in' else 'after'} {name} of layer {layer}"
    elif rest:
        text = f"the addition after {name} in layer {layer}"
    else:
        text = f"the {name} of layer {layer}"
    return text[0].upper() + text[1:] if capital else text

"""The rules of the findings: what is said of a run, and from which thresholds on. Layers and heads are named from 1.

`python -m tests.check_findings` holds them against runs of which it is known what ails them. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, pstdev

from models.choices import PLACEMENTS
from playground.inside import words
from playground.inside.history import SPIKE_DEVIATIONS, SPIKE_NATS, History, is_number
from playground.inside.quantities import INDUCTION, PREVIOUS
from playground.inside.words import percent, times

VANISHES, PER_LAYER, SHORT_WARMUP = 30.0, 1.5, 20
GROWS = 8.0
LOST, KEPT, BROUGHT = 0.1, 0.9, 0.3
SINK, SINK_HEADS = 0.9, 1 / 2
COLLAPSED, COLLAPSED_HEADS = 0.1, 0.9
OVERFIT_NATS, OVERFIT_SHARE, OVERFIT_AFTER = 0.02, 0.01, 3
GAP_NATS, GAP_SHARE, GAP_ERRORS, GAP_POINTS = 0.1, 0.05, 3.0, 20
BLIND, WORSE_NATS, ABOVE_COUNTING = 0.02, 0.05, 0.05
RISEN, RISEN_NATS = 1.3, 0.2
FLAT_POINTS, FLAT_AFTER, FLAT_SHARE, FLAT_RATE = 40, 0.2, 0.002, 0.5
CLIPPED, CLIPPED_ROWS = 0.9, 20
DEAD, SATURATED = 0.3, 0.9
JUMPY, STUCK = 0.3, 3e-4
IDLE, OVERWRITES = 0.03, 1.5
OUTLIERS = 0.25
LENS_NATS, LENS_LATE = 0.05, 0.5
AT_FLOOR = 0.02


@dataclass(frozen=True)
class Rule:
    """`rule` states it for people; `view` of the Inside tab ("play": that tab) and `quantity` show where it comes from;
    `weight` is 3 for trouble, 2 for a finding, 1 for background. `say` gives the sentence, or None where it does not apply.
    `of_training`: it judges what was learnt, and says nothing of an initial state."""

    name: str
    rule: str
    view: str
    quantity: str
    weight: int
    say: Callable[[History], str | None]
    of_training: bool = False


# Gradients and updates.


def _vanishing(history: History) -> str | None:
    gradients = history.layer_ends("grad_relative")
    if len(gradients) < 3:
        return None
    (first, low), (last, high) = gradients[0], gradients[-1]
    model, optim = history.config.model, history.config.optim
    is_post = PLACEMENTS[model.norm_placement].after
    why = " Post-norm without warm-up does this." if is_post and optim.warmup_steps < SHORT_WARMUP else ""
    if low <= 0 < high:
        return f"No gradient reaches layer {first}; after layer {last} it is {high:.2g} nats: it vanishes on its way down.{why}"
    per_layer = _per_layer([value for _, value in gradients])
    if per_layer is None or per_layer < PER_LAYER or high / low < VANISHES:
        return None
    return (
        f"Relative to the stream the gradient shrinks {times(per_layer)} a layer on its way down, {times(high / low)} from layer {last} "
        f"to layer {first}: it vanishes.{why}"
    )


def _exploding(history: History) -> str | None:
    gradients = history.layer_ends("grad_relative")
    per_layer = _per_layer([value for _, value in reversed(gradients)])
    if len(gradients) < 3 or per_layer is None or per_layer < PER_LAYER or gradients[0][1] < VANISHES * gradients[-1][1]:
        return None
    (first, high), (last, low) = gradients[0], gradients[-1]
    return (
        f"Relative to the stream the gradient grows {times(per_layer)} a layer on its way down, {times(high / low)} from layer {last} "
        f"to layer {first}: it explodes."
    )


def _per_layer(values: list[float]) -> float | None:
    """The median of how many times each value is larger than the one before."""
    factors = [later / earlier for earlier, later in pairwise(values) if earlier > 0]
    return median(factors) if factors else None


def _clipped(history: History) -> str | None:
    clip, last = history.config.optim.grad_clip, history.progress[-CLIPPED_ROWS:]
    rows = [row["grad_norm"] for row in last if is_number(row.get("grad_norm"))]
    if clip is None or len(rows) < CLIPPED_ROWS:
        return None
    share = sum(norm > clip for norm in rows) / len(rows)
    if share < CLIPPED:
        return None
    return f"The gradient was above the clipping norm of {clip:g} in {percent(share)} of the last points: clipping sets the steps' size."


def _jumpy(history: History) -> str | None:
    # During the warm-up too: what it makes of the weights then, no later step looks large beside. But not gains of residual branches:
    # they start at zero.
    found = ((v, step, node, layer) for step, node, layer, v in history.layers_after(0, "update_ratio") if not node.endswith("add"))
    value, step, node, layer = max(found, default=(0.0, 0, "", 0))
    if value <= JUMPY:
        return None
    return (
        f"At step {step:,} one step changed the weights of {words.part(node, layer)} by {percent(value)}: "
        "the learning rate may be too high."
    )


def _stuck(history: History) -> str | None:
    ratios = [value for _, _, _, value in history.layers_after(history.config.optim.warmup_steps, "update_ratio")]
    if not ratios or max(ratios) >= STUCK:
        return None
    return f"No step since the warm-up changed any weights by more than {max(ratios):.0e} of their size: try a higher learning rate."


def _endless_warmup(history: History) -> str | None:
    steps, warmup = history.config.train.max_steps, history.config.optim.warmup_steps
    if steps is None or not history.config.warms_up_to_the_end:
        return None
    share = percent(steps / max(1, warmup))
    return f"The warm-up ({warmup:,} steps) is as long as the run ({steps:,}) or longer: the learning rate gets to {share} of its peak."


# The residual stream.


def _grows(history: History) -> str | None:
    sizes = history.stream("stream_rms")
    if len(sizes) < 2 or sizes[0][1] <= 0 or sizes[-1][1] / sizes[0][1] <= GROWS:
        return None
    place = PLACEMENTS[history.config.model.norm_placement]
    why = " Pre-norm never rescales the stream." if place.before and place.n_norms == 1 else ""
    return f"The stream grows {times(sizes[-1][1] / sizes[0][1])} from the embedding to {words.place(sizes[-1][0])}.{why}"


def _read(history: History, quantity: str = "reads_token") -> tuple[list[tuple[int, float]], float] | None:
    """What linear probes read at each place, and what one names right that reads nothing; None where that was not measured."""
    shares, floor = history.stream(quantity), [value for _, _, value in history.layers("reads_majority")]
    return (shares, floor[0]) if len(shares) >= 2 and shares[0][0] == 0 and floor else None


def _lost(history: History) -> str | None:
    found = _read(history)
    if found is None:
        return None
    (shares, floor), ceiling = found, found[0][0][1]
    least = floor + LOST * (ceiling - floor)
    if shares[-1][1] >= least:
        return None
    gone = next(passed for passed, share in shares if share < least)
    why = "" if history.config.model.residual else "; without residuals each layer sees only the output of the one before"
    return (
        f"The token at a position can be read off the embedding in {percent(ceiling)} of cases, {words.after(gone)} in "
        f"{percent(dict(shares)[gone])}: it is lost (naming the commonest token is right in {percent(floor)}){why}."
    )


def _kept(history: History) -> str | None:
    found = _read(history)
    if found is None or not history.config.model.residual:
        return None
    (shares, floor), ceiling = found, found[0][0][1]
    if ceiling <= floor or shares[-1][1] < floor + KEPT * (ceiling - floor):
        return None
    return (
        f"The last layer still carries the token at its position: a linear probe reads {percent(shares[-1][1])} "
        f"({percent(ceiling)} at the embedding; naming the commonest is right in {percent(floor)}). Residuals preserve it."
    )


def _brought(history: History) -> str | None:
    found = _read(history, "reads_previous")
    if found is None or not history.config.model.has_attention:
        return None
    shares, _ = found
    passed, best = max(shares, key=lambda each: each[1])
    if best < shares[0][1] + BROUGHT:
        return None
    return (
        f"{words.after(passed).capitalize()} the token before can be read in {percent(best)} of places, at the embedding in "
        f"{percent(shares[0][1])}: attention has brought it there."
    )


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
    return f"{words.layers(idle)} {verb} the stream by less than {percent(IDLE)}: the model could nearly do without."


def _overwrites(history: History) -> str | None:
    if not history.config.model.residual:
        return None
    value, node, layer = max(((v, node, layer) for node, layer, v in history.layers("sublayer_share") if layer > 1), default=(0.0, "", 0))
    if value <= OVERWRITES:
        return None
    return f"{words.part(node, layer, capital=True)} adds {value:.2g} times the size of the stream: it overwrites rather than refines."


# Activations.


def _dead(history: History) -> str | None:
    worst = max(((value, layer) for _, layer, value in history.layers("dead_units")), default=(0.0, 0))
    if worst[0] <= DEAD:
        return None
    return f"{percent(worst[0])} of the hidden units of layer {worst[1]} are 0 on every token of the probe text: they are dead here."


def _saturated(history: History) -> str | None:
    worst = max(((value, layer) for _, layer, value in history.layers("flat_units")), default=(0.0, 0))
    if history.config.model.units_die or worst[0] <= SATURATED:
        return None
    return f"{percent(worst[0])} of the activations in layer {worst[1]} lie in the function's flat tail: little is learnt through them."


def _outliers(history: History) -> str | None:
    worst = max(((value, passed) for passed, value in history.stream("stream_outliers")), default=(0.0, 0))
    if worst[0] <= OUTLIERS:
        return None
    share = f"{percent(worst[0])} of the largest possible kurtosis"
    return f"A few channels of the stream carry far larger numbers than the rest {words.after(worst[1])} ({share})."


# Heads.


def _sinks(history: History) -> str | None:
    heads = history.heads("attn_first")
    sinks = [each for each in heads if each[0] > SINK]
    if len(sinks) < 2 or len(sinks) < SINK_HEADS * len(heads):
        return None
    return f"{len(sinks)} of {len(heads)} heads put over {percent(SINK)} of their attention on the first token."


def _collapsed(history: History) -> str | None:
    heads = history.heads("attn_entropy")
    sharp = [each for each in heads if each[0] < COLLAPSED]
    line = "bigram" if history.line("bigram") is not None else "unigram"
    if len(heads) < 2 or len(sharp) < COLLAPSED_HEADS * len(heads) or history.is_below(line) is not False:
        return None
    return (
        f"{len(sharp)} of {len(heads)} heads put all of their attention on a single token (entropy under {COLLAPSED:g} nats), and the loss "
        f"is no better than the {line} line: attention has collapsed."
    )


def _previous(history: History) -> str | None:
    found = [each for each in history.heads("attn_previous") if each[0] >= PREVIOUS]
    if not found:
        return None
    return f"{words.heads(found)} {'looks' if len(found) == 1 else 'look'} at the previous token ({found[0][0]:.2f})."


def _induction(history: History) -> str | None:
    errors = {(layer, head): error for error, layer, head in history.heads("attn_induction_error")}
    found = [each for each in history.heads("attn_induction") if each[0] >= INDUCTION]
    if not found:
        return None
    best = [max((value for value, _, _ in history.heads("attn_induction", row)), default=0.0) for row in range(len(history.measures))]
    since = max((i for i, value in enumerate(best) if value < INDUCTION / 2), default=None)
    when = ""
    if since is not None and any(value >= INDUCTION for value in best[since:]):
        reached = next(i for i in range(since, len(best)) if best[i] >= INDUCTION)
        when = f" This appeared between steps {history.measures[since]['step']:,} and {history.measures[reached]['step']:,}."
    value, *where = found[0]
    error = errors.get((where[0], where[1]))
    score = f"{value:.2f}" if error is None else f"{value:.2f} ± {error:.2f}"
    what = "is an induction head" if len(found) == 1 else "are induction heads"
    copies = "it copies" if len(found) == 1 else "they copy"
    return f"{words.heads(found)} {what} ({score}): {copies} what followed the same token before.{when}"


def _no_context(history: History) -> str | None:
    if history.config.model.has_attention:
        return None
    line = history.line("bigram")
    reach = f": counting pairs of tokens reaches {line:.2f} nats per token, and it cannot get far below" if line is not None else ""
    return f"Without attention nothing of earlier tokens reaches a prediction: it sees the last token and its position alone{reach}."


# Losses.


def _overfits(history: History) -> str | None:
    points = history.curve
    if len(points) <= OVERFIT_AFTER:
        return None
    best = min(range(len(points)), key=lambda i: points[i].loss)
    (low, _, step), now = points[best], points[-1].loss
    if len(points) - 1 - best < OVERFIT_AFTER or now - low <= max(OVERFIT_NATS, OVERFIT_SHARE * low):
        return None
    before = [loss for at, loss in history.smoothed if at <= step]
    if not before or history.smoothed[-1][1] >= before[-1]:
        return None
    return (
        f"The training loss falls, the held-out loss rises since step {step:,} (by {now - low:.2f} nats per token, on the same passages): "
        "over-fitting."
    )


def _gap(history: History) -> str | None:
    training, judged = history.recent(GAP_POINTS), history.curve[-1] if history.curve else None
    if training is None or judged is None or judged.step < 0.9 * training.step:
        return None
    gap, error = judged.loss - training.loss, math.hypot(judged.error, training.error)
    if gap <= max(GAP_NATS, GAP_SHARE * training.loss, GAP_ERRORS * error):
        return None
    return (
        f"Held-out data cost {gap:.2f} ± {error:.2f} nats per token more than the training data: part of what it has learnt holds for "
        "those alone."
    )


def _worse(history: History) -> str | None:
    chance, level = history.line("chance"), history.level
    if chance is None or level is None or level.loss <= chance + max(WORSE_NATS, 3 * level.error):
        return None
    return f"The loss is {level.loss:.2f} nats per token, worse than guessing blindly ({chance:.2f})."


def _blind(history: History) -> str | None:
    chance, unigram, level = history.line("chance"), history.line("unigram"), history.level
    if chance is None or level is None or _worse(history):
        return None
    if level.loss >= (1 - BLIND) * chance:
        return f"The loss is {level.loss:.2f} nats per token, that of guessing blindly ({chance:.2f}): it has learnt nothing yet."
    if unigram is not None and level.loss > (1 + ABOVE_COUNTING) * unigram:
        return f"The loss is {level.loss:.2f} nats per token, and counting tokens reaches {unigram:.2f}: it does not even know these yet."
    return None


def _frequencies(history: History) -> str | None:
    unigram, chance, level = history.line("unigram"), history.line("chance"), history.level
    if unigram is None or chance is None or level is None or unigram > (1 - BLIND) * chance:
        return None
    if history.is_below("unigram") is not False or _blind(history) or _worse(history):
        return None
    return (
        f"It knows only how frequent each token is: its loss is {level.loss:.2f} nats per token, and counting tokens alone reaches "
        f"{unigram:.2f}."
    )


def _unstable(history: History) -> str | None:
    if not history.smoothed:
        return None
    step, low = min(history.smoothed, key=lambda each: each[1])
    now = history.smoothed[-1][1]
    if now > RISEN * low and now > low + RISEN_NATS:
        return f"The training loss has risen from {low:.2f} nats per token at step {step:,} to {now:.2f}: training is not stable."
    spikes = [spike for spike in history.spikes if spike.step > history.config.optim.warmup_steps]
    if not spikes:
        return None
    worst = max(spikes, key=lambda each: each.loss - each.before)
    more = f", and did so {len(spikes) - 1} more times" if len(spikes) > 2 else ", and did so once more" if len(spikes) == 2 else ""
    return (
        f"At step {worst.step:,} the training loss jumped from {worst.before:.2f} to {worst.loss:.2f} nats per token{more}: training is "
        "not stable."
    )


def _plateau(history: History) -> str | None:
    steps = history.config.train.max_steps
    points = [row for row in history.progress if is_number(row.get("loss")) and is_number(row.get("lr"))]
    window = points[-max(FLAT_POINTS, len(points) // 3) :]
    is_late = steps is None or history.step >= FLAT_AFTER * steps
    if len(points) < 2 * FLAT_POINTS or not is_late or window[-1]["lr"] < FLAT_RATE * max(row["lr"] for row in points):
        return None
    if _at_floor(history) or not history.is_below("unigram"):
        return None
    half = len(window) // 2
    before, after = ([row["loss"] for row in part] for part in (window[:half], window[-half:]))
    fall, error = fmean(before) - fmean(after), math.hypot(pstdev(before), pstdev(after)) / math.sqrt(half)
    if abs(fall) > max(FLAT_SHARE * fmean(after), 2 * error) or 2 * error > 5 * FLAT_SHARE * fmean(after):
        return None
    since = window[0]["step"]
    return f"Since step {since:,} the training loss has hardly moved (by {-fall:+.3f} ± {error:.1g} nats per token): a plateau."


def _at_floor(history: History) -> str | None:
    floor = history.line("floor")
    losses = [row["loss"] for row in history.validation if is_number(row.get("loss"))]
    if floor is None or not losses or losses[-1] - floor > AT_FLOOR:
        return None
    what = "the best possible" if history.config.data.is_task else "the lower bound of these stories"
    return f"The held-out loss is within {max(0.0, losses[-1] - floor):.3f} nats per token of {what}."


# The logit lens.


def _early(history: History) -> str | None:
    losses, n = dict(history.stream("lens_loss")), history.config.model.n_layer
    if n not in losses or n < 2 or history.is_below("unigram") is False:
        return None
    enough = min(passed for passed, loss in losses.items() if loss <= losses[n] + LENS_NATS)
    if enough == n or (enough == 0 and losses[0] <= losses[n]):
        return None
    where = f"after layer {enough} of {n}" if enough else "at the embedding"
    return f"Stopping {where} would cost only {max(0.0, losses[enough] - losses[n]):.2g} nats per token: the layers after it add little."


def _late(history: History) -> str | None:
    losses, n = dict(history.stream("lens_loss")), history.config.model.n_layer
    if n < 2 or any(passed not in losses for passed in (0, n - 1, n)) or history.is_below("unigram") is False:
        return None
    drop, last = losses[0] - losses[n], losses[n - 1] - losses[n]
    if drop <= LENS_NATS or last <= LENS_LATE * drop:
        return None
    return f"{percent(min(1.0, last / drop))} of what the model knows appears only in its last layer."


RULES = (
    Rule(
        "vanishing-gradient",
        f"relative to the stream, the gradient after the last layer is over {VANISHES:g} times that after the first, and half of the "
        f"layers or more shrink it {PER_LAYER:g} times", "diagram", "grad_relative", 3, _vanishing,
    ),
    Rule(
        "exploding-gradient",
        f"relative to the stream, the gradient after the first layer is over {VANISHES:g} times that after the last, and half of the "
        f"layers or more enlarge it {PER_LAYER:g} times", "diagram", "grad_relative", 3, _exploding,
    ),
    Rule(
        "over-fitting", f"{OVERFIT_AFTER} points of the held-out curve or more since the best, the last one worse by {OVERFIT_NATS:g} nats "
        f"and {OVERFIT_SHARE:.0%}, while the smoothed training loss fell", "play", "", 3, _overfits, True,
    ),
    Rule(
        "worse-than-chance", f"the loss is over {WORSE_NATS:g} nats and three standard errors above the logarithm of the vocabulary",
        "play", "", 3, _worse,
    ),
    Rule(
        "nothing-learnt", f"after the initial state the loss is within {BLIND:.0%} of the logarithm of the vocabulary, or "
        f"{ABOVE_COUNTING:.0%} above the unigram line", "play", "", 3, _blind, True,
    ),
    Rule(
        "only-frequencies", f"after the initial state the loss is within {ABOVE_COUNTING:.0%} of the unigram line or not clearly below it, "
        "and that line lies below chance", "play", "", 3, _frequencies, True,
    ),
    Rule(
        "unstable", f"the smoothed training loss is over {RISEN:g} times its lowest and {RISEN_NATS:g} nats above it; or a point after the "
        f"warm-up is above the 20 before it, and above their median by {SPIKE_NATS:g} nats and {SPIKE_DEVIATIONS:g} deviations",
        "play", "", 3, _unstable, True,
    ),
    Rule(
        "updates-too-large", f"a step changed some part by over {JUMPY:.0%} of its weights",
        "diagram", "update_ratio", 3, _jumpy,
    ),
    Rule(
        "updates-too-small", f"no step after the warm-up changed any part by {STUCK:g} of its weights",
        "diagram", "update_ratio", 3, _stuck,
    ),
    Rule("endless-warm-up", "the warm-up has as many steps as the run, or more", "play", "", 3, _endless_warmup),
    Rule("dead-units", f"over {DEAD:.0%} of a layer's hidden units are 0 on every token", "diagram", "dead_units", 3, _dead),
    Rule(
        "saturated-units", f"over {SATURATED:.0%} of a layer's activations lie in the flat tail of the function",
        "diagram", "flat_units", 3, _saturated,
    ),
    Rule(
        "attention-collapse", f"{COLLAPSED_HEADS:.0%} of the heads or more have an entropy under {COLLAPSED:g} nats, and the loss is not "
        "below the bigram line", "heads", "attn_entropy", 3, _collapsed, True,
    ),
    Rule("induction-heads", f"a head's induction score is {INDUCTION:g} or more", "heads", "attn_induction", 2, _induction, True),
    Rule("attention-sink", f"half of the heads or more put over {SINK:.0%} on the first token", "heads", "attn_first", 2, _sinks, True),
    Rule("previous-token-heads", f"a head puts {PREVIOUS:g} or more on the previous token", "heads", "attn_previous", 2, _previous, True),
    Rule("no-context", "the model has no attention", "play", "", 2, _no_context),
    Rule("best-possible", f"the held-out loss is within {AT_FLOOR:g} nats of the floor of the data", "play", "", 2, _at_floor, True),
    Rule(
        "generalisation-gap", f"the held-out loss is over {GAP_NATS:g} nats, {GAP_SHARE:.0%} and {GAP_ERRORS:g} standard errors above the "
        f"training loss of the last {GAP_POINTS} points", "play", "", 2, _gap, True,
    ),
    Rule(
        "plateau", f"at {FLAT_RATE:.0%} of the highest learning rate or more, the last third of the training loss moves by less than "
        f"{FLAT_SHARE:.1%} or two standard errors", "play", "", 2, _plateau, True,
    ),
    Rule(
        "stops-early", f"after an earlier layer the logit lens is within {LENS_NATS:g} nats of the model's own loss",
        "lens", "lens_loss", 2, _early, True,
    ),
    Rule("answers-late", f"over {LENS_LATE:.0%} of the fall of the lens' loss lies in the last layer", "lens", "lens_loss", 2, _late, True),
    Rule(
        "embedding-lost", f"in the last layer a linear probe reads the token no better than by {LOST:.0%} of the way from naming the "
        "commonest to what it reads at the embedding", "diagram", "reads_token", 2, _lost,
    ),
    Rule(
        "token-before", f"somewhere a linear probe reads the token before in {BROUGHT:.0%} more of the places than at the embedding",
        "diagram", "reads_previous", 2, _brought, True,
    ),
    Rule(
        "overwrites", f"a sublayer after layer 1 adds over {OVERWRITES:g} times the stream",
        "diagram", "sublayer_share", 2, _overwrites, True,
    ),
    Rule("idle-layers", f"all sublayers of a layer add under {IDLE:.0%} of the stream", "diagram", "sublayer_share", 2, _idle, True),
    Rule(
        "outlier-channels", f"kurtosis over {OUTLIERS:.0%} of the largest possible somewhere in the stream",
        "diagram", "stream_outliers", 2, _outliers,
    ),
    Rule("stream-grows", f"the stream ends over {GROWS:g} times as large as the embedding", "diagram", "stream_rms", 1, _grows),
    Rule(
        "embedding-kept", f"in the last layer a linear probe reads the token by {KEPT:.0%} of the way from naming the commonest to what it "
        "reads at the embedding, or more", "diagram", "reads_token", 1, _kept, True,
    ),
    Rule(
        "always-clipped", f"the gradient norm is above the clipping norm in {CLIPPED:.0%} of the last {CLIPPED_ROWS} points",
        "play", "", 1, _clipped, True,
    ),
)  # fmt: skip

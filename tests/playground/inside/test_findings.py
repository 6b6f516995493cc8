"""Plain words about a run: each rule with a run that triggers it and one, just the other side of the line, that does not."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.knobs import flat, nested, parse
from playground.config.run import RunConfig
from playground.inside import words
from playground.inside.findings import findings
from playground.inside.history import History
from playground.inside.quantities import QUANTITIES
from playground.inside.rules import FLAT_POINTS, RULES

NAN = float("nan")


def history(values=None, *, progress=(), validation=(), facts=None, measures=None, **changes) -> History:
    config = parse(RunConfig, nested(flat(RunConfig()) | {"model.n_layer": 3, "model.n_head": 4} | changes))
    config = config.model_copy(update={"model": config.model.model_copy(update={"vocab_size": 100})})
    rows = measures or ([{"step": 500, "values": values}] if values else [])
    return History(config, list(progress), list(validation), rows, facts)


def stream(quantity, *numbers, add="mlp.add"):
    return {quantity: {"embedding": [numbers[0]], add: list(numbers[1:])}}


def attention(quantity, *layers):
    return {quantity: {"attn": [list(heads) for heads in layers]}}


def progress(*losses, start=10, **more):
    return [{"step": start * i, "loss": loss, "grad_norm": 0.5, "lr": 1e-3} | more for i, loss in enumerate(losses, start=1)]


def validations(*losses, error=0.0):
    return [{"step": 100 * i, "loss": loss, "error": error, "whole": False} for i, loss in enumerate(losses, start=1)]


def reads(*shares, quantity="reads_token", floor=0.06, add="mlp.add"):
    return stream(quantity, *shares, add=add) | {"reads_majority": {"embedding": [floor]}}


LINES = {"lines": {"chance": math.log(100), "unigram": 4.0, "bigram": 2.4, "trigram": 1.4}}


def RATIOS(second):
    return {"update_ratio": {"attn": [0.01, 0.01, 0.01], "mlp": [0.01, second, 0.01]}}


FALLING = progress(*[4 - 0.02 * i for i in range(80)])
INDUCTION_APPEARS = [
    {"step": step, "values": attention("attn_induction", [0.1], [0.1, 0.1, value])} for step, value in ((0, 0.1), (100, 0.3), (200, 0.81))
]
POST = {"model.norm_placement": "post", "optim.warmup_steps": 0}

PAIRS = {
    "vanishing-gradient": (
        "Relative to the stream the gradient shrinks 7 times a layer on its way down, 40 times from layer 3 to layer 1: it vanishes. "
        "Post-norm without warm-up does this.",
        history(stream("grad_relative", 0.4, 0.01, 0.1, 0.4, add="mlp.norm_after"), **POST),
        history(stream("grad_relative", 0.001, 0.014, 0.1, 0.4, add="mlp.norm_after"), **POST),
    ),
    "exploding-gradient": (
        "Relative to the stream the gradient grows 6.5 times a layer on its way down, 31 times from layer 3 to layer 1: it explodes.",
        history(stream("grad_relative", 0.1, 3.1, 1, 0.1)),
        history(stream("grad_relative", 9.0, 2.9, 1, 0.1)),
    ),
    "over-fitting": (
        "The training loss falls, the held-out loss rises since step 200 (by 0.30 nats per token, on the same passages): over-fitting.",
        history(progress=FALLING, validation=validations(3.0, 2.0, 2.1, 2.2, 2.3)),
        history(progress=FALLING, validation=validations(3.0, 2.0, 2.0, 2.01, 2.019)),
    ),
    "worse-than-chance": (
        "The loss is 4.70 nats per token, worse than guessing blindly (4.61).",
        history(progress=progress(*[5.0] * 10), validation=validations(4.7, error=0.01)),
        history(progress=progress(*[5.0] * 10), validation=validations(4.7, error=0.04)),
    ),
    "nothing-learnt": (
        "The loss is 4.60 nats per token, that of guessing blindly (4.61): it has learnt nothing yet.",
        history(progress=progress(*[4.6] * 20)),
        history(progress=progress(*[4.5] * 20)),
    ),
    "only-frequencies": (
        "It knows only how frequent each token is: its loss is 4.01 nats per token, and counting tokens alone reaches 4.00.",
        history(progress=progress(*[4.0] * 20), validation=validations(4.2, 4.01), facts=LINES),
        history(progress=progress(*[4.0] * 20), validation=validations(4.2, 3.95), facts=LINES),
    ),
    "unstable": (
        "At step 350 the training loss jumped from 2.01 to 2.60 nats per token: training is not stable.",
        history(progress=progress(*[2.0, 2.02] * 17, 2.6, *[2.0, 2.02] * 10)),
        history(progress=progress(*[2.0, 2.02] * 17, 2.35, *[2.0, 2.02] * 10)),
    ),
    "updates-too-large": (
        "At step 300 one step changed the weights of the MLP of layer 2 by 40%: the learning rate may be too high.",
        history(measures=[{"step": 300, "values": RATIOS(0.4)}, {"step": 500, "values": RATIOS(0.001)}]),
        history(measures=[{"step": 90, "values": RATIOS(0.3)}, {"step": 500, "values": RATIOS(0.03)}]),
    ),
    "updates-too-small": (
        "No step since the warm-up changed any weights by more than 3e-04 of their size: try a higher learning rate.",
        history({"update_ratio": {"attn": [1e-6, 2.9e-4, 1e-6]}}),
        history({"update_ratio": {"attn": [1e-6, 3.1e-4, 1e-6]}}),
    ),
    "endless-warm-up": (
        "The warm-up (400 steps) is as long as the run (200) or longer: the learning rate gets to 50% of its peak.",
        history(**{"optim.warmup_steps": 400, "train.max_steps": 200}),
        history(**{"optim.warmup_steps": 199, "train.max_steps": 200}),
    ),
    "dead-units": (
        "31% of the hidden units of layer 3 are 0 on every token of the probe text: they are dead here.",
        history({"dead_units": {"mlp": [0.1, 0.2, 0.31]}}),
        history({"dead_units": {"mlp": [0.1, 0.2, 0.3]}}),
    ),
    "saturated-units": (
        "95% of the activations in layer 1 lie in the function's flat tail: little is learnt through them.",
        history({"flat_units": {"mlp": [0.95, 0.2, 0.3]}}, **{"model.activation": "gelu"}),
        history({"flat_units": {"mlp": [0.95, 0.2, 0.3]}}, **{"model.activation": "relu"}),
    ),
    "induction-heads": (
        "Layer 2, head 3 is an induction head (0.81): it copies what followed the same token before. "
        "This appeared between steps 0 and 200.",
        history(measures=INDUCTION_APPEARS),
        history(attention("attn_induction", [0.1] * 4, [0.1, 0.1, 0.39, 0.1])),
    ),
    "attention-collapse": (
        "11 of 12 heads put all of their attention on a single token (entropy under 0.1 nats), and the loss is no better than the bigram "
        "line: attention has collapsed.",
        history(attention("attn_entropy", [0.01] * 4, [0.09] * 4, [0.0, 0.0, 0.0, 1.0]), validation=validations(2.41), facts=LINES),
        history(attention("attn_entropy", [0.01] * 4, [0.09] * 4, [0.0, 0.0, 0.0, 1.0]), validation=validations(2.3), facts=LINES),
    ),
    "no-context": (
        "Without attention nothing of earlier tokens reaches a prediction: it sees the last token and its position alone: counting pairs "
        "of tokens reaches 2.40 nats per token, and it cannot get far below.",
        history(facts=LINES, **{"model.sublayers": "mlp"}),
        history(facts=LINES),
    ),
    "generalisation-gap": (
        "Held-out data cost 0.30 ± 0.05 nats per token more than the training data: part of what it has learnt holds for those alone.",
        history(progress=progress(*[2.0] * 40), validation=validations(2.5, 2.4, 2.35, 2.3, error=0.05)),
        history(progress=progress(*[2.0] * 40), validation=validations(2.5, 2.4, 2.35, 2.3, error=0.11)),
    ),
    "plateau": (
        "Since step 810 the training loss has hardly moved (by -0.001 ± 0.0003 nats per token): a plateau.",
        history(progress=progress(*[3.0 - 0.01 * i for i in range(60)], *[2.402, 2.4] * 20, *[2.401, 2.399] * 10), facts=LINES),
        history(progress=progress(*[3.0 - 0.01 * i for i in range(120)]), facts=LINES),
    ),
    "attention-sink": (
        "6 of 12 heads put over 90% of their attention on the first token.",
        history(attention("attn_first", [0.91] * 4, [0.92, 0.95, 0.1, 0.1], [0.2] * 4)),
        history(attention("attn_first", [0.91] * 4, [0.92, 0.9, 0.1, 0.1], [0.2] * 4)),
    ),
    "previous-token-heads": (
        "Layer 1, head 2; layer 1, head 1; layer 3, head 4 and 1 more look at the previous token (0.95).",
        history(attention("attn_previous", [0.94, 0.95, 0.1, 0.1], [0.1] * 4, [0.75, 0.1, 0.1, 0.9])),
        history(attention("attn_previous", [0.69, 0.6, 0.1, 0.1], [0.1] * 4, [0.1] * 4)),
    ),
    "best-possible": (
        "The held-out loss is within 0.010 nats per token of the best possible.",
        history(validation=validations(1.0, 0.51), facts={"floor": 0.5}, **{"data.source": "task:copy"}),
        history(validation=validations(1.0, 0.53), facts={"floor": 0.5}),
    ),
    "stops-early": (
        "Stopping after layer 2 of 3 would cost only 0.04 nats per token: the layers after it add little.",
        history(stream("lens_loss", 4.0, 3.0, 2.04, 2.0)),
        history(stream("lens_loss", 4.0, 3.0, 2.06, 2.0)),
    ),
    "answers-late": (
        "60% of what the model knows appears only in its last layer.",
        history(stream("lens_loss", 4.0, 3.5, 3.2, 2.0)),
        history(stream("lens_loss", 4.0, 3.5, 3.0, 2.0)),
    ),
    "embedding-lost": (
        "The token at a position can be read off the embedding in 95% of cases, after layer 2 in 10%: it is lost (naming the commonest "
        "token is right in 6%); without residuals each layer sees only the output of the one before.",
        history(reads(0.95, 0.4, 0.1, 0.07, add="mlp"), **{"model.residual": False}),
        history(reads(0.95, 0.4, 0.1, 0.15, add="mlp"), **{"model.residual": False}),
    ),
    "token-before": (
        "After layer 2 the token before can be read in 80% of places, at the embedding in 25%: attention has brought it there.",
        history(reads(0.25, 0.5, 0.8, 0.7, quantity="reads_previous")),
        history(reads(0.25, 0.5, 0.54, 0.5, quantity="reads_previous")),
    ),
    "overwrites": (
        "The attention of layer 2 adds 1.6 times the size of the stream: it overwrites rather than refines.",
        history({"sublayer_share": {"attn": [9.0, 1.6, 0.2], "mlp": [9.0, 0.3, 0.2]}}),
        history({"sublayer_share": {"attn": [9.0, 1.5, 0.2], "mlp": [9.0, 0.3, 0.2]}}),
    ),
    "idle-layers": (
        "Layers 2 and 3 change the stream by less than 3%: the model could nearly do without.",
        history({"sublayer_share": {"attn": [0.3, 0.02, 0.01], "mlp": [0.3, 0.01, 0.029]}}),
        history({"sublayer_share": {"attn": [0.3, 0.02, 0.01], "mlp": [0.3, 0.03, 0.03]}}),
    ),
    "outlier-channels": (
        "A few channels of the stream carry far larger numbers than the rest after layer 2 (26% of the largest possible kurtosis).",
        history(stream("stream_outliers", 0.01, 0.1, 0.26, 0.2)),
        history(stream("stream_outliers", 0.01, 0.1, 0.25, 0.2)),
    ),
    "stream-grows": (
        "The stream grows 9 times from the embedding to layer 3. Pre-norm never rescales the stream.",
        history(stream("stream_rms", 0.1, 0.3, 0.5, 0.9)),
        history(stream("stream_rms", 0.1, 0.3, 0.5, 0.8)),
    ),
    "embedding-kept": (
        "The last layer still carries the token at its position: a linear probe reads 90% (95% at the embedding; naming the commonest is "
        "right in 6%). Residuals preserve it.",
        history(reads(0.95, 0.95, 0.94, 0.9)),
        history(reads(0.95, 0.95, 0.94, 0.85)),
    ),
    "always-clipped": (
        "The gradient was above the clipping norm of 1 in 90% of the last points: clipping sets the steps' size.",
        history(progress=progress(*[2.0] * 18, grad_norm=1.1) + progress(2.0, 2.0, grad_norm=0.9), **{"optim.grad_clip": 1.0}),
        history(progress=progress(*[2.0] * 17, grad_norm=1.1) + progress(2.0, 2.0, 2.0, grad_norm=0.9), **{"optim.grad_clip": 1.0}),
    ),
}


def test_a_gradient_that_never_arrives_is_said():
    found = findings(history(stream("grad_relative", 0.0, 0.0, 0.1, 0.3)))
    assert found[0]["sentence"] == "No gradient reaches layer 1; after layer 3 it is 0.3 nats: it vanishes on its way down."


def test_a_run_that_ends_far_above_its_best_is_not_stable():
    (found,) = findings(history(progress=progress(*[1.0] * 30, *[1.1 + 0.02 * i for i in range(60)])))[:1]
    assert found["sentence"].startswith("The training loss has risen from 1.00 nats per token at step 10 to 2.1")


def test_in_the_initial_state_only_what_is_true_of_it_is_said_and_that_it_is_one():
    """Within the warm-up, and no better than counting."""
    values = stream("stream_rms", 0.1, 0.3, 0.5, 0.9) | attention("attn_previous", [0.9] * 4, [0.9] * 4, [0.9] * 4)
    rows = [{"step": 50, "values": values}]

    def said(**more):
        return {each["name"]: (each["step"], each["initial"]) for each in findings(history(measures=rows, facts=LINES, **more))}

    early = progress(*[4.2] * 5)
    assert said(progress=early) == {"stream-grows": (50, True)}
    learnt = said(progress=early, validation=[{"step": 40, "loss": 3.5, "error": 0.01, "whole": False}])
    assert learnt == {"stream-grows": (50, False), "previous-token-heads": (50, False)}
    late = said(progress=progress(*[4.05] * 50))
    assert late["only-frequencies"] == (500, False) and late["previous-token-heads"] == (50, False)


def test_numbers_are_written_as_people_read_them():
    assert [words.times(x) for x in (1.234, 12.34, 1234.5, 8.4e15)] == ["1.2 times", "12 times", "1,200 times", "8e15 times"]
    assert [words.percent(x) for x in (0.5, 0.0, 0.004, 3e-5)] == ["50%", "0%", "0.4%", "3e-05"]


def test_without_residuals_small_sublayers_are_not_idle():
    shares = {"sublayer_share": {"attn": [0.004] * 3, "mlp": [0.004] * 3}}
    names = [[each["name"] for each in findings(history(shares, **{"model.residual": residual}))] for residual in (True, False)]
    assert ["idle-layers" in each for each in names] == [True, False]


def test_gains_that_begin_at_zero_do_not_count_as_jumpy():
    ratios = {"update_ratio": {"attn.add": [0.5, 0.5, 0.5], "mlp": [0.001, 0.001, 0.001]}}
    assert "updates-too-large" not in [each["name"] for each in findings(history(ratios, **{"optim.warmup_steps": 0}))]


def test_what_the_last_probe_lacks_is_taken_from_the_one_before():
    before, last = {"update_ratio": {"mlp": [0.4, 0.001, 0.001]}}, {"stream_rms": {"embedding": [1.0]}}
    rows = [{"step": 100, "values": before}, {"step": 120, "values": last}]
    assert "updates-too-large" in [each["name"] for each in findings(history(measures=rows, **{"optim.warmup_steps": 0}))]


def test_every_rule_has_a_pair():
    names = [rule.name for rule in RULES]
    assert sorted(PAIRS) == sorted(names) and len(set(names)) == len(names)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_speaks_where_it_should_and_is_silent_otherwise(rule):
    sentence, yes, no = PAIRS[rule.name]
    assert rule.say(yes) == sentence
    assert rule.say(no) is None
    assert {"name": rule.name, "sentence": sentence}.items() <= next(e for e in findings(yes, 99) if e["name"] == rule.name).items()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_is_stated_and_leads_somewhere(rule):
    assert rule.rule and not rule.rule.endswith(".")
    assert rule.view in ("diagram", "curves", "heads", "lens", "play")
    assert rule.quantity in QUANTITIES if rule.view != "play" else rule.quantity == ""
    assert rule.weight in (1, 2, 3)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_is_silent_about_nothing(rule):
    assert rule.say(history()) is None
    assert rule.say(history({})) is None
    nothing = [{"step": 1, "loss": NAN}]
    assert rule.say(history({name: {} for name in QUANTITIES}, progress=nothing, validation=nothing)) is None


@pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))
def test_a_missing_number_is_no_reason_to_fail(pair):
    """Each number of a triggering run in turn is gone, or is no finite number."""
    _, run, _ = pair
    for at, row in enumerate(run.measures):
        for quantity, nodes in row["values"].items():
            for node, layers in nodes.items():
                for layer in range(len(layers)):
                    many = isinstance(layers[layer], list)
                    for hole in (None, [NAN] * 4, [None] * 2) if many else (None, NAN, math.inf):
                        broken = {**nodes, node: [hole if i == layer else v for i, v in enumerate(layers)]}
                        rows = [*run.measures[:at], {**row, "values": {quantity: broken}}, *run.measures[at + 1 :]]
                        findings(History(run.config, run.progress, run.validation, rows, run.facts))


NUMBERS = st.one_of(st.none(), st.floats(width=32))
VALUES = st.fixed_dictionaries(
    {},
    optional={
        name: st.dictionaries(
            st.sampled_from(["embedding", "attn", "mlp", "attn.add", "mlp.add", "add", "norm"]),
            st.lists(st.lists(NUMBERS, max_size=5) if quantity.per != "node" else NUMBERS, max_size=4),
            max_size=4,
        )
        for name, quantity in QUANTITIES.items()
    },
)


@settings(max_examples=60, deadline=None)
@given(values=VALUES, losses=st.lists(NUMBERS, max_size=2 * FLAT_POINTS + 2), parallel=st.booleans())
def test_whatever_was_recorded_is_read(values, losses, parallel):
    rows = [{"step": i, "loss": loss, "error": loss, "grad_norm": loss, "lr": loss, "whole": False} for i, loss in enumerate(losses)]
    layout = {"model.layout": "parallel"} if parallel else {}
    for each in findings(history(values, progress=rows, validation=rows, facts={"floor": None}, **layout), 99):
        assert each["sentence"].endswith(".")


def test_trouble_comes_first_and_there_are_not_too_many():
    values = stream("grad_relative", 0.001, 0.01, 0.1, 0.4) | stream("stream_rms", 0.1, 0.3, 0.5, 9)
    values |= attention("attn_previous", *[[0.9] * 4] * 3)
    found = findings(history(values))
    assert [each["name"] for each in found] == ["vanishing-gradient", "previous-token-heads", "stream-grows"]
    assert findings(history(values), 2) == found[:2]

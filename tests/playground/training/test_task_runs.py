"""A run on a task: what is recorded of it, held against the model run by hand, one token after another."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.decoding import generate
from playground.data import sample
from playground.data.dataset import About
from playground.training.events import Accuracy, Answers, Facts, Sample, Validation

WORDS = {"data.source": "task:modular-addition", "data.modulus": 18, "model.block_size": 8}


@pytest.fixture(scope="module")
def halfway(new_state, task_changes):
    """A state that has learnt a part of the task: some answers are right and some are not."""
    state = new_state({**task_changes, "train.max_steps": 400, "model.n_embd": 32})
    for _ in range(250):
        state.step()
    return state


def rows(examples, count=None):
    """(prompt ids, answer ids) of each example."""
    for i in range(len(examples) if count is None else count):
        start, end = int(examples.starts[i]), int(examples.ends[i])
        yield examples.tokens[i, :start].tolist(), examples.tokens[i, start:end].tolist()


def greedy(state, prompt, n_tokens):
    try:
        return [choice.token for choice in generate(state.model, prompt, max_new_tokens=n_tokens, temperature=0.0)]
    finally:
        state.model.train()


def by_hand(state, examples, scored="answer"):
    """Mean nats per scored token, and the share of the answers' tokens that are the model's first choice; one example at a time."""
    nats, hits = [], []
    state.model.eval()
    with torch.no_grad():
        for prompt, answer in rows(examples):
            ids = torch.tensor(prompt + answer)
            logits = state.model(ids[None, :-1])[0].float()  # (T, V)
            losses = F.cross_entropy(logits, ids[1:], reduction="none").tolist()
            first = len(prompt) - 1
            nats += losses[first:] if scored == "answer" else losses
            hits += (logits.argmax(-1) == ids[1:])[first:].tolist()
    state.model.train()
    return sum(nats) / len(nats), len(nats), sum(hits) / len(hits)


@pytest.mark.parametrize("scored", ["answer", "all"])
def test_loss_and_accuracy_equal_an_independent_computation(halfway, load_data, config_of, task_changes, scored):
    config = config_of({**task_changes, "data.scored": scored})
    state, trained_on = halfway, halfway.data
    try:
        state.data = load_data(config)
        score = state.held_out()
        loss, n_tokens, token = by_hand(state, state.data.held_out, scored)
    finally:
        state.data = trained_on
    assert 0.2 < token < 1
    assert (score.n_tokens, score.n_examples) == (n_tokens, len(trained_on.held_out))
    assert score.loss == pytest.approx(loss, rel=1e-5)
    assert score.token_accuracy == pytest.approx(token, abs=1e-9)


def test_the_share_of_right_answers_is_that_of_greedy_decoding(halfway):
    """What is judged with the right answer so far as input equals what the model writes by itself, token by token."""
    examples = halfway.data.held_out
    right = [greedy(halfway, prompt, len(answer)) == answer for prompt, answer in rows(examples)]
    assert 0.05 < np.mean(right) < 0.98, "the test says something only where some are right and some are wrong"
    assert halfway.held_out().answer_accuracy == np.mean(right)
    assert halfway.on_sample().answer_accuracy == np.mean(right[: sample.EXAMPLES])


def test_accuracy_by_size_equals_greedy_decoding_also_beyond_what_was_trained_on(halfway):
    scores, sizes = halfway.by_size(), halfway.data.by_size
    assert list(scores) == sorted(sizes) and max(sizes) == 8 > halfway.data.about.trained_size == 4
    for size, score in scores.items():
        right = [greedy(halfway, prompt, len(answer)) == answer for prompt, answer in rows(sizes[size])]
        assert score.answer_accuracy == np.mean(right)
        assert {len(prompt) for prompt, _ in rows(sizes[size])} == {size + 1}


def test_sizes_beyond_the_context_are_left_out(new_state, task_changes):
    state = new_state({**task_changes, "model.block_size": 13})
    assert max(state.by_size()) == 6 < max(state.data.by_size)


def test_a_text_has_no_sizes(new_state):
    assert new_state().by_size() == {}


@pytest.mark.parametrize("words", [False, True])
def test_a_run_on_a_task_tells_facts_accuracy_and_answers(new_state, run_loop, tmp_path, task_changes, words):
    changes = {**(WORDS if words else task_changes), "probe.interval": 1, "probe.sample_tokens": 30, "train.eval_interval": 10}
    state = new_state({**changes, "train.max_steps": 40})
    _, link = run_loop(state, tmp_path)
    (facts,) = link.of(Facts)
    known = state.data.about
    assert isinstance(known, About) and facts.step == 0 and link.events[0] is facts
    assert (facts.source, facts.data, facts.title) == (state.config.data.source, "task", known.title)
    assert (facts.floor, facts.ceiling, facts.exact, facts.trained_size) == (0.0, 1.0, True, None if words else 4)

    *_, last = link.of(Accuracy)
    *_, judged = link.of(Validation)
    score, by_size = state.held_out(), state.by_size()
    assert len(link.of(Accuracy)) == len(link.of(Validation)) >= 2
    assert (last.token, last.answer, last.n_examples) == (score.token_accuracy, score.answer_accuracy, len(state.data.held_out))
    assert (last.sizes, last.by_size) == (list(by_size), [each.answer_accuracy for each in by_size.values()])
    assert (judged.whole, judged.loss, judged.bits_per_byte) == (True, score.loss, score.bits_per_byte)

    assert link.of(Sample) == []
    answers = link.of(Answers)[-1]
    assert answers.step == 40 and 1 <= len(answers.prompts) <= 8
    assert list(zip(answers.prompts, answers.expected, strict=True)) == state.data.prompts(len(answers.prompts))
    assert list(zip(answers.prompts, answers.expected, answers.given, strict=True)) == state.answers(8)


@pytest.mark.parametrize("source", ["halfway", "words"])
def test_answers_are_those_of_greedy_decoding_up_to_the_first_mistake(halfway, new_state, source):
    state = halfway if source == "halfway" else new_state(WORDS)
    told, read, right = state.answers(40), state.data.tokenizer, []
    assert [(prompt, answer) for prompt, answer, _ in told] == state.data.prompts(40)
    for (prompt, answer), (_, expected, given) in zip(rows(state.data.held_out, len(told)), told, strict=True):
        said, greedily = read.encode(given).tolist(), greedy(state, prompt, len(answer))
        same = next((n for n, (a, b) in enumerate(zip(greedily, answer, strict=True)) if a != b), len(answer) - 1) + 1
        assert said[:same] == greedily[:same] and len(said) == len(answer)
        assert (given == expected) == (greedily == answer)
        right.append(given == expected)
    if source == "halfway":
        assert set(right) == {True, False}
    assert state.model.training


def test_a_question_between_two_answers_is_kept(new_state):
    """Associative recall asks for one key after the other; only the values are the model's."""
    state = new_state({"data.source": "task:recall", "data.pairs": 3, "data.alphabet": 5, "model.block_size": 16})
    told = state.answers(30)
    assert [(prompt, answer) for prompt, answer, _ in told] == state.data.prompts(30)
    assert any(given != answer for _, answer, given in told)
    for _, answer, given in told:
        assert given[1::2] == answer[1::2] and len(given) == len(answer)


def test_a_task_without_one_right_answer_is_sampled(new_state, run_loop, tmp_path):
    state = new_state({"data.source": "task:markov", "data.length": 20, "model.block_size": 24, "train.max_steps": 3})
    _, link = run_loop(state, tmp_path)
    assert link.of(Answers) == [] and link.of(Facts)[0].exact is False
    prompt = state.data.prompts(1)[0][0]
    assert prompt and all((sample.prompt, len(sample.text)) == (prompt, 6) for sample in link.of(Sample))
    assert 0 < link.of(Facts)[0].floor < math.log(10) and 0.1 < link.of(Facts)[0].ceiling < 1


def test_training_reaches_the_floor_of_a_task_and_not_less(new_state, task_changes):
    state = new_state({**task_changes, "data.source": "task:markov", "data.length": 20, "data.alphabet": 6, "model.block_size": 24})
    for _ in range(150):
        state.step()
    floor = state.data.about.floor
    assert floor - 0.002 < state.held_out().loss < floor + 0.05
    assert state.held_out().token_accuracy == pytest.approx(state.data.about.ceiling, abs=0.03)


def test_scoring_only_the_answer_leaves_the_prompt_out(new_state, task_changes):
    """The same batch gives another loss where everything counts."""
    states = [new_state({**task_changes, "data.scored": scored}) for scored in ("answer", "all")]
    losses = [state.step()[0].item() for state in states]
    inputs, targets = states[0].data.batches(32, states[0].config.width, states[0].config.train.seed, torch.device("cpu")).next()
    counted = (targets >= 0).sum(1)
    assert losses[0] != losses[1] and (counted >= 2).all() and (counted <= 5).all()
    assert inputs.shape == (32, 9)

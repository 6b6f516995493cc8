"""The training step and the held-out loss against direct computation."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models import linear
from playground.data import sample
from playground.inside.hooks import evaluating
from playground.training.checkpoints import Checkpoints, set_weights
from playground.training.events import Validation


def loss_of(model, inputs, targets):
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


def test_a_step_follows_the_mean_gradient_of_its_batches(new_state):
    """SGD without momentum and decay, so that the change of the weights is the gradient."""
    state = new_state({
        "model.dropout": 0.0, "train.accumulation": 3, "optim.name": "sgd", "optim.beta1": 0.0, "optim.weight_decay": 0.0,
        "optim.grad_clip": None, "optim.warmup_steps": 0, "optim.lr": 0.5,
    })  # fmt: skip
    plain, batches = copy.deepcopy(state.model), copy.deepcopy(state.batches)
    wanted_loss = sum(loss_of(plain, *batches.next()) for _ in range(3)) / 3
    wanted_loss.backward()
    wanted_norm = torch.stack([p.grad.norm() for p in plain.parameters()]).norm()
    loss, norm, lr = state.step()
    torch.testing.assert_close(loss, wanted_loss.detach())
    torch.testing.assert_close(norm, wanted_norm)
    assert (lr, state.steps_done, state.tokens) == (0.5, 1, 3 * 4 * 8)
    for before, after in zip(plain.parameters(), state.model.parameters(), strict=True):
        torch.testing.assert_close(after, before - 0.5 * before.grad)


def test_the_gradient_is_scaled_down_to_the_clipping_norm(new_state):
    changes = {"optim.name": "sgd", "optim.beta1": 0.0, "optim.weight_decay": 0.0, "optim.warmup_steps": 0, "optim.lr": 0.5}
    for clip in (0.01, 1e6):
        state = new_state({**changes, "optim.grad_clip": clip})
        before = [p.detach().clone() for p in state.model.parameters()]
        _, norm, _ = state.step()
        moved = torch.stack([(a - b).norm() for a, b in zip(before, state.model.parameters(), strict=True)]).norm().item()
        assert moved == pytest.approx(0.5 * min(clip, norm.item()), rel=1e-3)
        assert norm.item() > 0.01


def test_the_seed_decides_everything(new_state):
    one, same, other = new_state(), new_state(), new_state({"train.seed": 2})
    losses = []
    for state in (one, same, other):
        torch.manual_seed(state.config.train.seed)  # where dropout draws from
        losses.append([state.step()[0].item() for _ in range(3)])
    assert losses[0] == losses[1] != losses[2]


def test_the_rate_follows_the_schedule(new_state):
    state = new_state({"optim.schedule": "linear", "optim.min_lr": 0.0, "optim.warmup_steps": 1, "train.max_steps": 5, "optim.lr": 0.4})
    assert [state.step()[2] for _ in range(5)] == pytest.approx([0.2, 0.4, 0.3, 0.2, 0.1])


def test_bfloat16_computes_products_in_it_and_keeps_weights_in_float32(new_state, monkeypatch):
    monkeypatch.setattr(linear, "FEW_PRODUCTS", 0)
    exact, rough = new_state({"model.dropout": 0.0}), new_state({"model.dropout": 0.0, "train.dtype": "bfloat16"})
    a, b = exact.step()[0].item(), rough.step()[0].item()
    assert a != b and a == pytest.approx(b, rel=0.02)
    assert {p.dtype for p in rough.model.parameters()} == {torch.float32}


def window_losses(state):
    """The mean loss of each whole held-out window, one by one."""
    ids, width = torch.from_numpy(state.data.held_out.astype("int64")), state.config.model.block_size
    state.model.eval()
    with torch.no_grad():
        losses = [
            loss_of(state.model, ids[None, start : start + width], ids[None, start + 1 : start + width + 1]).item()
            for start in range(0, len(ids) - width, width)
        ]
    state.model.train()
    return losses


def test_held_out_loss_is_the_mean_over_all_whole_windows(new_state):
    state = new_state()
    for _ in range(3):
        state.step()
    wanted = window_losses(state)
    score = state.held_out()
    loss, count = score.loss, score.n_tokens
    assert count == len(wanted) * 8 and len(state.data.held_out) - 8 <= count < len(state.data.held_out)
    assert loss == pytest.approx(sum(wanted) / len(wanted), abs=1e-6)
    assert (score.token_accuracy, score.answer_accuracy, score.n_examples) == (None, None, 0)
    assert state.held_out() == score
    assert state.model.training


def test_the_held_out_sample_is_a_part_of_the_whole_split_scored_as_in_it(new_state):
    """Token by token: each passage's nats are the sum of the losses that the whole split gives its tokens."""
    state = new_state()
    for _ in range(10):
        state.step()
    held_out, of = state.data.held_out, sample.passages(state.data.tokenizer.n_bytes[state.data.held_out])
    width, nats = state.config.width, []
    with torch.no_grad(), evaluating(state.model):
        for start in range(0, (len(held_out) - 1) // width * width, width):
            ids = torch.from_numpy(held_out[start : start + width + 1].astype(np.int64))
            logs = state.model(ids[None, :-1])[0].log_softmax(-1)
            nats += (-logs.gather(1, ids[1:, None])[:, 0]).tolist()
    nats, of = np.array(nats), of[1 : len(nats) + 1]
    score = state.on_sample()
    assert score.n_tokens == (of >= 0).sum() < len(nats)
    assert score.loss == pytest.approx(nats[of >= 0].mean(), abs=1e-6)
    assert score.by_group == pytest.approx([nats[of == p].sum() for p in range(of.max() + 1)], abs=1e-4)
    assert state.held_out().loss == pytest.approx(nats.mean(), abs=1e-6)
    assert abs(score.loss - nats.mean()) < 4 * score.error and score.error > 0


@pytest.mark.parametrize("of_task", [False, True])
def test_judging_does_not_disturb_training(new_state, task_changes, of_task):
    changes = {**task_changes, "model.dropout": 0.2} if of_task else {}
    one, other = new_state(changes), new_state(changes)
    torch.manual_seed(0)
    a = [one.step()[0].item() for _ in range(4)]
    torch.manual_seed(0)
    b = []
    for _ in range(4):
        b.append(other.step()[0].item())
        other.held_out()
        other.by_size()
    assert a == b


def test_a_schedule_free_run_validates_and_saves_the_averaged_weights(new_state, run_loop, tmp_path):
    """Not those at which its gradients are taken, which its training goes on with."""
    state = new_state({"optim.name": "schedule_free", "model.dropout": 0.0})
    _, link = run_loop(state, tmp_path)
    trained = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    with state.optimizer.averaged():
        averaged = {name: p.detach().clone() for name, p in state.model.named_parameters()}
        loss_averaged = sum(window_losses(state)) / len(window_losses(state))
    loss_trained = sum(window_losses(state)) / len(window_losses(state))
    (whole,) = [event for event in link.of(Validation) if event.whole]
    assert whole.loss == pytest.approx(loss_averaged, abs=1e-6)
    assert abs(loss_averaged - loss_trained) > 1e-4

    checkpoints, other = Checkpoints(tmp_path / "checkpoints"), new_state({"model.dropout": 0.0})
    info = checkpoints.newest_to_resume()
    assert info.step == state.steps_done and info.eval_loss == pytest.approx(loss_averaged, rel=0.05)
    set_weights(other.model, checkpoints.weights(info.step), "the checkpoint")
    saved = dict(other.model.named_parameters())
    assert saved.keys() == averaged.keys()
    assert all(torch.equal(saved[name], averaged[name]) for name in saved)
    assert not any(torch.equal(saved[name], trained[name]) for name in saved)


def test_weights_and_order_have_seeds_of_their_own(new_state):
    one, other = new_state({"train.seed": 1}), new_state({"train.seed": 2, "train.data_seed": 1})
    again = new_state({"train.seed": 1, "train.data_seed": 3})
    batches = [state.batches.next()[0] for state in (one, other, again)]
    assert torch.equal(batches[0], batches[1]) and not torch.equal(batches[0], batches[2])
    weights = [next(iter(state.model.parameters())) for state in (one, other, again)]
    assert torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[1])

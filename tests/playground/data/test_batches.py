"""Windows to train on and windows to judge by."""

import numpy as np
import pytest
import torch

from playground.data.batches import UNSCORED, Rows, Windows, targets_of, windows

CPU = torch.device("cpu")


def training(ids, seed=0, batch_size=4, block_size=5):
    return Windows(ids, batch_size, block_size, seed, CPU)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_batches_are_windows_of_the_text_with_targets_one_further(dtype):
    """Ids are places, so that a window of the text is a run of successive numbers."""
    batches = training(np.arange(50, dtype=dtype))
    for _ in range(20):
        inputs, targets = batches.next()
        assert inputs.shape == targets.shape == (4, 5) and inputs.dtype == targets.dtype == torch.int64
        assert torch.equal(inputs, inputs[:, :1] + torch.arange(5))
        assert torch.equal(targets, inputs + 1)


def test_batches_reach_every_window_and_no_further():
    batches = training(np.arange(9, dtype=np.uint8))
    starts = torch.cat([batches.next()[0][:, 0] for _ in range(100)])
    assert sorted(set(starts.tolist())) == [0, 1, 2, 3]


def test_a_text_of_exactly_one_window_is_enough():
    assert training(np.arange(6, dtype=np.uint8)).next()[1][0].tolist() == [1, 2, 3, 4, 5]


def test_batches_are_decided_by_the_seed_alone():
    ids = np.arange(200, dtype=np.uint8)
    one, same, other = training(ids, 1), training(ids, 1), training(ids, 2)
    torch.manual_seed(99)
    first = [one.next()[0] for _ in range(5)]
    torch.manual_seed(7)
    torch.rand(3)
    assert all(torch.equal(batch, same.next()[0]) for batch in first)
    assert not all(torch.equal(batch, other.next()[0]) for batch in first)


def test_drawing_batches_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    training(np.arange(200, dtype=np.uint8)).next()
    assert torch.equal(before, torch.get_rng_state())


def test_a_restored_state_goes_on_where_it_was():
    ids = np.arange(200, dtype=np.uint8)
    batches = training(ids, 1)
    batches.next()
    state = batches.state.clone()
    wanted = [batches.next()[0] for _ in range(4)]
    later = training(ids, 5)
    later.state = state
    assert all(torch.equal(batch, later.next()[0]) for batch in wanted)


@pytest.mark.parametrize("length", [6, 10, 11, 60, 63, 64])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_windows_cover_the_split_once_in_order(length, batch_size):
    """Every token but the first is a target once, up to the last whole window."""
    found = list(windows(np.arange(length, dtype=np.uint8), 5, batch_size, CPU))
    whole = (length - 1) // 5 * 5
    assert torch.cat([chunk.inputs.flatten() for chunk in found]).tolist() == list(range(whole))
    assert torch.cat([chunk.targets.flatten() for chunk in found]).tolist() == list(range(1, whole + 1))
    assert all(chunk.inputs.size(0) == batch_size for chunk in found[:-1])
    assert all(chunk.inputs.dtype == torch.int64 and chunk.inputs.size(1) == 5 for chunk in found)


def test_only_windows_with_a_token_of_a_group_are_read_and_only_those_tokens_scored():
    groups = np.full(36, -1)
    groups[[0, 7, 9, 21, 35]] = [9, 0, 1, 2, 3]  # the first token is never a target, and the last lies in the last window
    found = list(windows(np.arange(36, dtype=np.uint8), 5, 2, CPU, groups))
    assert [chunk.inputs[:, 0].tolist() for chunk in found] == [[5, 20], [30]]
    scored = [(chunk.groups[here].tolist(), chunk.targets[here].tolist()) for chunk in found for here in [chunk.groups >= 0]]
    assert scored == [([0, 1, 2], [7, 9, 21]), ([3], [35])]
    assert sum(int((chunk.targets != UNSCORED).sum()) for chunk in found) == 4
    assert list(windows(np.arange(5, dtype=np.uint8), 5, 3, CPU)) == []


def test_windows_of_a_text_have_no_answers():
    assert all(chunk.answers is None for chunk in windows(np.arange(50, dtype=np.uint8), 5, 3, CPU))


# Three examples of up to five tokens; what lies behind an end is padding.
TOKENS = np.array([[10, 11, 12, 13, 14], [20, 21, 22, 0, 0], [30, 31, 32, 33, 0]], dtype=np.uint8)
SCORED = np.array([[1, 0, 0, 1, 1], [0, 0, 1, 0, 0], [0, 1, 0, 1, 0]], dtype=bool)


def test_targets_are_the_next_tokens_where_they_are_scored():
    """The first token is never a target, scored or not."""
    targets = targets_of(TOKENS, SCORED)
    no = UNSCORED
    assert targets.tolist() == [[no, no, 13, 14], [no, 22, no, no], [31, no, 33, no]]
    assert targets.dtype == np.int16
    assert targets_of(np.full((1, 3), 255, dtype=np.uint8), np.ones((1, 3), dtype=bool)).tolist() == [[255, 255]]


def test_rows_are_whole_examples_with_their_targets():
    targets = targets_of(TOKENS, SCORED)
    rows, seen = Rows(TOKENS, targets, 4, 0, CPU), set()
    for _ in range(30):
        inputs, wanted = rows.next()
        assert inputs.shape == wanted.shape == (4, 4) and inputs.dtype == wanted.dtype == torch.int64
        for line, next_ones in zip(inputs.tolist(), wanted.tolist(), strict=True):
            i = line[0] // 10 - 1
            assert line == TOKENS[i, :-1].tolist() and next_ones == targets[i].tolist()
            seen.add(i)
    assert seen == {0, 1, 2}


def test_rows_are_decided_by_the_seed_and_go_on_where_they_were():
    tokens = np.arange(200, dtype=np.uint8)[:, None] + np.zeros(3, dtype=np.uint8)
    targets = targets_of(tokens, np.ones_like(tokens, dtype=bool))
    one, same, other = (Rows(tokens, targets, 5, seed, CPU) for seed in (1, 1, 2))
    assert torch.equal(one.next()[0], same.next()[0])
    state, wanted = one.state.clone(), [one.next()[0] for _ in range(3)]
    other.state = state
    assert all(torch.equal(batch, other.next()[0]) for batch in wanted)


def test_an_unscored_target_does_not_count_in_the_loss():
    targets = torch.tensor([[UNSCORED, 1]])
    logits = torch.randn(1, 2, 3)
    loss = torch.nn.functional.cross_entropy(logits.view(-1, 3), targets.view(-1))
    assert loss.item() == pytest.approx(-logits[0, 1].log_softmax(-1)[1].item(), rel=1e-6)

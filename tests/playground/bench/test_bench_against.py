"""What `bench --against` reads from a training script's words, and what it says of it. The stand-in script prints lines of the
form that nanoGPT prints; the real comparison needs a real checkout and many minutes."""

import json

import pytest

from models.knobs import ConfigError
from playground.bench import against
from playground.bench.against import Against
from playground.config.presets import PRESETS
from playground.config.settings import Settings

STAND_IN = """
import pathlib, sys
text = pathlib.Path("data/shakespeare_char/prepared.txt").read_text()
assert "--max_iters=2000" in sys.argv and text.startswith("prepared: some words")
print("tokens per iteration will be: 1,000")
print("step 0: train loss 4.20, val loss 4.1999")
for i, ms in enumerate((900.0, 10.0, 20.0, 30.0)):
    print(f"iter {i}: loss 4.1, time {ms:.2f}ms, mfu -100.00%")
print("step 2000: train loss 1.60, val loss 1.9012")
"""
PREPARE = 'import pathlib, requests\npathlib.Path("prepared.txt").write_text("prepared: " + pathlib.Path("input.txt").read_text())\n'


@pytest.fixture
def checkout(tmp_path):
    for name, content in (("train.py", STAND_IN), ("config/train_shakespeare_char.py", ""), ("data/shakespeare_char/prepare.py", PREPARE)):
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "checkout"


def test_its_own_speed_time_and_loss_are_read(checkout, tmp_path):
    from playground.data.corpora import add_text

    root = tmp_path / "root"
    source = add_text(root, "some words to train on. " * 100)
    copy = against.prepared(checkout, root, source)
    found = Against()
    against._theirs(Settings(root), copy, against.CPU, source, found)
    assert found.tokens_per_s == [1000 / 0.020], "without the steps whose time holds an evaluation"
    assert found.loss == [1.9012] and 0 < found.seconds[0] < 60
    assert not (checkout / "data/shakespeare_char/input.txt").exists(), "nothing is written into the checkout"


def test_a_script_that_fails_says_so(checkout, tmp_path):
    (checkout / "train.py").write_text("raise SystemExit('no such device')")
    with pytest.raises(OSError, match="no such device"):
        against._theirs(Settings(tmp_path), checkout, against.CPU, "tiny-tales", Against())


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--against: .*it lacks train\.py"):
        against.measure(Settings(tmp_path), str(tmp_path), "tiny-tales", 1)


def test_ratios_are_turn_by_turn():
    found = Against(
        tokens_per_s=[100.0, 200.0], our_tokens_per_s=[150.0, 260.0], our_float32_tokens_per_s=[110.0, 240.0], our_loss=[1.9, 1.9],
        seconds=[50.0, 40.0], seconds_to_target=[5.0, 8.0], loss_at_target=[1.89, 1.88], loss=[1.9, 1.9],
        loss_in_same_time=[1.7, 1.69], share_of_matrix_speed=[0.6, 0.7], cached_tokens_per_s=[600.0, 800.0],
        recomputed_tokens_per_s=[100.0, 100.0], start_s=[0.2, 0.3],
    )  # fmt: skip
    wanted = {"tokens_per_s": [1.5, 1.3], "float32": [1.1, 1.2], "seconds_to_target": [0.1, 0.2], "sampling": [6.0, 8.0]}
    assert json.loads(against.as_json(against.CPU, found))["ratios"] == wanted
    said = against.table(against.CPU, found)
    assert "1.40 (1.30 – 1.50)" in said and "0.150 (0.100 – 0.200)" in said and "7.0 (6.0 – 8.0)" in said


def test_speeds_of_matrices_and_of_writing_are_measured():
    config = PRESETS["nanogpt-cpu"].config
    small = config.model_copy(update={"model": config.model.model_copy(update={"n_layer": 1, "n_embd": 32, "n_head": 2})})
    assert against.matrix_speed(small) > 1e8
    cached, recomputed = against.sampling_speeds(small)
    assert cached > recomputed > 0


def test_the_fast_recipe_has_no_more_parameters_than_the_one_it_is_compared_with():
    from models.config import ModelConfig, n_params

    sizes = {
        name: n_params(ModelConfig(**PRESETS[name].config.model.model_dump() | {"vocab_size": 65}))
        for recipe in (against.CPU, against.CUDA)
        for name in (recipe.same, recipe.fast)
    }
    assert sizes["fast-cpu"] <= sizes["nanogpt-cpu"] and sizes["fast-gpu"] <= sizes["nanogpt-gpu"]
    for recipe in (against.CPU, against.CUDA):
        assert PRESETS[recipe.fast].config.model.block_size == PRESETS[recipe.same].config.model.block_size

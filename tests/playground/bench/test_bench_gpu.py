"""`bench --gpu`: its rows, measured on whatever is here with settings too small to say anything."""

import pytest
import torch

from playground.bench import gpu
from playground.bench.gpu import Figures
from playground.config.settings import Settings
from tests.patience import LONGEST_S


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(run_python):
    out, err = (process := run_python("-m", "playground", "bench", "--gpu", "--data.source", "tiny-tales")).communicate(timeout=LONGEST_S)
    assert (process.returncode, out) == (2, "") and "--gpu: this machine has no CUDA device" in err


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_step_takes_its_time(tiny, tmp_path, n):
    assert 0 < gpu.step_ms(tiny(**{"model.dropout": 0.0}), tmp_path, recorded=True, n=n) < 1000


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_is_the_undisturbed_one(endless, tmp_path):
    config = endless(**{"train.max_steps": 4000, "train.checkpoint_interval": 500})
    saved, apart = gpu.killed_and_resumed(config, Settings(tmp_path, n_cpus=1, nice=0))
    assert 2000 <= saved < 4000 and apart == 0.0


def test_the_table_compares_several_runs_with_one(monkeypatch):
    found = Figures("a GPU", {"p": 2.0}, {"p": 4.0}, {"p": 2.5}, {"p": 0.8}, {"p": 1.5}, {1: 100.0, 4: 150.0}, 200, 0.0)
    monkeypatch.setitem(gpu.WHOLE, "p", 1000)
    words = gpu.table(found)
    assert "step 2.00 ms as a CUDA graph, 4.00 ms kernel by kernel; run of 1,000 steps 2.50 s, of which the steps alone 80%" in words
    assert "150 tokens/s, 1.50 times one" in words and "resumed at step 200: weights at the end differ by 0 at most" in words

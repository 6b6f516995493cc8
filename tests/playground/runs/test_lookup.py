"""What is computed from checkpoints: the same as was recorded, and nobody is disturbed."""

import shutil
import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from models.knobs import ConfigError
from playground.data import dataset
from playground.data.tokenizers import CharTokenizer, learn_bpe
from playground.inside.ablation import parse_parts, without
from playground.inside.quantities import QUANTITIES
from playground.runs import lookup, sampler
from playground.runs.folder import RunFolder
from playground.runs.sampler import SampleConfig, sample
from playground.runs.store import Store
from playground.training.checkpoints import CheckpointError


def test_a_checkpoint_shows_what_the_run_recorded_at_that_step(trained):
    root, run_id = trained
    run = Store(root).run(run_id)
    torch.set_num_threads(run.threads)  # on which float sums depend
    text = run.probe_text
    step, seen = lookup.computed(root, run_id, 60, text)
    at, kept = lookup.recorded(root, run_id, 60, text)
    assert step == at == 60, "the last step is always looked at"
    # Of a training step, and of held-out data: a checkpoint looked at on some text does not tell.
    taken = {"grad_params", "update_ratio"} | {name for name, quantity in QUANTITIES.items() if quantity.seldom}
    assert seen.values == {name: value for name, value in kept.values.items() if name not in taken}
    assert {"grad_params", "update_ratio", "reads_token", "reads_previous", "lens_start", "translated_start"} <= set(kept.values)
    assert seen.tensors.keys() == kept.tensors.keys()
    for name, values in kept.tensors.items():
        np.testing.assert_array_equal(values, seen.tensors[name], err_msg=name)


def test_every_checkpoint_is_looked_at_again_with_a_new_text(trained, tmp_path):
    root, run_id = trained
    shutil.copytree(root, tmp_path / "root")
    reports = []
    lookup.reprobe(tmp_path / "root", run_id, "The cat", lambda share, words: reports.append((share, words)), lambda: True)
    folder = RunFolder(tmp_path / "root", run_id)
    assert folder.probe_steps("The cat") == sampler.steps(root, run_id)
    assert [share for share, _ in reports] == [i / len(reports) for i in range(len(reports))] and "1 of" in reports[0][1]
    step, seen = lookup.recorded(tmp_path / "root", run_id, 10**9, "The cat")
    _, wanted = lookup.computed(root, run_id, step, "The cat")
    assert seen.values == wanted.values


def test_looking_again_ends_where_another_text_is_wanted_by_now(trained, tmp_path):
    root, run_id = trained
    shutil.copytree(root, tmp_path / "root")
    still = iter([True, True, False])
    lookup.reprobe(tmp_path / "root", run_id, "The cat", lambda *_: None, lambda: next(still))
    assert RunFolder(tmp_path / "root", run_id).probe_steps("The cat") == sampler.steps(root, run_id)[:2]


def test_a_checkpoint_that_is_thinned_out_meanwhile_is_passed_over(trained, tmp_path):
    root, run_id = trained
    shutil.copytree(root, tmp_path / "root")
    there, folder = sampler.steps(root, run_id), RunFolder(tmp_path / "root", run_id)

    def wanted() -> bool:
        (folder.checkpoints / f"{there[1]:06d}.json").unlink(missing_ok=True)
        return True

    lookup.reprobe(tmp_path / "root", run_id, "The cat", lambda *_: None, wanted)
    assert folder.probe_steps("The cat") == [there[0], *there[2:]]


def test_a_run_that_is_deleted_meanwhile_does_not_come_back(trained, tmp_path):
    root, run_id = trained
    shutil.copytree(root, tmp_path / "root")
    folder = RunFolder(tmp_path / "root", run_id).path

    def deleted() -> bool:
        for checkpoint in sampler.steps(tmp_path / "root", run_id):
            sampler.load(tmp_path / "root", run_id, checkpoint)  # in memory from now on
        shutil.rmtree(folder, ignore_errors=True)
        return True

    lookup.reprobe(tmp_path / "root", run_id, "The cat", lambda *_: None, deleted)
    assert not folder.exists()


def test_sampling_at_the_same_time_disturbs_neither(trained):
    root, run_id = trained
    config = SampleConfig(max_new_tokens=60, seed=3)
    alone, seen = [t.text for t in sample(root, run_id, None, "The ", config)], lookup.computed(root, run_id, None, "The cat sat")[1]
    texts, looks, done = [], [], threading.Event()

    def look() -> None:
        while not done.is_set():
            looks.append(lookup.computed(root, run_id, None, "The cat sat")[1].values)
            looks.append(lookup.ablate(root, run_id, None, "layer:1", "The cat")["step"])

    other = threading.Thread(target=look)
    other.start()
    try:
        for _ in range(4):
            texts.append([t.text for t in sample(root, run_id, None, "The ", config)])
    finally:
        done.set()
        other.join()
    assert texts == [alone] * 4 and len(looks) > 1
    assert all(values == seen.values for values in looks[::2])


def test_without_a_layer_the_loss_is_that_of_a_model_without_it(trained):
    root, run_id = trained
    answer = lookup.ablate(root, run_id, None, "layer:1", "The cat sat")
    loaded = sampler.load(root, run_id, None)
    ids = torch.tensor(loaded.tokenizer.encode("The cat sat").tolist())
    with torch.no_grad():
        whole = loaded.model(ids[None, :-1])[0]
        x = loaded.model.embed(ids[None, :-1], 0)
        bare = loaded.model.head(loaded.model.norm(x))[0]  # a single layer: nothing else is left
    for logits, said in ((whole, answer["before"]), (bare, answer["after"])):
        assert said["probe_loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, ids[1:]).item(), rel=1e-5)
    assert answer["after"]["held_out_loss"] != answer["before"]["held_out_loss"]
    assert answer["before"]["text"] != answer["after"]["text"] and answer["before"]["prompt"] == "The c"


def test_each_part_is_worth_what_switching_it_off_costs(trained):
    root, run_id = trained
    worth = lookup.worth(root, run_id, None, "The cat sat")
    assert worth["on"] == "held-out data" and set(worth["rises"]) == {"layer:1", "attn:1", "head:1.1", "head:1.2", "mlp:1"}
    for part in ("head:1.2", "mlp:1"):
        lost = lookup.ablate(root, run_id, None, part, "The cat sat")
        assert worth["rises"][part] == pytest.approx(lost["after"]["held_out_loss"] - lost["before"]["held_out_loss"], abs=1e-9)
        assert 0 < worth["errors"][part] < 0.5


def test_the_worth_of_a_part_has_the_standard_error_of_its_passages(trained):
    """Passage by passage, each with the model as it is and without the part."""
    root, run_id = trained
    loaded, config = sampler.load(root, run_id, 60), RunFolder(root, run_id).read_config()
    data, rises, n_tokens = dataset.load(config.data, root), {}, 0
    for chunk in data.sample(config.width, torch.device("cpu"), lookup.ABLATION_EVERY):
        for off in (True, False):
            with torch.no_grad(), without(loaded.model, parse_parts("mlp:1", config.model)) if off else nullcontext():
                logs = loaded.model(chunk.inputs).log_softmax(-1)
            for row, column in (chunk.targets >= 0).nonzero().tolist():
                group = int(chunk.groups[row, column])
                nats = -logs[row, column, chunk.targets[row, column]].item()
                rises[group] = rises.get(group, 0.0) + (nats if off else -nats)
                n_tokens += off
    apart, worth = np.array(list(rises.values())), lookup.worth(root, run_id, 60, "The cat sat")
    assert len(apart) == 8
    assert worth["rises"]["mlp:1"] == pytest.approx(apart.sum() / n_tokens, abs=1e-5)
    assert worth["errors"]["mlp:1"] == pytest.approx(apart.std(ddof=1) * np.sqrt(8) / n_tokens, rel=1e-4)


def test_by_its_mean_a_part_loses_only_what_it_says_of_the_tokens(trained):
    root, run_id = trained
    worth = {by: lookup.worth(root, run_id, None, "The cat sat", by) for by in ("zero", "mean")}
    lost = lookup.ablate(root, run_id, None, "mlp:1", "The cat sat", "mean")
    assert worth["mean"]["by"] == lost["by"] == "mean" and worth["mean"]["loss"] == worth["zero"]["loss"]
    assert worth["mean"]["rises"]["mlp:1"] == pytest.approx(lost["after"]["held_out_loss"] - lost["before"]["held_out_loss"], abs=1e-9)
    assert worth["mean"]["rises"]["mlp:1"] != worth["zero"]["rises"]["mlp:1"]


def test_data_that_are_gone_are_done_without(trained, tmp_path):
    root, run_id = trained
    shutil.copytree(root, tmp_path / "root", ignore=shutil.ignore_patterns("prepared"))
    assert lookup.ablate(tmp_path / "root", run_id, None, "mlp:1", "The cat")["after"]["held_out_loss"] is None
    assert lookup.worth(tmp_path / "root", run_id, None, "The cat", "mean")["on"] == "probe text"


def test_what_cannot_be_looked_at_is_refused(trained, tmp_path):
    root, run_id = trained
    with pytest.raises(ConfigError, match=r"probe\.text"):
        lookup.computed(root, run_id, None, "")
    with pytest.raises(ConfigError, match=r"off: 'head:9\.1' is no part of this model"):
        lookup.ablate(root, run_id, None, "head:9.1", "The")
    with pytest.raises(CheckpointError, match="no checkpoint at step 7"):
        lookup.computed(root, run_id, 7, "The")
    assert lookup.recorded(root, run_id, 10**9, "never looked at") is None


def test_a_damaged_probe_is_none(trained, tmp_path):
    root, run_id = trained
    shutil.copytree(root, tmp_path / "root")
    text = Store(root).run(run_id).probe_text
    RunFolder(tmp_path / "root", run_id).probe(text, 20).write_bytes(b"\x10\0\0\0\0\0\0\0{broken")
    assert lookup.recorded(tmp_path / "root", run_id, 20, text) is None


def test_a_token_may_be_written_without_the_space_that_it_begins_with():
    tokenizer = learn_bpe(" Tim Tim Sue Sue Sue", 262)
    ids = {tokenizer.token(i): i for i in range(tokenizer.vocab_size)}
    assert lookup.one_token(tokenizer, "Sue", ids["x"]) == lookup.one_token(tokenizer, " Sue", ids["x"]) == ids[" Sue"]
    for text, said in (("Sue", "what stands there"), ("Sux", "not one token"), ("", "not one token")):
        with pytest.raises(ConfigError, match=said):
            lookup.one_token(tokenizer, text, ids[" Sue"])
    with pytest.raises(ConfigError, match="not one token of this run but 'a', 'b'"):
        lookup.one_token(CharTokenizer("ab"), "ab", 0)

"""Looking inside: what is written is what the model computes, and nothing is left behind."""

import json
import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from models.knobs import ConfigError
from playground.data.dataset import TextData
from playground.data.tokenizers import ByteTokenizer
from playground.inside.hooks import traced, tracing
from playground.inside.measures import measure
from playground.inside.quantities import PROBE_BUDGET_MB, Probe
from playground.system.files import text_hash
from playground.training.checkpoints import Checkpoints, load_model
from playground.training.events import Notice, Probed, Progress
from playground.training.loop import Loop, Orders
from playground.training.probes import probe_path, publish_probe, recorded_steps, thin


def direct(model, tokens):
    """Attention maps and the residual stream of a pre-norm model, written out head by head."""
    x = model.wte.weight[tokens] + model.wpe.weight[: len(tokens)]
    seen = SimpleNamespace(maps=[], stream=[x], attn=[], mlp=[])
    for block in model.blocks:
        inner, H, D = block.attn.f, block.attn.f.n_head, block.attn.f.head_size
        q, k, v = inner.qkv(block.attn.norm_in(x)).chunk(3, dim=-1)
        heads, outputs = [], []
        for h in range(H):
            part = slice(h * D, (h + 1) * D)
            rows = []
            for t in range(len(tokens)):
                scores = (q[t, part] * k[: t + 1, part]).sum(-1) / math.sqrt(D)
                rows.append(torch.cat([scores.exp() / scores.exp().sum(), torch.zeros(len(tokens) - t - 1)]))
            heads.append(torch.stack(rows))
            outputs.append(heads[-1] @ v[:, part])
        seen.maps.append(torch.stack(heads))
        seen.attn.append(inner.proj(torch.cat(outputs, -1)))
        x = x + seen.attn[-1]
        seen.mlp.append(block.mlp.f(block.mlp.norm_in(x)))
        x = x + seen.mlp[-1]
        seen.stream.append(x)
    return seen


def test_a_probe_file_holds_the_tokens_and_the_attention_of_its_step(new_state, run_loop, tmp_path):
    text = "99 green"
    state = new_state({"probe.text": text + " bottles", "probe.interval": 5, "train.max_steps": 10})
    _, link = run_loop(state, tmp_path)
    digest = text_hash(text + " bottles")
    for step in (0, 5, 10):
        (event,) = [event for event in link.of(Probed) if event.step == step]
        assert (event.text_hash, event.n_tokens, event.tokens) == (digest, 8, step * state.config.tokens_per_step)
        path = probe_path(tmp_path, digest, step)
        assert path == tmp_path / "probes" / digest / f"{step:06d}.safetensors"
        saved = load_file(path)
        model = load_model(state.config.model, Checkpoints(tmp_path / "checkpoints").weights_path(step))
        assert saved["tokens"].dtype == torch.int64
        assert state.data.tokenizer.decode(saved["tokens"].tolist()) == text  # cut to the context of 8
        assert saved["attention"].dtype == torch.float16 and saved["attention"].shape == (2, 2, 8, 8)
        with torch.no_grad():
            wanted = direct(model, saved["tokens"])
        torch.testing.assert_close(saved["attention"].float(), torch.stack(wanted.maps), rtol=1e-3, atol=1e-4)
        sizes = [x.square().mean().sqrt().item() for x in wanted.stream]
        said = event.values["stream_rms"]
        assert [said["embedding"][0], *said["mlp.add"]] == pytest.approx(sizes, rel=1e-3)
        assert ("update_ratio" in event.values) == (step > 0), "no step has been taken before the first"
        with safe_open(path, "pt") as file:
            assert file.metadata()["text"] == text + " bottles"
            assert json.loads(file.metadata()["values"]) == event.values
    first, last = (load_file(probe_path(tmp_path, digest, step))["attention"] for step in (0, 10))
    assert not torch.equal(first, last)


def test_the_first_probe_text_is_a_line_of_the_held_out_text_cut_to_the_context(new_state, tmp_path):
    state = new_state()
    loop = Loop(state, tmp_path)
    assert len(loop.probe_text) >= 40
    assert loop.probe_text in state.data.tokenizer.decode(state.data.held_out.tolist()).splitlines()
    assert state.data.tokenizer.decode(loop.probe_tokens.tolist()) == loop.probe_text[:8]


def test_a_text_without_lines_worth_looking_at_is_looked_at_from_its_beginning():
    def a_line(text):
        ids = ByteTokenizer().encode(text)
        return TextData(ids, ids, ByteTokenizer()).probe_text()

    assert a_line("short\nlines\n") == "short\nlines\n"
    assert a_line("a    table    of    columns    that    is    wide\n" * 9).startswith("a    table")
    assert a_line("short\n  " + "word " * 10 + "\nmore") == "word word word word word word word word word word"


@pytest.mark.parametrize("source", ["task:copy", "task:modular-addition", "task:markov"])
def test_the_first_probe_of_a_task_is_an_example_it_never_trains_on(new_state, tmp_path, source):
    """Words of a closed list, or single characters."""
    state = new_state({"data.source": source, "model.block_size": 64})
    loop, held_out = Loop(state, tmp_path), state.data.held_out
    assert loop.probe_tokens.tolist() == held_out.tokens[0, : held_out.ends[0]].tolist()[:64]
    assert loop.probe_text.startswith("".join(state.data.prompts(1)[0]).strip()[:1])


def test_every_probe_follows_a_step_that_was_watched(new_state, run_loop, tmp_path, monkeypatch):
    state, watched = new_state({"train.max_steps": 400, "probe.interval": 70, "probe.sample_tokens": 0}), []
    step = state.step
    monkeypatch.setattr(state, "step", lambda how: watched.append(how) or step(how))
    probes = run_loop(state, tmp_path)[1].of(Probed)
    assert [event.step for event in probes] == [0, 1, 2, 5, 10, 20, 50, 70, 100, 140, 200, 210, 280, 350, 400]
    assert all("update_ratio" in event.values for event in probes if event.step > 0)
    assert sum(watched) == len(probes) - 1, "no step is watched for nothing"


def test_before_the_first_step_its_gradient_is_known_and_the_step_as_it_would_have_been(new_state, run_loop, tmp_path):
    """With dropout, so that a draw too many would show."""
    changes = {"model.dropout": 0.2, "train.max_steps": 1, "optim.grad_clip": None}
    alone = new_state(changes)
    loss, norm, _ = alone.step()
    _, link = run_loop(new_state(changes), tmp_path)
    before, after = link.of(Probed)
    together = math.sqrt(sum(g**2 for layers in before.values["grad_params"].values() for g in layers if g is not None))
    assert together == pytest.approx(norm.item(), rel=1e-3) == link.of(Progress)[0].grad_norm
    assert link.of(Progress)[0].loss == loss.item()
    assert before.values["grad_params"] == after.values["grad_params"] and "update_ratio" not in before.values


def test_at_most_64_tokens_are_looked_at(new_state, tmp_path):
    assert len(Loop(new_state({"model.block_size": 100}), tmp_path).probe_tokens) == 64


def test_a_first_probe_text_with_unknown_characters_is_refused_by_name(new_state, tmp_path):
    with pytest.raises(ConfigError, match=r"probe\.text: 'Ω'"):
        Loop(new_state({"probe.text": "green Ω"}), tmp_path)


def test_the_probe_text_can_be_changed_while_the_run_trains(new_state, run_loop, tmp_path):
    state = new_state({"probe.text": "green", "probe.interval": 4})
    _, link = run_loop(state, tmp_path, {6: Orders(probe_text="wall"), 13: Orders(probe_text="green")})
    assert recorded_steps(tmp_path, text_hash("green")) == [0, 1, 2, 4, 5, 13, 16, 20]
    assert recorded_steps(tmp_path, text_hash("wall")) == [6, 8, 10, 12]
    assert [event.text_hash for event in link.of(Probed)] == [text_hash(text) for text in ["green"] * 5 + ["wall"] * 4 + ["green"] * 3]
    assert load_file(probe_path(tmp_path, text_hash("wall"), 8))["attention"].shape == (2, 2, 4, 4)


def test_a_new_text_with_unknown_characters_is_noticed_once_and_the_old_one_kept(new_state, run_loop, tmp_path):
    _, link = run_loop(new_state({"probe.text": "green", "probe.interval": 4}), tmp_path, {6: Orders(probe_text="Ωx")})
    notice = next(event for event in link.of(Notice) if event.step > 0)
    assert notice.step == 6 and "'Ω'" in notice.text and "probe.text" in notice.text
    assert recorded_steps(tmp_path, text_hash("green")) == [0, 1, 2, 4, 5, 8, 10, 12, 16, 20]
    assert not (tmp_path / "probes" / text_hash("Ωx")).exists()


def test_an_empty_new_text_changes_nothing(new_state, run_loop, tmp_path):
    _, link = run_loop(new_state({"probe.text": "green", "probe.interval": 4}), tmp_path, {6: Orders(probe_text="")})
    assert {event.text_hash for event in link.of(Probed)} == {text_hash("green")}


def hooks_of(model):
    return [hook for module in model.modules() for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())]


def test_observing_leaves_the_logits_bit_identical_and_no_hook_behind(new_state):
    model, idx = new_state().model.eval(), torch.arange(8)[None]
    before = model(idx)
    with tracing(model) as seen:
        during = model(idx)
        assert hooks_of(model)
    assert hooks_of(model) == []
    assert torch.equal(before, during) and torch.equal(before, model(idx))
    assert (len(seen.stream), len(seen.change["attn"]), len(seen.change["mlp"]), len(seen.maps)) == (5, 2, 2, 2)


def test_hooks_are_removed_also_after_an_error(new_state):
    model = new_state().model
    with pytest.raises(RuntimeError, match="inside"), tracing(model):
        raise RuntimeError("inside")
    assert hooks_of(model) == []


@pytest.mark.parametrize("training", [True, False])
def test_looking_is_without_dropout_and_restores_the_mode(new_state, training):
    model = new_state().model.train(training)
    tokens = new_state().data.held_out[:8]
    one, other = traced(model, tokens), traced(model, tokens)
    assert model.training == training
    assert all(torch.equal(a, b) for a, b in zip(one.stream, other.stream, strict=True))


def test_a_model_without_attention_has_an_empty_map(new_state, tmp_path):
    state = new_state({"model.sublayers": "mlp"})
    tokens = state.data.held_out[:5]
    publish_probe(tmp_path, 0, measure(state.model, tokens), "text")
    assert load_file(probe_path(tmp_path, text_hash("text"), 0))["attention"].shape == (0, 0, 5, 5)
    seen = traced(state.model, tokens)
    assert (len(seen.change["attn"]), len(seen.change["mlp"]), len(seen.stream)) == (0, 2, 3)


def test_old_probes_are_thinned_evenly(tmp_path):
    folder = tmp_path / "probes" / "abc"
    folder.mkdir(parents=True)
    for step in range(40):
        (folder / f"{step:06d}.safetensors").write_bytes(b"x" * 100)
    thin(tmp_path, "abc", 1099)  # room for ten
    kept = recorded_steps(tmp_path, "abc")
    assert len(kept) == 10 and kept[0] == 0 and kept[-1] == 39
    assert max(b - a for a, b in pairwise(kept)) <= 8
    thin(tmp_path, "abc", 1099)
    assert recorded_steps(tmp_path, "abc") == kept
    thin(tmp_path, "abc", 1099, keep=4)
    assert len(recorded_steps(tmp_path, "abc")) == 4
    thin(tmp_path, "abc", 1)
    assert recorded_steps(tmp_path, "abc") == [0, 39], "first and last always stay"


def test_probes_of_a_text_that_is_no_longer_recorded_go_first(tmp_path):
    for name, count in (("former", 5), ("now", 8)):
        (tmp_path / "probes" / name).mkdir(parents=True)
        for step in range(count):
            (tmp_path / "probes" / name / f"{step:06d}.safetensors").write_bytes(b"x" * 100)
    thin(tmp_path, "now", 1300)
    assert len(recorded_steps(tmp_path, "former")) == 5 and len(recorded_steps(tmp_path, "now")) == 8
    thin(tmp_path, "now", 1299)
    assert recorded_steps(tmp_path, "former") == [] and len(recorded_steps(tmp_path, "now")) == 8


def test_a_long_run_of_64_heads_stays_within_its_budget(tmp_path):
    """20,000 steps, a probe every 100: files as large as those of 8 layers x 8 heads on 64 tokens."""
    tensors = {"attention": torch.zeros(8, 8, 64, 64, dtype=torch.float16), "tokens": torch.zeros(64, dtype=torch.int64)}
    for step in range(0, 20_001, 100):
        publish_probe(tmp_path, step, Probe({}, tensors), "text")
    files = list((tmp_path / "probes").rglob("*.safetensors"))
    assert sum(file.stat().st_size for file in files) <= PROBE_BUDGET_MB * 2**20
    kept = recorded_steps(tmp_path, text_hash("text"))
    assert kept[0] == 0 and kept[-1] == 20_000 and len(kept) > 100
    assert max(b - a for a, b in pairwise(kept)) <= 400

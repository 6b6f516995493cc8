"""The run's config: what it demands, how it is documented, and that it travels unchanged."""

import json
import subprocess
import sys

import pytest

from models.config import ModelConfig
from models.knobs import ConfigError, flat, nested, parse
from playground.config.presets import PRESETS, name_of
from playground.config.run import CompleteRun, RunConfig, complete
from playground.data.config import SOURCES

SPECS = RunConfig.specs()


def problems(data) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(RunConfig, data)
    return {problem.path: problem.message for problem in caught.value.problems}


def all_changed() -> RunConfig:
    """A config that differs from the default wherever it can: `the_rest` has the knobs that need others."""
    other = {
        "model": {
            "n_layer": 3, "n_head": 2, "n_embd": 32, "block_size": 16, "norm_placement": "post", "norm_type": "rmsnorm", "final_norm": True,
            "residual": False, "sublayers": "mlp", "qkv_bias": True, "activation": "silu", "mlp_ratio": 1.5, "bias": False,
            "position": "sinusoidal", "tie_weights": False, "head_bias": True, "dropout": 0.1, "embd_dropout": 0.2, "init": "normal",
            "norm_gain": False, "norm_bias": True, "norm_eps": 1e-3, "share_layers": True, "head_dim": 6, "attn_out_bias": True,
            "mlp_bias": True, "scale_embedding": True, "embd_norm": True, "logit_softcap": 9.0, "init_std": 0.1,
            "init_zero_residual": True, "attn_dropout": 0.3, "resid_dropout": 0.4,
        },
        "data": {"source": "tiny-shakespeare", "tokenizer": "byte"},
        "optim": {
            "name": "lion", "lr": 0.3, "warmup_steps": 3, "schedule": "linear", "min_lr": 0.01, "weight_decay": 0.0, "grad_clip": None,
            "beta1": 0.8, "beta2": 0.9,
        },
        "train": {
            "max_steps": None, "max_seconds": 2.5, "batch_size": 3, "accumulation": 2, "seed": 0, "data_seed": 5, "device": "cpu",
            "dtype": "bfloat16", "eval_interval": 7, "checkpoint_interval": 8, "log_interval": 9,
        },
        "probe": {"text": "Ünï\n\t\"'", "interval": 4, "sample_tokens": 0},
    }  # fmt: skip
    return parse(RunConfig, other)


def the_rest() -> RunConfig:
    """The knobs that have an effect only beside certain others."""
    model = {
        "residual_gain": "rezero", "layout": "parallel", "n_kv_head": 2, "qk_norm": "head", "window": 7, "window_pattern": "LG",
        "attn_softcap": 5.0, "attn_scale": 0.3, "position": "rope", "rope_base": 100.0, "rope_fraction": 0.5, "rope_interleaved": True,
    }  # fmt: skip
    optim = {"name": "muon", "momentum": 0.9, "rest_lr": 0.01, "ns_steps": 3, "schedule": "wsd", "decay_share": 0.5}
    return parse(RunConfig, {"model": model, "optim": optim})


def of_the_width() -> RunConfig:
    """The knobs of a parametrisation, which not every optimizer has."""
    return parse(RunConfig, {"model": {"parametrisation": "mup", "base_width": 64}})


def of_tasks() -> list[RunConfig]:
    """The knobs of the data that only some sources and tokenizers read."""
    knobs = [
        {"source": "tiny-tales", "tokenizer": "bpe", "bpe_vocab": 300, "seed": 7},
        {"source": "task:copy", "scored": "all", "length": 8, "alphabet": 7},
        {"source": "task:recall", "pairs": 4},
        {"source": "task:selective-copy", "blanks": 3},
        {"source": "task:addition", "digits": 2, "reverse_sum": False},
        {"source": "task:modular-addition", "modulus": 37},
        {"source": "task:dyck", "brackets": 3},
        {"source": "task:markov", "order": 2},
        {"share": 0.5},
    ]
    return [parse(RunConfig, {"data": data}) for data in knobs]


OTHERS = [all_changed(), the_rest(), of_the_width(), *of_tasks()]


def test_heads_that_do_not_divide_the_width_are_refused_with_numbers_and_a_remedy_that_works():
    message = problems({"model": {"n_embd": 100, "n_head": 3}})["model.n_head"]
    assert "n_embd=100 is not divisible by n_head=3" in message
    assert "try 2 heads, a width of 99 or 102, or set a head size" in message
    parse(RunConfig, {"model": {"n_embd": 100, "n_head": 2}})
    for width in (99, 102):
        parse(RunConfig, {"model": {"n_embd": width, "n_head": 3}})


BIG = {"block_size": 4096}
W = {"n_embd": 64}


@pytest.mark.parametrize(
    ("data", "path", "words", "remedied"),
    [
        ({"model": {"n_embd": 3, "n_head": 4}}, "model.n_head", ["=3", "=4", "3 heads", "width of 4"], {"model": {"n_embd": 4}}),
        ({"model": {"final_norm": True, "norm_placement": "none"}},
         "model.final_norm", ["another placement"], {"model": {"final_norm": True}}),
        ({"model": {"mlp_ratio": 0.005} | W}, "model.mlp_ratio", ["0.005", "=64", "0.0157"], {"model": {"mlp_ratio": 0.0157} | W}),
        ({"optim": {"min_lr": 0.1, "lr": 0.01}}, "optim.min_lr", ["min_lr=0.1", "lr=0.01"], {"optim": {"min_lr": 0.01, "lr": 0.01}}),
        ({"model": {"parametrisation": "mup"}, "optim": {"name": "muon"}}, "optim", ["muP", "AdamW, Lion", "not for Muon"],
         {"model": {"parametrisation": "mup"}, "optim": {"name": "lion"}}),
        ({"model": {"parametrisation": "mup", "head_dim": 16}}, "model.parametrisation", ["4 heads of 16 are 64", "width is 128"],
         {"model": {"parametrisation": "mup", "head_dim": 32}}),
        ({"model": {"base_width": 64}}, "model.base_width", ["no effect"], {"model": {"base_width": 64, "parametrisation": "mup"}}),
        ({"train": {"max_steps": None}}, "train.max_steps", ["max_steps", "max_seconds"], {"train": {"max_steps": None, "max_seconds": 1}}),
        ({"train": {"batch_size": 4096}, "model": BIG}, "train", ["4096", "2,097,152"], {"train": {"batch_size": 512}, "model": BIG}),
    ],
)  # fmt: skip
def test_what_cannot_work_together_is_refused_with_both_values_and_a_remedy_that_works(data, path, words, remedied):
    found = problems(data)
    assert set(found) == {path}
    for word in words:
        assert word in found[path]
    parse(RunConfig, remedied)


def test_rules_of_a_section_hold_also_where_other_fields_are_wrong():
    found = problems({"model": {"n_embd": 100, "n_head": 3, "dropout": 2, "layers": 4}, "optim": {"lr": 0.1, "min_lr": 1, "beta1": 1}})
    assert set(found) == {"model.n_head", "model.dropout", "model.layers", "optim.min_lr", "optim.beta1"}


def test_zero_and_negative_sizes_are_refused_one_by_one():
    sizes = ["model.n_layer", "model.n_head", "model.n_embd", "model.block_size", "train.batch_size", "train.accumulation"]
    for bad in (0, -3):
        found = problems(nested(dict.fromkeys(sizes, bad)))
        assert set(found) == set(sizes)
        assert all(found[path].startswith(f"{bad} is not possible here; use a whole number from 1") for path in sizes)


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "../secret.txt", "upload:../../etc/passwd", "upload:" + "A" * 64, "upload:" + "a" * 63, "", "x" * 201]
)
def test_a_path_is_no_data_source(source):
    assert set(problems({"data": {"source": source}})) == {"data.source"}


def test_every_known_source_and_an_upload_are_accepted():
    for source in (*SOURCES, "upload:" + "0a" * 32):
        assert parse(RunConfig, {"data": {"source": source}}).data.source == source


def test_what_follows_from_the_data_is_neither_control_nor_flag():
    assert not {"model.vocab_size", "data.fingerprint"} & {spec.path for spec in SPECS}
    assert parse(RunConfig, {"model": {"vocab_size": 65}}).model.vocab_size == 65
    assert parse(RunConfig, {"data": {"fingerprint": "0a1b"}}).data.fingerprint == "0a1b"


@pytest.mark.parametrize(
    ("data", "path", "words", "remedied"),
    [
        ({"source": "task:copy", "tokenizer": "byte"}, "data.tokenizer", ["own tokens", "set it to char"], {"source": "task:copy"}),
        ({"bpe_vocab": 500}, "data.bpe_vocab", ["500", "bpe", "1000"], {"tokenizer": "bpe", "bpe_vocab": 500}),
        ({"source": "task:parity", "length": 4}, "data.source", ["only 30 different examples", "300", "length"],
         {"source": "task:parity", "length": 9}),
        ({"source": "task:recall", "pairs": 20}, "data.source", [], {"source": "task:recall", "pairs": 8}),
        ({"scored": "all"}, "data.scored", ["no effect"], {"source": "task:copy", "scored": "all"}),
    ],
)  # fmt: skip
def test_settings_of_the_data_that_cannot_be_are_refused_with_a_remedy_that_works(data, path, words, remedied):
    found = problems({"data": data})
    assert set(found) == {path}
    for word in words:
        assert word in found[path]
    parse(RunConfig, {"data": remedied})


def test_examples_that_do_not_fit_the_context_are_refused_with_a_remedy_that_works():
    data = {"source": "task:copy", "length": 40}
    message = problems({"data": data, "model": {"block_size": 64}})["data"]
    assert "a context of 81 tokens, and there are 64" in message
    config = parse(RunConfig, {"data": data, "model": {"block_size": int(message.split("block_size=")[1].split()[0])}})
    assert config.width == 81 == config.tokens_per_step / config.train.batch_size
    with pytest.raises(ConfigError):
        parse(RunConfig, {"data": data, "model": {"block_size": 80}})


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.path)
def test_every_knob_is_documented_and_its_default_is_within_its_range(spec):
    assert spec.knob.label.strip() and spec.knob.group.strip()
    assert spec.knob.help.strip() and spec.knob.help.rstrip().endswith((".", ")"))
    assert not spec.optional or spec.knob.none_means
    assert set(spec.knob.choice_labels) <= set(spec.choices or SOURCES)
    if spec.knob.slider:
        low, high = spec.knob.slider
        assert low < high and (spec.low is None or low >= spec.low) and (spec.high is None or high <= spec.high)
        assert spec.default is None or low <= spec.default <= high
    parse(RunConfig, nested({spec.path: spec.default}) if spec.path != "train.max_seconds" else {})


def test_design_opens_with_at_most_twelve_controls():
    assert 6 <= sum(spec.knob.open for spec in SPECS) <= 12


def test_elem_ids_are_the_paths_with_dashes():
    assert next(spec for spec in SPECS if spec.path == "model.n_layer").elem_id == "model-n_layer"
    assert len({spec.elem_id for spec in SPECS}) == len(SPECS)


@pytest.mark.parametrize("config", [RunConfig(), *OTHERS, *(preset.config for preset in PRESETS.values())], ids=lambda c: c.summary)
def test_a_config_survives_every_way_it_travels(config):
    assert parse(RunConfig, config.model_dump()) == config
    assert parse(RunConfig, json.loads(config.model_dump_json())) == config
    assert parse(RunConfig, nested(flat(config))) == config
    as_flags = {path: "none" if value is None else str(value) for path, value in flat(config).items()}
    assert parse(RunConfig, nested(as_flags)) == config


def test_all_changed_really_changes_every_knob():
    base, others = flat(RunConfig()), [flat(config) for config in OTHERS]
    assert [spec.path for spec in SPECS if all(other[spec.path] == base[spec.path] for other in others)] == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_complete_run_is_written_as_an_open_one_with_the_same_vocabulary(name):
    config = PRESETS[name].config
    model, data = (section.model_copy(update=known) for section, known in (
        (config.model, {"vocab_size": 77}), (config.data, {"fingerprint": "0123456789abcdef"}),
    ))  # fmt: skip
    opened, completed = config.model_copy(update={"model": model, "data": data}), complete(config, 77, "0123456789abcdef")
    assert completed.model_dump_json() == opened.model_dump_json() and completed.digest == opened.digest
    assert parse(CompleteRun, json.loads(opened.model_dump_json())) == completed
    assert complete(completed, 78, "0123456789abcdef").model.vocab_size == 78


def test_a_run_without_its_vocabulary_is_not_complete():
    with pytest.raises(ConfigError, match=r"^model\.vocab_size: this is missing$"):
        parse(CompleteRun, {"model": {"n_layer": 2}})


def test_digest_tells_configs_apart_and_is_stable():
    assert RunConfig().digest == parse(RunConfig, json.loads(RunConfig().model_dump_json())).digest
    base, others, digests = RunConfig(), [flat(config) for config in OTHERS], set()
    for spec in SPECS:
        section, name = spec.path.split(".")
        value = next(other[spec.path] for other in others if other[spec.path] != spec.default)
        changed = getattr(base, section).model_copy(update={name: value})
        digests.add(base.model_copy(update={section: changed}).digest)
    assert len(digests | {base.digest}) == len(SPECS) + 1


def test_summary_names_what_is_unusual():
    assert RunConfig().summary == "4L 4H 128 pre-norm"
    assert all_changed().summary == "3L 2H 32 post-norm no residual mlp only"


def test_tokens_per_step_counts_accumulation():
    assert all_changed().tokens_per_step == 3 * 2 * 16


def test_the_nanogpt_recipe_is_that_of_its_readme():
    config = PRESETS["nanogpt-cpu"].config
    assert (config.model.n_layer, config.model.n_head, config.model.n_embd, config.model.block_size) == (4, 4, 128, 64)
    assert (config.train.batch_size, config.train.max_steps, config.model.dropout, config.model.bias) == (12, 2000, 0.0, False)
    optim = config.optim
    assert (optim.name, optim.lr, optim.min_lr, optim.schedule, optim.warmup_steps) == ("adamw", 1e-3, 1e-4, "cosine", 100)
    assert (optim.beta1, optim.beta2, optim.weight_decay, optim.grad_clip) == (0.9, 0.99, 0.1, 1.0)


@pytest.mark.parametrize(
    "module",
    ["models.knobs", "models.config", "models.presets", "playground.config.run", "playground.config.presets", "playground.config.settings",
     "playground.system.files", "playground.data.corpora", "playground.data.dataset", "playground.data.examples", "playground.data.hub",
     "playground.data.tales", "playground.data.tasks", "playground.data.tokenizers", "playground.web.errands", "playground.runs.folder"],
)  # fmt: skip
def test_a_page_can_reason_about_runs_without_torch(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'gradio', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_model_section_is_the_architectures_own_config():
    assert RunConfig.model_fields["model"].annotation is ModelConfig


def test_a_run_is_called_after_its_preset_and_what_differs_from_it():
    def called(preset: str = "default", **changes) -> str:
        return name_of(parse(RunConfig, nested(flat(PRESETS["default"].config) | changes)), preset)

    assert called() == "Small GPT"
    assert called(**{"model.n_layer": 6, "model.residual": False}) == "Small GPT: layers 6, no residual connections"
    assert called(**{"model.norm_placement": "post", "optim.lr": 0.01, "train.seed": 2}) == (
        "Small GPT: norm placement post, learning rate 0.01, seed 2"
    )
    many = called(
        **{"model.n_layer": 6, "model.n_embd": 64, "optim.lr": 0.01, "optim.warmup_steps": 3, "train.seed": 2, "train.batch_size": 9}
    )
    assert many == "Small GPT: layers 6, width 64, learning rate 0.01 and 3 more"
    assert called("") == PRESETS["default"].config.summary, "of no preset"
    assert all(len(name_of(each.config, other)) <= 80 for each in PRESETS.values() for other in PRESETS)

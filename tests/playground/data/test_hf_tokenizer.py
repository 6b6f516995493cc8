"""Our tokenizers as `transformers` loads them: the same ids, the same text back, and whole pipelines."""

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.decoding import generate
from models.gpt import GPT
from models.interop import to_transformers
from models.presets import ARCHITECTURES
from playground.data.tokenizers import ByteTokenizer, CharTokenizer, StreamDecoder, hub_files

TEXT = (
    "First Citizen:\n\nWe  are -- don't , you ?\tknow\r\n  naïve é e\u0301 日本 "
    "👩‍👩‍👧 \u00a0\u2028\u200b<unknown> </s> [UNK] ĠÄ \x00\x7f ."
)
FAMILIES = ["gpt1", "gpt2", "gpt-neox", "gpt-j", "bloom", "llama", "mistral", "gemma2", "olmo2", "qwen3"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny models are quickest on one thread, and don't wait for a busy second core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def written(tokenizer, folder):
    folder.mkdir(exist_ok=True)
    for name, content in hub_files(tokenizer).items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def both(kind, text):
    return CharTokenizer(text) if kind == "char" else ByteTokenizer()


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_ids_and_text_are_ours(kind, tmp_path):
    ours = both(kind, TEXT)
    theirs = transformers.AutoTokenizer.from_pretrained(written(ours, tmp_path))
    assert theirs(TEXT)["input_ids"] == ours.encode(TEXT).tolist()
    assert theirs.decode(ours.encode(TEXT).tolist()) == TEXT
    assert len(theirs) == theirs.vocab_size == ours.vocab_size
    assert theirs.all_special_ids == []


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_any_text_comes_back(kind, tmp_path):
    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(min_size=1))
    def comes_back(text):
        ours = both(kind, text)
        theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(written(ours, tmp_path) / "tokenizer.json"))
        ids = theirs(text)["input_ids"]
        assert ids == ours.encode(text).tolist()
        assert theirs.decode(ids, skip_special_tokens=True) == text

    comes_back()


def test_broken_bytes_become_the_same_replacement_characters(tmp_path):
    theirs = transformers.AutoTokenizer.from_pretrained(written(ByteTokenizer(), tmp_path))
    for broken in ([0xE2, 0x82, 0x41, 0xFF, 0x42], [0xC3], [0xF0, 0x9F, 0x98, 0x20, 0x80]):
        assert theirs.decode(broken) == ByteTokenizer().decode(broken)


def test_an_unknown_character_is_an_error_there_too(tmp_path):
    theirs = transformers.AutoTokenizer.from_pretrained(written(CharTokenizer("abc"), tmp_path))
    with pytest.raises(Exception, match=r"unknown|UNK"):
        theirs("abx")


@pytest.mark.parametrize("kind", ["char", "byte"])
@pytest.mark.parametrize("preset", FAMILIES)
def test_the_pipeline_goes_on_as_our_own_decoding_does(preset, kind, tmp_path):
    tokenizer = both(kind, TEXT)
    config = ARCHITECTURES[preset].config
    torch.manual_seed(1)
    lively = {"vocab_size": tokenizer.vocab_size, "tie_weights": False, "init": "normal", "init_std": 0.5}
    gpt = GPT(config.model_copy(update=lively)).eval()
    to_transformers(gpt).save_pretrained(written(tokenizer, tmp_path))
    pipe = transformers.pipeline("text-generation", model=str(tmp_path), device="cpu")
    prompt = "We  are\n you ?"
    new = config.block_size - len(prompt)
    (answer,) = pipe(prompt, max_new_tokens=new, do_sample=False)
    ids = [choice.token for choice in generate(gpt, tokenizer.encode(prompt).tolist(), max_new_tokens=new, temperature=0)]
    decoder = StreamDecoder(tokenizer)
    whole = "".join(decoder.push(i) for i in ids)
    assert answer["generated_text"].removeprefix(prompt).startswith(whole)
    assert answer["generated_text"] == prompt + tokenizer.decode(ids)
    assert len(set(ids)) > 3

"""Our tokenizers as `transformers` loads them: the same ids, the same text back, and whole pipelines."""

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from models.decoding import generate
from models.gpt import GPT
from models.interop import to_transformers
from models.presets import ARCHITECTURES
from playground.data.tokenizers import ByteTokenizer, CharTokenizer, StreamDecoder, WordTokenizer, build, hub_files, learn_bpe

TEXT = (
    "First Citizen:\n\nWe  are -- don't , you ?\tknow\r\n  naïve é e\u0301 日本 👩‍👩‍👧 \u00a0\u2028\u200b<unknown> </s> [UNK] ĠÄ \x00\x7f ."
)
WORDS = ["17", "+", "45", "=", "3", "é", "🙂", "<unknown>", "<unk>", "Ġ", "don't", ".", "n't", "\u200b"]
KINDS = ["char", "byte", "bpe", "word"]
FAMILIES = ["gpt1", "gpt2", "gpt-neox", "gpt-j", "bloom", "llama", "mistral", "gemma2", "olmo2", "qwen3"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny models are quickest on one thread, and don't wait for a busy second core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def written(tokenizer, folder, context=64):
    folder.mkdir(exist_ok=True)
    for name, content in hub_files(tokenizer, context).items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def of(kind):
    """A tokenizer of each kind and a text that it knows."""
    if kind == "word":
        return WordTokenizer(WORDS), " ".join(WORDS + WORDS[::-1])
    return build(kind, TEXT, TEXT * 3, 330), TEXT


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_text_are_ours(kind, tmp_path):
    ours, text = of(kind)
    theirs = transformers.AutoTokenizer.from_pretrained(written(ours, tmp_path))
    assert theirs(text)["input_ids"] == ours.encode(text).tolist()
    assert theirs.decode(ours.encode(text).tolist()) == text
    assert len(theirs) == theirs.vocab_size == ours.vocab_size
    assert theirs.all_special_ids == []
    assert [theirs.decode([i]) for i in range(ours.vocab_size)] == [ours.decode([i]) for i in range(ours.vocab_size)]


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_any_text_comes_back(kind, tmp_path):
    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(min_size=1))
    def comes_back(text):
        ours = build(kind, text, TEXT * 3, 330)
        theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(written(ours, tmp_path) / "tokenizer.json"))
        ids = theirs(text)["input_ids"]
        assert ids == ours.encode(text).tolist()
        assert theirs.decode(ids, skip_special_tokens=True) == text

    comes_back()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.text(min_size=1).filter(lambda word: word.split() == [word]), min_size=1, unique=True))
def test_any_words_come_back(words):
    ours = WordTokenizer(words)
    theirs = Library.from_str(hub_files(ours, 64)["tokenizer.json"])
    for text in (" ".join(words), "\x1c\u3000 ".join(words) + "\n"):
        assert theirs.encode(text).ids == ours.encode(text).tolist() == list(range(len(words)))
    assert theirs.decode(list(range(len(words)))) == " ".join(words)


@settings(deadline=None, derandomize=True)
@given(st.data())
def test_any_learnt_ids_are_decoded_alike(data):
    ours = learn_bpe(TEXT * 3, 330)
    ids = data.draw(st.lists(st.integers(0, ours.vocab_size - 1)))
    assert Library.from_str(hub_files(ours, 64)["tokenizer.json"]).decode(ids) == ours.decode(ids)


def test_broken_bytes_become_the_same_replacement_characters(tmp_path):
    theirs = transformers.AutoTokenizer.from_pretrained(written(ByteTokenizer(), tmp_path))
    for broken in ([0xE2, 0x82, 0x41, 0xFF, 0x42], [0xC3], [0xF0, 0x9F, 0x98, 0x20, 0x80]):
        assert theirs.decode(broken) == ByteTokenizer().decode(broken)


def test_an_unknown_character_is_an_error_there_too(tmp_path):
    theirs = transformers.AutoTokenizer.from_pretrained(written(CharTokenizer("abc"), tmp_path))
    with pytest.raises(Exception, match=r"unknown|UNK"):
        theirs("abx")


@pytest.mark.parametrize("text", ["17 + 4", "<unknown word>", "17+ 3", "=3"])
def test_an_unknown_word_is_an_error_there_too(text, tmp_path):
    theirs = transformers.AutoTokenizer.from_pretrained(written(WordTokenizer(WORDS), tmp_path))
    with pytest.raises(Exception, match=r"unknown|UNK"):
        theirs(text)


@pytest.mark.parametrize(
    "preset, kind",
    [*((preset, kind) for preset in FAMILIES for kind in ("char", "byte")), ("gpt2", "bpe"), ("llama", "bpe"), ("gpt2", "word")],
)
def test_the_pipeline_goes_on_as_our_own_decoding_does(preset, kind, tmp_path):
    tokenizer, _ = of(kind)
    config = ARCHITECTURES[preset].config
    torch.manual_seed(1)
    lively = {"vocab_size": tokenizer.vocab_size, "tie_weights": False, "init": "normal", "init_std": 0.5}
    gpt = GPT(config.model_copy(update=lively)).eval()
    to_transformers(gpt).save_pretrained(written(tokenizer, tmp_path))
    pipe = transformers.pipeline("text-generation", model=str(tmp_path), device="cpu")
    prompt = "17 + 45 = " if kind == "word" else "We  are\n you ?"
    new = config.block_size - len(tokenizer.encode(prompt))
    (answer,) = pipe(prompt, max_new_tokens=new, do_sample=False)
    ids = [choice.token for choice in generate(gpt, tokenizer.encode(prompt).tolist(), max_new_tokens=new, temperature=0)]
    decoder = StreamDecoder(tokenizer)
    whole = "".join(decoder.push(i) for i in ids).removeprefix(" " if kind == "word" else "")  # it is in the prompt there
    assert answer["generated_text"].removeprefix(prompt).startswith(whole)
    assert answer["generated_text"] == prompt + tokenizer.decode(ids)
    assert len(set(ids)) > 3

"""What is trained on and what is held out: cut once, prepared once, shared by all who read it."""

import math
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.config import ModelConfig
from models.knobs import parse
from playground.data import corpora, dataset, sample, tales
from playground.data.batches import UNSCORED
from playground.data.config import DataConfig
from playground.data.corpora import CorpusError, add_text
from playground.data.dataset import about, load, n_train, prepare
from playground.system.files import making
from tests.patience import LONGEST_S

REPOSITORY = Path(__file__).parents[3]
CPU = torch.device("cpu")

# Each tenth has characters of its own, so that what is in which part shows in the text.
TEXT = "".join(chr(ord("a") + i) * 20 for i in range(10))
PROSE = "".join(f"{i} green bottles hanging on the wall, and Käfer {i * i} asks where the others are.\n" for i in range(120))


def text_config(source, **data):
    return parse(DataConfig, {"source": source, **data})


def task_config(name="copy", **data):
    return parse(DataConfig, {"source": f"task:{name}", **data})


COPY = task_config(length=4, alphabet=6)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A root whose prepared data are looked at only."""
    return tmp_path_factory.mktemp("shared")


# ---- a share of the training part


def test_a_share_of_a_text_is_its_beginning_and_all_else_stays(shared):
    source = add_text(shared, PROSE)
    for tokenizer in ("char", "bpe"):
        whole, part = (load(text_config(source, tokenizer=tokenizer, share=share), shared) for share in (1.0, 0.25))
        assert len(part.train) == math.ceil(len(whole.train) / 4) and np.array_equal(part.train, whole.train[: len(part.train)])
        assert np.array_equal(part.held_out, whole.held_out) and part.tokenizer.to_json() == whole.tokenizer.to_json()
        assert (part.about.n_train, part.about.fingerprint) == (len(part.train), whole.about.fingerprint)
        assert part.about.lines["trigram"] > whole.about.lines["trigram"] + 0.02, "counted on less text"
    assert prepare(text_config(source, share=0.25), shared) == prepare(text_config(source), shared), "prepared once"


def test_a_share_of_a_task_is_some_of_its_different_examples_and_a_larger_share_holds_a_smaller_one(shared):
    def pairs(share) -> set[bytes]:
        return {row.tobytes() for row in load(task_config("modular-addition", share=share), shared).train.tokens}

    whole, half, fifth = pairs(1.0), pairs(0.5), pairs(0.2)
    assert fifth < half < whole and len(whole) > 0.85 * 31**2
    assert abs(len(half) / len(whole) - 0.5) < 0.07 and abs(len(fifth) / len(whole) - 0.2) < 0.06
    held_out = [load(task_config("modular-addition", share=share), shared).held_out.tokens for share in (1.0, 0.2)]
    assert np.array_equal(*held_out) and not fifth & {row.tobytes() for row in held_out[0]}
    assert about(task_config("modular-addition", share=0.2), shared).n_train < 0.3 * about(task_config("modular-addition"), shared).n_train


def test_a_share_that_holds_nothing_is_refused_with_what_to_do(shared):
    with pytest.raises(CorpusError, match=r"data\.share: no example falls into so small a share"):
        dataset.check_length(about(task_config("modular-addition", share=1e-9), shared), ModelConfig())
    with pytest.raises(CorpusError, match=r"or a larger share of it \(data\.share\)"):
        dataset.check_length(about(text_config(add_text(shared, PROSE), share=0.001), shared), ModelConfig())


# ---- how a text is cut


def test_the_last_tenth_is_held_out_contiguous_and_nothing_is_in_both(tmp_path):
    data = load(text_config(add_text(tmp_path, TEXT)), tmp_path)
    assert data.tokenizer.decode(data.train.tolist()) == TEXT[:180]
    assert data.tokenizer.decode(data.held_out.tolist()) == TEXT[180:]


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_every_text_is_cut_at_the_same_character_and_its_parts_together_are_the_text(tmp_path, kind):
    source = add_text(tmp_path, PROSE)
    data = load(text_config(source, tokenizer=kind, **({"bpe_vocab": 300} if kind == "bpe" else {})), tmp_path)
    train, held_out = (data.tokenizer.decode(ids.tolist()) for ids in (data.train, data.held_out))
    assert train + held_out == PROSE and len(train) == n_train(len(PROSE))
    assert (data.about.n_train, data.about.n_held_out) == (len(data.train), len(data.held_out))
    assert data.about.n_tokens == len(data.train) + len(data.held_out)
    assert (data.about.n_chars, data.about.vocab_size) == (len(PROSE), data.tokenizer.vocab_size)


def test_the_vocabulary_of_characters_is_that_of_the_whole_text(tmp_path):
    """The last letter occurs in the held-out part only."""
    data = load(text_config(add_text(tmp_path, TEXT)), tmp_path)
    assert data.tokenizer.vocab_size == 10
    assert 9 in data.held_out and 9 not in data.train


def test_byte_pairs_are_learnt_from_the_training_part_only(tmp_path):
    """A word that only the held-out part has, however often, is not merged; the same word in the training part is."""
    frequent, foreign = "wombat " * 200, "zygote " * 20
    filler = "the cat and the dog. " * 100
    there = load(text_config(add_text(tmp_path, frequent + filler + foreign), tokenizer="bpe", bpe_vocab=400), tmp_path)
    assert foreign in there.tokenizer.decode(there.held_out.tolist()) and "zygote" not in there.tokenizer.decode(there.train.tolist())
    pieces = {there.tokenizer.piece(i) for i in range(there.tokenizer.vocab_size)}
    assert b" wombat" in pieces
    assert len(there.tokenizer.encode(" zygote")) >= 6 and not any(piece in b"zygote" for piece in pieces if len(piece) > 1)
    everywhere = load(text_config(add_text(tmp_path, foreign * 10 + filler), tokenizer="bpe", bpe_vocab=400), tmp_path)
    assert b" zygote" in {everywhere.tokenizer.piece(i) for i in range(everywhere.tokenizer.vocab_size)}


def test_bytes_are_cut_at_characters(tmp_path):
    data = load(text_config(add_text(tmp_path, "é" * 100), tokenizer="byte"), tmp_path)
    assert (len(data.train), len(data.held_out), data.tokenizer.vocab_size) == (180, 20, 256)


@pytest.mark.parametrize(("n_characters", "dtype"), [(200, np.uint8), (256, np.uint8), (257, np.uint16), (70_000, np.uint32)])
def test_ids_take_as_few_bytes_as_the_vocabulary_allows_and_stay_right(tmp_path, n_characters, dtype):
    text = "".join(chr(i) for i in range(33, n_characters + 33 + 2048) if not 0xD800 <= i < 0xE000)[:n_characters]
    data = load(text_config(add_text(tmp_path, text)), tmp_path)
    assert data.train.dtype == data.held_out.dtype == dtype
    assert np.concatenate([data.train, data.held_out]).tolist() == list(range(n_characters))


@given(st.integers(1, 10**9))
def test_a_tenth_is_a_tenth(n):
    assert 0 <= n - n_train(n) - n / 10 <= 1 + 1e-6


def test_stories_are_held_out_whole_and_none_is_in_both_parts(shared):
    data = load(DataConfig(), shared)
    made = tales.tales(0, corpora.TALES_CHARS)
    train, held_out = (data.tokenizer.decode(ids.tolist()) for ids in (data.train, data.held_out))
    assert train + held_out == made.text and len(train) == made.held_out_at
    assert train.endswith(tales.SEPARATOR) and held_out.endswith(tales.SEPARATOR)
    told, kept = (part.split(tales.SEPARATOR)[:-1] for part in (train, held_out))
    assert (len(told), len(kept)) == (made.n_train, made.n_held_out)
    assert set(told).isdisjoint(kept) and len(set(told)) == len(told) and len(set(kept)) == len(kept)
    assert 0.1 <= len(held_out) / len(made.text) < 0.101


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_the_floor_of_stories_is_that_of_their_grammar_however_they_are_cut(shared, kind):
    """Each held-out story's probability, found again from its text alone."""
    data = load(text_config("tiny-tales", tokenizer=kind), shared)
    stories = data.tokenizer.decode(data.held_out.tolist()).split(tales.SEPARATOR)[:-1]
    some = stories[:40]
    nats = -sum(tales.log_probability(story) for story in some)
    n_chars = sum(len(story) + len(tales.SEPARATOR) for story in some)
    known = data.about
    held_out_chars = sum(len(story) + len(tales.SEPARATOR) for story in stories)
    assert known.floor_bits == pytest.approx(nats / n_chars / math.log(2), rel=0.1)
    assert known.floor * known.n_held_out == pytest.approx(known.floor_bits * math.log(2) * held_out_chars, rel=1e-12)
    assert known.floor * known.n_held_out == pytest.approx(tales.tales(0, corpora.TALES_CHARS).held_out_nats, rel=1e-12)
    assert 0.1 < known.floor_bits < 0.4


def test_nobody_knows_the_floor_of_another_text(tmp_path):
    known = about(text_config(add_text(tmp_path, TEXT)), tmp_path)
    assert (known.kind, known.floor, known.floor_bits, known.ceiling) == ("text", None, None, None)
    assert known.preview == TEXT


# ---- prepared once


def files_of(root):
    """Inode and time of every prepared file."""
    return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in (root / "prepared").rglob("*.*")}


@pytest.mark.parametrize("config", [DataConfig(source="python-docs"), COPY], ids=lambda config: config.source)
def test_data_are_prepared_once(tmp_path, config):
    assert not dataset.is_prepared(config, tmp_path)
    first, heard = load(config, tmp_path), []
    assert dataset.is_prepared(config, tmp_path)
    before = files_of(tmp_path)
    again = load(config, tmp_path, lambda *said: heard.append(said))
    assert dataset.about(config, tmp_path) == first.about == again.about
    assert dataset.tokenizer(config, tmp_path).to_json() == first.tokenizer.to_json()
    assert files_of(tmp_path) == before and heard == [] and len(before) >= 4


def test_who_waits_is_told_what_is_being_done(tmp_path):
    heard = []
    prepare(text_config(add_text(tmp_path, PROSE * 20), tokenizer="bpe", bpe_vocab=300), tmp_path, lambda *said: heard.append(said))
    assert [words for share, words in heard if share is None] == [
        "reading the text", "cutting the text into tokens", "counting how frequent tokens are",
    ]  # fmt: skip
    shares = [share for share, words in heard if words == "learning the tokens"]
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_only_what_the_data_depend_on_makes_other_data(tmp_path):
    source = add_text(tmp_path, PROSE)
    same = [text_config(source), text_config(source, fingerprint="0" * 16)]
    assert len({prepare(config, tmp_path) for config in same}) == 1
    configs = [
        *same[:1], text_config(source, tokenizer="byte"), text_config(source, tokenizer="bpe", bpe_vocab=300),
        text_config(source, tokenizer="bpe", bpe_vocab=310), text_config(add_text(tmp_path, PROSE + "x")),
        COPY, task_config(length=4, alphabet=7), task_config(length=4, alphabet=6, seed=1), task_config(length=4, alphabet=6, scored="all"),
        task_config("reverse", length=4, alphabet=6),
    ]  # fmt: skip
    assert len({prepare(config, tmp_path) for config in configs}) == len(configs)


def litter(root):
    return [path.name for path in (root / "prepared").iterdir() if path.name.startswith(".")]


PREPARING = """
import sys
from pathlib import Path
from playground.data.config import DataConfig
from playground.data import dataset
config = DataConfig.model_validate_json(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
data = dataset.load(config, Path(sys.argv[1]))
print(data.about.digest, int((data.train.tokens if config.task else data.train).sum()))
"""


@pytest.mark.parametrize("config", [DataConfig(source="python-docs"), COPY], ids=lambda config: config.source)
@pytest.mark.parametrize("damaged", [False, True])
def test_processes_that_prepare_the_same_at_once_leave_one_good_copy(tmp_path, config, damaged):
    if damaged:
        (prepare(config, tmp_path) / "tokenizer.json").write_text("")
    words = [sys.executable, "-c", PREPARING, str(tmp_path), config.model_dump_json()]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(words, cwd=REPOSITORY, **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=LONGEST_S) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ends
    assert len({out for out, _ in ends}) == 1 and ends[0][0].split()[0] == load(config, tmp_path).about.digest
    assert litter(tmp_path) == [] and len(list((tmp_path / "prepared").iterdir())) == 1


def test_threads_that_prepare_the_same_at_once_leave_one_good_copy(tmp_path):
    barrier, found = threading.Barrier(4), []

    def work():
        barrier.wait()
        found.append(load(COPY, tmp_path))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4 and len({data.about.digest for data in found}) == 1
    assert all(np.array_equal(found[0].train.tokens, data.train.tokens) for data in found)
    assert litter(tmp_path) == [] and len(list((tmp_path / "prepared").iterdir())) == 1


def test_what_cannot_be_prepared_leaves_nothing(tmp_path):
    with pytest.raises(CorpusError, match="upload it again"):
        prepare(text_config("upload:" + "0" * 64), tmp_path)
    assert list((tmp_path / "prepared").iterdir()) == []


def removed(path):
    path.unlink()


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [removed, truncated, emptied])
@pytest.mark.parametrize("name", ["about.json", "files.json", "tokenizer.json", "train", "held_out"])
@pytest.mark.parametrize("config", [DataConfig(source="python-docs"), COPY], ids=lambda config: config.source)
def test_damaged_data_are_prepared_anew(shared, config, name, damage):
    sound = load(config, shared)
    wanted = [array.copy() for array in arrays_of(sound)]
    folder = prepare(config, shared)
    if name in ("train", "held_out"):
        name = f"{name}.npy" if config.task is None else f"{name}/tokens.npy"
    damage(folder / name)
    assert not dataset.is_prepared(config, shared)
    again = load(config, shared)
    assert dataset.is_prepared(config, shared)
    assert again.about == sound.about and again.tokenizer.to_json() == sound.tokenizer.to_json()
    assert all(np.array_equal(one, other) for one, other in zip(arrays_of(again), wanted, strict=True))
    assert litter(shared) == []


def test_data_that_are_dropped_while_they_are_opened_are_prepared_again(tmp_path, monkeypatch):
    folder, read = prepare(COPY, tmp_path), dataset._read_about
    times = []

    def read_late(config, path):
        times.append(path)
        if path == folder and times.count(folder) == 1:
            (folder / "about.json").unlink()
        return read(config, path)

    monkeypatch.setattr(dataset, "_read_about", read_late)
    assert about(COPY, tmp_path).kind == "task" and times.count(folder) == 2


def test_the_least_recently_used_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "KEEP_PREPARED", 3)
    configs = [text_config(add_text(tmp_path, TEXT + letter)) for letter in "abcd"]
    opened = load(configs[0], tmp_path)
    for age, config in zip((400, 300, 200), configs[:3], strict=True):
        folder = prepare(config, tmp_path)
        os.utime(folder, (time.time() - age, time.time() - age))
    load(configs[0], tmp_path)  # used again: no longer the oldest
    prepare(configs[3], tmp_path)
    assert [dataset.is_prepared(config, tmp_path) for config in configs] == [True, False, True, True]
    for letter in "efg":
        prepare(text_config(add_text(tmp_path, TEXT + letter)), tmp_path)
    assert not dataset.is_prepared(configs[0], tmp_path)
    assert opened.tokenizer.decode(np.concatenate([opened.train, opened.held_out]).tolist()) == TEXT + "a"
    assert len(list((tmp_path / "prepared").iterdir())) == 3


def test_what_a_killed_process_has_left_is_cleared_away_and_what_another_is_making_is_not(tmp_path):
    left = tmp_path / "prepared" / ".abc.killed.unfinished"
    (left / "data").mkdir(parents=True)
    with making(tmp_path / "prepared", "abc") as others:
        prepare(COPY, tmp_path)
        assert litter(tmp_path) == [others.name]
    assert litter(tmp_path) == []


# ---- one copy for all


def arrays_of(data):
    if isinstance(data, dataset.TextData):
        return [data.train, data.held_out]
    parts = [data.train, data.held_out, *data.by_size.values()]
    return [array for part in parts for array in (part.tokens, part.starts, part.ends, part.nats, part.sure)]


@pytest.mark.parametrize("config", [DataConfig(source="python-docs"), COPY], ids=lambda config: config.source)
def test_data_are_mapped_and_a_write_reaches_nobody_else(shared, config):
    one, other = load(config, shared), load(config, shared)
    assert all(isinstance(array, np.memmap) for array in arrays_of(one))
    before = arrays_of(other)[0].copy()
    arrays_of(one)[0][:] = 1
    assert np.array_equal(arrays_of(other)[0], before) and not np.array_equal(arrays_of(one)[0], before)
    assert np.array_equal(arrays_of(load(config, shared))[0], before)


SHARING = """
import re, sys
from pathlib import Path
import numpy as np, torch
from playground.data.config import DataConfig
from playground.data import dataset

def kilobytes(kind):
    return sum(map(int, re.findall(kind + r"_\\w+: +(\\d+) kB", Path("/proc/self/smaps_rollup").read_text())))

config, root = DataConfig(source=sys.argv[2], tokenizer="byte"), Path(sys.argv[1])
first = dataset.load(config, root)
first.batches(4, 64, 0, torch.device("cpu")).next()
before = kilobytes("Private")
loaded = [dataset.load(config, root) for _ in range(8)]
batches = [data.batches(4, 64, 0, torch.device("cpu")) for data in loaded]
total = sum(int(each.ids[::512].long().sum()) for each in batches)
for each in batches:
    each.next()
print(len(first.train), kilobytes("Private") - before, total > 0)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says what memory a process has to itself")
def test_eight_runs_on_one_text_hold_one_copy_of_it(tmp_path):
    """Every page of a text of 20 MB is read eight times over, next to a process that has it open too."""
    source = add_text(tmp_path, "The quick brown fox jumps over the lazy dog.\n" * 450_000)
    config = text_config(source, tokenizer="byte")
    beside = load(config, tmp_path)
    assert int(beside.train[::512].sum()) > 0
    done = subprocess.run(
        [sys.executable, "-c", SHARING, str(tmp_path), source], capture_output=True, text=True, cwd=REPOSITORY, timeout=LONGEST_S
    )
    assert done.returncode == 0, done.stderr
    n_bytes, grown_kb, read = done.stdout.split()
    assert int(n_bytes) > 18_000_000 and read == "True"
    assert int(grown_kb) < 6_000, f"eight times {n_bytes} bytes took {grown_kb} kB of its own"


# ---- the fingerprint


def test_the_fingerprint_of_a_text_is_that_of_its_words_and_not_of_its_tokens(tmp_path):
    source = add_text(tmp_path, PROSE)
    known = [about(text_config(source, tokenizer=kind), tmp_path) for kind in ("char", "byte")]
    assert known[0].fingerprint == known[1].fingerprint == source.removeprefix("upload:")[:16]
    assert known[0].digest != known[1].digest


# ---- tasks


def spelled(data, tokens):
    return data.tokenizer.decode([int(token) for token in tokens])


TASKS = [COPY, task_config("modular-addition"), task_config("markov", length=20), task_config("dyck"), task_config("recall")]


def answer_places(data, config, i, part="held_out"):
    """Where the answer of an example stands: behind its prompt, where questions and answers take turns every other token."""
    examples = getattr(data, part)
    return list(range(int(examples.starts[i]), int(examples.ends[i]), config.task.stride))


@pytest.mark.parametrize("config", TASKS, ids=lambda config: config.source)
@pytest.mark.parametrize("scored", ["answer", "all"])
def test_targets_are_the_next_tokens_where_they_count(shared, config, scored):
    config = parse(DataConfig, config.model_dump() | {"scored": scored})
    data, width = load(config, shared), config.task.longest(config.params) - 1
    rows = data.batches(64, width, 3, CPU)
    inputs, targets = rows.next()
    assert inputs.shape == targets.shape == (64, width) and inputs.dtype == targets.dtype == torch.int64
    tokens = {tuple(row.tolist()): i for i, row in enumerate(data.train.tokens[:, : width + 1])}
    for line, wanted in zip(inputs, targets, strict=True):
        i = next(i for row, i in tokens.items() if row[:-1] == tuple(line.tolist()))
        places = answer_places(data, config, i, "train") if scored == "answer" else list(range(1, int(data.train.ends[i])))
        assert [t + 1 for t in range(width) if wanted[t] != UNSCORED] == places
        assert [token for token in wanted.tolist() if token != UNSCORED] == data.train.tokens[i, places].tolist() or _twins(data, line)


def _twins(data, line):
    """Two examples can differ in their last token only, which is no input."""
    width = len(line)
    return (data.train.tokens[:, :width] == line.numpy()).all(1).sum() > 1


@pytest.mark.parametrize("config", TASKS, ids=lambda config: config.source)
def test_held_out_chunks_are_every_example_once_with_its_answer_marked(shared, config):
    data, seen = load(config, shared), []
    for inputs, targets, answers, _ in data.chunks(1, CPU):
        for line, wanted, answer in zip(inputs, targets, answers, strict=True):
            i = len(seen)
            end, places = int(data.held_out.ends[i]), answer_places(data, config, i)
            assert [t + 1 for t in range(len(line)) if answer[t]] == places
            assert wanted[answer].tolist() == data.held_out.tokens[i, places].tolist()
            assert (wanted[~answer] == UNSCORED).all()
            assert line[: end - 1].tolist() == data.held_out.tokens[i, : end - 1].tolist()
            seen.append(tuple(data.held_out.tokens[i, :end].tolist()))
    assert len(seen) == len(set(seen)) == data.about.n_held_out == len(data.held_out)
    assert sum(len(chunk.inputs) for chunk in data.sample(1, CPU)) == min(sample.EXAMPLES, len(seen))
    trained = {tuple(data.train.tokens[i, : data.train.ends[i]].tolist()) for i in range(len(data.train))}
    assert trained.isdisjoint(seen)


def test_every_size_is_tested_on_unseen_examples_of_that_size(shared):
    data = load(COPY, shared)
    assert list(data.by_size) == [1, 2, 3, 4, 5, 6, 7, 8]
    trained = {tuple(data.train.tokens[i, : data.train.ends[i]].tolist()) for i in range(len(data.train))}
    for size, examples in data.by_size.items():
        assert set(examples.ends.tolist()) == {2 * size + 2}
        assert sum(len(chunk.inputs) for chunk in data.sized_chunks(17, CPU)[size]) == len(examples)
        assert trained.isdisjoint(tuple(row[: 2 * size + 2].tolist()) for row in examples.tokens)
    assert list(data.sized_chunks(16, CPU)) == [1, 2, 3, 4, 5, 6, 7]
    judged = [data.sample(16, CPU), *data.sized_chunks(16, CPU, sample.FEW_EXAMPLES).values()]
    assert data.n_validated(16, 16) == sum(chunk.inputs.numel() for chunks in judged for chunk in chunks)


def test_prompts_are_the_first_held_out_examples_as_people_read_them(shared):
    data = load(COPY, shared)
    assert len(data.prompts(5)) == 5 and len(data.prompts(10**6)) == len(data.held_out)
    for i, (prompt, answer) in enumerate(data.prompts(100)):
        assert answer == prompt.removesuffix(">") + "." and len(prompt) >= 2
        assert prompt + answer == spelled(data, data.held_out.tokens[i, : data.held_out.ends[i]])
    assert data.probe_text() == "".join(data.prompts(1)[0])
    assert list(data.about.shown) == data.prompts(8)


def test_words_are_spelled_with_a_space_between_and_read_back(shared):
    data = load(task_config("modular-addition"), shared)
    for prompt, answer in data.prompts(50):
        a, b = (int(word) for word in prompt.replace("=", "").split("+"))
        assert int(answer) == (a + b) % 31
        ids = data.tokenizer.encode(f"{prompt} {answer}").tolist()
        assert ids == [*data.tokenizer.encode(prompt).tolist(), *data.tokenizer.encode(answer).tolist()]


@pytest.mark.parametrize("scored", ["answer", "all"])
@pytest.mark.parametrize("config", TASKS, ids=lambda config: config.source)
def test_the_floor_is_the_mean_nats_of_the_tokens_that_count(shared, config, scored):
    config = parse(DataConfig, config.model_dump() | {"scored": scored})
    data = load(config, shared)
    nats, sure = [], []
    for i in range(len(data.held_out)):
        places = answer_places(data, config, i)
        nats += data.held_out.nats[i, places if scored == "answer" else slice(1, int(data.held_out.ends[i]))].tolist()
        sure += data.held_out.sure[i, places].tolist()
    assert data.about.floor == pytest.approx(np.mean(nats), rel=1e-5, abs=1e-9)
    assert data.about.ceiling == pytest.approx(np.mean(sure), rel=1e-5)
    if config.task.exact and scored == "answer":
        assert (data.about.floor, data.about.ceiling) == (0.0, 1.0)
    elif config.source != "task:recall" or scored == "all":
        assert data.about.floor > 0


def test_the_facts_of_a_task_are_those_of_its_definition(shared):
    known, task, params = about(COPY, shared), COPY.task, COPY.params
    assert (known.kind, known.title, known.exact) == ("task", "Copy", True)
    assert known.n_different == task.n_different(params) == 6 + 6**2 + 6**3 + 6**4
    assert (known.unit, known.trained_size, known.vocab_size) == ("symbols", 4, len(task.vocabulary(params)))
    data = load(COPY, shared)
    assert (known.n_train, known.n_tokens) == (len(data.train), int(data.train.ends.sum()))
    without_sizes = about(task_config("modular-addition"), shared)
    assert (without_sizes.unit, without_sizes.trained_size) == ("", None)


@pytest.mark.parametrize("config", TASKS, ids=lambda config: config.source)
def test_a_task_is_spelled_by_its_own_vocabulary(shared, config):
    """Ids of the tokenizer stand for the very tokens of the definition."""
    data = load(config, shared)
    vocabulary = config.task.vocabulary(config.params)
    assert {data.tokenizer.token(i) for i in range(data.tokenizer.vocab_size)} == set(vocabulary)
    drawn = config.task.draw(config.params, np.random.default_rng(0), 50)
    joiner = "" if data.tokenizer.kind == "char" else " "
    for i in range(50):
        text = joiner.join(vocabulary[token] for token in drawn.tokens[i, : drawn.ends[i]])
        assert spelled(data, data.tokenizer.encode(text)) == text
    if config.task.exact:
        prompt, answer = data.prompts(1)[0]
        assert set((prompt + joiner + answer).split() if joiner else prompt + answer) <= set(vocabulary)


def test_preparing_the_same_data_at_once_is_done_once(tmp_path, monkeypatch):
    """Eight threads, each with locks of its own, as processes have them."""
    made, words = [], []
    make = dataset._make

    def slowly(*arguments):
        made.append(1)
        time.sleep(1.2)  # longer than the others wait before they say what for
        make(*arguments)

    monkeypatch.setattr(dataset, "_make", slowly)
    config = DataConfig(source=add_text(tmp_path, "abc\n" * 500))
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: dataset.prepare(config, tmp_path, lambda share, said: words.append(said)), range(8)))
    assert len(folders) == len(made) == 1 and dataset.is_prepared(config, tmp_path)
    assert "waiting for data that are being prepared already" in words

"""Texts of the Hub that are packed to burst: they are read in a process of its own, and refused in plain words."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from models.knobs import ConfigError
from playground.data import corpora, fetching
from playground.data.hub import HubText
from playground.system import child

MAX_CHARS = 10**6
UNFOLDS = Path(__file__).parents[2] / "data" / "unfolds.parquet"  # 64 rows of one text of 2**27 characters: 400 bytes with brotli


def refusal(little_hub, root: Path, name: str, data: bytes) -> str:
    little_hub.files["some-body/poems", name] = data
    with pytest.raises(ConfigError) as caught:
        corpora.fetch(f"hub:some-body/poems:{name}:text", root, MAX_CHARS)
    assert [path for path in root.rglob("*") if path.is_file()] == [], "nothing is kept"
    return str(caught.value)


def test_a_parquet_file_of_half_a_kilobyte_that_unfolds_to_eight_gigabytes_is_refused(tmp_path, little_hub):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert UNFOLDS.stat().st_size < 1000
    said = refusal(little_hub, tmp_path, "small.parquet", UNFOLDS.read_bytes())
    assert "needs more than 1.1 GB of memory" in said and "packed too tightly; choose another file" in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB: this process stays small"


def test_a_jsonl_line_without_end_is_refused(tmp_path, little_hub, monkeypatch):
    """One record of one character, which takes four bytes for each once an emoji has come; many short ones of the same length pass."""
    monkeypatch.setattr(fetching, "ROOM_BYTES", 400 * 2**20)
    little_hub.files["some-body/poems", "many.jsonl"] = b'{"text": "a short record"}\n' * 20_000
    corpora.fetch("hub:some-body/poems:many.jsonl:text", tmp_path / "other", MAX_CHARS)
    line = json.dumps({"text": "x" * 60_000_000 + "🙂"}, ensure_ascii=False)
    said = refusal(little_hub, tmp_path / "root", "one.jsonl", line.encode())
    assert "a record is too long" in said and "choose another file" in said


def test_what_is_refused_inside_is_refused_outside_in_the_same_words(tmp_path, little_hub):
    said = refusal(little_hub, tmp_path, "one.csv", b"text\na\xff\n")
    assert said.startswith("data.source: one.csv is not UTF-8 (byte 0xff at offset 6); choose another file, or bring it as your own text")


def test_line_ends_and_every_character_survive_the_way_out(tmp_path, little_hub):
    text = "one\rtwo\u2028three\n\n🙂é\n" * 20
    little_hub.files["some-body/poems", "all.txt"] = text.encode()
    heard = []
    found = fetching.fetch(HubText.parse("hub:some-body/poems:all.txt"), MAX_CHARS, tmp_path / "text", lambda *said: heard.append(said))
    assert (found.text, found.whole, found.commit) == (text.replace("\r", "\n"), True, little_hub.COMMIT) and found.n_read_bytes == len(
        text.encode()
    )
    assert heard[0] == (None, "asking the Hugging Face Hub") and heard[-1][0] == 1.0


def test_whoever_no_longer_wants_it_ends_the_process(tmp_path, little_hub, monkeypatch):
    little_hub.files["some-body/poems", "all.txt"] = b"a line\n" * 100

    def unwanted(share, words):
        raise KeyboardInterrupt

    real, begun = subprocess.Popen, []
    monkeypatch.setattr(child.subprocess, "Popen", lambda *command, **options: begun.append(real(*command, **options)) or begun[-1])
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch(HubText.parse("hub:some-body/poems:all.txt"), MAX_CHARS, tmp_path / "text", unwanted)
    (process,) = begun
    assert process.returncode is not None


DYING = "import os, signal; from playground.system import child; child.answer({'a': 1}); os.kill(os.getpid(), signal.%s)"


@pytest.mark.parametrize(("name", "words"), [("SIGXCPU", "takes too long to read"), ("SIGABRT", "GB of memory")])
def test_a_process_that_dies_is_told_of_in_plain_words(tmp_path, monkeypatch, name, words):
    """A library may abort where it gets no memory, and the system ends what computes for too long."""
    real = subprocess.Popen
    code = DYING % name
    monkeypatch.setattr(child.subprocess, "Popen", lambda command, **options: real([sys.executable, "-c", code], **options))
    with pytest.raises(ConfigError, match=words):
        fetching.fetch(HubText.parse("hub:a/b:c.txt"), MAX_CHARS, tmp_path / "text")

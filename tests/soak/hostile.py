"""Hostile inputs: values, bodies, headers, file names and files. All chosen by one random generator."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARK = "soakmark"
MARKUP = (
    f"<script>window.{MARK}=1</script>", f"<img src=x onerror=\"window.{MARK}=1\">", f"'\"><svg/onload={MARK}()>", f"javascript:{MARK}()",
    f"<iframe srcdoc='<script>parent.{MARK}=1</script>'></iframe>", f"[x](javascript:{MARK})", f"{{{{7*7}}}}${{7*7}}<%= {MARK} %>",
    f"</title></textarea><b>{MARK}", f"<a href='data:text/html,<script>{MARK}</script>'>x</a>",
)  # fmt: skip
CODE = (
    "__import__('os').system('touch {outside}/executed')", "$(touch {outside}/executed)", "`touch {outside}/executed`",
    "; touch {outside}/executed #", "{{config.__class__.__init__.__globals__}}", "'; DROP TABLE runs; --", "' OR '1'='1",
    "cos\nsystem\n(S'touch {outside}/executed'\ntR.", "!!python/object/apply:os.system ['touch {outside}/executed']", "%n%s%x{0.__class__}",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, -1e308, 5e-324, 0.1, -0.0, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
WORDS = (
    "", " ", "\x00", "a\x00b", "\ud800", "‮", "\r\nSet-Cookie: a=b", "None", "null", "true", "latest", "NaN", "1e999", "-1", "٣", "𝟙",
    "0x10", "é" * 50, "host", "undefined", "../" * 12, "%2e%2e%2f" * 6, "..\\..\\", "C:\\x", "/dev/zero", "/dev/stdin",
    "/proc/self/environ", "file:///etc/passwd", "http://127.0.0.1:9/", "http://169.254.169.254/latest/meta-data", "\\\\host\\share",
    "CON", "~root/.ssh/id_rsa", "hub:a/b:../../x", "hub:a/b", "hub:../../../x:y", "upload:" + "0" * 64, "upload:../../playground.db",
    "task:copy", "task:<b>", "tiny-tales",
)  # fmt: skip


@dataclass
class Hostile:
    """`outside` is a folder that must not change, `paths` are files that must not be served, `ids` are runs of other people, `words`
    are other strings worth trying, such as names of knobs."""

    dice: random.Random
    outside: Path
    paths: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def text(self) -> str:
        kind = self.dice.randrange(9)
        if kind == 0:
            return self.dice.choice(MARKUP)
        if kind == 1:
            return self.dice.choice(CODE).replace("{outside}", str(self.outside))
        if kind == 2:
            return self.dice.choice(self.paths)
        if kind in (3, 4):
            return self.dice.choice(self.ids)
        if kind == 5 and self.words:
            return self.dice.choice(self.words)
        if kind == 6:
            return self.dice.choice(["a", "<", "\n", "é", "\U0001f600", "\u0301"]) * self.dice.choice([1, 100, 5_000, 70_000])
        return self.dice.choice(WORDS)

    def run_id(self) -> str:
        """Often the id of an existing run, else any text."""
        return self.dice.choice(self.ids) if self.dice.random() < 0.6 else self.text()

    def value(self, depth: int = 0) -> Any:
        """Any JSON value, and some that JSON does not allow."""
        kind = self.dice.randrange(11)
        if kind < 4:
            return self.text()
        if kind == 4:
            return self.dice.choice(NUMBERS)
        if kind == 5:
            return self.dice.choice([None, True, False])
        if kind == 6:
            return [] if depth > 3 else [self.value(depth + 1) for _ in range(self.dice.randrange(5))]
        if kind == 7:
            return {} if depth > 3 else {self.key(): self.value(depth + 1) for _ in range(self.dice.randrange(5))}
        if kind == 8:
            return {"run": self.run_id(), "mine": True, "name": self.text(), "kept": self.dice.choice([False, 0, None])}
        if kind == 9:
            return self.file()
        return self.nested(self.dice.choice([5, 60, 300]))

    def key(self) -> str:
        return self.dice.choice(
            ["run", "mine", "__proto__", "constructor", "path", "meta", "_type", "__type__", "data", "model", self.text()]
        )

    def file(self) -> dict:
        """A record that Gradio takes for an uploaded file, with any path."""
        return {
            "path": self.dice.choice([*self.paths, self.text()]), "url": self.dice.choice([None, self.dice.choice(self.paths),
            self.text()]), "orig_name": self.text(), "size": self.dice.choice(NUMBERS), "mime_type": self.text(),
            "meta": self.dice.choice([{"_type": "gradio.FileData"}, {}, None]),
        }  # fmt: skip

    def nested(self, depth: int) -> Any:
        value: Any = self.text()
        for _ in range(depth):
            value = [value] if self.dice.random() < 0.5 else {"a": value}
        return value

    def spoiled(self, values: list) -> list:
        """Valid values, some of them replaced, sometimes with too many or too few of them."""
        values = list(values)
        for _ in range(self.dice.choice([1, 1, 2, 5]) if values else 0):
            values[self.dice.randrange(len(values))] = self.value()
        if self.dice.random() < 0.12:
            values = values[: self.dice.randrange(len(values) + 1)] + [self.value() for _ in range(self.dice.randrange(3))]
        return values

    def config(self, sections: dict[str, list[str]]) -> dict:
        """A config with existing knobs at invalid values."""
        found: dict[str, Any] = {}
        for _ in range(self.dice.randrange(1, 5)):
            section = self.dice.choice(list(sections))
            found.setdefault(section, {})[self.dice.choice([*sections[section], self.key()])] = self.value()
        if self.dice.random() < 0.2:
            found[self.dice.choice([*sections, self.key()])] = self.value()
        return found

    def body(self) -> bytes:
        """A body that is no JSON, or far too much of it."""
        return self.dice.choice(
            [
                b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe\x00", b"{}" * 3, b'{"data": [NaN, Infinity, -Infinity]}',
                b"[" * 100_000, b'{"data":' * 20_000, b'{"data": [' + b"9" * 5_000 + b"]}", b'{"data": ["' + b"x" * 300_000 + b'"]}',
                b'{"data": [1], "data": [2], "fn_index": "__class__"}', b'{"data": ["\\ud800"], "session_hash": "\\u0000"}',
                b"data=1&fn_index=2", b'{"data": {"__type__": "update"}, "fn_index": 1e400}', bytes(range(256)) * 8,
                b'{"data": [], "fn_index": -1, "session_hash": {}}', b'{"session_hash": [], "event_id": {"a": 1}, "fn_index": []}',
            ]
        )  # fmt: skip

    def headers(self) -> list[tuple[str, str]]:
        """Forged headers."""
        tricks = [
            ("Origin", "https://elsewhere.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site"), ("X-Forwarded-Host",
            f"<b>{MARK}"), ("X-Forwarded-Proto", "javascript"), ("Host", "elsewhere.example"), ("X-Forwarded-For", "127.0.0.1"),
            ("Cookie", "access-token=x; a" * 50), ("Authorization", "Bearer x"), ("Range", "bytes=0-,0-,0-"), ("Range",
            "bytes=-99999999999"), ("Accept-Encoding", "gzip;q=x, br, *"), ("If-None-Match", "*"), ("Content-Type",
            "multipart/form-data"), ("Content-Type", "text/plain"), ("X-Gradio-User", "app"), ("Transfer-Encoding", "identity"),
            ("Content-Encoding", "gzip"), ("Referer", "https://elsewhere.example/?run=x"), ("X-Original-URL",
            "/gradio_api/file=/etc/passwd"), ("X-HTTP-Method-Override", "DELETE"), ("Accept-Language", "x" * 2000), ("X-Direct-Url",
            "http://127.0.0.1:9"), ("X-IP-Token", "x"), ("X-Script-Name", "/../.."),
        ]  # fmt: skip
        return self.dice.sample(tricks, self.dice.choice([0, 0, 0, 1, 2]))

    def upload(self) -> tuple[str, bytes]:
        """A file's name and its bytes."""
        names = [
            "a.txt",
            "model.safetensors",
            "tokenizer.json",
            "config.json",
            "../../outside.txt",
            "..%2f..%2fx.txt",
            "x\x00.txt",
            "a" * 300,
        ]
        return self.dice.choice([*names, self.text()]), self.dice.choice(hostile_files(self.outside))


def hostile_files(outside: Path) -> list[bytes]:
    """Malicious weights, tokenizers, configs and texts."""

    def weights(header: object, data: bytes = b"") -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    run = f"__import__('os').system('touch {outside}/executed')"
    return [
        struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 10**9) + b"{", weights(b"{" * 5000), weights(b"\xff" * 8),
        weights({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"\0" * 4),
        weights({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**60]}}, b"\0" * 4),
        weights({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}, "b": {"dtype": "NO", "shape": [1], "data_offsets": [0, 4]}}),
        weights({"__metadata__": {"values": "{" * 2000}, "tokens": {"dtype": "I64", "shape": [0], "data_offsets": [0, 0]}}),
        json.dumps({"kind": "bpe", "version": "1.0", "model": {"type": "BPE", "vocab": {"a": 2**40}, "merges": [["a"] * 9]}}).encode(),
        json.dumps({"kind": "char", "characters": "a" * 9, "post_processor": run, "pre_tokenizer": {"type": "Split",
        "pattern": "(a+)+$"}}).encode(), json.dumps({"auto_map": {"AutoModel": "evil--code.Model"}, "architectures": [run],
        "n_layer": 10**9, "__class__": run}).encode(),
        b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R.", b"PK\x03\x04" + b"\0" * 100, b"",
        b"\0" * 1000, b"\xff\xfeh\0i\0", b"a" * 20, ("".join(MARKUP) * 200).encode(), run.encode() * 50, b"\r" * 5000,
        "".join(chr(0x4E00 + i) for i in range(20_000)).encode(), b"#!/bin/sh\ntouch " + str(outside).encode() + b"/executed\n" * 200,
    ]  # fmt: skip

"""Types become schemas and words for people; a stream of tokens becomes a text that grows; a wait holds no thread."""

import asyncio
import threading
import time
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from playground.runs.sampler import Token
from playground.ui.api.endpoint import in_python, schema_of
from playground.ui.api.sampling import so_far
from playground.ui.api.watching import until


class Inner(TypedDict):
    pair: tuple[str, float]


class Outer(TypedDict):
    n: Annotated[int | None, "how many"]
    kind: NotRequired[Literal["a", "b"]]
    inner: list[Inner]


def test_a_type_becomes_a_schema_without_references():
    inner = {
        "type": "object", "required": ["pair"],
        "properties": {"pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]}},
    }  # fmt: skip
    assert schema_of(dict[str, Outer]) == {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {
                "n": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "how many"},
                "kind": {"type": "string", "enum": ["a", "b"]},
                "inner": {"type": "array", "items": inner},
            },
            "required": ["inner", "n"],
        },
    }


@pytest.mark.parametrize("hint", [Any, dict[str, Any], list[Any], object, Annotated[Any, "words"]])
def test_a_type_that_says_nothing_is_refused(hint):
    with pytest.raises(KeyError):
        schema_of(hint)


def test_a_schema_is_written_as_python_with_a_line_for_each_field():
    lines = ["{", "  n: int | None  # how many", "  kind: Literal['a', 'b']", "  inner: list[{", "    pair: tuple[str, float]", "  }]", "}"]
    assert in_python(schema_of(Outer)) == "\n".join(lines)
    assert in_python(schema_of(dict[str, bool])) == "dict[str, bool]" and in_python(schema_of(dict)) == "dict"


def tokens(n: int, closed: list):
    try:
        for i in range(n):
            yield Token(str(i % 10), f"t{i}", 0.5, (("x", 0.1),))
    finally:
        closed.append(True)


def test_a_stream_tells_the_first_token_at_once_and_then_together_what_comes_together():
    closed = []
    parts = list(so_far(tokens(25, closed), every_s=60))
    assert [len(part["tokens"]) for part in parts] == [1, 24] and parts[-1]["text"] == "0123456789" * 2 + "01234"
    each = list(so_far(tokens(5, closed), every_s=0))
    assert [part["text"] for part in each] == ["0", "01", "012", "0123", "01234"] and closed == [True, True]
    left = so_far(tokens(5, closed), every_s=0)
    next(left)
    left.close()
    assert closed == [True, True, True]
    assert list(so_far(tokens(0, closed))) == []


def test_a_wait_ends_as_soon_as_there_is_nothing_to_wait_for_and_holds_no_thread():
    async def wait_for_all(look, seconds, n):
        await asyncio.gather(*(until(look, seconds) for _ in range(n)))

    ends = time.monotonic() + 0.3
    asyncio.run(wait_for_all(lambda: time.monotonic() > ends, 60, 200))
    assert time.monotonic() - ends < 20 and threading.active_count() < 60
    began = time.monotonic()
    asyncio.run(wait_for_all(lambda: False, 0, 1))
    asyncio.run(wait_for_all(lambda: False, 0.2, 1))
    assert 0.2 <= time.monotonic() - began < 20

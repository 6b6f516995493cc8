"""Publishes a method as an endpoint: what its type hints and its docstring say becomes the schema, the descriptions and the examples on
Gradio's API page, and those of a tool over MCP.

A field of a TypedDict is described by `Annotated`, an argument by its line under `Args:`. Gradio reads types itself, but no descriptions
of fields or arguments, and it calls what it does not know Any. Knows nothing of what an endpoint does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from gradio.components.api_component import Api
from gradio.context import Context
from gradio.events import api
from gradio.utils import get_function_description, get_function_params

from playground.ui.blocks import Blocks, Described
from playground.ui.common import refusals_as_errors

NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null", dict: "object"}
IN_PYTHON = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def publish(method: Callable[..., Any], examples: Mapping[str, object]) -> None:
    """Register a method under its own name; call inside the page's Blocks. `examples`: a value by the name of an argument, for those
    whose default is empty."""
    call, blocks = _guarded(method), Context.root_block
    assert isinstance(blocks, Blocks)
    endpoint, hints = api(call, api_name=method.__name__, concurrency_limit=None), get_type_hints(method, include_extras=True)
    made = blocks.fns[endpoint["id"]]
    for shown in (*made.inputs, *made.outputs):  # which are in the document of the page, and need no schema there
        assert isinstance(shown, Api)
        shown._api_info = {}
    _, said, returned = get_function_description(call)
    arguments = {
        name: _shown(name, schema_of(hints[name]), said[name], default is None and has_default)
        | {"example_input": default or examples.get(name, default)}
        for name, has_default, default, _ in get_function_params(call)
    }
    words = " ".join(returned)
    answer = _shown(words.rstrip("."), schema_of(hints["return"]), words)
    blocks.described[method.__name__] = Described(arguments, answer)


def schema_of(hint: Any) -> dict[str, Any]:
    """The JSON schema of a type, without references. Raises KeyError for a type that it does not know, such as Any."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return schema_of(inside[0]) | {"description": inside[1]}
    if origin in (NotRequired, Iterator):
        return schema_of(inside[0])
    if origin is Literal:
        return {"type": "string", "enum": list(inside)}
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(each) for each in inside]}
    if origin is list:
        return {"type": "array", "items": schema_of(inside[0])}
    if origin is tuple:
        return {"type": "array", "prefixItems": [schema_of(each) for each in inside]}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(inside[1])}
    if is_typeddict(hint):
        fields = get_type_hints(hint, include_extras=True)
        schema = {"type": "object", "properties": {name: schema_of(each) for name, each in fields.items()}}
        return schema | ({"required": sorted(hint.__required_keys__)} if hint.__required_keys__ else {})
    return {"type": NAMES[hint]}


def in_python(schema: dict[str, Any], indent: str = "") -> str:
    """A schema as a Python type for people: a line for each field of a dict, with its description behind it."""
    if "anyOf" in schema:
        return " | ".join(in_python(each, indent) for each in schema["anyOf"])
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    if "prefixItems" in schema:
        return f"tuple[{', '.join(in_python(each, indent) for each in schema['prefixItems'])}]"
    if "items" in schema:
        return f"list[{in_python(schema['items'], indent)}]"
    if "additionalProperties" in schema:
        return f"dict[str, {in_python(schema['additionalProperties'], indent)}]"
    if "properties" in schema:
        return "{\n" + "".join(_line(name, each, f"{indent}  ") for name, each in schema["properties"].items()) + indent + "}"
    return IN_PYTHON.get(schema["type"], "dict")


def _line(name: str, schema: dict[str, Any], indent: str) -> str:
    about = schema.get("description", "")
    return f"{indent}{name}: {in_python(schema, indent)}" + (f"  # {about}\n" if about else "\n")


def _shown(label: str, schema: dict[str, Any], about: str, is_optional: bool = False) -> dict[str, Any]:
    """What Gradio tells of an argument or an answer. `is_optional`: its default is None, which Gradio's page adds to the type."""
    type_ = in_python(schema).removesuffix(" | None") if is_optional else in_python(schema)
    return {"label": label, "type": schema | {"description": about}, "python_type": {"type": type_, "description": about}}


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with refusals as errors for programs."""

    def answer(*given: Any, **named: Any) -> Any:
        with refusals_as_errors():
            return method(*given, **named)

    async def answer_later(*given: Any, **named: Any) -> Any:
        with refusals_as_errors():
            return await method(*given, **named)

    def stream(*given: Any, **named: Any) -> Any:
        with refusals_as_errors():
            yield from method(*given, **named)

    is_stream, is_later = inspect.isgeneratorfunction(method), inspect.iscoroutinefunction(method)
    return functools.wraps(method)(stream if is_stream else answer_later if is_later else answer)

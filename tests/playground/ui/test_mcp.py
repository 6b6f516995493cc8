"""The endpoints as tools, through the `mcp` client of the protocol's authors, against `python app.py` in a process of its own."""

import ast
import asyncio
import re
import time
from contextlib import asynccontextmanager

import pytest

from playground.runs.store import Store
from playground.system.files import REPOSITORY
from playground.ui.caller import HEADER, Callers
from tests.patience import still
from tests.playground.ui.serving import app_at
from tests.playground.ui.test_api import ENDPOINTS, TINY


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(address of the tools, root) of a running app."""
    pytest.importorskip("mcp")
    root = tmp_path_factory.mktemp("mcp") / "root"
    with app_at(root, GRADIO_MCP_SERVER="True") as url:
        yield f"{url}gradio_api/mcp/", root


@asynccontextmanager
async def session(url: str):
    """An agent's session. Its `read` calls a tool and returns the answer as Python reads it, or raises what the agent is told."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as agent:
        await agent.initialize()

        async def ask(tool: str, **arguments):
            answer = await agent.call_tool(tool, arguments)
            words = "\n".join(part.text for part in answer.content)
            if answer.isError:
                raise Refused(words)
            return words if tool == "sample_text" else ast.literal_eval(words)

        yield agent, ask


class Refused(Exception):
    pass


def test_every_endpoint_is_a_tool_that_an_agent_can_understand(served):
    async def look():
        async with session(served[0]) as (agent, _):
            return (await agent.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(look())}
    assert tools.keys() == {name.removeprefix("/") for name in ENDPOINTS}
    for name, tool in tools.items():
        assert len(tool.description) > 40 and "Returns:" in tool.description, name
        assert all(each["description"].endswith(".") for each in tool.inputSchema["properties"].values()), name
        assert not re.search(r"\bself\b|request", str(tool.inputSchema["properties"].keys())), name
    assert tools["fork_run"].inputSchema["required"] == ["run_id"] and "required" not in tools["start_run"].inputSchema
    assert tools["control_run"].inputSchema["properties"]["action"]["enum"] == ["pause", "resume", "stop", "continue", "private", "public"]


def test_the_example_of_the_readme_runs(served, capsys):
    text = (REPOSITORY / "playground/ui/README.md").read_text()
    example = re.search(r"```python\n(import asyncio.*?)```", text, re.S)[1]
    exec(example.replace("http://127.0.0.1:7860/gradio_api/mcp/", f"{served[0]}?tools=review_run"), {})
    assert "not divisible" in capsys.readouterr().out


def test_an_agent_designs_trains_waits_finds_and_samples(served):
    async def work():
        async with session(served[0]) as (_, ask):
            assert "tiny-tales" in {each["source"] for each in await ask("data_sources")}
            design = TINY | {"data": {"tokenizer": "char"}}
            wrong = await ask("review_run", config={"model": {"n_head": 3}})
            assert not wrong["possible"] and "not divisible" in wrong["problems"][0]["message"]
            assert (await ask("review_run", config=design))["cost"]["n_params"] > 1000
            begun, started = time.monotonic(), await ask("start_run", config=design, name="by an agent")
            run_id = started["run_id"]
            while (status := await ask("wait_run", run_id=run_id, seconds=20))["state"] in ("queued", "starting", "running"):
                assert still(begun), status
            assert status["state"] == "finished" and status["val_loss"] > 1 and status["name"] == "by an agent"
            assert [each["sentence"] for each in await ask("findings", run_id=run_id)]
            text = await ask("sample_text", run_id=run_id, prompt="a", max_new_tokens=30, seed=3)
            assert len(text) == 30 and (await ask("sample", run_id=run_id, prompt="a", max_new_tokens=30, seed=3))["text"] == text
            links = await ask("download", run_id=run_id)
            assert links["weights"] == served[0].replace("gradio_api/mcp/", f"live/runs/{run_id}/weights")

    asyncio.run(work())


def test_an_agent_is_told_what_is_wrong_and_starts_nothing(served):
    before = len(Store(served[1]).runs())

    async def work():
        async with session(served[0]) as (_, ask):
            for words, tool, arguments in (
                ("not divisible", "start_run", {"config": {"model": {"n_head": 3}}}),
                ("did you mean model.n_layer", "start_run", {"config": {"model": {"n_layr": 3}}}),
                ("there is no preset", "start_run", {"preset": "nope"}),
                ("there is no run", "run_status", {"run_id": "aaaaaaaaaa"}),
                ("there is no run", "sample", {"run_id": "aaaaaaaaaa"}),
                ("from 0 to 60", "wait_run", {"run_id": "aaaaaaaaaa", "seconds": 600}),
            ):
                if tool == "wait_run":
                    arguments["run_id"] = (await ask("start_run", config=TINY))["run_id"]
                with pytest.raises(Refused, match=words):
                    await ask(tool, **arguments)

    asyncio.run(work())
    assert len(Store(served[1]).runs()) == before + 1


def test_an_agent_has_its_visitors_rights_and_no_more(served):
    async def work():
        async with session(served[0]) as (_, ask):
            mine = await ask("start_run", config=TINY | {"train": {"max_steps": 100_000}}, private=True)
            other = (await ask("start_run", config=TINY))["owner_key"]
            run_id = mine["run_id"]
            for key in ("", other, "x" * 40):
                for tool, arguments in (
                    ("control_run", {"action": "stop"}), ("delete_run", {}), ("rename_run", {"name": "mine now"}), ("run_status", {}),
                    ("findings", {}), ("sample_text", {}), ("download", {}),
                ):  # fmt: skip
                    with pytest.raises(Refused, match=r"there is no run|only the owner|owner key"):
                        await ask(tool, run_id=run_id, owner_key=key, **arguments)
                assert run_id not in {each["id"] for each in await ask("list_runs", owner_key=key)}
            run = Store(served[1]).run(run_id)
            assert run.wanted == "run" and run.name != "mine now"
            assert await ask("control_run", run_id=run_id, action="stop", owner_key=mine["owner_key"]) == {"run_id": run_id}

    asyncio.run(work())


@pytest.mark.parametrize("sent, client", [("noted", "10.1.2.3"), ("forged", "127.0.0.1"), ("", "127.0.0.1")])
def test_the_address_of_who_calls_a_tool_is_kept_and_cannot_be_forged(sent, client):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    def ask(path, host, headers):
        asyncio.run(callers({"type": "http", "path": path, "headers": headers, "client": (host, 5)}, None, None))
        return seen[-1]

    callers = Callers(app)
    (noted,) = (each for each in ask("/gradio_api/mcp/", "10.1.2.3", [(HEADER, b"forged 1.1.1.1")])["headers"])
    assert noted[0] == HEADER and b"1.1.1.1" not in noted[1]
    headers = {"noted": [noted], "forged": [(HEADER, b"0" * 32 + b" 10.1.2.3")], "": []}[sent]
    found = ask("/gradio_api/queue/join", "127.0.0.1", [*headers, (b"accept", b"*/*")])
    assert found["client"][0] == client and found["headers"] == [(b"accept", b"*/*")]

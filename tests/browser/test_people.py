"""Several people in one room: each sees and steers their own, and the host sees it all."""

from __future__ import annotations

import json
import secrets
import urllib.request

import pytest

from playground.runs.access import Visitor
from playground.runs.store import Store
from tests.browser.steps import STATE, fill_number, small_run, wait_state
from tests.patience import LONGEST_S

HOST = "#host=the-token-of-the-host"


def train(page) -> str:
    """Start a run that goes on for minutes; returns its id."""
    page.wait_for_selector("#picture .pg-graph")
    run_id = small_run(page, steps=200_000)
    wait_state(page, "running")
    return run_id


def be_called(page, name: str) -> None:
    page.fill("#ask-name", name)
    page.click("#ask-keep")
    page.wait_for_function(f"document.querySelector('.pg-run-name').textContent.endsWith('by {name}')")


def ask(app, elem_id: str, data: list, event: dict | None = None) -> str:
    """Call the handler that a component triggers as a program would, past the page; what the server says in the end."""
    config = json.load(urllib.request.urlopen(f"{app.url}config", timeout=LONGEST_S))
    component = next(each["id"] for each in config["components"] if each["props"].get("elem_id") == elem_id)
    index = next(each["id"] for each in config["dependencies"] if component in [target for target, _ in each["targets"]])
    session = secrets.token_hex(6)
    body = {"data": data, "fn_index": index, "session_hash": session, "event_data": event, "trigger_id": component}
    request = urllib.request.Request(f"{app.url}gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=LONGEST_S).close()
    with urllib.request.urlopen(f"{app.url}gradio_api/queue/data?session_hash={session}", timeout=LONGEST_S) as stream:
        for line in stream:
            if b"process_completed" in line:
                return line.decode()
    raise AssertionError("the handler gave no answer")


def test_two_people_train_side_by_side_and_the_host_sees_both(visit, app):
    ada = visit()
    first = train(ada)
    bob = visit()
    second = train(bob)
    assert first != second
    be_called(bob, "Bob")  # who is asked, because somebody else has trained here
    ada.click("#you-open")
    ada.fill("#you-name", "Ada")
    ada.click("#you-save")
    ada.wait_for_function("document.querySelector('.pg-run-name').textContent.endsWith('by Ada')")
    for page, name in ((ada, "Ada"), (bob, "Bob")):
        page.wait_for_selector("#loss .scatterlayer .trace")
        assert page.locator(".pg-run-name").inner_text().endswith(f"by {name}")
        assert page.get_by_role("button", name="Pause", exact=True).is_visible()
        assert page.get_by_role("tab", name="Host").count() == 0

    # Bob opens Ada's run: he sees it, and what he presses behind the page's back changes nothing.
    other = visit(f"?run={first}", context=bob.context)
    other.wait_for_function(f"{STATE} == 'running'")
    assert other.locator(".pg-run-name").inner_text().endswith("by Ada")
    assert not other.get_by_role("button", name="Pause", exact=True).is_visible()
    width = "document.querySelector('#model-n_embd input[type=number]')?.value"
    other.get_by_role("tab", name="Play").click()
    other.wait_for_function(f"{width} == '32'")
    copy = other.get_by_role("button", name="Copy configuration", exact=True)
    assert not copy.is_visible(), "the design is that of the run already"
    fill_number(other, "model-n_embd", 48)
    copy.click()
    other.wait_for_function(f"{width} == '32'")
    other.evaluate("document.body.dataset.runMine = 'yes'")
    other.get_by_role("button", name="Pause", exact=True).click()
    other.get_by_text("only the owner of").first.wait_for()
    assert Store(app.root).run(first).wanted == "run"
    other.close()

    # Given the host's link, both see the wall, with curves that grow.
    for person in (ada, bob):
        wall = visit(HOST, context=person.context)
        wall.get_by_role("tab", name="Host").click()
        for run_id, name in ((first, "Ada"), (second, "Bob")):
            card = wall.locator(f".pg-card[data-run='{run_id}']")
            card.get_by_text(f"by {name}, from 127.0.0.1", exact=True).wait_for()
            card.get_by_text("training, step").wait_for()
        assert "host=" not in wall.evaluate("location.href"), "the token is not left for everybody to read"
        wall.wait_for_function(
            f"""() => {{
                const canvas = document.querySelector('.pg-card[data-run="{first}"] canvas');
                const inks = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                let blue = 0;
                for (let i = 0; i < inks.length; i += 4) blue += inks[i + 3] > 100 && inks[i + 2] > inks[i] + 60;
                return blue > 40;
            }}"""
        )
    wall.on("dialog", lambda dialog: dialog.accept())
    wall.click("#host-pause-all")
    for page in (ada, bob):
        page.wait_for_function(f"{STATE} == 'paused'")
        page.get_by_text("Paused by the host, with all the others").wait_for()
    wall.click("#host-resume-all")
    for page in (ada, bob):
        page.wait_for_function(f"{STATE} == 'running'")
    wall.locator(f".pg-card[data-run='{second}']").get_by_role("button", name="Stop", exact=True).click()
    bob.wait_for_function(f"{STATE} == 'stopped'")
    with wall.expect_download() as download:
        wall.click("#host-results")
    lines = download.value.path().read_text().splitlines()
    assert lines[0].startswith("id,name,state") and any(line.startswith(first) and "Ada" in line for line in lines)

    wall.fill("#limit-max_running", "0")
    wall.click("#host-set-limits")
    wall.get_by_text("'0' is not possible; use a whole number from 1 up").first.wait_for()
    wall.fill("#limit-max_running", "2")
    wall.fill("#limit-max_steps", "5,000")
    wall.click("#host-set-limits")
    wall.get_by_text("The limits are set").first.wait_for()
    ada.get_by_role("tab", name="Play").click()
    ada.click("#train")
    ada.get_by_text("200,000 steps are more than this playground's limit, which its host sets; use at most 5,000").first.wait_for()
    wall.fill("#limit-max_steps", "1,000,000")
    wall.click("#host-set-limits")
    wall.locator(f".pg-card[data-run='{first}']").get_by_role("button", name="Stop all from there").click()
    ada.wait_for_function(f"{STATE} == 'stopped'")


def test_what_is_private_is_seen_by_its_owner_alone_in_any_browser_with_the_key(visit, app):
    ada, bob = visit(), visit()
    run_id = train(ada)
    ada.get_by_role("tab", name="Runs").click()
    row = f"tr[data-run='{run_id}']"
    ada.click(row)
    ada.click("#run-private")
    ada.locator(row).get_by_text("(private)").wait_for()
    bob.get_by_role("tab", name="Runs").click()
    bob.wait_for_function("document.querySelector('#runs-table tbody') && document.querySelector('#runs-table')")
    bob.wait_for_timeout(2500)
    assert bob.locator(row).count() == 0
    stranger = visit(f"?run={run_id}", context=bob.context)
    stranger.get_by_text(f"There is no run {run_id} here").wait_for()
    with ada.expect_download() as download:
        ada.get_by_role("link", name="metrics (CSV)").click()
    assert download.value.path().read_text().startswith("run_id,step") and run_id in download.value.suggested_filename

    ada.click("#you-open")
    key = ada.input_value("#you-key")
    assert Visitor.from_key(key).id == Store(app.root).run(run_id).owner
    ada.keyboard.press("Escape")
    bob.click("#you-open")
    bob.fill("#you-other", "no key")
    bob.click("#you-use")
    bob.get_by_text("This is no recovery key").wait_for()
    bob.fill("#you-other", key)
    with bob.expect_navigation():
        bob.click("#you-use")
    bob.get_by_role("tab", name="Runs").click()
    bob.dblclick(row)
    bob.wait_for_function(f"{STATE} == 'running'")
    bob.get_by_role("button", name="Stop", exact=True).click()
    ada.wait_for_function(f"{STATE} == 'stopped'")


@pytest.mark.parametrize("who", [{"key": "k" * 30, "host": None}, {"key": "k" * 30, "host": "guessed"}, None, "host", ["x"]])
def test_the_hosts_handler_refuses_everybody_else(app, who):
    for event in ({"do": "pause_all"}, {"do": "limits", "limits": {"max_running": "1"}}, {"do": "open", "run": "aaaaaaaaaa"}, {}, None):
        said = ask(app, "host-wall", [who], event)
        assert "only the host may do this" in said and '"success":false' in said.replace(" ", "")
    assert Store(app.root).limits().get("max_running") in (None, 2)


REFUSES = """for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, {
    configurable: true, get() { throw new DOMException('Access is denied for this document.', 'SecurityError'); } });"""


def test_a_browser_that_refuses_storage_can_train_and_is_told_to_keep_its_key(chromium, visit, app):
    """As in a frame of another site whose cookies are blocked: the mere mention of localStorage throws."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(REFUSES)
    page = visit(context=context)
    run_id = train(page)
    page.locator(".pg-forgets").wait_for()
    assert "only with your key" in page.locator(".pg-forgets").inner_text()
    page.click("#you-open")
    key = page.locator("#you-key").input_value()
    page.keyboard.press("Escape")
    page.click("#stop")
    page.wait_for_function(f"{STATE} == 'stopped'")
    assert Visitor.from_key(key).id == Store(app.root).run(run_id).owner
    context.close()

"""What stands where, by bounding boxes: on phones nothing beyond the screen, in the diagram every number in its cell."""

from __future__ import annotations

import time

import pytest

from tests.browser.steps import design
from tests.command import run_here
from tests.patience import page_patience_s

WIDTHS = (320, 360, 390, 430)
ENDS = (320, 430)
TABS = ("Play", "Inside", "Sample", "Experiments", "Runs")
VIEWS = ("diagram", "curves", "heads", "lens", "ablate", "patch")
# What reaches beyond the screen and does not lie in a container that is itself on the screen and clips or scrolls; and text that is
# cut by what hides it, without an ellipsis. Token labels of attention maps are cut on purpose, where they are wider than a cell.
BEYOND = """() => {
  const HEARD_ONLY = ".pg-sr, .sr-only, #recipe .block:not(#preset) .info-text, #compare .info-text";
  const CUT_ON_PURPOSE = `${HEARD_ONLY}, .pg-keys *, .pg-queries *, option, #js-plotly-tester, #js-plotly-tester *`;
  const overflow = (e) => getComputedStyle(e).overflowX;
  const onScreen = ({ left, right }) => left >= -0.5 && right <= innerWidth + 0.5;
  const holderOf = (e) => {
    let p = e.parentElement;
    while (p && p !== document.body && overflow(p) === "visible") p = p.parentElement;
    return p === document.body || p?.matches(".gradio-container") ? null : p;
  };
  const told = (e, why) => `${e.tagName}.${e.getAttribute("class") ?? ""} ${why}: ${e.textContent.trim().slice(0, 40)}`;
  const isBeyond = (e) => {
    if (onScreen(e.getBoundingClientRect())) return false;
    let p = holderOf(e);
    while (p && !onScreen(p.getBoundingClientRect())) p = holderOf(p);
    return !p;
  };
  const isCut = (text) => {
    const e = text.parentElement;
    const p = overflow(e) === "visible" ? holderOf(e) : e;
    if (!p || !text.textContent.trim() || getComputedStyle(e).whiteSpace.startsWith("pre")) return false;
    if (["auto", "scroll"].includes(overflow(p)) || getComputedStyle(p).textOverflow === "ellipsis") return false;
    const range = document.createRange();
    range.selectNodeContents(text);
    const [at, room] = [range.getBoundingClientRect(), p.getBoundingClientRect()];
    return at.width > 0 && (at.left < room.left - 1 || at.right > room.right + 1);
  };
  const found = [];
  for (const e of document.body.querySelectorAll("*")) {
    const { width, height } = e.getBoundingClientRect();
    if (!width || !height) continue;
    const beyond = isBeyond(e);
    if (!beyond && ![...e.childNodes].some((node) => node.nodeType === 3 && isCut(node))) continue;
    if (e.matches(CUT_ON_PURPOSE) || !e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    found.push(told(e, beyond ? "is beyond the screen" : "is cut"));
  }
  return found.slice(0, 12);
}"""
OUT_OF_PLACE = """() => {
  const box = (e) => e.getBoundingClientRect();
  const inside = (text, place) => box(text).left >= box(place).left && box(text).right <= box(place).right;
  const shown = [...document.querySelectorAll(".pg-inside :is(.pg-cell, .pg-node)")].filter(
    (e) => e.checkVisibility() && e.querySelector("text")?.textContent,
  );
  const wide = shown.filter((e) => !inside(e.querySelector("text"), e.querySelector("rect"))).map((e) => e.textContent);
  const [times, frame] = [".pg-inside .pg-times", ".pg-inside .pg-frame"].map((name) => document.querySelector(name));
  const cells = Math.min(...shown.filter((e) => e.matches(".pg-cell")).map((e) => box(e).left));
  return box(times).left > box(frame).right && box(times).right < cells ? wide : [...wide, times.textContent];
}"""
# How opaque the shades are: of tokens by their probability, and at both ends of the legend.
SHADES = """() => {
  const alpha = (colour) => (colour === "transparent" ? 0 : Number(/[/,] ?([0-9.]+)\\)$/.exec(colour)?.[1] ?? 1));
  const tokens = [...document.querySelectorAll(".pg-token")].map((e) => [
    Number(e.style.getPropertyValue("--p")), alpha(getComputedStyle(e).backgroundColor),
  ]);
  const ends = getComputedStyle(document.querySelector(".pg-ramp-sample")).backgroundImage.match(/(rgba?|color)\\([^)]*\\)/g);
  return [tokens, ends.map(alpha)];
}"""


def set_dark(page, dark: bool) -> None:
    page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", dark)


def fits(page, where: str, widths: tuple[int, ...] = WIDTHS) -> None:
    """Nothing that is shown now is beyond any phone's screen or cut; in the dark, which changes colours only, on the narrowest."""
    for width, dark in [*((width, False) for width in widths), (WIDTHS[0], True)]:
        page.set_viewport_size({"width": width, "height": 844})
        set_dark(page, dark)
        began = time.monotonic()
        while found := page.evaluate(BEYOND):  # plots follow a change of size a moment later
            assert time.monotonic() - began < page_patience_s() / 10, (where, width, dark, found)
            page.wait_for_timeout(100)
    set_dark(page, False)


def walk(page, when: str, widths: tuple[int, ...], views: tuple[str, ...] = ()) -> None:
    """Through all tabs, and through these views of Inside, at these widths."""
    for tab in TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        for view in views if tab == "Inside" else ("",):
            if view:
                page.click(f"[data-view={view}]")
            page.wait_for_timeout(150)
            fits(page, f"{tab} {view} {when}", widths)


def test_nothing_is_beyond_the_screen_of_a_phone_before_during_and_after_a_run(visit):
    page = visit(width=390, height=844)
    page.wait_for_selector("#picture .pg-graph")
    walk(page, "before", ENDS)
    design(page, 2, model_n_embd=32, train_max_steps=20_000)
    assert page.locator("#train").bounding_box()["y"] < 844, "in reach without scrolling"
    page.click("#train")
    page.wait_for_selector("#loss .scatterlayer .trace")
    walk(page, "during", WIDTHS, VIEWS)
    page.click("#stop")
    page.wait_for_function("document.body.dataset.runState == 'stopped'")
    page.get_by_role("tab", name="Sample", exact=True).click()
    page.click("#sample-go")
    page.wait_for_function("document.querySelectorAll('.pg-token').length > 20")
    for dark in (True, False):
        set_dark(page, dark)
        tokens, ends = page.evaluate(SHADES)
        assert ends == pytest.approx([0, 0.62]), "the legend: plain at 0%, strongest at 100%"
        assert [shade for _, shade in tokens] == pytest.approx([0.62 * p for p, _ in tokens], abs=0.01), "the likelier, the stronger"
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.locator("#runs-table tbody tr").first.click()
    page.locator("#runs-table tbody input[type=checkbox]").first.check()
    page.wait_for_selector(".pg-overlay .scatterlayer")
    walk(page, "after", ENDS, VIEWS[:1])


def test_numbers_fit_their_cells_in_a_deep_diagram(visit, app):
    flags = """
        --model.n_layer 12 --model.n_head 2 --model.n_embd 16 --model.block_size 32 --model.norm_placement post
        --data.source tiny-tales --data.tokenizer char --train.max_steps 2 --train.batch_size 2 --optim.lr 30
    """.split()  # noqa: SIM905 - as one types it
    done = run_here("train", "--name", "deep", "--json", *flags, root=app.root)
    assert done.status == 0, done.err
    page = visit(f"?run={done.json['run_id']}")
    page.wait_for_selector("#run-progress .pg-facts")
    page.get_by_role("tab", name="Inside").click()
    page.wait_for_selector(".pg-cell:visible")
    lengths = set()
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for quantity in ("stream_rms", "grad_stream", "stream_cosine"):
            page.select_option("#inside-quantity", quantity)
            assert page.evaluate(OUT_OF_PLACE) == [], (width, quantity)
            lengths |= set(page.evaluate("[...document.querySelectorAll('.pg-cell text')].map((e) => e.textContent.length)"))
    assert max(lengths) >= 6, "there was a long number"

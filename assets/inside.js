/* The Inside tab: one or two runs, one step of each, and a view that asks one question of them. */
/** @import { Finding } from "./findings.js" */
/** @import { Change, Mount } from "./open_run.js" */
/** @import { Run } from "./series.js" */
/** @import { Chosen, Shared, Side, ViewKind } from "./side.js" */

import { lookAsked, putLook } from "./address.js";
import { h, head, onTheme, openTab, select, setText, visible } from "./dom.js";
import { drawDetail } from "./detail.js";
import { exportButton, saveCsv, savePng } from "./export.js";
import { FINDINGS_QUESTION, findingList } from "./findings.js";
import { number, visibleToken } from "./format.js";
import { GUIDES, guideOf, lastAnswer } from "./guides.js";
import { download, get } from "./net.js";
import { ask } from "./open_run.js";
import { freshRun, indexUpTo, merge } from "./series.js";
import { count, fetchSide, graphOf, newSide, valuesOf } from "./side.js";
import { isActive } from "./status.js";
import { timeBar } from "./time_bar.js";
import { scaleOf } from "./values.js";
import { ablate } from "./view_ablate.js";
import { curves } from "./view_curves.js";
import { diagram } from "./view_diagram.js";
import { heads } from "./view_heads.js";
import { lens } from "./view_lens.js";
import { patch } from "./view_patch.js";

const OTHER_MS = 1000;

/** @type {Record<string, {label: string, words: string, make: ViewKind, ofQuantity?: boolean}>} */
const VIEWS = {
  diagram: {
    label: "Diagram",
    words: "The architecture with one quantity at each of its parts, layer by layer. Click a part to see more of it.",
    make: diagram,
    ofQuantity: true,
  },
  curves: {
    label: "Over time",
    words: "The same quantity as it develops, one line per layer.",
    make: curves,
    ofQuantity: true,
  },
  heads: {
    label: "Heads",
    words:
      "Each square is one head: row by row the token that looks, column by column the tokens it looks at. Bright means much.",
    make: heads,
  },
  lens: {
    label: "Logit lens",
    words:
      "What the model would say if it stopped after each layer: the likeliest next token, brighter the likelier the right one is.",
    make: lens,
  },
  ablate: {
    label: "Switch off",
    words: "Switch off heads, MLPs or whole layers, and see what is lost in the loss and in the text.",
    make: ablate,
  },
  patch: {
    label: "Change a token",
    words:
      "What if one token were another? See how far the change reaches, and which activations decide what comes next.",
    make: patch,
  },
};

/** Which view another panel asks for, and how it is shown. @type {Pick<Finding, "view" | "quantity"> | null} */
let asked = null;
let showAsked = () => {};

/**
 * Open the Inside tab where a finding comes from.
 * @param {Pick<Finding, "view" | "quantity">} where
 */
export function lookInto(where) {
  asked = where;
  openTab("Inside");
  showAsked();
}

/**
 * What the tab shows of the run that is opened next.
 * @param {Pick<Finding, "view" | "quantity">} where
 */
export function lookAtFirst(where) {
  asked = where;
}

/** What Gradio's probe box does. @type {{lookAt: (text: string) => void, lookAgain: () => void}} */
let box = { lookAt: () => {}, lookAgain: () => {} };
/** Which run is to be shown beside another one, once that is open. @type {{run: string, other: string} | null} */
let pair = null;
let showPair = () => {};

/**
 * Show a run beside another one, at once or when that is opened.
 * @param {string} run
 * @param {string} other
 */
export function lookBeside(run, other) {
  pair = { run, other };
  showPair();
}

/**
 * Gradio's probe box: look at another text, here at once and then, by its own inputs, on the server.
 * @param {unknown} visitor
 * @param {unknown} wired
 * @param {string | null} text
 */
export function lookAt(visitor, wired, text) {
  box.lookAt(text || "");
  return [visitor, wired, text];
}
/** And after the server: ask again what can be looked at. */
export function lookAgain() {
  box.lookAgain();
}

/** @type {Mount} */
export function inside(root) {
  /** @type {Shared} */
  const shared = {
    ...lookAsked(),
    step: null,
    text: "",
    chosen: null,
    axis: "step",
    logX: false,
    logY: null,
    smooth: 0,
    layer: 0,
    score: "attn_previous",
    sorted: false,
    head: null,
    quantities: {},
    choose,
    redraw,
    /** Over all that both runs recorded, for colours and axes that do not jump. */
    range: (quantity) =>
      scaleOf(
        quantity,
        both().flatMap((side) => valuesOf(side, quantity)),
      ),
    sides: both,
  };
  /** The open run, and one beside it. @type {Side | null} */
  let a = null;
  /** @type {Side | null} */
  let b = null;
  /** The recorded text that b was last looked at with. @type {string | null | undefined} */
  let probed = null;

  const empty = h("div", { class: "pg-empty" });
  const tabs = h("div", { class: "pg-views", role: "tablist", "aria-label": "views" });
  tabs.append(
    ...Object.entries(VIEWS).map(([name, { label }]) =>
      h("button", { type: "button", role: "tab", "data-view": name, onclick: () => view(name) }, label),
    ),
  );
  const quantity = select([], { id: "inside-quantity", "aria-label": "quantity" });
  const other = select([["", "no other run"]], { id: "inside-other", "aria-label": "a second run beside this one" });
  const quantityLabel = h("label", { class: "pg-quantity" }, "show ", quantity);
  const guides = h(
    "div",
    { class: "pg-guides", role: "group", "aria-label": "questions" },
    ...GUIDES.map((guide) =>
      h("button", { type: "button", onclick: () => follow(guide), "data-guide": guide.question }, guide.question),
    ),
  );
  const about = h("p", { class: "pg-about" });
  /** The text that is looked at. */
  const on = h("p", { class: "pg-on" });
  const sides = h("div", { class: "pg-sides" });
  const detail = h("div", { class: "pg-detail", hidden: true });
  const kept = h("p", { class: "pg-faint pg-kept" });
  const time = timeBar(root, { steps, step: () => shared.step, go });
  const toldSides = h("div", { class: "pg-sides" });
  const full = h(
    "div",
    { hidden: true },
    guides,
    h("div", { class: "pg-inside-tools pg-tools" }, tabs, quantityLabel, h("label", {}, "beside ", other)),
    about,
    sides,
    detail,
    time.element,
    kept,
    on,
    head("What stands out", FINDINGS_QUESTION),
    toldSides,
  );
  root.append(empty, full);

  /** @returns {Side[]} */
  function both() {
    return [a, b].filter((side) => side !== null);
  }

  /* ---- what is looked at ---- */

  /** @param {string} name */
  function view(name) {
    shared.view = name;
    redraw(true);
  }
  quantity.addEventListener("change", () => {
    shared.quantity = quantity.value;
    shared.logY = null;
    redraw();
  });
  /** @param {number | null} step */
  function go(step) {
    shared.step = step;
    showTime();
    both().forEach(refresh);
  }
  function steps() {
    return a?.listing?.steps ?? [];
  }
  function showTime() {
    const status = a?.run.status;
    time.show(Boolean(status && isActive(status.state)), a?.probe?.step, status?.next_look);
  }
  /**
   * The text on which a side is looked at, where it is not the one that the run records.
   * @param {Side} side
   */
  function textFor(side) {
    const wanted = shared.text || (side === b && a ? a.run.status?.probe_text : "");
    return wanted && wanted !== side.run.status?.probe_text ? wanted : "";
  }
  const needsMaps = () => shared.view === "heads" || shared.chosen?.kind === "attention";

  /** @param {Side} side */
  async function refresh(side) {
    if (side.busy) {
      side.again = true;
      return;
    }
    side.busy = true;
    const retry = await fetchSide(side, () => ({ text: textFor(side), step: shared.step, maps: needsMaps() }));
    side.busy = false;
    if (retry !== null) setTimeout(() => both().includes(side) && refresh(side), retry);
    if (!both().includes(side)) return;
    drawSide(side);
    if (side === a) {
      showTime();
      showKept(side);
    }
    if (side.again) {
      side.again = false;
      refresh(side);
    }
  }

  /* ---- what stands out ---- */

  /**
   * To where a finding comes from.
   * @param {Pick<Finding, "view" | "quantity">} finding
   */
  function follow({ view: name, quantity }) {
    if (name === "play") {
      openTab("Play");
      return;
    }
    if (quantity) shared.quantity = quantity;
    view(name);
    tabs.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  /* ---- a second run ---- */

  let listed = "";
  async function offer() {
    if (!visible(root) || !a) return;
    const mine = a.run.id;
    try {
      /** @type {{id: string, called: string}[]} */
      const runs = await get("live/runs");
      const others = runs.filter(({ id }) => id !== mine);
      const names = JSON.stringify(others.map(({ id, called }) => [id, called]));
      if (names !== listed) {
        listed = names;
        other.replaceChildren(
          h("option", { value: "" }, "no other run"),
          ...others.map(({ id, called }) => h("option", { value: id }, called)),
        );
      }
      other.value = b?.run.id ?? "";
    } catch {
      /* tried again when the list is opened */
    }
  }
  other.addEventListener("pointerdown", offer);
  other.addEventListener("focus", offer);
  other.addEventListener("change", () => beside(other.value));

  let otherTimer = 0;
  /** @param {string} id */
  function beside(id) {
    clearTimeout(otherTimer);
    b = id ? newSide(freshRun(id)) : null;
    arrange();
    if (a) drawSide(a);
    if (b) pollOther(b);
  }
  /** @param {Side} side */
  async function pollOther(side) {
    clearTimeout(otherTimer);
    if (side !== b) return;
    if (visible(root)) {
      try {
        const answer = await ask(side.run);
        if (side !== b) return;
        if (answer.gone) {
          other.value = "";
          beside("");
          return;
        }
        const before = side.run.series.probe ? count(side.run, "probe") : -1;
        merge(side.run, answer);
        side.findings?.refresh(side.run);
        if (answer.reset || count(side.run, "probe") !== before) refresh(side);
      } catch {
        /* tried again */
      }
    }
    if (side === b) otherTimer = setTimeout(() => pollOther(side), OTHER_MS);
  }

  /* ---- drawing ---- */

  function arrange() {
    for (const row of [sides, toldSides]) row.classList.toggle("pg-two-sides", Boolean(b));
    sides.replaceChildren(
      ...both().map((side) => {
        const title = h("div", { class: "pg-side-title" });
        const answer = h("p", { class: "pg-answer" });
        const place = h("div", { class: "pg-view" });
        const words = h("div", { class: "pg-wrote" });
        side.places = { title, answer, place, words };
        side.made = "";
        const parts = [title, answer, place, words];
        return h("section", { class: "pg-inside-side", "data-side": nameOf(side) }, ...parts);
      }),
    );
    toldSides.replaceChildren(
      ...both().map((side) => {
        side.findings ??= findingList(follow);
        return h("div", { "data-side": nameOf(side) }, side.findings.element);
      }),
    );
  }
  const nameOf = (/** @type {Side} */ side) => (side === a ? "a" : "b");

  /** @param {Side} side */
  function offerQuantities(side) {
    const all = graphOf(side).quantities;
    shared.quantities = Object.fromEntries(all.map((each) => [each.name, each]));
    if (quantity.childElementCount) return;
    const groups = [...new Set(all.map(({ group }) => group))];
    const options = (/** @type {string} */ wanted) =>
      all.filter(({ group }) => group === wanted).map(({ name, label }) => h("option", { value: name }, label));
    quantity.replaceChildren(...groups.map((label) => h("optgroup", { label }, ...options(label))));
  }

  /** @param {Side} side */
  function drawSide(side) {
    const { run, places } = side;
    if (!side.graph || !run.status || !places) return;
    const isFirst = !Object.keys(shared.quantities).length;
    if (side === a) offerQuantities(side);
    if (!Object.keys(shared.quantities).length) return; // those of the first run come first
    if (isFirst && b) drawSide(b); // whose data may have come before
    if (!shared.quantities[shared.quantity]) shared.quantity = "stream_rms"; // the address may name one that is not known
    if (!VIEWS[shared.view]) shared.view = "diagram";
    putLook(shared.view, shared.quantity);
    if (side.made !== shared.view) {
      side.made = shared.view;
      places.place.replaceChildren();
      places.place.className = `pg-view pg-view-${shared.view}`;
      side.view = VIEWS[shared.view].make(places.place, side, shared);
    }
    showTitle(side, places.title);
    if (side.problem) {
      side.made = "";
      places.place.replaceChildren(h("p", { class: "pg-empty" }, side.problem));
    } else side.view?.draw();
    showAnswer(side, places.answer);
    showWritten(side, places.words);
    if (side === a) showAbout(side);
    if (shared.chosen?.side === side) showDetail();
    else if (shared.chosen && !both().includes(shared.chosen.side)) choose(null);
  }

  /** @param {Side} side @param {HTMLElement} title */
  function showTitle(side, title) {
    const step = side.probe ? `step ${number(side.probe.step)}` : "";
    const words = side.probe && textFor(side) ? `${step}, from a checkpoint` : step;
    title.replaceChildren(
      h("strong", {}, side.run.status?.name),
      h("code", {}, graphOf(side).formulas.join("   ")),
      h("span", {}, words),
      h("span", { class: "pg-exports" }, ...exportsOf(side)),
    );
  }
  /**
   * What the question that is shown has for an answer in this run, at the step shown or the last one before it at which
   * it was measured: some quantities are measured more seldom.
   * @param {Side} side
   * @param {HTMLElement} place
   */
  function showAnswer(side, place) {
    const [guide, { probe }] = [guideNow(), side];
    const recorded = textFor(side) ? undefined : side.run.series.probe; // which is of the run's own text
    const said = guide && probe ? lastAnswer(guide, probe, recorded, shared.quantities) : null;
    setText(place, said ? `Step ${number(said.step)}: ${said.words}` : "");
  }
  const guideNow = () => guideOf(shared.view, shared.quantity, Boolean(VIEWS[shared.view].ofQuantity));

  /** @param {Side} side */
  function exportsOf(side) {
    const { run, places } = side;
    const name = () => `${run.status?.name}-${shared.view}-${side.probe?.step ?? 0}`;
    const csv = () => side.view && saveCsv(name(), side.view.table());
    const png = () => places && savePng(name(), places.place, side.view?.picture?.());
    const all = { class: "pg-export", title: "everything measured in this run, all steps" };
    return [
      exportButton("CSV", csv),
      exportButton("PNG", png),
      download(`live/runs/${run.id}/measures.csv`, all, "all measures", Boolean(run.status?.private)),
    ];
  }

  /**
   * The text of the sample nearest before the step shown.
   * @param {Side} side
   * @param {HTMLElement} place
   */
  function showWritten({ run, probe }, place) {
    const sample = run.series.sample;
    place.hidden = !sample || shared.view === "ablate" || shared.view === "patch";
    if (!sample || place.hidden || !probe) return;
    const i = indexUpTo(sample.step, probe.step);
    const text = (sample.prompt[i] + sample.text[i]).trim();
    const words = `It wrote, at step ${number(sample.step[i])}: `;
    if (place.textContent === words + text) return;
    place.replaceChildren(h("span", { class: "pg-faint" }, words), h("span", { class: "pg-wrote-text" }, text));
  }

  /** @param {Side} side */
  function showAbout({ probe }) {
    const q = shared.quantities[shared.quantity];
    const { words, ofQuantity } = VIEWS[shared.view];
    quantityLabel.hidden = !ofQuantity;
    quantity.value = shared.quantity;
    for (const tab of tabs.children) {
      const selected = /** @type {HTMLElement} */ (tab).dataset.view === shared.view;
      tab.setAttribute("aria-selected", String(selected));
    }
    const guide = guideNow();
    for (const each of guides.children) {
      const isNow = /** @type {HTMLElement} */ (each).dataset.guide === guide?.question;
      each.setAttribute("aria-pressed", String(isNow));
    }
    const line = ofQuantity
      ? [h("span", {}, q.help, " "), h("code", {}, q.formula), h("span", { class: "pg-faint" }, ` ${q.paper}`)]
      : [h("span", {}, words)];
    if (guide?.read) line.push(h("span", { class: "pg-read" }, ` ${guide.read}`));
    const said = line.map(({ textContent }) => textContent).join("") + (probe ? probe.tokens.join("") : "");
    if (about.dataset.said === said) return;
    about.dataset.said = said;
    about.replaceChildren(...line);
    on.replaceChildren(...(probe ? probeText(probe.tokens) : []));
  }

  /**
   * How much of what was recorded can be looked at.
   * @param {Side} side
   */
  function showKept({ run, listing }) {
    if (!listing) return;
    const recorded = run.series.probe;
    const steps = listing.steps.length;
    const all = new Set(recorded?.step.filter((_, i) => recorded.text_hash[i] === listing.hash)).size;
    const thinned = `Of ${number(all)} recorded, ${number(steps)} are kept, evenly spread: a run's may take ${listing.budget_mb} MB.`;
    const slides = listing.recorded
      ? "The slider moves through what the run has recorded."
      : "This text is yours alone: the slider moves through the run's checkpoints.";
    const words = listing.recorded && steps < all ? `${slides} ${thinned}` : slides;
    kept.textContent = listing.busy ? `This text is new: ${listing.busy.words}.` : words;
  }

  function redraw(fetches = false) {
    if (!a?.graph) return;
    for (const side of both()) {
      drawSide(side);
      if (fetches || needsMaps()) refresh(side);
    }
  }

  /* ---- one part, in detail ---- */

  /** @param {Chosen | null} chosen */
  function choose(chosen) {
    shared.chosen = chosen;
    detail.hidden = !chosen;
    redraw(Boolean(chosen) && needsMaps());
    if (!chosen) {
      detail.replaceChildren();
      return;
    }
    showDetail();
    requestAnimationFrame(() => detail.scrollIntoView({ block: "nearest", behavior: "smooth" }));
  }
  function showDetail() {
    if (shared.chosen) drawDetail(detail, shared.chosen, shared);
  }

  /* ---- life ---- */

  box = {
    lookAt(text) {
      shared.text = text;
      both().forEach(refresh);
    },
    lookAgain() {
      for (const side of both()) {
        side.listed = "";
        refresh(side);
      }
    },
  };
  showPair = () => {
    if (!pair || pair.run !== a?.run.id) return;
    beside(pair.other);
    pair = null;
    offer();
  };
  showAsked = () => {
    if (!asked || !a) return;
    follow(asked);
    asked = null;
  };
  onTheme(() => both().forEach(drawSide));

  /** No run is open. @param {Run} run */
  function close(run) {
    time.stop();
    a = b = null;
    shared.text = "";
    shared.step = null;
    full.hidden = true;
    empty.hidden = false;
    const advice =
      "Press Train in Play, and see here what happens inside the model while it learns. Or open a run in Runs.";
    empty.replaceChildren(h("h2", {}, "Nothing to look into yet"), h("p", {}, run.problem || advice));
  }
  /** Another run is open than before. @param {Run} run */
  function begin(run) {
    time.stop();
    const side = newSide(run);
    a = side;
    shared.text = "";
    shared.step = null;
    shared.chosen = null;
    detail.hidden = true;
    listed = "";
    if (b?.run.id === run.id) b = null;
    arrange();
    offer();
    if (b) refresh(b);
    showPair();
    showAsked();
    return side;
  }
  /** @param {Run} run @param {Change} change */
  function update(run, { reset, kinds }) {
    const status = run.status;
    if (!status) {
      close(run);
      return;
    }
    const side = a?.run === run ? a : begin(run);
    full.hidden = false;
    empty.hidden = true;
    if (reset) {
      side.listed = side.shown = "";
      if (kinds.size) side.graph = null;
    }
    if (shared.text && shared.text === status.probe_text) {
      shared.text = side.listed = side.shown = ""; // now it is the run's own
      refresh(side);
    }
    if (b && probed !== status.probe_text) refresh(b); // both are looked at on one text
    probed = status.probe_text;
    const own = textFor(side);
    const { listing } = side;
    const outdated = listing && !listing.busy && listing.text !== status.probe_text && !own;
    if (reset || kinds.has("probe") || (kinds.has("checkpoint") && own) || outdated) refresh(side);
    else showTime();
    side.findings?.refresh(run);
  }
  return { update };
}

/** @param {string[]} tokens */
const probeText = (tokens) => [
  h("span", { class: "pg-faint" }, `On ${number(tokens.length)} tokens: `),
  h("code", { class: "pg-probe-text" }, tokens.map(visibleToken).join("")),
];

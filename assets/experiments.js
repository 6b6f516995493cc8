/* The Experiments tab: the gallery of ready ones, those begun here, one before it begins, and one that has begun. */
/** @import { Mount } from "./open_run.js" */
/** @import { Described } from "./trial.js" */
/** @import { Draft, Knob } from "./own.js" */

import { sizeText } from "./arms.js";
import { diagram } from "./diagram.js";
import { button, h, head, scroller, setChildren, setText, visible } from "./dom.js";
import { get } from "./net.js";
import { ownForm } from "./own.js";
import { proposal } from "./proposal.js";
import { trial } from "./trial.js";

const REFRESH_MS = 1500;

/**
 * @typedef {{name: string, title: string, question: string, problem?: string, quick?: Described, thorough?: Described}} Ready
 * @typedef {{
 *   id: string, title: string, question: string, by: string, mine: boolean, wanted: string, ended: number,
 *   n_runs: number | null, verdict: string, created_at: number,
 * }} Kept
 * @typedef {{element: HTMLElement, refresh?: () => Promise<void>, told?: (value: any) => void}} View
 * @typedef {{
 *   knobs: Knob[], number?: number, all?: boolean, open?: string, ready?: string, draft?: Draft, checked?: any,
 * }} Told
 */

/** @type {Mount} */
export function experiments(root, { props, watch, trigger }) {
  /** @type {View} */
  let view;
  let timer = 0;
  const act = (/** @type {object} */ asked) => trigger("act", asked);

  /** @param {View} next @param {string | null} shown what the address names */
  function show(next, shown) {
    view = next;
    root.replaceChildren(view.element);
    const url = new URL(location.href);
    if (shown) url.searchParams.set("experiment", shown);
    else url.searchParams.delete("experiment");
    history.replaceState(history.state, "", url);
    refresh();
  }
  const showAll = () => show(gallery(showReady, open, own), null);
  /** @param {string} id */
  const open = (id) => show(trial(id, act, showAll, showDraft), id);
  /** @param {Ready} ready */
  const showReady = (ready) => show(proposal({ ready, act, back: showAll, change: showDraft }), ready.name);
  const own = () => showDraft(null);
  /** @param {Draft | null} draft */
  const showDraft = (draft) => show(ownForm(props.value.knobs, draft, act, showAll), null);

  async function refresh() {
    clearTimeout(timer);
    if (visible(root)) await view.refresh?.();
    clearTimeout(timer);
    timer = setTimeout(refresh, REFRESH_MS);
  }

  function take() {
    /** @type {Told} */
    const told = props.value ?? {};
    if (told.all) showAll();
    else if (told.open) open(told.open);
    else if (told.ready) findReady(told.ready).then((ready) => ready && showReady(ready));
    else if (told.draft) showDraft(told.draft);
    else if (told.checked) view.told?.(told.checked);
  }
  showAll();
  watch("value", take);
  take();
  new IntersectionObserver(refresh).observe(root);
}

/** @param {string} name */
async function findReady(name) {
  /** @type {Ready[]} */
  const all = await get("live/experiments/ready");
  return all.find((each) => each.name === name);
}

/* ---- the gallery ---- */

/**
 * @param {(ready: Ready) => void} choose
 * @param {(id: string) => void} open
 * @param {() => void} own
 * @returns {View}
 */
function gallery(choose, open, own) {
  const cards = h("div", { class: "pg-cards", "aria-busy": "true" });
  const begun = begunHere(open);
  const problem = h("p", { class: "pg-faint", role: "status" });
  const element = h(
    "div",
    {},
    head(
      "Experiments",
      "Is it so? Arms that differ in one thing, the same seeds for each, and a verdict by a rule that is stated beforehand.",
      button("Make your own", own, { id: "experiment-own" }),
    ),
    begun.element,
    h("h3", {}, "Claims of textbooks, ready to be tested"),
    problem,
    cards,
  );
  let shown = "";
  let isTimed = false; // until then it is asked for again
  async function refresh() {
    try {
      begun.show(await get("live/experiments"));
      problem.textContent = "";
      if (isTimed) return;
      const ready = await get("live/experiments/ready");
      isTimed = ready.every((/** @type {Ready} */ { quick }) => !quick || quick.seconds !== null);
      const now = JSON.stringify(ready);
      if (now === shown) return;
      shown = now;
      cards.replaceChildren(...ready.map((/** @type {Ready} */ each) => card(each, choose)));
      cards.removeAttribute("aria-busy");
    } catch {
      problem.textContent = "The playground does not answer; trying again.";
    }
  }
  return { element, refresh };
}

/**
 * @param {Ready} ready
 * @param {(ready: Ready) => void} choose
 */
function card(ready, choose) {
  const { quick, problem } = ready;
  const pictures = h(
    "span",
    { class: "pg-thumbs", inert: true, "aria-hidden": "true" },
    ...(quick ? thumbs(quick) : []),
  );
  const names = quick ? quick.arms.map(({ name }) => name).join(" · ") : (problem ?? "");
  return h(
    "button",
    {
      type: "button",
      class: "pg-choice-card pg-experiment-card",
      "data-ready": ready.name,
      onclick: () => choose(ready),
      disabled: !quick,
    },
    pictures,
    h("strong", {}, ready.question),
    h("span", { class: "pg-faint" }, names),
    h("span", { class: "pg-size" }, quick ? sizeText(quick) : ""),
  );
}

/**
 * The architectures of the arms that differ, each with what it has that the first has not.
 * @param {Described} described
 */
function thumbs({ arms }) {
  const different = arms.filter(({ graph }, i) => arms.findIndex((arm) => same(arm.graph, graph)) === i);
  return different
    .slice(0, 3)
    .map(({ graph }, i) => diagram(graph, different[i ? 0 : Math.min(1, different.length - 1)].graph));
}

/** @param {object} one @param {object} other */
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** @param {(id: string) => void} open */
function begunHere(open) {
  const body = h("tbody");
  const table = h("table", { class: "pg-table" }, h("thead", {}, headings()), body);
  const element = h(
    "section",
    { hidden: true },
    h("h3", {}, "Begun here"),
    scroller("pg-table-wrap", "experiments begun here", table),
  );
  /** @type {Map<string, {tr: HTMLTableRowElement, cells: HTMLTableCellElement[]}>} */
  const rows = new Map();
  /** @param {Kept} kept */
  function row(kept) {
    const { tr, cells } = rows.get(kept.id) ?? newRow(kept.id);
    const runs = kept.n_runs === null ? "–" : `${kept.ended} of ${kept.n_runs}`;
    const state =
      kept.verdict ||
      { run: "under way", stop: "stopped", done: "a run is missing", command: "trained by a command" }[kept.wanted] ||
      "";
    const by = kept.mine ? "you" : kept.by || "–";
    const begun = new Date(kept.created_at * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    [kept.question, state, runs, by, begun].forEach((text, i) => setText(cells[i], text));
    cells[1].dataset.verdict = kept.verdict;
    return tr;
  }
  /** @param {string} id */
  function newRow(id) {
    const cells = Array.from({ length: 5 }, () => h("td"));
    const tr = h("tr", { tabindex: "0", "data-experiment": id, onclick: () => open(id) }, ...cells);
    tr.addEventListener("keydown", (event) => {
      if (event.key === "Enter") open(id);
    });
    const made = { tr, cells };
    rows.set(id, made);
    return made;
  }
  /** @param {Kept[]} all */
  function show(all) {
    element.hidden = all.length === 0;
    setChildren(body, all.map(row));
  }
  return { element, show };
}

const headings = () =>
  h(
    "tr",
    {},
    ...["question", "verdict", "runs ended", "by", "begun"].map((text) =>
      h("th", { scope: "col" }, h("span", { class: "pg-th" }, text)),
    ),
  );

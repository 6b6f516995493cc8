/* The Design tab: the picture of the architecture, what it costs, and each problem beside its control. */
/** @import { Mount } from "./open_run.js" */
/** @import { Graph } from "./diagram.js" */

import { diagram } from "./diagram.js";
import { asking, fact, h } from "./dom.js";
import { compact, duration, number } from "./format.js";

/**
 * @typedef {{id: string, message: string}} Note beside the control with this id
 * @typedef {{
 *   problems: (Note & {path: string, label: string})[], idle: Note[], cautions: Note[],
 * }} Notes what is wrong, what has no effect now, and what is probably not meant
 * @typedef {{
 *   title: string, graph: Graph, formulas: string[], differs: [path: string, mine: string, theirs: string][],
 * }} Other
 * @typedef {Notes & {
 *   graph: Graph, formulas: string[], other: Other | null, n_params: number, flops: number, memory_bytes: number,
 *   seconds: number | null, training_now: number, learns: {total: number | null, unit: string, times: number},
 *   parts: [name: string, params: number, flops: number][],
 * }} Described what the server says of a design
 */

/* ---- notes beside the controls ---- */

/** @type {Notes} */
let notes = { problems: [], idle: [], cautions: [] };

/** Take all notes away and put these in their places. */
function note() {
  document.querySelectorAll(".pg-problem, .pg-idle-note, .pg-caution").forEach((element) => element.remove());
  /** @type {NodeListOf<HTMLElement>} */
  const marked = document.querySelectorAll(".pg-wrong, .pg-idle, .pg-doubtful");
  for (const element of marked) {
    element.classList.remove("pg-wrong", "pg-idle", "pg-doubtful");
    element.inert = false;
  }
  for (const { id, message } of notes.problems) {
    attach(id, "pg-wrong", h("div", { class: "pg-problem", role: "alert" }, message));
  }
  for (const { id, message } of notes.cautions) {
    attach(id, "pg-doubtful", h("div", { class: "pg-caution", role: "status" }, message));
  }
  for (const { id, message } of notes.idle) attach(id, "pg-idle", h("div", { class: "pg-idle-note" }, message));
}

/** @param {string} id @param {string} mark @param {HTMLElement} words */
function attach(id, mark, words) {
  const control = document.getElementById(id);
  if (!control) return;
  control.classList.add(mark);
  if (mark === "pg-idle") control.inert = true;
  control.append(words);
}

/** Gradio makes the controls of a section when it is opened; they get their notes then. */
function noteWhenOpened() {
  const form = document.getElementById("design-form");
  if (!form) return;
  /** @param {Node} added */
  const hasControls = (added) =>
    added instanceof Element && (added.matches(".block") || added.querySelector(".block") !== null);
  const watch = new MutationObserver((changes) => {
    if (!changes.some(({ addedNodes }) => [...addedNodes].some(hasControls))) return;
    note();
    offerToVary();
  });
  watch.observe(form, { childList: true, subtree: true });
}

/**
 * @typedef {{
 *   id: string, path: string, label: string, section: string, section_id: string, words: string, is_factor: boolean,
 * }} Knob
 */

/* ---- a setting as the factor of an experiment ---- */

/** The settings that can be factors, by the ids of their controls. @type {Map<string, Knob>} */
const factors = new Map();
/** @type {(path: string) => void} */
let vary = () => {};

/** A button in each control that begins an experiment on its setting. */
function offerToVary() {
  for (const [id, { path, label }] of factors) {
    const control = document.getElementById(id);
    if (!control || control.querySelector(".pg-vary")) continue;
    const look = { type: "button", class: "pg-vary", title: `an experiment on ${label}` };
    control.append(h("button", { ...look, onclick: () => vary(path) }, "Compare…"));
  }
}

/* ---- finding a control ---- */

/**
 * Finds any control by its words, opens its section and brings it into view.
 * @type {Mount}
 */
export function search(root, { props }) {
  const box = h("input", {
    type: "search",
    id: "knob-search",
    placeholder: "Find a setting, such as warm-up or RoPE",
    "aria-label": "find a setting",
    autocomplete: "off",
  });
  const hits = h("ul", { class: "pg-hits", hidden: true });
  root.append(box, hits);

  function find() {
    const words = box.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    /** @type {Knob[]} */
    const knobs = words.length ? props.value : [];
    const found = knobs.filter((knob) => words.every((word) => knob.words.includes(word))).slice(0, 8);
    const none = h("li", { class: "pg-faint" }, "No setting has these words.");
    hits.hidden = words.length === 0;
    hits.replaceChildren(...(found.length ? found.map(hit) : [none]));
  }
  /** @param {Knob} knob */
  const hit = (knob) =>
    h(
      "li",
      {},
      h("button", { type: "button", onclick: () => go(knob) }, h("strong", {}, knob.label), ` ${knob.section}`),
    );
  /** @param {Knob} knob */
  async function go(knob) {
    hits.hidden = true;
    box.value = "";
    const control = await opened(knob);
    control?.scrollIntoView({ block: "center", behavior: "smooth" });
    control?.classList.add("pg-found");
    /**
     * @type {HTMLElement | null | undefined} */ (control?.querySelector("input, textarea"))?.focus({
      preventScroll: true,
    });
    setTimeout(() => control?.classList.remove("pg-found"), 1600);
  }
  for (const knob of /** @type {Knob[]} */ (props.value)) if (knob.is_factor) factors.set(knob.id, knob);
  offerToVary();
  box.addEventListener("input", find);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      box.value = "";
      find();
    }
    if (event.key === "Enter") hits.querySelector("button")?.click();
  });
}

/** The control, once its section is open: made by Gradio at the first time, shown again later.
 * @param {Knob} knob
 */
async function opened({ id, section_id }) {
  const control = () => document.getElementById(id);
  const toggle = () => /** @type {HTMLElement | null} */ (document.querySelector(`#${section_id} > button`))?.click();
  if (!control()) toggle();
  for (let i = 0; i < 40 && !control()?.offsetParent; i++) {
    if (i === 8 && control()) toggle();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return control();
}

/* ---- the design ---- */

/** Between questions whether the speed of this machine is known by now. */
const MEASURED_MS = 3000;

/** @type {Mount} */
export function design(root, { props, watch, trigger }) {
  let drawn = "";
  const again = asking(root, () => trigger("again"));
  const measured = asking(root, () => trigger("again"), MEASURED_MS);
  const problems = h("ul", { class: "pg-problems", hidden: true });
  const pictures = h("div", { class: "pg-pictures" });
  const formulas = h("pre", { class: "pg-formulas" });
  const changes = h("div", { class: "pg-changes", hidden: true });
  const facts = h("dl", { class: "pg-facts pg-facts-design" });
  const rows = h("tbody");
  const side = h(
    "div",
    { class: "pg-side" },
    h("h3", {}, "One block computes"),
    formulas,
    changes,
    facts,
    partsTable(rows),
  );
  root.append(problems, h("div", { class: "pg-design-grid" }, pictures, side));

  function show() {
    const value = props.value;
    if (!value) return;
    again(Boolean(value.waiting));
    measured(value.seconds === null);
    if (value.waiting || value.missing) showWaiting();
    else showNotes(value);
    if (value.waiting || value.missing || value.problems.length) return;
    showDesign(value);
  }

  function showWaiting() {
    root.classList.add("pg-stale");
    notes = { ...notes, problems: [] };
    note();
    problems.hidden = true;
  }

  /** @param {Notes} value */
  function showNotes(value) {
    const wrong = value.problems.length > 0;
    notes = { problems: value.problems, idle: value.idle || notes.idle, cautions: wrong ? [] : value.cautions };
    note();
    problems.replaceChildren(
      ...value.problems.map(({ path, label, message }) =>
        h("li", { title: path }, h("strong", {}, label), ": ", message),
      ),
    );
    problems.hidden = !wrong;
    document.body.dataset.design = wrong ? "wrong" : "right";
    root.classList.toggle("pg-stale", wrong);
  }

  /** @param {Described} value */
  function showDesign(value) {
    const other = value.other;
    formulas.textContent = value.formulas.join("\n");
    const picture = JSON.stringify([value.graph, other]);
    if (picture !== drawn) pictures.replaceChildren(...figures(value));
    drawn = picture;
    pictures.classList.toggle("pg-two", Boolean(other));
    changes.hidden = !other;
    if (other) changes.replaceChildren(...differences(other));
    facts.replaceChildren(...costs(value));
    rows.replaceChildren(...value.parts.map(partsRow));
  }
  vary = (path) => trigger("vary", { knob: path });
  offerToVary();
  watch("value", show);
  show();
  noteWhenOpened();
}

/** @param {Described} value */
function figures({ graph, formulas, other }) {
  if (!other) return [h("figure", {}, diagram(graph))];
  const titled = (/** @type {string} */ title, /** @type {string[]} */ lines) =>
    h("figcaption", {}, h("strong", {}, title), h("code", {}, lines.join("\n")));
  return [
    h("figure", {}, titled("this design", formulas), diagram(graph, other.graph)),
    h("figure", {}, titled(other.title, other.formulas), diagram(other.graph, graph)),
  ];
}

/** @param {Other} other */
function differences({ title, differs }) {
  const lines = differs.map(([path, mine, theirs]) =>
    h("li", {}, h("code", {}, path.split(".").pop()), ` ${mine}, not ${theirs}`),
  );
  return [
    h("h4", {}, `this design, and ${title}`),
    lines.length ? h("ul", {}, ...lines) : h("p", {}, "The architectures are the same."),
  ];
}

const trains = (/** @type {number} */ n) => (n === 1 ? "a run trains" : `${n} runs train`);

/** @param {Described} value */
function costs({ n_params, flops, memory_bytes, seconds, training_now, learns }) {
  const { total, unit, times } = learns;
  return [
    fact("parameters", number(n_params)),
    fact("a training step costs", `${compact(flops)}FLOP per token`),
    fact("memory while training", `about ${compact(memory_bytes)}B`),
    fact(
      "time on this machine",
      seconds === null ? "measuring" : `about ${duration(seconds)}`,
      training_now === 0
        ? "if nothing else trains here"
        : `alone; ${trains(training_now)} here now, so it takes longer`,
    ),
    fact(
      "looks at",
      total === null ? "as much as fits" : `${compact(total)} ${unit}`,
      total === null ? "" : `${times.toPrecision(2)} times what there is to train on`,
    ),
  ];
}

/** @param {HTMLElement} rows */
function partsTable(rows) {
  const names = ["part", "parameters", "FLOP per token, forward"].map((name) => h("th", { scope: "col" }, name));
  return h(
    "details",
    { class: "pg-parts" },
    h("summary", {}, "parameters and FLOPs by part"),
    h("table", {}, h("thead", {}, h("tr", {}, ...names)), rows),
  );
}

/** @param {[name: string, params: number, flops: number]} part */
const partsRow = ([name, params, flops]) =>
  h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, number(params)), h("td", {}, flops ? compact(flops) : "–"));

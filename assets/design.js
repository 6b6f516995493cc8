/* The design of a run: the picture of the architecture, what it costs, and each problem beside its control. */
/** @import { Graph, RunGraph } from "./diagram.js" */
/** @import { Change, Mount } from "./open_run.js" */
/** @import { Run } from "./series.js" */

import { putDesign } from "./address.js";
import { codePanel } from "./code.js";
import { diagram } from "./diagram.js";
import { asking, fact, h, hideTip, setText, showTip } from "./dom.js";
import { compact, duration, number } from "./format.js";
import { instrument } from "./instrument.js";
import { graphOfRun } from "./side.js";

/**
 * @typedef {{id: string, message: string}} Note beside the control with this id
 * @typedef {{
 *   problems: (Note & {path: string, label: string})[], idle: Note[], cautions: Note[],
 * }} Notes what is wrong, what has no effect now, and what is probably not meant
 * @typedef {{
 *   title: string, graph: Graph, formulas: string[], differs: [path: string, mine: string, theirs: string][],
 * }} Other
 * @typedef {Notes & {
 *   graph: Graph, formulas: string[], config: object, other: Other | null, n_params: number, flops: number, memory_bytes: number,
 *   seconds: number | null, training_now: number, learns: {total: number | null, unit: string, times: number},
 *   parts: [name: string, params: number, flops: number][], values: Record<string, string>, address: string,
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
    dressControls();
  });
  watch.observe(form, { childList: true, subtree: true });
}

/**
 * @typedef {{
 *   id: string, path: string, label: string, section: string, section_id: string, words: string, is_factor: boolean,
 *   part: string,
 * }} Knob
 */

/* ---- what a control has beside it ---- */

/** All settings. @type {Knob[]} */
let knobs = [];
/** Begin an experiment on a setting. @type {(path: string) => void} */
let vary = () => {};

/** Each control gets its help as a tip, lights up its part of the drawing, and a button that begins an experiment on it. */
function dressControls() {
  for (const knob of knobs) {
    const control = document.getElementById(knob.id);
    if (!control || control.dataset.dressed) continue;
    control.dataset.dressed = "yes";
    if (knob.is_factor) control.append(varyButton(knob));
    control.addEventListener("pointerenter", () => lightUp(knob.part, true));
    control.addEventListener("pointerleave", () => lightUp(knob.part, false));
  }
  document.querySelectorAll("#recipe .block:not([data-helps])").forEach(helpAsTip);
}

/** @param {Knob} knob */
function varyButton({ path, label }) {
  const look = {
    class: "pg-vary",
    title: `Compare…: an experiment on ${label}`,
    "aria-label": `A/B: an experiment on ${label}`,
  };
  return h("button", { type: "button", ...look, onclick: () => vary(path) }, "A/B");
}

/**
 * What a control is for is told where its name is pointed at, and where it is reached by the keyboard.
 * @param {Element} control
 */
function helpAsTip(control) {
  const help = control.querySelector(".info-text");
  const name = control.querySelector('[data-testid="block-info"], .label-text');
  const input = control.querySelector("input, textarea");
  if (!(control instanceof HTMLElement) || !help || !name) return;
  control.dataset.helps = "yes";
  help.id ||= `${control.id}-help`;
  input?.setAttribute("aria-describedby", help.id);
  const tell = () => {
    const { left, bottom } = name.getBoundingClientRect();
    showTip({ clientX: left, clientY: bottom - 12 }, help.textContent ?? "");
  };
  name.addEventListener("pointerenter", tell);
  name.addEventListener("pointerleave", hideTip);
  control.addEventListener("focusin", () => control.querySelector(":focus-visible") && tell());
  control.addEventListener("focusout", hideTip);
}

/* ---- controls and the parts of the drawing ---- */

/** @param {string} part @param {boolean} on */
function lightUp(part, on) {
  document
    .querySelectorAll(`#picture .pg-node-${part || "none"}`)
    .forEach((node) => node.classList.toggle("pg-lit", on));
}

/**
 * A click on a part of the drawing opens its settings.
 * @param {Element} node
 */
function opensItsKnobs(node) {
  const part = /pg-node-(\w+)/.exec(node.getAttribute("class") ?? "")?.[1];
  const open = () => showKnobs(knobs.filter((knob) => knob.part === part));
  node.addEventListener("click", open);
  node.addEventListener("keydown", (event) => {
    const { key } = /** @type {KeyboardEvent} */ (event);
    if (key === "Enter" || key === " ") open();
  });
}

/** @param {Knob[]} found */
async function showKnobs(found) {
  const hidden = found.find(({ section }) => section);
  if (hidden) await opened(hidden);
  const controls = found.map(({ id }) => document.getElementById(id)).filter((control) => control?.offsetParent);
  controls.at(-1)?.scrollIntoView({ block: "nearest", behavior: "smooth" });
  controls[0]?.scrollIntoView({ block: "nearest", behavior: "smooth" });
  controls.forEach((control) => control && flash(control));
}

/** @param {HTMLElement} control */
function flash(control) {
  control.classList.add("pg-found");
  setTimeout(() => control.classList.remove("pg-found"), 1600);
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
    if (control) flash(control);
    /**
     * @type {HTMLElement | null | undefined} */ (control?.querySelector("input, textarea"))?.focus({
      preventScroll: true,
    });
  }
  knobs = props.value;
  dressControls();
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
  const again = asking(root, () => trigger("again"));
  const measured = asking(root, () => trigger("again"), MEASURED_MS);
  const problems = h("ul", { class: "pg-problems", hidden: true });
  const formulas = h("pre", { class: "pg-formulas" });
  const changes = h("div", { class: "pg-changes", hidden: true });
  const facts = h("dl", { class: "pg-facts pg-facts-design" });
  const rows = h("tbody");
  const news = h("p", { class: "pg-news", role: "status", hidden: true });
  const drawing = picture(showNews);
  document.getElementById("train")?.before(news);
  const code = codePanel();
  const parts = partsTable(rows);
  root.append(
    problems,
    h("div", { class: "pg-design" }, drawing.element, formulas, code.element, changes, facts, parts),
  );

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
    putDesign(value.address);
    formulas.textContent = value.formulas.join("\n");
    code.show(value.config);
    drawing.show(value);
    changes.hidden = !value.other;
    if (value.other) changes.replaceChildren(...differences(value.other));
    facts.replaceChildren(...costs(value));
    rows.replaceChildren(...value.parts.map(partsRow));
  }
  /** What the next run has that the open one has not. @param {string} words */
  function showNews(words) {
    news.hidden = !words;
    setText(news, words);
  }
  vary = (path) => trigger("vary", { knob: path });
  dressControls();
  watch("value", show);
  show();
  noteWhenOpened();
  return { update: drawing.follow };
}

/**
 * The drawing of the design: alone, beside another one, or, where the open run has this very architecture, with what is
 * measured in it. `tell` is told in what the design differs from the open run.
 * @param {(words: string) => void} tell
 */
function picture(tell) {
  const element = h("div", { class: "pg-pictures" });
  /** @type {Described | null} */
  let design = null;
  /** @type {{run: Run, graph: RunGraph} | null} */
  let open = null;
  /** @type {ReturnType<typeof instrument> | null} */
  let live = null;
  let drawn = "";
  /** @type {Run | null} */
  let followed = null;

  const isOpen = () => design && !design.other && open && sameGraph(design.graph, open.graph);
  function draw() {
    if (!design) return;
    const key = JSON.stringify([design.graph, design.other, isOpen() ? open?.run.id : null]);
    if (key !== drawn) {
      drawn = key;
      live = isOpen() && open ? instrument(open.graph, open.run) : null;
      element.classList.toggle("pg-two", Boolean(design.other));
      element.replaceChildren(...(live ? live.elements : figures(design)));
      element.querySelectorAll("[data-node]").forEach(opensItsKnobs);
    }
    live?.draw();
    const words = open ? newsOf(design.values, open) : "";
    document.body.dataset.differs = words ? "yes" : "no";
    tell(words);
  }
  /** @param {Described} value */
  function show(value) {
    design = value;
    draw();
  }
  /** @param {Run} run @param {Change} change */
  async function follow(run, { reset, kinds }) {
    followed = run;
    if (open?.run !== run || (reset && kinds.size)) open = null;
    if (run.status && !open) {
      const graph = await graphOfRun(run).catch(() => null); // the bar says that the playground does not answer
      if (followed !== run) return; // another one has been opened meanwhile
      if (graph) open = { run, graph };
      draw();
    } else if (reset || kinds.has("probe") || !open) draw();
  }
  return { element, show, follow };
}

const MOST_NEWS = 4;

/**
 * In what a design differs from the open run, in words; nothing where it does not.
 * @param {Record<string, string>} values of the design
 * @param {{run: Run, graph: RunGraph}} open
 */
function newsOf(values, { run, graph }) {
  const differs = knobs.filter(({ path }) => path in values && values[path] !== graph.values[path]);
  if (!differs.length) return "";
  const said = differs.slice(0, MOST_NEWS).map(({ path, label }) => `${label} ${graph.values[path]} → ${values[path]}`);
  const rest = differs.length - said.length;
  return `Train this as a new run. Against ${run.status?.name}: ${said.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}.`;
}

/** @param {Graph} a @param {Graph} b */
const sameGraph = (a, b) => a.n_layer === b.n_layer && JSON.stringify(a.nodes) === JSON.stringify(b.nodes);

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
    h("h3", {}, `this design, and ${title}`),
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

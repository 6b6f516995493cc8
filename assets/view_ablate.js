/* View of the Inside tab: switch off heads, MLPs or whole layers, and see what is lost. */
/** @import { Side, View } from "./side.js" */

import { button, h, hideTip, select, showTip } from "./dom.js";
import { number, short, signed } from "./format.js";
import { getAtLength, messageOf } from "./net.js";
import { graphOf } from "./side.js";

/**
 * @typedef {{probe_loss: number | null, held_out_loss: number | null, prompt: string, text: string}} Result
 * @typedef {{step: number, before: Result, after: Result}} Answer
 * @typedef {Record<string, number | null>} Rises of the loss without each part, in nats per token
 */

/** @type {[by: string, label: string][]} */
const BY = [
  ["zero", "zeros (zero ablation)"],
  ["mean", "its mean (mean ablation)"],
];

/**
 * @param {HTMLElement} place
 * @param {Side} side
 * @returns {View}
 */
export function ablate(place, side) {
  const grid = h("div", { class: "pg-parts-grid" });
  const measure = button("Measure what each part is worth", worth, { class: "pg-button pg-worth" });
  const all = button("Switch all on", () => {
    side.off.clear();
    ask();
  });
  const by = select(BY, { "aria-label": "replace what a part adds by" });
  const put = h("label", { class: "pg-faint" }, "replace what a part adds by ", by);
  by.addEventListener("change", () => {
    [rises, errors, words.textContent] = [null, {}, ""];
    ask();
  });
  const words = h("p", { class: "pg-faint pg-worth-words", role: "status" });
  const result = h("div", { class: "pg-ablated" });
  place.append(h("div", { class: "pg-tools pg-curve-tools" }, measure, all, put), grid, words, result);
  let built = "";
  /** @type {Map<string, {element: HTMLButtonElement, rise: HTMLElement}>} */
  const parts = new Map();
  /** @type {Rises | null} */
  let rises = null;
  /** @type {Rises} */
  let errors = {};
  /** @type {Answer | null} */
  let answer = null;
  let asked = "";
  let busy = false;
  let problem = "";
  let waiting = "";

  /* ---- the parts ---- */

  /** @param {string} part @param {string} text @param {string} title */
  function partButton(part, text, title) {
    const rise = h("small");
    const element = h("button", { type: "button", class: "pg-part", "data-part": part }, h("span", {}, text), rise);
    element.addEventListener("click", () => {
      if (!side.off.delete(part)) side.off.add(part);
      ask();
    });
    element.addEventListener("pointermove", (event) => {
      const worth = rises?.[part];
      const more = worth === undefined ? "" : `: without it the loss rises by ${risen(part)} nats per token`;
      showTip(event, title, more);
    });
    element.addEventListener("pointerleave", hideTip);
    parts.set(part, { element, rise });
    return element;
  }
  function build() {
    const { n_layer, n_head, nodes } = graphOf(side);
    const has = (/** @type {string} */ wanted) => nodes.some(({ kind }) => kind === wanted);
    parts.clear();
    /** @param {number} layer */
    function row(layer) {
      const whole = partButton(`layer:${layer}`, "all", `the whole of layer ${layer}`);
      const attention = has("attention")
        ? partButton(`attn:${layer}`, "attention", `the attention of layer ${layer}`)
        : null;
      const mlp = has("mlp") ? partButton(`mlp:${layer}`, "MLP", `the MLP of layer ${layer}`) : null;
      const heads = Array.from({ length: n_head }, (_, i) =>
        partButton(`head:${layer}.${i + 1}`, `${i + 1}`, `head ${i + 1} of layer ${layer}`),
      );
      const headsOf = h("span", { class: "pg-part-heads" }, h("span", { class: "pg-faint" }, "heads "), ...heads);
      const name = h("span", { class: "pg-layer-name" }, `layer ${layer}`);
      return h("div", { class: "pg-part-row" }, name, whole, attention, mlp, n_head ? headsOf : null);
    }
    grid.replaceChildren(...Array.from({ length: n_layer }, (_, i) => row(i + 1)));
  }

  /* ---- asking ---- */

  const textPart = () => (side.text ? `&text=${encodeURIComponent(side.text)}` : "");
  const base = () =>
    `live/runs/${encodeURIComponent(side.run.id ?? "")}/ablate?step=${side.probe?.step}&by=${by.value}${textPart()}`;

  /** What is lost without what is switched off now; one question at a time. */
  async function ask() {
    show();
    const off = [...side.off].join(",");
    const wanted = `${side.probe?.step} ${by.value} ${off} ${textPart()}`;
    if (!off) {
      answer = null;
      asked = problem = "";
      show();
      return;
    }
    if (busy || wanted === asked) return;
    busy = true;
    const isWanted = () =>
      side.made === "ablate" && wanted === `${side.probe?.step} ${by.value} ${[...side.off].join(",")} ${textPart()}`;
    try {
      const found = await getAtLength(`${base()}&off=${encodeURIComponent(off)}`, (words) => {
        waiting = words;
        show();
        return isWanted();
      });
      [answer, problem] = [found, found?.problem || ""];
    } catch (error) {
      [answer, problem] = [null, messageOf(error)];
    }
    busy = false;
    waiting = "";
    asked = wanted;
    show();
    if (side.made === "ablate") ask(); // something else may have been switched off meanwhile
  }
  /** What each part is worth by itself. */
  async function worth() {
    measure.disabled = true;
    words.textContent = "Switching off one part after the other.";
    try {
      const found = await getAtLength(base(), (now) => {
        words.textContent = now;
        return side.made === "ablate";
      });
      if (!found) throw new Error("Not measured: it was no longer looked at.");
      if (found.problem) throw new Error(found.problem);
      [rises, errors] = [found.rises, found.errors ?? {}];
      const where = `on ${found.on}, at the checkpoint of step ${number(found.step)}, the nearest`;
      words.textContent = `In nats per token ${where}: how much the loss rises without this part (what it adds is replaced by ${found.by === "mean" ? "its mean over these data" : "zeros"}), ± its standard error. Orange: it is missed; blue: it did harm; pale: not told apart from zero.`;
    } catch (error) {
      words.textContent = messageOf(error);
    }
    measure.disabled = false;
    show();
  }

  /** Whether a part's worth is not told apart from zero. @param {string} part */
  function isUnclear(part) {
    const [rise, error] = [rises?.[part] ?? null, errors[part] ?? null];
    return rise !== null && error !== null && Math.abs(rise) < 2 * error;
  }
  /** @param {string} part */
  function risen(part) {
    const [rise, error] = [rises?.[part] ?? null, errors[part] ?? null];
    const spread = error === null ? "" : ` ± ${short(error)}${isUnclear(part) ? " (not told apart from zero)" : ""}`;
    return `${short(rise)}${spread}`;
  }

  /* ---- drawing ---- */

  function show() {
    const most = largestRise(rises ?? {});
    for (const [part, { element, rise }] of parts) {
      const worth = rises?.[part] ?? null;
      element.setAttribute("aria-pressed", String(side.off.has(part)));
      element.style.setProperty("--rise", worth === null || isUnclear(part) ? "transparent" : riseColour(worth, most));
      rise.textContent = worth === null ? "" : isUnclear(part) ? "≈ 0" : signed(worth);
    }
    all.disabled = side.off.size === 0;
    result.replaceChildren(...results());
  }
  function results() {
    if (problem) return [h("p", { class: "pg-warning" }, problem)];
    if (!side.off.size) return [h("p", { class: "pg-faint" }, "Everything is on. Click a part to switch it off.")];
    if (!answer) return [h("p", { class: "pg-faint" }, waiting || "Computing without it.")];
    return compared(answer);
  }
  function table() {
    if (rises) {
      const known = rises;
      return [
        ["part", "rise_of_loss_nats_per_token", "standard_error"],
        ...Object.keys(known).map((part) => [part, known[part], errors[part] ?? ""]),
      ];
    }
    const heading = ["what", "whole", "without"];
    if (!answer) return [heading];
    const { before, after } = answer;
    const names = /** @type {const} */ (["probe_loss", "held_out_loss", "text"]);
    return [heading, ...names.map((name) => [name, before[name], after[name]])];
  }
  function draw() {
    const now = `${side.run.id}`;
    if (now !== built) build();
    built = now;
    if (side.probe) ask();
  }
  return { draw, table };
}

/**
 * Of single heads and MLPs: whole layers would drown them.
 * @param {Rises} rises
 */
function largestRise(rises) {
  const single = Object.entries(rises).filter(([part]) => part.startsWith("head") || part.startsWith("mlp"));
  return Math.max(1e-6, ...single.map(([, rise]) => Math.abs(rise ?? 0)));
}

/** @param {number} rise @param {number} most */
function riseColour(rise, most) {
  const share = Math.round(70 * Math.min(1, Math.sqrt(Math.abs(rise) / most)));
  return `color-mix(in srgb, var(${rise >= 0 ? "--pg-missed" : "--pg-harmful"}) ${share}%, transparent)`;
}

/**
 * The whole model and the one without the parts, side by side.
 * @param {Answer} answer
 */
function compared({ step, before, after }) {
  const fixed = (/** @type {number | null} */ v) => (v === null ? "not on this machine" : v.toFixed(3));
  /** @param {string} name @param {"probe_loss" | "held_out_loss"} key */
  function row(name, key) {
    const [x, y] = [before[key], after[key]];
    const change = x === null || y === null ? "–" : signed(y - x);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      h("td", {}, fixed(x)),
      h("td", {}, fixed(y)),
      h("td", { class: "pg-change" }, change),
    );
  }
  /** @param {string} title @param {Result} result */
  function text(title, { prompt, text }) {
    const written = text || "(nothing that could be written)";
    return h(
      "div",
      {},
      h("h3", {}, title),
      h("pre", { class: "pg-text" }, h("span", { class: "pg-faint" }, prompt), written),
    );
  }
  const names = ["loss in nats per token", "whole", "without", "change"].map((name) => h("th", { scope: "col" }, name));
  return [
    h(
      "table",
      { class: "pg-detail-table" },
      h("thead", {}, h("tr", {}, ...names)),
      h("tbody", {}, row("on the probe text", "probe_loss"), row("on held-out data", "held_out_loss")),
    ),
    h(
      "div",
      { class: "pg-ablated-texts" },
      text(`as it writes, checkpoint of step ${number(step)}`, before),
      text("without what is switched off", after),
    ),
  ];
}

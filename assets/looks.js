/* Attention as lines in the text: from the token under the pointer to those that it looks at, as strong as their weights. */

import { h, s, setText } from "./dom.js";
import { visibleToken } from "./format.js";

/** Lines and words leave out what has less weight. */
const LEAST = 0.02;
const MOST_WORDS = 4;

/**
 * @typedef {(query: number, key: number) => number} Weights from 0 to 1, of a token and one that it may look at
 */

/**
 * The text, token by token. Point at one, tap it, or go through them with the arrow keys.
 * @param {string[]} tokens
 * @param {string} label of the head
 * @returns {{element: HTMLElement, draw: (weights: Weights) => void}}
 */
export function tokenLooks(tokens, label) {
  const spans = tokens.map((token) => h("span", { class: "pg-look-token" }, visibleToken(token)));
  const lines = s("svg", { class: "pg-look-lines", "aria-hidden": "true" });
  const said = h("p", { class: "pg-look-said", role: "status" });
  const about = `${label}: a token and what it looks at; arrow keys move`;
  const text = h("div", { class: "pg-look-text", tabindex: "0", role: "group", "aria-label": about }, ...spans, lines);
  /** @type {Weights | null} */
  let weights = null;
  let chosen = tokens.length - 1;

  function show() {
    if (!weights) return;
    const of = weights;
    const seen = spans
      .slice(0, chosen + 1)
      .map((_, key) => ({ key, weight: of(chosen, key) }))
      .filter(({ weight }) => weight >= LEAST)
      .sort((x, y) => y.weight - x.weight);
    spans.forEach((span, i) => {
      const weight = i <= chosen ? of(chosen, i) : 0;
      span.style.setProperty("--w", `${Math.round(100 * Math.sqrt(weight))}%`);
      span.classList.toggle("pg-look-from", i === chosen);
    });
    lines.replaceChildren(...seen.filter(({ key }) => key !== chosen).map(line));
    const words = seen.slice(0, MOST_WORDS).map(({ key, weight }) => `${named(key)} ${weight.toFixed(2)}`);
    setText(said, `${named(chosen)} looks at ${words.join(", ") || "nothing in particular"}.`);
  }
  const named = (/** @type {number} */ i) => `“${visibleToken(tokens[i])}” (${i + 1})`;
  /** @param {{key: number, weight: number}} seen */
  function line({ key, weight }) {
    const [x1, y1] = middle(spans[chosen]);
    const [x2, y2] = middle(spans[key]);
    const lift = Math.min(28, 8 + Math.abs(x1 - x2) / 8);
    const d = `M ${x1} ${y1} C ${x1} ${y1 - lift} ${x2} ${y2 - lift} ${x2} ${y2}`;
    return s("path", { d, "stroke-width": 0.8 + 4 * weight, "stroke-opacity": 0.25 + 0.75 * weight });
  }
  /** @param {number} i */
  function choose(i) {
    chosen = Math.max(0, Math.min(tokens.length - 1, i));
    show();
  }
  spans.forEach((span, i) => {
    span.addEventListener("pointerenter", () => choose(i));
    span.addEventListener("click", () => choose(i));
  });
  text.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    choose(chosen + by);
  });
  return {
    element: h("div", { class: "pg-looks" }, text, said),
    draw(now) {
      weights = now;
      show();
    },
  };
}

/** The top of a token in the text that it stands in. @param {HTMLElement} span */
const middle = (span) => [span.offsetLeft + span.offsetWidth / 2, span.offsetTop + 3];

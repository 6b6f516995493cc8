/* View of the Inside tab: the logit lens, what the model would say if it stopped after each layer. */
/** @import { Side, View } from "./side.js" */
/** @import { ProbeWithLens } from "./values.js" */

import { h, hideTip, s, scroller, showTip } from "./dom.js";
import { cut, short, visibleToken } from "./format.js";
import { cividisCss, inkOn } from "./palette.js";

const WIDE = 62;
const TALL = 26;
const LEFT = 112;
const RIGHT = 86;
const MOST_CHARACTERS = 8;

/** @typedef {{back: SVGRectElement, text: SVGTextElement, row: number, t: number}} Cell */

/** @param {string} token */
const shortToken = (token) => cut(visibleToken(token), MOST_CHARACTERS);
/** @param {number} row */
const rowName = (row) => (row === 0 ? "embedding" : `after layer ${row}`);
/** @param {ProbeWithLens} probe @param {number} row @param {number} t */
const likeliest = ({ lens_words, lens_top }, row, t) => lens_words[lens_top[row][t][0]];

/**
 * @param {HTMLElement} place
 * @param {Side} side
 * @returns {View}
 */
export function lens(place, side) {
  const scroll = scroller("pg-lens-scroll", "the logit lens");
  const scale = h(
    "div",
    { class: "pg-scale" },
    h("span", {}, "probability of the right token 0"),
    h("span", { class: "pg-ramp" }),
    h("span", {}, "1"),
  );
  place.append(scroll, scale);
  let built = "";
  /** @type {Cell[]} */
  let cells = [];
  /** @type {SVGTextElement[]} */
  let losses = [];
  const seen = () => /** @type {ProbeWithLens | null} */ (side.probe?.lens_top ? side.probe : null);

  /**
   * Rows: the layers, the last on top as the stream flows up to the answer; columns: the tokens.
   * @param {ProbeWithLens} probe
   */
  function build({ tokens, lens_top }) {
    const [T, S] = [tokens.length, lens_top.length];
    const width = LEFT + T * WIDE + RIGHT;
    const height = (S + 2) * TALL + 8;
    const svg = s("svg", {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      class: "pg-lens",
      role: "img",
      "aria-label": "the likeliest next token after each layer, at each token",
    });
    const top = (/** @type {number} */ row) => 4 + (S - row) * TALL; // row 0, the embedding, is the lowest
    const [answers, inputs, right] = [S, -1, LEFT + T * WIDE + 8];
    /** @param {number} x @param {number} row @param {string} text @param {string} look */
    function words(x, row, text, look) {
      const element = s("text", { x, y: top(row) + TALL / 2, class: look }, text);
      svg.append(element);
      return element;
    }
    words(LEFT - 8, answers, "right answer", "pg-lens-name");
    words(LEFT - 8, inputs, "token read", "pg-lens-name");
    words(right, answers, "loss, nats", "pg-lens-loss");
    tokens.forEach((token, t) => {
      const middle = LEFT + (t + 0.5) * WIDE;
      words(middle, inputs, shortToken(token), "pg-lens-token");
      words(middle, answers, t + 1 < T ? shortToken(tokens[t + 1]) : "", "pg-lens-token pg-lens-right");
    });
    [cells, losses] = [[], []];
    for (let row = 0; row < S; row++) {
      words(LEFT - 8, row, rowName(row), "pg-lens-name");
      losses.push(words(right, row, "", "pg-lens-loss"));
      for (let t = 0; t < T; t++) {
        const group = cell(row, t);
        group.setAttribute("transform", `translate(${LEFT + t * WIDE} ${top(row)})`);
        svg.append(group);
      }
    }
    scroll.replaceChildren(svg);
  }
  /** @param {number} row @param {number} t */
  function cell(row, t) {
    const group = s("g", { class: "pg-lens-cell", "data-lens": `${row} ${t}` });
    const back = s("rect", { width: WIDE - 2, height: TALL - 2, rx: 4 });
    const text = s("text", { x: (WIDE - 2) / 2, y: (TALL - 2) / 2 });
    group.append(back, text);
    group.addEventListener("pointermove", (event) => {
      const probe = seen();
      if (probe) showTip(event, ...aboutCell(probe, row, t));
    });
    group.addEventListener("pointerleave", hideTip);
    cells.push({ back, text, row, t });
    return group;
  }

  return {
    draw() {
      const probe = seen();
      if (!probe) return;
      const now = probe.tokens.join("\u0000") + probe.lens_top.length;
      if (now !== built) build(probe);
      built = now;
      for (const { back, text, row, t } of cells) {
        const known = t + 1 < probe.tokens.length; // what the last token is followed by is not known
        const shade = known ? Math.sqrt(probe.lens_right[row][t]) : 0;
        back.style.fill = known ? cividisCss(shade) : "transparent";
        text.style.fill = known ? inkOn(shade) : "";
        text.textContent = shortToken(likeliest(probe, row, t));
      }
      const stages = Object.values(probe.values.lens_loss ?? {}).flat(2);
      losses.forEach((text, row) => (text.textContent = short(stages[row])));
    },
    table() {
      const heading = [
        "step",
        "after_layer",
        "position",
        "token_read",
        "likeliest",
        "probability",
        "right",
        "probability_of_right",
      ];
      const probe = seen();
      if (!probe) return [heading];
      const rows = cells.map(({ row, t }) => {
        const known = t + 1 < probe.tokens.length;
        return [
          probe.step,
          row,
          t + 1,
          probe.tokens[t],
          likeliest(probe, row, t),
          probe.lens_p[row][t][0],
          known ? probe.tokens[t + 1] : "",
          known ? probe.lens_right[row][t] : "",
        ];
      });
      return [heading, ...rows];
    },
  };
}

/** @param {ProbeWithLens} probe @param {number} row @param {number} t */
function aboutCell(probe, row, t) {
  const { tokens, lens_top, lens_words, lens_p, lens_right } = probe;
  const token = (/** @type {string} */ text) => h("code", {}, visibleToken(text));
  const odds = lens_top[row][t].flatMap((word, i) => [
    token(lens_words[word]),
    h("span", {}, lens_p[row][t][i].toFixed(3)),
  ]);
  const right =
    t + 1 < tokens.length
      ? [h("br"), "right would be ", token(tokens[t + 1]), `, probability ${lens_right[row][t].toFixed(3)}`]
      : [];
  return [`${rowName(row)}, having read `, token(tokens[t]), h("div", { class: "pg-odds" }, ...odds), ...right];
}

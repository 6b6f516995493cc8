/* The parts of a model in words, and bars over their values. */
/** @import { Graph, GraphNode } from "./diagram.js" */

import { columnUnder, h, hideTip, s, showTip } from "./dom.js";
import { number, short, visibleToken } from "./format.js";

/** @param {GraphNode} node */
const nodeName = ({ title }) => (title === "+" ? "stream after the addition" : title);

/**
 * A part in words: "LayerNorm (attention), layer 2".
 * @param {Graph} graph
 * @param {string} id
 * @param {number} layer
 */
export function nodeWords(graph, id, layer) {
  const node = graph.nodes.find((each) => each.id === id);
  if (!node) return id;
  const part = id.startsWith("attn.") ? " (attention)" : id.startsWith("mlp.") ? " (MLP)" : "";
  return `${nodeName(node)}${part}${node.in_block ? `, layer ${layer + 1}` : ""}`;
}

const [WIDE, TALL] = [360, 90];

/**
 * Bars over tokens or channels, with the value under the pointer.
 * @param {number[]} values
 * @param {string} unit
 * @param {string[] | null} tokens what the bars stand for, where they stand for tokens
 */
export function bars(values, unit, tokens = null) {
  const size = Math.max(...values.map(Math.abs), 1e-12);
  const svg = barDrawing(values, `${unit}, ${values.length} values up to ${short(size)}`);
  svg.addEventListener("pointermove", (event) => {
    const i = columnUnder(event, svg, values.length);
    const name = tokens ? h("code", {}, `${visibleToken(tokens[i])} `) : `${i + 1} of ${values.length}: `;
    showTip(event, name, `${short(values[i])} ${unit}`);
  });
  return withEnds(svg, `${short(Math.min(...values))} to ${short(Math.max(...values))} ${unit}`);
}

/**
 * How many values lie in each of equal intervals; the height is logarithmic.
 * @param {number[]} counts
 * @param {[low: number, high: number]} range
 */
export function histogram(counts, [low, high]) {
  const logs = counts.map((count) => Math.log10(1 + count));
  const step = (high - low) / counts.length;
  const svg = barDrawing(logs, `${counts.length} intervals from ${short(low)} to ${short(high)}`);
  svg.addEventListener("pointermove", (event) => {
    const i = columnUnder(event, svg, counts.length);
    const interval = `from ${short(low + i * step)} to ${short(low + (i + 1) * step)}`;
    showTip(event, `${number(counts[i])} activations ${interval}`);
  });
  return withEnds(svg, short(low), short(high));
}

/** @param {number[]} values @param {string} label */
function barDrawing(values, label) {
  const low = Math.min(0, ...values);
  const span = Math.max(...values, 0) - low || 1;
  const each = WIDE / values.length;
  const width = Math.max(0.6, each - (each > 3 ? 1 : 0));
  const svg = s("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, class: "pg-columns", role: "img", "aria-label": label });
  svg.append(
    ...values.map((v, i) => {
      const y = TALL - ((Math.max(v, 0) - low) / span) * TALL;
      return s("rect", { x: i * each, y, width, height: Math.max(0.8, (Math.abs(v) / span) * TALL) });
    }),
  );
  svg.addEventListener("pointerleave", hideTip);
  return svg;
}

/** @param {SVGSVGElement} svg @param {string[]} ends */
const withEnds = (svg, ...ends) =>
  h("div", {}, svg, h("div", { class: "pg-ends" }, ...ends.map((words) => h("span", {}, words))));

/* View of the Inside tab: the diagram with one quantity at each of its parts, layer by layer. */
/** @import { GraphNode } from "./diagram.js" */
/** @import { Shared, Side, View } from "./side.js" */
/** @import { Quantity, Scale, Value } from "./values.js" */

import { stackedDiagram } from "./diagram.js";
import { h, hideTip, s, scroller, showTip } from "./dom.js";
import { fits, short } from "./format.js";
import { nodeWords } from "./parts.js";
import { graphOf } from "./side.js";
import { entryOf, floorOf, meanOf } from "./values.js";
import { whyNoValues } from "./why.js";

const TALL = 32;
const GAP = 4;
/** At most so many points has the small line of a cell's past. */
const HISTORY = 60;

/**
 * @typedef {{
 *   group: SVGGElement, back: SVGRectElement, text: SVGTextElement, history: SVGPathElement, parts: SVGGElement,
 *   wide: number, node: GraphNode, layer: number,
 * }} Cell
 */

/**
 * @param {HTMLElement} place
 * @param {Side} side
 * @param {Shared} shared
 * @returns {View}
 */
export function diagram(place, side, shared) {
  const scroll = scroller("pg-diagram-scroll", "the diagram");
  const legend = h("div", { class: "pg-scale" });
  place.append(scroll, legend);
  /** @type {Cell[]} */
  let cells = [];
  let built = "";

  function build() {
    const graph = graphOf(side);
    const drawing = stackedDiagram(graph);
    const { svg } = drawing;
    const n = graph.n_layer;
    const wide = Math.max(46, Math.min(92, 560 / n));
    const left = drawing.width + 4;
    const width = left + n * (wide + GAP) + 4;
    const top = 20;
    const at = (/** @type {number} */ layer) => left + layer * (wide + GAP);
    svg.setAttribute("viewBox", `0 ${-top} ${width} ${drawing.height + top}`);
    svg.style.minWidth = `${Math.round(width * 0.55)}px`;
    svg.style.maxWidth = `${width}px`;
    svg.style.maxHeight = "none";
    if (drawing.first !== null) {
      for (let layer = 0; layer < n; layer++) {
        const where = { x: at(layer) + wide / 2, y: drawing.first - 13, class: "pg-cell-head" };
        svg.append(s("text", where, n > 8 ? `${layer + 1}` : `layer ${layer + 1}`));
      }
    }
    cells = [];
    for (const node of graph.nodes) {
      const y = (drawing.place.get(node.id)?.middle ?? 0) - TALL / 2;
      for (let layer = 0; layer < (node.in_block ? n : 1); layer++) {
        const made = cell(node, layer, wide);
        made.group.setAttribute("transform", `translate(${at(layer)} ${y})`);
        svg.append(made.group);
        cells.push(made);
      }
      const choose = () => shared.choose({ side, node: node.id, layer: 0, kind: node.kind });
      svg.querySelector(`[data-node="${CSS.escape(node.id)}"]`)?.addEventListener("click", choose);
    }
    scroll.replaceChildren(svg);
  }

  /**
   * @param {GraphNode} node
   * @param {number} layer
   * @param {number} wide
   * @returns {Cell}
   */
  function cell(node, layer, wide) {
    const group = s("g", { class: "pg-cell", tabindex: "0", role: "button", "data-cell": `${node.id} ${layer}` });
    const back = s("rect", { width: wide, height: TALL, rx: 5 });
    const text = s("text", { x: wide / 2, y: 11 });
    const history = s("path", { class: "pg-cell-history" });
    const parts = s("g");
    const choose = () => shared.choose({ side, node: node.id, layer, kind: node.kind });
    group.append(back, parts, history, text);
    group.addEventListener("click", choose);
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    });
    group.addEventListener("pointermove", (event) => tell(event, node, layer));
    group.addEventListener("pointerleave", hideTip);
    return { group, back, text, history, parts, wide, node, layer };
  }

  /**
   * @param {PointerEvent} event
   * @param {GraphNode} node
   * @param {number} layer
   */
  function tell(event, node, layer) {
    const quantity = shared.quantities[shared.quantity];
    const entry = entryOf(side.probe?.values, quantity.name, node.id, layer);
    if (entry === null) {
      hideTip();
      return;
    }
    const graph = graphOf(side);
    const name = (/** @type {number} */ i) =>
      quantity.per === "head" ? `head ${i + 1}` : `${graph.quantiles[i] * 100}%`;
    const said = Array.isArray(entry) ? entry.map((v, i) => `${name(i)}: ${short(v)}`).join(", ") : short(entry);
    const words = `${quantity.label}: ${said} ${quantity.unit}`;
    showTip(event, h("strong", {}, nodeWords(graph, node.id, layer)), h("br"), words);
  }

  /**
   * The values of a cell up to now, as places on the scale.
   * @param {Cell} cell
   * @param {Scale} scale
   */
  function past({ node, layer }, scale) {
    const recorded = side.run.series.probe;
    const step = side.probe?.step;
    if (!recorded || step === undefined) return [];
    const end = recorded.step.findLastIndex((each) => each <= step) + 1;
    const skip = Math.max(1, Math.ceil(end / HISTORY));
    const points = [];
    for (let i = 0; i < end; i += skip) {
      const value = meanOf(entryOf(recorded.values[i], shared.quantity, node.id, layer));
      if (value !== null) points.push(scale.at(value));
    }
    return points;
  }

  /**
   * @param {Cell} cell
   * @param {Scale} scale
   * @param {Quantity} quantity
   */
  function paint(cell, scale, quantity) {
    const { group, back, text, history, parts, wide, node, layer } = cell;
    const entry = entryOf(side.probe?.values, quantity.name, node.id, layer);
    group.style.display = entry === null ? "none" : "";
    if (entry === null) return;
    const { chosen } = shared;
    const isChosen = chosen?.side === side && chosen.node === node.id && chosen.layer === layer;
    const value = meanOf(entry);
    group.setAttribute("aria-label", `${nodeWords(graphOf(side), node.id, layer)}: ${short(value)} ${quantity.unit}`);
    group.classList.toggle("pg-cell-chosen", isChosen);
    if (Array.isArray(entry)) {
      back.style.fill = text.style.fill = text.textContent = "";
      parts.replaceChildren(...(quantity.per === "head" ? headBars(entry, scale, wide) : box(entry, scale, wide)));
      history.setAttribute("d", "");
    } else {
      back.style.fill = scale.colour(value);
      text.style.fill = history.style.stroke = scale.ink(value);
      text.textContent = short(value);
      text.style.setProperty("--fits", fits(short(value), wide - 4));
      parts.replaceChildren();
      history.setAttribute("d", historyPath(past(cell, scale), wide));
    }
  }

  return {
    draw() {
      const key = JSON.stringify(graphOf(side).nodes.map(({ id }) => id)) + side.run.id;
      if (key !== built) build();
      built = key;
      if (!side.probe) return;
      const quantity = shared.quantities[shared.quantity];
      const scale = shared.range(quantity);
      for (const each of cells) paint(each, scale, quantity);
      legend.replaceChildren(...legendOf(side, quantity, scale));
    },
    table() {
      const { probe } = side;
      const rows = Object.entries(probe?.values[shared.quantity] ?? {}).flatMap(([node, layers]) =>
        layers.flatMap((entry, layer) =>
          [entry].flat().map((value, i) => {
            const index = Array.isArray(entry) ? i + 1 : "";
            return [probe?.step, shared.quantity, node, layer + 1, index, value];
          }),
        ),
      );
      return [["step", "quantity", "node", "layer", "index", "value"], ...rows];
    },
  };
}

/** @param {Value[]} entry @param {Scale} scale @param {number} wide */
function headBars(entry, scale, wide) {
  const each = (wide - 4) / entry.length;
  return entry.map((value, i) => {
    const height = scale.at(value) * (TALL - 4);
    return s("rect", {
      class: "pg-cell-bar",
      x: 2 + i * each,
      y: TALL - 2 - height,
      width: Math.max(1, each - 1),
      height: Math.max(1, height),
      style: `fill:${scale.colour(value)}`,
    });
  });
}

/**
 * A box plot of the seven quantiles: 5 to 95% as a line, 25 to 75% as a box, the median as a tick.
 * @param {Value[]} entry
 * @param {Scale} scale
 * @param {number} wide
 */
function box(entry, scale, wide) {
  const [, low, first, median, third, high] = entry.map((value) => 3 + scale.at(value) * (wide - 6));
  const middle = TALL / 2;
  const quartiles = { x: first, y: middle - 6, width: Math.max(1.5, third - first), height: 12 };
  return [
    s("path", { class: "pg-cell-box", d: `M${low} ${middle}H${high}` }),
    s("rect", { class: "pg-cell-quartiles", ...quartiles }),
    s("path", { class: "pg-cell-box", d: `M${median} ${middle - 8}v16` }),
  ];
}

/** @param {number[]} points @param {number} wide */
function historyPath(points, wide) {
  if (points.length < 2) return "";
  const step = (wide - 8) / (points.length - 1);
  return points.map((p, i) => `${i ? "L" : "M"}${(4 + i * step).toFixed(1)} ${(TALL - 4 - p * 9).toFixed(1)}`).join("");
}

/** @param {Side} side @param {Quantity} quantity @param {Scale} scale */
function legendOf(side, quantity, { low, high }) {
  const faint = (/** @type {string} */ words) => h("span", { class: "pg-faint" }, words);
  if (!side.probe?.values[quantity.name]) return [faint(whyNoValues(quantity, side))];
  if (quantity.per === "quantile") {
    const reach = `each cell reaches from ${short(low)} to ${short(high)} ${quantity.unit}`;
    return [faint(`box: 25 to 75%, line: 5 to 95%, tick: the median; ${reach}`)];
  }
  const colours = quantity.scale === "log" ? ", logarithmic colours" : "";
  const bars = quantity.per === "head" ? "; one bar per head" : "";
  const floor = floorOf(side.probe.values, quantity);
  const ends = [
    quantity.ceiling ? "; at the embedding: the ceiling" : "",
    floor === null ? "" : `; naming the commonest token, the floor: ${short(floor)}`,
  ].join("");
  return [
    h("span", {}, short(low)),
    h("span", { class: "pg-ramp" }),
    h("span", {}, short(high)),
    faint(`${quantity.unit}${colours}; the small line in a cell is its past${bars}${ends}`),
  ];
}

/* The picture of an architecture: nodes on one line from top to bottom, residual edges around on the right. */
/** @import { Quantity } from "./values.js" */

import { h, hideTip, s, showTip } from "./dom.js";
import { compact, fits, number } from "./format.js";

/**
 * @typedef {{
 *   id: string, title: string, kind: string, formula: string, in_block: boolean, lane: -1 | 0 | 1, params: number,
 *   flops: number, shape_in: string[], shape_out: string[], module: string,
 * }} GraphNode
 * @typedef {{
 *   nodes: GraphNode[], edges: {source: string, target: string, kind: string}[], n_layer: number, n_distinct: number,
 * }} Graph
 * @typedef {Graph & {
 *   n_head: number, formulas: string[], stream: [node: string, layer: number][], quantities: Quantity[],
 *   quantiles: number[], values: Record<string, string>,
 * }} RunGraph of a run: with what is measured at its nodes
 * @typedef {{x: number, top: number, bottom: number, middle: number}} Place
 * @typedef {{place: Map<string, Place>, first: number | null, last: number | null, height: number}} Arrangement
 */

/** @typedef {(node: GraphNode) => number} Room below the title of a part @type {Room} */
const NO_ROOM = () => 0;
const WIDTH = 444;
/** Right of the frame stands how often it is repeated. */
const FRAME = { x: 12, width: 380, rx: 10, class: "pg-frame" };
const CENTRE = 200;
const BOX = 250;
const NARROW = 158;
const TALL = 34;
const PLUS = 22;
const GAP = 18;
const SIDE = 372;
const LANES = { "-1": CENTRE - NARROW / 2 - 8, 0: CENTRE, 1: CENTRE + NARROW / 2 + 8 };

/**
 * Where each node lies, from top to bottom; lanes beside the main line start where they fork. `stacked` puts what is
 * computed side by side below each other, so that each node has a row of its own. `first` and `last` frame the
 * repeated block.
 * @param {Graph} graph
 * @param {boolean} stacked
 * @param {Room} room
 * @returns {Arrangement}
 */
function arrange(graph, stacked, room = NO_ROOM) {
  const place = new Map();
  /** @type {number | null} */
  let first = null;
  /** @type {number | null} */
  let last = null;
  /** @type {number | null} */
  let fork = null;
  /** @type {number | null} */
  let left = null;
  let y = 8;
  for (const node of graph.nodes) {
    if (node.in_block && first === null) {
      y += 12;
      first = y;
    }
    if (!node.in_block && first !== null && last === null) {
      last = y - GAP + 10;
      y += 18;
    }
    if (node.lane === -1 && fork === null) fork = y;
    if (node.lane === 1 && left === null && !stacked) {
      left = y;
      y = fork ?? y;
    }
    if (node.lane === 0 && left !== null) {
      y = Math.max(y, left);
      fork = left = null;
    }
    const height = node.kind === "add" ? PLUS : TALL + room(node);
    place.set(node.id, { x: LANES[node.lane], top: y, bottom: y + height, middle: y + height / 2 });
    y += height + GAP;
  }
  return { place, first, last, height: y - GAP + 8 };
}

/**
 * For panels that put something beside the nodes: the drawing, where each node lies in it, and its size.
 * @param {Graph} graph
 */
export const stackedDiagram = (graph) => ({ svg: diagram(graph, null, true), ...arrange(graph, true), width: WIDTH });

/** How tall the row of cells is that a part can hold. */
export const CELL = 16;

/**
 * The drawing with room in some parts for a row of cells, and where that row lies. An addition has it on its left.
 * @param {Graph} graph
 * @param {(node: GraphNode) => boolean} hasRow
 * @returns {{svg: SVGSVGElement, rowOf: (node: GraphNode) => {x: number, y: number, width: number}}}
 */
export function diagramWithRows(graph, hasRow) {
  const room = (/** @type {GraphNode} */ node) => (hasRow(node) ? CELL : 0);
  const arrangement = arrange(graph, false, room);
  /** @param {GraphNode} node */
  function rowOf(node) {
    const { x, top, middle } = placeOf(arrangement, node.id);
    if (node.kind === "add") return { x: FRAME.x + 8, y: middle - CELL / 2, width: x - PLUS / 2 - FRAME.x - 14 };
    const width = node.lane ? NARROW : BOX;
    return { x: x - width / 2 + 5, y: top + TALL - 5, width: width - 10 };
  }
  return { svg: diagram(graph, null, false, room), rowOf };
}

/**
 * @param {Graph} graph
 * @param {Graph | null} other nodes that differ from this second graph are marked
 * @param {boolean} stacked
 * @param {Room} room
 */
export function diagram(graph, other = null, stacked = false, room = NO_ROOM) {
  const arrangement = arrange(graph, stacked, room);
  const svg = s("svg", {
    viewBox: `0 0 ${WIDTH} ${arrangement.height}`,
    class: "pg-graph",
    role: "group",
    "aria-label": "the architecture, from tokens at the top to the head at the bottom",
  });
  const arrow = `pg-arrow-${++drawings}`; // of its own: one inside a drawing that is not shown would not be drawn
  svg.append(arrowHead(arrow), ...frame(graph, arrangement));
  for (const { source, target, kind } of graph.edges) {
    const [from, to] = [placeOf(arrangement, source), placeOf(arrangement, target)];
    const look = kind === "residual" ? "pg-edge pg-residual" : "pg-edge";
    const d = kind === "residual" ? aroundRight(from, to) : straight(from, to);
    svg.append(s("path", { d, class: look, "marker-end": `url(#${arrow})` }));
  }
  const theirs = other && new Set(other.nodes.map(signature));
  for (const node of graph.nodes) {
    const differs = Boolean(theirs) && !theirs?.has(signature(node));
    svg.append(shape(node, placeOf(arrangement, node.id), differs));
  }
  return svg;
}

/** @param {Arrangement} arrangement @param {string} id */
const placeOf = ({ place }, id) => /** @type {Place} */ (place.get(id));

/** @param {GraphNode} node */
const signature = (node) => [node.id, node.title, node.formula, node.lane].join("|");

let drawings = 0;

/** @param {string} id */
function arrowHead(id) {
  const box = { viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6 };
  const arrow = s("marker", { id, ...box, orient: "auto" });
  arrow.append(s("path", { d: "M0 0 8 4 0 8z", class: "pg-arrow" }));
  const defs = s("defs");
  defs.append(arrow);
  return defs;
}

/**
 * The repeated block, and how often it is repeated.
 * @param {Graph} graph
 * @param {Arrangement} arrangement
 */
function frame({ n_layer, n_distinct }, { first, last }) {
  if (first === null || last === null) return [];
  const times = `× ${n_layer}`;
  const room = WIDTH - FRAME.x - FRAME.width - 8;
  const beside = { x: WIDTH - 2, y: (first + last) / 2, class: "pg-times", style: `--fits: ${fits(times, room)}` };
  const shared = s("text", { x: CENTRE, y: last + 15, class: "pg-note" }, "every layer uses the same weights");
  return [
    s("rect", { ...FRAME, y: first - 16, height: last - first + 20 }),
    s("text", beside, times),
    ...(n_distinct === n_layer ? [] : [shared]),
  ];
}

/** @param {Place} a @param {Place} b */
function aroundRight(a, b) {
  const from = a.bottom + GAP * 0.4;
  const out = `M${a.x} ${from} H${SIDE - 8} Q${SIDE} ${from} ${SIDE} ${from + 8}`;
  return `${out} V${b.middle - 8} Q${SIDE} ${b.middle} ${SIDE - 8} ${b.middle} H${b.x + PLUS / 2 + 2}`;
}

/**
 * Down, into an addition from the side, or over to another lane.
 * @param {Place} a
 * @param {Place} b
 */
function straight(a, b) {
  if (a.x === b.x) return `M${a.x} ${a.bottom} V${b.top}`;
  if (b.x === CENTRE) return `M${a.x} ${a.bottom} V${b.middle} H${b.x + Math.sign(a.x - b.x) * (PLUS / 2 + 2)}`;
  return `M${a.x} ${a.bottom} V${a.bottom + GAP * 0.4} H${b.x} V${b.top}`;
}

/** @param {GraphNode} node @param {Place} place @param {boolean} differs */
function shape(node, { x, top, bottom, middle }, differs) {
  const look = `pg-node pg-node-${node.kind}${differs ? " pg-differs" : ""}`;
  const group = s("g", {
    class: look,
    tabindex: "0",
    role: "button",
    "aria-label": nameOf(node),
    "data-node": node.id,
  });
  const width = node.lane ? NARROW : BOX;
  if (node.kind === "add") {
    const cross = `M${x - 6} ${middle}h12M${x} ${middle - 6}v12`;
    group.append(s("circle", { cx: x, cy: middle, r: PLUS / 2 }), s("path", { d: cross }));
  } else {
    const box = s("rect", { x: x - width / 2, y: top, width, height: bottom - top, rx: 7 });
    group.append(
      box,
      s(
        "text",
        { x, y: top + TALL / 2 + 1 - (bottom - top - TALL) / 4, style: `--fits: ${fits(node.title, width - 12)}` },
        node.title,
      ),
    );
  }
  /** @param {{clientX: number, clientY: number}} at */
  const tell = (at) => showTip(at, ...aboutNode(node));
  group.addEventListener("pointermove", tell);
  group.addEventListener("pointerleave", hideTip);
  group.addEventListener("focus", () => {
    const { right, top } = group.getBoundingClientRect();
    tell({ clientX: right, clientY: top });
  });
  group.addEventListener("blur", hideTip);
  return group;
}

/** @param {GraphNode} node */
const nameOf = ({ title }) => (title === "+" ? "residual addition" : title);

/** @param {GraphNode} node */
function aboutNode(node) {
  const dims = (/** @type {string[]} */ shape) => `(${shape.join(", ")})`;
  const params = node.params ? `${number(node.params)} parameters` : "no parameters";
  const flops = node.flops ? `, ${compact(node.flops)}FLOP per token` : "";
  return [
    h("strong", {}, nameOf(node)),
    h("br"),
    h("code", {}, node.formula),
    h("br"),
    `${dims(node.shape_in)} to ${dims(node.shape_out)}`,
    h("br"),
    `${params}${flops}${node.in_block ? ", in each block" : ""}`,
  ];
}

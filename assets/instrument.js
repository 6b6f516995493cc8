/* The drawing of an architecture as an instrument: in each part a row of cells, one per layer, with what was last measured there. */
/** @import { GraphNode, RunGraph } from "./diagram.js" */
/** @import { Run } from "./series.js" */
/** @import { Quantity, Scale, Values } from "./values.js" */

import { CELL, diagramWithRows } from "./diagram.js";
import { h, hideTip, s, select, showTip } from "./dom.js";
import { fits, number, short } from "./format.js";
import { nodeWords } from "./parts.js";
import { entryOf, extremes, meanOf, numbersOf, scaleOf } from "./values.js";

/** A cell as wide as this holds its number. */
const READABLE = 34;
const GAP = 2;

/** @typedef {{group: SVGGElement, back: SVGRectElement, text: SVGTextElement, node: GraphNode, layer: number, width: number}} Cell */

/** Which quantities were chosen last, also for the next run. @type {Record<string, string>} */
const chosen = { stream: "stream_rms", parts: "sublayer_share" };

/**
 * The stream shows one quantity at each of its places, attention and MLP another one in theirs.
 * @param {RunGraph} graph
 * @param {Run} run
 */
export function instrument(graph, run) {
  const places = new Set(graph.stream.map(([node]) => node));
  const isStream = (/** @type {GraphNode} */ { id }) => places.has(id);
  const isPart = (/** @type {GraphNode} */ { id, kind }) => !places.has(id) && (kind === "attention" || kind === "mlp");
  const { svg, rowOf } = diagramWithRows(graph, (node) => isStream(node) || isPart(node));
  /** @param {string} name @param {(node: GraphNode) => boolean} holds @param {Quantity[]} quantities */
  function channel(name, holds, quantities) {
    const nodes = graph.nodes.filter(holds);
    const cells = nodes.flatMap((node) => cellsOf(node, node.in_block ? graph.n_layer : 1, rowOf(node)));
    svg.append(...cells.map(({ group }) => group));
    return cells.length ? [channelOf(name, cells, quantities, graph, run)] : [];
  }
  // Of quantities with seven quantiles at each place the picture of Inside shows more than one number.
  const measured = graph.quantities.filter(({ per }) => per !== "quantile");
  const channels = [
    ...channel(
      "stream",
      isStream,
      measured.filter(({ where }) => where === "stream"),
    ),
    ...channel(
      "parts",
      isPart,
      measured.filter(({ where }) => where !== "stream" && where !== "model"),
    ),
  ];
  const when = h("span", { class: "pg-when" });
  function draw() {
    const step = run.series.probe?.step.at(-1);
    when.textContent = step === undefined ? "waiting for the first look" : `step ${number(step)}, layer 1 on the left`;
    for (const each of channels) each.draw();
  }
  const tools = h("div", { class: "pg-instrument-tools" }, ...channels.flatMap(({ elements }) => elements), when);
  return { elements: [h("figure", {}, svg), tools], draw };
}

/**
 * @param {string} name
 * @param {Cell[]} cells
 * @param {Quantity[]} quantities
 * @param {RunGraph} graph
 * @param {Run} run
 */
function channelOf(name, cells, quantities, graph, run) {
  const groups = [...new Set(quantities.map(({ group }) => group))];
  const choice = select([], { id: `play-${name}`, "aria-label": `what the ${name} of the drawing shows` });
  for (const label of groups) {
    const members = quantities.filter(({ group }) => group === label);
    choice.append(h("optgroup", { label }, ...members.map((each) => h("option", { value: each.name }, each.label))));
  }
  choice.value = chosen[name];
  const quantity = () => /** @type {Quantity} */ (quantities.find((each) => each.name === choice.value));
  const newest = () => /** @type {Values | undefined} */ (run.series.probe?.values.at(-1));
  const legend = h("span", { class: "pg-scale" });
  function draw() {
    const scale = scaleSoFar(run, quantity());
    const shown = cells.filter((cell) => paint(cell, newest(), quantity(), scale)).length;
    legend.replaceChildren(...(shown ? ramp(scale, quantity()) : [nothing(newest() !== undefined)]));
  }
  choice.addEventListener("change", () => {
    chosen[name] = choice.value;
    draw();
  });
  for (const { group, node, layer } of cells) {
    group.addEventListener("pointermove", (event) => {
      const { label, unit } = quantity();
      const value = short(meanOf(entryOf(newest(), choice.value, node.id, layer)));
      showTip(event, h("strong", {}, nodeWords(graph, node.id, layer)), h("br"), `${label}: ${value} ${unit}`);
    });
    group.addEventListener("pointerleave", hideTip);
  }
  return { elements: [h("label", {}, `${name} `, choice), legend], draw };
}

/**
 * Over all that the run has recorded, so that colours do not jump.
 * @param {Run} run
 * @param {Quantity} quantity
 */
function scaleSoFar(run, quantity) {
  const all = (run.series.probe?.values ?? []).flatMap((values) => numbersOf(values[quantity.name]));
  return scaleOf(quantity, extremes(all, quantity.scale));
}

/**
 * @param {GraphNode} node
 * @param {number} n
 * @param {{x: number, y: number, width: number}} row
 * @returns {Cell[]}
 */
function cellsOf(node, n, { x, y, width: all }) {
  const gap = Math.min(GAP, all / n / 4);
  const width = all / n - gap;
  return Array.from({ length: n }, (_, layer) => {
    const group = s("g", { class: "pg-cell", transform: `translate(${x + layer * (width + gap)} ${y})` });
    const back = s("rect", { width, height: CELL, rx: 3 });
    const text = s("text", { x: width / 2, y: CELL / 2 + 0.5 });
    group.append(back, text);
    return { group, back, text, node, layer, width };
  });
}

/**
 * Whether the cell has something to show.
 * @param {Cell} cell
 * @param {Values | undefined} values
 * @param {Quantity} quantity
 * @param {Scale} scale
 */
function paint({ group, back, text, node, layer, width }, values, quantity, scale) {
  const value = meanOf(entryOf(values, quantity.name, node.id, layer));
  group.style.display = value === null ? "none" : "";
  if (value === null) return false;
  back.style.fill = scale.colour(value);
  text.style.fill = scale.ink(value);
  text.textContent = width < READABLE ? "" : short(value);
  text.style.setProperty("--fits", fits(short(value), width - 4));
  return true;
}

/** @param {Scale} scale @param {Quantity} quantity */
const ramp = ({ low, high }, { unit, scale, per }) => [
  h("span", {}, short(low)),
  h("span", { class: "pg-ramp pg-ramp-short" }),
  h("span", {}, `${short(high)} ${unit}${scale === "log" ? ", log" : ""}${per === "head" ? ", mean of heads" : ""}`),
];

/** @param {boolean} looked */
const nothing = (looked) =>
  h("span", { class: "pg-faint" }, looked ? "Not measured at this step." : "It is filled in with the first look.");

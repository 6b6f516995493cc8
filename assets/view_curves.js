/* View of the Inside tab: one quantity over time, a line per layer. */
/** @import { GraphNode } from "./diagram.js" */
/** @import { Axis } from "./series.js" */
/** @import { Shared, Side, View } from "./side.js" */
/** @import { Quantity, Value, Values } from "./values.js" */

import { css, h, isDark, select } from "./dom.js";
import { layerColour, translucent } from "./palette.js";
import { nodeWords } from "./parts.js";
import { joinCursors, layout, placeLine, PLOT_CONFIG, plotly, plotPlace, plotRows } from "./plot.js";
import { along, AXES, indexUpTo, smoothed } from "./series.js";
import { graphOf } from "./side.js";
import { axisRange, entryOf, floorOf } from "./values.js";
import { messageOf } from "./net.js";
import { whyNoValues } from "./why.js";

/** Nodes of a block share the colour of their layer and differ in their dashes. */
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];

/**
 * @param {HTMLElement} place
 * @param {Side} side
 * @param {Shared} shared
 * @returns {View}
 */
export function curves(place, side, shared) {
  const plot = plotPlace("pg-plot-big");
  const legend = h("div", { class: "pg-legend" });
  const tools = curveTools(shared);
  let chain = Promise.resolve();
  place.append(tools.element, plot, legend);

  function draw() {
    const quantity = shared.quantities[shared.quantity];
    const log = shared.logY ?? quantity.scale === "log";
    const recorded = side.run.series.probe;
    const rows = recorded?.values ?? [];
    tools.show(graphOf(side).n_layer, quantity, log);
    const has = recorded && rows.some((row) => row[quantity.name]);
    plot.hidden = !has;
    if (!has) {
      const words = recorded && side.probe ? whyNoValues(quantity, side) : "Nothing recorded yet.";
      legend.replaceChildren(h("span", { class: "pg-no-mark" }, words));
      return;
    }
    const x = along(side.run, recorded, shared.axis);
    const changes = x.filter((_, i) => i > 0 && recorded.text_hash[i] !== recorded.text_hash[i - 1]);
    const dotted = { dash: "dot", width: 1, color: css("--body-text-color-subdued") };
    const shapes = changes.map((at) => placeLine(at, dotted));
    if (shared.step !== null && side.probe) {
      const now = x[indexUpTo(recorded.step, side.probe.step)];
      shapes.push(placeLine(now, { width: 1.5, color: css("--body-text-color") }));
    }
    const traces = tracesOf(side, shared, quantity, x);
    const look = layout({
      hovermode: "closest",
      xaxis: { title: { text: AXES[shared.axis] }, type: shared.logX ? "log" : "linear" },
      yaxis: {
        title: { text: quantity.unit },
        type: log ? "log" : "linear",
        range: axisRange(shared.range(quantity), log),
      },
      shapes,
      uirevision: `${quantity.name}${shared.axis}${log}${shared.logX}`,
    });
    chain = chain
      .then(plotly)
      .then((Plotly) => Plotly.react(plot, traces, look, PLOT_CONFIG))
      .then(() => joinCursors(plot, "inside"))
      .catch((error) => {
        plot.textContent = messageOf(error);
      });
    legend.replaceChildren(...legendOf(side, quantity, changes.length > 0));
  }
  return { draw, table: () => [["series", shared.axis, "value"], ...plotRows(plot).slice(1)] };
}

/**
 * What is chosen holds for both sides.
 * @param {Shared} shared
 */
function curveTools(shared) {
  const axis = select(Object.entries(AXES), { "aria-label": "horizontal axis" });
  const logX = h("input", { type: "checkbox" });
  const logY = h("input", { type: "checkbox" });
  const smooth = h("input", { type: "range", min: "0", max: "12", step: "1", "aria-label": "smoothing" });
  const layer = select([], { "aria-label": "layer" });
  const layerLabel = h("label", {}, "layer ", layer);
  const element = h(
    "div",
    { class: "pg-tools pg-curve-tools" },
    layerLabel,
    h("label", {}, "smoothing ", smooth),
    h("label", {}, logX, " log x"),
    h("label", {}, logY, " log y"),
    h("label", {}, "over ", axis),
  );
  /** @param {HTMLElement} tool @param {string} event @param {() => void} change */
  function on(tool, event, change) {
    tool.addEventListener(event, () => {
      change();
      shared.redraw();
    });
  }
  on(axis, "change", () => (shared.axis = /** @type {Axis} */ (axis.value)));
  on(logX, "change", () => (shared.logX = logX.checked));
  on(logY, "change", () => (shared.logY = logY.checked));
  on(smooth, "input", () => (shared.smooth = Number(smooth.value)));
  on(layer, "change", () => (shared.layer = Number(layer.value)));

  /** @param {number} n @param {Quantity} quantity @param {boolean} log */
  function show(n, quantity, log) {
    axis.value = shared.axis;
    logX.checked = shared.logX;
    logY.checked = log;
    smooth.value = String(shared.smooth);
    layerLabel.hidden = quantity.per !== "quantile";
    if (layer.childElementCount !== n) {
      layer.replaceChildren(...Array.from({ length: n }, (_, i) => h("option", { value: i }, String(i + 1))));
    }
    layer.value = String(Math.min(shared.layer, n - 1));
  }
  return { element, show };
}

/**
 * The nodes of which this quantity was recorded.
 * @param {Side} side
 * @param {Quantity} quantity
 */
function nodesOf(side, quantity) {
  /** @type {Values[]} */
  const rows = side.run.series.probe?.values ?? [];
  const found = new Set(rows.flatMap((row) => Object.keys(row[quantity.name] ?? {})));
  return graphOf(side).nodes.filter(({ id }) => found.has(id));
}

/** @param {Side} side @param {Quantity} quantity @param {boolean} changed the probe text was another one before */
function legendOf(side, quantity, changed) {
  const plain = (/** @type {string} */ words) => h("span", { class: "pg-no-mark" }, words);
  const n = graphOf(side).n_layer;
  const layers = Array.from({ length: n }, (_, i) =>
    h("span", { style: `--c:${layerColour(i, n, isDark())}` }, `layer ${i + 1}`),
  );
  const marks =
    quantity.per === "quantile"
      ? [plain("Line: the median. Bands: 25 to 75%, 5 to 95%, 1 to 99% of the activations.")]
      : [...layers, ...levelsOf(side, quantity), ...dashWords(side, quantity).map(plain)];
  return changed ? [...marks, plain("Dotted: another probe text from here on.")] : marks;
}

/**
 * The grey lines: what stands in no layer, and what is reached where nothing is there to be read.
 * @param {Side} side
 * @param {Quantity} quantity
 */
function levelsOf(side, quantity) {
  const style = "--c:var(--body-text-color-subdued)";
  const alone = nodesOf(side, quantity).filter((node) => !node.in_block);
  const ceiling = quantity.ceiling ? ": the ceiling" : "";
  const words = alone.map(({ id }) => nodeWords(graphOf(side), id, 0)).join(", ");
  const floor = shownFloor(quantity, side.run.series.probe?.values ?? []);
  return [
    alone.length ? h("span", { style }, `${words}${ceiling}`) : null,
    floor ? h("span", { class: "pg-dotted", style }, `${FLOOR}: the floor`) : null,
  ].filter((mark) => mark !== null);
}

const FLOOR = "naming the commonest token";

/** @param {Quantity} quantity @param {Values[]} rows */
function shownFloor(quantity, rows) {
  const y = rows.map((row) => floorOf(row, quantity));
  return y.some((value) => value !== null) ? y : null;
}

/** @param {Side} side @param {Quantity} quantity */
function dashWords(side, quantity) {
  const nodes = nodesOf(side, quantity).filter((node) => node.in_block);
  if (nodes.length < 2) return [];
  return [nodes.map((node, i) => `${DASHES[i % DASHES.length]}: ${partWords(node)}`).join(", ")];
}
/** @param {GraphNode} node */
function partWords({ id, kind }) {
  const part = id.startsWith("attn") ? "attention" : id.startsWith("mlp") ? "MLP" : "block";
  return `${kind === "norm" ? "norm of " : kind === "add" ? "after " : ""}${part}`;
}

/**
 * A line per node, layer and head.
 * @param {Side} side
 * @param {Shared} shared
 * @param {Quantity} quantity
 * @param {number[]} x
 */
function tracesOf(side, shared, quantity, x) {
  /** @type {Values[]} */
  const rows = side.run.series.probe?.values ?? [];
  const steps = side.run.series.probe?.step ?? [];
  const calm = (/** @type {(number | null)[]} */ values) => smoothed(steps, values, shared.smooth);
  const graph = graphOf(side);
  const n = graph.n_layer;
  if (quantity.per === "quantile") return bands(rows, quantity, x, Math.min(shared.layer, n - 1), calm);
  const nodes = nodesOf(side, quantity);
  const inBlock = nodes.filter((node) => node.in_block);
  const { chosen } = shared;
  const traces = [];
  for (const node of nodes) {
    const dash = DASHES[Math.max(0, inBlock.indexOf(node)) % DASHES.length];
    for (let layer = 0; layer < (node.in_block ? n : 1); layer++) {
      const entries = rows.map((row) => entryOf(row, quantity.name, node.id, layer));
      const heads = Math.max(...entries.map((entry) => (Array.isArray(entry) ? entry.length : 0)));
      const isChosen = chosen?.side === side && chosen.node === node.id && chosen.layer === layer;
      const color = node.in_block ? layerColour(layer, n, isDark()) : css("--body-text-color-subdued");
      const line = { color, width: isChosen ? 4 : 1.9, dash };
      for (let head = 0; head < Math.max(1, heads); head++) {
        const values = entries.map((entry) => (Array.isArray(entry) ? (entry[head] ?? null) : entry));
        const y = calm(values);
        if (y.every((value) => value === null)) continue;
        const name = `${nodeWords(graph, node.id, layer)}${heads ? `, head ${head + 1}` : ""}`;
        const hovertemplate = `${name}: %{y:.3g}<extra></extra>`;
        const look = quantity.seldom ? { mode: "lines+markers", connectgaps: true } : { mode: "lines" };
        traces.push({ type: "scatter", ...look, name, x, y, line, hovertemplate });
      }
    }
  }
  const floor = shownFloor(quantity, rows);
  if (floor) {
    const line = { color: css("--body-text-color-subdued"), width: 1.9, dash: "dot" };
    const hovertemplate = `${FLOOR}: %{y:.3g}<extra></extra>`;
    traces.push({ type: "scatter", mode: "lines", connectgaps: true, name: FLOOR, x, y: floor, line, hovertemplate });
  }
  return traces;
}

/**
 * The quantiles of one layer as bands around their median.
 * @param {Values[]} rows
 * @param {Quantity} quantity
 * @param {number[]} x
 * @param {number} layer
 * @param {(values: (number | null)[]) => (number | null)[]} calm
 */
function bands(rows, quantity, x, layer, calm) {
  const colour = css("--pg-quantiles");
  /** @param {number} i */
  function quantile(i) {
    const entries = rows.map((row) => entryOf(row, quantity.name, "mlp", layer));
    const values = entries.map((entry) => /** @type {Value} */ (Array.isArray(entry) ? (entry[i] ?? null) : null));
    return calm(values);
  }
  const edge = { type: "scatter", mode: "lines", x, line: { width: 0 }, hoverinfo: "skip" };
  const band = (/** @type {number} */ low, /** @type {number} */ high, /** @type {number} */ opacity) => [
    { ...edge, y: quantile(low), name: `${layer + 1} low` },
    { ...edge, y: quantile(high), name: `${layer + 1} high`, fill: "tonexty", fillcolor: translucent(colour, opacity) },
  ];
  const median = {
    type: "scatter",
    mode: "lines",
    x,
    y: quantile(3),
    name: "median",
    line: { color: colour, width: 2.2 },
    hovertemplate: "median: %{y:.3g}<extra></extra>",
  };
  return [...band(0, 6, 0.14), ...band(1, 5, 0.2), ...band(2, 4, 0.32), median];
}

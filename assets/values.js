/* The measured values of one probe or of a whole run: looking them up, and their scale. Knows no document. */
/** @import { Maybe } from "./format.js" */

import { cividisCss, inkOn } from "./palette.js";

/** @typedef {number | null} Value */
/** @typedef {Value | Value[]} Entry one value, or one per head or quantile */
/** @typedef {Record<string, Entry[]>} ByNode a value for each layer of each node */
/** @typedef {Record<string, ByNode | undefined>} Values by quantity */
/**
 * What is measured, as the server describes it.
 * @typedef {{
 *   name: string, label: string, group: string, unit: string, help: string, formula: string, paper: string,
 *   where: string, per: string, scale: "log" | "linear", top: number | null, decisive: number | null, seldom: boolean,
 *   floor: string, ceiling: boolean,
 * }} Quantity `floor` names the quantity that says what is reached where nothing is there to be read
 */
/**
 * @typedef {{
 *   low: number, high: number, at: (value: Maybe) => number,
 *   colour: (value: Maybe) => string, ink: (value: Maybe) => string,
 * }} Scale from values to 0 … 1 and to colours
 */

/**
 * @param {Values | undefined} values
 * @param {string} quantity
 * @param {string} node
 * @param {number} layer
 * @returns {Entry}
 */
export const entryOf = (values, quantity, node, layer) => values?.[quantity]?.[node]?.[layer] ?? null;

/**
 * What a quantity reaches where nothing is there to be read: the one value of its floor.
 * @param {Values | undefined} values
 * @param {Pick<Quantity, "floor">} quantity
 * @returns {Value}
 */
export function floorOf(values, { floor }) {
  const [value] = floor ? numbersOf(values?.[floor]) : [];
  return value ?? null;
}

/**
 * The mean over heads; a missing one counts as 0.
 * @param {Entry} entry
 * @returns {Value}
 */
export function meanOf(entry) {
  if (!Array.isArray(entry)) return entry;
  const sum = entry.reduce((/** @type {number} */ all, each) => all + (each ?? 0), 0);
  return sum / Math.max(1, entry.length);
}

/**
 * @param {ByNode | undefined} nodes
 * @returns {Value[]}
 */
export const numbersOf = (nodes) => (nodes ? Object.values(nodes).flat(2) : []);

/**
 * Whether a value has a place on a scale.
 * @param {Maybe} value
 * @param {Quantity["scale"]} scale
 * @returns {value is number}
 */
const hasPlace = (value, scale) =>
  value !== null && value !== undefined && Number.isFinite(value) && (scale !== "log" || value > 0);

/**
 * The smallest and the largest value; none where there are none.
 * @param {Maybe[]} values
 * @param {Quantity["scale"]} scale
 * @returns {[] | [number, number]}
 */
export function extremes(values, scale) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!hasPlace(value, scale)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low <= high ? [low, high] : [];
}

/**
 * Logarithmic where ratios matter, from 0 to `top` where there is one.
 * @param {Pick<Quantity, "scale" | "top">} quantity
 * @param {Maybe[]} values
 * @returns {Scale}
 */
export function scaleOf({ scale, top }, values) {
  const log = scale === "log";
  const found = extremes(values, scale);
  let [low, high] = found.length ? found : [log ? 0.1 : 0, 1];
  if (found.length && top) [low, high] = [Math.min(0, low), top];
  const bend = log ? Math.log : (/** @type {number} */ v) => v;
  const from = bend(low);
  const to = bend(high);
  /** @param {Maybe} value */
  function at(value) {
    if (value === null || value === undefined || (log && value <= 0)) return 0;
    return to > from ? Math.max(0, Math.min(1, (bend(value) - from) / (to - from))) : 0.5;
  }
  return { low, high, at, colour: (value) => cividisCss(at(value)), ink: (value) => inkOn(at(value)) };
}

/** @typedef {{rows: Value[][], names: string[]}} Strip one row per probe, one value per place */

/**
 * The values of all places, in the order in which the stream passes them.
 * @param {Values[]} probes
 * @param {string} quantity
 * @returns {Strip}
 */
export function stripOf(probes, quantity) {
  const all = probes.map((values) => values[quantity] || {});
  const last = all.at(-1) || {};
  const places = Object.keys(last)
    .flatMap((node) => last[node].map((_, layer) => ({ node, layer, once: last[node].length === 1 })))
    .sort((x, y) => (x.once ? -1 : x.layer) - (y.once ? -1 : y.layer));
  const part = (/** @type {string} */ node) =>
    node.startsWith("attn") ? "attention" : node.startsWith("mlp") ? "MLP" : "block";
  return {
    rows: all.map((values) => places.map(({ node, layer }) => /** @type {Value} */ (values[node]?.[layer] ?? null))),
    names: places.map(({ node, layer }) => (/emb/.test(node) ? "embedding" : `layer ${layer + 1}, ${part(node)}`)),
  };
}

/**
 * The range of a plot's axis around a scale, with a little room; undefined where Plotly shall choose.
 * @param {Pick<Scale, "low" | "high">} scale
 * @param {boolean} log
 * @returns {[number, number] | undefined}
 */
export function axisRange({ low, high }, log) {
  if (!(low < high) || !Number.isFinite(low)) return undefined;
  if (!log) return [low - 0.04 * (high - low), high + 0.04 * (high - low)];
  return low > 0 ? [Math.log10(low) - 0.1, Math.log10(high) + 0.1] : undefined;
}

/**
 * Attention weights as bytes: of each layer and head the lower triangle, row by row.
 * @param {{maps: string, tokens: string[], n_head: number}} probe `maps` in base64
 */
export function readMaps({ maps, tokens, n_head }) {
  const bytes = Uint8Array.from(atob(maps), (c) => c.charCodeAt(0));
  const T = tokens.length;
  const size = (T * (T + 1)) / 2;
  /** @param {number} layer @param {number} head @param {number} query @param {number} key */
  const at = (layer, head, query, key) =>
    key > query ? 0 : bytes[(layer * n_head + head) * size + (query * (query + 1)) / 2 + key];
  return { T, at };
}

/**
 * What was seen inside a model at one step.
 * @typedef {{
 *   step: number, tokens: string[], values: Values, n_layer: number, n_head: number, maps?: string,
 *   stream_rms: number[][], grad_stream?: number[][], hidden_counts?: number[][],
 *   hidden_range: [low: number, high: number][], gains: Record<string, number[]>, lens_words: string[],
 *   lens_top?: number[][][], lens_p: number[][][], lens_right: number[][],
 * }} Probe `lens_top` are places in `lens_words`
 */
/** @typedef {Probe & {maps: string}} ProbeWithMaps */
/** @typedef {Probe & {lens_top: number[][][]}} ProbeWithLens */

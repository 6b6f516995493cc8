/* The arms of an experiment as figures: mean and spread over seeds, the words for values. Knows no document. */

import { duration, number, signed } from "./format.js";

/** @typedef {[steps: number[], values: (number | null)[]]} Curve of one run */
/** @typedef {{x: number[], mean: number[], low: number[], high: number[], n: number[]}} Spread */

/**
 * Mean and band of several runs at each step that any of them has reached. The band reaches from the least to the
 * largest value, or one standard error to either side of the mean (nothing where only one run is there).
 * @param {Curve[]} curves
 * @param {"range" | "error"} band
 * @returns {Spread}
 */
export function spread(curves, band) {
  /** @type {Map<number, number[]>} */
  const at = new Map();
  for (const [steps, values] of curves) {
    steps.forEach((step, i) => {
      const value = values[i];
      if (value === null || !Number.isFinite(value)) return;
      at.set(step, [...(at.get(step) ?? []), value]);
    });
  }
  /** @type {Spread} */
  const found = { x: [], mean: [], low: [], high: [], n: [] };
  for (const step of [...at.keys()].sort((a, b) => a - b)) {
    const values = at.get(step) ?? [];
    const mean = meanOf(values);
    const half = deviation(values) / Math.sqrt(values.length);
    found.x.push(step);
    found.mean.push(mean);
    found.low.push(band === "range" ? Math.min(...values) : mean - half);
    found.high.push(band === "range" ? Math.max(...values) : mean + half);
    found.n.push(values.length);
  }
  return found;
}

/** @param {number[]} values */
export const meanOf = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * The sample's standard deviation, 0 of a single value.
 * @param {number[]} values
 */
export function deviation(values) {
  if (values.length < 2) return 0;
  const mean = meanOf(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

/**
 * A value in its unit: losses with four decimals, shares in percent, steps whole.
 * @param {number} value
 * @param {string} unit
 */
export function valueText(value, unit) {
  if (unit === "steps") return number(value);
  return unit.startsWith("of the") ? `${number(100 * value, 1)}%` : number(value, 4);
}

/**
 * A difference in its unit, with its sign.
 * @param {number} value
 * @param {string} unit
 */
export function differenceText(value, unit) {
  if (unit === "steps") return `${value >= 0 ? "+" : "−"}${number(Math.abs(value))}`;
  if (unit.startsWith("of the")) return `${value >= 0 ? "+" : "−"}${number(100 * Math.abs(value), 1)} points`;
  return signed(value);
}

/**
 * How much an experiment is, and how long it takes.
 * @param {{
 *   arms: unknown[], seeds: number[], rates: number[], n_runs: number, seconds: number | null,
 *   stops_early?: boolean,
 * }} described
 */
export function sizeText({ arms, seeds, rates, n_runs, seconds, stops_early }) {
  const tuned = rates.length ? `, ${rates.length} rates tried for each` : "";
  const time = seconds === null ? "its time here is being measured" : `about ${duration(seconds)} here`;
  const most = stops_early ? "at most " : "";
  return `${arms.length} arms × ${seeds.length} seed${seeds.length === 1 ? "" : "s"}${tuned}: ${most}${n_runs} runs, ${time}`;
}

/**
 * The scale of a chart of differences: symmetric about zero, with room for everything that is drawn.
 * @param {(number | null)[]} values
 */
export function reachOf(values) {
  const sizes = values.flatMap((value) => (value === null || !Number.isFinite(value) ? [] : [Math.abs(value)]));
  return Math.max(...sizes, 0) * 1.12 || 1;
}

/**
 * Text with commas between as the values of a setting: numbers, switches or words.
 * @param {string} text
 * @param {string} kind of the setting
 * @returns {(string | number | boolean)[]}
 */
export function valuesOf(text, kind) {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  if (kind === "bool") return parts.map((part) => /^(on|true|yes|1)$/i.test(part));
  if (kind === "int" || kind === "float")
    return parts.map((part) => (Number.isFinite(Number(part)) ? Number(part) : part));
  return parts;
}

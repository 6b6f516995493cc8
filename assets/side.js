/* One run in the Inside tab, beside another or alone: what is fetched of it, and what it shares with all views. */
/** @import { RunGraph } from "./diagram.js" */
/** @import { FindingList } from "./findings.js" */
/** @import { Axis, Run } from "./series.js" */
/** @import { Maybe } from "./format.js" */
/** @import { Probe, Quantity, Scale } from "./values.js" */

import { get, messageOf, statusOf } from "./net.js";
import { extremes, numbersOf } from "./values.js";

/**
 * The steps that can be looked at; `recorded` those of the run's own text, else its checkpoints.
 * @typedef {{
 *   text: string | null, hash: string, recorded: boolean, steps: number[], budget_mb: number,
 *   busy: {share: number | null, words: string} | null,
 * }} Listing
 * @typedef {{draw: () => void, table: () => unknown[][], picture?: () => HTMLCanvasElement}} View
 * @typedef {(place: HTMLElement, side: Side, shared: Shared) => View} ViewKind
 * @typedef {{title: HTMLElement, answer: HTMLElement, place: HTMLElement, words: HTMLElement}} Places of a side in the page
 * @typedef {{
 *   run: Run, graph: RunGraph | null, listing: Listing | null, probe: Probe | null, text: string, off: Set<string>,
 *   problem: string, listed: string, shown: string, busy: boolean, again: boolean, view: View | null, made: string,
 *   places: Places | null, findings: FindingList | null, extremes: Record<string, {key: string, ends: number[]}>,
 * }} Side `listed` and `shown` say what `listing` and `probe` were fetched for, `made` which view stands in its place
 * @typedef {{side: Side, node: string, layer: number, kind: string}} Chosen a part of a model
 * @typedef {{
 *   view: string, quantity: string, step: number | null, text: string, chosen: Chosen | null, axis: Axis,
 *   logX: boolean, logY: boolean | null, smooth: number, layer: number, score: string, sorted: boolean,
 *   head: {layer: number, head: number} | null, quantities: Record<string, Quantity>,
 *   choose: (chosen: Chosen | null) => void, redraw: (fetches?: boolean) => void,
 *   range: (quantity: Quantity) => Scale, sides: () => Side[],
 * }} Shared what sides and views share; a step of null is the newest
 */

const BUSY_MS = 800;
const FULL_MS = 1500;

/**
 * @param {Run} run
 * @returns {Side}
 */
export const newSide = (run) => ({
  run,
  graph: null,
  listing: null,
  probe: null,
  text: "",
  off: new Set(),
  problem: "",
  listed: "",
  shown: "",
  busy: false,
  again: false,
  view: null,
  made: "",
  places: null,
  findings: null,
  extremes: {},
});

/** @param {Side} side */
export const graphOf = (side) => /** @type {RunGraph} */ (side.graph);

/**
 * Fetch what a side shows and hasn't got yet. Returns after how long to ask again, where something is under way.
 * @param {Side} side
 * @param {() => {text: string, step: number | null, maps: boolean}} wanted asked again after each answer: it may
 *   change meanwhile
 * @returns {Promise<number | null>}
 */
export async function fetchSide(side, wanted) {
  const { run } = side;
  const base = `live/runs/${encodeURIComponent(run.id ?? "")}`;
  let retry = null;
  try {
    side.graph ??= await graphOfRun(run);
    const { text } = wanted();
    const words = text ? `text=${encodeURIComponent(text)}` : "";
    const checkpoints = text ? count(run, "checkpoint") : 0;
    const news = `${run.generation} ${text} ${run.status?.probe_text} ${count(run, "probe")} ${checkpoints}`;
    side.text = text;
    if (!side.listing || news !== side.listed || side.listing.busy) {
      side.listing = /** @type {Listing} */ (await get(`${base}/probes?${words}`));
      if (side.listing.busy) retry = BUSY_MS;
      side.listed = news;
    }
    const { step, maps } = wanted();
    const at = step === null ? "" : `&step=${step}`;
    const shown = `${at} ${text} ${step === null ? news : ""} ${side.listing.steps.length}`;
    if (shown !== side.shown || (maps && side.probe && side.probe.maps === undefined)) {
      const probe = await get(`${base}/probe?${words}${at}${maps ? "&maps=1" : ""}`);
      if (probe?.problem) throw new Error(probe.problem);
      side.probe = probe;
      side.shown = shown;
    }
    side.problem = side.probe ? "" : nothingYet(run);
  } catch (error) {
    const full = statusOf(error) === 503; // what is shown stays, and it is asked again
    if (full) retry = FULL_MS;
    if (!full || !side.probe) [side.problem, side.probe] = [messageOf(error), null];
    side.shown = "";
  }
  return retry;
}

/**
 * The architecture of a run, with what can be measured in it.
 * @param {Run} run
 * @returns {Promise<RunGraph>}
 */
export const graphOfRun = (run) => get(`live/runs/${encodeURIComponent(run.id ?? "")}/graph`);

/**
 * How much has been recorded of a kind.
 * @param {Run} run
 * @param {string} kind
 */
export const count = (run, kind) => run.series[kind]?.step.length ?? 0;

/** @param {Run} run */
const nothingYet = (run) =>
  run.status?.state === "queued"
    ? "This run waits in the queue; there is something to see from its first step."
    : "Nothing has been recorded yet; the first look comes with the first step.";

/**
 * The smallest and the largest value of a quantity in all that a run recorded, and the values of the probe that is
 * shown.
 * @param {Side} side
 * @param {Quantity} quantity
 * @returns {Maybe[]}
 */
export function valuesOf(side, { name, scale }) {
  const rows = side.run.series.probe?.values ?? [];
  const key = `${side.run.generation} ${rows.length}`;
  if (side.extremes[name]?.key !== key) {
    const all = rows.flatMap((row) => numbersOf(row[name]));
    side.extremes[name] = { key, ends: extremes(all, scale) };
  }
  return [...side.extremes[name].ends, ...(side.probe ? numbersOf(side.probe.values[name]) : [])];
}

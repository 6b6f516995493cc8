/* The columns of the table of runs: what a run is listed with, its settings among them, and which of them are shown.
   Knows no document. */
/** @import { Status } from "./series.js" */

import { compact, duration, number } from "./format.js";
import { shareDone, stateText } from "./status.js";

/**
 * `called`: its name, or in what it differs from the others where nobody named it. `knobs`: by path, in words, those in
 * which its config differs from the default; null where it cannot be read.
 * @typedef {Status & {
 *   called: string, mine: boolean, created_at: number, knobs: Record<string, string> | null, no_family: string,
 *   experiment: {id: string, title: string} | null,
 * }} Listed
 * @typedef {{path: string, label: string, unit: string, default: string, choices: Record<string, string>}} Knob
 */
/**
 * `value` is what it is sorted by, Infinity always last; `group` what it says of several runs; `names` what a search may
 * call it; `choices` the words of a setting's values; `basic`: shown always, on a phone too.
 * @typedef {{
 *   key: string, label: string, value: (run: Listed) => string | number, show: (run: Listed) => string, names: string[],
 *   group?: (runs: Listed[]) => string, unit?: string, right?: boolean, basic?: boolean, choices?: Record<string, string>,
 * }} Column
 */

/** @param {Listed} run */
const lossOf = (run) => run.val_loss ?? run.eval_loss;
/** @param {Listed} run */
const steps = (run) => (run.max_steps ? `${number(run.step)} of ${number(run.max_steps)}` : number(run.step));
/** @param {Listed} run */
const begun = (run) => new Date(run.created_at * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
/** @param {Listed} run */
const originText = ({ began_from: from }) =>
  from ? `← ${from.name}${from.step === null ? "" : `, step ${number(from.step)}`}` : "";
/** @param {Listed} run */
const inWords = (run) =>
  run.state === "running" ? `${stateText(run)}, ${Math.floor(100 * shareDone(run))}%` : stateText(run);
/** @param {Listed} run */
const whose = (run) => (run.mine ? (run.by ? `${run.by} (you)` : "you") : run.by || "–");

const NBSP = "\u00a0";
/**
 * Only losses of the same tokens have a mean.
 * @param {Listed[]} runs
 */
function meanLoss(runs) {
  if (new Set(runs.map((run) => `${run.source} ${run.vocab_size}`)).size > 1) return "of several texts";
  const losses = runs.map(lossOf).flatMap((loss) => (loss !== null && Number.isFinite(loss) ? [loss] : []));
  if (!losses.length) return "–";
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const spread =
    losses.length > 1 ? ` (${number(Math.min(...losses), 3)}${NBSP}to${NBSP}${number(Math.max(...losses), 3)})` : "";
  return `${number(mean, 3)}${spread}`;
}
/** @param {Listed[]} runs */
function endedText(runs) {
  const ended = runs.filter(({ state }) => ["finished", "diverged"].includes(state)).length;
  return ended === runs.length ? "all have ended" : `${number(ended)} of ${number(runs.length)} have ended`;
}
/** @param {Listed[]} runs */
const allOf = (runs) => (new Set(runs.map(whose)).size === 1 ? whose(runs[0]) : "several");

/** @type {Column} */
export const NAME = {
  key: "name",
  label: "run",
  names: ["name", "run"],
  basic: true,
  value: (r) => r.called.toLowerCase(),
  show: (r) => [r.called, r.private ? "(private)" : "", originText(r)].filter(Boolean).join(" "),
};
/** @type {Column[]} */
export const MEASURED = [
  {
    key: "val",
    label: "held-out loss",
    unit: "nats per token",
    names: ["loss", "val", "val_loss"],
    basic: true,
    right: true,
    value: (r) => lossOf(r) ?? Infinity,
    show: (r) => (r.val_loss === null && r.eval_loss !== null ? "≈ " : "") + number(lossOf(r), 3),
    group: meanLoss,
  },
  {
    key: "state",
    label: "state",
    names: ["state"],
    basic: true,
    value: (r) => r.state,
    show: inWords,
    group: endedText,
  },
  { key: "step", label: "step", names: ["step"], right: true, value: (r) => r.step, show: steps },
  {
    key: "train",
    label: "training loss",
    unit: "nats per token",
    names: ["train", "train_loss"],
    right: true,
    value: (r) => r.train_loss ?? Infinity,
    show: (r) => number(r.train_loss, 3),
  },
  {
    key: "params",
    label: "parameters",
    names: ["params", "n_params"],
    right: true,
    value: (r) => r.n_params,
    show: (r) => compact(r.n_params),
  },
  {
    key: "seconds",
    label: "training time",
    names: ["seconds", "time"],
    right: true,
    value: (r) => r.seconds,
    show: (r) => duration(r.seconds),
  },
  {
    key: "by",
    label: "by",
    names: ["by"],
    value: (r) => `${r.mine ? 0 : 1} ${r.by.toLowerCase()}`,
    show: whose,
    group: allOf,
  },
  { key: "created", label: "begun", names: ["begun"], value: (r) => r.created_at, show: begun },
];

/**
 * A setting as a column.
 * @param {Knob} knob
 * @returns {Column}
 */
export function ofKnob({ path, label, unit, default: usual, choices }) {
  const show = (/** @type {Listed} */ run) => (run.knobs ? (run.knobs[path] ?? usual) : "–");
  const isChoice = Object.keys(choices).length > 0;
  /** @param {Listed} run */
  function value(run) {
    const text = show(run);
    const amount = isChoice || !text ? NaN : Number(text);
    return Number.isFinite(amount) ? amount : text.toLowerCase();
  }
  return {
    key: path,
    label,
    unit,
    names: [path, path.split(".").at(-1) ?? path],
    right: !isChoice && (unit !== "" || Number.isFinite(Number(usual))),
    value,
    show,
    choices,
  };
}

/**
 * How much a column tells runs apart: the entropy of its values.
 * @param {Column} column
 * @param {Listed[]} runs
 */
function tells({ show }, runs) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const run of runs) counts.set(show(run), (counts.get(show(run)) ?? 0) + 1);
  return [...counts.values()].reduce((sum, n) => sum - (n / runs.length) * Math.log(n / runs.length), 0);
}

const MOST_SETTINGS = 6;
/** What is left out last where there is little room. */
const WANTED = ["by", "params", "seconds", "created", "step", "train"];

/**
 * The columns for these runs, those of settings right after the name: the settings that tell most runs apart, in their own
 * order, and what else is not the same for all, as far as there is room. `room`: for how many besides those that are always
 * there; null: every setting that any of them has changed, and everything else.
 * @param {Listed[]} runs
 * @param {Column[]} settings
 * @param {number | null} room
 * @returns {{columns: Column[], left: number}} `left`: how many there are besides
 */
export function columnsFor(runs, settings, room) {
  const changed = new Set(runs.flatMap((run) => Object.keys(run.knobs ?? {})));
  const known = settings.filter(({ key }) => changed.has(key));
  const everything = [NAME, ...known, ...MEASURED];
  if (room === null) return { columns: everything, left: 0 };
  const apart = known
    .map((column) => ({ column, bits: tells(column, runs) }))
    .filter(({ bits }) => bits > 0)
    .sort((a, b) => b.bits - a.bits)
    .slice(0, MOST_SETTINGS)
    .map(({ column }) => column);
  const others = MEASURED.filter((column) => !column.basic && (runs.length < 2 || tells(column, runs) > 0));
  others.sort((a, b) => WANTED.indexOf(a.key) - WANTED.indexOf(b.key));
  const shown = new Set([...apart, ...others].slice(0, room));
  const columns = everything.filter((column) => column.basic || shown.has(column));
  return { columns, left: everything.length - columns.length };
}

/**
 * The settings in which runs differ.
 * @param {Listed[]} runs
 * @param {Column[]} settings
 */
export const differing = (runs, settings) => settings.filter((column) => tells(column, runs) > 0);

/**
 * All that a search looks through.
 * @param {Listed} run
 * @param {Column[]} settings
 */
export function wordsOf(run, settings) {
  const changed = settings
    .filter(({ key }) => key in (run.knobs ?? {}))
    .map(({ label, show }) => `${label} ${show(run)}`);
  return [run.id, run.name, ...[NAME, ...MEASURED].map((column) => column.show(run)), ...changed].join(" ");
}

/**
 * @param {Listed[]} runs
 * @param {Column} column
 * @param {boolean} down
 */
export function sorted(runs, column, down) {
  const way = down ? -1 : 1;
  return [...runs].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (x === y) return 0;
    if (x === Infinity || y === Infinity) return x === Infinity ? 1 : -1;
    if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
    return x < y ? -way : way;
  });
}

/* What has been recorded of a run: merging what is new, horizontal axes, smoothing, finding a place. Knows no
   document. */

/** @typedef {Record<string, any[]>} Columns of equal length; `step` is always among them */
/**
 * What the server says of a run.
 * @typedef {{
 *   id: string, name: string, by: string, private: boolean, state: string, wanted: string | null,
 *   reason: string | null, source: string, is_task: boolean, probe_text: string | null, step: number, seconds: number,
 *   max_steps: number | null, max_seconds: number | null, left_s: number | null, train_loss: number | null,
 *   eval_loss: number | null, best_eval_loss: number | null, val_loss: number | null,
 *   tokens_per_s: number | null, n_params: number, vocab_size: number | null, flops_per_token: number | null,
 *   began_from: {id: string, name: string, step: number | null} | null,
 *   next_look?: number | null, place?: number | null, starts_in_s?: number | null, log?: string,
 * }} Status
 */
/**
 * A run as a page knows it. The cursor is the last row that it has; a new generation begins when a run is resumed.
 * @typedef {{
 *   id: string | null, mine: boolean, generation: number, cursor: number, status: Status | null,
 *   series: Record<string, Columns | undefined>, problem: string,
 * }} Run
 */
/**
 * What is new of a run.
 * @typedef {{
 *   run: Status, generation: number, reset: boolean, cursor: number, more: boolean, poll_ms?: number,
 *   events: Record<string, Columns>, gone?: undefined,
 * }} Delta
 */

/**
 * @param {string | null} id
 * @returns {Run}
 */
export const freshRun = (id) => ({ id, mine: false, generation: -1, cursor: 0, status: null, series: {}, problem: "" });

/**
 * Put what is new of a run into what is known of it.
 * @param {Run} run
 * @param {Delta} delta
 */
export function merge(run, delta) {
  if (delta.reset) run.series = {};
  for (const [kind, columns] of Object.entries(delta.events)) {
    const known = (run.series[kind] ??= {});
    for (const [name, values] of Object.entries(columns)) {
      known[name] = known[name] ? known[name].concat(values) : values;
    }
  }
  Object.assign(run, { status: delta.run, generation: delta.generation, cursor: delta.cursor });
}

/** @typedef {"step" | "tokens" | "seconds" | "flops"} Axis */
/** @type {Record<Axis, string>} */
export const AXES = {
  step: "step",
  tokens: "tokens trained on",
  seconds: "seconds of training",
  flops: "FLOP spent on training",
};

/** The same in a word, to choose from. */
/** @type {Readonly<[Axis, string][]>} */
export const AXIS_OPTIONS = [
  ["step", "steps"],
  ["tokens", "tokens"],
  ["seconds", "seconds"],
  ["flops", "FLOP"],
];

/**
 * The horizontal places of rows that were recorded. What was not recorded with them follows from the progress.
 * @param {Run} run
 * @param {Columns} columns
 * @param {Axis} axis
 * @returns {number[]}
 */
export function along(run, columns, axis) {
  if (columns[axis]) return columns[axis];
  const progress = run.series.progress;
  const perStep = progress && progress.step.length ? progress.tokens.at(-1) / progress.step.at(-1) : 0;
  const tokens = columns.tokens || columns.step.map((step) => step * perStep);
  const flops = run.status?.flops_per_token ?? NaN;
  return axis === "flops" ? tokens.map((t) => t * flops) : tokens;
}

/**
 * Smoothed by a line fitted around each place (LOESS: local least squares, tricube weights), so that it neither lags behind
 * a loss that falls nor runs ahead of it. A missing value stays missing and doesn't count.
 * @param {number[]} x ascending
 * @param {(number | null)[]} y
 * @param {number} reach so many values on either side count; 0 smooths nothing
 */
export function smoothed(x, y, reach) {
  return y.map((value, i) => (value === null || reach < 1 ? value : lineAt(x, y, i, Math.round(reach))));
}

/**
 * @param {number[]} x
 * @param {(number | null)[]} y
 * @param {number} i
 * @param {number} reach
 */
function lineAt(x, y, i, reach) {
  const [from, to] = [Math.max(0, i - reach), Math.min(y.length - 1, i + reach)];
  const farthest = Math.max(x[i] - x[from], x[to] - x[i]) * (1 + 1 / reach) || 1;
  let [n, sx, sy, sxx, sxy] = [0, 0, 0, 0, 0];
  for (let j = from; j <= to; j++) {
    const value = y[j];
    if (value === null) continue;
    const d = x[j] - x[i];
    const weight = (1 - Math.abs(d / farthest) ** 3) ** 3;
    n += weight;
    sx += weight * d;
    sy += weight * value;
    sxx += weight * d * d;
    sxy += weight * d * value;
  }
  const spread = n * sxx - sx * sx;
  return spread <= 1e-9 * n * sxx ? sy / n : (sxx * sy - sx * sxy) / spread; // one place alone has no slope
}

/**
 * The index of the value nearest to x.
 * @param {ArrayLike<number>} xs ascending, at least one
 * @param {number} x
 */
export function nearestIndex(xs, x) {
  let low = 0;
  let high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
}

/**
 * The index of the last value that is not above x; the first where all are.
 * @param {number[]} xs ascending
 * @param {number} x
 */
export const indexUpTo = (xs, x) =>
  Math.max(
    0,
    xs.findLastIndex((each) => each <= x),
  );

/**
 * The newest value of a column; null where nothing was recorded.
 * @param {Run} run
 * @param {string} kind
 * @param {string} name
 */
export const newest = (run, kind, name) => run.series[kind]?.[name]?.at(-1) ?? null;

/* The list of runs as a page knows it: merging what has changed, grouping, and cutting it into pages. Knows no
   document. */

/**
 * What has changed since a version of the list; `whole`: it is all there is.
 * @template {{id: string}} R
 * @typedef {{version: string, whole: boolean, runs: R[], gone: string[]}} Change
 */
/**
 * @template {{id: string}} R
 * @typedef {{version: string, runs: Map<string, R>}} List
 */

/** @returns {List<any>} */
export const freshList = () => ({ version: "", runs: new Map() });

/**
 * @template {{id: string}} R
 * @param {List<R>} list
 * @param {Change<R>} change
 */
export function mergeList(list, change) {
  if (change.whole) list.runs.clear();
  for (const run of change.runs) list.runs.set(run.id, run);
  for (const id of change.gone) list.runs.delete(id);
  list.version = change.version;
}

/**
 * The rows of a table: runs by themselves, and those of a group under one row, where the first of them stands; they follow it where the
 * group is open.
 * @template {{id: string}} R
 * @param {R[]} runs
 * @param {Set<string>} open groups
 * @param {(run: R) => {id: string, title: string} | null} groupOf
 * @returns {(R | {group: string, title: string, runs: R[]})[]}
 */
export function folded(runs, open, groupOf) {
  /** @type {Map<string, {group: string, title: string, runs: R[]}>} */
  const groups = new Map();
  /** @type {(R | {group: string, title: string, runs: R[]})[]} */
  const heads = [];
  for (const run of runs) {
    const of = groupOf(run);
    const known = of && groups.get(of.id);
    if (known) known.runs.push(run);
    else if (of) {
      const made = { group: of.id, title: of.title, runs: [run] };
      groups.set(made.group, made);
      heads.push(made);
    } else heads.push(run);
  }
  return heads.flatMap((head) => ("group" in head && open.has(head.group) ? [head, ...head.runs] : [head]));
}

export const A_PAGE = 50;

/**
 * Page number `page`, counted from 0, or the last one where there are fewer; `first` is the place of its first row.
 * @template R
 * @param {R[]} rows
 * @param {number} page
 */
export function pageOf(rows, page) {
  const last = Math.max(0, Math.ceil(rows.length / A_PAGE) - 1);
  const at = Math.max(0, Math.min(page, last));
  return { page: at, last, first: at * A_PAGE, rows: rows.slice(at * A_PAGE, (at + 1) * A_PAGE) };
}

/**
 * What is said of ticked runs that are not drawn; nothing where all are.
 * @param {number} ticked
 * @param {number} most how many are drawn
 */
export const leftOut = (ticked, most) =>
  ticked > most ? [`Only the first ${most} ticked runs are drawn; ${ticked - most} more are not.`] : [];

/* What is typed to find runs: words, and conditions on columns such as `layers=6`, `lr>1e-3` and `norm_placement:post`.
   Knows no document. */
/** @import { Column, Listed } from "./columns.js" */

/**
 * @typedef {{column: Column, sign: string, wanted: string}} Condition
 * @typedef {{words: string[], conditions: Condition[], strange: string[]}} Query `strange`: names of no column, used as one
 */

const CONDITION = /([\p{L}\p{N}_.-]+)\s*(<=|>=|!=|=|:|<|>)\s*("[^"]*"?|[^\s"]*)/gu;
const UNITS = /** @type {Record<string, number>} */ ({ "": 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 });

/** Names are compared without case, blanks and dashes. @param {string} name */
const plain = (name) => name.toLowerCase().replace(/[\s_-]/g, "");

/**
 * The column that is called so: by its key or label, or else by another name, which several may have: the first of them.
 * @param {string} name
 * @param {Column[]} columns
 */
const called = (name, columns) =>
  columns.find(({ key, label }) => [key, label].some((each) => plain(each) === plain(name))) ??
  columns.find(({ names }) => names.some((each) => plain(each) === plain(name)));

/**
 * @param {string} text
 * @param {Column[]} columns
 * @returns {Query}
 */
export function parseQuery(text, columns) {
  /** @type {Condition[]} */
  const conditions = [];
  /** @type {string[]} */
  const strange = [];
  const rest = text.replace(CONDITION, (all, name, sign, value) => {
    const column = called(name, columns);
    if (!column) {
      strange.push(name);
      return all;
    }
    const wanted = value.replace(/"/g, "").trim();
    if (wanted) conditions.push({ column, sign, wanted }); // one that is still being typed leaves all runs
    return " ";
  });
  return { words: rest.toLowerCase().split(/\s+/).filter(Boolean), conditions, strange };
}

/**
 * A number as people write it, 1,000 and 2.5M too; NaN where it is none.
 * @param {string} text
 */
function amount(text) {
  const found = /^([-+]?[\d.,]+(?:e[-+]?\d+)?)\s*([kmgt]?)$/i.exec(text.trim());
  return found ? Number(found[1].replace(/,/g, "")) * UNITS[found[2].toLowerCase()] : NaN;
}

/**
 * @param {Listed} run
 * @param {Condition} condition
 */
function holds(run, { column, sign, wanted }) {
  const value = column.value(run);
  const [mine, asked] = [typeof value === "number" ? value : NaN, amount(wanted)];
  if (sign === "<") return mine < asked;
  if (sign === ">") return mine > asked && mine !== Infinity;
  if (sign === "<=") return mine <= asked;
  if (sign === ">=") return mine >= asked && mine !== Infinity;
  const texts = [column.show(run), String(value)].map((text) => text.toLowerCase());
  const word = (column.choices?.[wanted] ?? wanted).toLowerCase();
  const same = Number.isNaN(asked) || Number.isNaN(mine) ? texts.includes(word) : near(mine, asked);
  if (sign === ":") return same || (Number.isNaN(asked) && texts.some((text) => text.includes(wanted.toLowerCase())));
  return same === (sign === "=");
}

/** @param {number} one @param {number} other */
const near = (one, other) => Math.abs(one - other) <= 1e-5 * Math.max(Math.abs(one), Math.abs(other)); // words have six digits

/**
 * Whether a run has every word and meets every condition.
 * @param {Listed} run
 * @param {string} words all that is said of it
 * @param {Query} query
 */
export const matches = (run, words, { words: wanted, conditions }) =>
  wanted.every((word) => words.toLowerCase().includes(word)) && conditions.every((each) => holds(run, each));

/**
 * The text with this condition, in place of the one that it has on the same column.
 * @param {string} text
 * @param {Column} column
 * @param {string} value
 * @param {Column[]} columns
 */
export function withCondition(text, column, value, columns) {
  const rest = text.replace(CONDITION, (all, name) => (called(name, columns) === column ? "" : all));
  const quoted = /\s/.test(value) ? `"${value}"` : value;
  return [rest.replace(/\s+/g, " ").trim(), `${shortest(column, columns)}=${quoted}`].filter(Boolean).join(" ");
}

/**
 * What one types for a column: its label where that is one word and no other column's, else its shortest name.
 * @param {Column} column
 * @param {Column[]} columns
 */
const shortest = (column, columns) =>
  [column.label, ...[...column.names].sort((a, b) => a.length - b.length), column.key].find(
    (name) => !/\s/.test(name) && called(name, columns) === column,
  ) ?? column.key;

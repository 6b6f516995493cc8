/* Numbers, durations, tokens and tables as text. Knows no document. */

const NOTHING = "–";
const UNITS = /** @type {const} */ ([
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
]);

/** @typedef {number | null | undefined} Maybe a number, or none yet */

/**
 * With thousands separated and a fixed number of decimals.
 * @param {Maybe | string} value
 */
export function number(value, digits = 0) {
  if (value === null || value === undefined) return NOTHING;
  return Number(value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/**
 * Three significant digits and a decimal prefix; a unit may follow directly: "1.50 M" + "B".
 * @param {Maybe} value
 */
export function compact(value) {
  if (value === null || value === undefined) return NOTHING;
  for (const [size, unit] of UNITS) if (Math.abs(value) >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  return String(Math.round(value * 100) / 100);
}

/**
 * As few characters as a cell of a diagram needs.
 * @param {Maybe} value
 */
export function short(value) {
  if (value === null || value === undefined) return NOTHING;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e5 || size < 1e-3) return Number(value).toExponential(1).replace("e+", "e");
  return size >= 100 ? String(Math.round(value)) : Number(value).toPrecision(size >= 1 ? 3 : 2);
}

/** Of the size of a font: how wide a character is at most, on average; digits and semibold letters. */
const CHARACTER = 0.66;
/**
 * The largest size of a font in which a text is not wider than this many pixels.
 * @param {string} text
 * @param {number} wide
 */
export const fits = (text, wide) => `${(wide / (CHARACTER * Math.max(1, text.length))).toFixed(1)}px`;

/** @param {Maybe} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  const s = Math.round(seconds);
  if (s < 1) return seconds > 0 ? "under 1 s" : "0 s";
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
}

/**
 * A probability; small ones with one decimal.
 * @param {number} p
 */
export const percent = (p) => `${(100 * p).toFixed(p < 0.1 ? 1 : 0)}%`;

/**
 * A difference with its sign, by the typographic minus.
 * @param {number} value
 */
export const signed = (value) => `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(3)}`;

/**
 * A count that may be astronomic.
 * @param {number} value
 */
export function count(value) {
  if (value >= 1e300) return "more than 10^300";
  return value < 1e15 ? number(value) : `about ${value.toExponential(1).replace("e+", " × 10^")}`;
}

/** @param {number} value */
export const nats = (value) => `${value.toFixed(value && value < 0.1 ? 4 : 3)} nats per token`;

/** @param {string} text */
export const sentenceCase = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/**
 * At most so many characters.
 * @param {string} text
 * @param {number} most
 */
export const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/**
 * A token with what cannot be seen made visible.
 * @param {string} text
 */
export const visibleToken = (text) =>
  text
    .replace(/ /g, "·")
    .replace(/\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f\u007f]/g, "␣");

/**
 * A name as a file may have it.
 * @param {string} name
 * @param {string} extension
 */
export function fileName(name, extension) {
  const safe = name
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 80);
  return `${safe || "figure"}.${extension}`;
}

/**
 * Rows as CSV. What a spreadsheet would take for a formula is kept a text.
 * @param {unknown[][]} rows
 */
export const csv = (rows) => rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";

/** @param {unknown} value */
function csvCell(value) {
  if (typeof value === "number") return String(value);
  const text = value === null || value === undefined ? "" : String(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

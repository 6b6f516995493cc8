/* Colour maps. Knows no document; the named colours (Okabe and Ito's) stand in page.css. */

/* Cividis, which colour-blind people can read and which stays ordered in grey. */
const CIVIDIS = [
  [0, 32, 77],
  [0, 50, 110],
  [51, 68, 107],
  [79, 87, 108],
  [102, 105, 112],
  [124, 123, 120],
  [148, 142, 119],
  [174, 163, 113],
  [201, 186, 102],
  [229, 209, 82],
  [255, 234, 70],
];

/** @typedef {[red: number, green: number, blue: number]} Rgb each from 0 to 255 */

/**
 * The map at t from 0 to 1; values outside are clamped.
 * @param {number} t
 * @returns {Rgb}
 */
export function cividis(t) {
  const x = Math.max(0, Math.min(1, t)) * (CIVIDIS.length - 1);
  const i = Math.min(Math.floor(x), CIVIDIS.length - 2);
  const [red, green, blue] = CIVIDIS[i].map((c, k) => Math.round(c + (CIVIDIS[i + 1][k] - c) * (x - i)));
  return [red, green, blue];
}

/**
 * The same as CSS. Comma syntax, which Plotly reads too.
 * @param {number} t
 */
export const cividisCss = (t) => `rgb(${cividis(t).join(",")})`;

/** The whole map as a CSS gradient from left to right. */
export const cividisGradient = () =>
  `linear-gradient(90deg, ${CIVIDIS.map((rgb) => `rgb(${rgb.join(" ")})`).join(", ")})`;

/**
 * The map for bytes, whose lower half is stretched by a square root: small attention weights can be told apart.
 * @returns {Rgb[]}
 */
export const attentionColours = () => Array.from({ length: 256 }, (_, byte) => cividis(Math.sqrt(byte / 255)));

/** Above this place on the map dark ink can be read, below it light ink. */
const BRIGHT = 0.52;
/** @param {number} t */
export const inkOn = (t) => (t > BRIGHT ? "var(--pg-ink-dark)" : "var(--pg-ink-light)");

/**
 * Of n layers; the end of the map that is like the page, dark or light, is left out.
 * @param {number} layer
 * @param {number} n
 * @param {boolean} dark
 */
export const layerColour = (layer, n, dark) =>
  cividisCss((dark ? 0.45 : 0.05) + (dark ? 0.55 : 0.6) * (n > 1 ? layer / (n - 1) : 0.3));

/** Of the arms of an experiment: properties of the style sheet. */
const ARMS = ["--pg-arm-0", "--pg-arm-1", "--pg-arm-2", "--pg-arm-3", "--pg-arm-4", "--pg-arm-5", "--pg-arm-6"];
/** @param {number} i */
export const armProperty = (i) => ARMS[i % ARMS.length];
/** Colours repeat after seven arms, lines do not. @param {number} i */
export const armDash = (i) => ["solid", "dash", "dot"][Math.floor(i / ARMS.length) % 3];

/**
 * A hex colour with an opacity, for Plotly, which knows no color-mix.
 * @param {string} hex
 * @param {number} opacity
 */
export function translucent(hex, opacity) {
  const channels = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${channels.join(",")},${opacity})`;
}

/* View of the Inside tab: one small attention map per head, layer by layer; a click enlarges one with its tokens. */
/** @import { Shared, Side, View } from "./side.js" */
/** @import { Probe, ProbeWithMaps, Quantity } from "./values.js" */

import { button, css, h, hideTip, pen, select, showTip } from "./dom.js";
import { short, visibleToken } from "./format.js";
import { tokenLooks } from "./looks.js";
import { attentionColours } from "./palette.js";
import { readMaps } from "./values.js";

const COLOURS = attentionColours();
/** Between the maps of a picture. */
const GAP = 8;

/* ---- maps ---- */

/** @type {WeakMap<Probe, ReturnType<typeof readMaps>>} */
const read = new WeakMap();
/**
 * The maps of a probe, read once.
 * @param {Probe} probe
 */
function mapsOf(probe) {
  const maps = read.get(probe) ?? readMaps(/** @type {ProbeWithMaps} */ (probe));
  read.set(probe, maps);
  return maps;
}

/**
 * One pixel per pair of tokens; the page scales it up without smoothing.
 * @param {HTMLCanvasElement} canvas
 * @param {Probe} probe
 * @param {number} layer
 * @param {number} head
 */
function paint(canvas, probe, layer, head) {
  const { T, at } = mapsOf(probe);
  if (canvas.width !== T || canvas.height !== T) canvas.width = canvas.height = T;
  const to = pen(canvas);
  const image = to.createImageData(T, T);
  for (let query = 0; query < T; query++) {
    for (let key = 0; key <= query; key++) {
      const place = 4 * (query * T + key);
      [image.data[place], image.data[place + 1], image.data[place + 2]] = COLOURS[at(layer, head, query, key)];
      image.data[place + 3] = 255;
    }
  }
  to.putImageData(image, 0, 0);
}

/**
 * A map that tells what lies under the pointer.
 * @param {() => Probe | null} now
 * @param {number} layer
 * @param {number} head
 * @param {Record<string, any>} attributes
 */
function mapCanvas(now, layer, head, attributes = {}) {
  const canvas = h("canvas", attributes);
  canvas.addEventListener("pointermove", (event) => {
    const probe = now();
    if (probe) showTip(event, ...pairUnder(event, canvas, probe, layer, head));
  });
  canvas.addEventListener("pointerleave", hideTip);
  return canvas;
}

/**
 * @param {PointerEvent} event
 * @param {HTMLCanvasElement} canvas
 * @param {Probe} probe
 * @param {number} layer
 * @param {number} head
 */
function pairUnder(event, canvas, probe, layer, head) {
  const { T, at } = mapsOf(probe);
  const box = canvas.getBoundingClientRect();
  const index = (/** @type {number} */ share) => Math.min(T - 1, Math.max(0, Math.floor(share * T)));
  const query = index((event.clientY - box.top) / box.height);
  const key = index((event.clientX - box.left) / box.width);
  const name = (/** @type {number} */ i) => h("code", {}, visibleToken(probe.tokens[i]));
  if (key > query) return [name(query), " cannot look ahead at ", name(key)];
  const weight = h("strong", {}, (at(layer, head, query, key) / 255).toFixed(2));
  const looks = [name(query), ` (${query + 1}) looks at `, name(key), ` (${key + 1}) with weight `, weight];
  return [`layer ${layer + 1}, head ${head + 1}: `, ...looks];
}

/**
 * The heads of one layer, small.
 * @param {Probe} probe
 * @param {number} layer
 */
export function headRow(probe, layer) {
  const maps = Array.from({ length: probe.n_head }, (_, head) => {
    const label = `layer ${layer + 1}, head ${head + 1}`;
    const canvas = mapCanvas(() => probe, layer, head, { role: "img", "aria-label": label });
    paint(canvas, probe, layer, head);
    return canvas;
  });
  return h("div", { class: "pg-head-row" }, ...maps);
}

/* ---- the view ---- */

/**
 * @typedef {{
 *   layer: number, head: number, canvas: HTMLCanvasElement, note: HTMLElement, label: HTMLElement,
 *   element: HTMLElement,
 * }} Cell
 * @typedef {{
 *   layer: number, head: number, canvas: HTMLCanvasElement, text: string, numbers: HTMLElement,
 *   looks: ReturnType<typeof tokenLooks>,
 * }} Enlarged
 */

/**
 * @param {HTMLElement} place
 * @param {Side} side
 * @param {Shared} shared
 * @returns {View}
 */
export function heads(place, side, shared) {
  const caption = h("p", { class: "pg-faint pg-heads-empty", hidden: true }, "This model has no attention to show.");
  const grid = h("div", { class: "pg-heads" });
  const large = h("div", { class: "pg-large", hidden: true });
  const score = select([], { class: "pg-score", "aria-label": "score of the heads" });
  const sorted = h("input", { type: "checkbox" });
  place.append(
    h(
      "div",
      { class: "pg-tools pg-curve-tools" },
      h("label", {}, "score ", score),
      h("label", {}, sorted, " highest first"),
      weightScale(),
    ),
    caption,
    h("div", { class: "pg-heads-wrap" }, grid, large),
  );
  score.addEventListener("change", () => {
    shared.score = score.value;
    shared.redraw();
  });
  sorted.addEventListener("change", () => {
    shared.sorted = sorted.checked;
    shared.redraw();
  });
  /** @type {Cell[]} */
  let cells = [];
  let built = "";
  let order = "";
  /** @type {Enlarged | null} */
  let enlarged = null;

  const scores = () => Object.values(shared.quantities).filter(({ per }) => per === "head");
  /**
   * A score of a head now.
   * @param {string} name
   * @param {{layer: number, head: number}} at
   * @returns {number | null}
   */
  function value(name, { layer, head }) {
    const entry = side.probe?.values[name]?.attn?.[layer];
    return Array.isArray(entry) ? (entry[head] ?? null) : null;
  }

  /** @param {Probe} probe */
  function build({ n_layer, n_head }) {
    cells = [];
    for (let layer = 0; layer < n_layer; layer++)
      for (let head = 0; head < n_head; head++) cells.push(cell(layer, head));
  }
  /** @param {number} layer @param {number} head @returns {Cell} */
  function cell(layer, head) {
    const canvas = mapCanvas(() => side.probe, layer, head);
    const note = h("span", { class: "pg-head-score" });
    const label = h("span", { class: "pg-head-label" });
    function enlarge() {
      shared.head = { layer, head };
      shared.redraw();
    }
    const opener = button(canvas, enlarge, {
      class: "pg-head-cell",
      "data-layer": layer,
      "data-head": head,
      "aria-label": `layer ${layer + 1}, head ${head + 1}: enlarge`,
    });
    const element = h("div", { class: "pg-head-box" }, opener, h("div", { class: "pg-head-words" }, note, label));
    return { layer, head, canvas, note, label, element };
  }

  /** In rows by layer, or all heads by their score. @param {Probe} probe */
  function arrange({ n_head }) {
    const by = (/** @type {Cell} */ cell) => value(shared.score, cell) ?? -1;
    const ordered = shared.sorted ? [...cells].sort((x, y) => by(y) - by(x)) : cells;
    const now = `${built} ${ordered.map(({ layer, head }) => `${layer}.${head}`).join()}${shared.sorted}`;
    if (now === order) return;
    order = now;
    grid.style.setProperty("--heads", String(n_head));
    grid.classList.toggle("pg-heads-sorted", shared.sorted);
    const rowName = (/** @type {Cell} */ { layer, head }) =>
      !shared.sorted && head === 0 ? [h("span", { class: "pg-layer-name" }, `layer ${layer + 1}`)] : [];
    grid.replaceChildren(...ordered.flatMap((each) => [...rowName(each), each.element]));
  }

  /** A role that a head plays beyond doubt. @param {Cell} cell */
  function role(cell) {
    return scores()
      .map((quantity) => ({ quantity, score: value(quantity.name, cell) ?? -1 }))
      .filter(({ quantity, score }) => quantity.decisive && score >= quantity.decisive)
      .sort((x, y) => y.score - x.score)[0];
  }
  /** @param {Cell} cell @param {Probe} probe @param {Quantity} quantity @param {(value: number) => string} colour */
  function drawCell(cell, probe, quantity, colour) {
    const { layer, head, canvas, note, label, element } = cell;
    paint(canvas, probe, layer, head);
    const now = value(quantity.name, cell);
    const found = role(cell);
    note.textContent = `${shared.sorted ? `${layer + 1}.${head + 1}  ` : ""}${short(now)}`;
    note.title = `${quantity.label}, ${quantity.unit}`;
    element.style.setProperty("--score", now === null ? "transparent" : colour(now));
    label.textContent = found ? `${found.quantity.label} ${found.score.toFixed(2)}` : "";
  }

  /* ---- one head, large ---- */

  /** @param {Probe} probe */
  function drawLarge(probe) {
    const { layer, head } = shared.head ?? { layer: Infinity, head: Infinity };
    if (layer >= probe.n_layer || head >= probe.n_head) {
      enlarged = null;
      large.hidden = true;
      return;
    }
    const text = probe.tokens.join("\u0000");
    const same = enlarged?.layer === layer && enlarged.head === head && enlarged.text === text;
    if (!same) enlarge(layer, head, probe.tokens, text);
    if (enlarged) showLarge(enlarged, probe);
  }
  /** @param {number} layer @param {number} head @param {string[]} tokens @param {string} text */
  function enlarge(layer, head, tokens, text) {
    const label = `attention of layer ${layer + 1}, head ${head + 1}`;
    const canvas = mapCanvas(() => side.probe, layer, head, { role: "img", "aria-label": label });
    const numbers = h("dl", { class: "pg-facts" });
    const close = button("Close", () => {
      shared.head = null;
      shared.redraw();
    });
    const labels = (/** @type {string} */ look) =>
      h("div", { class: look, "aria-hidden": "true" }, ...tokens.map((token) => h("span", {}, visibleToken(token))));
    const looks = tokenLooks(tokens, label);
    large.style.setProperty("--tokens", String(tokens.length));
    large.replaceChildren(
      h("div", { class: "pg-head" }, h("h3", {}, `layer ${layer + 1}, head ${head + 1}`), close),
      h(
        "div",
        { class: "pg-large-map" },
        h("span", { class: "pg-corner" }),
        labels("pg-keys"),
        labels("pg-queries"),
        canvas,
      ),
      h("p", { class: "pg-faint" }, "Down the side: the token that looks. Along the top: what it looks at."),
      looks.element,
      numbers,
    );
    if (large.hidden && side === shared.sides()[0]) {
      requestAnimationFrame(() => large.scrollIntoView({ block: "nearest", behavior: "smooth" }));
    }
    large.hidden = false;
    enlarged = { layer, head, canvas, text, numbers, looks };
  }
  /** @param {Enlarged} enlarged @param {Probe} probe */
  function showLarge({ layer, head, canvas, numbers, looks }, probe) {
    paint(canvas, probe, layer, head);
    const { at } = mapsOf(probe);
    looks.draw((query, key) => at(layer, head, query, key) / 255);
    numbers.replaceChildren(
      ...scores().map(({ name, label, unit, help, formula }) => {
        const said = `${short(value(name, { layer, head }))} ${unit}`;
        return h("div", { title: `${help} ${formula}` }, h("dt", {}, label), h("dd", {}, said));
      }),
    );
  }
  const shown = () => (enlarged ? [enlarged] : cells);

  return {
    draw() {
      const { probe } = side;
      if (!probe || probe.maps === undefined) return;
      caption.hidden = probe.n_layer > 0;
      if (!score.childElementCount) {
        score.replaceChildren(...scores().map(({ name, label }) => h("option", { value: name }, label)));
      }
      score.value = shared.score;
      sorted.checked = shared.sorted;
      const now = `${side.run.id} ${probe.n_layer} ${probe.n_head}`;
      if (now !== built) {
        built = now;
        enlarged = null;
        build(probe);
      }
      arrange(probe);
      const quantity = shared.quantities[shared.score];
      const { colour } = shared.range(quantity);
      for (const each of cells) drawCell(each, probe, quantity, colour);
      drawLarge(probe);
    },
    table() {
      const heading = ["step", "layer", "head", "query", "key", "query_token", "key_token", "weight"];
      const { probe } = side;
      return probe?.maps === undefined ? [heading] : [heading, ...shown().flatMap((map) => mapRows(probe, map))];
    },
    /** All maps on one canvas, or the enlarged one. */
    picture() {
      const T = side.probe ? side.probe.tokens.length : 0;
      const n = enlarged ? 1 : (side.probe?.n_head ?? 1);
      return pictureOf(shown(), T * (enlarged ? 10 : 3), n);
    },
  };
}

function weightScale() {
  const title =
    "Colours grow with the square root of the weight, so that small ones can be told apart: the middle is 0.25.";
  return h(
    "span",
    { class: "pg-scale" },
    h("span", {}, "weight 0"),
    h("span", { class: "pg-ramp pg-ramp-short", title }),
    h("span", {}, "1"),
  );
}

/** @param {Probe} probe @param {{layer: number, head: number}} map */
function mapRows(probe, { layer, head }) {
  const { T, at } = mapsOf(probe);
  const rows = [];
  for (let query = 0; query < T; query++) {
    for (let key = 0; key <= query; key++) {
      const tokens = [probe.tokens[query], probe.tokens[key]];
      const weight = (at(layer, head, query, key) / 255).toFixed(3);
      rows.push([probe.step, layer + 1, head + 1, query + 1, key + 1, ...tokens, weight]);
    }
  }
  return rows;
}

/**
 * Maps side by side, n in a row.
 * @param {{canvas: HTMLCanvasElement}[]} maps
 * @param {number} size of one in pixels
 * @param {number} n
 */
function pictureOf(maps, size, n) {
  const pitch = size + GAP;
  const canvas = h("canvas", { width: n * pitch + GAP, height: Math.ceil(maps.length / n) * pitch + GAP });
  const to = pen(canvas);
  to.fillStyle = css("--block-background-fill") || "white";
  to.fillRect(0, 0, canvas.width, canvas.height);
  to.imageSmoothingEnabled = false;
  maps.forEach((map, i) => {
    to.drawImage(map.canvas, GAP + (i % n) * pitch, GAP + Math.floor(i / n) * pitch, size, size);
  });
  return canvas;
}

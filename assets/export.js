/* Saving what a panel shows, as numbers or as a picture. */

import { css, h, head, pen, s } from "./dom.js";
import { csv, fileName } from "./format.js";
import { save } from "./net.js";
import { plotly, plotRows } from "./plot.js";

/** Pixels of a picture per pixel of the page. */
const SCALE = 2;
const STYLES = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "opacity",
  "font",
  "text-anchor",
  "dominant-baseline",
  "display",
];

/**
 * @param {string} name
 * @param {unknown[][]} rows
 */
export const saveCsv = (name, rows) => save(fileName(name, "csv"), new Blob([csv(rows)], { type: "text/csv" }));

/**
 * The picture in `place`: what a view paints for it, a plot, a drawing, a canvas, or else its words.
 * @param {string} name
 * @param {HTMLElement} place
 * @param {HTMLCanvasElement | null} picture
 */
export async function savePng(name, place, picture = null) {
  const file = fileName(name, "png");
  const plot = /** @type {PlotlyElement | null} */ (place.querySelector(".js-plotly-plot"));
  const drawing = place.querySelector("svg");
  const canvas = picture || place.querySelector("canvas");
  if (!picture && plot?.offsetParent) await saveUrl(file, await imageOf(plot));
  else if (!picture && drawing) await saveDrawing(file, drawing);
  else if (canvas) saveCanvas(file, canvas);
  else await saveText(file, place);
}

/**
 * The plot or drawing in `place` as a picture of lines, for papers.
 * @param {string} name
 * @param {HTMLElement} place
 */
export async function saveVector(name, place) {
  const file = fileName(name, "svg");
  const plot = /** @type {PlotlyElement | null} */ (place.querySelector(".js-plotly-plot"));
  const drawing = place.querySelector("svg");
  if (plot?.offsetParent) await saveUrl(file, await imageOf(plot, "svg"));
  else if (drawing) save(file, new Blob([xmlOf(styled(drawing))], { type: "image/svg+xml" }));
}

/** @param {PlotlyElement} plot @param {"png" | "svg"} format */
async function imageOf(plot, format = "png") {
  const Plotly = await plotly();
  const scale = format === "png" ? SCALE : 1;
  return Plotly.toImage(plot, { format, width: plot.clientWidth, height: plot.clientHeight, scale });
}

/** @param {string} file @param {string} url */
async function saveUrl(file, url) {
  save(file, await (await fetch(url)).blob());
}

/** @param {string} file @param {HTMLCanvasElement} canvas */
function saveCanvas(file, canvas) {
  canvas.toBlob((blob) => blob && save(file, blob));
}

/** @param {string} file @param {SVGSVGElement} drawing */
function saveDrawing(file, drawing) {
  const { width, height } = drawing.viewBox.baseVal;
  return saveSvg(file, styled(drawing), width, height);
}

/**
 * A drawing takes its look from the page's style sheet: the copy gets it written into its elements.
 * @param {SVGSVGElement} drawing
 */
function styled(drawing) {
  const copy = /** @type {SVGSVGElement} */ (drawing.cloneNode(true));
  const box = drawing.viewBox.baseVal;
  /** @type {NodeListOf<SVGElement>} */
  const copies = copy.querySelectorAll("*");
  [drawing, ...drawing.querySelectorAll("*")].forEach((element, i) => {
    const style = getComputedStyle(element);
    const target = i ? copies[i - 1] : copy;
    for (const property of STYLES) target.style.setProperty(property, style.getPropertyValue(property));
  });
  copy.setAttribute("width", String(box.width));
  copy.setAttribute("height", String(box.height));
  copy.removeAttribute("style");
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return copy;
}

/** @param {SVGSVGElement} svg */
const xmlOf = (svg) => new XMLSerializer().serializeToString(svg);

/**
 * Where there are only words and buttons: their lines as a picture.
 * @param {string} file
 * @param {HTMLElement} place
 */
function saveText(file, place) {
  const lines = place.innerText.split("\n").filter((line) => line.trim());
  const style = "font: 13px ui-monospace, monospace";
  const svg = s("svg");
  lines.forEach((line, i) =>
    svg.append(s("text", { x: 12, y: 24 + i * 20, fill: css("--body-text-color"), style }, line)),
  );
  return saveSvg(file, svg, Math.max(200, ...lines.map((line) => line.length * 8)) + 24, lines.length * 20 + 24);
}

/**
 * @param {string} file
 * @param {SVGSVGElement} svg
 * @param {number} width
 * @param {number} height
 */
async function saveSvg(file, svg, width, height) {
  const image = new Image();
  const canvas = h("canvas", { width: Math.round(width * SCALE), height: Math.round(height * SCALE) });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(xmlOf(svg))}`;
  await image.decode();
  const to = pen(canvas);
  to.fillStyle = getComputedStyle(document.body).backgroundColor;
  to.fillRect(0, 0, canvas.width, canvas.height);
  to.drawImage(image, 0, 0, canvas.width, canvas.height);
  saveCanvas(file, canvas);
}

/**
 * Buttons for a panel that shows one plot.
 * @param {() => string} name
 * @param {HTMLElement} place
 * @param {() => unknown[][]} rows
 */
export const exportButtons = (name, place, rows) =>
  h(
    "span",
    { class: "pg-exports" },
    exportButton("CSV", () => saveCsv(name(), rows()), "save the numbers"),
    exportButton("PNG", () => savePng(name(), place), "save the picture"),
  );

/**
 * @param {string} text
 * @param {() => void} press
 * @param {string} [title]
 */
export const exportButton = (text, press, title) =>
  h("button", { type: "button", class: "pg-export", title, onclick: press }, text);

/**
 * A plot under its heading, with its controls and what saves it as lines, as a picture and as numbers.
 * @param {string} title
 * @param {string} words
 * @param {string} name of the files
 * @param {any} plot
 * @param {...HTMLElement} controls
 */
export function plotSection(title, words, name, plot, ...controls) {
  const element = h("section", { class: "pg-overlay" });
  element.append(
    head(
      title,
      words,
      ...controls,
      exportButton("SVG", () => saveVector(name, element), "save the picture as lines"),
      exportButtons(
        () => name,
        element,
        () => plotRows(plot),
      ),
    ),
    plot,
  );
  return element;
}

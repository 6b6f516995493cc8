/* The power law through the arms of an experiment, on logarithmic axes. */

import { css, onTheme } from "./dom.js";
import { plotSection } from "./export.js";
import { layout, PLOT_CONFIG, plotly, plotPlace } from "./plot.js";

/**
 * @typedef {{
 *   floor: number, factor: number, exponent: number, low: number | null, high: number | null,
 *   points: [x: number, y: number][], x: string, words: string,
 * }} Law floor + factor · x^−exponent, and the means that it was fitted to
 */

const STEPS = 60;

/**
 * The law from the smallest to the largest arm, at evenly spaced logarithms.
 * @param {Law} law
 * @returns {{x: number[], y: number[]}}
 */
export function curveOf({ floor, factor, exponent, points }) {
  const sizes = points.map(([x]) => Math.log(x));
  const first = Math.min(...sizes);
  const apart = (Math.max(...sizes) - first) / STEPS;
  const x = Array.from({ length: STEPS + 1 }, (_, i) => Math.exp(first + i * apart));
  return { x, y: x.map((each) => floor + factor * each ** -exponent) };
}

/** @param {string} id of the experiment */
export function lawPlot(id) {
  const plot = plotPlace("pg-plot-big");
  const element = plotSection(
    "The law",
    "The mean of each arm over its seeds, and the power law through them, on logarithmic axes.",
    `law-${id}`,
    plot,
  );
  element.hidden = true;
  /** @type {{fit: Law | null, unit: string} | null} */
  let last = null;

  /** @param {{fit: Law | null, unit: string}} found */
  async function show(found) {
    last = found;
    element.hidden = !found.fit;
    if (!found.fit) return;
    const { points, words } = found.fit;
    const Plotly = await plotly();
    const colour = css("--body-text-color");
    const arms = { x: points.map(([x]) => x), y: points.map(([, y]) => y) };
    await Plotly.react(
      plot,
      [
        { type: "scatter", mode: "lines", name: "law", line: { color: colour, width: 1.5 }, ...curveOf(found.fit) },
        { type: "scatter", mode: "markers", name: "arms", marker: { color: colour, size: 9 }, ...arms },
      ],
      layout({
        hovermode: "closest",
        margin: { l: 56, r: 12, t: 8, b: 44 },
        xaxis: { title: { text: words }, type: "log" },
        yaxis: { title: { text: found.unit }, type: "log" },
      }),
      PLOT_CONFIG,
    );
  }
  onTheme(() => last && show(last));
  return { element, show };
}

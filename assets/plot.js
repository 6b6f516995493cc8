/* Plotly: fetched when it is needed, laid out like the page, extended in place, with a cursor shared by the plots of
   a group. */
/** @import { Run } from "./series.js" */

import { css, h } from "./dom.js";
import { messageOf } from "./net.js";
import { nearestIndex } from "./series.js";

/** @type {Promise<Plotly> | null} */
let loading = null;

/** Plotly is large: the page fetches it when it has settled, so that the first curve need not wait for it. */
export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = h("script", { src: new URL("plotly.min.js", import.meta.url) });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null; // it is tried again when it is needed again
      reject(new Error("plotly could not be loaded"));
    };
    document.head.append(script);
  });
  return loading;
}

/**
 * A place for a plot.
 * @param {string} size a class of the style sheet
 */
export const plotPlace = (size) =>
  /**
   * @type {PlotlyElement} */ (/** @type {HTMLElement} */ (h("div", { class: `pg-plot ${size}` })));

/** @param {Partial<PlotlyLayout>} extra */
export function layout(extra = {}) {
  const text = css("--body-text-color");
  const grid = css("--border-color-primary");
  const axis = { gridcolor: grid, linecolor: grid, zeroline: false, tickcolor: grid, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: "system-ui, sans-serif", size: 12 },
    margin: { l: 56, r: 10, t: 6, b: 40 },
    hovermode: "x unified",
    showlegend: false,
    uirevision: "keep",
    hoverlabel: { bgcolor: css("--background-fill-primary"), bordercolor: grid, font: { color: text } },
    ...extra,
    xaxis: { ...axis, ...extra.xaxis },
    yaxis: { ...axis, ...extra.yaxis },
  };
}

export const PLOT_CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  displayModeBar: false,
};

/**
 * A line over the whole width at one level.
 * @param {number} level
 * @param {object} line
 */
export const levelLine = (level, line) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: level, y1: level, line });
/**
 * A line over the whole height at one place.
 * @param {number} x
 * @param {object} line
 */
export const placeLine = (x, line) => ({ type: "line", yref: "paper", y0: 0, y1: 1, x0: x, x1: x, line });

/** @typedef {{x: number[], y: (number | null)[]}} Points */
/**
 * Where a trace's points come from, from index `start` on; the rest is its look. `whole`: its earlier points change too, so
 * all of them are given each time.
 * @typedef {{columns: (run: Run, start: number) => Points, whole?: boolean, [look: string]: any}} Source
 */

/** @type {Points} */
const NO_POINTS = { x: [], y: [] };

/**
 * A plot that is made once and then only extended. Draws one after the other, in the order in which they were asked
 * for.
 * @param {PlotlyElement} place
 * @param {string} group whose plots share their cursor
 * @param {() => Source[]} sources
 * @param {() => Partial<PlotlyLayout>} look
 * @returns {(run: Run, reset: boolean) => void}
 */
export function growing(place, group, sources, look) {
  /** @type {number[]} */
  let counts = [];
  let made = false;
  let broken = false;
  let chain = Promise.resolve();

  /** @param {Run} run @param {Plotly} Plotly */
  async function make(run, Plotly) {
    const traces = sources().map(({ columns, whole: _, ...rest }) => {
      const { x, y } = columns(run, 0);
      return { type: "scatter", mode: "lines", ...rest, x: x.slice(), y: y.slice() };
    });
    counts = traces.map(({ x }) => x.length);
    made = true;
    await Plotly.react(place, traces, layout(look()), PLOT_CONFIG);
    joinCursors(place, group);
  }
  /** @param {Run} run @param {Plotly} Plotly */
  async function extend(run, Plotly) {
    const all = sources();
    const fresh = all
      .map(({ columns, whole }, i) => ({ i, ...(whole ? NO_POINTS : columns(run, counts[i])) }))
      .filter(({ x }) => x.length);
    if (!fresh.length) return;
    all.forEach(({ columns, whole }, i) => whole && place.data && Object.assign(place.data[i], columns(run, 0)));
    for (const { i, x } of fresh) counts[i] += x.length;
    const more = { x: fresh.map(({ x }) => x), y: fresh.map(({ y }) => y) };
    await Plotly.extendTraces(
      place,
      more,
      fresh.map(({ i }) => i),
    );
  }
  return (run, reset) => {
    if (broken) return;
    chain = chain
      .then(plotly)
      .then((Plotly) => (made && !reset ? extend(run, Plotly) : make(run, Plotly)))
      .catch((error) => {
        broken = true;
        place.textContent = messageOf(error);
      });
  };
}

/** @param {PlotlyElement} plot */
export const plotRows = (plot) => [
  ["series", "x", "y"],
  ...(plot.data || []).flatMap((trace) => Array.from(trace.x, (x, i) => [trace.name || "", x, trace.y[i]])),
];

/* ---- the shared cursor ---- */

/** @type {Map<string, Set<PlotlyElement>>} */
const groups = new Map();
let moving = false;

/**
 * Plots of a group show the same place on their horizontal axes at the same time.
 * @param {PlotlyElement} plot
 * @param {string} group
 */
export function joinCursors(plot, group) {
  const members = groups.get(group) ?? new Set();
  groups.set(group, members);
  if (members.has(plot)) return;
  members.add(plot);
  /** @param {(other: PlotlyElement) => void} act */
  function others(act) {
    if (moving) return; // what we do to the others makes them report too
    moving = true;
    for (const other of members) {
      if (!other.isConnected) members.delete(other);
      else if (other !== plot && other.offsetParent && other._fullLayout?.xaxis) tried(() => act(other));
    }
    moving = false;
  }
  plot.on("plotly_hover", ({ points }) =>
    others((other) => window.Plotly.Fx.hover(other, pointsAt(other, points[0].x), ["xy"])),
  );
  plot.on("plotly_unhover", () => others((other) => window.Plotly.Fx.unhover(other)));
}

/**
 * Plotly throws where a plot isn't drawn at this place.
 * @param {() => void} act
 */
function tried(act) {
  try {
    act();
  } catch {
    /* the others follow the cursor all the same */
  }
}

/**
 * The point of each curve of a plot that lies nearest to x.
 * @param {PlotlyElement} plot
 * @param {number} x
 */
function pointsAt(plot, x) {
  return (plot.data ?? [])
    .map((trace, curveNumber) => ({ trace, curveNumber }))
    .filter(({ trace }) => trace.x.length && trace.hoverinfo !== "skip" && trace.visible !== false)
    .map(({ trace, curveNumber }) => ({ curveNumber, pointNumber: nearestIndex(trace.x, x) }))
    .slice(0, 12);
}

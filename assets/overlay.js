/* The Runs tab: the losses of the ticked runs over each other. */
/** @import { Listed } from "./columns.js" */
/** @import { Mount } from "./open_run.js" */

import { css, h, head, onTheme, select, setChildren, setText } from "./dom.js";
import { exportButtons } from "./export.js";
import { leftOut } from "./listing.js";
import { get } from "./net.js";
import { armDash, armProperty, translucent } from "./palette.js";
import { layout, PLOT_CONFIG, plotly, plotPlace, plotRows } from "./plot.js";
import { AXIS_OPTIONS } from "./series.js";

const MOST_DRAWN = 12; // by the server
const MOST_GROUPED = 32;

/** @typedef {{run: Listed, place: number}} Ticked `place` among the colours, which it keeps */
/**
 * @typedef {{
 *   name: string, legendgroup: string, showlegend?: boolean, fill?: string, line: {width: number}, mode: string,
 * }} Trace
 * @typedef {{
 *   data: Trace[], layout: {xaxis: any, yaxis: any, shapes?: {y0: number}[]},
 *   compared: string[], differing: [path: string, label: string][],
 * }} Figure as the server makes it
 * @typedef {ReturnType<typeof overlay>} Overlay
 */

/** @type {Overlay | null} */
let made = null;
/** The one of this page, which the table of runs draws and a panel of its own shows. */
export const theOverlay = () => (made ??= overlay());

/** @type {Mount} */
export function ticked(root) {
  root.append(theOverlay().element);
}

/** The plot of the ticked runs: asked for again only where something of it has changed. */
function overlay() {
  const axis = select(AXIS_OPTIONS, { id: "overlay-x", "aria-label": "horizontal axis" });
  const measure = select(
    [
      ["loss", "loss"],
      ["bits", "bits per byte"],
      ["accuracy", "accuracy"],
    ],
    { id: "overlay-y", "aria-label": "what is compared" },
  );
  const group = select([["", "nothing"]], { id: "overlay-group", "aria-label": "setting to group by" });
  const logX = h("input", { type: "checkbox", id: "overlay-log-x" });
  const logY = h("input", { type: "checkbox", id: "overlay-log-y" });
  const plot = plotPlace("pg-plot-big");
  const element = h("div", { class: "pg-overlay", hidden: true });
  const words = h("span");
  const heading = head(
    "The ticked runs",
    words,
    h("label", {}, "show ", measure),
    h("label", {}, "over ", axis),
    h("label", {}, "group by ", group),
    h("label", {}, logX, " log x"),
    h("label", {}, logY, " log y"),
    exportButtons(
      () => `runs-${measure.value}`,
      element,
      () => plotRows(plot),
    ),
  );
  const marks = legend(() => paint());
  const verdicts = h("ul", { class: "pg-verdicts", "aria-label": "the ticked runs against the first" });
  element.append(heading, marks.element, plot, verdicts);
  /** @type {Ticked[]} */
  let shown = [];
  /** @type {Figure | null} */
  let figure = null;
  let asked = "";

  /** @param {Ticked[]} runs in the order in which they were ticked */
  async function draw(runs) {
    shown = runs;
    element.hidden = runs.length === 0;
    const chosen = [axis, measure, group].map(({ value }) => value);
    const key = runs.length ? JSON.stringify([...chosen, ...runs.map(changing)]) : "";
    if (key === asked) return;
    asked = key;
    if (!key) return;
    const ids = runs.map(({ run }) => encodeURIComponent(run.id)).join(",");
    try {
      const path = `live/overlay?x=${axis.value}&y=${measure.value}&group=${group.value}&runs=${ids}`;
      const answer = await get(path);
      if (asked !== key) return; // something else was ticked meanwhile, and its answer is on its way or here
      figure = answer;
      await paint();
    } catch {
      if (asked === key) asked = ""; // tried again
    }
  }
  /** Draws what is known with the colours and axes of now. */
  async function paint() {
    const Plotly = await plotly();
    if (!figure) return;
    const { data, compared, differing } = figure;
    const keys = [...new Set(data.map(({ legendgroup }) => legendgroup))];
    const isGrouped = Boolean(group.value);
    const places = new Map(shown.map(({ run, place }) => [run.id, place]));
    const placeOf = (/** @type {string} */ key) => (isGrouped ? keys.indexOf(key) : (places.get(key) ?? 0));
    const traces = data.map((trace) => coloured(trace, placeOf(trace.legendgroup), marks.off.has(trace.legendgroup)));
    document.body.dataset.overlay = isGrouped ? "grouped" : "each";
    setText(words, meaning());
    marks.show(data.filter(isNamed), placeOf, (figure.layout.shapes ?? []).length > 0);
    offerGroups(differing);
    const said = [...leftOut(shown.length, isGrouped ? MOST_GROUPED : MOST_DRAWN), ...compared];
    setTexts(verdicts, said);
    await Plotly.react(plot, traces, look(figure.layout), PLOT_CONFIG);
  }
  function meaning() {
    const drawn = group.value
      ? "Each line is the mean over the runs of one value, its band reaches from the least to the largest"
      : measure.value === "loss"
        ? "Thin: training, smoothed; thick: held out"
        : "";
    const why = { bits: "Bits per byte compare models whose tokenizers differ", accuracy: "Accuracy is that of tasks" };
    const sentences = [drawn, why[/** @type {"bits" | "accuracy"} */ (measure.value)], "A name hides its line"];
    return `${sentences.filter(Boolean).join(". ")}.`;
  }
  /**
   * The settings in which the ticked runs differ; the one that is chosen stays, where it still is one of them.
   * @param {[path: string, label: string][]} differing
   */
  function offerGroups(differing) {
    const now = JSON.stringify(differing);
    if (group.dataset.offered === now) return;
    const chosen = group.value;
    group.dataset.offered = now;
    const options = [["", "nothing"], ...differing].map(([value, label]) => h("option", { value }, label));
    group.replaceChildren(...options);
    group.value = differing.some(([path]) => path === chosen) ? chosen : "";
    if (group.value !== chosen) draw(shown);
  }
  /** @param {Figure["layout"]} of */
  function look({ xaxis, yaxis, shapes }) {
    const ticks = measure.value === "accuracy" ? { tickformat: ".0%" } : {};
    const type = (/** @type {HTMLInputElement} */ log) => (log.checked ? "log" : "linear");
    return layout({
      hovermode: "x",
      margin: { l: 56, r: 12, t: 8, b: 44 },
      xaxis: { title: xaxis.title, type: type(logX) },
      yaxis: { title: yaxis.title, type: type(logY), ...ticks },
      shapes: (shapes ?? []).filter(({ y0 }) => y0 > 0 || !logY.checked),
      uirevision: [axis, measure].map(({ value }) => value).join() + logX.checked + logY.checked,
    });
  }
  for (const control of [axis, measure, group]) control.addEventListener("change", () => draw(shown));
  for (const control of [logX, logY]) control.addEventListener("change", paint);
  onTheme(paint);
  return { element, draw };
}

/**
 * What of a run makes its curve another.
 * @param {Ticked} ticked
 */
const changing = ({ run: { id, called, step, val_loss }, place }) => [id, called, step, val_loss, place];

/** @param {Trace} trace */
const isNamed = ({ showlegend }) => showlegend !== false;

/**
 * A curve, or an edge of a band, in the colour of its place.
 * @param {Trace} trace
 * @param {number} place
 * @param {boolean} isOff
 */
function coloured(trace, place, isOff) {
  const color = css(armProperty(place));
  const dash = trace.mode.includes("markers") ? armDash(place) : "solid";
  const band = trace.fill ? { fillcolor: translucent(color, 0.18) } : {};
  return { ...trace, ...band, line: { ...trace.line, color, dash }, visible: !isOff };
}

/**
 * The curves by name, as buttons that hide and show them; kept while they are the same.
 * @param {() => void} changed
 */
function legend(changed) {
  const element = h("div", { class: "pg-legend", role: "group", "aria-label": "the lines of the plot" });
  const floor = h("span", { class: "pg-dotted", style: "--c:var(--pg-floor)" }, "best possible loss");
  /** Hidden ones. @type {Set<string>} */
  const off = new Set();
  /** @type {Map<string, HTMLButtonElement>} */
  const kept = new Map();

  /** @param {string} key */
  function newMark(key) {
    const mark = h("button", { type: "button" });
    mark.addEventListener("click", () => {
      if (!off.delete(key)) off.add(key);
      mark.setAttribute("aria-pressed", String(!off.has(key)));
      changed();
    });
    kept.set(key, mark);
    return mark;
  }
  /**
   * @param {Trace[]} traces
   * @param {(key: string) => number} placeOf
   * @param {boolean} hasFloor
   */
  function show(traces, placeOf, hasFloor) {
    const marks = traces.map(({ legendgroup: key, name }) => {
      const mark = kept.get(key) ?? newMark(key);
      const place = placeOf(key);
      mark.className = { dash: "pg-dashed", dot: "pg-dotted" }[armDash(place)] ?? "";
      mark.style.setProperty("--c", `var(${armProperty(place)})`);
      mark.setAttribute("aria-pressed", String(!off.has(key)));
      setText(mark, unescaped(name));
      return mark;
    });
    setChildren(element, hasFloor ? [...marks, floor] : marks);
  }
  return { element, off, show };
}

/** A name as the server writes it for Plotly. @param {string} name */
const unescaped = (name) => name.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

/** The entries of a list, of which those that are there are kept. @param {HTMLElement} list @param {string[]} texts */
function setTexts(list, texts) {
  setChildren(
    list,
    texts.map((_, i) => list.children[i] ?? h("li")),
  );
  texts.forEach((text, i) => setText(list.children[i], text));
}

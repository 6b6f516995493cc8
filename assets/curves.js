/* The curves of the Play tab, all over the same horizontal axis: loss, gradient norm, learning rate, speed,
   accuracy. */
/** @import { Change, Mount } from "./open_run.js" */
/** @import { Points, Source } from "./plot.js" */
/** @import { Axis, Columns, Run } from "./series.js" */

import { css, h, head, onTheme, select } from "./dom.js";
import { exportButtons } from "./export.js";
import { number } from "./format.js";
import { translucent } from "./palette.js";
import { growing, layout, levelLine, PLOT_CONFIG, plotly, plotPlace, plotRows } from "./plot.js";
import { along, AXES, AXIS_OPTIONS, newest, smoothed } from "./series.js";

/* ---- the common axis ---- */

/** @type {Axis} */
let axis = "step";
/** @type {(() => void)[]} */
const followers = [];

export const trainAxis = () => axis;
/** Draw again when another axis is chosen. @param {() => void} draw */
export const onTrainAxis = (draw) => followers.push(draw);
const axisTitle = () => ({ text: AXES[axis] });

/* ---- where the points come from ---- */

/** @type {Points} */
const NONE = { x: [], y: [] };

/**
 * A recorded column.
 * @param {string} kind
 * @param {string} name
 */
const column = (kind, name) => (/** @type {Run} */ run, /** @type {number} */ start) => {
  const columns = run.series[kind];
  return columns ? { x: along(run, columns, axis).slice(start), y: columns[name].slice(start) } : NONE;
};

/**
 * The same smoothed over steps, from its beginning on: what is learnt later moves the last points. A loss that is no
 * number leaves a gap.
 * @param {string} kind
 * @param {string} name
 * @param {() => number} reach
 */
const smoothColumn = (kind, name, reach) => (/** @type {Run} */ run) => {
  const columns = run.series[kind];
  return columns ? { x: along(run, columns, axis), y: smoothed(columns.step, columns[name], reach()) } : NONE;
};

/**
 * Results on held-out data: on the sample, or on the whole of it.
 * @param {"validation" | "accuracy"} kind
 * @param {string} name
 * @param {boolean} whole
 */
const judged = (kind, name, whole) => (/** @type {Run} */ run, /** @type {number} */ start) => {
  const all = run.series[kind];
  if (!all) return NONE;
  /** @type {Columns} */
  const columns = {};
  for (const [each, values] of Object.entries(all)) columns[each] = values.filter((_, i) => all.whole[i] === whole);
  return { x: along(run, columns, axis).slice(start), y: columns[name].slice(start) };
};

/**
 * One edge of the band in which the loss on the whole held-out text lies with a probability of 95%.
 * @param {number} way -1 for the lower one, 1 for the upper one
 */
const edge = (way) => (/** @type {Run} */ run, /** @type {number} */ start) => {
  const { x, y } = judged("validation", "loss", false)(run, start);
  const errors = judged("validation", "error", false)(run, start).y;
  return { x, y: y.map((loss, i) => (loss === null ? null : loss + way * 2 * (errors[i] ?? 0))) };
};

/* ---- panels ---- */

/**
 * What plots of this tab have in common: they are drawn again when the theme or the axis changes.
 * @param {(run: Run, reset: boolean) => void} draw
 * @param {() => Run | null} current
 */
function drawnAgain(draw, current) {
  const again = () => {
    const run = current();
    if (run) draw(run, true);
  };
  onTheme(again);
  onTrainAxis(again);
  return again;
}

/** @type {Mount} */
export function loss(root) {
  const logX = h("input", { type: "checkbox", id: "loss-log-x" });
  const logY = h("input", { type: "checkbox", id: "loss-log-y" });
  const smooth = h("input", {
    type: "range",
    min: "0",
    max: "30",
    step: "1",
    value: "5",
    id: "loss-smooth",
    "aria-label": "smoothing of the training loss",
  });
  const over = select(AXIS_OPTIONS, { id: "train-x", "aria-label": "horizontal axis of all curves" });
  const place = plotPlace("pg-plot-big");
  const { legend, showFloor, showBefore } = lossLegend();
  /** @type {Run | null} */
  let current = null;
  /** The run that was open before this one, as a grey line. @type {Run | null} */
  let before = null;
  root.append(
    head(
      "Loss",
      "How surprised the model is by the next token, in nats per token. Lower is better.",
      h("label", {}, "smoothing ", smooth),
      h("label", {}, logX, " log x"),
      h("label", {}, logY, " log y"),
      h("label", {}, "over ", over),
      exportButtons(
        () => `${nameOf(current)}-loss`,
        root,
        () => plotRows(place),
      ),
    ),
    place,
    legend,
  );

  /** The reference lines; and the best possible loss, where the data come from a known definition. A floor of zero has
   * no place on a logarithmic axis. */
  function levels() {
    if (!current?.status) return [];
    const floor = newest(current, "facts", "floor");
    const below = floor === 0 && logY.checked;
    showFloor(floor, below, newest(current, "facts", "data") === "text");
    const line = { color: css("--body-text-color-subdued"), width: 1.2, dash: "dash" };
    const drawn = references(current).map(({ loss }) => levelLine(loss, line));
    if (floor !== null && !below) drawn.push(levelLine(floor, { color: css("--pg-floor"), width: 2, dash: "dot" }));
    return drawn;
  }
  /** What the reference lines are called, at their right ends. */
  const names = () =>
    references(current).map(({ name, loss }) => ({
      text: `${name}, ${loss.toFixed(2)}`,
      xref: "paper",
      x: 1,
      xanchor: "right",
      y: logY.checked ? Math.log10(loss) : loss,
      yanchor: "bottom",
      showarrow: false,
      font: { size: 11, color: css("--body-text-color-subdued") },
    }));
  const calm = smoothColumn("progress", "loss", () => Number(smooth.value));
  /** @returns {Source[]} */
  function sources() {
    const train = css("--pg-train");
    const val = css("--pg-val");
    const held = judged("validation", "loss", false);
    return [
      {
        columns: (_, start) => (before && start === 0 ? held(before, 0) : NONE),
        name: before ? nameOf(before) : "before",
        mode: "lines+markers",
        line: { color: css("--pg-before"), width: 1.8 },
        marker: { size: 5, symbol: "diamond" },
        hovertemplate: "%{y:.3f}",
      },
      {
        columns: column("progress", "loss"),
        name: "training",
        line: { color: train, width: 1 },
        opacity: 0.45,
        hoverinfo: "skip",
      },
      { columns: calm, whole: true, name: "training", line: { color: train, width: 2.2 }, hovertemplate: "%{y:.3f}" },
      { columns: edge(-1), name: "held out, lower", line: { width: 0 }, hoverinfo: "skip" },
      {
        columns: edge(1),
        name: "held out, upper",
        line: { width: 0 },
        fill: "tonexty",
        fillcolor: translucent(val, 0.22),
        hoverinfo: "skip",
      },
      {
        columns: judged("validation", "loss", true),
        name: "whole held-out text",
        mode: "markers",
        marker: { size: 12, symbol: "star", color: val, line: { color: css("--body-text-color"), width: 1 } },
        hovertemplate: "%{y:.3f}",
      },
      {
        columns: held,
        name: "held out",
        mode: "lines+markers",
        line: { color: val, width: 2.2 },
        marker: { size: 7, symbol: "diamond" },
        hovertemplate: "%{y:.3f}",
      },
    ];
  }
  /** @param {HTMLInputElement} log */
  const scale = (log) => (log.checked ? { type: "log" } : { type: "linear", rangemode: "tozero" });
  const draw = growing(place, "train", sources, () => ({
    xaxis: { title: axisTitle(), ...scale(logX) },
    yaxis: { title: { text: "nats per token" }, ...scale(logY) },
    shapes: levels(),
    annotations: names(),
    uirevision: `${axis}${logX.checked}${logY.checked}`,
  }));
  const again = drawnAgain(draw, () => current);
  logX.addEventListener("change", again);
  logY.addEventListener("change", again);
  smooth.addEventListener("input", again);
  over.addEventListener("change", () => {
    axis = /** @type {Axis} */ (over.value);
    for (const follow of followers) follow();
  });

  /** @param {Run} run @param {Change} change */
  function update(run, { reset, kinds }) {
    if (run.status && current && current !== run) before = comparable(current, run) ? current : null;
    if (run.status || !run.id) current = run.status ? run : null; // while another is being opened, the last one is remembered
    showBefore(before ? nameOf(before) : "");
    const redrawn = reset || kinds.has("facts"); // which bring the reference lines
    if (run.status && (redrawn || kinds.has("progress") || kinds.has("validation"))) draw(run, redrawn);
  }
  return { update };
}

/**
 * Whether two runs' losses are of the same tokens.
 * @param {Run} one
 * @param {Run} other
 */
const comparable = (one, other) =>
  one.status?.source === other.status?.source && one.status?.vocab_size === other.status?.vocab_size;

const CLOSE_NATS = 0.05;

/**
 * What models reach that know only how frequent tokens are, the worst first: alone, or after the one or two before
 * them. Those that are hardly better than the one before are left out.
 * @param {Run | null} run
 * @returns {{name: string, loss: number}[]}
 */
function references(run) {
  const vocabulary = run?.status?.vocab_size;
  if (!run || !vocabulary) return [];
  const known = newest(run, "facts", "lines") || {};
  let last = Math.log(vocabulary);
  const drawn = [{ name: "chance", loss: last }];
  for (const name of ["unigram", "bigram", "trigram"]) {
    if (!(known[name] < last - CLOSE_NATS)) continue;
    last = known[name];
    drawn.push({ name, loss: last });
  }
  return drawn;
}

function lossLegend() {
  const floor = h("span", {
    class: "pg-dotted",
    style: "--c:var(--pg-floor)",
    title:
      "the entropy of what cannot be predicted, on the very held-out tokens, all of them; on a sample of them a loss may lie a little below by chance. Of a text it counts what stories tell from their beginnings on: windows that begin in mid-story lack that, and no model can come quite down to it",
    hidden: true,
  });
  const before = h("span", { style: "--c:var(--pg-before)", title: "the run that was open before", hidden: true });
  const legend = h(
    "div",
    { class: "pg-legend" },
    h("span", { style: "--c:var(--pg-train)" }, "training, smoothed"),
    h("span", { style: "--c:color-mix(in srgb, var(--pg-train) 45%, transparent)" }, "training, each point"),
    h(
      "span",
      {
        style: "--c:var(--pg-val)",
        title:
          "a sample of the held-out data, the same for every run; band: where the loss on all of it lies (95%); star: all of it, at the end",
      },
      "held out, with its 95% band",
    ),
    h(
      "span",
      {
        class: "pg-dashed",
        style: "--c:var(--body-text-color-subdued)",
        title:
          "how frequent each token is (unigram), after the one before (bigram), after two (trigram): counted on the training part with interpolated Witten-Bell smoothing, judged on all held-out tokens; chance: all tokens equally likely",
      },
      "what counting tokens reaches",
    ),
    floor,
    before,
  );
  /** @param {string} name of the run that was open before, if any */
  function showBefore(name) {
    before.hidden = !name;
    before.textContent = `${name}, held out`;
  }
  /** @param {number | null} level @param {boolean} below @param {boolean} isBound */
  function showFloor(level, below, isBound) {
    floor.hidden = level === null;
    const where = below ? " (below a logarithmic axis)" : "";
    const what = isBound ? "lower bound" : "best possible";
    floor.textContent = level === null ? "" : `${what}, ${Number(level).toFixed(3)}${where}`;
  }
  return { legend, showFloor, showBefore };
}

/**
 * The name of the run that is shown, for a file.
 * @param {Run | null} run
 */
export const nameOf = (run) => run?.status?.name ?? "";

/**
 * A small plot of one column of the progress.
 * @param {{
 *   title: string, question: string, name: string, unit: string, colour: string, format: string, axis: object,
 *   said: (value: number) => string,
 * }} what `colour` a custom property of the style sheet, `format` that of d3
 * @returns {Mount}
 */
const small = (what) => (root) => {
  const now = h("span", { class: "pg-now" });
  const place = plotPlace("pg-plot-small");
  /** @type {Run | null} */
  let current = null;
  const exports = exportButtons(
    () => `${nameOf(current)}-${what.name}`,
    root,
    () => plotRows(place),
  );
  root.append(head(what.title, what.question, now, exports), place);
  /** @returns {Source[]} */
  const sources = () => [
    {
      columns: column("progress", what.name),
      line: { color: css(what.colour), width: 1.8 },
      name: what.title,
      hovertemplate: `%{y:${what.format}} ${what.unit}<extra></extra>`,
    },
  ];
  const draw = growing(place, "train", sources, () => ({
    xaxis: { title: axisTitle(), rangemode: "tozero" },
    yaxis: { ...what.axis, title: { text: what.unit } },
    uirevision: axis,
  }));
  drawnAgain(draw, () => current);
  return {
    update(run, { reset, kinds }) {
      current = run.status ? run : null;
      const last = newest(run, "progress", what.name);
      now.textContent = last === null ? "" : what.said(last);
      if (current && (reset || kinds.has("progress"))) draw(run, reset);
    },
  };
};

/** @param {number} value */
const threeDigits = (value) => Number(value).toPrecision(3);

export const gradnorm = small({
  title: "Gradient norm",
  question: "How hard the loss pulls on the weights, before clipping.",
  name: "grad_norm",
  unit: "",
  colour: "--pg-grad",
  format: ".3f",
  axis: { type: "log" },
  said: threeDigits,
});
export const rate = small({
  title: "Learning rate",
  question: "How far each step follows that pull.",
  name: "lr",
  unit: "",
  colour: "--pg-rate",
  format: ".2e",
  axis: { tickformat: "~e" },
  said: threeDigits,
});
export const speed = small({
  title: "Speed",
  question: "How much text is learnt from per second.",
  name: "tokens_per_s",
  unit: "tokens/s",
  colour: "--pg-speed",
  format: ",.0f",
  axis: { rangemode: "tozero" },
  said: (value) => `${number(value)} tokens/s`,
});

/**
 * Of a task: how often it is right on unseen examples, over time and by size.
 * @type {Mount}
 */
export function accuracy(root) {
  const now = h("span", { class: "pg-now" });
  const place = plotPlace("pg-plot-middle");
  const wholes = h("span", { style: "--c:var(--pg-val)" }, "whole answers right");
  const ceiling = h(
    "span",
    { class: "pg-dotted", style: "--c:var(--pg-floor)", hidden: true },
    "best possible, tokens",
  );
  const tokens = h("span", { style: "--c:var(--pg-tokens)" }, "tokens of the answers right");
  const byTime = h("div", {}, place, h("div", { class: "pg-legend" }, wholes, tokens, ceiling));
  const bySize = accuracyBySize();
  /** @type {Run | null} */
  let current = null;
  root.append(
    head(
      "Accuracy on unseen examples",
      "How often it is right. None of these examples was ever trained on.",
      now,
      exportButtons(
        () => `${nameOf(current)}-accuracy`,
        byTime,
        () => plotRows(place),
      ),
    ),
    h("div", { class: "pg-accuracy-grid" }, byTime, bySize.element),
  );
  /** Where chance decides, a whole answer is right by luck alone: then only tokens are counted. */
  const exact = () => !current || newest(current, "facts", "exact") !== false;
  /** @returns {Source[]} */
  const sources = () => [
    {
      columns: judged("accuracy", "token", false),
      name: "tokens",
      mode: "lines+markers",
      line: { color: css("--pg-tokens"), width: 2 },
      marker: { size: 5 },
      hovertemplate: "%{y:.1%}",
    },
    {
      columns: judged("accuracy", "answer", false),
      visible: exact(),
      name: "answers",
      mode: "lines+markers",
      line: { color: css("--pg-val"), width: 2.2 },
      marker: { size: 6, symbol: "diamond" },
      hovertemplate: "%{y:.1%}",
    },
  ];
  const curves = growing(place, "train", sources, () => {
    wholes.hidden = !exact();
    const best = current && !exact() ? newest(current, "facts", "ceiling") : null;
    ceiling.hidden = best === null;
    return {
      xaxis: { title: axisTitle(), rangemode: "tozero" },
      uirevision: axis,
      yaxis: { tickformat: ".0%", range: [-0.02, 1.02] },
      shapes: best === null ? [] : [levelLine(best, { color: css("--pg-floor"), width: 2, dash: "dot" })],
    };
  });
  /** @param {Run} run @param {boolean} reset */
  function draw(run, reset) {
    if (!run.series.accuracy) return;
    curves(run, reset);
    bySize.draw(run);
  }
  drawnAgain(draw, () => current);
  return {
    update(run, { reset, kinds }) {
      current = run.status ? run : null;
      const right = newest(run, "accuracy", exact() ? "answer" : "token");
      now.textContent = right === null ? "" : `${(100 * right).toFixed(1)}% of ${exact() ? "answers" : "tokens"}`;
      if (current && (reset || kinds.has("accuracy"))) draw(run, reset);
    },
  };
}

function accuracyBySize() {
  const place = plotPlace("pg-plot-middle");
  const words = h("p", { class: "pg-faint pg-size-words" });
  const element = h("div", { hidden: true }, place, words);
  /** @param {Run} run */
  async function draw(run) {
    /** @type {number[]} */
    const x = newest(run, "accuracy", "sizes");
    const y = newest(run, "accuracy", "by_size");
    const trained = newest(run, "facts", "trained_size");
    const unit = newest(run, "facts", "unit");
    element.hidden = !x.length;
    if (!x.length) return;
    const Plotly = await plotly();
    const color = x.map((size) => css(size <= trained ? "--pg-val" : "--pg-beyond"));
    const hovertemplate = `%{x} ${unit}: %{y:.0%} of answers right<extra></extra>`;
    const look = layout({
      hovermode: "closest",
      xaxis: { title: { text: `${unit} in the prompt` } },
      yaxis: { tickformat: ".0%", range: [0, 1.02] },
      bargap: 0.25,
    });
    await Plotly.react(place, [{ type: "bar", x, y, marker: { color }, hovertemplate }], look, PLOT_CONFIG);
    words.textContent = x.some((size) => size > trained)
      ? `Whole answers right, by size. Orange: sizes it was trained on, up to ${trained}. Grey: longer than it has ever seen.`
      : "Whole answers right, by size. A larger context would also test longer ones.";
  }
  return { element, draw };
}

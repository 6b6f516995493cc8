/* An experiment that has begun: its curves by arm, the differences that its claims are about, its runs, and its verdict. */
/** @import { Curve } from "./arms.js" */
/** @import { View } from "./experiments.js" */
/** @import { Graph } from "./diagram.js" */
/** @import { Draft } from "./own.js" */
/** @import { Law } from "./law.js" */

import { deviation, differenceText, meanOf, reachOf, spread, valueText } from "./arms.js";
import { button, css, h, head, onTheme, s, scroller, select, setText } from "./dom.js";
import { exportButton, plotSection, saveCsv, savePng, saveVector } from "./export.js";
import { fileName, number } from "./format.js";
import { lookBeside } from "./inside.js";
import { lawPlot } from "./law.js";
import { address, copy, get, save, whyNot } from "./net.js";
import { armDash, armProperty, translucent } from "./palette.js";
import { layout, PLOT_CONFIG, plotly, plotPlace } from "./plot.js";
import { arms as armFigures, backButton } from "./proposal.js";

/**
 * @typedef {{name: string, changes: [label: string, value: string][], matched: string, n_params: number,
 *   steps: number | null, graph: Graph}} Arm
 * @typedef {{kind: string, arm: string, than: string | number, delta: number, words: string}} Claim
 * @typedef {{
 *   title: string, question: string, said: string, prediction: string | null, arms: Arm[], seeds: number[],
 *   n_runs: number, seconds: number | null, unit: string, measure: string, measured: string, rates: number[], claims: Claim[],
 *   rule: string, methods: string, document: object, warnings: string[], stops_early: boolean, common_steps: number | null,
 * }} Described what the server says of an experiment
 * @typedef {{
 *   id: string, name: string, arm: string, seed: number, role: "compared" | "tuning" | "common", state: string, reason: string,
 *   step: number, max_steps: number | null, rate: number | null, curve: Curve,
 * }} Member a run of an experiment
 * @typedef {{
 *   verdict: string, seeds_needed: number | null, pairs: Record<string, number>, difference: number | null,
 *   interval: [number, number] | null, p?: number | null, detectable?: number | null,
 * }} Judged a claim's verdict so far
 * @typedef {Described & {
 *   experiment_id: string, verdict: string, sentences: string[], runs_ended: number, runs: number, predicted: string,
 *   members: Member[], wanted: string, held: string, mine: boolean, by: string, is_complete: boolean, judged: Judged[],
 *   fit: Law | null,
 *   found: Record<string, {values: Record<string, number>, diverged: number[], rate: number | null}>,
 * }} Found
 */

/**
 * @param {string} id
 * @param {(asked: object) => void} act
 * @param {() => void} back
 * @param {(draft: Draft) => void} change
 * @returns {View}
 */
export function trial(id, act, back, change) {
  const question = h("h2", { class: "pg-question" });
  const headline = h("strong", { class: "pg-verdict-word", role: "status" });
  const banner = h("div", {});
  const said = h("div", { class: "pg-verdict" }, headline, banner);
  const buttons = h("div", { class: "pg-line pg-wrap" });
  const curves = curvePlot(id);
  const claims = differences();
  const law = lawPlot(id);
  const table = scroller("pg-table-wrap pg-seeds", "the runs by arm and seed");
  const pair = twoArms(act);
  const about = h("div");
  const problem = h("p", { class: "pg-faint", role: "status" }, "One moment.");
  const all = h(
    "div",
    { hidden: true },
    question,
    said,
    buttons,
    curves.element,
    claims.element,
    law.element,
    h("h3", {}, "Each run"),
    table,
    pair.element,
    about,
  );
  const element = h("div", { class: "pg-experiment" }, backButton(back), problem, all);
  let shown = "";
  let isOver = false;
  async function refresh() {
    if (isOver) return;
    try {
      /** @type {Found} */
      const found = await get(`live/experiments/${encodeURIComponent(id)}`);
      problem.textContent = "";
      all.hidden = false;
      const now = JSON.stringify(found);
      if (now === shown) return;
      const isFirst = !shown || found.is_complete;
      shown = now;
      setText(question, found.question);
      banner.replaceChildren(...verdictOf(found));
      said.dataset.verdict = found.is_complete ? found.verdict : "";
      setText(headline, headlineOf(found));
      const steered = JSON.stringify([found.wanted, found.is_complete, found.mine]);
      if (buttons.dataset.for !== steered) buttons.replaceChildren(...actions(found, act, change));
      buttons.dataset.for = steered;
      withFocusKept(table, () => table.replaceChildren(runTable(found, (run) => act({ do: "look", run }))));
      pair.show(found);
      claims.show(found);
      if (isFirst) about.replaceChildren(...aboutIt(found));
      await curves.show(found);
      await law.show(found);
      isOver = found.is_complete && found.wanted !== "run"; // the director says so a moment later
    } catch (error) {
      problem.textContent = whyNot(error);
    }
  }
  return { element, refresh };
}

/* ---- the verdict ---- */

const VERDICTS = /** @type {Record<string, string>} */ ({
  supported: "Supported",
  refuted: "Refuted",
  undecided: "Undecided",
});

/** @param {Found} found */
function headlineOf({ is_complete, runs_ended, runs, verdict, judged }) {
  if (!is_complete) return `${runs_ended} of ${runs} runs have ended`;
  const count = (/** @type {string} */ word) => judged.filter((each) => each.verdict === word).length;
  const parts = ["supported", "refuted", "undecided"]
    .filter((word) => count(word))
    .map((word) => `${count(word)} ${word}`);
  return judged.length > 1 ? `${VERDICTS[verdict]}: of ${judged.length} claims ${parts.join(", ")}` : VERDICTS[verdict];
}

/**
 * Redraw a place without taking the keyboard's focus from the run that has it.
 * @param {HTMLElement} place
 * @param {() => void} redraw
 */
function withFocusKept(place, redraw) {
  const focused = document.activeElement;
  const run = focused instanceof HTMLElement && place.contains(focused) ? focused.dataset.run : undefined;
  redraw();
  if (run)
    /** @type {HTMLElement | null} */ (place.querySelector(`[data-run="${run}"]`))?.focus({ preventScroll: true });
}

/** @param {Found} found */
function verdictOf(found) {
  const share = found.runs ? found.runs_ended / found.runs : 0;
  const bar = h("div", { class: "pg-bar" }, h("div", { class: "pg-bar-fill", style: `width: ${100 * share}%` }));
  const waits = found.held ? [h("p", { class: "pg-warning" }, `The next run waits: ${found.held}.`)] : [];
  const stopped = !found.is_complete && found.wanted === "stop" ? [h("p", {}, "Stopped. What has ended is kept.")] : [];
  return [
    ...(found.is_complete ? [] : [bar]),
    ...waits,
    ...stopped,
    h("ul", { class: "pg-verdicts" }, ...found.sentences.map((each) => h("li", {}, each))),
  ];
}

/**
 * @param {Found} found
 * @param {(asked: object) => void} act
 * @param {(draft: Draft) => void} change
 */
function actions(found, act, change) {
  const id = found.experiment_id;
  const steer = (/** @type {string} */ wanted) => () => act({ do: "steer", id, wanted });
  const link = () => {
    const url = new URL(address("."));
    url.search = `?experiment=${id}`;
    return url.href;
  };
  const share = button("Copy link", async () => {
    const copied = await copy(link(), () => window.prompt("Copy this address:", link()));
    if (copied) share.textContent = "Link copied";
    setTimeout(() => (share.textContent = "Copy link"), 1500);
  });
  const json = () =>
    save(
      fileName(found.title, "json"),
      new Blob([JSON.stringify(found.document, null, 2)], { type: "application/json" }),
    );
  const steering = found.mine && !found.is_complete;
  const remove = () =>
    window.confirm("Delete this experiment? Its runs stay in Runs.") && act({ do: "delete", id: found.experiment_id });
  return [
    steering && found.wanted === "run" ? button("Stop", steer("stop"), { id: "experiment-stop" }) : null,
    steering && found.wanted !== "run" ? button("Go on", steer("run"), { id: "experiment-go-on" }) : null,
    share,
    button("Results (CSV)", () => saveCsv(found.title, tidy(found))),
    button("Document (JSON)", json),
    found.mine && found.wanted !== "run" ? button("Delete", remove, { id: "experiment-delete" }) : null,
    button("Change it and run again", () => change({ document: found.document })),
  ].flatMap((each) => each ?? []);
}

/**
 * One row for each run and what was measured of it.
 * @param {Found} found
 */
function tidy(found) {
  const rows = found.members.map((run) => {
    const value = run.role === "compared" ? found.found[run.arm]?.values[run.seed] : undefined;
    return [
      found.experiment_id,
      run.arm,
      run.seed,
      run.role,
      run.rate,
      run.id,
      run.state,
      run.step,
      found.measure,
      value ?? "",
    ];
  });
  return [["experiment", "arm", "seed", "role", "lr", "run", "state", "step", "measure", "value"], ...rows];
}

/* ---- the curves ---- */

/** @param {string} id */
function curvePlot(id) {
  const band = select(
    [
      ["range", "from least to largest"],
      ["error", "± 1 standard error"],
    ],
    { id: "experiment-band" },
  );
  const scale = select(
    [
      ["linear", "linear"],
      ["log", "logarithmic"],
    ],
    { id: "experiment-scale" },
  );
  const each = h("input", { type: "checkbox", id: "experiment-each" });
  const plot = plotPlace("pg-plot-big");
  const element = plotSection(
    "While they train",
    "The mean of each arm over its seeds, with its band.",
    `experiment-${id}`,
    plot,
    h("label", {}, "band ", band),
    h("label", {}, "axes ", scale),
    h("label", {}, each, "each run"),
  );
  /** @type {Found | null} */
  let last = null;

  /** @param {Found} found */
  async function show(found) {
    last = found;
    element.hidden = found.is_complete && found.members.every(({ curve }) => curve[0].length < 2); // nothing to see
    const Plotly = await plotly();
    const traces = found.arms.flatMap((arm, i) => {
      const mine = found.members.filter((run) => run.arm === arm.name && run.role === "compared");
      return tracesOf(
        arm.name,
        colourOf(i),
        armDash(i),
        mine,
        /** @type {"range" | "error"} */ (band.value),
        each.checked,
      );
    });
    const isShare = found.measure === "accuracy";
    const type = scale.value;
    await Plotly.react(
      plot,
      traces,
      layout({
        showlegend: true,
        hovermode: "x",
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
        margin: { l: 56, r: 12, t: 8, b: 44 },
        xaxis: { title: { text: "step" }, type },
        yaxis: {
          title: { text: isShare ? "answers right (share)" : "held-out sample, nats per token" },
          type: isShare ? "linear" : type,
          ...(isShare ? { tickformat: ".0%" } : {}),
        },
      }),
      PLOT_CONFIG,
    );
  }
  const again = () => last && show(last);
  for (const control of [band, scale, each]) control.addEventListener("change", again);
  onTheme(again);
  return { element, show };
}

/** @param {number} i */
const colourOf = (i) => css(armProperty(i));

/**
 * @param {string} name
 * @param {string} colour
 * @param {string} dash
 * @param {Member[]} runs
 * @param {"range" | "error"} band
 * @param {boolean} each
 */
function tracesOf(name, colour, dash, runs, band, each) {
  const { x, mean, low, high, n } = spread(
    runs.map(({ curve }) => curve),
    band,
  );
  const quiet = { type: "scatter", legendgroup: name, showlegend: false, hoverinfo: "skip", mode: "lines" };
  const edge = { ...quiet, line: { width: 0, color: colour } };
  const thin = each
    ? runs.map((run) => ({
        ...quiet,
        name: `${name}, seed ${run.seed}`,
        x: run.curve[0],
        y: run.curve[1],
        line: { width: 1, color: translucent(colour, 0.7) },
      }))
    : [];
  return [
    { ...edge, name: `${name}, low`, x, y: low },
    { ...edge, name: `${name}, high`, x, y: high, fill: "tonexty", fillcolor: translucent(colour, 0.18) },
    ...thin,
    {
      type: "scatter",
      legendgroup: name,
      name: name.replace(/&/g, "&amp;").replace(/</g, "&lt;"),
      x,
      y: mean,
      mode: "lines+markers",
      marker: { size: 5 },
      line: { width: 2.5, color: colour, dash },
      customdata: n,
      hovertemplate: "%{y:.4f}, mean of %{customdata}<extra>%{fullData.name}</extra>",
    },
  ];
}

/* ---- the differences ---- */

const NARROWEST = 300;
const WIDEST = 820;
const ROW = 46;
const NAMES = 16;

function differences() {
  const place = h("div", { class: "pg-differences" });
  const element = h("section", {});
  element.append(
    head(
      "The differences that decide",
      "Paired by seed: dots are seeds, the bar is the 95% interval, the shaded part what is too small to matter.",
      h(
        "span",
        { class: "pg-exports" },
        exportButton("SVG", () => saveVector("differences", place), "save the picture as lines"),
        exportButton("PNG", () => savePng("differences", place), "save the picture"),
      ),
    ),
    place,
  );
  /** @param {Found} found */
  function show(found) {
    place.replaceChildren(forest(found, Math.max(NARROWEST, Math.min(WIDEST, place.clientWidth || WIDEST))));
  }
  return { element, show };
}

/**
 * All claims on one scale.
 * @param {Found} found
 * @param {number} wide
 */
function forest({ claims, judged, unit, is_complete }, wide) {
  const numbers = judged.flatMap((each) => [...Object.values(each.pairs), ...(each.interval ?? [])]);
  const reach = reachOf([...numbers, ...claims.map(({ delta }) => 1.5 * delta)]);
  const at = (/** @type {number} */ value) => wide / 2 + (value / reach) * (wide / 2 - 12);
  const height = claims.length * ROW + 38;
  const svg = s("svg", {
    viewBox: `0 0 ${wide} ${height}`,
    class: "pg-forest",
    role: "img",
    "aria-label": "differences with their intervals",
  });
  claims.forEach((claim, i) => svg.append(...claimRow(claim, judged[i], is_complete ? "" : " so far", i * ROW, at)));
  const foot = height - 30;
  svg.append(s("line", { x1: at(0), x2: at(0), y1: 4, y2: foot, class: "pg-zero" }));
  for (const value of [-reach / 1.12, 0, reach / 1.12]) {
    const anchor = value < 0 ? "start" : value > 0 ? "end" : "middle";
    const text = value ? differenceText(value, unit) : "0";
    svg.append(
      s(
        "text",
        {
          x: value < 0 ? 4 : value > 0 ? wide - 4 : at(0),
          y: foot + 12,
          "text-anchor": anchor,
          class: "pg-forest-axis",
        },
        text,
      ),
    );
  }
  svg.append(
    s(
      "text",
      { x: wide / 2, y: height - 5, "text-anchor": "middle", class: "pg-forest-axis" },
      `← lower, ${unit}, higher →`,
    ),
  );
  return svg;
}

/**
 * @param {Claim} claim
 * @param {Judged} judged
 * @param {string} when
 * @param {number} top
 * @param {(value: number) => number} at
 */
function claimRow(claim, judged, when, top, at) {
  const middle = top + NAMES + 14;
  /** @type {SVGElement[]} */
  const drawn = [
    s("rect", {
      x: at(-claim.delta),
      width: at(claim.delta) - at(-claim.delta),
      y: top + NAMES,
      height: ROW - NAMES - 2,
      class: "pg-delta",
    }),
    s(
      "text",
      { x: 4, y: top + NAMES - 4, class: "pg-forest-name" },
      `${claim.arm} − ${claim.than}: ${judged.verdict}${when}`,
    ),
  ];
  for (const value of Object.values(judged.pairs))
    drawn.push(s("circle", { cx: at(value), cy: middle, r: 3, class: "pg-pair" }));
  if (judged.interval) {
    const [low, high] = judged.interval;
    drawn.push(
      s("line", {
        x1: at(low),
        x2: at(high),
        y1: middle,
        y2: middle,
        class: "pg-interval",
        "data-verdict": judged.verdict,
      }),
    );
  }
  if (judged.difference !== null) {
    drawn.push(
      s("circle", {
        cx: at(judged.difference),
        cy: middle,
        r: 5,
        class: "pg-interval",
        "data-verdict": judged.verdict,
      }),
    );
  }
  return drawn;
}

/* ---- the runs ---- */

/**
 * Arms by seeds; a run's cell opens it.
 * @param {Found} found
 * @param {(run: string) => void} look
 */
function runTable(found, look) {
  const top = h("tr", {}, ...["arm", ...found.seeds.map((seed) => `seed ${seed}`), "mean ± sd"].map(heading));
  const rows = found.arms.map((arm, i) => {
    const { values, diverged } = found.found[arm.name];
    const numbers = Object.values(values);
    const cells = found.seeds.map((seed) => {
      const run = found.members.find((each) => each.arm === arm.name && each.seed === seed && each.role === "compared");
      return h("td", {}, run ? runCell(run, values[seed], found.unit, look) : h("span", { class: "pg-faint" }, "–"));
    });
    const mean = numbers.length
      ? `${valueText(meanOf(numbers), found.unit)}${numbers.length > 1 ? ` ± ${valueText(deviation(numbers), found.unit)}` : ""}`
      : "–";
    const gone = diverged.length ? ` (${diverged.length} diverged)` : "";
    return h(
      "tr",
      {},
      h("th", { scope: "row", class: "pg-arm-name", style: `--c: var(${armProperty(i)})` }, arm.name),
      ...cells,
      h("td", { class: "pg-right" }, mean + gone),
    );
  });
  const tuning = countOf(found, "tuning", found.arms.length * found.rates.length, "tuning runs");
  const common = countOf(found, "common", found.common_steps ? found.seeds.length : 0, "runs of the steps in common");
  const caption = h(
    "caption",
    {},
    `Compared: ${found.measured}, in ${found.unit}. Click a value to look inside its run.${tuning}${common}`,
  );
  return h("table", { class: "pg-table" }, caption, h("thead", {}, top), h("tbody", {}, ...rows));
}

/**
 * How many runs of a role have ended, as a sentence; empty where there are none.
 * @param {Found} found
 * @param {Member["role"]} role
 * @param {number} all
 * @param {string} words
 */
function countOf({ members }, role, all, words) {
  const ended = members.filter((run) => run.role === role && ["finished", "diverged"].includes(run.state));
  return all ? ` ${ended.length} of ${all} ${words} have ended.` : "";
}

/**
 * Two arms with the same seed, side by side in Inside.
 * @param {(asked: object) => void} act
 */
function twoArms(act) {
  const places = ["experiment-one", "experiment-other"].map((id, i) =>
    select([], { id, "aria-label": `${["one", "the other"][i]} arm` }),
  );
  const seed = select([], { id: "experiment-seed", "aria-label": "seed" });
  const look = button("Look inside both", press, { id: "experiment-beside" });
  const element = h("div", { class: "pg-line pg-wrap" }, "Side by side: ", ...places, " with seed ", seed, look);
  /** @type {Member[]} */
  let members = [];
  /** @param {string} arm */
  const runOf = (arm) =>
    members.find((run) => run.role === "compared" && run.arm === arm && run.seed === Number(seed.value));
  const chosen = () => places.map(({ value }) => runOf(value));
  function check() {
    const [one, other] = chosen();
    look.disabled = !one || !other || one === other;
  }
  function press() {
    const [one, other] = chosen();
    if (!one || !other) return;
    lookBeside(one.id, other.id);
    act({ do: "look", run: one.id, tab: "inside" });
  }
  for (const control of [...places, seed]) control.addEventListener("change", check);
  /** @param {Found} found */
  function show(found) {
    members = found.members;
    if (!seed.childElementCount) {
      const options = found.arms.map(({ name }) => name);
      for (const [i, place] of places.entries()) {
        place.replaceChildren(...options.map((name) => h("option", { value: name }, name)));
        place.value = options[Math.min(i, options.length - 1)];
      }
      seed.replaceChildren(...found.seeds.map((each) => h("option", { value: each }, String(each))));
    }
    check();
  }
  return { element, show };
}

/** @param {string} text */
const heading = (text) => h("th", { scope: "col" }, h("span", { class: "pg-th" }, text));

/**
 * @param {Member} run
 * @param {number | undefined} value
 * @param {string} unit
 * @param {(run: string) => void} look
 */
function runCell(run, value, unit, look) {
  const done = run.max_steps ? `${number(100 * Math.min(1, run.step / run.max_steps))}%` : number(run.step);
  const text = value !== undefined ? valueText(value, unit) : run.state === "running" ? done : run.state;
  const mark = run.state === "diverged" ? " (diverged)" : "";
  return button(text + mark, () => look(run.id), {
    class: "pg-cell-run",
    title: run.reason || `${run.name}: ${run.state}`,
    "data-state": run.state,
    "data-run": run.id,
  });
}

/** @param {Found} found */
function aboutIt(found) {
  const command = `python -m playground experiment ${found.experiment_id}`;
  return [
    h("h3", {}, "The arms"),
    armFigures(found),
    h("h3", {}, "Methods"),
    h("p", { class: "pg-methods" }, found.methods),
    h("h3", {}, "The same again"),
    h(
      "p",
      {},
      "Save the document, then ",
      h("code", {}, `python -m playground experiment ${fileName(found.title, "json")}`),
      ...(found.is_complete ? ["."] : ["; what is left of this one: ", h("code", {}, command), "."]),
    ),
  ];
}

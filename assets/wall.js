/* The wall of the Host tab: a card for each run and each experiment. */
/** @import { Status } from "./series.js" */
/** @import { Act } from "./host.js" */

import { button, css, h, onTheme, pen, setChildren, setText } from "./dom.js";
import { duration, number } from "./format.js";
import { armProperty } from "./palette.js";
import { stateText } from "./status.js";

/**
 * @typedef {[step: number, loss: number | null]} Point
 * @typedef {Status & {train: Point[], val: Point[], generation: number, address: string}} RunCard
 * @typedef {{
 *   experiment: string, id: string, title: string, by: string, address: string, n_runs: number, ended: number,
 *   training: number, waiting: number, wanted: string, arms: string[], curves: {arm: number, val: Point[]}[],
 * }} ExperimentCard
 * @typedef {RunCard | ExperimentCard} Card
 */

/** @param {{state: string}} run */
const isGoing = ({ state }) => state === "starting" || state === "running";

/**
 * Cards are kept and only what they show changes, so that nothing jumps under the pointer.
 * @param {Act} act
 */
export function cardWall(act) {
  const wall = h("div", { class: "pg-wall" });
  const empty = h("p", { class: "pg-empty" }, "Nobody has trained anything yet. Give out the address of the room.");
  /** @type {Map<string, ReturnType<typeof cardFrame>>} */
  const made = new Map();
  /** @param {Card} card */
  function cardOf(card) {
    const mine = made.get(card.id) ?? ("experiment" in card ? experimentCard(card.id, act) : runCard(card.id, act));
    made.set(card.id, mine);
    return mine;
  }
  /** @param {{cards: Card[]}} seen */
  function draw({ cards }) {
    empty.hidden = cards.length > 0;
    for (const id of made.keys()) if (!cards.some((card) => card.id === id)) made.delete(id);
    for (const card of cards) cardOf(card).say(card);
    setChildren(
      wall,
      cards.map((card) => cardOf(card).element),
    );
    const range = lossRange(cards);
    for (const card of cards) cardOf(card).paint(card, range);
  }
  onTheme(() => made.forEach((card) => card.forget()));
  return { elements: [empty, wall], draw };
}

/** @param {Card} card @returns {Point[][]} */
const curvesOf = (card) => ("experiment" in card ? card.curves.map(({ val }) => val) : [card.train, card.val]);

/**
 * The losses of all curves, outliers left out, rounded outwards.
 * @param {Card[]} cards
 * @returns {[low: number, high: number]}
 */
function lossRange(cards) {
  let [low, high] = [Infinity, -Infinity];
  for (const [, loss] of cards.flatMap(curvesOf).flat()) {
    if (loss === null || loss >= 50) continue;
    low = Math.min(low, loss);
    high = Math.max(high, loss);
  }
  return [Math.floor(low * 10) / 10, Math.ceil(high * 10) / 10];
}

/**
 * What all cards have: a head, a picture that is painted only where something of it has changed, a line and buttons.
 * @template {Card} C
 * @param {Record<string, string>} of which it is, for tests and styles
 * @param {{name: HTMLElement, by: HTMLElement, state: HTMLElement, figure: HTMLElement}} texts
 * @param {Node[]} tools
 * @param {(card: C, canvas: HTMLCanvasElement, element: HTMLElement) => void} say
 * @param {(card: C, to: ReturnType<typeof axes>) => void} paintCurves
 */
function cardFrame(of, { name, by, state, figure }, tools, say, paintCurves) {
  const canvas = h("canvas", { role: "img" });
  const element = h(
    "article",
    { class: "pg-card", ...of },
    h("div", { class: "pg-card-head" }, h("span", { class: "pg-dot" }), name, by),
    canvas,
    h("div", { class: "pg-card-line" }, state, figure),
    h("div", { class: "pg-tools" }, ...tools),
  );
  let painted = "";
  /** @param {Card} card @param {[low: number, high: number]} range */
  function paint(card, range) {
    const size = [canvas.clientWidth, canvas.clientHeight];
    const points = curvesOf(card).map(({ length }) => length);
    const key = [...size, ...range, ...points, lastStep(card), document.body.className].join();
    if (!size[0] || key === painted) return;
    painted = key;
    paintCurves(/** @type {C} */ (card), axes(canvas, lastStep(card), range));
  }
  return {
    element,
    say: (/** @type {Card} */ card) => say(/** @type {C} */ (card), canvas, element),
    paint,
    forget: () => (painted = ""),
  };
}

/** @param {Card} card */
function lastStep(card) {
  const planned = "experiment" in card ? 0 : (card.max_steps ?? 0);
  return Math.max(1, planned, ...curvesOf(card).map((points) => points.at(-1)?.[0] ?? 0));
}

const cardTexts = () => ({
  name: h("strong"),
  by: h("span", { class: "pg-faint" }),
  state: h("span", { class: "pg-state" }),
  figure: h("span", { class: "pg-now" }),
});
/** @param {string[]} words */
const listed = (...words) => words.filter(Boolean).join(", ");

/** @param {string} id @param {Act} act */
function runCard(id, act) {
  const texts = cardTexts();
  const does = (/** @type {string} */ text, /** @type {string} */ what) => button(text, () => act(what, { run: id }));
  const pause = does("Pause", "pause");
  const resume = does("Resume", "resume");
  const stop = does("Stop", "stop");
  const remove = button("Remove", () => {
    const words = `Remove “${texts.name.textContent}” with all its checkpoints? This cannot be undone.`;
    if (window.confirm(words)) act("remove", { run: id });
  });
  let from = "";
  const clear = button("Stop all from there", () => {
    if (window.confirm(`Stop everything that trains or waits from ${from}?`)) act("clear_address", { address: from });
  });
  /** @param {RunCard} run @param {HTMLCanvasElement} canvas @param {HTMLElement} element */
  function say(run, canvas, element) {
    const loss = run.val_loss ?? run.eval_loss;
    setText(texts.name, run.name);
    from = run.address;
    setText(texts.by, listed(run.by ? `by ${run.by}` : "", from ? `from ${from}` : "", run.private ? "private" : ""));
    clear.hidden = !from || (!isGoing(run) && run.state !== "queued");
    setText(texts.state, cardState(run));
    setText(texts.figure, loss === null ? "" : `${number(loss, 3)} nats per token`);
    canvas.setAttribute("aria-label", `losses of ${run.name}, now ${number(loss, 3)} nats per token held out`);
    element.dataset.state = run.state;
    element.title = run.reason || "";
    const [going, queued] = [isGoing(run), run.state === "queued"];
    pause.hidden = !going && !queued;
    stop.hidden = !going && !queued && run.state !== "paused";
    resume.hidden = !["paused", "stopped", "interrupted", "failed"].includes(run.state);
    remove.hidden = going;
  }
  /** @param {RunCard} run @param {ReturnType<typeof axes>} to */
  function paint({ train, val }, to) {
    to.curve(train, css("--pg-train"), 1);
    to.curve(val, css("--pg-val"), 2.4);
  }
  return cardFrame({ "data-run": id }, texts, [does("Open", "open"), pause, resume, stop, remove, clear], say, paint);
}

/**
 * All runs of an experiment, each arm in its colour.
 * @param {string} id
 * @param {Act} act
 */
function experimentCard(id, act) {
  const texts = cardTexts();
  const does = (/** @type {string} */ text, /** @type {string} */ what) =>
    button(text, () => act(what, { experiment: id }));
  const stop = does("Stop", "stop_experiment");
  const goOn = does("Go on", "go_on_experiment");
  /** @param {ExperimentCard} card @param {HTMLCanvasElement} canvas @param {HTMLElement} element */
  function say(card, canvas, element) {
    const { title, by, address, n_runs, ended, training, waiting, wanted, arms } = card;
    setText(texts.name, title);
    setText(texts.by, listed("experiment", by ? `by ${by}` : "", address ? `from ${address}` : ""));
    const now =
      wanted === "stop" ? "stopped" : listed(training ? `${training} train` : "", waiting ? `${waiting} wait` : "");
    setText(texts.state, listed(`${ended} of ${n_runs} runs ended`, now));
    setText(texts.figure, `${arms.length} arms`);
    canvas.setAttribute("aria-label", `held-out losses of the runs of ${title}: ${arms.join(", ")}`);
    element.dataset.state = training
      ? "running"
      : waiting
        ? "queued"
        : ended === n_runs || wanted === "done"
          ? "finished"
          : "paused";
    stop.hidden = wanted !== "run";
    goOn.hidden = wanted !== "stop";
  }
  /** @param {ExperimentCard} card @param {ReturnType<typeof axes>} to */
  function paint({ curves }, to) {
    for (const { arm, val } of curves) to.curve(val, css(armProperty(arm)), 1.6);
  }
  return cardFrame({ "data-experiment": id }, texts, [does("Open", "open_experiment"), stop, goOn], say, paint);
}

/** @param {RunCard} run */
function cardState(run) {
  if (run.state === "queued" && typeof run.starts_in_s === "number") {
    return `${stateText(run)}, in about ${duration(run.starts_in_s)}`;
  }
  return `${stateText(run)}, step ${number(run.step)}${run.max_steps ? ` of ${number(run.max_steps)}` : ""}`;
}

/**
 * An empty picture with its vertical axis, and what draws a curve into it.
 * @param {HTMLCanvasElement} canvas
 * @param {number} last step
 * @param {[low: number, high: number]} range
 */
function axes(canvas, last, [low, high]) {
  const [wide, tall] = [canvas.clientWidth, canvas.clientHeight];
  const density = window.devicePixelRatio || 1;
  canvas.width = wide * density;
  canvas.height = tall * density;
  const to = pen(canvas);
  to.scale(density, density);
  const x = (/** @type {number} */ step) => 34 + (step / last) * (wide - 40);
  const y = (/** @type {number} */ loss) => 6 + (1 - (loss - low) / (high - low || 1)) * (tall - 12);

  to.font = "11px system-ui, sans-serif";
  to.fillStyle = css("--body-text-color-subdued");
  to.textAlign = "right";
  to.textBaseline = "top";
  to.fillText(number(high, 1), 29, 2);
  to.textBaseline = "bottom";
  to.fillText(number(low, 1), 29, tall - 2);
  to.strokeStyle = css("--border-color-primary");
  to.strokeRect(33.5, 3.5, wide - 38, tall - 7);

  /** @param {Point[]} points @param {string} colour @param {number} width */
  function curve(points, colour, width) {
    to.strokeStyle = colour;
    to.lineWidth = width;
    to.beginPath();
    if (points.length === 1 && points[0][1] !== null) to.arc(x(points[0][0]), y(points[0][1]), width, 0, 2 * Math.PI);
    points.forEach(([step, loss], i) => {
      if (loss === null) return;
      if (i) to.lineTo(x(step), y(loss));
      else to.moveTo(x(step), y(loss));
    });
    to.stroke();
  }
  return { curve };
}

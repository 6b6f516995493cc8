/* The Host tab: everyone's runs on one wall, the queue, the machine, the limits, and what only the host may do. */
/** @import { Mount } from "./open_run.js" */
/** @import { Status } from "./series.js" */

import { button, css, h, head, onTheme, pen, s, setChildren, setText, slot, visible } from "./dom.js";
import { compact, duration, number } from "./format.js";
import { address, copy, download, get, statusOf } from "./net.js";
import { stateText } from "./status.js";

const REFRESH_MS = 1500;

/**
 * @typedef {[step: number, loss: number | null]} Point
 * @typedef {Status & {train: Point[], val: Point[], generation: number, address: string}} Carded
 * @typedef {{name: string, label: string, unit: string, help: string, value: number | null, optional: boolean}} Limit
 * @typedef {{
 *   pages: number, load: number, cores: number, memory: {available: number, total: number} | null, disk_bytes: number,
 *   free_bytes: number,
 * }} Machine
 * @typedef {{runs: Carded[], machine: Machine, places: number, limits: Limit[], link: string, code: string[]}} Seen
 * @typedef {(what: string, more?: object) => void} Act
 */

/** @param {{state: string}} run */
const isGoing = ({ state }) => state === "starting" || state === "running";

/** @type {Mount} */
export function host(root, { trigger }) {
  /** @type {Act} */
  const act = (what, more = {}) => trigger("act", { do: what, ...more });
  const facts = machineFacts();
  const wall = cardWall(act);
  const room = roomAddress();
  const limits = limitsForm(act);
  const problem = h("p", { class: "pg-reason", role: "alert" });
  const results = download("live/host/results.csv", { hidden: true }, "", true);
  root.append(
    head(
      "The room",
      "Everyone's runs: what trains first, then what waits, then what has ended. Curves share their vertical axis, so the lowest is the best; thin: training, thick: held out.",
      ...actions(act, () => results.click()),
    ),
    results,
    facts.element,
    problem,
    ...wall.elements,
    h(
      "div",
      { class: "pg-host-grid" },
      h(
        "section",
        {},
        head(
          "The address of the room",
          "For everybody: whoever opens it gets a page of their own, and never this tab.",
        ),
        room.element,
      ),
      h(
        "section",
        {},
        head(
          "Limits",
          "They hold at once, for whatever starts from now on; time limits also for what trains already. Empty: no limit.",
        ),
        limits.element,
      ),
    ),
  );

  let timer = 0;
  async function refresh() {
    clearTimeout(timer);
    if (visible(root)) {
      const here = address(".").href.split("?")[0];
      try {
        /** @type {Seen} */
        const seen = await get(`live/host?address=${encodeURIComponent(here)}`);
        for (const part of [facts, wall, room, limits]) part.draw(seen);
        problem.textContent = "";
      } catch (error) {
        problem.textContent =
          statusOf(error) === 403
            ? "You are not the host any more. Open the page by the host's link again."
            : "The playground does not answer; trying again.";
      }
    }
    timer = setTimeout(refresh, REFRESH_MS);
  }
  refresh();
  new IntersectionObserver(refresh).observe(root);
}

/**
 * What may be done to all runs.
 * @param {Act} act
 * @param {() => void} saveResults
 */
function actions(act, saveResults) {
  const sure = (/** @type {string} */ words, /** @type {string} */ what) => window.confirm(words) && act(what);
  const pauseAll = () => sure("Pause everything that trains or waits? Each run saves a checkpoint.", "pause_all");
  const clearIdle = () => sure("Pause every run that no page has looked at for a minute?", "clear_idle");
  return [
    button("Pause all", pauseAll, { id: "host-pause-all" }),
    button("Resume all", () => act("resume_all"), { id: "host-resume-all" }),
    button("Clear what is idle", clearIdle, { id: "host-clear-idle" }),
    button("All results (CSV)", saveResults, { id: "host-results" }),
  ];
}

function machineFacts() {
  const element = h("dl", { class: "pg-facts" });
  const training = slot(element, "training now");
  const waiting = slot(element, "waiting");
  const pages = slot(element, "pages open");
  const load = slot(element, "machine load, of its cores");
  const memory = slot(element, "memory free");
  const disk = slot(element, "disk used, and left");
  /** @param {Seen} seen */
  function draw({ runs, places, machine }) {
    training.textContent = `${number(runs.filter(isGoing).length)} of ${number(places)}`;
    waiting.textContent = number(runs.filter((run) => run.state === "queued").length);
    pages.textContent = number(machine.pages);
    load.textContent = `${number((100 * machine.load) / machine.cores)}% of ${number(machine.cores)}`;
    const free = machine.memory;
    memory.textContent = free ? `${compact(free.available)}B of ${compact(free.total)}B` : "–";
    disk.textContent = `${compact(machine.disk_bytes)}B, ${compact(machine.free_bytes)}B`;
  }
  return { element, draw };
}

/* ---- the wall ---- */

/**
 * Cards are kept and only what they show changes, so that nothing jumps under the pointer.
 * @param {Act} act
 */
function cardWall(act) {
  const wall = h("div", { class: "pg-wall" });
  const empty = h("p", { class: "pg-empty" }, "Nobody has trained anything yet. Give out the address of the room.");
  /** @type {Map<string, ReturnType<typeof card>>} */
  const cards = new Map();
  /** @param {string} id */
  function cardOf(id) {
    const made = cards.get(id) ?? card(id, act);
    cards.set(id, made);
    return made;
  }
  /** @param {Seen} seen */
  function draw({ runs }) {
    empty.hidden = runs.length > 0;
    for (const id of cards.keys()) if (!runs.some((run) => run.id === id)) cards.delete(id);
    for (const run of runs) cardOf(run.id).say(run);
    setChildren(
      wall,
      runs.map(({ id }) => cardOf(id).element),
    );
    const range = lossRange(runs);
    for (const run of runs) cardOf(run.id).paint(run, range);
  }
  onTheme(() => cards.forEach((made) => made.forget()));
  return { elements: [empty, wall], draw };
}

/**
 * The losses of all curves, outliers left out, rounded outwards.
 * @param {Carded[]} runs
 * @returns {[low: number, high: number]}
 */
function lossRange(runs) {
  let [low, high] = [Infinity, -Infinity];
  for (const [, loss] of runs.flatMap(({ train, val }) => [...train, ...val])) {
    if (loss === null || loss >= 50) continue;
    low = Math.min(low, loss);
    high = Math.max(high, loss);
  }
  return [Math.floor(low * 10) / 10, Math.ceil(high * 10) / 10];
}

/** @param {string} id @param {Act} act */
function card(id, act) {
  const name = h("strong");
  const by = h("span", { class: "pg-faint" });
  const state = h("span", { class: "pg-state" });
  const figure = h("span", { class: "pg-now" });
  const canvas = h("canvas", { role: "img" });
  const does = (/** @type {string} */ text, /** @type {string} */ what) => button(text, () => act(what, { run: id }));
  const pause = does("Pause", "pause");
  const resume = does("Resume", "resume");
  const stop = does("Stop", "stop");
  const remove = button("Remove", () => {
    const words = `Remove “${name.textContent}” with all its checkpoints? This cannot be undone.`;
    if (window.confirm(words)) act("remove", { run: id });
  });
  let from = "";
  const clear = button("Stop all from there", () => {
    if (window.confirm(`Stop everything that trains or waits from ${from}?`)) act("clear_address", { address: from });
  });
  const element = h(
    "article",
    { class: "pg-card", "data-run": id },
    h("div", { class: "pg-card-head" }, h("span", { class: "pg-dot" }), name, by),
    canvas,
    h("div", { class: "pg-card-line" }, state, figure),
    h("div", { class: "pg-tools" }, does("Open", "open"), pause, resume, stop, remove, clear),
  );
  let painted = "";

  /** @param {Carded} run */
  function say(run) {
    const loss = run.val_loss ?? run.eval_loss;
    setText(name, run.name);
    from = run.address;
    const words = [run.by ? `by ${run.by}` : "", from ? `from ${from}` : "", run.private ? "private" : ""];
    setText(by, words.filter(Boolean).join(", "));
    clear.hidden = !from || (!isGoing(run) && run.state !== "queued");
    setText(state, cardState(run));
    setText(figure, loss === null ? "" : `${number(loss, 3)} nats per token`);
    canvas.setAttribute("aria-label", `losses of ${run.name}, now ${number(loss, 3)} nats per token held out`);
    element.dataset.state = run.state;
    element.title = run.reason || "";
    const [going, queued] = [isGoing(run), run.state === "queued"];
    pause.hidden = !going && !queued;
    stop.hidden = !going && !queued && run.state !== "paused";
    resume.hidden = !["paused", "stopped", "interrupted", "failed"].includes(run.state);
    remove.hidden = going;
  }
  /**
   * Only where something of it has changed.
   * @param {Carded} run
   * @param {[low: number, high: number]} range
   */
  function paint(run, range) {
    const size = [canvas.clientWidth, canvas.clientHeight];
    const lengths = [run.train.length, run.val.length, run.step, run.generation];
    const key = [...size, ...range, ...lengths, document.body.className].join();
    if (!size[0] || key === painted) return;
    painted = key;
    paintLosses(canvas, run, range);
  }
  const forget = () => (painted = "");
  return { element, say, paint, forget };
}

/** @param {Carded} run */
function cardState(run) {
  if (run.state === "queued" && typeof run.starts_in_s === "number") {
    return `${stateText(run)}, in about ${duration(run.starts_in_s)}`;
  }
  return `${stateText(run)}, step ${number(run.step)}${run.max_steps ? ` of ${number(run.max_steps)}` : ""}`;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Carded} run
 * @param {[low: number, high: number]} range
 */
function paintLosses(canvas, { train, val, max_steps }, [low, high]) {
  const [wide, tall] = [canvas.clientWidth, canvas.clientHeight];
  const density = window.devicePixelRatio || 1;
  canvas.width = wide * density;
  canvas.height = tall * density;
  const to = pen(canvas);
  to.scale(density, density);
  const last = Math.max(1, max_steps || 0, train.at(-1)?.[0] || 0);
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
    points.forEach(([step, loss], i) => {
      if (loss === null) return;
      if (i) to.lineTo(x(step), y(loss));
      else to.moveTo(x(step), y(loss));
    });
    to.stroke();
  }
  curve(train, css("--pg-train"), 1);
  curve(val, css("--pg-val"), 2.4);
}

/* ---- the address of the room ---- */

function roomAddress() {
  const element = h("div", { class: "pg-room" });
  let shown = "";
  /** @param {Seen} seen */
  function draw({ link, code }) {
    if (link === shown) return;
    shown = link;
    const local = /^https?:\/\/(127\.|localhost|\[::1\])/.test(link);
    const take = button("Copy", async () => {
      if (await copy(link, () => window.prompt("Copy this address:", link))) take.textContent = "Copied";
    });
    const alone = "Only this machine can open it. To let others in, start the page with GRADIO_SERVER_NAME=0.0.0.0.";
    element.replaceChildren(
      qrPicture(link, code),
      h(
        "div",
        {},
        h("p", { class: "pg-room-address" }, link),
        take,
        local ? h("p", { class: "pg-faint" }, alone) : null,
      ),
    );
  }
  return { element, draw };
}

/** @param {string} link @param {string[]} code rows of 0 and 1 */
function qrPicture(link, code) {
  const size = code.length + 4;
  const cells = code.flatMap((row, y) => [...row].map((bit, x) => (bit === "1" ? `M${x} ${y}h1v1h-1z` : "")));
  const picture = s("svg", {
    viewBox: `-2 -2 ${size} ${size}`,
    class: "pg-qr",
    role: "img",
    "aria-label": `QR code of ${link}`,
  });
  picture.append(
    s("rect", { x: -2, y: -2, width: size, height: size, fill: "white" }),
    s("path", { d: cells.join(""), fill: "black" }),
  );
  return picture;
}

/* ---- the limits ---- */

/**
 * What is being typed is left alone until it is set.
 * @param {Act} act
 */
function limitsForm(act) {
  const element = h("form", { class: "pg-limits" });
  /** @type {{limit: Limit, input: HTMLInputElement}[]} */
  let fields = [];
  let shown = "";
  const typed = (/** @type {HTMLInputElement} */ input) => input.value.replace(/[\s,]/g, "");
  const differs = (/** @type {{limit: Limit, input: HTMLInputElement}} */ { limit, input }) =>
    typed(input) !== (limit.value === null ? "" : String(limit.value));
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    const changed = fields.filter(differs).map(({ limit, input }) => [limit.name, typed(input)]);
    act("limits", { limits: Object.fromEntries(changed) });
  });
  /** @param {Seen} seen */
  function draw({ limits }) {
    const now = JSON.stringify(limits);
    if (now === shown || element.contains(document.activeElement)) return;
    shown = now;
    fields = limits.map((limit) => ({ limit, input: limitInput(limit) }));
    const set = h("button", { class: "pg-button", id: "host-set-limits" }, "Set these limits");
    element.replaceChildren(...fields.map(limitRow), set);
  }
  return { element, draw };
}

/** @param {Limit} limit */
const limitInput = ({ name, value, optional }) =>
  h("input", {
    type: "text",
    inputmode: "numeric",
    id: `limit-${name}`,
    value: value === null ? "" : number(value),
    placeholder: optional ? "no limit" : "",
  });

/** @param {{limit: Limit, input: HTMLInputElement}} field */
function limitRow({ limit, input }) {
  const named = new RegExp(`\\b${limit.unit}\\b`).test(limit.label); // the label has the unit already
  const label = h("span", {}, limit.label, h("small", { class: "pg-faint" }, named ? "" : `, ${limit.unit}`));
  return h("label", { for: input.id, title: limit.help }, label, input);
}

/* The Host tab: everyone's runs on one wall, the queue, the machine, the limits, and what only the host may do. */
/** @import { Mount } from "./open_run.js" */
/** @import { Card } from "./wall.js" */

import { button, h, head, s, slot, visible } from "./dom.js";
import { compact, number } from "./format.js";
import { address, copy, download, get, statusOf } from "./net.js";
import { cardWall } from "./wall.js";

const REFRESH_MS = 1500;

/**
 * @typedef {{name: string, label: string, unit: string, help: string, value: number | null, optional: boolean}} Limit
 * @typedef {{
 *   training: number, waiting: number, pages: number, load: number, cores: number, memory: {available: number, total: number} | null, disk_bytes: number,
 *   free_bytes: number,
 * }} Machine
 * @typedef {{cards: Card[], machine: Machine, places: number, limits: Limit[], link: string, code: string[]}} Seen
 * @typedef {(what: string, more?: object) => void} Act
 */

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
      "Everyone's runs, those of an experiment on one card: what trains first, then what waits, then what has ended. Curves share their vertical axis, so the lowest is the best; thin: training, thick: held out.",
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
    h(
      "a",
      { class: "pg-button", id: "host-projector", href: address("?projector").href, target: "_blank" },
      "Projector",
    ),
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
  function draw({ places, machine }) {
    training.textContent = `${number(machine.training)} of ${number(places)}`;
    waiting.textContent = number(machine.waiting);
    pages.textContent = number(machine.pages);
    load.textContent = `${number((100 * machine.load) / machine.cores)}% of ${number(machine.cores)}`;
    const free = machine.memory;
    memory.textContent = free ? `${compact(free.available)}B of ${compact(free.total)}B` : "–";
    disk.textContent = `${compact(machine.disk_bytes)}B, ${compact(machine.free_bytes)}B`;
  }
  return { element, draw };
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
export function qrPicture(link, code) {
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

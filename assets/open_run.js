/* The run that is open in this page: the one poller that keeps it up to date, and the panels that show it. */
/** @import { Delta, Run } from "./series.js" */

import { visible } from "./dom.js";
import { address, get } from "./net.js";
import { freshRun, merge } from "./series.js";
import { IDLE_MS, SILENT_MS, waitAfter } from "./status.js";

/** @typedef {{reset: boolean, kinds: Set<string>, status?: boolean}} Change what of a run is new */
/**
 * @typedef {{
 *   update: (run: Run, change: Change) => void, always?: boolean,
 * }} Panel `always`: also while it cannot be seen
 */
/**
 * What Gradio gives to a panel. `props.value` is the newest value at any time.
 * @typedef {{
 *   element: HTMLElement, props: {value: any}, trigger: (event: string, data?: object) => void,
 *   watch: (name: string, changed: () => void) => void,
 * }} Context
 */
/** @typedef {(root: HTMLElement, context: Context) => Panel | void} Mount */
/** @typedef {Panel & {root: HTMLElement, stale: boolean}} Mounted */

/** @type {Mounted[]} */
const panels = [];
let run = freshRun(null);
let timer = 0;
let turn = 0;

/** @returns {Change} */
const nothing = () => ({ reset: false, kinds: new Set() });
/** @returns {Change} */
const everything = () => ({ reset: true, kinds: new Set(), status: true });

/**
 * From now on this panel is told of what is new; at once of all that is known.
 * @param {HTMLElement} root
 * @param {Panel} panel
 */
export function show(root, panel) {
  const mounted = { ...panel, root, stale: true };
  panels.push(mounted);
  new IntersectionObserver(() => refresh(mounted, nothing())).observe(root);
  refresh(mounted, everything());
}

/**
 * A panel that cannot be seen is not updated; it gets everything when it can.
 * @param {Mounted} panel
 * @param {Change} change
 */
function refresh(panel, change) {
  if (!panel.always && !visible(panel.root)) {
    panel.stale ||= change.reset || change.kinds.size > 0;
    return;
  }
  const reset = panel.stale || change.reset;
  if (!reset && change.kinds.size === 0 && !change.status) return;
  panel.stale = false;
  panel.update(run, { ...change, reset });
}

/** @param {Change} change */
const refreshAll = (change) => panels.forEach((panel) => refresh(panel, change));

/**
 * Open a run, or none. The address names the open run; Back returns to the one before.
 * @param {string | null} id
 * @param {boolean} mine
 * @param {string} [missing] a run that was asked for and does not exist
 */
export function open(id, mine, missing) {
  const previous = run.id;
  if (id !== run.id) run = freshRun(id);
  run.mine = Boolean(mine);
  run.problem = missing ? `There is no run ${missing} here. Design one and press Train, or choose one in Runs.` : "";
  document.body.dataset.runMine = run.mine ? "yes" : "no";
  const url = new URL(location.href);
  if (id) {
    url.searchParams.set("run", id);
    url.searchParams.delete("experiment"); // which the address named before
  }
  if (!id && !missing) url.searchParams.delete("run");
  const another = id && previous && id !== previous;
  history[another ? "pushState" : "replaceState"](history.state, "", url);
  showState();
  refreshAll(everything());
  poll();
}

/** For the style sheet: which buttons and panels belong to the state. */
function showState() {
  document.body.dataset.runState = run.status ? run.status.state : run.id ? "loading" : "none";
  document.body.dataset.task = run.status?.is_task ? "yes" : "no";
}

/**
 * @param {Run} run
 * @returns {Promise<Delta | {gone: true}>}
 */
export const ask = ({ id, generation, cursor }) =>
  get(`live/runs/${encodeURIComponent(id ?? "")}?generation=${generation}&cursor=${cursor}`);

async function poll() {
  clearTimeout(timer);
  const asked = run;
  const mine = ++turn; // of two polls under way only the later one may merge: both ask from the same cursor on
  const isLate = () => asked !== run || mine !== turn;
  if (!asked.id || document.hidden) return;
  let wait = IDLE_MS;
  try {
    const answer = await ask(asked);
    if (isLate()) return;
    if (answer.gone) {
      forget();
      return;
    }
    run.problem = "";
    merge(run, answer);
    showState();
    refreshAll({ reset: answer.reset, kinds: new Set(Object.keys(answer.events)), status: true });
    wait = waitAfter(answer, run);
  } catch {
    if (isLate()) return;
    run.problem = "The playground does not answer; trying again.";
    wait = SILENT_MS;
    refreshAll({ ...nothing(), status: true });
  }
  clearTimeout(timer);
  timer = setTimeout(poll, wait);
}

function forget() {
  run.problem = "This run no longer exists.";
  run.status = null;
  showState();
  document.body.dataset.runState = "none";
  refreshAll(everything());
}

/**
 * Panel without a picture: what the server says is open, is opened here.
 * @type {Mount}
 */
export function wire(_, { props, watch }) {
  const take = () => props.value && open(props.value.run ?? null, props.value.mine, props.value.missing);
  watch("value", take);
  if (props.value?.run || props.value?.missing) take();
  else showState(); // the address keeps its ?run= until the server has read it
  addEventListener("popstate", () => location.reload());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    poll();
    refreshAll(nothing());
  });
}

/**
 * Gradio's button: the address of this run for others.
 * @param {{run?: string | null} | null} wired
 */
export async function copyLink(wired) {
  const url = new URL(address("."));
  url.search = "";
  if (wired?.run) url.searchParams.set("run", wired.run);
  const pressed = /** @type {HTMLElement} */ (document.getElementById("copy-link"));
  try {
    await navigator.clipboard.writeText(url.href);
    pressed.textContent = "Link copied";
  } catch {
    window.prompt("Copy this address:", url.href);
  }
  setTimeout(() => (pressed.textContent = "Copy link"), 1500);
  return [];
}

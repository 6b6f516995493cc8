/* A run's state in words and how often to ask for it. Knows no document. */
/** @import { Delta, Run, Status } from "./series.js" */

const POLL_MS = { eager: 120, active: 400, idle: 2000, silent: 5000 };
const ACTIVE = ["queued", "starting", "running"];

/** Until it is asked again after an answer that did not come. */
export const SILENT_MS = POLL_MS.silent;
export const IDLE_MS = POLL_MS.idle;

/** @param {string} state */
export const isActive = (state) => ACTIVE.includes(state);

/**
 * Until it is asked again: at once where there is more, seldom where nothing happens, never more often than a full
 * server wants.
 * @param {Delta} delta
 * @param {Run} run
 */
export function waitAfter(delta, run) {
  if (delta.more) return 0;
  const state = delta.run.state;
  const begun = run.series.progress || state === "queued";
  const wanted = !isActive(state) ? POLL_MS.idle : begun ? POLL_MS.active : POLL_MS.eager;
  return Math.max(wanted, delta.poll_ms || 0);
}

/** @typedef {Pick<Status, "state" | "wanted" | "place">} Stated */

/** @param {Stated} status */
export function stateText({ state, wanted, place }) {
  if (state === "queued") return place ? `waiting, number ${place} in the queue` : "waiting";
  if (state === "running" && wanted === "pause") return "pausing";
  if (state === "running" && wanted === "stop") return "stopping";
  return state === "running" ? "training" : state;
}

/**
 * How much of a run is done, from 0 to 1, by whichever bound is nearer.
 * @param {Pick<Status, "step" | "seconds" | "max_steps" | "max_seconds">} status
 */
export function shareDone({ step, seconds, max_steps, max_seconds }) {
  const parts = [];
  if (max_steps) parts.push(step / max_steps);
  if (max_seconds) parts.push(seconds / max_seconds);
  return Math.min(1, Math.max(0, ...parts));
}

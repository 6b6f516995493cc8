/* The bar on top, and the facts of the Play tab: what is open and how far it is. */
/** @import { Mount } from "./open_run.js" */
/** @import { Run, Status } from "./series.js" */

import { h, slot } from "./dom.js";
import { duration, number, sentenceCase } from "./format.js";
import { newest } from "./series.js";
import { shareDone, stateText } from "./status.js";

/** @type {Mount} */
export function status(root) {
  const name = h("span", { class: "pg-run-name" });
  const state = h("span", { class: "pg-state" });
  const fill = h("div", { class: "pg-bar-fill" });
  const line = h("span", { class: "pg-status-line" });
  const progress = h(
    "div",
    {
      class: "pg-bar",
      role: "progressbar",
      "aria-label": "progress of the open run",
      "aria-valuemin": "0",
      "aria-valuemax": "100",
    },
    fill,
  );
  root.append(
    h("h1", { class: "pg-brand" }, "GPT playground"),
    h("span", { class: "pg-status-run" }, h("span", { class: "pg-dot" }), name, state),
    line,
    progress,
  );

  /** @param {Run} run */
  function update(run) {
    const status = run.status;
    root.dataset.state = status ? status.state : "none";
    progress.style.visibility = status ? "visible" : "hidden";
    if (!status) {
      name.textContent = run.problem || (run.id ? "Opening the run" : "No run is open");
      state.textContent = line.textContent = "";
      return;
    }
    name.textContent = status.by ? `${status.name} by ${status.by}` : status.name;
    name.title = status.private ? "Private: only its owner and the host see it." : "";
    root.dataset.private = status.private ? "yes" : "no";
    state.textContent = stateText(status);
    line.textContent = run.problem || howFar(status);
    fill.style.width = `${100 * shareDone(status)}%`;
    progress.setAttribute("aria-valuenow", String(Math.round(100 * shareDone(status))));
  }
  return { always: true, update };
}

/** @param {Status} status */
function howFar(status) {
  if (status.state === "queued" && typeof status.starts_in_s === "number") {
    return `starts in about ${duration(status.starts_in_s)}`;
  }
  const step = `step ${number(status.step)}`;
  const of = status.max_steps
    ? `${step} of ${number(status.max_steps)}`
    : `${step}, ${duration(status.seconds)} of ${duration(status.max_seconds)}`;
  return status.state === "running" && status.left_s !== null ? `${of} · ${duration(status.left_s)} left` : of;
}

/** Where a person is asked for a name, above the facts. */
export const askPlace = h("div");

/**
 * Which run's weights a run began with, as a link to it.
 * @param {HTMLElement} place
 * @param {Status["began_from"]} origin
 */
function showOrigin(place, origin) {
  const fact = /** @type {HTMLElement} */ (place.parentElement);
  fact.hidden = !origin;
  const key = JSON.stringify(origin);
  if (!origin || place.dataset.shown === key) return;
  place.dataset.shown = key;
  const at = origin.step === null ? "the end" : `step ${number(origin.step)}`;
  place.replaceChildren(`${at} of `, h("a", { href: `?run=${encodeURIComponent(origin.id)}` }, origin.name));
}

/** @type {Mount} */
export function progress(root) {
  const reason = h("p", { class: "pg-reason" });
  const log = h("pre", { class: "pg-log" });
  const facts = h("dl", { class: "pg-facts" });
  const parts = {
    step: slot(facts, "step"),
    time: slot(facts, "training time"),
    train: slot(facts, "training loss, nats per token"),
    val: slot(facts, "held-out loss, nats per token"),
    bits: slot(facts, "the same, bits per byte"),
    speed: slot(facts, "speed, tokens per second"),
    from: slot(facts, "started from"),
  };
  root.append(askPlace, facts, reason, log);

  /** @param {Run} run */
  function update(run) {
    const status = run.status;
    facts.style.display = status ? "" : "none";
    reason.textContent = log.textContent = "";
    if (!status) return;
    const step = number(status.step);
    parts.step.textContent = status.max_steps ? `${step} of ${number(status.max_steps)}` : step;
    parts.time.textContent = duration(status.seconds);
    parts.train.textContent = number(status.train_loss, 3);
    parts.val.textContent = number(status.val_loss ?? status.eval_loss, 3);
    const bits = /** @type {HTMLElement} */ (parts.bits.parentElement);
    bits.hidden = status.is_task;
    parts.bits.textContent = number(newest(run, "validation", "bits_per_byte"), 3);
    parts.speed.textContent = number(status.tokens_per_s);
    showOrigin(parts.from, status.began_from);
    const notice = newest(run, "notice", "text");
    const goesWell = status.state === "running" || status.state === "finished";
    const words = [goesWell ? null : status.reason, notice].filter((each) => typeof each === "string" && each);
    reason.textContent = words.map(sentenceCase).join(". ");
    log.textContent = status.log || "";
  }
  return { update };
}

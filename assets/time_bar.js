/* The Inside tab's slider through the steps that can be looked at, and its buttons. */

import { button, h, visible } from "./dom.js";
import { number } from "./format.js";

const PLAY_MS = 350;

/**
 * @param {HTMLElement} root of the panel: what cannot be seen doesn't play on
 * @param {{steps: () => number[], step: () => number | null, go: (step: number | null) => void}} control a step of
 *   null is the newest
 */
export function timeBar(root, { steps, step, go }) {
  const slider = h("input", {
    type: "range",
    min: "0",
    max: "0",
    value: "0",
    id: "inside-step",
    "aria-label": "step to look at",
  });
  const play = button("Play", () => (playing ? stop() : begin()), { id: "inside-play" });
  const at = h("span", { class: "pg-step-words", "aria-live": "off" });
  const live = button("Live", newest, { class: "pg-button pg-live", id: "inside-live" });
  const element = h("div", { class: "pg-time" }, play, slider, at, live);
  let playing = 0;

  function newest() {
    stop();
    go(null);
  }
  function stop() {
    clearInterval(playing);
    playing = 0;
    play.textContent = "Play";
  }
  /** From the step that is shown, or from the first where that is the last. */
  function begin() {
    const all = steps();
    const now = step();
    const last = all.at(-1);
    if (last === undefined || all.length < 2) return;
    let i = now === null || now >= last ? 0 : all.findIndex((each) => each >= now);
    function next() {
      const known = steps();
      if (visible(root) && i < known.length) go(known[i++]);
      else stop();
    }
    play.textContent = "Stop playing";
    next();
    playing = setInterval(next, PLAY_MS);
  }
  slider.addEventListener("input", () => {
    stop();
    go(steps()[Number(slider.value)] ?? null);
  });

  /**
   * @param {boolean} running
   * @param {number | undefined} shown the step that is seen now
   * @param {number | null | undefined} next the step that is looked at next
   */
  function show(running, shown, next) {
    const all = steps();
    const now = step();
    const i = Math.max(0, now === null ? all.length - 1 : all.findLastIndex((each) => each <= now));
    slider.max = String(Math.max(0, all.length - 1));
    slider.value = String(i);
    slider.disabled = play.disabled = all.length < 2;
    const words = `step ${number(now === null ? (shown ?? all[i]) : all[i])}`;
    const wait = typeof next === "number" ? `; waiting for the look at step ${number(next)}` : "";
    at.textContent = all.length ? words + (now === null && running ? wait : "") : "";
    live.textContent = running ? "Live" : "Last";
    live.classList.toggle("pg-on", now === null);
    slider.setAttribute("aria-valuetext", at.textContent);
  }
  return { element, show, stop };
}

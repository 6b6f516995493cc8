import assert from "node:assert/strict";
import { test } from "node:test";
import { freshRun } from "../../assets/series.js";
import { shareDone, stateText, waitAfter } from "../../assets/status.js";

const run = (begun = true) => ({ ...freshRun("a"), series: begun ? { progress: { step: [1] } } : {} });
/** @param {string} state */
const delta = (state, more = {}) => /** @type {any} */ ({ run: { state }, more: false, ...more });

test("a run is asked for often while something happens, and seldom when not", () => {
  assert.equal(waitAfter(delta("running", { more: true, poll_ms: 5000 }), run()), 0);
  const [eager, active, idle] = [
    waitAfter(delta("starting"), run(false)),
    waitAfter(delta("running"), run()),
    waitAfter(delta("finished"), run()),
  ];
  assert.ok(eager < active && active < idle);
  assert.ok(active <= 500, "a new point is on the screen within 0.5 s");
  assert.equal(waitAfter(delta("queued"), run(false)), active);
});

test("a full server is asked less often, never more often", () => {
  assert.equal(waitAfter(delta("running", { poll_ms: 3000 }), run()), 3000);
  assert.equal(waitAfter(delta("finished", { poll_ms: 10 }), run()), waitAfter(delta("finished"), run()));
});

test("states in words", () => {
  /** @param {string} state */
  const said = (state, wanted = "run", place = /** @type {number | null} */ (null)) =>
    stateText({ state, wanted, place });
  assert.equal(said("running"), "training");
  assert.equal(said("running", "pause"), "pausing");
  assert.equal(said("running", "stop"), "stopping");
  assert.equal(said("paused", "pause"), "paused");
  assert.equal(said("queued"), "waiting");
  assert.equal(said("queued", "run", 3), "waiting, number 3 in the queue");
  assert.equal(said("diverged"), "diverged");
});

test("the share that is done follows the nearer bound", () => {
  const of = (step = 0, seconds = 0, max_steps = /** @type {any} */ (null), max_seconds = /** @type {any} */ (null)) =>
    shareDone({ step, seconds, max_steps, max_seconds });
  assert.equal(of(50, 0, 200), 0.25);
  assert.equal(of(50, 30, 200, 60), 0.5);
  assert.equal(of(9, 9), 0);
  assert.equal(of(300, 0, 200), 1);
});

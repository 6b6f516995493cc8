import assert from "node:assert/strict";
import { test } from "node:test";
import { along, freshRun, indexUpTo, merge, nearestIndex, newest, smoothed } from "../../assets/series.js";

const status = (more = {}) => /** @type {any} */ ({ state: "running", flops_per_token: 10, ...more });
/** @param {object} events */
const delta = (events, more = {}) =>
  /** @type {any} */ ({ run: status(), generation: 1, reset: false, cursor: 7, more: false, events, ...more });

test("what is new is added to what is known", () => {
  const run = freshRun("a");
  merge(run, delta({ progress: { step: [1, 2], loss: [3, 2] } }, { reset: true, cursor: 2 }));
  merge(run, delta({ progress: { step: [3], loss: [null] }, probe: { step: [0] } }, { cursor: 4 }));
  assert.deepEqual(run.series, { progress: { step: [1, 2, 3], loss: [3, 2, null] }, probe: { step: [0] } });
  assert.deepEqual([run.cursor, run.generation, run.status?.state], [4, 1, "running"]);
  assert.equal(run.id, "a");
});

test("a new generation starts over", () => {
  const run = freshRun("a");
  merge(run, delta({ progress: { step: [1, 2] } }));
  merge(run, delta({ progress: { step: [1] } }, { reset: true, generation: 2, cursor: 9 }));
  assert.deepEqual([run.series, run.generation, run.cursor], [{ progress: { step: [1] } }, 2, 9]);
});

test("merging leaves the arrays as they were, which a plot may hold", () => {
  const run = freshRun("a");
  merge(run, delta({ progress: { step: [1] } }));
  const before = run.series.progress?.step;
  merge(run, delta({ progress: { step: [2] } }));
  assert.deepEqual(before, [1]);
});

test("any axis can be had from what was recorded", () => {
  const run = freshRun("a");
  merge(run, delta({ progress: { step: [1, 2], tokens: [100, 200], seconds: [5, 9] }, probe: { step: [0, 2] } }));
  const { progress, probe } = /** @type {Record<string, any>} */ (run.series);
  assert.deepEqual(along(run, progress, "step"), [1, 2]);
  assert.deepEqual(along(run, progress, "seconds"), [5, 9]);
  assert.deepEqual(along(run, progress, "flops"), [1000, 2000]);
  assert.deepEqual(along(run, probe, "tokens"), [0, 200]);
  assert.deepEqual(along(run, probe, "flops"), [0, 2000]);
  assert.deepEqual(along(freshRun("b"), { step: [1, 2] }, "tokens"), [0, 0]);
});

test("smoothing keeps a straight line, at uneven places too, and gaps, and can be switched off", () => {
  const x = [0, 1, 3, 4, 10, 40, 41];
  for (const [i, value] of smoothed(
    x,
    x.map((at) => 7 - 0.1 * at),
    3,
  ).entries()) {
    assert.ok(Math.abs(Number(value) - (7 - 0.1 * x[i])) < 1e-9);
  }
  assert.deepEqual(smoothed([5], [7], 5), [7]);
  assert.deepEqual(smoothed([5, 5], [7, 9], 5), [8, 8]);
  const [first, gap, last] = smoothed([1, 2, 3], [1, null, 1], 2);
  assert.ok(Math.abs(Number(first) - 1) < 1e-9 && gap === null && Math.abs(Number(last) - 1) < 1e-9);
  assert.deepEqual(smoothed([1, 2, 3], [3, null, 5], 0), [3, null, 5]);
});

test("smoothing neither lags behind a curved fall nor runs ahead of it, and calms noise", () => {
  const x = Array.from({ length: 200 }, (_, i) => 10 * i);
  const falls = x.map((at) => 1.4 + 5.5 * Math.exp(-at / 180));
  const off = smoothed(x, falls, 5).map((value, i) => Number(value) - falls[i]);
  assert.ok(Math.max(...off.slice(3).map(Math.abs)) < 0.04, `${Math.max(...off.map(Math.abs))} nats`);
  const noise = x.map((at) => Math.sin(at * at));
  const size = (/** @type {number[]} */ values) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  assert.ok(size(smoothed(x, noise, 5).map(Number)) < 0.55 * size(noise));
});

test("the nearest place is found, at the ends and between", () => {
  const xs = [0, 10, 20, 40];
  for (const [x, i] of [
    [-5, 0],
    [0, 0],
    [4, 0],
    [6, 1],
    [10, 1],
    [29, 2],
    [31, 3],
    [99, 3],
  ]) {
    assert.equal(nearestIndex(xs, x), i, `${x}`);
  }
  assert.equal(nearestIndex([7], 3), 0);
});

test("the last place up to a step; the first where there is none", () => {
  assert.deepEqual(
    [-1, 0, 5, 10, 99].map((x) => indexUpTo([0, 10, 20], x)),
    [0, 0, 0, 1, 2],
  );
});

test("the newest value, or none", () => {
  const run = freshRun("a");
  merge(run, delta({ facts: { step: [0], exact: [false], floor: [0] } }));
  assert.deepEqual(
    ["exact", "floor", "nothing"].map((name) => newest(run, "facts", name)),
    [false, 0, null],
  );
  assert.equal(newest(run, "probe", "values"), null);
});

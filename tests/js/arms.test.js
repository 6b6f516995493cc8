import assert from "node:assert/strict";
import { test } from "node:test";

import { deviation, differenceText, reachOf, sizeText, spread, valuesOf, valueText } from "../../assets/arms.js";

test("mean and band at each step, over the runs that have reached it", () => {
  const curves = /** @type {import("../../assets/arms.js").Curve[]} */ ([
    [
      [0, 10, 20],
      [6, 4, 3],
    ],
    [
      [0, 10],
      [6, 2],
    ],
    [
      [0, 10],
      [6, null],
    ],
  ]);
  const range = spread(curves, "range");
  assert.deepEqual(range, { x: [0, 10, 20], mean: [6, 3, 3], low: [6, 2, 3], high: [6, 4, 3], n: [3, 2, 1] });
  const error = spread(curves, "error");
  assert.equal(error.high[1], 3 + Math.SQRT2 / Math.SQRT2); // sd √2 of 4 and 2, over √2 runs
  assert.equal(error.low[2], 3);
});

test("the sample's standard deviation", () => {
  assert.equal(deviation([1, 2, 3, 4]).toFixed(6), Math.sqrt(5 / 3).toFixed(6));
  assert.equal(deviation([7]), 0);
});

test("values and differences in their units", () => {
  assert.equal(valueText(1.23456, "nats per token"), "1.2346");
  assert.equal(valueText(0.123, "of the tokens"), "12.3%");
  assert.equal(valueText(1200, "steps"), "1,200");
  assert.equal(differenceText(-0.0301, "nats per token"), "−0.030");
  assert.equal(differenceText(0.5, "of the runs"), "+50.0 points");
  assert.equal(differenceText(-1200, "steps"), "−1,200");
});

test("the scale of differences holds everything, and is never empty", () => {
  assert.ok(reachOf([-2, 1, null, NaN]) > 2);
  assert.equal(reachOf([0, null]), 1);
});

test("values that are typed become those of their setting", () => {
  assert.deepEqual(valuesOf("1, 2,4", "int"), [1, 2, 4]);
  assert.deepEqual(valuesOf("1e-3, x", "float"), [0.001, "x"]);
  assert.deepEqual(valuesOf("on, OFF", "bool"), [true, false]);
  assert.deepEqual(valuesOf("pre,post,", "choice"), ["pre", "post"]);
  assert.deepEqual(valuesOf(" ", "float"), []);
});

test("how much an experiment is", () => {
  const described = { arms: [1, 2], seeds: [1, 2, 3], rates: [], n_runs: 6, seconds: 61 };
  assert.equal(sizeText(described), "2 arms × 3 seeds: 6 runs, about 1 min 01 s here");
  assert.match(sizeText({ ...described, stops_early: true }), /: at most 6 runs/);
  assert.match(sizeText({ ...described, rates: [1, 2], seconds: null }), /2 rates tried for each.*measured/);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { curveOf } from "../../assets/law.js";

test("the law is drawn from the smallest to the largest arm, whatever their order, at even logarithms", () => {
  const points = /** @type {[number, number][]} */ ([
    [10_000, 1.2],
    [100, 3],
    [1000, 1.6],
  ]);
  const { x, y } = curveOf({ floor: 1, factor: 20, exponent: 0.5, low: null, high: null, points, x: "", words: "" });
  assert.ok(Math.abs(x[0] - 100) < 1e-9 && Math.abs(x[60] - 10_000) < 1e-6 && Math.abs(x[30] - 1000) < 1e-8);
  assert.ok(Math.abs(y[0] - 3) < 1e-9 && Math.abs(y[60] - 1.2) < 1e-9);
});

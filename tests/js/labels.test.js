import assert from "node:assert/strict";
import { test } from "node:test";

import { roundTicks, spread } from "../../assets/labels.js";

test("ticks are round numbers within the range", () => {
  assert.deepEqual(roundTicks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(roundTicks(1.31, 4.44, 4), [2, 3, 4]);
  assert.deepEqual(roundTicks(0.12, 0.31, 4), [0.15, 0.2, 0.25, 0.3]);
  assert.deepEqual(roundTicks(0, 3000, 3), [0, 1000, 2000, 3000]);
  assert.deepEqual(roundTicks(2, 2, 3), [2]);
});

test("labels with room stay where they want to be", () => {
  assert.deepEqual(spread([10, 50, 90], 20, 0, 100), [10, 50, 90]);
});

test("two at one place part evenly, and keep off the border", () => {
  assert.deepEqual(spread([50, 50], 20, 0, 100), [40, 60]);
  assert.deepEqual(spread([0, 0, 0], 20, 0, 100), [0, 20, 40]);
  assert.deepEqual(spread([100, 100], 20, 0, 100), [80, 100]);
});

test("whatever they want, they keep order, distance and borders, and the sum of squares is least", () => {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let turn = 0; turn < 300; turn++) {
    const n = 1 + Math.floor(random() * 5);
    const wanted = Array.from({ length: n }, () => random() * 100);
    const found = spread(wanted, 15, 0, 100);
    const order = wanted.map((_, i) => i).sort((i, j) => wanted[i] - wanted[j]);
    for (let i = 0; i < n; i++) {
      assert.ok(found[i] >= -1e-9 && found[i] <= 100 + 1e-9);
      if (i) assert.ok(found[order[i]] - found[order[i - 1]] >= 15 - 1e-9);
    }
    const cost = (/** @type {number[]} */ places) =>
      places.reduce((sum, place, i) => sum + (place - wanted[i]) ** 2, 0);
    for (let tries = 0; tries < 50; tries++) {
      const other = found.map((place) => place + (random() - 0.5) * 4);
      const allowed =
        other.every((place) => place >= 0 && place <= 100) &&
        order.every((label, i) => !i || other[label] - other[order[i - 1]] >= 15);
      if (allowed) assert.ok(cost(other) >= cost(found) - 1e-6);
    }
  }
});

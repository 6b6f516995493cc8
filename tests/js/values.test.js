import assert from "node:assert/strict";
import { test } from "node:test";
import { cividisCss } from "../../assets/palette.js";
import {
  axisRange,
  entryOf,
  extremes,
  floorOf,
  meanOf,
  numbersOf,
  readMaps,
  scaleOf,
  stripOf,
} from "../../assets/values.js";

/** @typedef {import("../../assets/values.js").Quantity["scale"]} Kind */
const [log, linear] = /** @type {Kind[]} */ (["log", "linear"]);

test("values are looked up and what is missing is null", () => {
  const values = { rms: { attn: [1, [2, 3]] } };
  assert.equal(entryOf(values, "rms", "attn", 0), 1);
  assert.deepEqual(entryOf(values, "rms", "attn", 1), [2, 3]);
  for (const [quantity, node, layer] of [
    ["rms", "attn", 2],
    ["rms", "mlp", 0],
    ["else", "attn", 0],
  ]) {
    assert.equal(entryOf(values, String(quantity), String(node), Number(layer)), null);
  }
  assert.equal(entryOf(undefined, "rms", "attn", 0), null);
  assert.deepEqual(numbersOf(values.rms), [1, 2, 3]);
  assert.deepEqual(numbersOf(undefined), []);
  assert.deepEqual([meanOf(null), meanOf(4), meanOf([1, null, 5]), meanOf([])], [null, 4, 2, 0]);
});

test("the floor of a quantity is the one value of another, where it has one", () => {
  const values = { read: { embedding: [0.9] }, commonest: { embedding: [0.2] } };
  assert.equal(floorOf(values, { floor: "commonest" }), 0.2);
  assert.equal(floorOf(values, { floor: "" }), null);
  assert.equal(floorOf({ commonest: { embedding: [null] } }, { floor: "commonest" }), null);
  assert.equal(floorOf({}, { floor: "commonest" }), null);
  assert.equal(floorOf(undefined, { floor: "commonest" }), null);
});

test("extremes leave out what has no place on the scale", () => {
  assert.deepEqual(extremes([3, null, -1, NaN, Infinity, undefined, 7], linear), [-1, 7]);
  assert.deepEqual(extremes([3, 0, -1, 7], log), [3, 7]);
  assert.deepEqual(extremes([0, null], log), []);
  const many = Array.from({ length: 300_000 }, (_, i) => i); // too many to be arguments of a function
  assert.deepEqual(extremes(many, linear), [0, 299_999]);
});

test("a linear scale goes from the smallest to the largest", () => {
  const scale = scaleOf({ scale: linear, top: null }, [2, 4, null]);
  assert.deepEqual([scale.low, scale.high], [2, 4]);
  assert.deepEqual([2, 3, 4, 9, -9].map(scale.at), [0, 0.5, 1, 1, 0]);
  assert.equal(scale.at(null), 0);
  assert.equal(scale.colour(3), cividisCss(0.5));
  assert.notEqual(scale.ink(2), scale.ink(4));
});

test("a logarithmic scale has equal ratios at equal distances", () => {
  const scale = scaleOf({ scale: log, top: null }, [1, 100, 0, -5]);
  assert.deepEqual([scale.low, scale.high], [1, 100]);
  assert.ok(Math.abs(scale.at(10) - 0.5) < 1e-12);
  assert.deepEqual([scale.at(0), scale.at(-1)], [0, 0]);
});

test("a quantity with a largest value goes from 0 to it", () => {
  const scale = scaleOf({ scale: linear, top: 1 }, [0.2, 0.4]);
  assert.deepEqual([scale.low, scale.high, scale.at(0.5)], [0, 1, 0.5]);
  const signed = scaleOf({ scale: linear, top: 1 }, [-0.5, 0.4]);
  assert.equal(signed.low, -0.5);
});

test("nothing, or one value, has a scale too", () => {
  for (const scale of [log, linear]) {
    const none = scaleOf({ scale, top: null }, [null]);
    assert.ok(none.low < none.high);
    assert.equal(scaleOf({ scale, top: null }, [3]).at(3), 0.5);
  }
});

test("an axis has room around its scale, in decades where it is logarithmic", () => {
  const [low, high] = axisRange({ low: 10, high: 1000 }, true) ?? [];
  assert.ok(Math.abs(Number(low) - 0.9) < 1e-9 && Math.abs(Number(high) - 3.1) < 1e-9);
  assert.deepEqual(axisRange({ low: 0, high: 100 }, false), [-4, 104]);
  assert.equal(axisRange({ low: 0, high: 100 }, true), undefined);
  assert.equal(axisRange({ low: 5, high: 5 }, false), undefined);
  assert.equal(axisRange({ low: -Infinity, high: 5 }, false), undefined);
});

test("maps are read from the bytes of their lower triangles", () => {
  const T = 3;
  const bytes = Array.from({ length: 2 * 2 * 6 }, (_, i) => i * 10); // two layers of two heads
  const maps = btoa(String.fromCharCode(...bytes));
  const { at, ...rest } = readMaps({ maps, tokens: ["a", "b", "c"], n_head: 2 });
  assert.deepEqual(rest, { T });
  assert.equal(at(0, 0, 0, 0), 0);
  assert.deepEqual([at(0, 0, 1, 0), at(0, 0, 1, 1), at(0, 0, 2, 0), at(0, 0, 2, 2)], [10, 20, 30, 50]);
  assert.equal(at(1, 0, 0, 0), 120, "layer 2 begins after the two heads of layer 1");
  assert.equal(at(1, 1, 2, 2), 230);
  assert.equal(at(1, 1, 0, 2), 0, "nobody looks ahead");
});

test("a strip has the places in the order in which the stream passes them", () => {
  const probes = [
    { rms: { "attn.add": [2, 4], "mlp.add": [3, 5], emb: [1] } },
    { rms: { "attn.add": [20, null], "mlp.add": [30, 50], emb: [10] } },
  ];
  const { rows, names } = stripOf(probes, "rms");
  const places = ["embedding", "layer 1, attention", "layer 1, MLP", "layer 2, attention", "layer 2, MLP"];
  assert.deepEqual(names, places);
  assert.deepEqual(rows, [
    [1, 2, 3, 4, 5],
    [10, 20, 30, null, 50],
  ]);
  assert.deepEqual(stripOf(probes, "else"), { rows: [[], []], names: [] });
  assert.deepEqual(stripOf([], "rms"), { rows: [], names: [] });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  attentionColours,
  cividis,
  cividisCss,
  cividisGradient,
  inkOn,
  layerColour,
  translucent,
} from "../../assets/palette.js";

/** @param {number[]} rgb perceived brightness */
const brightness = ([red, green, blue]) => 0.2126 * red + 0.7152 * green + 0.0722 * blue;

test("cividis runs from dark blue to yellow and is clamped", () => {
  assert.deepEqual(cividis(0), [0, 32, 77]);
  assert.deepEqual(cividis(1), [255, 234, 70]);
  assert.deepEqual(cividis(-3), cividis(0));
  assert.deepEqual(cividis(7), cividis(1));
  assert.deepEqual(cividis(0.05), [0, 41, 94]); // halfway between the first two stops
  assert.equal(cividisCss(0), "rgb(0,32,77)");
});

test("it grows brighter all the way, so that it can be read in grey", () => {
  const steps = Array.from({ length: 101 }, (_, i) => brightness(cividis(i / 100)));
  for (let i = 1; i < steps.length; i++) assert.ok(steps[i] >= steps[i - 1] - 0.5, `at ${i}`);
});

test("the gradient of the style sheet has the ends of the map", () => {
  assert.match(cividisGradient(), /^linear-gradient\(90deg, rgb\(0 32 77\), .*rgb\(255 234 70\)\)$/);
});

test("each byte of attention has its colour, the small ones far apart", () => {
  const colours = attentionColours();
  assert.equal(colours.length, 256);
  assert.deepEqual(colours[0], cividis(0));
  assert.deepEqual(colours[255], cividis(1));
  assert.deepEqual(colours[64], cividis(Math.sqrt(64 / 255)));
});

test("ink is dark on bright colours and light on dark ones", () => {
  assert.equal(inkOn(0.1), "var(--pg-ink-light)");
  assert.equal(inkOn(0.9), "var(--pg-ink-dark)");
});

/** @param {number[]} rgb relative luminance, as WCAG 2 defines it */
const luminance = (rgb) =>
  brightness(rgb.map((each) => (each <= 10 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4)));

test("layers differ, and each can be told from a dark and from a light page", () => {
  for (const [dark, page] of /** @type {const} */ ([
    [false, [255, 255, 255]],
    [true, [39, 39, 42]],
  ])) {
    const colours = [0, 1, 2, 3].map((layer) => layerColour(layer, 4, dark));
    assert.equal(new Set(colours).size, 4);
    for (const colour of colours) {
      const rgb = /** @type {RegExpExecArray} */ (/rgb\((.*)\)/.exec(colour))[1].split(",").map(Number);
      const [low, high] = [luminance(rgb), luminance([...page])].sort((a, b) => a - b);
      assert.ok((high + 0.05) / (low + 0.05) > 2.5, colour);
    }
  }
  assert.equal(layerColour(0, 1, false), layerColour(0, 1, false));
});

test("a hex colour becomes translucent", () => {
  assert.equal(translucent("#009e73", 0.2), "rgba(0,158,115,0.2)");
});

import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../../assets/format.js";

/** @param {(value: any) => string} call @param {[unknown, string][]} cases */
function says(call, cases) {
  for (const [value, words] of cases) assert.equal(call(value), words);
}

test("numbers have their thousands separated and nothing is a dash", () => {
  says(format.number, [
    [0, "0"],
    [1234567, "1,234,567"],
    [-1234.5, "-1,235"],
    [null, "–"],
    [undefined, "–"],
  ]);
  assert.equal(format.number(2, 3), "2.000");
  assert.equal(format.number("12", 1), "12.0");
});

test("compact numbers have three digits and a prefix at each border", () => {
  says(format.compact, [
    [0, "0"],
    [0.126, "0.13"],
    [999, "999"],
    [1000, "1.00 k"],
    [1.5e6, "1.50 M"],
    [2e9, "2.00 G"],
    [3e12, "3.00 T"],
    [-4e6, "-4.00 M"],
    [null, "–"],
  ]);
});

test("short numbers fit in a cell", () => {
  says(format.short, [
    [0, "0"],
    [0.00012, "1.2e-4"],
    [0.123, "0.12"],
    [1.2345, "1.23"],
    [-99.94, "-99.9"],
    [100, "100"],
    [99999, "99999"],
    [100000, "1.0e5"],
    [undefined, "–"],
  ]);
});

test("durations name their two largest units", () => {
  says(format.duration, [
    [0, "0 s"],
    [0.2, "under 1 s"],
    [59.4, "59 s"],
    [59.5, "1 min 00 s"],
    [61, "1 min 01 s"],
    [3599.4, "59 min 59 s"],
    [3600, "1 h 00 min"],
    [90061, "25 h 01 min"],
    [null, "–"],
  ]);
});

test("probabilities, differences, counts and losses", () => {
  says(format.percent, [
    [0.0123, "1.2%"],
    [0.1, "10%"],
    [1, "100%"],
  ]);
  says(format.signed, [
    [0, "+0.000"],
    [0.5, "+0.500"],
    [-0.5, "−0.500"],
  ]);
  says(format.count, [
    [1200, "1,200"],
    [1e15, "about 1.0 × 10^15"],
    [1e300, "more than 10^300"],
  ]);
  says(format.nats, [
    [0, "0.000 nats per token"],
    [0.05, "0.0500 nats per token"],
    [1.5, "1.500 nats per token"],
  ]);
});

test("what cannot be seen in a token is made visible", () => {
  assert.equal(format.visibleToken(" a\n\tb\u0007\u007f"), "·a⏎⇥b␣␣");
  assert.equal(format.visibleToken("é✓"), "é✓");
});

test("texts are cut to a length, with a mark", () => {
  assert.equal(format.cut("abcdefgh", 8), "abcdefgh");
  assert.equal(format.cut("abcdefghi", 8), "abcdefg…");
  assert.equal(format.sentenceCase("held out"), "Held out");
  assert.equal(format.sentenceCase(""), "");
});

test("file names are safe and never empty", () => {
  assert.equal(format.fileName("../my run: <b>", "csv"), "..-my-run-b.csv");
  assert.equal(format.fileName("«»", "png"), "figure.png");
  assert.equal(format.fileName("a".repeat(200), "csv").length, 84);
});

test("a table becomes CSV in which nothing is a formula", () => {
  const rows = [
    ["x", "words"],
    [1.5, 'say "a, b"'],
    [-2, "=SUM(A1)"],
    [null, "two\nlines"],
    ["-1", "@x"],
  ];
  const lines = ["x,words", '1.5,"say ""a, b"""', "-2,'=SUM(A1)", ',"two\nlines"', "'-1,'@x"];
  assert.equal(format.csv(rows), lines.join("\n") + "\n");
});

test("a longer text gets a smaller font for the same width", () => {
  const size = (/** @type {string} */ text) => parseFloat(format.fits(text, 42));
  assert.ok(size("1.6e-37") < 11.5 && size("1.6e-37") > 8);
  assert.ok(size("0.5") > 16);
  assert.equal(format.fits("", 66), "100.0px");
});

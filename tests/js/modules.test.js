// How the modules in assets/ hang together: by relative imports alone, without circles, and without globals.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const FOLDER = new URL("../../assets/", import.meta.url);
/** @type {string[]} */
const FILES = readdirSync(FOLDER);
const NAMES = FILES.filter((name) => name.endsWith(".js"));
const SOURCES = new Map(NAMES.map((name) => [name, readFileSync(new URL(name, FOLDER), "utf8")]));
const IMPORT = /^(?:import|export) [^;]*?from "([^"]+)";/gm;
const CODE = new Map([...SOURCES].map(([name, text]) => [name, text.replace(/\/\*[^]*?\*\//g, "")]));

/** @param {string} name */
const importsOf = (name) => Array.from((CODE.get(name) ?? "").matchAll(IMPORT), ([, path]) => path);

test("imports are relative and name a file that is there", () => {
  assert.ok(NAMES.length > 20 && importsOf("main.js").length > 10);
  for (const name of NAMES) {
    for (const path of importsOf(name)) assert.ok(NAMES.includes(path.replace(/^\.\//, "")), `${name}: ${path}`);
    assert.doesNotMatch(CODE.get(name) ?? "", /\bimport\(/, `${name}: only Gradio's code loads at a later time`);
  }
});

test("every module is reached from main.js", () => {
  const reached = new Set(["main.js"]);
  for (const name of reached) for (const path of importsOf(name)) reached.add(path.slice(2));
  const inTheDocument = ["first.js"]; // a script that runs before all modules
  assert.deepEqual([...reached, ...inTheDocument].sort(), NAMES.sort());
});

test("no circles", () => {
  const left = new Map(NAMES.map((name) => [name, importsOf(name).map((path) => path.slice(2))]));
  for (;;) {
    const free = [...left].filter(([, needs]) => !needs.some((need) => left.has(need)));
    if (!free.length) break;
    for (const [name] of free) left.delete(name);
  }
  assert.deepEqual([...left.keys()], []);
});

test("nothing is put on window, and only Plotly is read from it", () => {
  const taken = new Set(["window.Plotly", "window.confirm", "window.prompt", "window.devicePixelRatio"]);
  for (const [name, code] of CODE) {
    const used = code.match(/\b(?:window|globalThis|self)\.\w+/g) ?? [];
    for (const each of used) assert.ok(taken.has(each), `${name}: ${each}`);
    assert.doesNotMatch(code, /\b(?:window|globalThis)(?:\.\w+|\[[^\]]*\])+ *[?|&+-]{0,2}=[^=]/, name);
  }
});

test("what knows no document can be loaded without one, and so can what it imports", async () => {
  const pure = NAMES.filter((name) =>
    SOURCES.get(name)?.split("*/")[0].replace(/\s+/g, " ").includes("Knows no document"),
  );
  assert.ok(pure.length >= 6);
  for (const name of pure) {
    await import(new URL(name, FOLDER).href);
    assert.doesNotMatch(CODE.get(name) ?? "", /\b(?:document|window|localStorage|fetch)\b[.(]/, name);
    for (const path of importsOf(name)) assert.ok(pure.includes(path.slice(2)), `${name}: ${path}`);
  }
});

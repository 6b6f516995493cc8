import assert from "node:assert/strict";
import { test } from "node:test";

import { A_PAGE, folded, freshList, leftOut, mergeList, pageOf } from "../../assets/listing.js";

test("what has changed is merged, and what is gone removed", () => {
  const list = freshList();
  mergeList(list, { version: "e-1", whole: true, runs: [{ id: "a" }, { id: "b", step: 1 }], gone: [] });
  mergeList(list, { version: "e-3", whole: false, runs: [{ id: "b", step: 2 }, { id: "c" }], gone: ["a"] });
  assert.deepEqual([...list.runs.values()], [{ id: "b", step: 2 }, { id: "c" }]);
  assert.equal(list.version, "e-3");
  mergeList(list, { version: "f-1", whole: true, runs: [{ id: "d" }], gone: [] });
  assert.deepEqual([...list.runs.keys()], ["d"]);
});

test("pages hold every row once, and one beyond the end is the last", () => {
  const rows = Array.from({ length: 2 * A_PAGE + 3 }, (_, i) => i);
  const pages = [0, 1, 2].map((page) => pageOf(rows, page));
  assert.deepEqual(
    pages.flatMap((page) => page.rows),
    rows,
  );
  assert.deepEqual(pages[2], { page: 2, last: 2, first: 2 * A_PAGE, rows: rows.slice(-3) });
  assert.equal(pageOf(rows, 9).page, 2);
  assert.deepEqual(pageOf([], 4), { page: 0, last: 0, first: 0, rows: [] });
});

test("runs of an experiment stand under one row, where the first of them does", () => {
  const norms = { id: "n", title: "Norms" };
  const run = (/** @type {string} */ id, experiment = /** @type {typeof norms | null} */ (null)) => ({
    id,
    experiment,
  });
  const runs = [run("a"), run("b", norms), run("c"), run("d", norms)];
  const ids = (/** @type {string[]} */ ...open) =>
    folded(runs, new Set(open), ({ experiment }) => experiment).map((row) =>
      "group" in row ? row.title + row.runs.length : row.id,
    );
  assert.deepEqual(ids(), ["a", "Norms2", "c"]);
  assert.deepEqual(ids("n", "other"), ["a", "Norms2", "b", "d", "c"]);
});

test("ticked runs that are not drawn are told of", () => {
  assert.deepEqual(leftOut(12, 12), []);
  assert.deepEqual(leftOut(60, 12), ["Only the first 12 ticked runs are drawn; 48 more are not."]);
});

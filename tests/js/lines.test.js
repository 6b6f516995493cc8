import assert from "node:assert/strict";
import { test } from "node:test";
import { changed, highlighted } from "../../assets/lines.js";

/** @param {string} before @param {string} after */
function marks(before, after) {
  const { added, cut, removed } = changed(before.split(""), after.split(""));
  return { added: [...added], cut: [...cut], removed };
}

test("what is new is marked, and where something is gone", () => {
  assert.deepEqual(marks("abc", "abc"), { added: [], cut: [], removed: 0 });
  assert.deepEqual(marks("abc", "axbc"), { added: [1], cut: [], removed: 0 });
  assert.deepEqual(marks("abc", "ac"), { added: [], cut: [1], removed: 1 });
  assert.deepEqual(marks("abc", "ab"), { added: [], cut: [2], removed: 1 });
  assert.deepEqual(marks("abc", ""), { added: [], cut: [0], removed: 3 });
  assert.deepEqual(marks("", "ab"), { added: [0, 1], cut: [], removed: 0 });
});

test("a line that is another one now is new, and as few lines as possible are", () => {
  assert.deepEqual(marks("abc", "aXc"), { added: [1], cut: [], removed: 1 });
  const { added, removed } = changed("one two three four".split(" "), "zero one three four five".split(" "));
  assert.deepEqual([[...added], removed], [[0, 4], 1]);
});

test("added and kept lines make the new version, removed and kept ones the old", () => {
  let seed = 1;
  const draw = (/** @type {number} */ n) => (seed = (seed * 48271) % 2147483647) % n;
  for (let trial = 0; trial < 200; trial++) {
    const [before, after] = [0, 0].map(() => Array.from({ length: draw(12) }, () => "abc"[draw(3)]));
    const { added, removed } = changed(before, after);
    assert.equal(after.length - added.size, before.length - removed);
    const kept = after.filter((_, i) => !added.has(i));
    let at = 0;
    for (const line of before) if (line === kept[at]) at++;
    assert.equal(at, kept.length, "what is kept stands in the old version in this order");
  }
});

test("pieces by their kind, and together they are the code", () => {
  const code = `"""Two\nlines."""\n\nclass Block(nn.Module):\n    x = "a # b"  # "note" if\n    return important\n`;
  const lines = highlighted(code);
  assert.equal(lines.map((pieces) => pieces.map(({ text }) => text).join("")).join("\n") + "\n", code);
  const kinds = lines.map((pieces) => pieces.filter(({ kind }) => kind).map(({ kind, text }) => [kind, text]));
  assert.deepEqual(kinds, [
    [["text", `"""Two`]],
    [["text", `lines."""`]],
    [],
    [
      ["word", "class"],
      ["name", "Block"],
    ],
    [
      ["text", `"a # b"`],
      ["note", `# "note" if`],
    ],
    [["word", "return"]],
  ]);
});

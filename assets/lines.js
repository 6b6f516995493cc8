/* Python code as lines: what is new since another version of it, and the words of each line by their kind. Knows no document. */

/** @typedef {{text: string, kind: "" | "word" | "text" | "note" | "name"}} Piece `note`: a comment, `name`: what is defined */

const WORDS =
  "and as assert break class def else elif for from if import in is lambda not or pass return while with None True False";
const TOKEN = new RegExp(
  `(?<text>"""[\\s\\S]*?"""|"(?:[^"\\\\\\n]|\\\\.)*")|(?<note>#[^\\n]*)|(?<=\\b(?:class|def) )(?<name>\\w+)|\\b(?<word>${WORDS.replaceAll(" ", "|")})\\b`,
  "g",
);

/**
 * The lines of the code, each as its pieces; a text may go over several lines.
 * @param {string} code
 * @returns {Piece[][]}
 */
export function highlighted(code) {
  /** @type {Piece[][]} */
  const lines = [[]];
  /** @param {string} text @param {Piece["kind"]} kind */
  function add(text, kind) {
    text.split("\n").forEach((part, i) => {
      if (i > 0) lines.push([]);
      if (part) lines[lines.length - 1].push({ text: part, kind });
    });
  }
  let at = 0;
  for (const found of code.matchAll(TOKEN)) {
    add(code.slice(at, found.index), "");
    const [kind] = Object.entries(found.groups ?? {}).find(([, text]) => text !== undefined) ?? [""];
    add(found[0], /** @type {Piece["kind"]} */ (kind));
    at = found.index + found[0].length;
  }
  add(code.slice(at).replace(/\n$/, ""), "");
  return lines;
}

/**
 * Which lines of `after` are not in `before` (`added`), before which of them lines are gone and none came instead
 * (`cut`), and how many are gone (`removed`): by a longest common subsequence, which marks as few lines as possible.
 * @param {string[]} before
 * @param {string[]} after
 */
export function changed(before, after) {
  const common = longest(before, after);
  /** @type {Set<number>} */
  const added = new Set();
  /** @type {Set<number>} */
  const cut = new Set();
  let removed = 0;
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      i++;
      j++;
    } else if (j < after.length && (i === before.length || common[i][j + 1] >= common[i + 1][j])) {
      added.add(j++);
    } else {
      cut.add(j);
      removed++;
      i++;
    }
  }
  for (const line of cut) if (added.has(line) || added.has(line - 1)) cut.delete(line);
  return { added, cut, removed };
}

/**
 * `longest(a, b)[i][j]`: the length of the longest common subsequence of what follows from line i and from line j.
 * @param {string[]} before
 * @param {string[]} after
 */
function longest(before, after) {
  const common = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      common[i][j] = before[i] === after[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  return common;
}

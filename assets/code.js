/* The code of a design: a panel that is closed at first, and asks the server only while it is open. */

import { button, h, setText } from "./dom.js";
import { changed, highlighted } from "./lines.js";
import { copy, get, messageOf, save } from "./net.js";

/**
 * `show(config)` shows the code of a design, or keeps it for when the panel is opened: the config of a complete run,
 * without what is at its default.
 * @returns {{element: HTMLElement, show: (config: object) => void}}
 */
export function codePanel() {
  const lines = h("code");
  const place = h("pre", { class: "pg-code-lines", tabindex: "0", "aria-label": "the code" }, lines);
  const words = h("span", { class: "pg-faint", role: "status" });
  const training = h("input", { type: "checkbox" });
  const tools = h(
    "div",
    { class: "pg-code-tools" },
    h("label", {}, training, " with the training loop"),
    button("Copy", copied),
    button("Download", () =>
      save(training.checked ? "train.py" : "gpt.py", new Blob([code], { type: "text/x-python" })),
    ),
    words,
  );
  const element = h("details", { class: "pg-code" }, h("summary", {}, "its code in PyTorch"), tools, place);

  /** @type {string | null} what was asked for last, to ask once */
  let asked = null;
  /** @type {string | null} */
  let config = null;
  let code = "";

  async function ask() {
    if (!element.open || config === null) return;
    const path = `live/code?config=${encodeURIComponent(config)}${training.checked ? "&training" : ""}`;
    if (path === asked) return;
    asked = path;
    try {
      const answer = await get(path);
      if (path !== asked) return;
      if (answer.problem) refuse(answer.problem);
      else paint(answer.code);
    } catch (error) {
      if (path !== asked) return;
      asked = null; // so that it is asked for again
      refuse(messageOf(error));
    }
  }

  /** @param {string} why */
  function refuse(why) {
    place.hidden = true;
    setText(words, why);
  }
  /** @param {string} now */
  function paint(now) {
    const before = code.trimEnd().split("\n");
    const { added, cut, removed } = changed(before, now.trimEnd().split("\n"));
    const first = code === "";
    code = now;
    place.hidden = false;
    setText(words, first ? "" : saidOf(added.size, removed));
    const marks = (/** @type {number} */ i) =>
      first ? "" : [added.has(i) ? "pg-code-new" : "", cut.has(i) ? "pg-code-cut" : ""].join(" ").trim();
    lines.replaceChildren(
      ...highlighted(now).map((pieces, i) =>
        h("span", { class: `pg-code-line ${marks(i)}` }, ...pieces.map(({ kind, text }) => piece(kind, text)), "\n"),
      ),
    );
    bringIntoView();
  }

  /** The first line that is marked below the words at the top, which say more or less the same of every change. */
  function bringIntoView() {
    const rows = [...lines.children];
    const body = rows.findIndex((row) => row.textContent?.startsWith("import"));
    const row = rows.slice(body).find((row) => row.matches(".pg-code-new, .pg-code-cut"));
    if (!row) return;
    const [at, room] = [row.getBoundingClientRect(), place.getBoundingClientRect()];
    if (at.top < room.top || at.bottom > room.bottom) place.scrollTop += at.top - room.top - room.height / 4;
  }

  async function copied() {
    const done = await copy(code, () => getSelection()?.selectAllChildren(lines));
    setText(words, done ? "Copied." : "Press Ctrl+C to copy what is selected.");
  }

  element.addEventListener("toggle", ask);
  training.addEventListener("change", () => {
    code = ""; // another kind of file: nothing in it has changed
    ask();
  });
  return {
    element,
    show(now) {
      config = JSON.stringify(now);
      ask();
    },
  };
}

/** @param {string} kind @param {string} text */
const piece = (kind, text) => (kind ? h("span", { class: `pg-code-${kind}` }, text) : text);

/** @param {number} added @param {number} removed */
function saidOf(added, removed) {
  if (added === 0 && removed === 0) return "The last change left the code as it was.";
  const lines = (/** @type {number} */ n) => `${n} line${n === 1 ? "" : "s"}`;
  return `The last change: ${lines(added)} new, ${removed} gone.`;
}

/* The Play tab: what the model writes, now and at first; or, for a task, what it answers. */
/** @import { Mount } from "./open_run.js" */
/** @import { Columns, Run } from "./series.js" */

import { h, setText } from "./dom.js";
import { number } from "./format.js";

/** @type {Mount} */
export function writes(root) {
  const title = h("h2");
  const question = h("p");
  const now = sampleText("now", -1, "pg-text");
  const first = sampleText("at first", 0, "pg-text pg-faint");
  const written = h("div", {}, ...now.elements, ...first.elements);
  const asked = h("div", { class: "pg-asked" });
  root.append(h("div", { class: "pg-head" }, h("div", {}, title, question)), written, asked);

  /** @param {Run} run */
  function update(run) {
    const answers = run.series.answers;
    title.textContent = answers ? "What it answers" : "What it writes";
    question.textContent = answers
      ? "Prompts it was never trained on, and its first choice for each symbol of the answer, given the right ones before it."
      : "Always the same prompt and the same dice; only the weights differ.";
    written.hidden = Boolean(answers);
    asked.hidden = !answers;
    if (answers) asked.replaceChildren(...answered(answers));
    else for (const part of [now, first]) part.draw(run.series.sample);
  }
  return { update };
}

/**
 * One sample of those recorded.
 * @param {string} words
 * @param {number} index
 * @param {string} look
 */
function sampleText(words, index, look) {
  const title = h("h3", {}, words);
  const place = h("pre", { class: look, tabindex: "0", "aria-label": words });
  /** @param {Columns | undefined} samples */
  function draw(samples) {
    title.textContent = samples ? `${words}, step ${number(samples.step.at(index))}` : words;
    const text = samples ? samples.prompt.at(index) + samples.text.at(index) : "It has written nothing yet.";
    setText(place, text.replace(/^\n+/, ""));
  }
  return { elements: [title, place], draw };
}

/**
 * A task with one right answer: each prompt, the answer of the model, right or wrong, and what it should have been.
 * @param {Columns} answers
 */
function answered(answers) {
  const last = (/** @type {string} */ name) => /** @type {string[]} */ (answers[name].at(-1));
  const given = last("given");
  const expected = last("expected");
  const rows = last("prompts").map((prompt, i) => {
    const got = given[i].trim();
    const right = got === expected[i];
    const asked = h("td", {}, h("span", { class: "pg-asked-prompt" }, prompt), " ", h("mark", {}, got || "–"));
    return h(
      "tr",
      { class: right ? "pg-right" : "pg-wrong-answer" },
      asked,
      h("td", {}, right ? "✓" : `✗ ${expected[i]}`),
    );
  });
  const headings = ["prompt and answer", "right?"].map((name) => h("th", { scope: "col" }, name));
  return [
    h("h3", {}, `at step ${number(answers.step.at(-1))}`),
    h("table", {}, h("thead", {}, h("tr", {}, ...headings)), h("tbody", {}, ...rows)),
  ];
}

/* Before the first run: questions to begin with. A click on one, or on an answer that a person expects, starts what answers it. */
/** @import { Graph } from "./diagram.js" */
/** @import { Mount } from "./open_run.js" */

import { diagram } from "./diagram.js";
import { button, h, head } from "./dom.js";
import { lookAtFirst } from "./inside.js";

/**
 * @typedef {{name: string, question: string, sentence: string, view: string, answers: string[], graphs: Graph[]}} Start
 *   `answers`: of an experiment, which begins with one of them as its prediction; a run has none
 */

/** A card does not begin the same twice where it is clicked twice. */
const AGAIN_MS = 3000;
const NO_ANSWER = "I don't know";

/** @type {Mount} */
export function start(root, { props, trigger }) {
  /**
   * @param {Start} start
   * @param {HTMLButtonElement[]} buttons
   * @param {string} [answer]
   */
  function begin({ name, view }, buttons, answer) {
    for (const each of buttons) each.disabled = true;
    setTimeout(() => buttons.forEach((each) => (each.disabled = false)), AGAIN_MS);
    trigger("begin", { name, answer });
    if (view) lookAtFirst({ view, quantity: null });
  }
  /** @param {Start} start */
  function trains(start) {
    const card = h("button", { type: "button", class: "pg-choice-card", "data-start": start.name, onclick: press });
    function press() {
      begin(start, [card]);
    }
    card.append(...about(start), h("span", { class: "pg-size" }, "Trains at once"));
    return card;
  }
  /** @param {Start} start */
  function compares(start) {
    const buttons = [...start.answers, NO_ANSWER].map((answer) =>
      button(answer, () => begin(start, buttons, answer), { "aria-label": `${start.question} ${answer}` }),
    );
    const answers = h("span", { class: "pg-answers" }, ...buttons);
    const asks = h("span", { class: "pg-size" }, "An experiment. What do you expect?");
    return h("div", { class: "pg-choice-card", "data-start": start.name }, ...about(start), asks, answers);
  }
  root.append(
    head("Start here", "A question, and one click that answers it. Or change the recipe, and press Train."),
    h(
      "div",
      { class: "pg-cards" },
      ...props.value.map((/** @type {Start} */ each) => (each.answers.length ? compares(each) : trains(each))),
    ),
  );
}

/**
 * What every card shows: the architectures, the question and a sentence.
 * @param {Start} start
 */
function about({ question, sentence, graphs }) {
  const pictures = graphs.map((graph, i) => diagram(graph, graphs[i ? 0 : graphs.length - 1]));
  return [
    h("span", { class: "pg-thumbs", inert: true, "aria-hidden": "true" }, ...pictures),
    h("strong", {}, question),
    h("span", { class: "pg-faint" }, sentence),
  ];
}

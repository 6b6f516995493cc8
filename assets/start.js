/* Before the first run: questions to begin with. A click on one starts what answers it. */
/** @import { Graph } from "./diagram.js" */
/** @import { Mount } from "./open_run.js" */

import { diagram } from "./diagram.js";
import { h, head } from "./dom.js";
import { lookAtFirst } from "./inside.js";

/** @typedef {{name: string, question: string, sentence: string, view: string, opens: "run" | "experiment", graphs: Graph[]}} Start */

/** A card does not begin the same twice where it is clicked twice. */
const AGAIN_MS = 3000;

/** @type {Mount} */
export function start(root, { props, trigger }) {
  /** @param {Start} start */
  function card({ name, question, sentence, view, opens, graphs }) {
    const pictures = graphs.map((graph, i) => diagram(graph, graphs[i ? 0 : graphs.length - 1]));
    const element = h(
      "button",
      { type: "button", class: "pg-choice-card", "data-start": name, onclick: begin },
      h("span", { class: "pg-thumbs", inert: true, "aria-hidden": "true" }, ...pictures),
      h("strong", {}, question),
      h("span", { class: "pg-faint" }, sentence),
      h("span", { class: "pg-size" }, opens === "run" ? "Trains at once" : "An experiment: first say what you expect"),
    );
    function begin() {
      element.disabled = true;
      setTimeout(() => (element.disabled = false), AGAIN_MS);
      trigger("begin", { name });
      if (view) lookAtFirst({ view, quantity: null });
    }
    return element;
  }
  root.append(
    head("Start here", "A question, and one click that answers it. Or change the recipe, and press Train."),
    h("div", { class: "pg-cards" }, ...props.value.map(card)),
  );
}

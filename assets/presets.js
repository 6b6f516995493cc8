/* All presets, by what they are for, each with its picture: a dialog that opens beside the list of their names. */
/** @import { Graph } from "./diagram.js" */
/** @import { Mount } from "./open_run.js" */

import { diagram } from "./diagram.js";
import { button, h } from "./dom.js";
import { get, messageOf } from "./net.js";

/** @typedef {{name: string, title: string, sentence: string, group: string, graph: Graph}} Preset */

/** @type {Mount} */
export function presets(root, { trigger }) {
  const search = h("input", {
    type: "search",
    class: "pg-runs-search",
    placeholder: "Find a preset",
    "aria-label": "find a preset",
  });
  const list = h("div", { class: "pg-preset-groups" });
  const close = button("Close", () => dialog.close());
  const dialog = h("dialog", { class: "pg-dialog pg-wide-dialog", "aria-label": "presets" });
  dialog.append(h("div", { class: "pg-line" }, h("h2", {}, "Presets"), search, close), list);
  root.append(button("Browse the presets", open, { id: "presets-browse" }), dialog);
  /** @type {Preset[]} */
  let all = [];

  async function open() {
    dialog.showModal();
    if (all.length) return;
    list.textContent = "Loading.";
    try {
      all = await get("live/presets");
      show();
    } catch (error) {
      list.textContent = messageOf(error);
    }
  }
  function show() {
    const words = search.value.trim().toLowerCase().split(/\s+/);
    const fits = (/** @type {Preset} */ { title, sentence }) =>
      words.every((word) => `${title} ${sentence}`.toLowerCase().includes(word));
    const found = all.filter(fits);
    const groups = [...new Set(found.map(({ group }) => group))];
    const sections = groups.map((group) =>
      h(
        "section",
        {},
        h("h3", {}, group),
        h("div", { class: "pg-cards" }, ...found.filter((each) => each.group === group).map(card)),
      ),
    );
    list.replaceChildren(
      ...(sections.length ? sections : [h("p", { class: "pg-faint" }, "No preset has these words.")]),
    );
  }
  /** @param {Preset} preset */
  function card({ name, title, sentence, graph }) {
    const choose = () => {
      trigger("choose", { preset: name });
      dialog.close();
    };
    return h(
      "button",
      { type: "button", class: "pg-choice-card", "data-preset": name, onclick: choose },
      h("span", { class: "pg-thumbs", inert: true, "aria-hidden": "true" }, diagram(graph)),
      h("strong", {}, title),
      h("span", { class: "pg-faint" }, sentence),
    );
  }
  search.addEventListener("input", show);
}

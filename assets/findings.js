/* What a person should notice of a run, in plain words: each by a rule with a stated threshold. */
/** @import { Run } from "./series.js" */

import { h } from "./dom.js";
import { number } from "./format.js";
import { get } from "./net.js";

const FINDINGS_MS = 3000;

export const FINDINGS_QUESTION =
  "Plain sentences, each by a rule with a stated threshold; a click shows where it comes from.";

/**
 * @typedef {{
 *   name: string, sentence: string, rule: string, weight: number, view: string, quantity: string | null, step: number,
 *   initial: boolean,
 * }} Finding
 */

/** @typedef {ReturnType<typeof findingList>} FindingList */

/**
 * What a person should notice, in plain words.
 * @param {(finding: Finding) => void} follow
 */
export function findingList(follow) {
  const element = h("ul", { class: "pg-findings", "aria-label": "what stands out" });
  let asked = 0;
  let shown = "";
  /** @type {Run | null} */
  let current = null;
  /** @param {Finding} finding */
  function line(finding) {
    const { name, weight, rule, sentence, step, initial } = finding;
    const when = h("span", { class: "pg-when" }, `step ${number(step)}${initial ? ", initial state" : ""}`);
    const press = () => follow(finding);
    return h(
      "li",
      { "data-rule": name, "data-weight": weight },
      h("button", { type: "button", title: `Rule: ${rule}`, onclick: press }, sentence, " ", when),
    );
  }
  /** Not more often than every few seconds. @param {Run} run */
  async function refresh(run) {
    current = run;
    if (Date.now() - asked < FINDINGS_MS) return;
    asked = Date.now();
    try {
      /** @type {Finding[]} */
      const found = await get(`live/runs/${encodeURIComponent(run.id ?? "")}/findings`);
      const now = JSON.stringify(found);
      if (current !== run || now === shown) return;
      shown = now;
      const none = h("li", { class: "pg-faint" }, "Nothing stands out yet.");
      element.replaceChildren(...(found.length ? found.map(line) : [none]));
    } catch {
      /* the bar says that the playground does not answer */
    }
  }
  function forget() {
    asked = 0;
    shown = "";
    element.replaceChildren(); // what was said of another run
  }
  return { element, refresh, forget };
}

/* The Sample tab: tokens as they come, shaded by how likely the model thought them. */
/** @import { Mount } from "./open_run.js" */

import { h, head, hideTip, showTip } from "./dom.js";
import { number, percent, visibleToken } from "./format.js";

/**
 * @typedef {[text: string, token: string, probability: number, others: [token: string, probability: number][]]} Token
 * @typedef {{state: "empty" | "writing" | "done", prompt: string, tokens: Token[], wanted: number, note: string}} Sampled
 */

/** @type {Mount} */
export function sample(root, { props, watch }) {
  const prompt = h("span", { class: "pg-prompt" });
  const written = h("span");
  const text = h("div", { class: "pg-sampled", "aria-live": "off" }, prompt, written);
  const status = h("p", { class: "pg-caption", "aria-live": "polite" });
  const note = h("p", { class: "pg-reason", hidden: true, id: "sample-note" });
  const empty = h(
    "div",
    { class: "pg-empty" },
    h("h2", {}, "Nothing is written yet"),
    h("p", {}, "Choose a run and a checkpoint, then press Write. Runs can be sampled from while they train."),
  );
  const scale = h(
    "span",
    { class: "pg-scale" },
    h("span", {}, "0%"),
    h("span", { class: "pg-ramp pg-ramp-short pg-ramp-sample" }),
    h("span", {}, "100%"),
  );
  root.append(
    head(
      "What the model writes",
      "Each token is shaded by its probability: the stronger the shade, the safer the bet; plain ones were surprises. Point at one to see what else it could have been.",
      scale,
    ),
    empty,
    note,
    status,
    text,
  );
  /** @type {Token[]} */
  let shown = [];
  /** @type {string | null} */
  let shownPrompt = null;

  /** Tokens are added to those that are there, as long as they go on from them. */
  function show() {
    /** @type {Sampled | null} */
    const value = props.value;
    const nothing = !value || value.state === "empty";
    empty.hidden = !nothing;
    text.hidden = nothing;
    note.textContent = value?.note ?? "";
    note.hidden = !note.textContent;
    document.body.dataset.sampling = value?.state === "writing" ? "yes" : "no";
    if (nothing) return;
    if (shownPrompt !== value.prompt || !goesOn(shown, value.tokens)) {
      written.replaceChildren();
      shown = [];
      prompt.textContent = shownPrompt = value.prompt;
    }
    written.append(...value.tokens.slice(shown.length).map(tokenSpan));
    shown = value.tokens.slice();
    status.textContent =
      value.state === "writing"
        ? `writing, ${number(shown.length)} of ${number(value.wanted)} tokens`
        : `${number(shown.length)} tokens, mean surprise ${number(meanSurprise(shown), 2)} nats per token`;
  }
  watch("value", show);
  show();
  document.addEventListener("click", ({ target }) => {
    const halts = target instanceof Element && target.closest("#sample-halt");
    if (!halts || document.body.dataset.sampling !== "yes") return;
    document.body.dataset.sampling = "no";
    status.textContent = `stopped after ${number(shown.length)} of ${number(props.value.wanted)} tokens`;
  });
}

/**
 * Whether tokens begin with those before.
 * @param {Token[]} before
 * @param {Token[]} tokens
 */
const goesOn = (before, tokens) =>
  before.length <= tokens.length && before.every((token, i) => token[0] === tokens[i][0] && token[2] === tokens[i][2]);

/** @param {Token[]} tokens */
const meanSurprise = (tokens) =>
  tokens.length ? tokens.reduce((sum, [, , p]) => sum - Math.log(Math.max(p, 1e-4)), 0) / tokens.length : null;

/** @param {Token} token */
function tokenSpan(token) {
  const element = h("span", { class: "pg-token", style: `--p:${token[2]}` }, token[0]);
  element.addEventListener("pointermove", (event) => showTip(event, odds(token)));
  element.addEventListener("pointerleave", hideTip);
  return element;
}

/** @param {Token} token */
function odds([, token, probability, others]) {
  const faint = (/** @type {string} */ words) => [h("span", { class: "pg-tip-faint" }, words), h("span")];
  return h(
    "div",
    { class: "pg-odds" },
    ...faint("drawn"),
    h("code", {}, visibleToken(token)),
    h("strong", {}, percent(probability)),
    ...faint("instead of"),
    ...others.flatMap(([other, p]) => [h("code", {}, visibleToken(other)), h("span", {}, percent(p))]),
  );
}

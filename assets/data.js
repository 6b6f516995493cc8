/* The data of a run before it starts: what a text or a task is, its best possible loss, and how tokenizers cut a
   sentence. */
/** @import { Context, Mount } from "./open_run.js" */

import { asking, button, fact, h, visible, waiting } from "./dom.js";
import { count, nats, number, sentenceCase, visibleToken } from "./format.js";

/**
 * What the server says of a source: a text, a task, or why there is nothing yet.
 * @typedef {{
 *   kind: "text", title: string, lead: string, warnings: string[], edition: string, fingerprint: string,
 *   n_chars: number, n_tokens: number, vocab_size: number, n_held_out: number, floor: number | null,
 *   floor_bits: number, preview: string,
 * }} AboutText
 * @typedef {{
 *   kind: "task", title: string, lead: string, warnings: string[], edition: string,
 *   shown: [prompt: string, answer: string][], n_different: number, n_held_out: number, floor: number,
 *   scored: string, exact: boolean, ceiling: number, about: string, paper: string,
 *   pair: { preset: string, architecture: string, learns: boolean }[],
 * }} AboutTask
 */

/** What cuts text into tokens is told when the data change. */
let dataChanged = () => {};

/** @type {Mount} */
export function data(root, { props, watch, trigger }) {
  function show() {
    const value = props.value;
    if (!value) return;
    root.replaceChildren(...contents(value, trigger));
    dataChanged();
  }
  watch("value", show);
  show();
}

/**
 * @param {any} value
 * @param {Context["trigger"]} trigger
 */
function contents(value, trigger) {
  if (value.waiting) return [waiting(value.waiting, value.share)];
  if (value.missing) return missing(value, trigger);
  /** @type {AboutText | AboutTask} */
  const about = value;
  const fingerprint = about.kind === "text" ? `fingerprint ${about.fingerprint}` : "";
  const edition = [about.edition, fingerprint].filter(Boolean).join(", ");
  return [
    h("p", { class: "pg-lead" }, h("strong", {}, about.title), " ", about.lead),
    ...about.warnings.map((words) => h("p", { class: "pg-warning", role: "note" }, words)),
    ...(about.kind === "task" ? aboutTask(about, trigger) : aboutText(about)),
    ...(edition ? [h("p", { class: "pg-faint" }, `${sentenceCase(edition)}.`)] : []),
  ];
}

/**
 * @param {{missing: string, allowed: boolean}} value
 * @param {Context["trigger"]} trigger
 */
function missing({ missing, allowed }, trigger) {
  if (!allowed) return [h("p", {}, `${missing} is not on this machine, and the host has switched off the Hub.`)];
  return [
    h("p", {}, `${missing} is not on this machine yet.`),
    button("Fetch it from the Hugging Face Hub", () => trigger("fetch"), { id: "fetch-text" }),
  ];
}

/**
 * What became of a text that was brought.
 * @type {Mount}
 */
export function brought(root, { props, watch }) {
  const words = h("p", { role: "status" });
  root.append(words);
  function show() {
    words.textContent = props.value?.words ?? "";
    words.className = props.value?.refused ? "pg-warning" : "pg-faint";
    words.hidden = !words.textContent;
  }
  watch("value", show);
  show();
}

/** @param {AboutText} about */
function aboutText(about) {
  const share = Math.round((100 * about.n_held_out) / about.n_tokens);
  const held = `${number(about.n_held_out)} tokens, ${share}%`;
  const more = about.n_chars > about.preview.length ? " …" : "";
  return [
    h(
      "dl",
      { class: "pg-facts" },
      fact("characters", number(about.n_chars)),
      fact("tokens", number(about.n_tokens)),
      fact("kinds of tokens", number(about.vocab_size)),
      fact("held out", held, "never trained on: the loss on them shows what the model understood"),
      about.floor === null
        ? null
        : fact(
            "lower bound of the loss",
            `${nats(about.floor)}, ${about.floor_bits.toFixed(3)} bits per character`,
            "the entropy of the grammar on the very held-out stories, each read from its beginning; windows that begin in mid-story lack what came before, so that no model comes quite down to it: windows of 64 tokens cost a model that reads 256 about 0.12 nats per token",
          ),
    ),
    h("pre", { class: "pg-preview", tabindex: "0", "aria-label": "beginning of the text" }, about.preview + more),
  ];
}

/**
 * @param {AboutTask} about
 * @param {Context["trigger"]} trigger
 */
function aboutTask(about, trigger) {
  const examples = about.shown.map(([prompt, answer]) =>
    h("div", { role: "listitem" }, h("span", {}, prompt), /\s/.test(prompt) ? " " : "", h("mark", {}, answer)),
  );
  const pair = about.pair.flatMap(({ preset, architecture, learns }, i) => {
    const which = learns ? "the one that can" : "the one that cannot";
    const press = () => trigger("demonstrate", { preset });
    return [i ? " " : "", button(`${which}: ${architecture}`, press, { "data-preset": preset })];
  });
  return [
    h(
      "div",
      { class: "pg-examples", tabindex: "0", role: "list", "aria-label": "held-out examples, the answer marked" },
      ...examples,
    ),
    h(
      "dl",
      { class: "pg-facts" },
      fact("different examples", count(about.n_different)),
      fact(
        "held out",
        `${number(about.n_held_out)} examples`,
        "one in ten of all there are is never trained on, chosen by a hash of its tokens",
      ),
      fact(
        "best possible loss",
        about.floor === 0 ? "0: the answer follows from the prompt" : nats(about.floor),
        about.scored === "answer" ? "on the tokens of the answer" : "on all tokens, most of which nobody can know",
      ),
      about.exact ? null : fact("best possible accuracy", `${(100 * about.ceiling).toFixed(1)}% of tokens`),
    ),
    h("p", {}, about.about),
    h("p", { class: "pg-faint" }, about.paper),
    h("p", { class: "pg-pair" }, "See it: ", ...pair),
  ];
}

/** @type {Record<string, string>} */
const TOKENIZERS = { char: "characters", byte: "bytes", bpe: "byte pair encoding", "its own": "the task's own tokens" };
/**
 * A sentence as one tokenizer cuts it.
 * @typedef {{
 *   kind: string, waiting?: string, tokens: [text: string, known: boolean][], n_bytes: number, vocab_size: number,
 * }} Cut
 */

/** @type {Mount} */
export function tokens(root, { props, watch, trigger }) {
  const again = asking(root, () => trigger("again"));
  let stale = true;
  /** Cut again when the data have changed: at once where it can be seen, else when it is opened. */
  function refresh() {
    if (!stale || !visible(root)) return;
    stale = false;
    trigger("again");
  }
  dataChanged = () => {
    stale = true;
    refresh();
  };
  new IntersectionObserver(refresh).observe(root);
  function show() {
    /** @type {Cut[]} */
    const cuts = props.value || [];
    root.replaceChildren(...cuts.map(cutBox));
    again(cuts.some((cut) => cut.waiting));
  }
  watch("value", show);
  show();
}

/** @param {Cut} cut */
function cutBox({ kind, waiting, tokens, n_bytes, vocab_size }) {
  const name = TOKENIZERS[kind] || "";
  if (waiting) return h("div", { class: "pg-cut" }, h("h3", {}, name), h("p", { class: "pg-faint" }, waiting));
  const unknown = tokens.filter(([, known]) => !known).length;
  const bytes = tokens.length ? (n_bytes / tokens.length).toFixed(2) : "–";
  const never = unknown ? `; ${number(unknown)} never seen` : "";
  const words = ` ${number(tokens.length)} tokens, ${bytes} bytes each, out of ${number(vocab_size)} kinds${never}`;
  const pieces = tokens.map(([text, known], i) =>
    h(
      "span",
      {
        class: known ? `pg-piece pg-piece-${i % 4}` : "pg-piece pg-unknown-piece",
        title: known ? "" : "this text has never shown it to the model",
      },
      visibleToken(text),
    ),
  );
  return h(
    "div",
    { class: "pg-cut" },
    h("h3", {}, name, h("span", { class: "pg-faint" }, words)),
    h("p", { class: "pg-pieces" }, ...pieces),
  );
}

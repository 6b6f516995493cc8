/* An experiment of one's own: a base, a setting with some values or two, seeds, a budget, and what is claimed. */
/** @import { View } from "./experiments.js" */
/** @import { Described } from "./trial.js" */

import { sizeText, valuesOf } from "./arms.js";
import { button, h, select } from "./dom.js";
import { backButton, described, prediction } from "./proposal.js";

/**
 * @typedef {{knob: string, label: string, group: string, kind: string, choices: string[]}} Knob
 * @typedef {{
 *   document?: any, preset?: string, changes?: object, factors?: Record<string, any[]>, steps?: number | null, label?: string,
 * }} Draft a whole document to change, or a base with a factor
 */

const CHECK_MS = 400;
const AGAIN_MS = 3000;
const WAIT_MS = 700; // until data that are being prepared are asked about again

/**
 * @param {Knob[]} knobs
 * @param {Draft | null} draft
 * @param {(asked: object) => void} act
 * @param {() => void} back
 * @returns {View}
 */
export function ownForm(knobs, draft, act, back) {
  const given = documentOf(draft);
  // Arms with names stay as they are, and so do factors that the form cannot show; up to two factors can be changed.
  const listed = given.arms?.length
    ? given.arms
    : Object.keys(given.factors ?? {}).length > 2
      ? [{ name: "of the factors" }]
      : null;
  const question = h("input", { type: "text", id: "own-question", maxlength: 300, value: given.question });
  const factors = [factor(knobs, 1), factor(knobs, 2)];
  Object.entries(given.factors ?? {})
    .slice(0, 2)
    .forEach(([path, values], i) => factors[i].set(path, values));
  const seeds = numberBox("own-seeds", given.seeds ?? 3, { min: 1, max: 20 });
  const early = h("input", { type: "checkbox", id: "own-early", checked: given.stop_when_decided ?? false });
  const shared = numberBox("own-common", given.common_steps ?? "", { min: 1 });
  const amount = numberBox("own-amount", given.budget?.amount ?? "", { min: 1 });
  const unit = select(
    [
      ["steps", "steps"],
      ["tokens", "tokens"],
      ["flops", "FLOP of training"],
      ["seconds", "seconds"],
    ],
    { id: "own-unit" },
  );
  unit.value = given.budget?.unit ?? "steps";
  const match = select(
    [
      ["off", "not matched"],
      ["parameters", "as many parameters"],
      ["flops", "as many FLOPs per token"],
    ],
    { id: "own-match" },
  );
  match.value = given.match ?? "off";
  const rates = h("input", {
    type: "text",
    id: "own-rates",
    value: (given.tuning ?? []).join(", "),
    placeholder: "none, or such as 0.001, 0.003, 0.01",
  });
  const kind = select(
    [
      ["lower", "lower than"],
      ["higher", "higher than"],
      ["same", "the same as"],
    ],
    { id: "own-kind" },
  );
  kind.value = given.claims?.[0]?.kind ?? "lower";
  const delta = numberBox("own-delta", given.claims?.[0]?.delta ?? 0.02, { min: 0, step: 0.01 });
  const outcome = h(
    "div",
    { class: "pg-own-outcome", role: "status" },
    h("p", { class: "pg-faint" }, "Choose a setting and its values."),
  );
  const run = button("Run the experiment", start, {
    id: "experiment-run",
    class: "pg-button pg-primary",
    disabled: true,
  });
  let predicting = /** @type {ReturnType<typeof prediction> | null} */ (null);
  let asked = Math.floor(1e9 * Math.random()); // an answer to an earlier form is not taken for one of this
  let timer = 0;

  /** The document as it is typed; the claims of a grid, whose arms the server names, are left to it. */
  function typed() {
    const { claims, ...rest } = given;
    const common = {
      ...rest,
      question: question.value.trim() || "Does it matter?",
      seeds: Number(seeds.value),
      ...(amount.value ? { budget: { unit: unit.value, amount: Number(amount.value) } } : {}),
      match: match.value,
      stop_when_decided: early.checked,
      common_steps: shared.value ? Number(shared.value) : null,
      tuning: valuesOf(rates.value, "float"),
    };
    return listed
      ? { ...common, claims }
      : { ...common, factors: Object.fromEntries(factors.flatMap((each) => each.get())) };
  }
  function check() {
    clearTimeout(timer);
    run.disabled = true;
    timer = setTimeout(ask, CHECK_MS);
  }
  function ask() {
    act({
      do: "check",
      asked: ++asked,
      document: typed(),
      claims: listed ? null : { kind: kind.value, delta: Number(delta.value) },
    });
  }
  /** @param {Described & {problems?: string[], waiting?: string, asked: number}} checked */
  function told(checked) {
    if (checked.asked !== asked) return;
    if (checked.waiting) {
      outcome.replaceChildren(h("p", { class: "pg-faint" }, `Its data are being prepared: ${checked.waiting}`));
      timer = setTimeout(() => outcome.isConnected && ask(), WAIT_MS);
      return;
    }
    if (checked.problems) {
      outcome.replaceChildren(h("ul", { class: "pg-problems" }, ...checked.problems.map((each) => h("li", {}, each))));
      return;
    }
    run.disabled = false;
    ready = checked;
    predicting = prediction(checked);
    outcome.replaceChildren(
      h("p", { class: "pg-size" }, sizeText(checked)),
      predicting.element,
      h("div", { class: "pg-line" }, run),
      described(checked),
    );
  }
  /** @type {Described | null} */
  let ready = null;
  function start() {
    if (!ready) return;
    run.disabled = true;
    setTimeout(() => (run.disabled = false), AGAIN_MS);
    act({ do: "start", document: { ...ready.document, ...predicting?.value() } });
  }
  /** The label of a field names each control in it that has no label of its own. */
  const field = (/** @type {string} */ label, /** @type {(Node | string)[]} */ ...content) => {
    const whole = h("div", { class: "pg-field" }, h("span", {}, label), ...content);
    for (const control of whole.querySelectorAll(":is(input, select):not([aria-label])")) {
      if (!control.closest("label")) control.setAttribute("aria-label", label);
    }
    return whole;
  };
  const form = h(
    "div",
    { class: "pg-own" },
    field("question", question),
    listed
      ? field("arms", h("span", {}, listed.map((/** @type {{name: string}} */ { name }) => name).join(" · ")))
      : field("arms: one for each value of", factors[0].element),
    listed ? null : field("and, if you like, for each value of", factors[1].element),
    field("seeds of each arm", seeds, h("label", {}, early, " stop once every claim is decided (intervals get wider)")),
    field("each run may spend (empty: what its preset says)", amount, unit),
    field("first steps that the arms of a seed have in common (empty: none)", shared),
    field("sizes of the arms", match),
    field("learning rates tried for each arm", rates),
    listed
      ? null
      : field(
          "claim: each arm ends",
          kind,
          " the first, by more (or less) than",
          h("span", { class: "pg-nowrap" }, "δ = ", delta),
        ),
  );
  form.addEventListener("input", check);
  form.addEventListener("change", check);
  const element = h(
    "div",
    { class: "pg-experiment" },
    backButton(back),
    h("h2", { class: "pg-question" }, "An experiment of your own"),
    h("p", {}, baseText(given)),
    form,
    outcome,
  );
  if (listed || factors[0].get().length) check();
  return { element, told };
}

/** @param {any} given */
const baseText = (given) => {
  const n = Object.keys(given.changes ?? {}).length;
  return `Everything else is that of the preset ${given.preset ?? "default"}${n ? `, with ${n} settings changed` : ""}.`;
};

/** @param {Draft | null} draft */
function documentOf(draft) {
  if (draft?.document) {
    const { prediction: _, ...document } = structuredClone(draft.document); // whoever runs it again predicts anew
    return document;
  }
  const label = draft?.label;
  return {
    title: label ? `${label[0].toUpperCase()}${label.slice(1)}` : "My experiment",
    question: label ? `Does ${label} matter?` : "",
    preset: draft?.preset ?? "default",
    changes: draft?.changes ?? {},
    factors: draft?.factors ?? {},
    budget: { unit: "steps", amount: Math.min(draft?.steps ?? 300, 300) },
  };
}

/**
 * @param {string} id
 * @param {number | string} value
 * @param {Record<string, number>} bounds
 */
const numberBox = (id, value, bounds) => h("input", { type: "number", id, value, step: "any", ...bounds });

/**
 * A setting and the values that it gets.
 * @param {Knob[]} knobs
 * @param {number} number
 */
function factor(knobs, number) {
  const names = h("select", { id: `own-factor-${number}`, "aria-label": "setting" }, h("option", { value: "" }, "–"));
  for (const group of new Set(knobs.map((knob) => knob.group))) {
    const mine = knobs.filter((knob) => knob.group === group);
    names.append(
      h(
        "optgroup",
        { label: group || "the model" },
        ...mine.map(({ knob, label }) => h("option", { value: knob }, label)),
      ),
    );
  }
  const values = h("input", { type: "text", id: `own-values-${number}`, "aria-label": "values, with commas between" });
  const choices = h("span", { class: "pg-choices" });
  const element = h("span", { class: "pg-factor" }, names, values, choices);
  const knob = () => knobs.find((each) => each.knob === names.value);
  function offer() {
    const { kind = "", choices: words = [] } = knob() ?? {};
    const all = kind === "bool" ? ["on", "off"] : words;
    values.placeholder =
      kind === "int"
        ? "such as 1, 2, 4"
        : kind === "float"
          ? "such as 0.001, 0.003"
          : all.length
            ? all.join(", ")
            : "values, with commas between";
    choices.replaceChildren(...(all.length ? all.map(toggle) : []));
  }
  /** @param {string} word */
  function toggle(word) {
    const has = () => parts().includes(word);
    const one = button(word, () => {
      values.value = (has() ? parts().filter((part) => part !== word) : [...parts(), word]).join(", ");
      one.setAttribute("aria-pressed", String(has()));
      values.dispatchEvent(new Event("input", { bubbles: true }));
    });
    one.setAttribute("aria-pressed", String(has()));
    return one;
  }
  const parts = () =>
    values.value
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean);
  names.addEventListener("change", () => {
    values.value = "";
    offer();
  });
  /** @param {string} path @param {any[]} given */
  function set(path, given) {
    names.value = path;
    values.value = given
      .map((value) => (typeof value === "boolean" ? (value ? "on" : "off") : String(value)))
      .join(", ");
    offer();
  }
  /** @returns {[string, any[]][]} */
  const get = () =>
    names.value && parts().length ? [[names.value, valuesOf(values.value, knob()?.kind ?? "text")]] : [];
  return { element, set, get };
}

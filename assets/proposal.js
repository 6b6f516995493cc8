/* An experiment before it begins: its arms, what a person predicts, and the button that starts it. */
/** @import { Described } from "./trial.js" */
/** @import { Ready, View } from "./experiments.js" */
/** @import { Draft } from "./own.js" */

import { sizeText } from "./arms.js";
import { diagram } from "./diagram.js";
import { button, h } from "./dom.js";
import { compact, number } from "./format.js";
import { armProperty } from "./palette.js";

/**
 * @typedef {{ready: Ready, act: (asked: object) => void, back: () => void, change: (draft: Draft) => void}} Offered
 */

/**
 * @param {Offered} offered
 * @returns {View}
 */
export function proposal({ ready, act, back, change }) {
  const quick = /** @type {Described} */ (ready.quick);
  let chosen = quick;
  const place = h("div");
  const thorough = ready.thorough;
  /** @param {Described} form */
  function choose(form) {
    chosen = form;
    place.replaceChildren(described(chosen));
  }
  const forms = thorough
    ? chooser("How much of it", [
        ["quick", `Quick. ${sizeText(quick)}`, () => choose(quick)],
        ["thorough", `Thorough. ${sizeText(thorough)}`, () => choose(thorough)],
      ])
    : h("p", { class: "pg-size" }, sizeText(quick));
  const predicting = prediction(quick);
  const run = button("Run the experiment", start, { id: "experiment-run", class: "pg-button pg-primary" });
  function start() {
    run.disabled = true;
    setTimeout(() => (run.disabled = false), 3000);
    act({ do: "start", document: { ...chosen.document, ...predicting.value() } });
  }
  const element = h(
    "div",
    { class: "pg-experiment" },
    backButton(back),
    h("h2", { class: "pg-question" }, quick.question),
    h("p", {}, quick.said),
    h("div", { class: "pg-propose" }, predicting.element, forms),
    h(
      "div",
      { class: "pg-line" },
      run,
      button("Change it first", () => change({ document: chosen.document })),
    ),
    place,
  );
  choose(quick);
  return { element };
}

/** @param {() => void} back */
export const backButton = (back) =>
  button("← All experiments", back, { class: "pg-button pg-back", id: "experiment-back" });

/**
 * What the person expects of the first claim.
 * @param {Described} described
 */
export function prediction({ claims, unit, measured }) {
  const { arm, than } = claims[0];
  const other = typeof than === "number" ? `${than} ${unit}` : `“${than}”`;
  const which = claims.length > 1 ? " (the first of the claims below)" : "";
  let expected = "";
  const expect = (/** @type {string} */ value) => () => (expected = value);
  const element = chooser(
    `What do you expect?${which}`,
    [
      ["lower", `“${arm}” is lower than ${other}`, expect("lower")],
      ["same", `“${arm}” and ${other} are about the same`, expect("same")],
      ["higher", `“${arm}” is higher than ${other}`, expect("higher")],
      ["", "I would rather not say", expect("")],
    ],
    "",
  );
  element.append(h("p", { class: "pg-faint" }, `Compared: ${measured}, in ${unit}.`));
  return { element, value: () => (expected ? { prediction: expected } : {}) };
}

/**
 * One of several, as radio buttons. The first is chosen, or the one whose value is `chosen`.
 * @param {string} legend
 * @param {[value: string, text: string, press: () => void][]} options
 * @param {string} [chosen]
 */
export function chooser(legend, options, chosen = options[0][0]) {
  const name = `pg-${Math.random().toString(36).slice(2)}`;
  return h(
    "fieldset",
    { class: "pg-choose" },
    h("legend", {}, legend),
    ...options.map(([value, text, press]) =>
      h("label", {}, h("input", { type: "radio", name, value, checked: value === chosen, onchange: press }), text),
    ),
  );
}

/**
 * The arms with what differs, the claims and the rule.
 * @param {Described} given
 */
export function described(given) {
  const claims = given.claims.map(({ words }) => h("li", {}, words));
  return h(
    "div",
    {},
    ...given.warnings.map((words) => h("p", { class: "pg-warning" }, words)),
    h("h3", {}, "What is claimed"),
    h("ul", { class: "pg-verdicts" }, ...claims),
    h("h3", {}, "The arms"),
    arms(given),
    h(
      "details",
      { class: "pg-rule" },
      h("summary", {}, "How it is decided"),
      h("p", {}, given.rule),
      h("p", {}, given.methods),
    ),
  );
}

/** @param {Described} given */
export function arms({ arms: all }) {
  const figures = all.map((arm, i) =>
    h(
      "figure",
      { class: "pg-arm", style: `--c: var(${armProperty(i)})` },
      h(
        "figcaption",
        {},
        h("strong", {}, arm.name),
        ...arm.changes
          .filter(([label, value]) => !arm.name.includes(`${label} ${value}`)) // which its name says
          .map(([label, value]) => h("span", {}, `${label}: ${value}`)),
      ),
      arm.matched ? h("span", { class: "pg-faint" }, `made as large as the first: ${arm.matched}`) : null,
      h(
        "span",
        { class: "pg-faint" },
        `${compact(arm.n_params)} parameters, ${arm.steps ? `${number(arm.steps)} steps` : "as long as the others"}`,
      ),
      h("div", { class: "pg-thumbs", inert: true, "aria-hidden": "true" }, diagram(arm.graph, i ? all[0].graph : null)),
    ),
  );
  return h("div", { class: "pg-arms" }, ...figures);
}

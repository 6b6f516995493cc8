/* Why a quantity has no values at a probe. Knows no document. */
/** @import { Side } from "./side.js" */
/** @import { Quantity } from "./values.js" */

/**
 * @param {Pick<Quantity, "name" | "where"> & Partial<Pick<Quantity, "seldom" | "group">>} quantity
 * @param {Pick<Side, "probe" | "text">} side
 */
export function whyNoValues({ name, where, seldom, group }, { probe, text }) {
  if (where === "parameters") {
    if (probe?.step === 0) return "No step has been taken yet: this is measured of training steps.";
    if (text) return "Only the training run itself measures this; a checkpoint looked at later does not tell.";
    return "This probe did not follow a step that was watched, such as the last one of a run that was stopped or ended by time; move the slider back.";
  }
  if (seldom) {
    const when =
      "Held-out data are read only now and then, because that is dear: before the first step, after 100, and at even steps. Over time shows all of them.";
    const what = " Classes of tokens are those of a text, not of a task, and of each it takes 30 tokens.";
    return group?.includes("class of token") ? when + what : when;
  }
  if (name === "dead_units") {
    return "Units of this activation function are never exactly 0, so none can die.";
  }
  if (where === "attention") return "This model has no attention to measure.";
  if (where === "mlp") return "This model has no MLP to measure.";
  return "This cannot be measured on a single token.";
}

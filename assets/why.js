/* Why a quantity has no values at a probe. Knows no document. */
/** @import { Side } from "./side.js" */
/** @import { Quantity } from "./values.js" */

/**
 * @param {Pick<Quantity, "name" | "where">} quantity
 * @param {Pick<Side, "probe" | "text">} side
 */
export function whyNoValues({ name, where }, { probe, text }) {
  if (where === "parameters") {
    if (probe?.step === 0) return "No step has been taken yet: this is measured of training steps.";
    if (text) return "Only the training run itself measures this; a checkpoint looked at later does not tell.";
    return "This probe did not follow a step that was watched, such as the last one of a run that was stopped or ended by time; move the slider back.";
  }
  if (name.startsWith("reads_")) {
    return "Linear probes read the stream only now and then, because that is dear: before the first step, after 100, and at even steps. Curves shows all of them.";
  }
  if (name === "dead_units") {
    return "Units of this activation function are never exactly 0, so none can die.";
  }
  if (where === "attention") return "This model has no attention to measure.";
  if (where === "mlp") return "This model has no MLP to measure.";
  return "This cannot be measured on a single token.";
}

/* The Inside tab's questions: the view that answers each, how to read it, and the answer of one probe in words. Knows no document. */
/** @import { Columns } from "./series.js" */
/** @import { Probe, Quantity } from "./values.js" */

import { number, percent, short } from "./format.js";
import { entryOf, stripOf } from "./values.js";

/** @typedef {Record<string, Quantity>} Quantities */
/**
 * @typedef {{
 *   question: string, view: string, quantity: string | null, read: string,
 *   answer: (probe: Probe, quantities: Quantities) => string,
 * }} Guide `answer` is empty where the probe has nothing to say of it
 */

/** @type {Guide[]} */
export const GUIDES = [
  {
    question: "Where does the loss fall?",
    view: "diagram",
    quantity: "lens_loss",
    read: "Each cell is the loss if the model ended there. Where it drops from one cell to the next, the layer between them does the work.",
    answer: whereItFalls,
  },
  {
    question: "What does each head look at?",
    view: "heads",
    quantity: null,
    read: "A bright line just below the diagonal looks at the previous token, a bright left column at the first one. Enlarge a head, and point at a token to see what it looks at.",
    answer: rolesOfHeads,
  },
  {
    question: "Where does the gradient go?",
    view: "diagram",
    quantity: "grad_relative",
    read: "Much the same size after every layer is healthy. Where it shrinks towards the embedding the first layers hardly learn; where it grows they are shaken.",
    answer: (probe) => fromTo(probe, "grad_relative", "The gradient relative to the stream is", "nats"),
  },
  {
    question: "Does the stream grow?",
    view: "diagram",
    quantity: "stream_rms",
    read: "Under pre-norm each sublayer adds to the stream, so it grows with depth; post-norm sets it back to the same size.",
    answer: (probe) => fromTo(probe, "stream_rms", "The stream's rms is", ""),
  },
  {
    question: "What do residuals preserve?",
    view: "diagram",
    quantity: "reads_token",
    read: "How many tokens a linear probe still reads off the stream after each part. Compare a run without residual connections.",
    answer: whatIsLeft,
  },
  {
    question: "Which layer knows what?",
    view: "lens",
    quantity: null,
    read: "Row by row what the model would say if it stopped there. A token is known from the layer on where its cell stays bright.",
    answer: whoKnows,
  },
  { question: "What would be missed?", view: "ablate", quantity: null, read: "", answer: () => "" },
];

/**
 * The question that a look answers, if it is one of these.
 * @param {string} view
 * @param {string} quantity
 * @param {boolean} ofQuantity whether the view shows a quantity
 */
export const guideOf = (view, quantity, ofQuantity) =>
  GUIDES.find((guide) => guide.view === view && (!ofQuantity || guide.quantity === quantity));

/**
 * The answer of a probe, or of the last one before it that has one.
 * @param {Guide} guide
 * @param {Probe} probe
 * @param {Columns | undefined} recorded the probes of the run, its steps and values
 * @param {Quantities} quantities
 * @returns {{step: number, words: string} | null}
 */
export function lastAnswer({ answer }, probe, recorded, quantities) {
  const now = answer(probe, quantities);
  if (now) return { step: probe.step, words: now };
  const before = recorded?.step.findLastIndex(
    (step, i) => step <= probe.step && answer({ ...probe, values: recorded.values[i] }, quantities),
  );
  if (!recorded || before === undefined || before < 0) return null;
  return { step: recorded.step[before], words: answer({ ...probe, values: recorded.values[before] }, quantities) };
}

/**
 * A quantity along the stream, where it was measured. What is measured once a layer speaks of the layer, not of the
 * sublayer that happens to end it.
 * @param {Probe} probe
 * @param {string} quantity
 * @returns {{name: string, value: number}[]}
 */
function along({ values }, quantity) {
  const { rows, names } = stripOf([values], quantity);
  const places = rows[0].flatMap((value, i) =>
    typeof value === "number" && Number.isFinite(value) ? [{ name: names[i], value }] : [],
  );
  const layers = places.map(({ name }) => layerOf(name));
  const onceEach = new Set(layers).size === layers.length;
  return onceEach ? places.map(({ value }, i) => ({ name: layers[i], value })) : places;
}
const layerOf = (/** @type {string} */ place) => place.split(", ")[0];

/** @param {string} place as "layer 2, MLP" or "layer 2" @returns {string} as "the MLP of layer 2" or "layer 2" */
function part(place) {
  const [layer, sublayer] = place.split(", ");
  return !sublayer || sublayer === "block" ? layer : `the ${sublayer} of ${layer}`;
}
/** @param {string} place */
const after = (place) => (place === "embedding" ? "at the embedding" : `after ${part(place)}`);

/**
 * The first and the last value along the stream, and their ratio.
 * @param {Probe} probe
 * @param {string} quantity
 * @param {string} what
 * @param {string} unit
 */
function fromTo(probe, quantity, what, unit) {
  const places = along(probe, quantity);
  const [first, last] = [places[0], places.at(-1)];
  if (!first || !last || first === last) return "";
  const named = (/** @type {number} */ value) => [short(value), unit].filter(Boolean).join(" ");
  const ratio = last.value / first.value;
  const times = Number.isFinite(ratio) ? `: ${short(ratio)} times` : "";
  return `${what} ${named(first.value)} ${after(first.name)} and ${named(last.value)} ${after(last.name)}${times}.`;
}

/** @param {Probe} probe */
function whereItFalls(probe) {
  const places = along(probe, "lens_loss");
  const [first, last] = [places[0], places.at(-1)];
  if (places.length < 2 || !first || !last) return "";
  const falls = places.slice(1).map(({ name, value }, i) => ({ name, by: places[i].value - value }));
  const most = falls.reduce((best, each) => (each.by > best.by ? each : best));
  const ends = `Read out ${after(first.name)} the loss is ${short(first.value)} nats per token, ${after(last.name)} ${short(last.value)}`;
  return most.by > 0
    ? `${ends}. It falls most, by ${short(most.by)} nats, in ${part(most.name)}.`
    : `${ends}. It falls nowhere.`;
}

/** @param {Probe} probe */
function whatIsLeft(probe) {
  const places = along(probe, "reads_token");
  const [first, last] = [places[0], places.at(-1)];
  const [floor] = along(probe, "reads_majority");
  if (!first || !last || first === last) return "";
  const chance = floor ? ` Naming the commonest token every time would be right for ${percent(floor.value)}.` : "";
  return `A linear probe reads ${percent(first.value)} of the tokens ${after(first.name)} and ${percent(last.value)} ${after(last.name)}.${chance}`;
}

const CLASSES = /** @type {const} */ ([
  ["lens_space", "spaces"],
  ["lens_punctuation", "punctuation"],
  ["lens_start", "word starts"],
  ["lens_inside", "the insides of words"],
  ["lens_name", "names seen before"],
]);

const SETTLED_NATS = 0.1;

/** Of each class of token the place from which on its loss stays close to what it ends with. @param {Probe} probe */
function whoKnows(probe) {
  const settled = CLASSES.flatMap(([quantity, words]) => {
    const places = along(probe, quantity);
    const last = places.at(-1);
    if (!last || places.length < 2) return [];
    const before = places.findLastIndex(({ value }) => Math.abs(value - last.value) > SETTLED_NATS);
    return [`${words} ${after(places[before + 1].name)}`];
  });
  return settled.length
    ? `Within ${SETTLED_NATS} nats of its final loss is each class of token from here on: ${settled.join("; ")}.`
    : "";
}

/** Heads with a role beyond doubt, the clearest first. @param {Probe} probe @param {Quantities} quantities */
function rolesOfHeads({ values, n_layer, n_head }, quantities) {
  const decisive = Object.values(quantities).filter(({ per, decisive }) => per === "head" && decisive);
  const found = decisive.flatMap(({ name, label, decisive }) =>
    Array.from({ length: n_layer * n_head }, (_, i) => {
      const [layer, head] = [Math.floor(i / n_head), i % n_head];
      const entry = entryOf(values, name, "attn", layer);
      const score = (Array.isArray(entry) ? entry[head] : null) ?? -1;
      return { at: `layer ${layer + 1}, head ${head + 1}`, label, score, clear: score >= (decisive ?? Infinity) };
    }).filter(({ clear }) => clear),
  );
  const all = n_layer * n_head;
  if (!all || !decisive.some(({ name }) => values[name])) return "";
  if (!found.length) return `None of the ${number(all)} heads has one role beyond doubt.`;
  const clearest = found.sort((x, y) => y.score - x.score).slice(0, MOST_ROLES);
  const said = clearest.map(({ at, label, score }) => `${at}: ${label} ${score.toFixed(2)}`).join("; ");
  const heads = new Set(found.map(({ at }) => at)).size;
  return `${number(heads)} of ${number(all)} heads ${heads === 1 ? "has a role" : "have a role"} beyond doubt. ${said}.`;
}

const MOST_ROLES = 4;

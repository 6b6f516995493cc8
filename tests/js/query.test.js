import assert from "node:assert/strict";
import { test } from "node:test";

import { MEASURED, NAME, columnsFor, differing, ofKnob, sorted, wordsOf } from "../../assets/columns.js";
import { matches, parseQuery, withCondition } from "../../assets/query.js";

/** @import { Listed } from "../../assets/columns.js" */

const knob = (path = "", label = "", usual = "", choices = /** @type {Record<string, string>} */ ({})) =>
  ofKnob({ path, label, unit: "", default: usual, choices });
const LAYERS = knob("model.n_layer", "layers", "4");
const RATE = knob("optim.lr", "learning rate", "0.003");
const NORM = knob("model.norm_placement", "norm", "pre-norm", { pre: "pre-norm", post: "post-norm", none: "no norm" });
const BIAS = knob("model.bias", "bias", "off");
const SETTINGS = [LAYERS, RATE, NORM, BIAS];
const COLUMNS = [NAME, ...MEASURED, ...SETTINGS];

/** @param {object} more @returns {Listed} */
const run = (more = {}) =>
  /** @type {Listed} */ ({
    id: "aaaaaaaaaa", name: "Small GPT", called: "Small GPT", by: "Ada", mine: false, state: "finished", step: 200, max_steps: 200, seconds: 61,
    val_loss: 1.5, eval_loss: 1.6, train_loss: 1.4, n_params: 1_200_000, created_at: 0, began_from: null, private: false,
    knobs: {}, ...more,
  }); // prettier-ignore

/** @param {string} text @param {object} more */
const found = (text, more = {}) => {
  const one = run(more);
  return matches(one, wordsOf(one, SETTINGS), parseQuery(text, COLUMNS));
};

test("a search wants every word, in any order and case, of a name, a person, a state or a setting", () => {
  assert.ok(
    found("layers 6 ada", { called: "layers 6, seed 2" }) && found("small", { called: "seed 2" }),
    "either name",
  );
  assert.ok(found("ada SMALL") && found("") && found("  ") && found("finished"));
  assert.ok(found("norm post-norm", { knobs: { "model.norm_placement": "post-norm" } }));
  assert.ok(!found("ada shallow"));
});

test("conditions compare numbers and words, by any of a column's names", () => {
  const six = { knobs: { "model.n_layer": "6", "optim.lr": "0.01", "model.norm_placement": "post-norm" } };
  for (const text of [
    "layers=6",
    "n_layer = 6",
    "model.n_layer:6",
    "lr>1e-3",
    "learning_rate<=0.01",
    "loss<1.6 params>1M",
  ])
    assert.ok(found(text, six), text);
  for (const text of ["layers=4", "layers!=6", "lr>0.01", "lr<1e-3", "loss>=2", "layers:60"])
    assert.ok(!found(text, six), text);
  assert.ok(found("norm_placement:post", six) && found("norm=post", six) && found('norm="post-norm" ada', six));
  assert.ok(!found("norm=pre", six) && found("norm:pre") && found("bias=off") && found("state!=running"));
  assert.ok(!found("loss>1", { val_loss: null, eval_loss: null }), "no loss is not above anything");
});

test("a label is meant before the last part of another column's path", () => {
  const seeds = [knob("data.seed", "data seed", "0"), knob("train.seed", "seed", "1337")];
  assert.equal(parseQuery("seed=2", seeds).conditions[0].column, seeds[1]);
  assert.equal(parseQuery("data_seed=2", seeds).conditions[0].column, seeds[0]);
});

test("a condition that is being typed leaves all runs, and what is no column is a word", () => {
  assert.ok(found("layers=") && found("small layers>"));
  assert.ok(found("colour=red", { name: "colour=red" }) && !found("colour=red"));
  assert.deepEqual(parseQuery("layer=6 layers=6 ada", COLUMNS).strange, ["layer"]);
});

test("a menu writes the condition that one would type, in place of one on the same column", () => {
  assert.equal(withCondition("ada layers>2", LAYERS, "6", COLUMNS), "ada layers=6");
  assert.equal(withCondition("", RATE, "0.01", COLUMNS), "lr=0.01");
  assert.equal(withCondition("x", NORM, "no norm", COLUMNS), 'x norm="no norm"');
  assert.ok(found(withCondition("", NORM, "no norm", COLUMNS), { knobs: { "model.norm_placement": "no norm" } }));
});

test("columns that differ come first, and those that agree are left out", () => {
  const keys = (/** @type {Listed[]} */ runs, /** @type {number | null} */ room = 9) =>
    columnsFor(runs, SETTINGS, room).columns.map(({ key }) => key);
  const one = run({ knobs: { "model.n_layer": "6", "model.bias": "on" } });
  const other = run({ knobs: { "model.bias": "on", "optim.lr": "0.01" }, val_loss: 2, seconds: 62, step: 100 });
  assert.deepEqual(keys([one, other]), ["name", "model.n_layer", "optim.lr", "val", "state", "step", "seconds"]);
  assert.deepEqual(keys([one, other], null).slice(0, 4), ["name", "model.n_layer", "optim.lr", "model.bias"]);
  assert.equal(keys([one, other], null).length, 4 + MEASURED.length);
  assert.deepEqual(keys([one]), ["name", ...MEASURED.map(({ key }) => key)], "one run alone differs from nothing");
  assert.deepEqual(differing([one, other], SETTINGS), [LAYERS, RATE]);
});

test("where there is little room, settings go before the rest, and name, loss and state are always there", () => {
  const runs = [run({ knobs: { "model.n_layer": "6" } }), run({ seconds: 62, step: 100 })];
  const shown = (/** @type {number} */ room) => columnsFor(runs, SETTINGS, room);
  const keys = (/** @type {number} */ room) => shown(room).columns.map(({ key }) => key);
  assert.deepEqual(keys(0), ["name", "val", "state"]);
  assert.deepEqual(keys(1), ["name", "model.n_layer", "val", "state"]);
  assert.deepEqual(keys(2), ["name", "model.n_layer", "val", "state", "seconds"]);
  assert.equal(shown(2).left, 2 + MEASURED.length - 5, "those that are not shown");
});

test("a run that trains says how far it is", () => {
  const state = MEASURED.find(({ key }) => key === "state")?.show;
  assert.equal(state?.(run({ state: "running", step: 119, max_steps: 200 })), "training, 59%");
});

test("several runs have a mean loss where it is of the same tokens", () => {
  const says = MEASURED[0].group ?? (() => "");
  assert.equal(
    says([run({ source: "a", vocab_size: 5 }), run({ source: "a", vocab_size: 5, val_loss: 2 })]),
    "1.750 (1.500\u00a0to\u00a02.000)",
  );
  assert.equal(says([run({ source: "a", vocab_size: 5 }), run({ source: "b", vocab_size: 5 })]), "of several texts");
});

test("of a run whose config cannot be read no setting is claimed", () => {
  assert.equal(LAYERS.show(run({ knobs: null })), "–");
  assert.ok(!found("layers=4", { knobs: null }));
});

test("numbers are sorted as numbers, and what has none comes last either way", () => {
  const runs = ["10", "9", "no limit"].map((layers) => run({ knobs: { "model.n_layer": layers } }));
  const order = (down = false) => sorted(runs, LAYERS, down).map(({ knobs }) => knobs?.["model.n_layer"]);
  assert.deepEqual(
    [order(), order(true)],
    [
      ["9", "10", "no limit"],
      ["10", "9", "no limit"],
    ],
  );
  const losses = [run({ val_loss: 2 }), run({ val_loss: null, eval_loss: null }), run()];
  for (const down of [false, true]) assert.equal(sorted(losses, MEASURED[0], down)[2], losses[1]);
});

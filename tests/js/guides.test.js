import assert from "node:assert/strict";
import { test } from "node:test";
import { GUIDES, guideOf, lastAnswer } from "../../assets/guides.js";

/** @typedef {import("../../assets/values.js").Probe} Probe */
/** @typedef {import("../../assets/values.js").Quantity} Quantity */

/** @param {string} question @param {Record<string, any>} values @param {Record<string, any>} [quantities] */
function answer(question, values, quantities = {}) {
  const probe = /** @type {Probe} */ (/** @type {unknown} */ ({ values, n_layer: 2, n_head: 2, tokens: [] }));
  return GUIDES.find((guide) => guide.question === question)?.answer(probe, quantities);
}
const heads = {
  attn_previous: { name: "attn_previous", label: "previous token", per: "head", decisive: 0.6 },
  attn_entropy: { name: "attn_entropy", label: "entropy", per: "head", decisive: null },
};

test("where the loss falls names the ends and the part of the largest fall", () => {
  const values = { lens_loss: { embedding: [4], attn_add: [3.5, 1.5], mlp_add: [3, 1] } };
  const said = answer("Where does the loss fall?", values);
  assert.equal(
    said,
    "Read out at the embedding the loss is 4.00 nats per token, after the MLP of layer 2 1.00. It falls most, by 1.50 nats, in the attention of layer 2.",
  );
  const once = { lens_loss: { embedding: [4], mlp_add: [1.5, 1] } };
  assert.match(
    answer("Where does the loss fall?", once) ?? "",
    /by 2\.50 nats, in layer 1\.$/,
    "attention is in it too",
  );
  const rising = { lens_loss: { embedding: [1], mlp_add: [2, 3] } };
  assert.match(answer("Where does the loss fall?", rising) ?? "", /It falls nowhere\.$/);
});

test("a quantity that was not measured has no answer", () => {
  for (const { question } of GUIDES) {
    assert.equal(answer(question, {}), "", question);
    assert.equal(answer(question, { lens_loss: { embedding: [null], mlp_add: [null, null] } }), "", question);
  }
});

test("a gradient is compared between the ends of the stream", () => {
  const said = answer("Where does the gradient go?", { grad_relative: { embedding: [0.5], mlp_add: [1, 2] } });
  assert.equal(
    said,
    "The gradient relative to the stream is 0.50 nats at the embedding and 2.00 nats after layer 2: 4.00 times.",
  );
});

test("what is left of the token stands beside what naming the commonest reaches", () => {
  const values = { reads_token: { embedding: [0.98], mlp_add: [0.8, 0.5] }, reads_majority: { embedding: [0.12] } };
  assert.equal(
    answer("What do residuals preserve?", values),
    "A linear probe reads 98% of the tokens at the embedding and 50% after layer 2. Naming the commonest token every time would be right for 12%.",
  );
});

test("a class is settled where its loss stays within a tenth of a nat of the end", () => {
  const values = {
    lens_space: { embedding: [4], mlp_add: [0.05, 0] },
    lens_start: { embedding: [1], mlp_add: [3, 1] },
    lens_inside: { embedding: [2.5], mlp_add: [2.5, 2.5] },
  };
  assert.equal(
    answer("Which layer knows what?", values),
    "Within 0.1 nats of its final loss is each class of token from here on: spaces after layer 1; word starts after layer 2; the insides of words at the embedding.",
  );
});

test("heads with a role beyond doubt are named, the clearest first", () => {
  const question = "What does each head look at?";
  const some = {
    attn_previous: {
      attn: [
        [0.1, 0.7],
        [0.9, 0.2],
      ],
    },
  };
  assert.equal(
    answer(question, some, heads),
    "2 of 4 heads have a role beyond doubt. layer 2, head 1: previous token 0.90; layer 1, head 2: previous token 0.70.",
  );
  const none = {
    attn_previous: {
      attn: [
        [0.1, 0.1],
        [null, 0.2],
      ],
    },
  };
  assert.equal(answer(question, none, heads), "None of the 4 heads has one role beyond doubt.");
});

test("a look is a question where view and quantity are those of it", () => {
  assert.equal(guideOf("diagram", "lens_loss", true)?.question, "Where does the loss fall?");
  assert.equal(guideOf("heads", "lens_loss", false)?.question, "What does each head look at?");
  assert.equal(guideOf("diagram", "update_ratio", true), undefined);
});

test("what is measured more seldom is told of the last step at which it was", () => {
  const guide = guideOf("diagram", "stream_rms", true) ?? assert.fail();
  const some = { stream_rms: { embedding: [1], mlp_add: [2, 4] } };
  const at = (/** @type {number} */ step) => /** @type {Probe} */ (/** @type {unknown} */ ({ step, values: {} }));
  const recorded = { step: [0, 10, 20], values: /** @type {any[]} */ ([{}, some, {}]) };
  assert.equal(lastAnswer(guide, at(20), recorded, {})?.step, 10);
  assert.equal(lastAnswer(guide, at(5), recorded, {}), null);
  assert.equal(lastAnswer(guide, at(20), undefined, {}), null);
  assert.deepEqual(lastAnswer(guide, { ...at(3), values: some }, recorded, {})?.step, 3);
});

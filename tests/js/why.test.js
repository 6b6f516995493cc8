import assert from "node:assert/strict";
import { test } from "node:test";
import { whyNoValues } from "../../assets/why.js";

test("each reason for no values is said in its own words", () => {
  const at = (step = 5, text = "") => ({ probe: /** @type {any} */ ({ step }), text });
  const said = [
    whyNoValues({ name: "update", where: "parameters" }, at(0)),
    whyNoValues({ name: "update", where: "parameters" }, at(5, "another text")),
    whyNoValues({ name: "update", where: "parameters" }, at()),
    whyNoValues({ name: "dead_units", where: "mlp" }, at()),
    whyNoValues({ name: "entropy", where: "attention" }, at()),
    whyNoValues({ name: "hidden", where: "mlp" }, at()),
    whyNoValues({ name: "stream_cosine", where: "stream" }, at()),
    whyNoValues({ name: "reads_token", where: "stream", seldom: true, group: "residual stream" }, at()),
    whyNoValues({ name: "lens_name", where: "stream", seldom: true, group: "logit lens, by class of token" }, at()),
  ];
  assert.equal(new Set(said).size, said.length);
  assert.match(said[0], /No step/);
  assert.match(said[3], /none can die/);
});

/* The Inside tab: everything that is known of one part of a model at one step. */
/** @import { GraphNode, RunGraph } from "./diagram.js" */
/** @import { Chosen, Shared } from "./side.js" */
/** @import { Probe, Quantity } from "./values.js" */

import { button, h, select } from "./dom.js";
import { number, short } from "./format.js";
import { bars, histogram, nodeWords } from "./parts.js";
import { entryOf } from "./values.js";
import { headRow } from "./view_heads.js";

/**
 * @param {HTMLElement} place
 * @param {Chosen} chosen
 * @param {Shared} shared
 */
export function drawDetail(place, chosen, shared) {
  const { graph, probe } = chosen.side;
  const node = graph?.nodes.find(({ id }) => id === chosen.node);
  if (!graph || !node || !probe) return;
  const title = `${nodeWords(graph, node.id, chosen.layer)}, step ${number(probe.step)}`;
  const layers = node.in_block && graph.n_layer > 1 ? layerChoice(graph.n_layer, chosen, shared) : null;
  const close = button("Close", () => shared.choose(null));
  place.replaceChildren(
    h(
      "div",
      { class: "pg-head" },
      h("div", {}, h("h2", {}, title), h("p", {}, h("code", {}, node.formula))),
      h("div", { class: "pg-tools" }, layers, close),
    ),
    h(
      "div",
      { class: "pg-detail-grid" },
      ...streamBlocks(graph, probe, node, chosen.layer),
      ...kindBlocks(probe, node, chosen),
      ...measuredBlock(Object.values(shared.quantities), probe, chosen),
    ),
  );
}

/**
 * @param {number} n
 * @param {Chosen} chosen
 * @param {Shared} shared
 */
function layerChoice(n, chosen, shared) {
  const options = Array.from({ length: n }, (_, i) => /** @type {const} */ ([i, i + 1]));
  const layer = select(options, { "aria-label": "layer" });
  layer.value = String(chosen.layer);
  layer.addEventListener("change", () => shared.choose({ ...chosen, layer: Number(layer.value) }));
  return h("label", {}, "layer ", layer);
}

/**
 * @param {string} title
 * @param {string} words
 * @param {HTMLElement} picture
 */
const block = (title, words, picture) =>
  h("div", { class: "pg-detail-block" }, h("h3", {}, title), picture, h("p", { class: "pg-faint" }, words));

/**
 * Where the residual stream passes.
 * @param {RunGraph} graph
 * @param {Probe} probe
 * @param {GraphNode} node
 * @param {number} layer
 */
function streamBlocks(graph, { stream_rms, grad_stream, tokens }, node, layer) {
  const i = graph.stream.findIndex(([id, at]) => id === node.id && (at === layer || !node.in_block));
  if (i < 0) return [];
  const size = block(
    "Size by token",
    "Root mean square of the stream at each token of the probe text.",
    bars(stream_rms[i], "rms", tokens),
  );
  if (!grad_stream) return [size];
  const words = "How strongly the loss depends on the stream here, in nats per unit.";
  return [size, block("Gradient by token", words, bars(grad_stream[i], "nats per unit", tokens))];
}

/**
 * What only this kind of node has.
 * @param {Probe} probe
 * @param {GraphNode} node
 * @param {Chosen} chosen
 */
function kindBlocks(probe, node, { kind, layer }) {
  if (kind === "mlp" && probe.hidden_counts) {
    const picture = histogram(probe.hidden_counts[layer], probe.hidden_range[layer]);
    const words = "How many of the activations, over units and tokens, have which size; the height is logarithmic.";
    return [block("Hidden activations", words, picture)];
  }
  if (kind === "norm") {
    const gain = probe.gains[node.module.replace("{layer}", String(layer))];
    if (!gain) return [block("Gain", "This norm has no gain to learn.", h("p", {}, "–"))];
    const sorted = [...gain].sort((x, y) => x - y);
    return [block("Gain", "The learned factor of each channel, smallest first; all begin at 1.", bars(sorted, "gain"))];
  }
  if (kind === "attention" && probe.maps !== undefined) {
    const words = "Row by row the token that looks, column by column what it looks at.";
    return [block("Heads of this layer", words, headRow(probe, layer))];
  }
  return [];
}

/**
 * All quantities that have a value here; lists only where they are short.
 * @param {Quantity[]} quantities
 * @param {Probe} probe
 * @param {Chosen} chosen
 */
function measuredBlock(quantities, probe, { node, layer }) {
  const rows = quantities
    .map((quantity) => ({ quantity, entry: entryOf(probe.values, quantity.name, node, layer) }))
    .filter(({ entry }) => entry !== null && !(Array.isArray(entry) && entry.length > 16))
    .map(({ quantity: { label, unit, help, formula }, entry }) =>
      h(
        "tr",
        {},
        h("th", { scope: "row", title: `${help} ${formula}` }, label),
        h("td", {}, [entry].flat().map(short).join("  ")),
        h("td", { class: "pg-faint" }, unit),
      ),
    );
  if (!rows.length) return [];
  const table = h("table", { class: "pg-detail-table" }, h("tbody", {}, ...rows));
  return [h("div", { class: "pg-detail-block" }, h("h3", {}, "Measured here"), table)];
}

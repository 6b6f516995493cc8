/* The page's entry: which function fills which panel, and what Gradio's own buttons call.

   playground/ui/panel.py imports this module; everything else follows by relative imports, so that all of the page
   lies under one address that changes with its content. Nothing is put on `window`, except by Plotly's script. */
/** @import { Context, Mount } from "./open_run.js" */

import { progress, status } from "./bar.js";
import { accuracy, gradnorm, loss, rate, speed } from "./curves.js";
import { brought, data, tokens } from "./data.js";
import { design, search } from "./design.js";
import { experiments } from "./experiments.js";
import { host } from "./host.js";
import { inside } from "./inside.js";
import { show, wire } from "./open_run.js";
import { ticked } from "./overlay.js";
import { cividisGradient } from "./palette.js";
import { plotly } from "./plot.js";
import { presets } from "./presets.js";
import { projector, wanted } from "./projector.js";
import { runs } from "./runs.js";
import { sample } from "./sample.js";
import { start } from "./start.js";
import { layers } from "./strip.js";
import { told } from "./told.js";
import { writes } from "./writes.js";
import { you } from "./you.js";

export { arrive } from "./address.js";
export { confirmDelete } from "./chosen.js";
export { lookAgain, lookAt } from "./inside.js";
export { identify } from "./net.js";
export { copyLink } from "./open_run.js";
export { rekeyed, reloadSoon } from "./you.js";

/** @type {Record<string, Mount>} */
const PANELS = {
  accuracy,
  brought,
  data,
  design,
  experiments,
  gradnorm,
  host,
  inside,
  layers,
  loss,
  presets,
  progress,
  rate,
  runs,
  sample,
  search,
  speed,
  start,
  status,
  ticked,
  told,
  tokens,
  wire,
  writes,
  you,
};

/**
 * Fill a panel, once Gradio has made its place.
 * @param {string} kind
 * @param {Context} context
 */
export function mount(kind, context) {
  const root = /** @type {HTMLElement} */ (context.element.querySelector(".pg"));
  const panel = PANELS[kind](root, context);
  if (panel) show(root, panel);
}

const PLOTLY_MS = 1200;
setTimeout(() => plotly().catch(() => {}), PLOTLY_MS);

document.documentElement.style.setProperty("--pg-cividis", cividisGradient());
if (wanted()) projector();

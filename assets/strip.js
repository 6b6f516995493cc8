/* The Play tab: one quantity of all layers over time, as a strip of colours. */
/** @import { Mount } from "./open_run.js" */
/** @import { Run } from "./series.js" */
/** @import { Strip } from "./values.js" */

import { nameOf, onTrainAxis, trainAxis } from "./curves.js";
import { h, head, hideTip, pen, select, showTip } from "./dom.js";
import { exportButtons } from "./export.js";
import { compact, number } from "./format.js";
import { cividisCss } from "./palette.js";
import { along, AXES, indexUpTo } from "./series.js";
import { extremes, stripOf } from "./values.js";

/** @type {Record<string, string>} */
const WHAT = {
  stream_rms: "size of the stream (rms)",
  grad_relative: "gradient, relative to the stream (nats)",
  sublayer_share: "what sublayers add (of the stream)",
};
const NOTHING_YET = "Nothing recorded yet; the first probe comes with the first step.";

/** @type {Mount} */
export function layers(root) {
  const what = select(Object.entries(WHAT), { "aria-label": "what is shown of each layer" });
  const canvas = h("canvas", { class: "pg-strip", role: "img", "aria-label": "size of activations by layer and time" });
  const scale = h("div", { class: "pg-scale" });
  /** @type {Run | null} */
  let current = null;
  let kept = { key: "", strip: /** @type {Strip} */ ({ rows: [], names: [] }) };
  root.append(
    head(
      "Layer by layer",
      "What happens at each depth, on the probe text. Early left, late right; the first layer at the bottom. Inside has more of it.",
      h("label", {}, "show ", what),
      exportButtons(() => `${nameOf(current)}-${what.value}`, root, table),
    ),
    canvas,
    scale,
  );

  const probe = () => current?.series.probe;
  function strip() {
    const seen = probe();
    const key = current && seen ? `${current.id} ${current.generation} ${seen.step.length} ${what.value}` : "";
    if (key !== kept.key) kept = { key, strip: stripOf(seen ? seen.values : [], what.value) };
    return kept.strip;
  }
  function table() {
    const { rows, names } = strip();
    const steps = probe()?.step ?? [];
    return [["step", "place", "value"], ...rows.flatMap((row, i) => row.map((v, k) => [steps[i], names[k], v]))];
  }
  /**
   * Where the probes lie, and where the strip ends: as far as the curves above reach, so that one place lies under
   * the same place.
   * @param {Run} run
   */
  function places(run) {
    const { probe, progress } = run.series;
    const at = probe ? along(run, probe, trainAxis()) : [];
    const reach = progress ? (along(run, progress, trainAxis()).at(-1) ?? 0) : 0;
    return { at, end: Math.max(1e-9, at.at(-1) ?? 0, reach) };
  }

  function paint() {
    if (!current) return;
    const { rows } = strip();
    const box = canvas.getBoundingClientRect();
    const density = devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(box.width * density));
    canvas.height = Math.max(1, Math.round(box.height * density));
    const [low, high] = extremes(rows.flat(), "log");
    if (low === undefined || high === undefined) {
      scale.textContent = rows.length ? "This model has no such part." : NOTHING_YET;
      return;
    }
    const { at, end } = places(current);
    const span = Math.max(1e-9, Math.log(high) - Math.log(low));
    const height = canvas.height / rows[0].length;
    const gap = height > 6 ? 1 : 0;
    const to = pen(canvas);
    at.forEach((x, i) => {
      const until = at[i + 1] ?? Math.min(end, x + end / 60);
      const left = Math.floor((x / end) * canvas.width);
      const width = Math.max(1, Math.ceil((until / end) * canvas.width) - left);
      rows[i].forEach((value, place) => {
        to.fillStyle = cividisCss(value !== null && value > 0 ? (Math.log(value) - Math.log(low)) / span : 0);
        to.fillRect(left, canvas.height - (place + 1) * height, width, Math.ceil(height) - gap);
      });
    });
    const over = `0 to ${compact(end)} ${trainAxis() === "step" ? "steps" : AXES[trainAxis()]}`;
    scale.replaceChildren(
      h("span", {}, low.toPrecision(2)),
      h("span", { class: "pg-ramp" }),
      h("span", {}, high.toPrecision(2)),
      h("span", { class: "pg-faint" }, `${WHAT[what.value]}, logarithmic colours; ${over}`),
    );
  }

  /** @param {PointerEvent} event */
  function tell(event) {
    const { rows, names } = strip();
    const seen = probe();
    if (!current || !seen || !rows.length || !rows[0].length) return;
    const { at, end } = places(current);
    const box = canvas.getBoundingClientRect();
    const i = indexUpTo(at, ((event.clientX - box.left) / box.width) * end);
    const up = 1 - (event.clientY - box.top) / box.height;
    const place = Math.max(0, Math.min(names.length - 1, Math.floor(up * names.length)));
    const value = rows[i][place];
    const said = value === null ? "–" : Number(value).toPrecision(3);
    showTip(event, `${names[place]}, step ${number(seen.step[i])}: ${said}`);
  }
  canvas.addEventListener("pointermove", tell);
  canvas.addEventListener("pointerleave", hideTip);
  what.addEventListener("change", paint);
  onTrainAxis(() => probe() && paint());
  new ResizeObserver(() => probe() && paint()).observe(canvas);
  return {
    update(run, { reset, kinds }) {
      current = run.status ? run : null;
      if (current && (reset || kinds.has("probe"))) paint();
    },
  };
}

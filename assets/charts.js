"use strict";
/* The Train tab: curves that grow in place, what the model writes, and the activation strip. */
(() => {
  const pg = window.playground, { h, number } = pg;
  /* Okabe and Ito's colours, the same thing always in the same one. */
  const COLOUR = { train: "var(--pg-train)", val: "#D55E00", grad: "#009E73", lr: "#CC79A7", speed: "#E69F00", floor: "#009E73" };
  const colour = (name) => (COLOUR[name].startsWith("var") ? pg.css(COLOUR[name].slice(4, -1)) : COLOUR[name]);

  let loading = null;
  pg.plotly = () =>
    (loading ??= new Promise((resolve, reject) => {
      const script = h("script", { src: pg.address("live/assets/plotly.min.js") });
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => reject(new Error("plotly could not be loaded"));
      document.head.append(script);
    }));

  pg.layout = (extra = {}) => {
    const text = pg.css("--body-text-color"), grid = pg.css("--border-color-primary");
    const axis = { gridcolor: grid, linecolor: grid, zeroline: false, tickcolor: grid, automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text, family: "system-ui, sans-serif", size: 12 },
      margin: { l: 56, r: 10, t: 6, b: 40 }, hovermode: "x unified", showlegend: false, uirevision: "keep",
      hoverlabel: { bgcolor: pg.css("--background-fill-primary"), bordercolor: grid, font: { color: text } },
      ...extra,
      xaxis: { ...axis, ...(extra.xaxis || {}) },
      yaxis: { ...axis, ...(extra.yaxis || {}) },
    };
  };
  pg.plotConfig = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], displayModeBar: false };

  /* All curves of the Train tab lie over the same axis. */
  const axis = { x: "step", changed: [] };
  const title = () => ({ text: pg.AXES[axis.x] });

  /* A plot that is made once and then only extended; `sources` say where each trace's numbers come from. */
  function growing(place, sources, layout) {
    let made = null, counts = [], broken = false;
    const trace = ({ columns, ...look }, run) => {
      const { x, y } = columns(run, 0);
      return { type: "scatter", mode: "lines", ...look, x: x.slice(), y: y.slice() };
    };
    async function draw(run, reset) {
      const Plotly = await pg.plotly();
      if (!made || reset) {
        const traces = sources().map((source) => trace(source, run));
        counts = traces.map((t) => t.x.length);
        made = Plotly.react(place, traces, pg.layout(layout()), pg.plotConfig);
        await made;
        pg.joinCursors(place, "train");
        return;
      }
      const fresh = sources().map((source, i) => ({ i, ...source.columns(run, counts[i]) })).filter(({ x }) => x.length);
      if (!fresh.length) return;
      fresh.forEach(({ i, x }) => (counts[i] += x.length));
      await Plotly.extendTraces(place, { x: fresh.map(({ x }) => x), y: fresh.map(({ y }) => y) }, fresh.map(({ i }) => i));
    }
    let chain = Promise.resolve();
    const queue = (run, reset) => {
      if (broken) return;
      chain = chain.then(() => draw(run, reset)).catch((error) => {
        broken = true;
        place.textContent = error.message;
      });
    };
    return queue;
  }

  const from = (kind, y) => (run, start) => {
    const columns = run.series[kind];
    return columns ? { x: pg.along(run, columns, axis.x).slice(start), y: columns[y].slice(start) } : { x: [], y: [] };
  };

  /* Exponential moving average, unbiased at its start, that goes on where it stopped. */
  function smoother(kind, name, weight) {
    let kept = [], sum = 0, weights = 0, source = null;
    return (run, start) => {
      const columns = run.series[kind];
      if (!columns) return { x: [], y: [] };
      if (start === 0 || source !== run) [kept, sum, weights, source] = [[], 0, 0, run];
      for (let i = kept.length; i < columns[name].length; i++) {
        const value = columns[name][i];
        if (value !== null) [sum, weights] = [weight() * sum + value, weight() * weights + 1];
        kept.push(value !== null && weights ? sum / weights : null); // a loss that is no number leaves a gap
      }
      return { x: pg.along(run, columns, axis.x).slice(start), y: kept.slice(start) };
    };
  }

  const head = (title, question, ...tools) =>
    h("div", { class: "pg-head" }, h("div", {}, h("h3", {}, title), h("p", {}, question)), h("div", { class: "pg-tools" }, ...tools));

  pg.head = head;

  pg.kinds.loss = (root) => {
    const logX = h("input", { type: "checkbox", id: "loss-log-x" }), logY = h("input", { type: "checkbox", id: "loss-log-y" });
    const smooth = h("input", { type: "range", min: "0", max: "0.98", step: "0.02", value: "0.8", id: "loss-smooth", "aria-label": "smoothing of the training loss" });
    const over = h("select", { id: "train-x", "aria-label": "horizontal axis of all curves" }, h("option", { value: "step" }, "steps"), h("option", { value: "tokens" }, "tokens"), h("option", { value: "seconds" }, "seconds"), h("option", { value: "flops" }, "FLOP"));
    const place = h("div", { class: "pg-plot pg-plot-big" });
    const legend = h("div", { class: "pg-legend" },
      h("span", { style: `--c:${COLOUR.train}` }, "training, smoothed"), h("span", { style: `--c:color-mix(in srgb, ${COLOUR.train} 45%, transparent)` }, "training, each point"),
      h("span", { style: `--c:${COLOUR.val}` }, "held out, a part (star: all of it, at the end)"), h("span", { class: "pg-dashed", style: "--c:var(--body-text-color-subdued)" }, "guessing blindly"));
    const floorLegend = h("span", { class: "pg-dotted", style: `--c:${COLOUR.floor}`, title: "the entropy of what cannot be predicted, on the very held-out tokens, all of them; on a part of them a loss may lie a little below by chance", hidden: true });
    legend.append(floorLegend);
    root.append(
      head("Loss", "How surprised the model is by the next token, in nats per token. Lower is better.",
        h("label", {}, "smoothing ", smooth), h("label", {}, logX, " log x"), h("label", {}, logY, " log y"), h("label", {}, "over ", over), pg.exportButtons(() => `${current.status.name}-loss`, root, () => pg.plotRows(place))),
      place, legend);
    let current = null;
    const validations = (whole) => (run, start) => {
      const all = run.series.validation;
      if (!all) return { x: [], y: [] };
      const columns = Object.fromEntries(Object.entries(all).map(([name, values]) => [name, values.filter((_, i) => all.whole[i] === whole)]));
      return { x: pg.along(run, columns, axis.x).slice(start), y: columns.loss.slice(start) };
    };
    /* Lines across the plot: the loss of a model that knows nothing, the logarithm of the vocabulary; and the best possible loss,
       where the data come from a known definition. A floor of zero has no place on a logarithmic axis. */
    const facts = () => current && current.series.facts && Object.fromEntries(Object.entries(current.series.facts).map(([name, values]) => [name, values.at(-1)]));
    const across = (level, line) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: level, y1: level, line });
    const lines = () => {
      if (!current) return [];
      const floor = facts()?.floor ?? null;
      floorLegend.hidden = floor === null;
      floorLegend.textContent = floor === null ? "" : `best possible, ${Number(floor).toFixed(3)}${floor === 0 && logY.checked ? " (below a logarithmic axis)" : ""}`;
      const blind = across(Math.log(current.status.vocab_size), { color: pg.css("--body-text-color-subdued"), width: 1.2, dash: "dash" });
      return floor === null || (floor === 0 && logY.checked) ? [blind] : [blind, across(floor, { color: COLOUR.floor, width: 2, dash: "dot" })];
    };
    const smoothed = smoother("progress", "loss", () => Number(smooth.value));
    const draw = growing(place, () => [
      { columns: from("progress", "loss"), name: "training", line: { color: colour("train"), width: 1 }, opacity: 0.45, hoverinfo: "skip" },
      { columns: smoothed, name: "training", line: { color: colour("train"), width: 2.2 }, hovertemplate: "%{y:.3f}" },
      { columns: validations(true), name: "whole held-out text", mode: "markers", marker: { size: 12, symbol: "star", color: colour("val"), line: { color: pg.css("--body-text-color"), width: 1 } }, hovertemplate: "%{y:.3f}" },
      { columns: validations(false), name: "held out", mode: "lines+markers", line: { color: colour("val"), width: 2.2 }, marker: { size: 7, symbol: "diamond" }, hovertemplate: "%{y:.3f}" },
    ], () => ({
      xaxis: { title: title(), type: logX.checked ? "log" : "linear", ...(logX.checked ? {} : { rangemode: "tozero" }) },
      yaxis: { title: { text: "nats per token" }, type: logY.checked ? "log" : "linear", ...(logY.checked ? {} : { rangemode: "tozero" }) },
      shapes: lines(),
      uirevision: `${axis.x}${logX.checked}${logY.checked}`,
    }));
    const again = () => current && draw(current, true);
    for (const tool of [logX, logY]) tool.addEventListener("change", again);
    over.addEventListener("change", () => { axis.x = over.value; axis.changed.forEach((draw) => draw()); });
    axis.changed.push(again);
    smooth.addEventListener("input", again);
    pg.onTheme.push(again);
    return {
      update(run, change) {
        current = run.status ? run : null;
        if (run.status && (change.reset || change.kinds.has("progress") || change.kinds.has("validation"))) draw(run, change.reset || change.kinds.has("facts"));
      },
    };
  };

  function small(name_, question, y, unit, name, format, look = {}) {
    return (root) => {
      const now = h("span", { class: "pg-now" }), place = h("div", { class: "pg-plot pg-plot-small" });
      root.append(head(name_, question, now, pg.exportButtons(() => `${current.status.name}-${y}`, root, () => pg.plotRows(place))), place);
      const draw = growing(place, () => [{ columns: from("progress", y), line: { color: colour(name), width: 1.8 }, name: name_, hovertemplate: `%{y:${format}} ${unit}<extra></extra>` }],
        () => ({ xaxis: { title: title(), rangemode: "tozero" }, yaxis: { ...look, title: { text: unit } }, uirevision: axis.x }));
      let current = null;
      const again = () => current && draw(current, true);
      pg.onTheme.push(again);
      axis.changed.push(again);
      return {
        update(run, change) {
          current = run.status ? run : null;
          const progress = run.series.progress;
          const last = progress ? progress[y].at(-1) : null;
          now.textContent = last === null || last === undefined ? "" : y === "tokens_per_s" ? `${number(last)} ${unit}` : `${Number(last).toPrecision(3)} ${unit}`.trim();
          if (run.status && (change.reset || change.kinds.has("progress"))) draw(run, change.reset);
        },
      };
    };
  }
  pg.kinds.gradnorm = small("Gradient norm", "How hard the loss pulls on the weights, before clipping.", "grad_norm", "", "grad", ".3f", { type: "log" });
  pg.kinds.rate = small("Learning rate", "How far each step follows that pull.", "lr", "", "lr", ".2e", { tickformat: "~e" });
  pg.kinds.speed = small("Speed", "How much text is learnt from per second.", "tokens_per_s", "tokens/s", "speed", ",.0f", { rangemode: "tozero" });

  pg.kinds.writes = (root) => {
    const now = h("pre", { class: "pg-text" }), first = h("pre", { class: "pg-text pg-faint" });
    const nowTitle = h("h4", {}, "now"), firstTitle = h("h4", {}, "at first");
    const question = head("What it writes", ""), written = h("div", {}, nowTitle, now, firstTitle, first), asked = h("div", { class: "pg-asked" });
    root.append(question, written, asked);

    /* A task with one right answer: each prompt, the answer of the model, right or wrong, and what it should have been. */
    function answers(series) {
      const last = (name) => series[name].at(-1), given = last("given"), expected = last("expected");
      const rows = last("prompts").map((prompt, i) => {
        const got = given[i].trim(), right = got === expected[i];
        return h("tr", { class: right ? "pg-right" : "pg-wrong-answer" }, h("td", {}, h("span", { class: "pg-asked-prompt" }, prompt), " ", h("mark", {}, got || "–")), h("td", {}, right ? "✓" : `✗ ${expected[i]}`));
      });
      asked.replaceChildren(h("h4", {}, `at step ${number(series.step.at(-1))}`), h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "prompt and answer"), h("th", { scope: "col" }, "right?"))), h("tbody", {}, ...rows)));
    }
    return {
      update(run) {
        const sample = run.series.sample, series = run.series.answers;
        question.querySelector("h3").textContent = series ? "What it answers" : "What it writes";
        question.querySelector("p").textContent = series ? "Prompts it was never trained on, and its first choice for each symbol of the answer, given the right ones before it." : "Always the same prompt and the same dice; only the weights differ.";
        written.hidden = Boolean(series);
        asked.hidden = !series;
        if (series) return answers(series);
        const show = (place, title, i, words) => {
          title.textContent = sample ? `${words}, step ${number(sample.step.at(i))}` : words;
          const text = sample ? (sample.prompt.at(i) + sample.text.at(i)).replace(/^\n+/, "") : "It has written nothing yet.";
          if (place.textContent !== text) place.textContent = text;
        };
        show(now, nowTitle, -1, "now");
        show(first, firstTitle, 0, "at first");
      },
    };
  };

  /* Of a task: how often it is right on unseen examples, over time and by size. */
  pg.kinds.accuracy = (root) => {
    const now = h("span", { class: "pg-now" }), place = h("div", { class: "pg-plot pg-plot-middle" }), sizes = h("div", { class: "pg-plot pg-plot-middle" });
    const wholes = h("span", { style: `--c:${COLOUR.val}` }, "whole answers right");
    const legend = h("div", { class: "pg-legend" }, wholes, h("span", { style: "--c:#56B4E9" }, "tokens of the answers right"));
    const ceiling = h("span", { class: "pg-dotted", style: `--c:${COLOUR.floor}`, hidden: true }, "best possible, tokens");
    legend.append(ceiling);
    const byTime = h("div", {}, place, legend), bySize = h("div", { hidden: true }, sizes, h("p", { class: "pg-faint pg-size-words" }));
    root.append(head("Accuracy on unseen examples", "How often it is right. None of these examples was ever trained on.", now, pg.exportButtons(() => `${current.status.name}-accuracy`, byTime, () => pg.plotRows(place))), h("div", { class: "pg-accuracy-grid" }, byTime, bySize));
    const fact = (run, name) => (run.series.facts ? run.series.facts[name].at(-1) : null);
    let current = null;
    /* Where chance decides, a whole answer is right by luck alone: then only tokens are counted. */
    const exact = () => !current || fact(current, "exact") !== false;
    const percent = { tickformat: ".0%", range: [-0.02, 1.02] };
    const draw = growing(place, () => [
      { columns: from("accuracy", "token"), name: "tokens", mode: "lines+markers", line: { color: "#56B4E9", width: 2 }, marker: { size: 5 }, hovertemplate: "%{y:.1%}" },
      { columns: from("accuracy", "answer"), visible: exact(), name: "answers", mode: "lines+markers", line: { color: COLOUR.val, width: 2.2 }, marker: { size: 6, symbol: "diamond" }, hovertemplate: "%{y:.1%}" },
    ], () => {
      wholes.hidden = !exact();
      const best = current && fact(current, "exact") === false ? fact(current, "ceiling") : null;
      ceiling.hidden = best === null;
      return { xaxis: { title: title(), rangemode: "tozero" }, uirevision: axis.x, yaxis: percent, shapes: best === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: best, y1: best, line: { color: COLOUR.floor, width: 2, dash: "dot" } }] };
    });
    async function drawSizes(run) {
      const series = run.series.accuracy, x = series.sizes.at(-1), y = series.by_size.at(-1), trained = fact(run, "trained_size"), unit = fact(run, "unit");
      bySize.hidden = !x.length;
      if (!x.length) return;
      const Plotly = await pg.plotly();
      const colours = x.map((size) => (size <= trained ? COLOUR.val : "#999999"));
      await Plotly.react(sizes, [{ type: "bar", x, y, marker: { color: colours }, hovertemplate: `%{x} ${unit}: %{y:.0%} of answers right<extra></extra>` }],
        pg.layout({ hovermode: "closest", xaxis: { title: { text: `${unit} in the prompt` } }, yaxis: { ...percent, range: [0, 1.02] }, bargap: 0.25 }), pg.plotConfig);
      const beyond = x.some((size) => size > trained);
      bySize.querySelector(".pg-size-words").textContent = beyond ? `Whole answers right, by size. Orange: sizes it was trained on, up to ${trained}. Grey: longer than it has ever seen.` : "Whole answers right, by size. A larger context would also test longer ones.";
    }
    const again = () => { if (current && current.series.accuracy) { draw(current, true); drawSizes(current); } };
    pg.onTheme.push(again);
    axis.changed.push(again);
    return {
      update(run, change) {
        current = run.status ? run : null;
        const series = run.series.accuracy;
        now.textContent = series ? `${(100 * series[exact() ? "answer" : "token"].at(-1)).toFixed(1)}% of ${exact() ? "answers" : "tokens"}` : "";
        if (!run.status || !series || !(change.reset || change.kinds.has("accuracy"))) return;
        draw(run, change.reset);
        drawSizes(run);
      },
    };
  };

  pg.kinds.layers = (root) => {
    const WHAT = { stream_rms: "size of the stream (rms)", grad_stream: "gradient at the stream (nats per unit)", sublayer_share: "what sublayers add (of the stream)" };
    const what = h("select", { "aria-label": "what is shown of each layer" }, ...Object.entries(WHAT).map(([value, text]) => h("option", { value }, text)));
    const canvas = h("canvas", { class: "pg-strip", role: "img", "aria-label": "size of activations by layer and time" }), scale = h("div", { class: "pg-scale" });
    root.append(head("Layer by layer", "What happens at each depth, on the probe text. Early left, late right; the first layer at the bottom. Inside has more of it.", h("label", {}, "show ", what),
      pg.exportButtons(() => `${current.status.name}-${what.value}`, root, () => [["step", "place", "value"], ...rows().flatMap((row, i) => row.map((v, place) => [current.series.probe.step[i], label(place), v]))])), canvas, scale);
    let current = null, rows_ = { key: "", rows: [], names: [] };

    /* One row per probe: the values of all places, in the order in which the stream passes them. */
    function rows() {
      const probe = current && current.series.probe, key = probe ? `${current.id} ${current.generation} ${probe.step.length} ${what.value}` : "";
      if (key === rows_.key) return rows_.rows;
      const all = probe ? probe.values.map((values) => values[what.value] || {}) : [], nodes = Object.keys(all.at(-1) || {});
      const places = nodes.flatMap((node) => all.at(-1)[node].map((_, layer) => [node, layer, all.at(-1)[node].length])).sort((x, y) => (x[2] === 1 ? -1 : x[1]) - (y[2] === 1 ? -1 : y[1]));
      rows_ = { key, rows: all.map((values) => places.map(([node, layer]) => values[node]?.[layer] ?? null)), names: places.map(([node, layer]) => (/emb/.test(node) ? "embedding" : `layer ${layer + 1}, ${/^attn/.test(node) ? "attention" : /^mlp/.test(node) ? "MLP" : "block"}`)) };
      return rows_.rows;
    }
    const xs = () => pg.along(current, current.series.probe, axis.x);
    /* As far as the curves above reach, so that one place lies under the same place. */
    const end = () => Math.max(1e-9, xs().at(-1), current.series.progress ? pg.along(current, current.series.progress, axis.x).at(-1) : 0);
    const label = (place) => rows_.names[place];

    function paint() {
      if (!current.series.probe) { scale.textContent = "Nothing recorded yet; the first probe comes with the first step."; return; }
      const values = rows(), box = canvas.getBoundingClientRect(), density = devicePixelRatio || 1;
      canvas.width = Math.max(1, Math.round(box.width * density));
      canvas.height = Math.max(1, Math.round(box.height * density));
      const pen = canvas.getContext("2d");
      pen.clearRect(0, 0, canvas.width, canvas.height);
      const all = values.flat().filter((v) => v > 0 && Number.isFinite(v));
      scale.textContent = "";
      if (!all.length) {
        scale.textContent = values.length ? "This model has no such part." : "Nothing recorded yet; the first probe comes with the first step.";
        return;
      }
      const low = Math.log(all.reduce((a, b) => Math.min(a, b))), high = Math.log(all.reduce((a, b) => Math.max(a, b))), at = xs(), last = end();
      const n = values[0].length, height = canvas.height / n;
      at.forEach((x, i) => {
        const left = Math.floor((x / last) * canvas.width), right = Math.ceil(((at[i + 1] ?? Math.min(last, x + last / 60)) / last) * canvas.width);
        values[i].forEach((value, place) => {
          const [r, g, b] = pg.cividis(value > 0 ? (Math.log(value) - low) / Math.max(1e-9, high - low) : 0);
          pen.fillStyle = `rgb(${r},${g},${b})`;
          pen.fillRect(left, canvas.height - (place + 1) * height, Math.max(1, right - left), Math.ceil(height) - (height > 6 ? 1 : 0));
        });
      });
      scale.replaceChildren(h("span", {}, Math.exp(low).toPrecision(2)), h("span", { class: "pg-ramp" }), h("span", {}, Math.exp(high).toPrecision(2)), h("span", { class: "pg-faint" }, `${WHAT[what.value]}, logarithmic colours; 0 to ${pg.compact(last)} ${pg.AXES[axis.x].replace(/^step$/, "steps")}`));
    }

    canvas.addEventListener("pointermove", (event) => {
      const values = rows();
      if (!values.length || !values[0].length) return;
      const box = canvas.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * end(), i = Math.max(0, xs().findLastIndex((each) => each <= x));
      const place = Math.max(0, Math.min(values[i].length - 1, Math.floor((1 - (event.clientY - box.top) / box.height) * values[i].length)));
      pg.showTip(event, `${label(place)}, step ${number(current.series.probe.step[i])}: ${values[i][place] === null ? "–" : Number(values[i][place]).toPrecision(3)}`);
    });
    canvas.addEventListener("pointerleave", pg.hideTip);
    what.addEventListener("change", paint);
    axis.changed.push(() => current && current.series.probe && paint());
    new ResizeObserver(() => current && current.series.probe && paint()).observe(canvas);
    return {
      update(run, change) {
        current = run.status ? run : null;
        if (run.status && (change.reset || change.kinds.has("probe"))) paint();
      },
    };
  };
})();

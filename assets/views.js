"use strict";
/* Views of the Inside tab that show one quantity: the diagram with values at its nodes, and curves over time. */
(() => {
  const pg = window.playground, { h, number } = pg, s = (...all) => pg.svg(...all);
  const CELL = { tall: 32, gap: 4, history: 60 };

  const nodeName = (node) => (node.title === "+" ? "stream after the addition" : node.title);
  pg.nodeWords = (graph, id, layer) => {
    const node = graph.nodes.find((each) => each.id === id);
    const part = id.startsWith("attn.") ? " (attention)" : id.startsWith("mlp.") ? " (MLP)" : "";
    return `${nodeName(node)}${part}${node.in_block ? `, layer ${layer + 1}` : ""}`;
  };

  const entryOf = (values, quantity, node, layer) => values?.[quantity]?.[node]?.[layer] ?? null;
  const meanOf = (entry) => (Array.isArray(entry) ? entry.reduce((sum, v) => sum + (v ?? 0), 0) / Math.max(1, entry.length) : entry);

  pg.views.diagram = (place, side, shared) => {
    let built = "", cells = new Map(), svg = null;
    const scroll = h("div", { class: "pg-diagram-scroll" }), legend = h("div", { class: "pg-scale" });
    place.append(scroll, legend);

    function build() {
      const drawing = pg.diagram(side.graph), n = side.graph.n_layer, wide = Math.max(46, Math.min(92, 560 / n));
      svg = drawing.svg;
      cells = new Map();
      const left = drawing.width + 4, width = left + n * (wide + CELL.gap) + 4, top = 20;
      svg.setAttribute("viewBox", `0 ${-top} ${width} ${drawing.height + top}`);
      svg.style.minWidth = `${Math.round(width * 0.55)}px`;
      svg.style.maxWidth = `${width}px`;
      svg.style.maxHeight = "none";
      if (drawing.first !== null) for (let layer = 0; layer < n; layer++) svg.append(s("text", { x: left + layer * (wide + CELL.gap) + wide / 2, y: drawing.first - 13, class: "pg-cell-head" }, n > 8 ? `${layer + 1}` : `layer ${layer + 1}`));
      for (const node of side.graph.nodes) {
        for (let layer = 0; layer < (node.in_block ? n : 1); layer++) {
          const x = left + layer * (wide + CELL.gap), y = drawing.place.get(node.id).middle - CELL.tall / 2;
          const group = s("g", { class: "pg-cell", transform: `translate(${x} ${y})`, tabindex: "0", role: "button", "data-cell": `${node.id} ${layer}` });
          const back = s("rect", { width: wide, height: CELL.tall, rx: 5 }), text = s("text", { x: wide / 2, y: 11 }), history = s("path", { class: "pg-cell-history" }), parts = s("g");
          group.append(back, parts, history, text);
          const open = () => shared.choose({ side, node: node.id, layer, kind: node.kind });
          group.addEventListener("click", open);
          group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); } });
          group.addEventListener("pointermove", (event) => tell(event, node, layer));
          group.addEventListener("pointerleave", pg.hideTip);
          svg.append(group);
          cells.set(`${node.id} ${layer}`, { group, back, text, history, parts, wide, node, layer });
        }
        const open = () => shared.choose({ side, node: node.id, layer: 0, kind: node.kind });
        svg.querySelector(`[data-node="${CSS.escape(node.id)}"]`).addEventListener("click", open);
      }
      scroll.replaceChildren(svg);
    }

    function tell(event, node, layer) {
      const quantity = shared.quantities[shared.quantity], entry = entryOf(side.moment?.values, quantity.name, node.id, layer);
      if (entry === null) return pg.hideTip();
      const said = Array.isArray(entry) ? (quantity.per === "head" ? entry.map((v, i) => `head ${i + 1}: ${pg.short(v)}`) : entry.map((v, i) => `${side.graph.quantiles[i] * 100}%: ${pg.short(v)}`)).join(", ") : pg.short(entry);
      pg.showTip(event, h("strong", {}, pg.nodeWords(side.graph, node.id, layer)), h("br"), `${quantity.label}: ${said} ${quantity.unit}`);
    }

    /* The last values of a cell as a line, at most so many points. */
    function past(id, layer, scale) {
      const probe = side.run.series.probe;
      if (!probe) return [];
      const upTo = side.moment ? probe.step.findLastIndex((step) => step <= side.moment.step) + 1 : probe.step.length, skip = Math.max(1, Math.ceil(upTo / CELL.history)), points = [];
      for (let i = 0; i < upTo; i += skip) {
        const value = meanOf(entryOf(probe.values[i], shared.quantity, id, layer));
        if (value !== null) points.push(scale.at(value));
      }
      return points;
    }

    function paint(cell, scale, quantity) {
      const entry = entryOf(side.moment.values, quantity.name, cell.node.id, cell.layer);
      cell.group.style.display = entry === null ? "none" : "";
      if (entry === null) return;
      const value = meanOf(entry), many = Array.isArray(entry);
      cell.group.setAttribute("aria-label", `${pg.nodeWords(side.graph, cell.node.id, cell.layer)}: ${pg.short(value)} ${quantity.unit}`);
      cell.group.classList.toggle("pg-cell-chosen", Boolean(shared.chosen && shared.chosen.side === side && shared.chosen.node === cell.node.id && shared.chosen.layer === cell.layer));
      cell.back.style.fill = many ? "" : scale.colour(value);
      cell.text.style.fill = many ? "" : scale.ink(value);
      cell.text.textContent = many ? "" : pg.short(value);
      cell.parts.replaceChildren(...(!many ? [] : quantity.per === "head" ? bars(entry, scale, cell.wide) : box(entry, scale, cell.wide)));
      const points = many ? [] : past(cell.node.id, cell.layer, scale), step = (cell.wide - 8) / Math.max(1, points.length - 1);
      cell.history.style.stroke = scale.ink(value);
      cell.history.setAttribute("d", points.length > 1 ? points.map((p, i) => `${i ? "L" : "M"}${(4 + i * step).toFixed(1)} ${(CELL.tall - 4 - p * 9).toFixed(1)}`).join("") : "");
    }
    const bars = (entry, scale, wide) => entry.map((v, i) => s("rect", { class: "pg-cell-bar", x: 2 + (i * (wide - 4)) / entry.length, y: 2 + (1 - scale.at(v)) * (CELL.tall - 4), width: Math.max(1, (wide - 4) / entry.length - 1), height: Math.max(1, scale.at(v) * (CELL.tall - 4)), style: `fill:${scale.colour(v)}` }));
    const box = (entry, scale, wide) => {
      const x = (v) => 3 + scale.at(v) * (wide - 6), middle = CELL.tall / 2, [, low, first, median, third, high] = entry;
      return [s("path", { class: "pg-cell-box", d: `M${x(low)} ${middle}H${x(high)}` }), s("rect", { class: "pg-cell-bar", x: x(first), y: middle - 6, width: Math.max(1.5, x(third) - x(first)), height: 12, style: "fill:#009E73" }), s("path", { class: "pg-cell-box", d: `M${x(median)} ${middle - 8}v16` })];
    };

    return {
      draw() {
        const key = JSON.stringify(side.graph.nodes.map((node) => node.id)) + side.run.id;
        if (key !== built) { built = key; build(); }
        if (!side.moment) return;
        const quantity = shared.quantities[shared.quantity], scale = shared.range(quantity);
        for (const cell of cells.values()) paint(cell, scale, quantity);
        const none = !side.moment.values[quantity.name];
        if (!none && quantity.per === "quantile") return legend.replaceChildren(h("span", { class: "pg-faint" }, `box: 25 to 75%, line: 5 to 95%, tick: the median; each cell reaches from ${pg.short(scale.low)} to ${pg.short(scale.high)} ${quantity.unit}`));
        legend.replaceChildren(...(none ? [h("span", { class: "pg-faint" }, why(quantity, side))] : [h("span", {}, pg.short(scale.low)), h("span", { class: "pg-ramp" }), h("span", {}, pg.short(scale.high)), h("span", { class: "pg-faint" }, `${quantity.unit}${quantity.scale === "log" ? ", logarithmic colours" : ""}; the small line in a cell is its past${quantity.per === "head" ? "; one bar per head" : ""}`)]));
      },
      table() {
        const rows = [["step", "quantity", "node", "layer", "index", "value"]];
        for (const [node, layers] of Object.entries(side.moment?.values[shared.quantity] || {}))
          layers.forEach((entry, layer) => [entry].flat().forEach((v, i) => rows.push([side.moment.step, shared.quantity, node, layer + 1, Array.isArray(entry) ? i + 1 : "", v])));
        return rows;
      },
    };
  };

  /* Why a quantity has no values at this moment. */
  function why(quantity, side) {
    if (quantity.where === "parameters") return side.moment.step === 0 ? "No step has been taken yet: this is measured of training steps." : side.text ? "Only the training run itself measures this; a checkpoint looked at later does not tell." : "This probe did not follow a step that was watched, such as the last one of a run that was stopped or ended by time; move the slider back.";
    if (quantity.name === "dead_units") return "Units of this activation function are never exactly 0: only ReLU and ReLU² can die.";
    if (quantity.where === "attention") return "This model has no attention to measure.";
    if (quantity.where === "mlp") return "This model has no MLP to measure.";
    return "This cannot be measured on a single token.";
  }

  /* ---- over time ---- */

  pg.views.curves = (place, side, shared) => {
    const plot = h("div", { class: "pg-plot pg-plot-big" }), legend = h("div", { class: "pg-legend" });
    const axis = h("select", { "aria-label": "horizontal axis" }, ...Object.entries(pg.AXES).map(([value, words]) => h("option", { value }, words)));
    const logX = h("input", { type: "checkbox" }), logY = h("input", { type: "checkbox" }), smooth = h("input", { type: "range", min: "0", max: "0.95", step: "0.05", "aria-label": "smoothing" });
    const layer = h("select", { "aria-label": "layer" }), layerLabel = h("label", {}, "layer ", layer);
    place.append(h("div", { class: "pg-tools pg-curve-tools" }, layerLabel, h("label", {}, "smoothing ", smooth), h("label", {}, logX, " log x"), h("label", {}, logY, " log y"), h("label", {}, "over ", axis)), plot, legend);
    const set = (change) => () => { change(); shared.redraw(); };
    axis.addEventListener("change", set(() => (shared.axis = axis.value)));
    logX.addEventListener("change", set(() => (shared.logX = logX.checked)));
    logY.addEventListener("change", set(() => (shared.logY = logY.checked)));
    smooth.addEventListener("input", set(() => (shared.smooth = Number(smooth.value))));
    layer.addEventListener("change", set(() => (shared.layer = Number(layer.value))));
    let chain = Promise.resolve();

    function draw() {
      const quantity = shared.quantities[shared.quantity], probe = side.run.series.probe, log = shared.logY ?? quantity.scale === "log", n = side.graph.n_layer;
      axis.value = shared.axis; logX.checked = shared.logX; logY.checked = log; smooth.value = shared.smooth;
      layerLabel.hidden = quantity.per !== "quantile";
      if (layer.childElementCount !== n) layer.replaceChildren(...Array.from({ length: n }, (_, i) => h("option", { value: i }, i + 1)));
      layer.value = Math.min(shared.layer ?? 0, n - 1);
      const has = probe && probe.values.some((row) => row[quantity.name]);
      plot.hidden = !has;
      legend.hidden = !has;
      if (!has) { legend.hidden = false; legend.replaceChildren(h("span", { class: "pg-no-mark" }, probe && side.moment ? why(quantity, side) : "Nothing recorded yet.")); return; }
      const traces = tracesOf(side, shared, quantity, pg.along(side.run, probe, shared.axis));
      const scale = shared.range(quantity), now = side.moment ? pg.along(side.run, probe, shared.axis)[Math.max(0, probe.step.findLastIndex((step) => step <= side.moment.step))] : null;
      const range = scale.low < scale.high && Number.isFinite(scale.low) ? (log ? (scale.low > 0 ? [Math.log10(scale.low) - 0.1, Math.log10(scale.high) + 0.1] : undefined) : [scale.low - 0.04 * (scale.high - scale.low), scale.high + 0.04 * (scale.high - scale.low)]) : undefined;
      const changes = probe.text_hash.map((hash, i) => i && hash !== probe.text_hash[i - 1] ? pg.along(side.run, probe, shared.axis)[i] : null).filter((x) => x !== null);
      const across = (x, line) => ({ type: "line", yref: "paper", y0: 0, y1: 1, x0: x, x1: x, line });
      const shapes = [...changes.map((x) => across(x, { dash: "dot", width: 1, color: pg.css("--body-text-color-subdued") })), ...(shared.step !== null && now !== null ? [across(now, { width: 1.5, color: pg.css("--body-text-color") })] : [])];
      const layout = pg.layout({ hovermode: "closest", xaxis: { title: { text: pg.AXES[shared.axis] }, type: shared.logX ? "log" : "linear" }, yaxis: { title: { text: quantity.unit }, type: log ? "log" : "linear", range }, shapes, uirevision: `${quantity.name}${shared.axis}${log}${shared.logX}` });
      chain = chain.then(async () => {
        const Plotly = await pg.plotly();
        await Plotly.react(plot, traces, layout, pg.plotConfig);
        pg.joinCursors(plot, "inside");
      }).catch((error) => (plot.textContent = error.message));
      legend.replaceChildren(...(quantity.per === "quantile" ? [h("span", { class: "pg-no-mark" }, "Line: the median. Bands: 25 to 75%, 5 to 95%, 1 to 99% of the activations.")] : [...Array.from({ length: n }, (_, i) => h("span", { style: `--c:${pg.layerColour(i, n)}` }, `layer ${i + 1}`)), ...dashWords(side, quantity)]), ...(changes.length ? [h("span", { class: "pg-no-mark" }, "Dotted: another probe text from here on.")] : []));
    }
    return {
      draw,
      table: () => [["series", shared.axis, "value"], ...(plot.data || []).flatMap((trace) => trace.x.map((x, i) => [trace.name, x, trace.y[i]]))],
    };
  };

  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
  const nodesOf = (side, quantity) => {
    const found = new Set(side.run.series.probe.values.flatMap((row) => Object.keys(row[quantity.name] || {})));
    return side.graph.nodes.filter((node) => found.has(node.id));
  };
  const inBlock = (side, quantity) => nodesOf(side, quantity).filter((node) => node.in_block);
  function dashWords(side, quantity) {
    const nodes = inBlock(side, quantity);
    const part = (node) => (node.id.startsWith("attn") ? "attention" : node.id.startsWith("mlp") ? "MLP" : "block");
    return nodes.length > 1 ? [h("span", { class: "pg-no-mark" }, nodes.map((node, i) => `${DASHES[i % 5]}: ${node.kind === "norm" ? "norm of " : node.kind === "add" ? "after " : ""}${part(node)}`).join(", "))] : [];
  }
  function smoothed(values, weight) {
    let sum = 0, weights = 0;
    return values.map((v) => {
      if (v === null || weight === 0) return v;
      [sum, weights] = [weight * sum + v, weight * weights + 1];
      return sum / weights;
    });
  }
  function tracesOf(side, shared, quantity, x) {
    const rows = side.run.series.probe.values, n = side.graph.n_layer, inside = inBlock(side, quantity), chosen = shared.chosen;
    if (quantity.per === "quantile") return bands(rows, quantity, x, Math.min(shared.layer ?? 0, n - 1), shared.smooth);
    const traces = [];
    for (const node of nodesOf(side, quantity))
      for (let layer = 0; layer < (node.in_block ? n : 1); layer++) {
        const entries = rows.map((row) => entryOf(row, quantity.name, node.id, layer)), heads = Math.max(...entries.map((e) => (Array.isArray(e) ? e.length : 0)));
        for (let head = 0; head < Math.max(1, heads); head++) {
          const y = smoothed(entries.map((e) => (Array.isArray(e) ? e[head] ?? null : e)), shared.smooth);
          if (y.every((v) => v === null)) continue;
          const strong = chosen && chosen.side === side && chosen.node === node.id && chosen.layer === layer;
          const name = `${pg.nodeWords(side.graph, node.id, layer)}${heads ? `, head ${head + 1}` : ""}`;
          traces.push({ type: "scatter", mode: "lines", name, x, y, line: { color: node.in_block ? pg.layerColour(layer, n) : pg.css("--body-text-color-subdued"), width: strong ? 4 : 1.9, dash: DASHES[Math.max(0, inside.indexOf(node)) % 5] }, hovertemplate: `${name}: %{y:.3g}<extra></extra>` });
        }
      }
    return traces;
  }
  function bands(rows, quantity, x, layer, weight) {
    const at = (i) => smoothed(rows.map((row) => entryOf(row, quantity.name, "mlp", layer)?.[i] ?? null), weight);
    const fill = (low, high, opacity) => [{ type: "scatter", mode: "lines", x, y: at(low), line: { width: 0 }, hoverinfo: "skip", name: `${layer + 1} low` }, { type: "scatter", mode: "lines", x, y: at(high), fill: "tonexty", fillcolor: `rgba(0,158,115,${opacity})`, line: { width: 0 }, hoverinfo: "skip", name: `${layer + 1} high` }];
    return [...fill(0, 6, 0.14), ...fill(1, 5, 0.2), ...fill(2, 4, 0.32), { type: "scatter", mode: "lines", x, y: at(3), name: "median", line: { color: "#009E73", width: 2.2 }, hovertemplate: "median: %{y:.3g}<extra></extra>" }];
  }

  /* ---- one part, in detail ---- */

  pg.drawDetail = (place, side, shared, close) => {
    const { node: id, layer, kind } = shared.chosen, node = side.graph.nodes.find((each) => each.id === id), moment = side.moment;
    if (!node || !moment) return;
    const blocks = [];
    const block = (title, words, picture) => picture && blocks.push(h("div", { class: "pg-detail-block" }, h("h4", {}, title), picture, h("p", { class: "pg-faint" }, words)));
    const place_ = side.graph.stream.findIndex(([name, l]) => name === id && (l === layer || !node.in_block));
    if (place_ >= 0) {
      block("Size by token", "Root mean square of the stream at each token of the probe text.", pg.columns(moment.stream_rms[place_], moment.tokens, "rms"));
      if (moment.grad_stream) block("Gradient by token", "How strongly the loss depends on the stream here, in nats per unit.", pg.columns(moment.grad_stream[place_], moment.tokens, "nats per unit"));
    }
    if (kind === "mlp" && moment.hidden_counts) block("Hidden activations", "How many of the activations, over units and tokens, have which size; the height is logarithmic.", histogram(moment.hidden_counts[layer], moment.hidden_range[layer]));
    if (kind === "norm") {
      const gain = moment.gains[node.module.replace("{layer}", layer)];
      block("Gain", gain ? "The learned factor of each channel, smallest first; all begin at 1." : "This norm has no gain to learn.", gain ? pg.columns([...gain].sort((x, y) => x - y), null, "gain") : h("p", {}, "–"));
    }
    if (kind === "attention" && moment.maps) block("Heads of this layer", "Row by row the token that looks, column by column what it looks at.", pg.headRow(moment, layer));
    const values = Object.values(shared.quantities).map((q) => [q, entryOf(moment.values, q.name, id, layer)]).filter(([, entry]) => entry !== null && !(Array.isArray(entry) && entry.length > 16));
    const rows = values.map(([q, entry]) => h("tr", {}, h("th", { scope: "row", title: `${q.help} ${q.formula}` }, q.label), h("td", {}, [entry].flat().map(pg.short).join("  ")), h("td", { class: "pg-faint" }, q.unit)));
    if (rows.length) blocks.push(h("div", { class: "pg-detail-block" }, h("h4", {}, "Measured here"), h("table", { class: "pg-detail-table" }, h("tbody", {}, ...rows))));
    const layers = node.in_block && side.graph.n_layer > 1 ? h("label", {}, "layer ", h("select", { "aria-label": "layer", onchange: (event) => shared.choose({ ...shared.chosen, layer: Number(event.target.value) }) }, ...Array.from({ length: side.graph.n_layer }, (_, i) => h("option", { value: i, selected: i === layer }, i + 1)))) : null;
    place.replaceChildren(h("div", { class: "pg-head" }, h("div", {}, h("h3", {}, `${pg.nodeWords(side.graph, id, layer)}, step ${number(moment.step)}`), h("p", {}, h("code", {}, node.formula))), h("div", { class: "pg-tools" }, layers, h("button", { type: "button", class: "pg-button", onclick: close }, "Close"))), h("div", { class: "pg-detail-grid" }, ...blocks));
  };

  /* Bars over tokens or channels, with the value under the pointer. */
  pg.columns = (values, names, unit) => {
    const width = 360, tall = 90, top = Math.max(...values.map(Math.abs), 1e-12), low = Math.min(0, ...values), span = Math.max(...values, 0) - low || 1, wide = width / values.length;
    const svg = s("svg", { viewBox: `0 0 ${width} ${tall}`, class: "pg-columns", role: "img", "aria-label": `${unit}, ${values.length} values up to ${pg.short(top)}` });
    svg.append(...values.map((v, i) => s("rect", { x: i * wide, y: tall - ((Math.max(v, 0) - low) / span) * tall, width: Math.max(0.6, wide - (wide > 3 ? 1 : 0)), height: Math.max(0.8, (Math.abs(v) / span) * tall) })));
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect(), i = Math.max(0, Math.min(values.length - 1, Math.floor(((event.clientX - box.left) / box.width) * values.length)));
      pg.showTip(event, names ? h("code", {}, `${pg.visibleToken(names[i])} `) : `${i + 1} of ${values.length}: `, `${pg.short(values[i])} ${unit}`);
    });
    svg.addEventListener("pointerleave", pg.hideTip);
    return h("div", {}, svg, h("div", { class: "pg-ends" }, h("span", {}, `${pg.short(Math.min(...values))} to ${pg.short(Math.max(...values))} ${unit}`)));
  };
  function histogram(counts, [low, high]) {
    const logs = counts.map((count) => Math.log10(1 + count)), picture = pg.columns(logs, null, ""), svg = picture.firstChild, step = (high - low) / counts.length;
    const tell = (event) => {
      event.stopImmediatePropagation();
      const box = svg.getBoundingClientRect(), i = Math.max(0, Math.min(counts.length - 1, Math.floor(((event.clientX - box.left) / box.width) * counts.length)));
      pg.showTip(event, `${number(counts[i])} activations from ${pg.short(low + i * step)} to ${pg.short(low + (i + 1) * step)}`);
    };
    svg.addEventListener("pointermove", tell, true);
    picture.lastChild.replaceChildren(h("span", {}, pg.short(low)), h("span", {}, pg.short(high)));
    return picture;
  }
})();

"use strict";
/* The Design tab: the picture of the architecture, what it costs, and each problem beside its control. */
(() => {
  const pg = window.playground, { h, number, compact, duration } = pg;
  const SVG = "http://www.w3.org/2000/svg";
  const s = (tag, attributes = {}, text = null) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== null) element.textContent = text;
    return element;
  };
  const WIDTH = 430, CENTRE = 200, BOX = 250, NARROW = 158, TALL = 34, PLUS = 22, GAP = 18, SIDE = 372;
  const LANES = { "-1": CENTRE - NARROW / 2 - 8, 0: CENTRE, 1: CENTRE + NARROW / 2 + 8 };

  /* Where each node lies, from top to bottom; lanes beside the main line start where they fork. */
  function arrange(graph, stacked) {
    const place = new Map();
    let y = 8, first = null, last = null, fork = null, left = null;
    for (const node of graph.nodes) {
      if (node.in_block && first === null) { y += 12; first = y; }
      if (!node.in_block && first !== null && last === null) { last = y - GAP + 10; y += 18; }
      if (node.lane === -1 && fork === null) fork = y;
      if (node.lane === 1 && left === null && !stacked) { left = y; y = fork; }
      if (node.lane === 0 && left !== null) { y = Math.max(y, left); fork = left = null; }
      const height = node.kind === "add" ? PLUS : TALL;
      place.set(node.id, { x: LANES[node.lane], top: y, bottom: y + height, middle: y + height / 2 });
      y += height + GAP;
    }
    return { place, first, last, height: y - GAP + 8 };
  }

  /* Nodes on one line, residual edges around on the right, the repeated block in a frame. `other` holds
     the nodes of a second graph: those that differ from it are marked. `stacked` puts what is computed side
     by side below each other, so that each node has a row of its own. */
  function draw(graph, other = null, stacked = false) {
    const { place, first, last, height } = arrange(graph, stacked);
    const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "pg-graph", role: "img", "aria-label": "the architecture, from tokens at the top to the head at the bottom" });
    const arrow = s("marker", { id: "pg-arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto" });
    arrow.append(s("path", { d: "M0 0 8 4 0 8z", class: "pg-arrow" }));
    svg.append(s("defs"));
    svg.firstChild.append(arrow);
    if (first !== null) {
      svg.append(s("rect", { x: 12, y: first - 16, width: WIDTH - 50, height: last - first + 20, rx: 10, class: "pg-frame" }));
      svg.append(s("text", { x: WIDTH - 34, y: (first + last) / 2, class: "pg-times" }, `× ${graph.n_layer}`));
      if (graph.n_distinct !== graph.n_layer) svg.append(s("text", { x: CENTRE, y: last + 15, class: "pg-note" }, "every layer uses the same weights"));
    }
    for (const edge of graph.edges) {
      const a = place.get(edge.source), b = place.get(edge.target), way = { class: `pg-edge${edge.kind === "residual" ? " pg-residual" : ""}`, "marker-end": "url(#pg-arrow)" };
      if (edge.kind === "residual") {
        const from = a.bottom + GAP * 0.4;
        svg.append(s("path", { d: `M${a.x} ${from} H${SIDE - 8} Q${SIDE} ${from} ${SIDE} ${from + 8} V${b.middle - 8} Q${SIDE} ${b.middle} ${SIDE - 8} ${b.middle} H${b.x + PLUS / 2 + 2}`, ...way }));
      } else if (a.x === b.x) svg.append(s("path", { d: `M${a.x} ${a.bottom} V${b.top}`, ...way }));
      else if (b.x === CENTRE) svg.append(s("path", { d: `M${a.x} ${a.bottom} V${b.middle} H${b.x + Math.sign(a.x - b.x) * (PLUS / 2 + 2)}`, ...way }));
      else svg.append(s("path", { d: `M${a.x} ${a.bottom} V${a.bottom + GAP * 0.4} H${b.x} V${b.top}`, ...way }));
    }
    const theirs = other && new Set(other.nodes.map(signature));
    for (const node of graph.nodes) svg.append(shape(node, place.get(node.id), Boolean(theirs) && !theirs.has(signature(node))));
    return svg;
  }

  /* For panels that put something beside the nodes: the drawing, where each node lies in it, and its size. */
  pg.svg = s;
  pg.diagram = (graph) => ({ svg: draw(graph, null, true), ...arrange(graph, true), width: WIDTH, tall: TALL });
  const signature = (node) => [node.id, node.title, node.formula, node.lane].join("|");

  const dims = (shape) => `(${shape.join(", ")})`;

  function shape(node, { x, top, middle }, differs) {
    const group = s("g", { class: `pg-node pg-node-${node.kind}${differs ? " pg-differs" : ""}`, tabindex: "0", "data-node": node.id }), width = node.lane ? NARROW : BOX;
    if (node.kind === "add") {
      group.append(s("circle", { cx: x, cy: middle, r: PLUS / 2 }), s("path", { d: `M${x - 6} ${middle}h12M${x} ${middle - 6}v12` }));
    } else {
      group.append(s("rect", { x: x - width / 2, y: top, width, height: TALL, rx: 7 }), s("text", { x, y: middle + 1 }, node.title));
    }
    const cost = [node.params ? `${number(node.params)} parameters` : "no parameters", node.flops ? `${compact(node.flops)}FLOP per token` : null].filter(Boolean).join(", ") + (node.in_block ? ", in each block" : "");
    const tell = (event) => pg.showTip(event, h("strong", {}, node.title === "+" ? "residual addition" : node.title), h("br"), h("code", {}, node.formula), h("br"), `${dims(node.shape_in)} to ${dims(node.shape_out)}`, h("br"), cost);
    group.addEventListener("pointermove", tell);
    group.addEventListener("pointerleave", pg.hideTip);
    group.addEventListener("focus", () => { const box = group.getBoundingClientRect(); tell({ clientX: box.right, clientY: box.top }); });
    group.addEventListener("blur", pg.hideTip);
    return group;
  }

  /* Notes beside the controls: what is wrong, and what has no effect now. Sections that are opened
     later get theirs then. */
  let notes = { problems: [], idle: [] };
  function note() {
    document.querySelectorAll(".pg-problem, .pg-idle-note").forEach((element) => element.remove());
    document.querySelectorAll(".pg-wrong, .pg-idle").forEach((element) => { element.classList.remove("pg-wrong", "pg-idle"); element.inert = false; });
    for (const { id, message } of notes.problems) attach(id, "pg-wrong", h("div", { class: "pg-problem", role: "alert" }, message));
    for (const { id, message } of notes.idle) attach(id, "pg-idle", h("div", { class: "pg-idle-note" }, message));
  }
  function attach(id, mark, words) {
    const control = document.getElementById(id);
    if (!control) return;
    control.classList.add(mark);
    if (mark === "pg-idle") control.inert = true;
    control.append(words);
  }
  function noteWhenOpened() {
    const form = document.getElementById("design-form");
    if (!form) return;
    new MutationObserver((changes) => {
      if (changes.some((change) => [...change.addedNodes].some((node) => node.matches && (node.matches(".block") || node.querySelector(".block"))))) note();
    }).observe(form, { childList: true, subtree: true });
  }

  /* Finds any control by its words, opens its section and brings it into view. */
  pg.kinds.search = (root, { props }) => {
    const box = h("input", { type: "search", id: "knob-search", placeholder: "Find a setting, such as warm-up or RoPE", "aria-label": "find a setting", autocomplete: "off" }), hits = h("ul", { class: "pg-hits", hidden: true });
    root.append(box, hits);
    const find = () => {
      const words = box.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      const found = words.length ? props.value.filter((knob) => words.every((word) => knob.words.includes(word))) : [];
      hits.hidden = words.length === 0;
      hits.replaceChildren(...(found.length ? found.slice(0, 8).map((knob) => h("li", {}, h("button", { type: "button", onclick: () => go(knob) }, h("strong", {}, knob.label), ` ${knob.section}`))) : [h("li", { class: "pg-faint" }, "No setting has these words.")]));
    };
    async function go(knob) {
      hits.hidden = true;
      box.value = "";
      if (!document.getElementById(knob.id)) document.querySelector(`#${knob.section_id} > button`)?.click();
      for (let i = 0; i < 40 && !document.getElementById(knob.id)?.offsetParent; i++) {
        if (i === 8 && document.getElementById(knob.id)) document.querySelector(`#${knob.section_id} > button`)?.click();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const control = document.getElementById(knob.id);
      control?.scrollIntoView({ block: "center", behavior: "smooth" });
      control?.classList.add("pg-found");
      control?.querySelector("input, textarea")?.focus({ preventScroll: true });
      setTimeout(() => control?.classList.remove("pg-found"), 1600);
    }
    box.addEventListener("input", find);
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { box.value = ""; find(); }
      if (event.key === "Enter") hits.querySelector("button")?.click();
    });
  };

  pg.kinds.design = (root, { props, watch, trigger }) => {
    let timer = 0;
    let drawn = "";
    const again = pg.asking(root, () => trigger("again"));
    const problems = h("ul", { class: "pg-problems", hidden: true }), pictures = h("div", { class: "pg-pictures" }), formulas = h("pre", { class: "pg-formulas" });
    const facts = h("dl", { class: "pg-facts pg-facts-design" }), rows = h("tbody");
    const table = h("details", { class: "pg-parts" }, h("summary", {}, "parameters and FLOPs by part"), h("table", {}, h("thead", {}, h("tr", {}, ...["part", "parameters", "FLOP per token, forward"].map((name) => h("th", { scope: "col" }, name)))), rows));
    const changes = h("div", { class: "pg-changes", hidden: true });
    root.append(problems, h("div", { class: "pg-design-grid" }, pictures, h("div", { class: "pg-side" }, h("h3", {}, "One block computes"), formulas, changes, facts, table)));
    const fact = (label, value, title) => h("div", { title: title || "" }, h("dt", {}, label), h("dd", {}, value));
    const figure = (title, graph, lines, other) => h("figure", {}, title ? h("figcaption", {}, h("strong", {}, title), h("code", {}, lines.join("\n"))) : null, draw(graph, other));
    const show = () => {
      const value = props.value;
      if (!value) return;
      clearTimeout(timer);
      const waits = value.waiting || value.missing;
      root.classList.toggle("pg-stale", Boolean(waits));
      if (waits) {
        notes = { problems: [], idle: notes.idle };
        note();
        problems.hidden = true;
        if (value.waiting) again(true);
        return;
      }
      notes = { problems: value.problems, idle: value.idle || notes.idle };
      note();
      problems.replaceChildren(...value.problems.map(({ path, message }) => h("li", {}, h("code", {}, path), " ", message)));
      problems.hidden = value.problems.length === 0;
      document.body.dataset.design = value.problems.length ? "wrong" : "right";
      root.classList.toggle("pg-stale", value.problems.length > 0);
      if (value.problems.length) return;
      const other = value.other, learns = value.learns;
      formulas.textContent = value.formulas.join("\n");
      const picture = JSON.stringify([value.graph, other]);
      if (picture !== drawn) pictures.replaceChildren(...(other ? [figure("this design", value.graph, value.formulas, other.graph), figure(other.title, other.graph, other.formulas, value.graph)] : [figure("", value.graph, [])]));
      drawn = picture;
      pictures.classList.toggle("pg-two", Boolean(other));
      changes.hidden = !other;
      if (other) changes.replaceChildren(h("h4", {}, `this design, and ${other.title}`), other.differs.length ? h("ul", {}, ...other.differs.map(([path, mine, theirs]) => h("li", {}, h("code", {}, path.split(".").pop()), ` ${mine}, not ${theirs}`))) : h("p", {}, "The architectures are the same."));
      facts.replaceChildren(
        fact("parameters", number(value.n_params)),
        fact("a training step costs", `${compact(value.flops)}FLOP per token`),
        fact("memory while training", `about ${compact(value.memory_bytes)}B`),
        fact("time on this machine", value.seconds === null ? "measuring" : `about ${duration(value.seconds)}`, "if nothing else trains here"),
        fact("looks at", learns.total === null ? "as much as fits" : `${compact(learns.total)} ${learns.unit}`, learns.total === null ? "" : `${learns.times.toPrecision(2)} times what there is to train on`));
      if (value.seconds === null) timer = setTimeout(() => pg.visible(root) && trigger("again"), 3000);
      rows.replaceChildren(...value.parts.map(([name, params, flops]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, number(params)), h("td", {}, flops ? compact(flops) : "–"))));
    };
    watch("value", show);
    show();
    noteWhenOpened();
  };
})();

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
  const WIDTH = 420, LEFT = 70, BOX = 250, TALL = 34, PLUS = 22, GAP = 18;

  /* Nodes from top to bottom on one line, residual edges around on the right, the block in a frame. */
  function draw(graph) {
    const place = new Map();
    let y = 8, first = null, last = null;
    for (const node of graph.nodes) {
      if (node.in_block && first === null) { y += 10; first = y; }
      if (!node.in_block && first !== null && last === null) { last = y - GAP + 12; y += 16; }
      const height = node.kind === "add" ? PLUS : TALL;
      place.set(node.id, { top: y, bottom: y + height, middle: y + height / 2 });
      y += height + GAP;
    }
    const height = y - GAP + 8, centre = LEFT + BOX / 2;
    const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "pg-graph", role: "img", "aria-label": "the architecture, from tokens at the top to the head at the bottom" });
    svg.append(s("defs"));
    svg.firstChild.innerHTML = '<marker id="pg-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0 8 4 0 8z" class="pg-arrow"/></marker>';
    if (first !== null) {
      svg.append(s("rect", { x: 30, y: first - 14, width: WIDTH - 60, height: last - first + 16, rx: 10, class: "pg-frame" }));
      svg.append(s("text", { x: WIDTH - 26, y: (first + last) / 2, class: "pg-times" }, `× ${graph.n_layer}`));
    }
    for (const edge of graph.edges) {
      const a = place.get(edge.source), b = place.get(edge.target);
      if (edge.kind === "stream") svg.append(s("line", { x1: centre, y1: a.bottom, x2: centre, y2: b.top, class: "pg-edge", "marker-end": "url(#pg-arrow)" }));
      else {
        const from = a.bottom + GAP * 0.35, side = LEFT + BOX + 26;
        svg.append(s("path", { d: `M${centre} ${from} H${side - 8} Q${side} ${from} ${side} ${from + 8} V${b.middle - 8} Q${side} ${b.middle} ${side - 8} ${b.middle} H${centre + PLUS / 2 + 2}`, class: "pg-edge pg-residual", "marker-end": "url(#pg-arrow)" }));
      }
    }
    for (const node of graph.nodes) svg.append(shape(node, place.get(node.id), centre));
    return svg;
  }

  function shape(node, { top, middle }, centre) {
    const group = s("g", { class: `pg-node pg-node-${node.kind}`, tabindex: "0" });
    if (node.kind === "add") {
      group.append(s("circle", { cx: centre, cy: middle, r: PLUS / 2 }), s("path", { d: `M${centre - 6} ${middle}h12M${centre} ${middle - 6}v12` }));
    } else {
      group.append(s("rect", { x: LEFT, y: top, width: BOX, height: TALL, rx: 7 }), s("text", { x: centre, y: middle + 1 }, node.title));
    }
    const cost = [node.params ? `${number(node.params)} parameters` : "no parameters", node.flops ? `${compact(node.flops)}FLOP per token` : null].filter(Boolean).join(", ") + (node.in_block ? ", in each block" : "");
    const tell = (event) => pg.showTip(event, h("strong", {}, node.title === "+" ? "residual addition" : node.title), h("br"), h("code", {}, node.formula), h("br"), cost);
    group.addEventListener("pointermove", tell);
    group.addEventListener("pointerleave", pg.hideTip);
    group.addEventListener("focus", () => { const box = group.getBoundingClientRect(); tell({ clientX: box.right, clientY: box.top }); });
    group.addEventListener("blur", pg.hideTip);
    return group;
  }

  /* Notes beside the controls; those without a control on screen are listed above the picture. */
  function note(problems, list) {
    document.querySelectorAll(".pg-problem").forEach((element) => element.remove());
    document.querySelectorAll(".pg-wrong").forEach((element) => element.classList.remove("pg-wrong"));
    list.replaceChildren(...problems.map(({ path, message }) => h("li", {}, h("code", {}, path), " ", message)));
    list.hidden = problems.length === 0;
    for (const { id, message } of problems) {
      const control = document.getElementById(id);
      if (!control) continue;
      control.classList.add("pg-wrong");
      control.append(h("div", { class: "pg-problem", role: "alert" }, message));
    }
    document.body.dataset.design = problems.length ? "wrong" : "right";
  }

  pg.kinds.design = (root, { props, watch, trigger }) => {
    let timer = 0;
    const problems = h("ul", { class: "pg-problems", hidden: true }), formulas = h("pre", { class: "pg-formulas" }), picture = h("div", { class: "pg-picture" }), facts = h("dl", { class: "pg-facts pg-facts-design" }), text = h("p", { class: "pg-faint" });
    root.append(problems, h("div", { class: "pg-design-grid" }, picture, h("div", { class: "pg-side" }, h("h3", {}, "One block computes"), formulas, facts, text)));
    const fact = (label, value, title) => h("div", { title: title || "" }, h("dt", {}, label), h("dd", {}, value));
    const show = () => {
      const value = props.value;
      if (!value) return;
      note(value.problems, problems);
      root.classList.toggle("pg-stale", value.problems.length > 0);
      if (value.problems.length) return;
      formulas.textContent = value.formulas.join("\n");
      picture.replaceChildren(draw(value.graph));
      facts.replaceChildren(
        fact("parameters", number(value.n_params)),
        fact("a training step costs", `${compact(value.flops)}FLOP per token`),
        fact("memory while training", `about ${compact(value.memory_bytes)}B`),
        fact("time on this machine", value.seconds === null ? "measuring" : `about ${duration(value.seconds)}`, "if nothing else trains here"),
        fact("learns from", value.tokens === null ? "as much as fits" : `${compact(value.tokens)} tokens`, value.tokens === null ? "" : `${(value.tokens / value.n_train).toPrecision(2)} times through the text`));
      clearTimeout(timer);
      if (value.seconds === null) timer = setTimeout(() => pg.visible(root) && trigger("again"), 3000);
      text.textContent = `The text has ${number(value.text.n_chars)} characters: ${number(value.text.n_tokens)} tokens of ${number(value.text.vocab_size)} kinds, ${number(value.text.n_held_out)} of them held out.`;
    };
    watch("value", show);
    show();
  };
})();

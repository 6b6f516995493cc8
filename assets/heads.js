"use strict";
/* The heads of a moment: one small map per head, layer by layer; a click enlarges one with its tokens. */
(() => {
  const pg = window.playground, { h } = pg;
  const PALETTE = Array.from({ length: 256 }, (_, i) => pg.cividis(Math.sqrt(i / 255)));
  const GAP = 8;

  /* The bytes of a moment's maps, read once. */
  function mapsOf(moment) {
    if (moment.read) return moment.read;
    const bytes = Uint8Array.from(atob(moment.maps), (c) => c.charCodeAt(0)), T = moment.tokens.length, size = (T * (T + 1)) / 2;
    const at = (layer, head, query, key) => (key > query ? 0 : bytes[(layer * moment.n_head + head) * size + (query * (query + 1)) / 2 + key]);
    return (moment.read = { T, at });
  }

  /* One pixel per pair of tokens; the page scales it up without smoothing. */
  function paint(canvas, moment, layer, head) {
    const { T, at } = mapsOf(moment);
    if (canvas.width !== T || canvas.height !== T) [canvas.width, canvas.height] = [T, T];
    const pen = canvas.getContext("2d"), image = pen.createImageData(T, T);
    for (let query = 0; query < T; query++)
      for (let key = 0; key <= query; key++) {
        const [r, g, b] = PALETTE[at(layer, head, query, key)], i = 4 * (query * T + key);
        image.data[i] = r; image.data[i + 1] = g; image.data[i + 2] = b; image.data[i + 3] = 255;
      }
    pen.putImageData(image, 0, 0);
  }

  function hover(event, canvas, moment, layer, head) {
    const { T, at } = mapsOf(moment), box = canvas.getBoundingClientRect();
    const place = (p, from, size) => Math.min(T - 1, Math.max(0, Math.floor(((p - from) / size) * T)));
    const query = place(event.clientY, box.top, box.height), key = place(event.clientX, box.left, box.width), name = (i) => h("code", {}, pg.visibleToken(moment.tokens[i]));
    if (key > query) return pg.showTip(event, name(query), " cannot look ahead at ", name(key));
    pg.showTip(event, `layer ${layer + 1}, head ${head + 1}: `, name(query), ` (${query + 1}) looks at `, name(key), ` (${key + 1}) with weight `, h("strong", {}, (at(layer, head, query, key) / 255).toFixed(2)));
  }
  function watched(canvas, now, layer, head) {
    canvas.addEventListener("pointermove", (event) => now() && hover(event, canvas, now(), layer, head));
    canvas.addEventListener("pointerleave", pg.hideTip);
    return canvas;
  }

  /* The heads of one layer, small. */
  pg.headRow = (moment, layer) => {
    const row = h("div", { class: "pg-head-row" });
    for (let head = 0; head < moment.n_head; head++) {
      const canvas = watched(h("canvas", { role: "img", "aria-label": `layer ${layer + 1}, head ${head + 1}` }), () => moment, layer, head);
      paint(canvas, moment, layer, head);
      row.append(canvas);
    }
    return row;
  };

  pg.views.heads = (place, side, shared) => {
    const caption = h("p", { class: "pg-faint pg-heads-empty" }), grid = h("div", { class: "pg-heads" }), large = h("div", { class: "pg-large", hidden: true });
    const score = h("select", { class: "pg-score", "aria-label": "score of the heads" }), sorted = h("input", { type: "checkbox" });
    const scale = h("span", { class: "pg-scale" }, h("span", {}, "weight 0"), h("span", { class: "pg-ramp pg-ramp-short", title: "Colours grow with the square root of the weight, so that small ones can be told apart: the middle is 0.25." }), h("span", {}, "1"));
    place.append(h("div", { class: "pg-tools pg-curve-tools" }, h("label", {}, "score ", score), h("label", {}, sorted, " highest first"), scale), caption, h("div", { class: "pg-heads-wrap" }, grid, large));
    let cells = [], shape = "", chosen = null;
    score.addEventListener("change", () => { shared.score = score.value; shared.redraw(); });
    sorted.addEventListener("change", () => { shared.sorted = sorted.checked; shared.redraw(); });
    const scores = () => Object.values(shared.quantities).filter((q) => q.per === "head");
    const value = (name, layer, head) => side.moment.values[name]?.attn?.[layer]?.[head] ?? null;

    function build({ n_layer, n_head }) {
      cells = [];
      for (let layer = 0; layer < n_layer; layer++)
        for (let head = 0; head < n_head; head++) {
          const canvas = watched(h("canvas"), () => side.moment, layer, head), note = h("span", { class: "pg-head-score" }), label = h("span", { class: "pg-head-label" });
          const button = h("button", { class: "pg-head-cell", type: "button", "data-layer": layer, "data-head": head, "aria-label": `layer ${layer + 1}, head ${head + 1}: enlarge`, onclick: () => { shared.head = { layer, head }; shared.redraw(); } }, canvas);
          cells.push({ layer, head, canvas, note, label, element: h("div", { class: "pg-head-box" }, button, h("div", { class: "pg-head-words" }, note, label)) });
        }
    }
    /* In rows by layer, or all heads by their score. */
    let order = "";
    function arrange(name) {
      const { n_head } = side.moment, ordered = shared.sorted ? [...cells].sort((x, y) => (value(name, y.layer, y.head) ?? -1) - (value(name, x.layer, x.head) ?? -1)) : cells;
      const now = `${shape} ${ordered.map((c) => `${c.layer}.${c.head}`).join()}${Boolean(shared.sorted)}`;
      if (now === order) return;
      order = now;
      grid.style.setProperty("--heads", n_head);
      grid.classList.toggle("pg-heads-sorted", Boolean(shared.sorted));
      grid.replaceChildren(...ordered.flatMap((cell) => (!shared.sorted && cell.head === 0 ? [h("span", { class: "pg-layer-name" }, `layer ${cell.layer + 1}`), cell.element] : [cell.element])));
    }
    /* A role that a head plays beyond doubt. */
    const role = (layer, head) => scores().filter((q) => q.decisive && value(q.name, layer, head) >= q.decisive).sort((x, y) => value(y.name, layer, head) - value(x.name, layer, head))[0];

    function enlarge(layer, head) {
      const { tokens } = side.moment, canvas = watched(h("canvas", { "aria-label": `attention of layer ${layer + 1}, head ${head + 1}`, role: "img" }), () => side.moment, layer, head);
      const labels = (cls) => h("div", { class: cls, "aria-hidden": "true" }, ...tokens.map((token) => h("span", {}, pg.visibleToken(token))));
      const opened = large.hidden;
      chosen = { layer, head, canvas, text: tokens.join("\u0000"), numbers: h("dl", { class: "pg-facts" }) };
      large.style.setProperty("--tokens", tokens.length);
      large.replaceChildren(
        h("div", { class: "pg-head" }, h("h4", {}, `layer ${layer + 1}, head ${head + 1}`), h("button", { class: "pg-button", type: "button", onclick: () => { shared.head = null; shared.redraw(); } }, "Close")),
        h("div", { class: "pg-large-map" }, h("span", { class: "pg-corner" }), labels("pg-keys"), labels("pg-queries"), canvas),
        h("p", { class: "pg-faint" }, "Down the side: the token that looks. Along the top: what it looks at."), chosen.numbers);
      large.hidden = false;
      if (opened && side === shared.sides()[0]) requestAnimationFrame(() => large.scrollIntoView({ block: "nearest", behavior: "smooth" }));
      showLarge();
    }
    function showLarge() {
      const { layer, head, canvas, numbers } = chosen;
      paint(canvas, side.moment, layer, head);
      numbers.replaceChildren(...scores().map((q) => h("div", { title: `${q.help} ${q.formula}` }, h("dt", {}, q.label), h("dd", {}, `${pg.short(value(q.name, layer, head))} ${q.unit}`))));
    }

    return {
      draw() {
        const moment = side.moment;
        if (!moment || moment.maps === undefined) return;
        caption.hidden = moment.n_layer > 0;
        caption.textContent = "This model has no attention to show.";
        if (!score.childElementCount) score.replaceChildren(...scores().map((q) => h("option", { value: q.name }, q.label)));
        score.value = shared.score ??= "attn_previous";
        sorted.checked = Boolean(shared.sorted);
        const now = `${side.run.id} ${moment.n_layer} ${moment.n_head}`;
        if (now !== shape) { shape = now; chosen = null; build(moment); }
        arrange(shared.score);
        const quantity = shared.quantities[shared.score], colours = shared.range(quantity);
        for (const { canvas, note, label, layer, head, element } of cells) {
          paint(canvas, moment, layer, head);
          const v = value(shared.score, layer, head), found = role(layer, head);
          note.textContent = `${shared.sorted ? `${layer + 1}.${head + 1}  ` : ""}${pg.short(v)}`;
          note.title = `${quantity.label}, ${quantity.unit}`;
          element.style.setProperty("--score", v === null ? "transparent" : colours.colour(v));
          label.textContent = found ? `${found.label} ${value(found.name, layer, head).toFixed(2)}` : "";
        }
        const { layer, head } = shared.head || {}, there = layer < moment.n_layer && head < moment.n_head;
        if (!there) { chosen = null; large.hidden = true; }
        else if (chosen && chosen.layer === layer && chosen.head === head && chosen.text === moment.tokens.join("\u0000")) showLarge();
        else enlarge(layer, head);
      },
      table() {
        const moment = side.moment, { T, at } = mapsOf(moment), rows = [["step", "layer", "head", "query", "key", "query_token", "key_token", "weight"]];
        for (const { layer, head } of chosen ? [chosen] : cells)
          for (let query = 0; query < T; query++) for (let key = 0; key <= query; key++) rows.push([moment.step, layer + 1, head + 1, query + 1, key + 1, moment.tokens[query], moment.tokens[key], (at(layer, head, query, key) / 255).toFixed(3)]);
        return rows;
      },
      /* All maps on one canvas, or the enlarged one. */
      picture() {
        const { T } = mapsOf(side.moment), shown = chosen ? [chosen] : cells, zoom = chosen ? 10 : 3, wide = chosen ? 1 : side.moment.n_head, size = T * zoom + GAP, tall = Math.ceil(shown.length / wide);
        const canvas = h("canvas", { width: wide * size + GAP, height: tall * size + GAP }), pen = canvas.getContext("2d");
        pen.fillStyle = pg.css("--block-background-fill") || "#fff";
        pen.fillRect(0, 0, canvas.width, canvas.height);
        pen.imageSmoothingEnabled = false;
        shown.forEach((cell, i) => pen.drawImage(cell.canvas, GAP + (i % wide) * size, GAP + Math.floor(i / wide) * size, T * zoom, T * zoom));
        return canvas;
      },
    };
  };
})();

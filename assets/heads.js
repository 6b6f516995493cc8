"use strict";
/* The Inside tab: one small map per head, layer by layer; a click enlarges one with its tokens. */
(() => {
  const pg = window.playground, { h, number } = pg;
  const PALETTE = Array.from({ length: 256 }, (_, i) => pg.cividis(Math.sqrt(i / 255)));

  function decode(answer) {
    const bytes = Uint8Array.from(atob(answer.maps), (c) => c.charCodeAt(0)), T = answer.tokens.length, size = (T * (T + 1)) / 2;
    const at = (layer, head, query, key) => (key > query ? 0 : bytes[(layer * answer.n_head + head) * size + (query * (query + 1)) / 2 + key]);
    return { ...answer, T, at };
  }

  /* One pixel per pair of tokens; the page scales it up without smoothing. */
  function paint(canvas, maps, layer, head) {
    const { T } = maps;
    if (canvas.width !== T || canvas.height !== T) [canvas.width, canvas.height] = [T, T];
    const pen = canvas.getContext("2d"), image = pen.createImageData(T, T);
    for (let query = 0; query < T; query++)
      for (let key = 0; key <= query; key++) {
        const [r, g, b] = PALETTE[maps.at(layer, head, query, key)], i = 4 * (query * T + key);
        image.data[i] = r; image.data[i + 1] = g; image.data[i + 2] = b; image.data[i + 3] = 255;
      }
    pen.putImageData(image, 0, 0);
  }

  pg.kinds.heads = (root, { props, watch }) => {
    const caption = h("p", { class: "pg-caption", "aria-live": "polite" }), grid = h("div", { class: "pg-heads" }), large = h("div", { class: "pg-large", hidden: true });
    const back = h("button", { class: "pg-button", type: "button", onclick: () => follow() }, "Back to what the run records");
    root.append(
      pg.head("Attention heads", "Each square is one head: row by row the token that looks, column by column the tokens it looks at. Bright means much. Click a head to enlarge it.",
        h("span", { class: "pg-scale" }, h("span", {}, "weight 0"), h("span", { class: "pg-ramp pg-ramp-short", title: "Colours grow with the square root of the weight, so that small ones can be told apart: the middle is 0.25." }), h("span", {}, "1"))),
      caption, h("div", { class: "pg-heads-wrap" }, grid, large));
    let maps = null, cells = [], chosen = null, current = null, own = null, asked = -1, busy = false;

    const tokenAt = (event, canvas) => {
      const box = canvas.getBoundingClientRect(), place = (p, from, size) => Math.min(maps.T - 1, Math.max(0, Math.floor(((p - from) / size) * maps.T)));
      return [place(event.clientY, box.top, box.height), place(event.clientX, box.left, box.width)];
    };
    function hover(event, canvas, layer, head) {
      if (!maps) return;
      const [query, key] = tokenAt(event, canvas), name = (i) => h("code", {}, pg.visibleToken(maps.tokens[i]));
      if (key > query) return pg.showTip(event, name(query), " cannot look ahead at ", name(key));
      pg.showTip(event, `layer ${layer + 1}, head ${head + 1}: `, name(query), ` (${query + 1}) looks at `, name(key), ` (${key + 1}) with weight `, h("strong", {}, (maps.at(layer, head, query, key) / 255).toFixed(2)));
    }

    function build() {
      grid.replaceChildren();
      cells = [];
      grid.style.setProperty("--heads", maps.n_head);
      for (let layer = 0; layer < maps.n_layer; layer++) {
        grid.append(h("span", { class: "pg-layer-name" }, `layer ${layer + 1}`));
        for (let head = 0; head < maps.n_head; head++) {
          const canvas = h("canvas", {});
          const cell = h("button", { class: "pg-head-cell", type: "button", "data-layer": layer, "data-head": head, "aria-label": `layer ${layer + 1}, head ${head + 1}: enlarge`, onclick: () => enlarge(layer, head) }, canvas);
          canvas.addEventListener("pointermove", (event) => hover(event, canvas, layer, head));
          canvas.addEventListener("pointerleave", pg.hideTip);
          cells.push({ canvas, layer, head });
          grid.append(cell);
        }
      }
    }

    function enlarge(layer, head) {
      chosen = { layer, head };
      const canvas = h("canvas", { "aria-label": `attention of layer ${layer + 1}, head ${head + 1}`, role: "img" });
      canvas.addEventListener("pointermove", (event) => hover(event, canvas, layer, head));
      canvas.addEventListener("pointerleave", pg.hideTip);
      const labels = (cls) => h("div", { class: cls, "aria-hidden": "true" }, ...maps.tokens.map((token) => h("span", {}, pg.visibleToken(token))));
      const close = h("button", { class: "pg-button", type: "button", onclick: () => { chosen = null; large.hidden = true; } }, "Close");
      large.style.setProperty("--tokens", maps.T);
      large.replaceChildren(
        h("div", { class: "pg-head" }, h("h4", {}, `layer ${layer + 1}, head ${head + 1}`), close),
        h("div", { class: "pg-large-map" }, h("span", { class: "pg-corner" }), labels("pg-keys"), labels("pg-queries"), canvas),
        h("p", { class: "pg-faint" }, "Down the side: the token that looks. Along the top: what it looks at."));
      if (large.hidden) requestAnimationFrame(() => large.scrollIntoView({ block: "nearest", behavior: "smooth" }));
      large.hidden = false;
      chosen.canvas = canvas;
      paint(canvas, maps, layer, head);
    }

    function show(answer) {
      const before = maps;
      maps = decode(answer);
      const sameShape = before && before.n_layer === maps.n_layer && before.n_head === maps.n_head && cells.length;
      if (!sameShape) build();
      const sameText = before && before.tokens.join("\u0000") === maps.tokens.join("\u0000");
      if (chosen && chosen.layer < maps.n_layer && chosen.head < maps.n_head) {
        if (sameText) paint(chosen.canvas, maps, chosen.layer, chosen.head);
        else enlarge(chosen.layer, chosen.head);
      } else large.hidden = true;
      for (const { canvas, layer, head } of cells) paint(canvas, maps, layer, head);
      if (!maps.n_layer) caption.textContent = "This model has no attention to show.";
      else {
        caption.replaceChildren(`${number(maps.T)} tokens at step ${number(maps.step)}: `, h("code", { class: "pg-probe-text" }, maps.tokens.map(pg.visibleToken).join("")), " ");
        if (own) caption.append("(computed for you from the newest checkpoint) ", back);
      }
    }

    function empty(words) {
      maps = null; cells = []; chosen = null;
      grid.replaceChildren(); large.hidden = true;
      caption.textContent = words;
    }

    async function fetchNewest() {
      if (busy || !current || own) return;
      busy = true;
      const run = current;
      try {
        const answer = await pg.get(`live/runs/${encodeURIComponent(run.id)}/attention`);
        if (run === current && !own) answer ? show(answer) : empty(run.status.state === "queued" ? "This run waits in the queue; its first map comes with its first step." : "No attention has been recorded yet; the first map comes with the first step.");
      } catch (error) {
        if (run === current && !maps) empty("The playground does not answer; trying again.");
      } finally {
        busy = false;
      }
      if (run !== current) fetchNewest();
    }

    function follow() {
      own = null; asked = -1;
      if (current) update(current, { reset: true, kinds: new Set() });
    }

    function update(run, change) {
      if (current !== run) { own = null; asked = -1; maps = null; chosen = null; large.hidden = true; }
      current = run.status ? run : null;
      if (!current) return empty(run.problem || "No run is open. Press Train in Design, or open one in Runs.");
      const newest = run.series.probe ? run.series.probe.step.length + run.generation * 1e6 : 0;
      if (newest !== asked || change.reset) { asked = newest; fetchNewest(); }
    }

    watch("value", () => {
      const value = props.value;
      if (!value || !current || value.run !== current.id) return;
      own = value.own || null;
      if (own) show(own);
      else follow();
    });
    return { update };
  };
})();

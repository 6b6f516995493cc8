"use strict";
/* Views of the Inside tab that ask what each layer is good for: the logit lens, and switching parts off. */
(() => {
  const pg = window.playground, { h, number } = pg, s = (...all) => pg.svg(...all);
  const WIDE = 62, TALL = 26, LEFT = 112, RIGHT = 86;
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

  pg.views.lens = (place, side, shared) => {
    const scroll = h("div", { class: "pg-lens-scroll" }), scale = h("div", { class: "pg-scale" }, h("span", {}, "probability of the right token 0"), h("span", { class: "pg-ramp" }), h("span", {}, "1"));
    place.append(scroll, scale);
    let built = "", cells = [], losses = [];
    const rowName = (i) => (i === 0 ? "embedding" : `after layer ${i}`);

    /* Rows: the layers, the last on top as the stream flows up to the answer; columns: the tokens. */
    function build(moment) {
      const T = moment.tokens.length, S = moment.lens_top.length, width = LEFT + T * WIDE + RIGHT, height = (S + 2) * TALL + 8;
      const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "pg-lens", role: "img", "aria-label": "the likeliest next token after each layer, at each token" });
      const y = (row) => 4 + (S - row) * TALL; // row 0, the embedding, is the lowest
      const words = (x, at, text, cls) => svg.append(s("text", { x, y: at + TALL / 2, class: cls }, text));
      words(LEFT - 8, y(S), "right answer", "pg-lens-name");
      words(LEFT - 8, y(-1), "token read", "pg-lens-name");
      words(LEFT + T * WIDE + 8, y(S), "loss, nats", "pg-lens-loss");
      cells = []; losses = [];
      for (let t = 0; t < T; t++) {
        words(LEFT + (t + 0.5) * WIDE, y(-1), cut(pg.visibleToken(moment.tokens[t]), 8), "pg-lens-token");
        words(LEFT + (t + 0.5) * WIDE, y(S), t + 1 < T ? cut(pg.visibleToken(moment.tokens[t + 1]), 8) : "", "pg-lens-token pg-lens-right");
      }
      for (let row = 0; row < S; row++) {
        words(LEFT - 8, y(row), rowName(row), "pg-lens-name");
        losses.push(s("text", { x: LEFT + T * WIDE + 8, y: y(row) + TALL / 2, class: "pg-lens-loss" }, ""));
        for (let t = 0; t < T; t++) {
          const group = s("g", { transform: `translate(${LEFT + t * WIDE} ${y(row)})`, class: "pg-lens-cell", "data-lens": `${row} ${t}` }), back = s("rect", { width: WIDE - 2, height: TALL - 2, rx: 4 }), text = s("text", { x: (WIDE - 2) / 2, y: (TALL - 2) / 2 });
          group.append(back, text);
          group.addEventListener("pointermove", (event) => tell(event, row, t));
          group.addEventListener("pointerleave", pg.hideTip);
          cells.push({ back, text, row, t });
          svg.append(group);
        }
      }
      svg.append(...losses);
      scroll.replaceChildren(svg);
    }
    function tell(event, row, t) {
      const m = side.moment, odds = h("div", { class: "pg-odds" }, ...m.lens_top[row][t].flatMap((word, i) => [h("code", {}, pg.visibleToken(m.lens_words[word])), h("span", {}, m.lens_p[row][t][i].toFixed(3))]));
      const right = t + 1 < m.tokens.length ? [h("br"), "right would be ", h("code", {}, pg.visibleToken(m.tokens[t + 1])), `, probability ${m.lens_right[row][t].toFixed(3)}`] : [];
      pg.showTip(event, `${rowName(row)}, having read `, h("code", {}, pg.visibleToken(m.tokens[t])), odds, ...right);
    }
    return {
      draw() {
        const m = side.moment;
        if (!m || !m.lens_top) return;
        const now = m.tokens.join("\u0000") + m.lens_top.length;
        if (now !== built) { built = now; build(m); }
        for (const { back, text, row, t } of cells) {
          const p = t + 1 < m.tokens.length ? m.lens_right[row][t] : null;
          back.style.fill = p === null ? "transparent" : `rgb(${pg.cividis(Math.sqrt(p)).join(" ")})`;
          text.style.fill = p === null ? "" : Math.sqrt(p) > 0.52 ? "#10131a" : "#ffffff";
          text.textContent = cut(pg.visibleToken(m.lens_words[m.lens_top[row][t][0]]), 8);
        }
        const values = m.values.lens_loss, stages = values ? Object.values(values).flat() : [];
        losses.forEach((text, row) => (text.textContent = pg.short(stages[row])));
      },
      table() {
        const m = side.moment, rows = [["step", "after_layer", "position", "token_read", "likeliest", "probability", "right", "probability_of_right"]];
        for (let row = 0; row < m.lens_top.length; row++) for (let t = 0; t < m.tokens.length; t++) rows.push([m.step, row, t + 1, m.tokens[t], m.lens_words[m.lens_top[row][t][0]], m.lens_p[row][t][0], m.tokens[t + 1] ?? "", t + 1 < m.tokens.length ? m.lens_right[row][t] : ""]);
        return rows;
      },
    };
  };

  pg.views.ablate = (place, side, shared) => {
    const grid = h("div", { class: "pg-parts-grid" }), measure = h("button", { type: "button", class: "pg-button pg-worth", onclick: () => worth() }, "Measure what each part is worth"), all = h("button", { type: "button", class: "pg-button", onclick: () => { side.off.clear(); ask(); } }, "Switch all on");
    const words = h("p", { class: "pg-faint pg-worth-words", role: "status" }), result = h("div", { class: "pg-ablated" });
    place.append(h("div", { class: "pg-tools pg-curve-tools" }, measure, all), grid, words, result);
    let built = "", buttons = new Map(), rises = null, answer = null, asked = "", busy = false, problem = "";

    function build() {
      const { n_layer, n_head, nodes } = side.graph, has = (kind) => nodes.some((node) => node.kind === kind);
      buttons = new Map();
      const button = (part, text, title) => {
        const element = h("button", { type: "button", class: "pg-part", "data-part": part, "aria-pressed": "false", onclick: () => { side.off.has(part) ? side.off.delete(part) : side.off.add(part); ask(); } }, h("span", {}, text), h("small", {}));
        element.addEventListener("pointermove", (event) => pg.showTip(event, title, rises && rises[part] !== undefined ? `: without it the loss rises by ${pg.short(rises[part])} nats per token` : ""));
        element.addEventListener("pointerleave", pg.hideTip);
        buttons.set(part, element);
        return element;
      };
      const rows = [];
      for (let layer = 1; layer <= n_layer; layer++) {
        const heads = Array.from({ length: n_head }, (_, i) => button(`head:${layer}.${i + 1}`, `${i + 1}`, `head ${i + 1} of layer ${layer}`));
        rows.push(h("div", { class: "pg-part-row" }, h("span", { class: "pg-layer-name" }, `layer ${layer}`), button(`layer:${layer}`, "all", `the whole of layer ${layer}`), has("attention") ? button(`attn:${layer}`, "attention", `the attention of layer ${layer}`) : null, has("mlp") ? button(`mlp:${layer}`, "MLP", `the MLP of layer ${layer}`) : null, n_head ? h("span", { class: "pg-part-heads" }, h("span", { class: "pg-faint" }, "heads "), ...heads) : null));
      }
      grid.replaceChildren(...rows);
    }

    const base = () => `live/runs/${encodeURIComponent(side.run.id)}/ablate?step=${side.moment.step}${textPart()}`;
    const textPart = () => (side.text ? `&text=${encodeURIComponent(side.text)}` : "");

    async function ask() {
      show();
      const off = [...side.off].join(","), wanted = `${side.moment.step} ${off} ${textPart()}`;
      if (!off) { answer = null; asked = ""; problem = ""; return show(); }
      if (busy || wanted === asked) return;
      busy = true;
      try {
        answer = await pg.get(`${base()}&off=${encodeURIComponent(off)}`);
        problem = answer.problem || "";
      } catch (error) {
        [answer, problem] = [null, error.message];
      } finally {
        busy = false;
        asked = wanted;
      }
      show();
      if (side.made === "ablate") ask();
    }
    async function worth() {
      measure.disabled = true;
      words.textContent = "Switching off one part after the other.";
      try {
        const found = await pg.get(base());
        if (found.problem) throw new Error(found.problem);
        rises = found.rises;
        words.textContent = `In nats per token on ${found.on}, at the checkpoint of step ${number(found.step)}, the nearest: how much the loss rises without this part. Orange: it is missed; blue: it did harm.`;
      } catch (error) {
        words.textContent = error.message;
      } finally {
        measure.disabled = false;
      }
      show();
    }

    function show() {
      const most = rises ? Math.max(1e-6, ...Object.entries(rises).filter(([part]) => part.startsWith("head") || part.startsWith("mlp")).map(([, v]) => Math.abs(v ?? 0))) : 1;
      for (const [part, button] of buttons) {
        button.setAttribute("aria-pressed", side.off.has(part));
        const rise = rises ? rises[part] : null;
        button.lastChild.textContent = rise === null || rise === undefined ? "" : `${rise >= 0 ? "+" : "−"}${Math.abs(rise).toFixed(3)}`;
        button.style.setProperty("--rise", rise === null || rise === undefined ? "transparent" : `color-mix(in srgb, ${rise >= 0 ? "#E69F00" : "#0072B2"} ${Math.round(70 * Math.min(1, Math.sqrt(Math.abs(rise) / most)))}%, transparent)`);
      }
      all.disabled = side.off.size === 0;
      if (problem) return result.replaceChildren(h("p", { class: "pg-warning" }, problem));
      if (!side.off.size) return result.replaceChildren(h("p", { class: "pg-faint" }, "Everything is on. Click a part to switch it off."));
      if (!answer) return result.replaceChildren(h("p", { class: "pg-faint" }, "Computing without it."));
      const { before, after } = answer, change = (x, y) => (x === null || y === null ? "–" : `${y >= x ? "+" : "−"}${Math.abs(y - x).toFixed(3)}`), fixed = (v) => (v === null ? "not on this machine" : v.toFixed(3));
      const row = (name, x, y) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, fixed(x)), h("td", {}, fixed(y)), h("td", { class: "pg-change" }, change(x, y)));
      const text = (title, each) => h("div", {}, h("h4", {}, title), h("pre", { class: "pg-text" }, h("span", { class: "pg-faint" }, each.prompt), each.text || "(nothing that could be written)"));
      result.replaceChildren(
        h("table", { class: "pg-detail-table" }, h("thead", {}, h("tr", {}, ...["loss in nats per token", "whole", "without", "change"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, row("on the probe text", before.probe_loss, after.probe_loss), row("on held-out data", before.held_out_loss, after.held_out_loss))),
        h("div", { class: "pg-ablated-texts" }, text(`as it writes, checkpoint of step ${number(answer.step)}`, before), text("without what is switched off", after)));
    }
    return {
      draw() {
        const now = `${side.run.id}`;
        if (now !== built) { built = now; build(); }
        if (side.moment) ask();
      },
      table: () => (rises ? [["part", "rise_of_loss_nats_per_token"], ...Object.entries(rises)] : [["what", "whole", "without"], ...(answer ? ["probe_loss", "held_out_loss", "text"].map((name) => [name, answer.before[name], answer.after[name]]) : [])]),
    };
  };
})();

"use strict";
/* The Runs tab: a table to sort and tick, and the losses of the ticked runs over each other. */
(() => {
  const pg = window.playground, { h, number, compact, duration } = pg;
  const REFRESH_MS = 1500, ROOM_MS = 10_000;
  const loss = (run) => run.final_val_loss ?? run.best_val_loss;

  const COLUMNS = [
    { key: "name", label: "run", value: (r) => r.name.toLowerCase(), show: (r) => (r.private ? `${r.name} (private)` : r.name) },
    { key: "by", label: "by", value: (r) => [r.mine ? 0 : 1, r.by.toLowerCase()].join(" "), show: (r) => (r.mine ? (r.by ? `${r.by} (you)` : "you") : r.by || "–") },
    { key: "state", label: "state", value: (r) => r.state, show: (r) => pg.stateText(r) },
    { key: "step", label: "step", value: (r) => r.step, show: (r) => (r.max_steps ? `${number(r.step)} of ${number(r.max_steps)}` : number(r.step)), right: true },
    { key: "val", label: "held-out loss, nats per token", value: (r) => loss(r) ?? Infinity, show: (r) => number(loss(r), 3), right: true },
    { key: "train", label: "training loss, nats per token", value: (r) => r.train_loss ?? Infinity, show: (r) => number(r.train_loss, 3), right: true },
    { key: "params", label: "parameters", value: (r) => r.n_params, show: (r) => compact(r.n_params), right: true },
    { key: "seconds", label: "training time", value: (r) => r.seconds, show: (r) => duration(r.seconds), right: true },
    { key: "created", label: "begun", value: (r) => r.created_at, show: (r) => new Date(r.created_at * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" }) },
    { key: "differs", label: "differs from the default in", value: (r) => JSON.stringify(r.differs), show: (r) => r.differs.join(", ") || "nothing" },
  ];

  pg.confirmDelete = (table) => {
    const name = table && table.name ? `“${table.name}”` : "this run";
    return table && table.run && !window.confirm(`Delete ${name} with all its checkpoints? This cannot be undone.`) ? { ...table, kept: true } : table;
  };

  pg.kinds.runs = (root, { props, trigger }) => {
    const axis = h("select", { id: "overlay-x", "aria-label": "horizontal axis" }, h("option", { value: "step" }, "steps"), h("option", { value: "tokens" }, "tokens"), h("option", { value: "seconds" }, "seconds"), h("option", { value: "flops" }, "FLOP"));
    const measure = h("select", { id: "overlay-y", "aria-label": "what is compared" }, h("option", { value: "loss" }, "loss"), h("option", { value: "bits" }, "bits per byte"), h("option", { value: "accuracy" }, "accuracy"));
    const headRow = h("tr"), body = h("tbody"), table = h("table", { class: "pg-table" }, h("thead", {}, headRow), body), wrap = h("div", { class: "pg-table-wrap" }, table);
    const empty = h("div", { class: "pg-empty" }, h("h3", {}, "No runs yet"), h("p", {}, "Every run that anybody starts here appears in this table. Press Train in Design to start the first."));
    const overlayBox = h("div", { class: "pg-overlay", hidden: true }), plot = h("div", { class: "pg-plot pg-plot-big" }), links = h("div", { class: "pg-links" });
    overlayBox.append(pg.head("The ticked runs", "Loss thin: training, smoothed; thick: held out. Bits per byte compare models whose tokenizers differ; accuracy is that of tasks.", h("label", {}, "show ", measure), h("label", {}, "over ", axis), pg.exportButtons(() => `runs-${measure.value}`, overlayBox, () => pg.plotRows(plot))), plot);
    const full = h("div", { class: "pg-warning pg-full", hidden: true, role: "status" });
    root.append(pg.head("Runs", "Click a run to choose it for the buttons below; tick several to compare them."), full, empty, wrap, links, overlayBox);
    let runs = [], sort = { key: "created", down: true }, chosen = null, ticked = new Set(), timer = 0, drawn = "";

    function header() {
      headRow.replaceChildren(h("th", { scope: "col" }, h("span", { class: "pg-sr" }, "compare")), ...COLUMNS.map((column) => {
        const sorted = sort.key === column.key, button = h("button", { type: "button", onclick: () => { sort = { key: column.key, down: sorted ? !sort.down : false }; header(); rows(); } }, column.label, sorted ? (sort.down ? " ↓" : " ↑") : "");
        return h("th", { scope: "col", class: column.right ? "pg-right" : "", "aria-sort": sorted ? (sort.down ? "descending" : "ascending") : "none" }, button);
      }));
    }

    /* Rows are kept and only their texts change, so that nothing jumps under the pointer. */
    const kept = new Map();
    function row(run) {
      let cells = kept.get(run.id);
      if (!cells) {
        const tick = h("input", { type: "checkbox", "aria-label": `compare run ${run.id}`, onclick: (event) => event.stopPropagation(), onchange: () => { tick.checked ? ticked.add(run.id) : ticked.delete(run.id); overlay(); } });
        const tds = COLUMNS.map((column) => h("td", { class: `pg-cell-${column.key}${column.right ? " pg-right" : ""}` }));
        const tr = h("tr", { tabindex: "0", "data-run": run.id, onclick: () => choose(run.id), ondblclick: () => { choose(run.id); trigger("pick", {}); }, onkeydown: (event) => { if (event.key === "Enter" && event.target === tr) { choose(run.id); trigger("pick", {}); } } }, h("td", {}, tick), ...tds);
        kept.set(run.id, (cells = { tr, tds, tick }));
      }
      cells.tr.dataset.state = run.state;
      cells.tr.classList.toggle("pg-chosen", run.id === chosen);
      COLUMNS.forEach((column, i) => {
        const text = column.show(run);
        if (cells.tds[i].textContent !== text) cells.tds[i].textContent = text;
      });
      return cells.tr;
    }

    function rows() {
      const column = COLUMNS.find((c) => c.key === sort.key), way = sort.down ? -1 : 1;
      const ordered = [...runs].sort((a, b) => { const [x, y] = [column.value(a), column.value(b)]; if (x === Infinity || y === Infinity) return x === y ? 0 : x === Infinity ? 1 : -1; return (x < y ? -1 : x > y ? 1 : 0) * way; });
      const wanted = ordered.map(row);
      if (wanted.some((tr, i) => body.children[i] !== tr) || body.children.length !== wanted.length) body.replaceChildren(...wanted);
      empty.hidden = runs.length > 0;
      wrap.hidden = runs.length === 0;
    }

    function choose(id) {
      chosen = runs.some((r) => r.id === id) ? id : null;
      showChosen();
      rows();
    }

    /* What the buttons below act on, said again when its name or state changes. */
    let said = "";
    function showChosen() {
      const run = runs.find((r) => r.id === chosen) || null, now = JSON.stringify([chosen, run && run.name, run && run.state, run && run.private]);
      if (now === said) return;
      said = now;
      props.value = { run: chosen, name: run ? run.name : null, private: Boolean(run && run.private) };
      const hide = document.getElementById("run-private");
      if (hide) hide.textContent = run && run.private ? "Show to everybody" : "Make private";
      document.body.dataset.chosen = run ? run.state : "none";
      const hub = (run) => (run.no_family ? h("button", { type: "button", class: "pg-button", "aria-disabled": "true", onclick: (event) => { why.textContent = why.textContent ? "" : `${run.no_family}.`; } }, "transformers folder: not possible, why?") : link("transformers.zip", "transformers folder (zip)"));
      const why = h("span", { class: "pg-faint", role: "status" });
      const link = (name, text) => pg.download(`live/runs/${chosen}/${name}`, { class: "pg-button" }, text, run.private);
      links.replaceChildren(...(run ? [h("span", {}, `${run.name}: `), link("weights", "weights (safetensors)"), hub(run), link("metrics.csv", "metrics (CSV)"), link("config.json", "configuration (JSON)"), why] : []));
    }

    async function overlay() {
      const ids = [...ticked].filter((id) => runs.some((r) => r.id === id));
      overlayBox.hidden = ids.length === 0;
      if (!ids.length) { drawn = ""; return; }
      const key = [axis.value, measure.value, ...ids.map((id) => { const r = runs.find((x) => x.id === id); return `${id}${r.name}${r.step}${r.final_val_loss}`; })].join();
      if (key === drawn) return;
      drawn = key;
      try {
        const [figure, Plotly] = await Promise.all([pg.get(`live/overlay?x=${axis.value}&y=${measure.value}&runs=${ids.map(encodeURIComponent).join(",")}`), pg.plotly()]);
        if (drawn !== key) return; // something else was ticked meanwhile, and its answer is on its way or here
        const look = pg.layout({ showlegend: true, hovermode: "x", legend: figure.layout.legend, margin: figure.layout.margin, xaxis: { title: figure.layout.xaxis.title }, yaxis: { title: figure.layout.yaxis.title, ...(measure.value === "accuracy" ? { tickformat: ".0%" } : {}) }, shapes: figure.layout.shapes || [] });
        await Plotly.react(plot, figure.data, look, pg.plotConfig);
      } catch (error) {
        if (drawn === key) drawn = "";
      }
    }
    for (const tool of [axis, measure]) tool.addEventListener("change", overlay);
    pg.onTheme.push(() => { drawn = ""; overlay(); });

    async function refresh() {
      clearTimeout(timer);
      if (pg.visible(root)) {
        try {
          runs = await pg.get("live/runs");
          for (const id of kept.keys()) if (!runs.some((r) => r.id === id)) { kept.delete(id); ticked.delete(id); }
          if (chosen && !runs.some((r) => r.id === chosen)) chosen = null;
          showChosen();
          rows();
          await overlay();
        } catch (error) { /* the bar says that the playground does not answer */ }
      }
      timer = setTimeout(refresh, REFRESH_MS);
    }
    /* Whoever has more than their share of the disk is offered what to delete; nothing is taken. */
    let offer = "";
    async function showRoom() {
      setTimeout(showRoom, ROOM_MS);
      if (!pg.visible(root)) return;
      try {
        const me = await pg.get("live/me"), now = JSON.stringify(me.offered);
        full.hidden = !me.over_bytes;
        if (now === offer) return;
        offer = now;
        const words = `Your runs take ${compact(me.bytes)}B, and everybody may have ${compact(me.share_bytes || 0)}B. Probes were thinned already. `;
        const names = me.offered.map((run) => `${run.name} (${compact(run.bytes)}B)`).join(", ");
        const go = () => window.confirm(`Delete ${names} with all checkpoints? This cannot be undone.`) && trigger("clear", { runs: me.offered.map((run) => run.id) });
        full.replaceChildren(words, ...(me.offered.length ? [`Deleting the oldest would make room: ${names}. `, h("button", { type: "button", class: "pg-button", onclick: go }, "Delete them")] : ["Stop a run, then delete it."]));
      } catch (error) { /* the bar says that the playground does not answer */ }
    }
    header();
    refresh();
    showRoom();
    new IntersectionObserver(refresh).observe(root);
  };
})();

"use strict";
/* The Inside tab: one or two runs, one step of each, and a view that asks one question of them.

   A view is a function(place, side, shared) in `pg.views`; it returns {draw()} and reads what it shows from
   its side: {run, graph, moment, off}. What all sides and views share is in `shared`. */
(() => {
  const pg = window.playground, { h, number } = pg;
  const OBSERVE_MS = 3000, OTHER_MS = 1000, PLAY_MS = 350;
  pg.views = {};

  const VIEWS = [
    ["diagram", "Diagram", "The architecture with one quantity at each of its parts, layer by layer. Click a part to see more of it."],
    ["curves", "Over time", "The same quantity as it develops, one line per layer."],
    ["heads", "Heads", "Each square is one head: row by row the token that looks, column by column the tokens it looks at. Bright means much."],
    ["lens", "Logit lens", "What the model would say if it stopped after each layer: the likeliest next token, brighter the likelier the right one is."],
    ["ablate", "Switch off", "Switch off heads, MLPs or whole layers, and see what is lost in the loss and in the text."],
  ];
  const WITH_QUANTITY = ["diagram", "curves"];

  /* ---- numbers ---- */

  pg.short = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size >= 1e5 || size < 1e-3) return Number(value).toExponential(1).replace("e+", "e");
    return size >= 100 ? String(Math.round(value)) : Number(value).toPrecision(size >= 1 ? 3 : 2);
  };

  /* From a value to 0 … 1 and back to a colour: logarithmic where ratios matter, from 0 to `top` where there is one. */
  pg.scaleOf = (quantity, values) => {
    const finite = values.filter((v) => v !== null && v !== undefined && Number.isFinite(v) && (quantity.scale !== "log" || v > 0));
    const bend = quantity.scale === "log" ? Math.log : (v) => v;
    let low = quantity.top ? Math.min(0, ...finite) : finite.reduce((a, b) => Math.min(a, b), Infinity), high = quantity.top ?? finite.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!finite.length) [low, high] = [quantity.scale === "log" ? 0.1 : 0, 1];
    const [from, to] = [bend(low), bend(high)];
    const at = (v) => (v === null || v === undefined || (quantity.scale === "log" && v <= 0) ? 0 : to > from ? Math.max(0, Math.min(1, (bend(v) - from) / (to - from))) : 0.5);
    return { low, high, at, colour: (v) => `rgb(${pg.cividis(at(v)).join(" ")})`, ink: (v) => (at(v) > 0.52 ? "#10131a" : "#ffffff") };
  };

  pg.layerColour = (layer, n) => `rgb(${pg.cividis((document.body.classList.contains("dark") ? 0.3 : 0.05) + 0.75 * (n > 1 ? layer / (n - 1) : 0.3)).join(" ")})`;

  /* ---- the panel ---- */

  const side = (run) => ({ run, graph: null, moments: null, moment: null, listed: "", shown: "", problem: "", busy: false, again: false, view: null, made: "", off: new Set() });

  pg.kinds.inside = (root) => {
    const shared = { view: "diagram", quantity: "stream_rms", step: null, text: "", chosen: null, axis: "step", logX: false, logY: null, smooth: 0, quantities: {}, choose, redraw };
    let a = null, b = null, playing = 0, otherTimer = 0, observed = 0, sentences = "", listed = "", probed = null;

    const empty = h("div", { class: "pg-empty" });
    const said = h("ul", { class: "pg-observations", "aria-label": "what stands out" });
    const views = h("div", { class: "pg-views", role: "tablist", "aria-label": "views" }, ...VIEWS.map(([name, label]) => h("button", { type: "button", role: "tab", "data-view": name, onclick: () => { shared.view = name; redraw(true); } }, label)));
    const quantity = h("select", { id: "inside-quantity", "aria-label": "quantity", onchange: () => { shared.quantity = quantity.value; shared.logY = null; redraw(); } });
    const other = h("select", { id: "inside-other", "aria-label": "a second run beside this one", onchange: () => beside(other.value) }, h("option", { value: "" }, "no other run"));
    const about = h("p", { class: "pg-about" }), sides = h("div", { class: "pg-sides" }), detail = h("div", { class: "pg-detail", hidden: true });
    const play = h("button", { type: "button", class: "pg-button", id: "inside-play", onclick: () => (playing ? stop() : begin()) }, "Play");
    const slider = h("input", { type: "range", min: "0", max: "0", value: "0", id: "inside-step", "aria-label": "step to look at" });
    const at = h("span", { class: "pg-step-words", "aria-live": "off" }), live = h("button", { type: "button", class: "pg-button pg-live", id: "inside-live", onclick: () => { stop(); go(null); } }, "Live");
    const kept = h("p", { class: "pg-faint pg-kept" });
    const time = h("div", { class: "pg-time" }, play, slider, at, live);
    const full = h("div", { hidden: true },
      pg.head("What stands out", "Plain observations, each by a rule with a stated threshold; a click shows where it comes from."), said,
      h("div", { class: "pg-inside-tools pg-tools" }, views, h("label", { class: "pg-quantity" }, "show ", quantity), h("label", {}, "beside ", other)), about, sides, detail, time, kept);
    root.append(empty, full);

    const both = () => [a, b].filter(Boolean);

    /* ---- time ---- */

    const steps = () => (a && a.moments ? a.moments.steps : []);
    function go(step) {
      shared.step = step;
      showTime();
      both().forEach(refresh);
    }
    function showTime() {
      const all = steps(), i = shared.step === null ? all.length - 1 : all.findLastIndex((step) => step <= shared.step);
      slider.max = Math.max(0, all.length - 1);
      slider.value = Math.max(0, i);
      slider.disabled = play.disabled = all.length < 2;
      const running = a && ["running", "starting", "queued"].includes(a.run.status.state);
      const shown = a && a.moment ? a.moment.step : all[i];
      at.textContent = all.length ? `step ${number(shared.step === null ? shown : all[Math.max(0, i)])}${shared.step === null && running ? ", live" : ""}` : "";
      live.textContent = running ? "Live" : "Last";
      live.classList.toggle("pg-on", shared.step === null);
      slider.setAttribute("aria-valuetext", at.textContent);
    }
    function begin() {
      const all = steps();
      if (all.length < 2) return;
      let i = shared.step === null || shared.step >= all.at(-1) ? 0 : all.findIndex((step) => step >= shared.step);
      play.textContent = "Stop playing";
      const next = () => {
        const now = steps();
        if (!pg.visible(root) || i >= now.length) return stop();
        go(now[i++]);
      };
      next();
      playing = setInterval(next, PLAY_MS);
    }
    function stop() {
      clearInterval(playing);
      playing = 0;
      play.textContent = "Play";
    }
    slider.addEventListener("input", () => { stop(); go(steps()[Number(slider.value)] ?? null); });

    /* ---- what is fetched ---- */

    /* The text on which a side is looked at, where it is not the one that the run records. */
    function textFor(s) {
      const wanted = shared.text || (s === b && a ? a.run.status.probe_text : "");
      return wanted && wanted !== s.run.status.probe_text ? wanted : "";
    }
    const needsMaps = () => shared.view === "heads" || (shared.chosen && shared.chosen.kind === "attention");

    async function refresh(s) {
      if (s.busy) { s.again = true; return; }
      s.busy = true;
      const base = `live/runs/${encodeURIComponent(s.run.id)}`;
      try {
        s.graph ??= await pg.get(`${base}/graph`);
        const text = (s.text = textFor(s)), words = text ? `text=${encodeURIComponent(text)}` : "", probe = s.run.series.probe, saved = s.run.series.checkpoint;
        const news = `${s.run.generation} ${text} ${s.run.status.probe_text} ${probe ? probe.step.length : 0} ${text && saved ? saved.step.length : 0}`;
        if (news !== s.listed || (s.moments && s.moments.busy)) {
          s.moments = await pg.get(`${base}/moments?${words}`);
          if (s.moments.busy) setTimeout(() => both().includes(s) && refresh(s), 800);
          s.listed = news;
        }
        const at = shared.step === null ? "" : `&step=${shared.step}`, maps = needsMaps() ? "&maps=1" : "";
        const shown = `${at} ${text} ${shared.step === null ? news : ""} ${s.moments.steps.length}`;
        if (shown !== s.shown || (maps && s.moment && s.moment.maps === undefined)) {
          const moment = await pg.get(`${base}/moment?${words}${at}${maps}`);
          if (moment && moment.problem) throw new Error(moment.problem);
          s.moment = moment;
          s.shown = shown;
        }
        s.problem = s.moment ? "" : s.run.status.state === "queued" ? "This run waits in the queue; there is something to see from its first step." : "Nothing has been recorded yet; the first look comes with the first step.";
      } catch (error) {
        const busy = error.status === 503; // what is shown stays, and it is asked again
        if (busy) setTimeout(() => both().includes(s) && refresh(s), 1500);
        if (!busy || !s.moment) { s.problem = error.message; s.moment = null; }
        s.shown = "";
      } finally {
        s.busy = false;
      }
      if (!both().includes(s)) return;
      drawSide(s);
      if (s === a) showTime(), showKept();
      if (s.again) { s.again = false; refresh(s); }
    }

    async function observe() {
      if (!a || Date.now() - observed < OBSERVE_MS) return;
      observed = Date.now();
      const run = a.run;
      try {
        const found = await pg.get(`live/runs/${encodeURIComponent(run.id)}/observations`);
        if (!a || a.run !== run || JSON.stringify(found) === sentences) return;
        sentences = JSON.stringify(found);
        said.replaceChildren(...(found.length ? found.map((each) => h("li", { "data-rule": each.name, "data-weight": each.weight }, h("button", { type: "button", title: `Rule: ${each.rule}`, onclick: () => follow(each) }, each.sentence))) : [h("li", { class: "pg-faint" }, "Nothing stands out yet.")]));
      } catch (error) { /* the bar says that the playground does not answer */ }
    }
    function follow(each) {
      if (each.view === "train") {
        [...document.querySelectorAll('#tabs button[role="tab"]')].find((button) => button.textContent.trim() === "Train")?.click();
        return;
      }
      shared.view = each.view;
      if (each.quantity) shared.quantity = each.quantity;
      redraw(true);
      views.scrollIntoView({ block: "nearest", behavior: "smooth" });
    }

    /* ---- a second run ---- */

    async function offer() {
      if (!pg.visible(root) || !a) return;
      try {
        const runs = (await pg.get("live/runs")).filter((run) => run.id !== a.run.id);
        const names = JSON.stringify(runs.map((run) => [run.id, run.name]));
        if (names === listed) return;
        listed = names;
        const chosen = b ? b.run.id : "";
        other.replaceChildren(h("option", { value: "" }, "no other run"), ...runs.map((run) => h("option", { value: run.id }, run.name)));
        other.value = chosen;
      } catch (error) { /* tried again when the list is opened */ }
    }
    other.addEventListener("pointerdown", offer);
    other.addEventListener("focus", offer);

    function beside(id) {
      clearTimeout(otherTimer);
      b = id ? side({ ...pg.fresh(id) }) : null;
      arrange();
      drawSide(a);
      if (b) pollOther(b);
    }
    async function pollOther(s) {
      clearTimeout(otherTimer);
      if (s !== b) return;
      if (pg.visible(root)) {
        try {
          const answer = await pg.asked(s.run);
          if (s !== b) return;
          if (answer.gone) { other.value = ""; return beside(""); }
          const before = s.run.series.probe ? s.run.series.probe.step.length : -1, first = !s.run.status;
          pg.merge(s.run, answer);
          if (first || answer.reset || (s.run.series.probe ? s.run.series.probe.step.length : 0) !== before) refresh(s);
        } catch (error) { /* tried again */ }
      }
      if (s === b) otherTimer = setTimeout(() => pollOther(s), OTHER_MS);
    }

    /* ---- drawing ---- */

    function arrange() {
      sides.classList.toggle("pg-two-sides", Boolean(b));
      sides.replaceChildren(...both().map((s) => {
        s.title = h("div", { class: "pg-side-title" });
        s.place = h("div", { class: "pg-view" });
        s.words = h("div", { class: "pg-wrote" });
        s.made = "";
        return h("section", { class: "pg-inside-side", "data-side": s === a ? "a" : "b" }, s.title, s.place, s.words);
      }));
    }

    /* Values of one quantity over all that both runs recorded, for colours and axes that do not jump. */
    shared.range = (quantity) => pg.scaleOf(quantity, both().flatMap((s) => everyValue(s, quantity.name)));
    shared.sides = both;
    function everyValue(s, name) {
      const probe = s.run.series.probe, rows = probe ? probe.values : [], cache = (s.extremes ??= {});
      const key = `${s.run.generation} ${rows.length}`;
      if (cache[name]?.key !== key) cache[name] = { key, ends: ends(rows.flatMap((row) => numbersOf(row[name])), shared.quantities[name].scale) };
      return [...cache[name].ends, ...(s.moment ? numbersOf(s.moment.values[name]) : [])];
    }
    const numbersOf = (nodes) => (nodes ? Object.values(nodes).flat(2) : []);
    function ends(values, scale) {
      let low = Infinity, high = -Infinity;
      for (const v of values) if (v !== null && Number.isFinite(v) && (scale !== "log" || v > 0)) { low = Math.min(low, v); high = Math.max(high, v); }
      return low <= high ? [low, high] : [];
    }

    function offerQuantities() {
      const all = a.graph.quantities;
      shared.quantities = Object.fromEntries(all.map((q) => [q.name, q]));
      if (quantity.childElementCount) return;
      const groups = [...new Set(all.map((q) => q.group))];
      quantity.replaceChildren(...groups.map((group) => h("optgroup", { label: group }, ...all.filter((q) => q.group === group).map((q) => h("option", { value: q.name }, q.label)))));
    }

    function drawSide(s) {
      if (!s.graph || !s.run.status) return;
      if (s === a) offerQuantities();
      if (!shared.quantities[shared.quantity]) return;
      if (s.made !== shared.view) {
        s.made = shared.view;
        s.place.replaceChildren();
        s.place.className = `pg-view pg-view-${shared.view}`;
        s.view = pg.views[shared.view](s.place, s, shared);
      }
      const own = textFor(s), step = s.moment ? `step ${number(s.moment.step)}` : "";
      s.title.replaceChildren(h("strong", {}, s.run.status.name), h("code", {}, s.graph.formulas.join("   ")), h("span", {}, own && s.moment ? `${step}, from a checkpoint` : step), h("span", { class: "pg-exports" }, ...exportsOf(s)));
      if (s.problem) {
        s.made = "";
        s.place.replaceChildren(h("p", { class: "pg-empty" }, s.problem));
      } else s.view.draw();
      wrote(s);
      if (s === a) showAbout();
      if (shared.chosen && shared.chosen.side === s) drawDetail();
      else if (shared.chosen && !both().includes(shared.chosen.side)) choose(null);
    }
    function exportsOf(s) {
      const name = () => `${s.run.status.name}-${shared.view}-${s.moment ? s.moment.step : 0}`;
      return [h("button", { type: "button", class: "pg-export", onclick: () => s.view && pg.saveCsv(name(), s.view.table()) }, "CSV"), h("button", { type: "button", class: "pg-export", onclick: () => pg.savePng(name(), s.place, s.view?.picture?.()) }, "PNG"),
        pg.download(`live/runs/${s.run.id}/measures.csv`, { class: "pg-export", title: "everything measured in this run, all steps" }, "all measures", s.run.status.private)];
    }

    /* The text of the sample nearest before the step shown. */
    function wrote(s) {
      const sample = s.run.series.sample;
      s.words.hidden = !sample || shared.view === "ablate";
      if (s.words.hidden || !s.moment) return;
      const i = Math.max(0, sample.step.findLastIndex((step) => step <= s.moment.step)), text = (sample.prompt[i] + sample.text[i]).trim();
      const words = `It wrote, at step ${number(sample.step[i])}: `;
      if (s.words.textContent !== words + text) s.words.replaceChildren(h("span", { class: "pg-faint" }, words), h("span", { class: "pg-wrote-text" }, text));
    }

    function showAbout() {
      const q = shared.quantities[shared.quantity], [, , words] = VIEWS.find(([name]) => name === shared.view), shows = WITH_QUANTITY.includes(shared.view);
      quantity.parentElement.hidden = !shows;
      quantity.value = shared.quantity;
      for (const button of views.children) button.setAttribute("aria-selected", button.dataset.view === shared.view);
      const line = shows ? [h("span", {}, q.help, " "), h("code", {}, q.formula), h("span", { class: "pg-faint" }, ` ${q.paper}`)] : [h("span", {}, words)];
      const tokens = a.moment ? [h("br"), h("span", { class: "pg-faint" }, `On ${number(a.moment.tokens.length)} tokens: `), h("code", { class: "pg-probe-text" }, a.moment.tokens.map(pg.visibleToken).join(""))] : [];
      const now = line.map((e) => e.textContent).join("") + (a.moment ? a.moment.tokens.join("") : "");
      if (about.dataset.said !== now) { about.dataset.said = now; about.replaceChildren(...line, ...tokens); }
    }
    function showKept() {
      const m = a.moments, probe = a.run.series.probe;
      if (!m) return;
      const recorded = probe ? new Set(probe.step.filter((_, i) => probe.text_hash[i] === m.hash)).size : 0;
      const thinned = m.recorded && m.steps.length < recorded ? ` Of ${number(recorded)} recorded, ${number(m.steps.length)} are kept, evenly spread: a run's may take ${m.budget_mb} MB.` : "";
      kept.textContent = m.busy ? `This text is new: ${m.busy.words}.` : (m.recorded ? "The slider moves through what the run has recorded." : "This text is yours alone: the slider moves through the run's checkpoints.") + thinned;
    }

    function redraw(fetches = false) {
      if (!a || !a.graph) return;
      for (const s of both()) fetches || needsMaps() ? (drawSide(s), refresh(s)) : drawSide(s);
    }

    /* ---- one part, in detail ---- */

    function choose(chosen) {
      shared.chosen = chosen;
      detail.hidden = !chosen;
      if (!chosen) { detail.replaceChildren(); redraw(); return; }
      redraw(needsMaps());
      drawDetail();
      requestAnimationFrame(() => detail.scrollIntoView({ block: "nearest", behavior: "smooth" }));
    }
    function drawDetail() {
      const { side: s } = shared.chosen;
      pg.drawDetail(detail, s, shared, () => choose(null));
    }

    /* ---- life ---- */

    pg.lookAt = (text) => {
      shared.text = (text || "").slice(0, 2000);
      both().forEach(refresh);
    };
    pg.lookAgain = () => {
      for (const s of both()) { s.listed = ""; refresh(s); }
    };
    pg.onTheme.push(() => both().forEach(drawSide));

    function update(run, change) {
      if (!run.status) {
        stop();
        a = b = null; shared.text = ""; shared.step = null;
        full.hidden = true; empty.hidden = false;
        empty.replaceChildren(h("h3", {}, "Nothing to look into yet"), h("p", {}, run.problem || "Press Train in Design, and see here what happens inside the model while it learns. Or open a run in Runs."));
        return;
      }
      if (!a || a.run !== run) {
        stop();
        a = side(run); shared.text = ""; shared.step = null; shared.chosen = null; detail.hidden = true; sentences = ""; observed = 0; listed = "";
        if (b && b.run.id === run.id) b = null;
        arrange(); offer();
        if (b) refresh(b);
      }
      full.hidden = false; empty.hidden = true;
      if (change.reset) { a.listed = a.shown = ""; a.graph = a.graph && change.kinds.size ? null : a.graph; }
      if (shared.text && shared.text === run.status.probe_text) { // now it is the run's own
        shared.text = a.listed = a.shown = "";
        refresh(a);
      }
      if (b && probed !== run.status.probe_text) refresh(b); // both are looked at on one text
      probed = run.status.probe_text;
      if (change.reset || change.kinds.has("probe") || (change.kinds.has("checkpoint") && textFor(a)) || (a.moments && !a.moments.busy && a.moments.text !== run.status.probe_text && !textFor(a))) refresh(a);
      else showTime();
      observe();
    }
    return { update };
  };
})();

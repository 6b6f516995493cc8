"use strict";
/* What all panels share: the open run, the one poller that keeps it up to date, and small helpers.

   A panel is a function(root, context) registered in `kinds`; it may return {update(run, change)}.
   Text from people goes through textContent only. */
window.playground = (() => {
  if (window.playground) return window.playground;

  const EAGER_POLL_MS = 120, POLL_MS = 400, IDLE_POLL_MS = 2000, SLOW_MS = 5000;
  const ACTIVE = ["queued", "starting", "running"];
  const kinds = {};
  const panels = [];
  let run = fresh(null), timer = 0, failures = 0;

  function fresh(id) {
    return { id, mine: false, generation: -1, cursor: 0, status: null, series: {}, problem: "" };
  }

  /* ---- helpers ---- */

  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "class") element.className = value;
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  const number = (value, digits = 0) =>
    value === null || value === undefined ? "–" : Number(value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

  function compact(value) {
    if (value === null || value === undefined) return "–";
    for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(value) >= size) return `${(value / size).toPrecision(3)} ${unit}`;
    return String(Math.round(value * 100) / 100);
  }

  function duration(seconds) {
    if (seconds === null || seconds === undefined) return "–";
    const s = Math.round(seconds);
    if (s < 1) return seconds > 0 ? "under 1 s" : "0 s";
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
    return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  }

  const visibleToken = (text) =>
    text.replace(/ /g, "·").replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/[\u0000-\u001f\u007f]/g, "␣");

  const css = (name) => getComputedStyle(document.querySelector(".gradio-container") || document.body).getPropertyValue(name).trim();

  const address = (path) => new URL(path, document.baseURI);

  /* identify.js has found out who looks. */
  const who = () => window.playgroundVisitor || { key: null, host: null };
  const PAGE = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const headers = () => ({ ...(who().key ? { "X-Playground-Key": who().key } : {}), ...(who().host ? { "X-Playground-Host": who().host } : {}), "X-Playground-Page": PAGE });

  async function get(path) {
    const response = await fetch(address(path), { headers: headers() });
    const body = await response.json();
    if (!response.ok) throw Object.assign(new Error(body.error || response.statusText), { status: response.status });
    return body;
  }

  /* A link to a file. That of a private run is for whoever shows the key, which a plain link cannot. */
  function download(path, attributes, text, guarded) {
    const fetched = async (event) => {
      event.preventDefault();
      const response = await fetch(address(path), { headers: headers() });
      if (!response.ok) return;
      const named = /filename="?([^";]+)/.exec(response.headers.get("content-disposition") || ""), url = URL.createObjectURL(await response.blob());
      h("a", { href: url, download: named ? named[1] : "" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    };
    return h("a", { href: address(path).href, download: "", ...attributes, ...(guarded ? { onclick: fetched } : {}) }, text);
  }

  /* Cividis, told apart also by colour-blind people and in grey; 0 … 1 to [r, g, b]. */
  const CIVIDIS = [[0, 32, 77], [0, 50, 110], [51, 68, 107], [79, 87, 108], [102, 105, 112], [124, 123, 120], [148, 142, 119], [174, 163, 113], [201, 186, 102], [229, 209, 82], [255, 234, 70]];
  function cividis(t) {
    const x = Math.max(0, Math.min(1, t)) * (CIVIDIS.length - 1), i = Math.min(Math.floor(x), CIVIDIS.length - 2), f = x - i;
    return CIVIDIS[i].map((c, k) => Math.round(c + (CIVIDIS[i + 1][k] - c) * f));
  }

  /* ---- the tip that follows the pointer ---- */

  let tip = null;
  function showTip(event, ...content) {
    if (!tip) document.body.append((tip = h("div", { class: "pg-tip", role: "status" })));
    tip.replaceChildren(...content);
    tip.style.display = "block";
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18}px`;
  }
  function hideTip() {
    if (tip) tip.style.display = "none";
  }

  /* ---- panels ---- */

  const visible = (root) => !document.hidden && root.isConnected && root.offsetParent !== null;

  function mount(kind, context) {
    const root = context.element.querySelector(".pg");
    const panel = { root, stale: true, ...(kinds[kind](root, context) || {}) };
    if (!panel.update) return;
    panels.push(panel);
    new IntersectionObserver(() => refresh(panel, { reset: false, kinds: new Set() })).observe(root);
    refresh(panel, { reset: true, kinds: new Set() });
  }

  function refresh(panel, change) {
    if (!visible(panel.root) && !panel.always) {
      panel.stale = panel.stale || change.reset || change.kinds.size > 0;
      return;
    }
    const full = panel.stale || change.reset;
    if (!full && change.kinds.size === 0 && !change.status) return;
    panel.stale = false;
    panel.update(run, { ...change, reset: full });
  }

  const refreshAll = (change) => panels.forEach((panel) => refresh(panel, change));

  /* ---- the open run ---- */

  function open(id, mine, missing) {
    const previous = run.id;
    if (id !== run.id) run = fresh(id);
    run.mine = Boolean(mine);
    run.problem = missing ? `There is no run ${missing} here. Design one and press Train, or choose one in Runs.` : "";
    document.body.dataset.runMine = run.mine ? "yes" : "no";
    const url = new URL(location.href);
    if (id) url.searchParams.set("run", id);
    else if (!missing) url.searchParams.delete("run");
    const another = id && previous && id !== previous;
    history[another ? "pushState" : "replaceState"](history.state, "", url);
    showState();
    refreshAll({ reset: true, kinds: new Set() });
    poll();
  }

  function showState() {
    document.body.dataset.runState = run.status ? run.status.state : run.id ? "loading" : "none";
    document.body.dataset.task = run.status && run.status.source.startsWith("task:") ? "yes" : "no";
  }

  /* Put what is new of a run into what is known of it. */
  function merge(run, answer) {
    if (answer.reset) run.series = {};
    for (const [kind, columns] of Object.entries(answer.events)) {
      const mine = (run.series[kind] ??= {});
      for (const [name, values] of Object.entries(columns)) mine[name] = mine[name] ? mine[name].concat(values) : values;
    }
    Object.assign(run, { status: answer.run, generation: answer.generation, cursor: answer.cursor });
  }

  const asked = (run) => get(`live/runs/${encodeURIComponent(run.id)}?generation=${run.generation}&cursor=${run.cursor}`);

  function apply(answer) {
    merge(run, answer);
    showState();
    refreshAll({ reset: answer.reset, kinds: new Set(Object.keys(answer.events)), status: true });
  }

  async function poll() {
    clearTimeout(timer);
    const before = run;
    if (!before.id || document.hidden) return;
    let wait = IDLE_POLL_MS;
    try {
      const answer = await asked(before);
      if (before !== run) return;
      if (answer.gone) {
        run.problem = "This run no longer exists.";
        run.status = null;
        document.body.dataset.runState = "none";
        refreshAll({ reset: true, kinds: new Set(), status: true });
        return;
      }
      failures = 0;
      run.problem = "";
      apply(answer);
      wait = answer.more ? 0 : !ACTIVE.includes(answer.run.state) ? IDLE_POLL_MS : run.series.progress || answer.run.state === "queued" ? POLL_MS : EAGER_POLL_MS;
      if (!answer.more) wait = Math.max(wait, answer.poll_ms || 0); // the room is full
    } catch (error) {
      if (before !== run) return;
      failures += 1;
      run.problem = "The playground does not answer; trying again.";
      wait = SLOW_MS;
      refreshAll({ reset: false, kinds: new Set(), status: true });
    }
    clearTimeout(timer);
    timer = setTimeout(poll, wait);
  }

  addEventListener("popstate", () => location.reload()); // back to the run that was open before

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      poll();
      refreshAll({ reset: false, kinds: new Set() });
    }
  });

  kinds.wire = (root, { props, watch }) => {
    const take = () => props.value && open(props.value.run, props.value.mine, props.value.missing);
    watch("value", take);
    if (props.value && props.value.run) take();
    else showState(); // the address keeps its ?run= until the server has read it
  };

  /* ---- the bar ---- */

  const STATE_WORDS = {
    queued: "waiting", starting: "starting", running: "training", paused: "paused", stopped: "stopped", finished: "finished",
    diverged: "diverged", interrupted: "interrupted", failed: "failed",
  };

  function stateText(status) {
    if (status.state === "queued") return status.place ? `waiting, number ${status.place} in the queue` : "waiting";
    if (status.wanted === "pause" && status.state === "running") return "pausing";
    if (status.wanted === "stop" && status.state === "running") return "stopping";
    return STATE_WORDS[status.state] || status.state;
  }

  function share(status) {
    const parts = [];
    if (status.max_steps) parts.push(status.step / status.max_steps);
    if (status.max_seconds) parts.push(status.seconds / status.max_seconds);
    return Math.min(1, Math.max(0, ...parts));
  }

  kinds.status = (root) => {
    const name = h("span", { class: "pg-run-name" }), state = h("span", { class: "pg-state" }), dot = h("span", { class: "pg-dot" });
    const bar = h("div", { class: "pg-bar-fill" });
    const line = h("span", { class: "pg-status-line" }), progress = h("div", { class: "pg-bar", role: "progressbar", "aria-label": "progress of the open run", "aria-valuemin": "0", "aria-valuemax": "100" }, bar);
    root.append(h("strong", { class: "pg-brand" }, "GPT playground"), h("span", { class: "pg-status-run" }, dot, name, state), line, progress);
    return {
      always: true,
      update(run) {
        const status = run.status;
        root.dataset.state = status ? status.state : "none";
        progress.style.visibility = status ? "visible" : "hidden";
        if (!status) {
          name.textContent = run.problem || (run.id ? "Opening the run" : "No run is open");
          state.textContent = line.textContent = "";
          return;
        }
        name.textContent = status.by ? `${status.name} by ${status.by}` : status.name;
        name.title = status.private ? "Private: only its owner and the host see it." : "";
        root.dataset.private = status.private ? "yes" : "no";
        state.textContent = stateText(status);
        const of = status.max_steps ? `step ${number(status.step)} of ${number(status.max_steps)}` : `step ${number(status.step)}, ${duration(status.seconds)} of ${duration(status.max_seconds)}`;
        const soon = status.state === "queued" && typeof status.starts_in_s === "number" ? `starts in about ${duration(status.starts_in_s)}` : null;
        line.textContent = run.problem || soon || (status.state === "running" && status.left_s !== null ? `${of} · ${duration(status.left_s)} left` : of);
        bar.style.width = `${100 * share(status)}%`;
        progress.setAttribute("aria-valuenow", Math.round(100 * share(status)));
      },
    };
  };

  kinds.progress = (root) => {
    const empty = h("div", { class: "pg-empty" }, h("h3", {}, "Nothing is training yet"), h("p", {}, "Press Train in Design, and watch it here. Or open a run from the Runs tab."));
    window.playground.askPlace = h("div");
    const reason = h("p", { class: "pg-reason" }), log = h("pre", { class: "pg-log" }), facts = h("dl", { class: "pg-facts" });
    const fact = (label) => {
      const value = h("dd", {}, "–");
      facts.append(h("div", {}, h("dt", {}, label), value));
      return value;
    };
    const parts = { step: fact("step"), time: fact("training time"), left: fact("time left"), train: fact("training loss, nats per token"), val: fact("held-out loss, nats per token"), bits: fact("the same, bits per byte"), speed: fact("speed, tokens per second"), params: fact("parameters") };
    root.append(window.playground.askPlace, empty, facts, reason, log);
    return {
      update(run) {
        const status = run.status;
        empty.style.display = status ? "none" : "";
        facts.style.display = status ? "" : "none";
        reason.textContent = log.textContent = "";
        if (!status) return;
        parts.step.textContent = status.max_steps ? `${number(status.step)} of ${number(status.max_steps)}` : number(status.step);
        parts.time.textContent = duration(status.seconds);
        parts.left.textContent = status.state === "running" ? duration(status.left_s) : "–";
        parts.train.textContent = number(status.train_loss, 3);
        parts.val.textContent = number(status.final_val_loss ?? status.val_loss, 3);
        const bits = run.series.validation ? run.series.validation.bits_per_byte.at(-1) : null;
        parts.bits.parentElement.hidden = status.source.startsWith("task:");
        parts.bits.textContent = number(bits, 3);
        parts.speed.textContent = number(status.tokens_per_s);
        parts.params.textContent = number(status.n_params);
        const notices = run.series.notice ? run.series.notice.text.slice(-1) : [];
        const words = status.state === "running" || status.state === "finished" ? notices : [status.reason, ...notices].filter(Boolean);
        reason.textContent = words.map((word) => word[0].toUpperCase() + word.slice(1)).join(". ");
        log.textContent = status.log || "";
      },
    };
  };

  async function copyLink(wire) {
    const url = new URL(address("."));
    url.search = "";
    if (wire && wire.run) url.searchParams.set("run", wire.run);
    const button = document.getElementById("copy-link");
    try {
      await navigator.clipboard.writeText(url.href);
      button.textContent = "Link copied";
    } catch {
      window.prompt("Copy this address:", url.href);
    }
    setTimeout(() => (button.textContent = "Copy link"), 1500);
    return [];
  }

  /* Plotly is large: it is fetched when the page has settled, so that the first curve need not wait for it. */
  setTimeout(() => window.playground.plotly && window.playground.plotly().catch(() => {}), 1200);

  return { kinds, who, download, mount, fresh, merge, asked, h, number, compact, duration, visibleToken, css, cividis, get, address, visible, showTip, hideTip, stateText, copyLink, onTheme: [] };
})();

/* Panels that paint their own colours do it again when light turns to dark. */
new MutationObserver(() => window.playground.onTheme.forEach((paint) => paint())).observe(document.body, { attributes: true, attributeFilter: ["class"] });

/* The Runs tab: a table to sort and tick, and the losses of the ticked runs over each other. */
/** @import { Context, Mount } from "./open_run.js" */
/** @import { Status } from "./series.js" */

import { button, h, head, onTheme, scroller, select, setChildren, setText, visible } from "./dom.js";
import { exportButtons } from "./export.js";
import { compact, duration, number } from "./format.js";
import { A_PAGE, folded, freshList, hasWords, leftOut, mergeList, pageOf } from "./listing.js";
import { address, download, get, getAtLength, messageOf, who } from "./net.js";
import { layout, PLOT_CONFIG, plotly, plotPlace, plotRows } from "./plot.js";
import { AXIS_OPTIONS } from "./series.js";
import { stateText } from "./status.js";

const REFRESH_MS = 1500;
const MOST_DRAWN = 12; // by the server
const MOST_GROUPED = 32;
const ROOM_MS = 10_000;

/**
 * @typedef {Status & {
 *   mine: boolean, created_at: number, differs: string[], no_family: string, experiment: {id: string, title: string} | null,
 * }} Listed
 * @typedef {{group: string, title: string, runs: Listed[]}} Group the runs of an experiment
 */
/**
 * @typedef {{
 *   key: string, label: string, value: (run: Listed) => string | number, show: (run: Listed) => string,
 *   right?: boolean,
 * }} Column `value` is what it is sorted by; Infinity always stands last
 */

/** @param {Listed} run */
const lossOf = (run) => run.val_loss ?? run.eval_loss;
/** @param {Listed} run */
const steps = (run) => (run.max_steps ? `${number(run.step)} of ${number(run.max_steps)}` : number(run.step));
/** @param {Listed} run */
const begun = (run) => new Date(run.created_at * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });

/** @param {Listed} run */
const originText = ({ began_from: from }) =>
  from ? `← ${from.name}${from.step === null ? "" : `, step ${number(from.step)}`}` : "";

/** @type {Column[]} */
const COLUMNS = [
  {
    key: "name",
    label: "run",
    value: (r) => r.name.toLowerCase(),
    show: (r) => [r.name, r.private ? "(private)" : "", originText(r)].filter(Boolean).join(" "),
  },
  {
    key: "by",
    label: "by",
    value: (r) => `${r.mine ? 0 : 1} ${r.by.toLowerCase()}`,
    show: (r) => (r.mine ? (r.by ? `${r.by} (you)` : "you") : r.by || "–"),
  },
  { key: "state", label: "state", value: (r) => r.state, show: stateText },
  { key: "step", label: "step", value: (r) => r.step, show: steps, right: true },
  {
    key: "val",
    label: "held-out loss, nats per token",
    value: (r) => lossOf(r) ?? Infinity,
    show: (r) => (r.val_loss === null && r.eval_loss !== null ? "≈ " : "") + number(lossOf(r), 3),
    right: true,
  },
  {
    key: "train",
    label: "training loss, nats per token",
    value: (r) => r.train_loss ?? Infinity,
    show: (r) => number(r.train_loss, 3),
    right: true,
  },
  { key: "params", label: "parameters", value: (r) => r.n_params, show: (r) => compact(r.n_params), right: true },
  { key: "seconds", label: "training time", value: (r) => r.seconds, show: (r) => duration(r.seconds), right: true },
  { key: "created", label: "begun", value: (r) => r.created_at, show: begun },
  {
    key: "differs",
    label: "differs from the default in",
    value: (r) => JSON.stringify(r.differs),
    show: (r) => r.differs.join(", ") || "nothing",
  },
];

/** @typedef {{run?: string | null, name?: string | null}} Chosen */

/**
 * Gradio's Delete asks first; what is kept is marked.
 * @param {unknown} visitor
 * @param {Chosen | null} table
 * @param {unknown} wired
 */
export function confirmDelete(visitor, table, wired) {
  const name = table?.name ? `“${table.name}”` : "this run";
  const words = `Delete ${name} with all its checkpoints? This cannot be undone.`;
  const sure = !table?.run || window.confirm(words);
  return [visitor, sure ? table : { ...table, kept: true }, wired];
}

/** @type {Mount} */
export function runs(root, { props, trigger }) {
  const headings = h("tr");
  const body = h("tbody");
  const wrap = scroller("pg-table-wrap", "all runs", h("table", { class: "pg-table" }, h("thead", {}, headings), body));
  const empty = h(
    "div",
    { class: "pg-empty" },
    h("h2", {}, "No runs yet"),
    h("p", {}, "Every run that anybody starts here appears in this table. Press Train in Play to start the first."),
  );
  const search = h("input", {
    type: "search",
    id: "runs-search",
    "aria-label": "search the runs",
    placeholder: "Search: a name, a person, a state or a setting",
  });
  const none = h("p", { class: "pg-faint", hidden: true, role: "status" }, "No run has these words.");
  const pages = pageButtons((to) => {
    page = to;
    showRows();
  });
  const links = h("div", { class: "pg-links" });
  const full = offerToDelete(root, trigger);
  const compared = overlay();
  root.append(
    head(
      "Runs",
      "Click a run to choose it: what can be done with it appears at the bottom. Tick several to compare them.",
    ),
    full,
    empty,
    h("div", { class: "pg-search pg-runs-search" }, search),
    none,
    wrap,
    pages.element,
    links,
    compared.element,
  );
  /** @type {Listed[]} */
  let all = [];
  let list = freshList();
  let page = 0;
  let sort = { key: "created", down: true };
  /** @type {string | null} */
  let chosen = null;
  /** @type {Set<string>} */
  const ticked = new Set();
  /** Experiments whose runs are shown. @type {Set<string>} */
  const unfolded = new Set();

  /* ---- the table ---- */

  function showHeadings() {
    const compare = h("th", { scope: "col" }, h("span", { class: "pg-sr" }, "compare"));
    headings.replaceChildren(compare, ...COLUMNS.map(heading));
  }
  /** @param {Column} column */
  function heading({ key, label, right }) {
    const sorted = sort.key === key;
    const order = sorted ? (sort.down ? "descending" : "ascending") : "none";
    const arrow = sorted ? (sort.down ? " ↓" : " ↑") : "";
    function press() {
      sort = { key, down: sorted ? !sort.down : false };
      page = 0;
      showHeadings();
      showRows();
    }
    return h(
      "th",
      { scope: "col", class: right ? "pg-right" : "", "aria-sort": order },
      h("button", { type: "button", onclick: press }, label, arrow),
    );
  }

  /**
   * Rows are kept and only their texts change, so that nothing jumps under the pointer.
   * @type {Map<string, {tr: HTMLTableRowElement, cells: HTMLTableCellElement[]}>}
   */
  const kept = new Map();
  /** @param {Listed} run */
  function row(run) {
    const { tr, cells } = kept.get(run.id) ?? newRow(run.id);
    tr.dataset.state = run.state;
    tr.classList.toggle("pg-chosen", run.id === chosen);
    const under = run.experiment && !search.value ? `${run.experiment.title}: ` : ""; // which the row above says
    COLUMNS.forEach((column, i) => {
      const text = column.show(run);
      setText(cells[i], i === 0 && under && text.startsWith(under) ? text.slice(under.length) : text);
    });
    return tr;
  }
  /** @param {string} id */
  function newRow(id) {
    const tick = h("input", { type: "checkbox", "aria-label": `compare run ${id}`, checked: ticked.has(id) });
    tick.addEventListener("click", (event) => event.stopPropagation());
    tick.addEventListener("change", () => {
      if (tick.checked) ticked.add(id);
      else ticked.delete(id);
      compare();
    });
    const cells = COLUMNS.map(({ key, right }) => h("td", { class: `pg-cell-${key}${right ? " pg-right" : ""}` }));
    const tr = h("tr", { tabindex: "0", "data-run": id }, h("td", {}, tick), ...cells);
    function open() {
      choose(id);
      trigger("pick", {});
    }
    tr.addEventListener("click", () => choose(id));
    tr.addEventListener("dblclick", open);
    tr.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === tr) open();
    });
    const made = { tr, cells };
    kept.set(id, made);
    return made;
  }

  /**
   * The row that stands for the runs of an experiment.
   * @type {Map<string, {tr: HTMLTableRowElement, show: (group: Group) => void}>}
   */
  const groups = new Map();
  /** @param {Group} group */
  function groupRow(group) {
    const made = groups.get(group.group) ?? newGroupRow(group.group);
    groups.set(group.group, made);
    made.show(group);
    return made.tr;
  }
  /** @param {string} id */
  function newGroupRow(id) {
    const tick = h("input", { type: "checkbox", "aria-label": "compare all runs of this experiment" });
    const toggle = button("", () => {
      if (!unfolded.delete(id)) unfolded.add(id);
      showRows();
    });
    const link = h("a", { href: address(`?experiment=${id}`).href }, "open it");
    const by = h("td", { class: "pg-cell-by" });
    const state = h("td", { class: "pg-cell-state", colspan: String(COLUMNS.length - 2) });
    const name = h("td", { class: "pg-cell-name" }, toggle, " ", link);
    const tr = h("tr", { class: "pg-group", "data-experiment": id }, h("td", {}, tick), name, by, state);
    /** @type {Listed[]} */
    let runs = [];
    tick.addEventListener("change", () => {
      for (const run of runs) {
        if (tick.checked) ticked.add(run.id);
        else ticked.delete(run.id);
        const box = kept.get(run.id)?.tr.querySelector("input");
        if (box) box.checked = tick.checked;
      }
      compare();
    });
    /** @param {Group} group */
    function show(group) {
      runs = group.runs;
      const isOpen = unfolded.has(id);
      setText(toggle, `${isOpen ? "▾" : "▸"} ${group.title}`);
      toggle.setAttribute("aria-expanded", String(isOpen));
      setText(by, /** @type {Column} */ (COLUMNS.find(({ key }) => key === "by")).show(runs[0]));
      const ended = runs.filter((run) => ["finished", "diverged"].includes(run.state)).length;
      setText(state, `experiment: ${number(ended)} of its ${number(runs.length)} runs so far have ended`);
    }
    return { tr, show };
  }

  function showRows() {
    const found = all.filter((run) => hasWords(wordsOf(run), search.value));
    // What is searched for is shown by itself.
    const rows = search.value ? sorted(found, sort) : folded(sorted(found, sort), unfolded);
    const shown = pageOf(rows, page);
    page = shown.page;
    setChildren(
      body,
      shown.rows.map((each) => ("group" in each ? groupRow(each) : row(each))),
    );
    pages.show(shown, rows.length);
    empty.hidden = all.length > 0;
    search.hidden = all.length === 0;
    none.hidden = all.length === 0 || found.length > 0;
    wrap.hidden = found.length === 0;
  }
  search.addEventListener("input", () => {
    page = 0;
    showRows();
  });

  /* ---- the one that is chosen ---- */

  /** @param {string} id */
  function choose(id) {
    chosen = all.some((run) => run.id === id) ? id : null;
    showChosen();
    showRows();
  }
  /** What the buttons below act on; told to Gradio again when its name or state changes. */
  let told = "";
  const name = h("p", { class: "pg-chosen-name", role: "status" });
  function showChosen() {
    const run = all.find(({ id }) => id === chosen) || null;
    const now = JSON.stringify([chosen, run?.name, run?.state, run?.private]);
    if (now === told) return;
    told = now;
    props.value = { run: chosen, name: run?.name ?? null, private: Boolean(run?.private) };
    const hide = document.getElementById("run-private");
    if (hide) hide.textContent = run?.private ? "Show to everybody" : "Make private";
    document.body.dataset.chosen = run ? run.state : "none";
    document.getElementById("runs-chosen")?.prepend(name);
    name.replaceChildren("Chosen: ", h("strong", {}, run?.name ?? ""));
    links.replaceChildren(...(run ? downloads(run) : []));
  }

  /* ---- those that are ticked ---- */

  /** In the order in which they were ticked. */
  const compare = () => compared.draw([...ticked].flatMap((id) => all.filter((run) => run.id === id)));

  /* ---- life ---- */

  let timer = 0;
  let asked = "";
  async function refresh() {
    clearTimeout(timer);
    if (visible(root)) {
      try {
        const asking = JSON.stringify(who());
        if (asking !== asked) list = freshList(); // what may be seen, and is one's own, is another's
        asked = asking;
        const mine = list;
        const change = await get(`live/runs?since=${encodeURIComponent(list.version)}`);
        if (mine === list) mergeList(list, change);
        all = [...list.runs.values()];
        const there = new Set(all.map(({ id }) => id));
        for (const id of kept.keys()) {
          if (there.has(id)) continue;
          kept.delete(id);
          ticked.delete(id);
        }
        if (chosen && !there.has(chosen)) chosen = null;
        showChosen();
        showRows();
        await compare();
      } catch {
        /* the bar says that the playground does not answer */
      }
    }
    timer = setTimeout(refresh, REFRESH_MS);
  }
  showHeadings();
  refresh();
  new IntersectionObserver(refresh).observe(root);
}

/**
 * All that a search looks through.
 * @param {Listed} run
 */
const wordsOf = (run) => [run.id, ...COLUMNS.map((column) => column.show(run))].join(" ");

/**
 * Buttons that turn the pages of the table, shown where there are several.
 * @param {(page: number) => void} turn
 */
function pageButtons(turn) {
  let page = 0;
  const back = button("Previous", () => turn(page - 1));
  const next = button("Next", () => turn(page + 1));
  const where = h("span", { role: "status" });
  const element = h("nav", { class: "pg-pages", "aria-label": "pages of the table", hidden: true }, back, where, next);
  /** @param {{page: number, last: number, first: number}} shown @param {number} n */
  function show(shown, n) {
    page = shown.page;
    element.hidden = shown.last === 0;
    back.disabled = page === 0;
    next.disabled = page === shown.last;
    setText(where, `${number(shown.first + 1)} to ${number(Math.min(shown.first + A_PAGE, n))} of ${number(n)}`);
  }
  return { element, show };
}

/**
 * @param {Listed[]} all
 * @param {{key: string, down: boolean}} sort
 */
function sorted(all, { key, down }) {
  const column = /** @type {Column} */ (COLUMNS.find((each) => each.key === key));
  const way = down ? -1 : 1;
  return [...all].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (x === y) return 0;
    if (x === Infinity || y === Infinity) return x === Infinity ? 1 : -1;
    return x < y ? -way : way;
  });
}

/** @param {Listed} run */
function downloads(run) {
  const why = h("span", { class: "pg-faint", role: "status" });
  const link = (/** @type {string} */ name, /** @type {string} */ text) =>
    download(`live/runs/${run.id}/${name}`, { class: "pg-button" }, text, run.private);
  const explain = () => (why.textContent = why.textContent ? "" : `${run.no_family}.`);
  /** The server writes the folder first, one at a time: the file is fetched once it is there. */
  async function folderReady(/** @type {Event} */ event) {
    event.preventDefault();
    try {
      const ready = await getAtLength(`live/runs/${run.id}/transformers.zip?ready`, (words) => {
        why.textContent = words;
        return why.isConnected;
      });
      if (!ready) return;
      why.textContent = "";
      link("transformers.zip", "").click();
    } catch (error) {
      why.textContent = messageOf(error);
    }
  }
  async function scriptReady(/** @type {Event} */ event) {
    event.preventDefault();
    try {
      const { problem } = await get(`live/runs/${run.id}/train.py?ready`);
      why.textContent = problem ?? "";
      if (!problem) link("train.py", "").click();
    } catch (error) {
      why.textContent = messageOf(error);
    }
  }
  const folder = run.no_family
    ? button("transformers folder: not possible, why?", explain, { "aria-disabled": "true" })
    : download(
        `live/runs/${run.id}/transformers.zip`,
        { class: "pg-button", onclick: folderReady },
        "transformers folder (zip)",
        false,
      );
  return [
    h("span", {}, `${run.name}: `),
    link("weights", "weights (safetensors)"),
    folder,
    link("metrics.csv", "metrics (CSV)"),
    link("config.json", "configuration (JSON)"),
    download(
      `live/runs/${run.id}/train.py`,
      { class: "pg-button", onclick: (/** @type {Event} */ event) => scriptReady(event) },
      "training script (Python)",
      false,
    ),
    why,
  ];
}

/** The plot of the ticked runs: drawn again only where something of it has changed. */
function overlay() {
  const axis = select(AXIS_OPTIONS, { id: "overlay-x", "aria-label": "horizontal axis" });
  const measure = select(
    [
      ["loss", "loss"],
      ["bits", "bits per byte"],
      ["accuracy", "accuracy"],
    ],
    { id: "overlay-y", "aria-label": "what is compared" },
  );
  const group = select([["", "nothing"]], { id: "overlay-group", "aria-label": "setting to group by" });
  const plot = plotPlace("pg-plot-big");
  const element = h("div", { class: "pg-overlay", hidden: true });
  element.append(
    head(
      "The ticked runs",
      "Loss thin: training, smoothed; thick: held out. Grouped: the mean over the runs of each value, from least to largest. Bits per byte compare models whose tokenizers differ; accuracy is that of tasks.",
      h("label", {}, "show ", measure),
      h("label", {}, "over ", axis),
      h("label", {}, "group by ", group),
      exportButtons(
        () => `runs-${measure.value}`,
        element,
        () => plotRows(plot),
      ),
    ),
    plot,
  );
  const verdicts = h("ul", { class: "pg-verdicts", "aria-label": "the ticked runs against the first" });
  element.append(verdicts);
  /** @type {Listed[]} */
  let shown = [];
  let drawn = "";

  /** @param {Listed[]} runs */
  async function draw(runs) {
    shown = runs;
    element.hidden = runs.length === 0;
    const key = runs.length ? JSON.stringify([axis.value, measure.value, group.value, ...runs.map(changing)]) : "";
    if (key === drawn) return;
    drawn = key;
    if (!key) return;
    const ids = runs.map(({ id }) => encodeURIComponent(id)).join(",");
    const path = `live/overlay?x=${axis.value}&y=${measure.value}&group=${group.value}&runs=${ids}`;
    try {
      const [figure, Plotly] = await Promise.all([get(path), plotly()]);
      if (drawn !== key) return; // something else was ticked meanwhile, and its answer is on its way or here
      await Plotly.react(plot, figure.data, look(figure.layout), PLOT_CONFIG);
      offerGroups(figure.differing);
      const most = group.value ? MOST_GROUPED : MOST_DRAWN;
      const words = leftOut(runs.length, most);
      verdicts.replaceChildren(
        ...[...words, ...figure.compared].map((/** @type {string} */ each) => h("li", {}, each)),
      );
    } catch {
      if (drawn === key) drawn = ""; // tried again
    }
  }
  /**
   * The settings in which the ticked runs differ; the one that is chosen stays, where it still is one of them.
   * @param {[path: string, label: string][]} differing
   */
  function offerGroups(differing) {
    const now = JSON.stringify(differing);
    if (group.dataset.offered === now) return;
    const chosen = group.value;
    group.dataset.offered = now;
    const options = [["", "nothing"], ...differing].map(([value, label]) => h("option", { value }, label));
    group.replaceChildren(...options);
    group.value = differing.some(([path]) => path === chosen) ? chosen : "";
    if (group.value !== chosen) again();
  }
  /** @param {any} figure */
  function look({ legend, margin, xaxis, yaxis, shapes }) {
    const ticks = measure.value === "accuracy" ? { tickformat: ".0%" } : {};
    return layout({
      showlegend: true,
      hovermode: "x",
      legend,
      margin,
      xaxis: { title: xaxis.title },
      yaxis: { title: yaxis.title, ...ticks },
      shapes: shapes || [],
    });
  }
  function again() {
    drawn = "";
    draw(shown);
  }
  axis.addEventListener("change", again);
  measure.addEventListener("change", again);
  group.addEventListener("change", again);
  onTheme(again);
  return { element, draw };
}

/**
 * What of a run makes its curve another.
 * @param {Listed} run
 */
const changing = ({ id, name, step, val_loss }) => [id, name, step, val_loss];

/**
 * Whoever has more than their share of the disk is offered what to delete; nothing is taken.
 * @param {HTMLElement} root
 * @param {Context["trigger"]} trigger
 */
function offerToDelete(root, trigger) {
  const full = h("div", { class: "pg-warning pg-full", hidden: true, role: "status" });
  let shown = "";
  /** @param {{bytes: number, share_bytes: number | null, offered: {id: string, name: string, bytes: number}[]}} me */
  function show({ bytes, share_bytes, offered }) {
    const share = compact(share_bytes || 0);
    const words = `Your runs take ${compact(bytes)}B, and everybody may have ${share}B. Probes were thinned already. `;
    const names = offered.map((run) => `${run.name} (${compact(run.bytes)}B)`).join(", ");
    function remove() {
      const sure = window.confirm(`Delete ${names} with all checkpoints? This cannot be undone.`);
      if (sure) trigger("clear", { runs: offered.map(({ id }) => id) });
    }
    const advice = offered.length
      ? [`Deleting the oldest would make room: ${names}. `, button("Delete them", remove)]
      : ["Stop a run, then delete it."];
    full.replaceChildren(words, ...advice);
  }
  async function refresh() {
    setTimeout(refresh, ROOM_MS);
    if (!visible(root)) return;
    try {
      const me = await get("live/me");
      full.hidden = !me.over_bytes;
      const now = JSON.stringify(me.offered);
      if (now !== shown) show(me);
      shown = now;
    } catch {
      /* the bar says that the playground does not answer */
    }
  }
  refresh();
  return full;
}

/* The Runs tab: a table to search, sort, group and tick, what can be done with the chosen run, and the ticked runs over
   each other. */
/** @import { Context, Mount } from "./open_run.js" */
/** @import { Column, Knob, Listed } from "./columns.js" */

import { chosenBar } from "./chosen.js";
import { columnsFor, differing, MEASURED, NAME, ofKnob, sorted, wordsOf } from "./columns.js";
import { button, h, head, select, setText, visible } from "./dom.js";
import { compact, number } from "./format.js";
import { A_PAGE, folded, freshList, mergeList, pageOf } from "./listing.js";
import { get, who } from "./net.js";
import { theOverlay } from "./overlay.js";
import { matches, parseQuery, withCondition } from "./query.js";
import { roomFor, runTable } from "./run_table.js";

const REFRESH_MS = 1500;
const ROOM_MS = 10_000;

/** @type {Mount} */
export function runs(root, { props, trigger }) {
  const settings = /** @type {Knob[]} */ (props.value.knobs).map(ofKnob);
  const known = [NAME, ...MEASURED, ...settings];
  const table = runTable(settings, { choose, open, tick });
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
    placeholder: "Words, or conditions: layers=6, lr>1e-3",
  });
  const only = select([], { id: "runs-only", "aria-label": "show only runs with this value" });
  const group = select([], { id: "runs-group", "aria-label": "what runs are grouped by" });
  const every = h("input", { type: "checkbox", id: "runs-all-columns" });
  const left = h("span", {}, "all columns");
  const count = h("span", { class: "pg-runs-count", role: "status" });
  const none = h("p", { class: "pg-faint", hidden: true, role: "status" });
  const pages = pageButtons((to) => {
    page = to;
    showRows();
  });
  const tools = h(
    "div",
    { class: "pg-runs-tools" },
    h("div", { class: "pg-search" }, search),
    only,
    h("label", {}, "group by ", group),
    count,
    h("label", { class: "pg-runs-every" }, every, left),
  );
  const chosenRun = chosenBar(props);
  const compared = theOverlay();
  root.append(
    head("Runs", "Choose a run: what can be done with it stands below the table. Tick several to compare them."),
    offerToDelete(root, trigger),
    empty,
    tools,
    none,
    table.element,
    pages.element,
  );
  /** @type {Listed[]} */
  let all = [];
  let list = freshList();
  let page = 0;
  /** The run that somebody has chosen, and the one that is open, which is chosen where no other is. */
  const chosen = { picked: /** @type {string | null} */ (null), open: /** @type {string | null} */ (null) };
  const find = (/** @type {string | null} */ id) => all.find((run) => run.id === id) ?? null;
  const current = () => find(chosen.picked) ?? find(chosen.open);

  function showRows() {
    const query = parseQuery(search.value, known);
    const found = all.filter((run) => matches(run, wordsOf(run, settings), query));
    const grouping = groupingBy(group.value, known, Boolean(search.value.trim()));
    const rows = folded(sorted(found, table.sort.column, table.sort.down), table.unfolded, grouping);
    const inView = group.value ? found : rows.filter((row) => !("group" in row));
    const room = every.checked ? null : roomFor(root);
    const { columns, left: more } = columnsFor(/** @type {Listed[]} */ (inView), settings, room);
    setText(left, more && !every.checked ? `all columns (${more} more)` : "all columns");
    const shown = pageOf(rows, page);
    page = shown.page;
    table.show(shown.rows, columns, current()?.id ?? null, Boolean(group.value));
    pages.show(shown, rows.length);
    empty.hidden = all.length > 0;
    tools.hidden = all.length === 0;
    none.hidden = all.length === 0 || found.length > 0;
    setText(none, nothingFound(query.strange));
    setText(count, found.length < all.length ? `${number(found.length)} of ${number(all.length)} runs` : "");
    table.element.hidden = found.length === 0;
  }
  function fromStart() {
    page = 0;
    showRows();
  }
  table.onSort(fromStart);
  for (const control of [search, group, every]) control.addEventListener("input", fromStart);
  only.addEventListener("change", () => {
    const [key, value] = JSON.parse(only.value);
    const column = known.find((each) => each.key === key);
    if (column) search.value = withCondition(search.value, column, value, known);
    only.value = "";
    fromStart();
  });

  /** The menus offer what tells runs apart. */
  function offer() {
    const apart = differing(all, [...settings, .../** @type {Column[]} */ (MEASURED.filter(isKind))]);
    offerOptions(group, [["", "experiment"], ["none", "nothing"], ...apart.map(asOption)]);
    offerValues(only, apart, all);
  }

  /** @param {string} id */
  function choose(id) {
    chosen.picked = id;
    chosenRun.show(current());
    showRows();
  }
  /** @param {string} id */
  function open(id) {
    choose(id);
    trigger("pick", {});
  }
  function tick() {
    showRows();
    compare();
  }
  const compare = () =>
    compared.draw(
      [...table.ticked].flatMap(([id, place]) => all.filter((run) => run.id === id).map((run) => ({ run, place }))),
    );

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
        table.forget(new Set(all.map(({ id }) => id)));
        offer();
        chosenRun.show(current());
        showRows();
        await compare();
      } catch {
        /* the bar says that the playground does not answer */
      }
    }
    timer = setTimeout(refresh, REFRESH_MS);
  }
  refresh();
  new IntersectionObserver(refresh).observe(root);
  new ResizeObserver(() => visible(root) && all.length && showRows()).observe(root);
  return {
    update({ id }) {
      if (id === chosen.open) return;
      Object.assign(chosen, { picked: null, open: id });
      chosenRun.show(current());
      showRows();
    },
  };
}

/** What is looked for as a word, and may have been meant as a column. @param {string[]} strange */
const nothingFound = (strange) =>
  ["No run matches.", ...strange.map((name) => `“${name}” is no column: it was looked for as a word.`)].join(" ");

/* ---- groups, menus and pages ---- */

/** Columns with a few words for all runs. @param {Column} column */
const isKind = ({ key }) => key === "state" || key === "by";
/** @param {Column} column @returns {[string, string]} */
const asOption = ({ key, label }) => [key, label];

/**
 * @param {string} by what is chosen: a column, "none", or "" for the runs of an experiment
 * @param {Column[]} known
 * @param {boolean} isSearch what is searched for is shown by itself
 * @returns {(run: Listed) => {id: string, title: string} | null}
 */
function groupingBy(by, known, isSearch) {
  const column = known.find(({ key }) => key === by);
  if (column) return (run) => ({ id: `${by}=${column.show(run)}`, title: `${column.label}: ${column.show(run)}` });
  return (run) => (by === "" && !isSearch ? run.experiment : null);
}

/**
 * The options of a list, replaced only where they are others; what is chosen stays where it is still one of them.
 * @param {HTMLSelectElement} list
 * @param {[string, string][]} options
 */
function offerOptions(list, options) {
  const now = JSON.stringify(options);
  if (list.dataset.offered === now) return;
  const before = list.value;
  list.dataset.offered = now;
  list.replaceChildren(...options.map(([value, label]) => h("option", { value }, label)));
  list.value = options.some(([value]) => value === before) ? before : "";
}

const MOST_VALUES = 12;
/**
 * The values of the columns that tell runs apart, each with how many runs have it.
 * @param {HTMLSelectElement} list
 * @param {Column[]} columns
 * @param {Listed[]} runs
 */
function offerValues(list, columns, runs) {
  const found = columns.map((column) => {
    /** @type {Map<string, number>} */
    const counts = new Map();
    for (const run of sorted(runs, column, false))
      counts.set(column.show(run), (counts.get(column.show(run)) ?? 0) + 1);
    return { column, counts };
  });
  const few = found.filter(({ counts }) => counts.size <= MOST_VALUES);
  const now = JSON.stringify(few.map(({ column, counts }) => [column.key, ...counts]));
  if (list.dataset.offered === now || document.activeElement === list) return;
  list.dataset.offered = now;
  const groups = few.map(({ column, counts }) =>
    h(
      "optgroup",
      { label: column.label },
      ...Array.from(counts, ([value, n]) =>
        h("option", { value: JSON.stringify([column.key, value]) }, `${value} (${number(n)})`),
      ),
    ),
  );
  list.replaceChildren(h("option", { value: "" }, "only runs with …"), ...groups);
}

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

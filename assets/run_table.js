/* The table of the Runs tab: its headings, its rows, and those that stand for several runs. */
/** @import { Column, Listed } from "./columns.js" */

import { MEASURED, NAME } from "./columns.js";
import { button, h, scroller, setChildren, setText } from "./dom.js";
import { number } from "./format.js";
import { address } from "./net.js";
import { armProperty } from "./palette.js";

/** @typedef {{group: string, title: string, runs: Listed[]}} Group rows that stand under one */

const LEAST = { tick: 37, name: 270, loss: 110, state: 115, other: 92 }; // widths in pixels

/**
 * For how many columns there is room besides the name, the loss and the state.
 * @param {HTMLElement} element
 */
export function roomFor(element) {
  const left = element.clientWidth - LEAST.tick - LEAST.name - LEAST.loss - LEAST.state;
  return Math.max(0, Math.floor(left / LEAST.other));
}

/**
 * Rows are kept and only their texts change, so that nothing jumps under the pointer.
 * @param {Column[]} settings
 * @param {{choose: (id: string) => void, open: (id: string) => void, tick: () => void}} act
 */
export function runTable(settings, { choose, open, tick }) {
  const headings = h("tr");
  const body = h("tbody");
  const table = h("table", { class: "pg-table pg-runs" }, h("thead", {}, headings), body);
  const element = scroller("pg-table-wrap", "all runs", table);
  /** By run, its place among the colours, in the order in which they were ticked. @type {Map<string, number>} */
  const ticked = new Map();
  /** Groups whose runs are shown. @type {Set<string>} */
  const unfolded = new Set();
  const sort = { column: /** @type {Column} */ (MEASURED.find(({ key }) => key === "created")), down: true };
  let sorting = () => {};
  /** @type {Map<string, {tr: HTMLTableRowElement, tick: HTMLInputElement, cells: Map<string, HTMLTableCellElement>}>} */
  const kept = new Map();
  /** @type {Map<string, {tr: HTMLTableRowElement, cells: Map<string, HTMLTableCellElement>, show: (group: Group, knob: boolean) => void}>} */
  const groups = new Map();

  /** @param {string} id @param {boolean} on */
  function setTick(id, on) {
    if (!on) ticked.delete(id);
    else if (!ticked.has(id)) {
      const taken = new Set(ticked.values());
      let place = 0;
      while (taken.has(place)) place++;
      ticked.set(id, place);
    }
    const box = kept.get(id)?.tick;
    if (box) box.checked = on;
  }

  let shownHeadings = "";
  /** @param {Column[]} columns */
  function showHeadings(columns) {
    const now = JSON.stringify([columns.map(({ key }) => key), sort.column.key, sort.down]);
    if (now === shownHeadings) return;
    shownHeadings = now;
    const compare = h("th", { scope: "col", class: "pg-cell-tick" }, h("span", { class: "pg-sr" }, "compare"));
    headings.replaceChildren(compare, ...columns.map(heading));
  }
  /** @param {Column} column */
  function heading(column) {
    const isSorted = sort.column.key === column.key;
    const order = isSorted ? (sort.down ? "descending" : "ascending") : "none";
    const arrow = isSorted ? (sort.down ? " ↓" : " ↑") : "";
    function press() {
      Object.assign(sort, { column, down: isSorted ? !sort.down : false });
      sorting();
    }
    const unit = column.unit ? h("small", {}, column.unit) : null;
    return h(
      "th",
      { scope: "col", class: lookOf(column), "aria-sort": order },
      h("button", { type: "button", onclick: press }, column.label, unit, arrow),
    );
  }
  /** @param {Column} column */
  const lookOf = (column) =>
    [`pg-cell-${settings.includes(column) ? "knob" : column.key}`, column.right ? "pg-right" : ""]
      .filter(Boolean)
      .join(" ");

  /**
   * The cells of a row for these columns, after the first; those that were there are kept.
   * @param {{tr: HTMLTableRowElement, cells: Map<string, HTMLTableCellElement>}} row
   * @param {Column[]} columns
   */
  function cellsOf({ tr, cells }, columns) {
    const wanted = columns.map((column) => {
      const cell = cells.get(column.key) ?? h("td", { class: lookOf(column) });
      cells.set(column.key, cell);
      return cell;
    });
    setChildren(tr, [tr.children[0], ...wanted]);
    return wanted;
  }

  /** @param {string} id */
  function newRow(id) {
    const tick = h("input", { type: "checkbox", checked: ticked.has(id) });
    tick.addEventListener("click", (event) => event.stopPropagation());
    tick.addEventListener("change", () => ticking([id], tick.checked));
    const tr = h("tr", { tabindex: "0", "data-run": id }, h("td", { class: "pg-cell-tick" }, tick));
    tr.addEventListener("click", () => choose(id));
    tr.addEventListener("dblclick", () => open(id));
    tr.addEventListener("keydown", (event) => {
      if (event.target !== tr || !["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      if (event.key === "Enter") open(id);
      else choose(id);
    });
    const made = { tr, tick, cells: new Map() };
    kept.set(id, made);
    return made;
  }
  /** @param {string[]} ids @param {boolean} on */
  function ticking(ids, on) {
    for (const id of ids) setTick(id, on);
    tick();
  }

  /**
   * The row that stands for several runs.
   * @param {string} id
   */
  function newGroupRow(id) {
    const tick = h("input", { type: "checkbox", "aria-label": "compare all runs of this group" });
    const toggle = button("", () => {
      if (!unfolded.delete(id)) unfolded.add(id);
      sorting();
    });
    const link = h("a", { href: address(`?experiment=${id}`).href }, "open it");
    const name = h("td", { class: "pg-cell-name" }, toggle, " ", link);
    const tr = h("tr", { class: "pg-group", "data-experiment": id }, h("td", { class: "pg-cell-tick" }, tick), name);
    /** @type {Listed[]} */
    let runs = [];
    tick.addEventListener("change", () =>
      ticking(
        runs.map((run) => run.id),
        tick.checked,
      ),
    );
    /** @param {Group} group @param {boolean} byValue */
    function show(group, byValue) {
      runs = group.runs;
      const isOpen = unfolded.has(id);
      setText(toggle, `${isOpen ? "▾" : "▸"} ${group.title} (${number(runs.length)})`);
      toggle.setAttribute("aria-expanded", String(isOpen));
      link.hidden = byValue;
      const on = runs.filter((run) => ticked.has(run.id)).length;
      tick.checked = on === runs.length;
      tick.indeterminate = on > 0 && on < runs.length;
    }
    const made = { tr, cells: new Map([[NAME.key, name]]), show };
    groups.set(id, made);
    return made;
  }

  /**
   * @param {Listed | Group} row
   * @param {Column[]} columns
   * @param {string | null} chosen
   * @param {boolean} byValue
   * @param {Set<string>} above groups that have a row
   */
  function shown(row, columns, chosen, byValue, above) {
    if ("group" in row) {
      const made = groups.get(row.group) ?? newGroupRow(row.group);
      made.show(row, byValue);
      cellsOf(made, columns).forEach(
        (cell, i) => columns[i] === NAME || setText(cell, groupText(columns[i], row.runs)),
      );
      return made.tr;
    }
    const made = kept.get(row.id) ?? newRow(row.id);
    made.tr.dataset.state = row.state;
    made.tr.classList.toggle("pg-chosen", row.id === chosen);
    made.tr.setAttribute("aria-current", String(row.id === chosen));
    made.tick.setAttribute("aria-label", `compare ${row.called}`);
    const place = ticked.get(row.id);
    made.tr.style.setProperty("--c", place === undefined ? "" : `var(${armProperty(place)})`);
    const under = row.experiment && above.has(row.experiment.id) ? `${row.experiment.title}: ` : ""; // which that row says
    cellsOf(made, columns).forEach((cell, i) => {
      const text = columns[i].show(row);
      setText(cell, columns[i] === NAME && under && text.startsWith(under) ? text.slice(under.length) : text);
      cell.title = columns[i] === NAME ? row.name : "";
    });
    return made.tr;
  }
  /** @param {(Listed | Group)[]} rows @param {Column[]} columns @param {string | null} chosen @param {boolean} byValue */
  function show(rows, columns, chosen, byValue) {
    showHeadings(columns);
    const above = new Set(rows.flatMap((row) => ("group" in row ? [row.group] : [])));
    setChildren(
      body,
      rows.map((row) => shown(row, columns, chosen, byValue, above)),
    );
  }
  /** Of runs that are gone. @param {Set<string>} there */
  function forget(there) {
    for (const id of kept.keys()) {
      if (there.has(id)) continue;
      kept.delete(id);
      ticked.delete(id);
    }
  }
  return { element, sort, ticked, unfolded, show, forget, onSort: (/** @type {() => void} */ act) => (sorting = act) };
}

/** What a column says of several runs: the value that they all have, where it has no words for them. @param {Column} column @param {Listed[]} runs */
function groupText({ group, show, key }, runs) {
  if (group) return group(runs);
  const values = new Set(runs.map(show));
  return key.includes(".") && values.size === 1 ? [...values][0] : "";
}

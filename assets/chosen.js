/* The run that is chosen in the Runs tab: what Gradio's buttons act on, and its files. */
/** @import { Listed } from "./columns.js" */
/** @import { Context } from "./open_run.js" */

import { button, h, setText } from "./dom.js";
import { download, get, getAtLength, messageOf } from "./net.js";

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

/**
 * What the buttons of Gradio act on, with its name above them and its files below.
 * @param {Context["props"]} props
 */
export function chosenBar(props) {
  const name = h("strong", { role: "status" });
  const more = button("More", () => {
    const open = document.body.classList.toggle("pg-more");
    more.setAttribute("aria-expanded", String(open));
  });
  more.id = "runs-more";
  more.setAttribute("aria-expanded", "false");
  const full = h("span", { class: "pg-faint" });
  const title = h("div", { class: "pg pg-chosen-name" }, h("span", {}, name, full), more);
  const links = h("div", { class: "pg pg-links" });
  let told = "";
  /** @param {Listed | null} run told to Gradio again when its name or state changes */
  function show(run) {
    const now = JSON.stringify([run?.id, run?.name, run?.called, run?.state, run?.private]);
    if (now === told) return;
    told = now;
    props.value = { run: run?.id ?? null, name: run?.called ?? null, private: Boolean(run?.private) };
    const hide = document.getElementById("run-private");
    if (hide) hide.textContent = run?.private ? "Show to everybody" : "Make private";
    document.body.dataset.chosen = run ? run.state : "none";
    const place = document.getElementById("runs-chosen");
    place?.prepend(title);
    place?.append(links);
    setText(name, run?.called ?? "");
    setText(full, run && run.called !== run.name ? run.name : "");
    links.replaceChildren(...(run ? downloads(run) : []));
  }
  return { show };
}

/** @param {Listed} run */
function downloads(run) {
  const why = h("span", { class: "pg-faint", role: "status" });
  const link = (/** @type {string} */ name, /** @type {string} */ text) =>
    download(`live/runs/${run.id}/${name}`, {}, text, run.private);
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
    : download(`live/runs/${run.id}/transformers.zip`, { onclick: folderReady }, "transformers folder (zip)", false);
  return [
    h("span", { class: "pg-faint" }, "Download"),
    link("weights", "weights (safetensors)"),
    folder,
    link("metrics.csv", "metrics (CSV)"),
    link("config.json", "configuration (JSON)"),
    download(`live/runs/${run.id}/train.py`, { onclick: scriptReady }, "training script (Python)", false),
    why,
  ];
}

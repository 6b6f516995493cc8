"use strict";
/* The data of a run before it starts: what a text or a task is, its best possible loss, and how tokenizers cut a sentence. */
(() => {
  const pg = window.playground, { h, number } = pg;
  const fact = (label, value, title) => h("div", { title: title || "" }, h("dt", {}, label), h("dd", {}, value));

  /* A panel asks again while something is being done for it, as long as it can be seen. */
  function asking(root, ask) {
    let timer = 0;
    return (waits) => {
      clearTimeout(timer);
      if (waits) timer = setTimeout(() => (pg.visible(root) ? ask() : asking(root, ask)(true)), 700);
    };
  }
  pg.asking = asking;

  pg.waiting = (words, share) => h("div", { class: "pg-waiting", role: "status" }, h("p", {}, words), h("div", { class: "pg-bar" }, h("div", { class: `pg-bar-fill${share === null || share === undefined ? " pg-unknown" : ""}`, style: `width: ${share === null || share === undefined ? 30 : 100 * share}%` })));

  const nats = (value) => `${value.toFixed(value && value < 0.1 ? 4 : 3)} nats per token`;

  function aboutText(value) {
    const share = Math.round((100 * value.n_held_out) / value.n_tokens);
    return [
      h("dl", { class: "pg-facts" },
        fact("characters", number(value.n_chars)),
        fact("tokens", number(value.n_tokens)),
        fact("kinds of tokens", number(value.vocab_size)),
        fact("held out", `${number(value.n_held_out)} tokens, ${share}%`, "never trained on: the loss on them shows what the model understood"),
        value.floor === null ? null : fact("best possible loss", `${nats(value.floor)}, ${value.floor_bits.toFixed(3)} bits per character`, "the entropy of the grammar on the very held-out stories; no model can do better")),
      h("pre", { class: "pg-preview", tabindex: "0", "aria-label": "beginning of the text" }, value.preview + (value.n_chars > value.preview.length ? " …" : "")),
    ];
  }

  function aboutTask(value, trigger) {
    const floor = value.floor === 0 ? "0: the answer follows from the prompt" : nats(value.floor);
    return [
      h("div", { class: "pg-examples", tabindex: "0", role: "list", "aria-label": "held-out examples, the answer marked" },
        ...value.shown.map(([prompt, answer]) => h("div", { role: "listitem" }, h("span", {}, prompt), /\s/.test(prompt) ? " " : "", h("mark", {}, answer)))),
      h("dl", { class: "pg-facts" },
        fact("different examples", value.n_different >= 1e300 ? "more than 10^300" : value.n_different < 1e15 ? number(value.n_different) : `about ${value.n_different.toExponential(1).replace("e+", " × 10^")}`),
        fact("held out", `${number(value.n_held_out)} examples`, "one in ten of all there are is never trained on, chosen by a hash of its tokens"),
        fact("best possible loss", floor, value.scored === "answer" ? "on the tokens of the answer" : "on all tokens, most of which nobody can know"),
        value.exact ? null : fact("best possible accuracy", `${(100 * value.ceiling).toFixed(1)}% of tokens`)),
      h("p", {}, value.about),
      h("p", { class: "pg-faint" }, value.paper),
      h("p", { class: "pg-pair" }, "See it: ", ...value.pair.flatMap(([title, preset], i) => [i ? " " : "", h("button", { type: "button", class: "pg-button", "data-preset": preset, onclick: () => trigger("demonstrate", { preset }) }, `${i ? "the one that cannot" : "the one that can"}: ${title.replace(/^[^:]*: /, "").replace(" (cannot)", "")}`)])),
    ];
  }

  pg.kinds.data = (root, { props, watch, trigger }) => {
    const show = () => {
      const value = props.value;
      if (!value) return;
      if (pg.dataChanged && (value.waiting || value.missing)) pg.dataChanged();
      if (value.waiting) return root.replaceChildren(pg.waiting(value.waiting, value.share));
      if (value.missing) {
        const words = value.allowed ? `${value.missing} is not on this machine yet.` : `${value.missing} is not on this machine, and the host has switched off the Hub.`;
        return root.replaceChildren(h("p", {}, words), value.allowed ? h("button", { type: "button", class: "pg-button", id: "fetch-text", onclick: () => trigger("fetch") }, "Fetch it from the Hugging Face Hub") : null);
      }
      const edition = [value.edition, value.kind === "text" ? `fingerprint ${value.fingerprint}` : ""].filter(Boolean).join(", ");
      root.replaceChildren(
        h("p", { class: "pg-lead" }, h("strong", {}, value.title), " ", value.lead),
        ...value.warnings.map((words) => h("p", { class: "pg-warning", role: "note" }, words)),
        ...(value.kind === "task" ? aboutTask(value, trigger) : aboutText(value)).filter(Boolean),
        edition ? h("p", { class: "pg-faint" }, edition[0].toUpperCase() + edition.slice(1) + ".") : "");
      if (pg.dataChanged) pg.dataChanged();
    };
    watch("value", show);
    show();
  };

  const NAMES = { char: "characters", byte: "bytes", bpe: "byte pair encoding", "its own": "the task's own tokens" };

  pg.kinds.tokens = (root, { props, watch, trigger }) => {
    const again = asking(root, () => trigger("again"));
    /* Cut again when the data have changed: at once where it can be seen, else when it is opened. */
    let stale = true;
    const refresh = () => {
      if (!stale || !pg.visible(root)) return;
      stale = false;
      trigger("again");
    };
    pg.dataChanged = () => { stale = true; refresh(); };
    new IntersectionObserver(refresh).observe(root);
    const show = () => {
      const rows = props.value || [];
      root.replaceChildren(...rows.map((row) => {
        if (row.waiting) return h("div", { class: "pg-cut" }, h("h4", {}, NAMES[row.kind] || ""), h("p", { class: "pg-faint" }, row.waiting));
        const unknown = row.tokens.filter(([, known]) => !known).length;
        const count = `${number(row.tokens.length)} tokens, ${row.tokens.length ? (row.n_bytes / row.tokens.length).toFixed(2) : "–"} bytes each, out of ${number(row.vocab_size)} kinds`;
        return h("div", { class: "pg-cut" }, h("h4", {}, NAMES[row.kind], h("span", { class: "pg-faint" }, ` ${count}${unknown ? `; ${number(unknown)} never seen` : ""}`)),
          h("p", { class: "pg-pieces" }, ...row.tokens.map(([text, known], i) => h("span", { class: known ? `pg-piece pg-piece-${i % 4}` : "pg-piece pg-unknown-piece", title: known ? "" : "this text has never shown it to the model" }, pg.visibleToken(text)))));
      }));
      again(rows.some((row) => row.waiting));
    };
    watch("value", show);
    show();
  };
})();

/* Who you are here: a name that others see, and the key by which your runs are yours in another browser too. */
/** @import { Mount } from "./open_run.js" */
/** @import { Run } from "./series.js" */

import { askPlace } from "./bar.js";
import { button, h } from "./dom.js";
import { copy, who } from "./net.js";

/** A browser is asked for a name once, and never again. */
const ASKED = "gpt-playground-asked";
const KEY = /^[A-Za-z0-9_-]{20,100}$/;

function wasAsked() {
  try {
    return localStorage.getItem(ASKED) !== null;
  } catch {
    return true; // a browser that remembers nothing would be asked again and again
  }
}

function rememberAsked() {
  try {
    localStorage.setItem(ASKED, "yes");
  } catch {
    /* it keeps nothing */
  }
}

/** @type {string | null} */
let typedKey = null;

/** Gradio's answer to the panel's "rekey": what this browser keeps from now on. */
export const rekeyed = () => ({ key: typedKey || who().key, host: typedKey ? who().host : null });

/** Once it has been kept. */
export function reloadSoon() {
  setTimeout(() => location.reload(), 400);
  return [];
}

/** @type {Mount} */
export function you(root, { props, trigger, watch }) {
  const dialog = h("dialog", { class: "pg-dialog", "aria-label": "who you are here" });
  const opener = button("You", open, { class: "pg-button pg-you-button", id: "you-open" });
  root.append(opener, dialog);
  /** @returns {{name?: string, host?: boolean, others?: boolean}} `others` have trained here too */
  const value = () => props.value || {};
  /** @param {string} id */
  const nameField = (id) =>
    h("input", {
      id,
      type: "text",
      maxlength: 40,
      autocomplete: "nickname",
      placeholder: "a name",
      value: value().name || "",
    });
  /** @param {HTMLInputElement} field */
  function keepName(field) {
    rememberAsked();
    trigger("name", { name: field.value });
  }
  /** @param {string | null} key */
  function rekey(key) {
    typedKey = key;
    trigger("rekey", {});
  }

  function open() {
    const name = nameField("you-name");
    const leave = button("Stop being the host in this browser", () => rekey(null));
    dialog.replaceChildren(
      h(
        "form",
        {
          onsubmit: (/** @type {Event} */ event) => {
            event.preventDefault();
            keepName(name);
            dialog.close();
          },
        },
        h("h2", {}, "Your name"),
        h("p", { class: "pg-faint" }, "Shown beside your runs to everybody here. Empty: no name."),
        line(name, h("button", { class: "pg-button", id: "you-save" }, "Keep")),
      ),
      ...ownKey(),
      ...otherKey(rekey),
      ...(value().host ? [h("p", { class: "pg-leave" }, "You are the host here: the Host tab is yours. ", leave)] : []),
      h(
        "div",
        { class: "pg-line pg-right" },
        button("Close", () => dialog.close()),
      ),
    );
    dialog.showModal();
    name.focus();
  }

  function show() {
    const { name, host } = value();
    if (host !== undefined) document.documentElement.dataset.greeted = "yes"; // the server has answered: see first.js
    opener.textContent = host ? `${name || "You"} · host` : name || "You";
    opener.title = name ? `You are called ${name}. Your name, your key` : "Your name, your key";
    if (name) question.hidden = true;
  }

  /** Asked when there is something to show a name beside, above what is told of the run. */
  const field = nameField("ask-name");
  const later = button("Not now", () => {
    rememberAsked();
    question.hidden = true;
  });
  const question = h(
    "form",
    { class: "pg-ask", hidden: true },
    h("label", { for: "ask-name" }, "Others see your run. Your name?"),
    field,
    h("button", { class: "pg-button", id: "ask-keep" }, "Keep"),
    later,
  );
  question.addEventListener("submit", (event) => {
    event.preventDefault();
    keepName(field);
    question.hidden = true;
  });
  const forgets = forgetting();
  askPlace.append(question, forgets);

  watch("value", show);
  show();
  /** @param {Run} run */
  function update(run) {
    if (run.mine && document.documentElement.dataset.forgets) forgets.hidden = false;
    const { name, host, others } = value();
    if (run.mine && run.status && others && !name && !host && !wasAsked()) question.hidden = false;
  }
  return { always: true, update };
}

/** Said where the browser keeps nothing: first.js lets the page go on, but what is its owner's would be lost with it. */
function forgetting() {
  const words =
    "This browser keeps nothing for this page. Your runs stay here when you close it, but they are yours again only with your key: copy it and keep it. ";
  const copied = h("span", { role: "status", class: "pg-faint" });
  const take = button("Copy key", async () => {
    copied.textContent = (await copy(who().key || "", open)) ? " Copied." : "";
  });
  return h("div", { class: "pg-warning pg-forgets", hidden: true }, words, take, copied);
}

/** @param {HTMLElement[]} parts */
const line = (...parts) => h("div", { class: "pg-line" }, ...parts);

/** The key of this browser, hidden until it is wanted. */
function ownKey() {
  const key = h("input", {
    type: "password",
    readonly: true,
    id: "you-key",
    "aria-label": "recovery key",
    value: who().key || "",
  });
  const show = button("Show", () => {
    key.type = key.type === "text" ? "password" : "text";
    show.textContent = key.type === "text" ? "Hide" : "Show";
  });
  const reveal = () => {
    key.type = "text";
    key.select();
  };
  const take = button("Copy", async () => {
    if (await copy(key.value, reveal)) take.textContent = "Copied";
  });
  const words =
    "Your runs belong to this browser. With this key they are yours in another one too, or after a private window is closed. Whoever has it may steer and delete them.";
  return [h("h2", {}, "Your recovery key"), h("p", { class: "pg-faint" }, words), line(key, show, take)];
}

/**
 * The key of another browser, to take its place.
 * @param {(key: string) => void} rekey
 */
function otherKey(rekey) {
  const other = h("input", {
    type: "text",
    id: "you-other",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "a recovery key",
  });
  const wrong = h("p", { class: "pg-reason", role: "alert" });
  function use() {
    const typed = other.value.trim();
    if (KEY.test(typed)) rekey(typed);
    else wrong.textContent = "This is no recovery key: it has 20 to 100 letters and digits.";
  }
  const words =
    "This browser then owns those runs, and no longer the ones it has now: keep the key above first if you need it.";
  return [
    h("h2", {}, "You have a key from elsewhere?"),
    h("p", { class: "pg-faint" }, words),
    line(other, button("Use it", use, { id: "you-use" })),
    wrong,
  ];
}

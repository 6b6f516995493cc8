"use strict";
/* Who you are here: a name that others see, and the key by which your runs are yours in another browser too. */
(() => {
  const pg = window.playground, { h } = pg;
  const ASKED = "gpt-playground-asked"; // once, and never again in this browser

  const remembered = () => { try { return localStorage.getItem(ASKED); } catch { return "no memory"; } };
  const remember = () => { try { localStorage.setItem(ASKED, "yes"); } catch { /* it keeps nothing: then it is asked again */ } };

  let typedKey = null;
  pg.rekeyed = () => ({ key: typedKey || pg.who().key, host: typedKey ? pg.who().host : null });
  pg.reloadSoon = () => { setTimeout(() => location.reload(), 400); return []; };

  pg.kinds.you = (root, { props, trigger, watch }) => {
    const button = h("button", { type: "button", class: "pg-button pg-you-button", id: "you-open", onclick: () => open() }, "You");
    const dialog = h("dialog", { class: "pg-dialog", "aria-label": "who you are here" });
    const ask = h("form", { class: "pg-ask", hidden: true });
    root.append(button, dialog);
    const value = () => props.value || {};

    function nameField(id) {
      return h("input", { id, type: "text", maxlength: 40, autocomplete: "nickname", placeholder: "a name", value: value().name || "" });
    }
    const keep = (input) => { remember(); trigger("name", { name: input.value }); };

    function open() {
      const name = nameField("you-name"), key = h("input", { type: "password", readonly: true, id: "you-key", "aria-label": "recovery key", value: pg.who().key || "" });
      const other = h("input", { type: "text", id: "you-other", autocomplete: "off", spellcheck: "false", placeholder: "a recovery key" }), wrong = h("p", { class: "pg-reason", role: "alert" });
      const show = h("button", { type: "button", class: "pg-button", onclick: () => { key.type = key.type === "text" ? "password" : "text"; show.textContent = key.type === "text" ? "Hide" : "Show"; } }, "Show");
      const copy = h("button", { type: "button", class: "pg-button", onclick: async () => { try { await navigator.clipboard.writeText(key.value); copy.textContent = "Copied"; } catch { key.type = "text"; key.select(); } } }, "Copy");
      const use = () => {
        const typed = other.value.trim();
        if (!/^[A-Za-z0-9_-]{20,100}$/.test(typed)) { wrong.textContent = "This is no recovery key: it has 20 to 100 letters and digits."; return; }
        typedKey = typed;
        trigger("rekey", {});
      };
      const leave = h("p", { class: "pg-leave" }, "You are the host here: the Host tab is yours. ", h("button", { type: "button", class: "pg-button", onclick: () => { typedKey = null; trigger("rekey", {}); } }, "Stop being the host in this browser"));
      dialog.replaceChildren(
        h("form", { onsubmit: (event) => { event.preventDefault(); keep(name); dialog.close(); } },
          h("h3", {}, "Your name"), h("p", { class: "pg-faint" }, "Shown beside your runs to everybody here. Empty: no name."), h("div", { class: "pg-line" }, name, h("button", { class: "pg-button", id: "you-save" }, "Keep"))),
        h("h3", {}, "Your recovery key"), h("p", { class: "pg-faint" }, "Your runs belong to this browser. With this key they are yours in another one too, or after a private window is closed. Whoever has it may steer and delete them."), h("div", { class: "pg-line" }, key, show, copy),
        h("h3", {}, "You have a key from elsewhere?"), h("p", { class: "pg-faint" }, "This browser then owns those runs, and no longer the ones it has now: keep the key above first if you need it."), h("div", { class: "pg-line" }, other, h("button", { type: "button", class: "pg-button", id: "you-use", onclick: use }, "Use it")), wrong,
        ...(value().host ? [leave] : []),
        h("div", { class: "pg-line pg-right" }, h("button", { type: "button", class: "pg-button", onclick: () => dialog.close() }, "Close")));
      dialog.showModal();
      name.focus();
    }

    function show() {
      const { name, host } = value();
      button.textContent = host ? `${name || "You"} · host` : name || "You";
      button.title = name ? `You are called ${name}. Your name, your key` : "Your name, your key";
      if (name) ask.hidden = true;
    }

    /* Asked when there is something to show a name beside, above what is told of the run. */
    const field = nameField("ask-name");
    ask.append(h("label", { for: "ask-name" }, "Others see your run. What should they call you?"), field, h("button", { class: "pg-button", id: "ask-keep" }, "Keep"), h("button", { type: "button", class: "pg-button", onclick: () => { remember(); ask.hidden = true; } }, "Not now"));
    ask.addEventListener("submit", (event) => { event.preventDefault(); keep(field); ask.hidden = true; });

    watch("value", show);
    show();
    return {
      always: true,
      update(run) {
        if (pg.askPlace && ask.parentNode !== pg.askPlace) pg.askPlace.append(ask);
        if (run.mine && run.status && !value().name && !value().host && !remembered()) ask.hidden = false;
      },
    };
  };
})();

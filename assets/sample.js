"use strict";
/* The Sample tab: tokens as they come, shaded by how likely the model thought them. */
(() => {
  const pg = window.playground, { h, number } = pg;

  pg.kinds.sample = (root, { props, watch }) => {
    const prompt = h("span", { class: "pg-prompt" }), written = h("span", {}), text = h("div", { class: "pg-sampled", "aria-live": "off" }, prompt, written);
    const status = h("p", { class: "pg-caption", "aria-live": "polite" }), empty = h("div", { class: "pg-empty" }, h("h3", {}, "Nothing is written yet"), h("p", {}, "Choose a run and a checkpoint, then press Write. Runs can be sampled from while they train."));
    root.append(pg.head("What the model writes", "Each token is shaded by its probability: bright were safe bets, dark were surprises. Point at one to see what else it could have been.", h("span", { class: "pg-scale" }, h("span", {}, "0%"), h("span", { class: "pg-ramp pg-ramp-short pg-ramp-sample" }), h("span", {}, "100%"))), empty, status, text);
    let shown = [], promptShown = null;

    const percent = (p) => `${(100 * p).toFixed(p < 0.1 ? 1 : 0)}%`;
    function tell(event, [, token, probability, others]) {
      pg.showTip(event, h("div", { class: "pg-odds" }, h("span", { class: "pg-tip-faint" }, "drawn"), h("span"), h("code", {}, pg.visibleToken(token)), h("strong", {}, percent(probability)), h("span", { class: "pg-tip-faint" }, "instead of"), h("span"), ...others.flatMap(([other, p]) => [h("code", {}, pg.visibleToken(other)), h("span", {}, percent(p))])));
    }
    function span(token) {
      const element = h("span", { class: "pg-token", style: `--p:${token[2]}` }, token[0]);
      element.addEventListener("pointermove", (event) => tell(event, token));
      element.addEventListener("pointerleave", pg.hideTip);
      return element;
    }
    const show = () => {
      const value = props.value;
      empty.hidden = Boolean(value && value.state !== "empty");
      text.hidden = !empty.hidden;
      document.body.dataset.sampling = value && value.state === "writing" ? "yes" : "no";
      if (!value || value.state === "empty") return;
      const goesOn = promptShown === value.prompt && shown.length <= value.tokens.length && shown.every((token, i) => token[0] === value.tokens[i][0] && token[2] === value.tokens[i][2]);
      if (!goesOn) { written.replaceChildren(); shown = []; prompt.textContent = promptShown = value.prompt; }
      written.append(...value.tokens.slice(shown.length).map(span));
      shown = value.tokens.slice();
      const mean = shown.length ? shown.reduce((sum, token) => sum - Math.log(Math.max(token[2], 1e-4)), 0) / shown.length : null;
      status.textContent = value.state === "writing" ? `writing, ${number(shown.length)} of ${number(value.wanted)} tokens` : `${number(shown.length)} tokens, mean surprise ${number(mean, 2)} nats per token`;
    };
    watch("value", show);
    show();
    document.addEventListener("click", (event) => {
      if (!event.target.closest("#sample-halt") || document.body.dataset.sampling !== "yes") return;
      document.body.dataset.sampling = "no";
      status.textContent = `stopped after ${number(shown.length)} of ${number(props.value.wanted)} tokens`;
    });
  };
})();

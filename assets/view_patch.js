/* View of the Inside tab: what if one token were another. How far the change reaches, and what brings the old prediction back. */
/** @import { Side, View } from "./side.js" */
/** @import { Probe, ProbeWithLens } from "./values.js" */

import { button, h, scroller, select } from "./dom.js";
import { number, short, visibleToken } from "./format.js";
import { getAtLength, messageOf } from "./net.js";
import { graphOf } from "./side.js";

/**
 * @typedef {(number | null)[][]} Grid a row for each place, the first one first, and a column for each token
 * @typedef {{
 *   step: number, position: number, where: string, tokens: string[], token: string, answer: string,
 *   clean: number, other: number, changed: Grid, restored: Grid,
 * }} Answer
 */

/** @type {[where: string, label: string][]} */
const WHERE = [
  ["stream", "the stream"],
  ["attn", "what attention adds"],
  ["mlp", "what the MLP adds"],
];
let made = 0;

/**
 * @param {HTMLElement} place
 * @param {Side} side
 * @returns {View}
 */
export function patch(place, side) {
  const list = `inside-tokens-${(made += 1)}`;
  const known = h("datalist", { id: list });
  const input = h("input", {
    type: "text",
    list,
    size: "12",
    class: "pg-patch-input",
    "aria-label": "the token that stands there instead",
  });
  const where = select(WHERE, { "aria-label": "which activations are shown" });
  const go = button("Compare", compare, { class: "pg-button pg-patch-go" });
  const row = h("div", { class: "pg-patch-tokens", role: "group", "aria-label": "the token that is changed" });
  const words = h("p", { class: "pg-faint pg-worth-words", role: "status" });
  const result = h("div", { class: "pg-patched" });
  place.append(
    row,
    h(
      "div",
      { class: "pg-tools pg-curve-tools" },
      h("label", {}, "becomes ", input, known),
      h("label", {}, "shown of ", where),
      go,
    ),
    words,
    result,
  );
  let position = 0; // counted from 1; 0: none is chosen
  let built = "";
  /** @type {Answer | null} */
  let answer = null;

  input.addEventListener("input", forget);
  where.addEventListener("change", () => {
    forget();
    if (position && input.value) compare();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") compare();
  });

  function forget() {
    answer = null;
    words.textContent = position ? "" : "Click the token that is to be another one.";
    result.replaceChildren();
  }
  /** @param {Probe} probe @param {number} at */
  function pick(probe, at) {
    position = at;
    input.value = otherGuess(probe, at);
    for (const [i, element] of [...row.children].entries()) element.setAttribute("aria-pressed", String(i + 1 === at));
    forget();
  }
  /** @param {Probe} probe */
  function build(probe) {
    position = 0;
    row.replaceChildren(
      ...probe.tokens.map((token, i) =>
        h(
          "button",
          {
            type: "button",
            class: "pg-patch-token",
            "data-position": i + 1,
            "aria-pressed": "false",
            title: `token ${i + 1}`,
            onclick: () => pick(probe, i + 1),
          },
          visibleToken(token),
        ),
      ),
    );
    known.replaceChildren(...[...new Set(probe.tokens)].map((value) => h("option", { value })));
    where.replaceChildren(
      ...WHERE.filter(([name]) => has(name)).map(([value, label]) => h("option", { value }, label)),
    );
    input.value = "";
    forget();
  }
  /** @param {string} name */
  function has(name) {
    const kind = { attn: "attention", mlp: "mlp" }[name];
    return !kind || graphOf(side).nodes.some((node) => node.kind === kind);
  }

  async function compare() {
    if (!position || !input.value || go.disabled) {
      words.textContent = position ? "Write the token that stands there instead." : "Click a token first.";
      return;
    }
    go.disabled = true;
    words.textContent = "Computing both texts, and one activation after the other.";
    const text = side.text ? `&text=${encodeURIComponent(side.text)}` : "";
    const asked = `position=${position}&token=${encodeURIComponent(input.value)}&where=${where.value}${text}`;
    try {
      const base = `live/runs/${encodeURIComponent(side.run.id ?? "")}/patch?step=${side.probe?.step}`;
      const found = await getAtLength(`${base}&${asked}`, (now) => {
        words.textContent = now;
        return side.made === "patch";
      });
      if (!found) throw new Error("Not computed: it was no longer looked at.");
      if (found.problem) throw new Error(found.problem);
      answer = found;
      words.textContent = said(found);
      result.replaceChildren(...maps(found));
    } catch (error) {
      words.textContent = messageOf(error);
    }
    go.disabled = false;
  }

  function draw() {
    if (!side.probe) return;
    const now = `${side.run.id} ${side.probe.tokens.join("\u0000")}`;
    if (now !== built) build(side.probe);
    built = now;
  }
  function table() {
    const heading = ["place", "position", "token", "changed", "restored"];
    if (!answer) return [heading];
    const { tokens, changed, restored } = answer;
    const names = namesOf(answer);
    const rows = changed.flatMap((values, i) =>
      values.map((value, t) => [names[i], t + 1, tokens[t], value, restored[i][t]]),
    );
    return [heading, ...rows];
  }
  return { draw, table };
}

/**
 * What the model itself held for likely there, other than what stands there.
 * @param {Probe} probe
 * @param {number} position counted from 1
 */
function otherGuess(probe, position) {
  const { lens_top, lens_words } = /** @type {Partial<ProbeWithLens>} */ (probe);
  const top = position > 1 && lens_top ? (lens_top.at(-1)?.[position - 2] ?? []) : [];
  const guesses = [...top.map((i) => lens_words?.[i] ?? ""), ...probe.tokens];
  return guesses.find((word) => word && word !== probe.tokens[position - 1]) ?? "";
}

/** @param {Answer} answer */
function namesOf({ where, changed }) {
  return changed.map((_, i) => (where !== "stream" ? `layer ${i + 1}` : i === 0 ? "embedding" : `after layer ${i}`));
}

/** @param {number} logarithm */
const chance = (logarithm) => Math.exp(logarithm).toPrecision(3);

/** @param {Answer} answer */
function said({ step, tokens, position, token, answer, clean, other, restored }) {
  const swap = `“${visibleToken(tokens[position - 1])}” becomes “${visibleToken(token)}”`;
  const next = `“${visibleToken(answer)}”, the likeliest token after the text, goes from a probability of ${chance(clean)} to ${chance(other)}`;
  const none = restored.flat().every((value) => value === null);
  const more = none ? "; that is no difference that could be restored" : "";
  return `${swap}, at the checkpoint of step ${number(step)}, the nearest: ${next}${more}.`;
}

/** @param {Answer} answer */
function maps(answer) {
  const reach =
    "How far the change reaches: the difference of each activation, as a share of its size. Left of the changed token it is exactly 0, because no position sees later ones.";
  const back = `Where it decides what comes next: how much of the lost log-probability of “${visibleToken(answer.answer)}” comes back when this activation alone is that of the original text. 1: all, 0: nothing; blue: it gets worse.`;
  const none = answer.restored.flat().every((value) => value === null);
  return [
    map(reach, answer, answer.changed, "changed by"),
    ...(none ? [] : [map(back, answer, answer.restored, "restores")]),
  ];
}

/**
 * One map as a table, the last layer on top as the stream flows up to the answer.
 * @param {string} caption
 * @param {Answer} answer
 * @param {Grid} grid
 * @param {string} verb
 */
function map(caption, answer, grid, verb) {
  const names = namesOf(answer);
  const most = Math.max(1e-9, ...grid.flat().map((value) => Math.abs(value ?? 0)));
  /** @param {number} t */
  const tokenAt = (t) => visibleToken(t + 1 === answer.position ? answer.token : answer.tokens[t]);
  const heads = answer.tokens.map((_, t) =>
    h("th", { scope: "col", class: t + 1 === answer.position ? "pg-patch-changed" : "" }, tokenAt(t)),
  );
  const rows = grid.map((values, i) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, names[i]),
      ...values.map((value, t) => {
        const title = `${names[i]}, token ${t + 1} “${tokenAt(t)}”: ${verb} ${short(value)}`;
        return h("td", { title, style: `--c:${shade(value, most)}` }, value === null ? "–" : brief(value));
      }),
    ),
  );
  return scroller(
    "pg-lens-scroll",
    caption.split(":")[0],
    h(
      "table",
      { class: "pg-patch-map" },
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, h("td"), ...heads)),
      h("tbody", {}, ...rows.reverse()),
    ),
  );
}

/** Two decimals at most; 0 alone is exactly 0. @param {number} value */
function brief(value) {
  if (value === 0) return "0";
  const text = Math.abs(value) < 0.005 ? "≈ 0" : value.toFixed(2);
  return text.replace("-", "−");
}

/** @param {number | null} value @param {number} most */
function shade(value, most) {
  if (!value) return "transparent";
  const share = Math.round(70 * Math.sqrt(Math.min(1, Math.abs(value) / most)));
  return `color-mix(in srgb, var(${value >= 0 ? "--pg-missed" : "--pg-harmful"}) ${share}%, transparent)`;
}

/* ?projector: what the room sees on the wall. Its question, everyone's held-out curves as a few large charts, and how to
   join, readable from the last row: no text is smaller than 28 px. Only the host's browser may show it. */

import { css, h, onTheme, s, setText } from "./dom.js";
import { number } from "./format.js";
import { qrPicture } from "./host.js";
import { roundTicks, spread } from "./labels.js";
import { address, get, statusOf, who } from "./net.js";
import { armProperty } from "./palette.js";

const REFRESH_MS = 1500;
const NOT_HERE = "Only the host's browser shows this: open the host's link in it first.";
const QUESTION = "playground-question";
const TEXT = 28;
const LINE = 36; // from one label to the next
const NAME_CHARS = 16;
/** Around a chart: labels beside its lines, ticks beside its axes. */
const [LEFT, RIGHT, TOP, BOTTOM] = [88, 330, 22, 54];

/**
 * @typedef {[step: number, loss: number | null]} Point
 * @typedef {{id: string, name: string, by: string, arm?: number, going: boolean, points: Point[]}} Line
 * @typedef {{id: string, title: string, note: string, lines: Line[]}} Chart
 * @typedef {{
 *   charts: Chart[], more: number, training: number, waiting: number, pages: number, link: string, code: string[],
 * }} Seen
 */

export const wanted = () => new URL(location.href).searchParams.has("projector");

/** Cover the page with it. */
export function projector() {
  document.documentElement.dataset.projector = "yes";
  const charts = h("div", { class: "pg-projector-charts" });
  const empty = h("p", { class: "pg-projector-empty" }, "Nobody has trained anything yet.");
  const more = h("p");
  const way = h("div", { class: "pg-projector-way" });
  const busy = h("p", { role: "status" });
  const leave = h("a", { href: address(".").href.split("?")[0] }, "Back to the page");
  const root = h(
    "main",
    { class: "pg pg-projector" },
    h("div", { class: "pg-projector-main" }, question(), empty, charts),
    h("aside", {}, way, busy, more, leave),
  );
  document.body.append(root);

  /** @type {Seen | null} */
  let seen = null;
  let shown = "";
  function draw() {
    if (!seen) return;
    empty.hidden = seen.charts.length > 0;
    charts.dataset.n = String(seen.charts.length);
    charts.replaceChildren(...seen.charts.map(frame));
    charts.querySelectorAll("svg").forEach((picture, i) => paint(picture, /** @type {Seen} */ (seen).charts[i]));
    setText(more, seen.more ? `${number(seen.more)} more kinds of data are on the Host tab.` : "");
    setText(
      busy,
      `${number(seen.training)} train, ${number(seen.waiting)} wait, ${number(seen.pages)} pages are open.`,
    );
    if (seen.link === shown) return;
    shown = seen.link;
    way.replaceChildren(qrPicture(seen.link, seen.code), h("p", {}, "Join: ", h("strong", {}, bare(seen.link))));
  }
  async function refresh() {
    const here = address(".").href.split("?")[0];
    const { key, host } = who();
    if (key && !host) setText(busy, NOT_HERE);
    if (key && host && !document.hidden) {
      try {
        seen = await get(`live/host/projector?address=${encodeURIComponent(here)}`);
        draw();
      } catch (error) {
        setText(busy, statusOf(error) === 403 ? NOT_HERE : "The playground does not answer; trying again.");
      }
    }
    setTimeout(refresh, REFRESH_MS);
  }
  refresh();
  addEventListener("resize", draw);
  onTheme(draw);
}

/** What the room is asked, as a heading that the host can write into; this browser keeps it. */
function question() {
  const placeholder = "The question of the room: click to write it";
  const title = h("h1", { contenteditable: "plaintext-only", "aria-label": "the question of the room" });
  const kept = () => localStorage.getItem(QUESTION) ?? "";
  setText(title, kept() || placeholder);
  title.addEventListener("focus", () => !kept() && setText(title, ""));
  title.addEventListener("input", () => localStorage.setItem(QUESTION, (title.textContent ?? "").trim()));
  title.addEventListener("blur", () => setText(title, kept() || placeholder));
  return title;
}

const bare = (/** @type {string} */ link) => link.replace(/^https?:\/\//, "").replace(/\/$/, "");
const short = (/** @type {string} */ name) => (name.length > NAME_CHARS ? `${name.slice(0, NAME_CHARS - 1)}…` : name);

/** @param {Chart} chart */
const frame = ({ title, note }) =>
  h("section", {}, h("h2", {}, title, " ", h("small", {}, note)), s("svg", { role: "img", "aria-label": title }));

/**
 * The curves, each named where it ends; the best of them, where not all names have room.
 * @param {SVGSVGElement} picture
 * @param {Chart} chart
 */
function paint(picture, { lines }) {
  const { width, height } = picture.getBoundingClientRect();
  const drawn = lines.map((line, i) => ({ ...line, colour: css(armProperty(line.arm ?? i)), points: measured(line) }));
  const curves = drawn.filter(({ points }) => points.length > 0);
  if (!curves.length) {
    picture.append(
      s("text", { x: 0, y: LINE, class: "pg-projector-faint" }, "No held-out loss has been measured yet."),
    );
    return;
  }
  const losses = curves.flatMap(({ points }) => points.map(([, loss]) => loss));
  const [least, most] = [Math.min(...losses), Math.max(...losses)];
  const [low, high] = most > least ? [least, most] : [least - 0.05, most + 0.05];
  const last = Math.max(1, ...curves.flatMap(({ points }) => points.map(([step]) => step)));
  const [wide, tall] = [width - LEFT - RIGHT, height - TOP - BOTTOM];
  const x = (/** @type {number} */ step) => LEFT + (step / last) * wide;
  const y = (/** @type {number} */ loss) => TOP + (1 - (loss - low) / (high - low)) * tall;
  for (const tick of roundTicks(low, high, Math.max(2, Math.floor(tall / 90)))) {
    picture.append(s("line", { x1: LEFT, x2: LEFT + wide, y1: y(tick), y2: y(tick), class: "pg-projector-grid" }));
    picture.append(s("text", { x: LEFT - 12, y: y(tick) + TEXT / 3, "text-anchor": "end" }, String(tick)));
  }
  for (const tick of roundTicks(0, last, Math.max(1, Math.floor(wide / 260)))) {
    const words = tick ? `step ${number(tick)}` : "0";
    const anchor = tick && x(tick) > LEFT + wide - 60 ? "end" : "middle";
    picture.append(s("text", { x: x(tick), y: height - 14, "text-anchor": anchor }, words));
  }
  for (const { points, colour, going } of curves) {
    const path = points
      .map(([step, loss], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(loss).toFixed(1)}`)
      .join("");
    picture.append(
      s("path", { d: `${path}h0`, stroke: colour, "stroke-width": going ? 6 : 4, class: "pg-projector-line" }),
    );
  }
  const ends = named(curves, Math.max(1, Math.floor(tall / LINE)));
  const places = spread(
    ends.map(({ loss }) => y(loss)),
    LINE,
    TOP + TEXT / 3,
    TOP + tall,
  );
  ends.forEach(({ words, colour }, i) =>
    picture.append(
      s("text", { x: LEFT + wide + 16, y: places[i] + TEXT / 3, fill: colour, "font-weight": 650 }, words),
    ),
  );
  const rest = curves.length - ends.length;
  if (rest > 0 && curves.every(({ arm }) => arm === undefined)) {
    const words = `and ${number(rest)} more`;
    picture.append(
      s("text", { x: width - 4, y: height - 14, "text-anchor": "end", class: "pg-projector-faint" }, words),
    );
  }
}

/** @param {Line} line @returns {[step: number, loss: number][]} */
const measured = ({ points }) =>
  points.flatMap(([step, loss]) => (loss === null ? [] : [/** @type {[number, number]} */ ([step, loss])]));

/**
 * What is written where the curves end: names with their loss, the lowest first; of an experiment one for each arm.
 * @param {(Line & {colour: string, points: [step: number, loss: number][]})[]} curves
 * @param {number} most
 */
function named(curves, most) {
  /** @type {Map<string, {words: string, loss: number, colour: string}>} */
  const found = new Map();
  const loss = (/** @type {{points: [number, number][]}} */ { points }) => points[points.length - 1][1];
  for (const curve of [...curves].sort((one, other) => loss(one) - loss(other))) {
    const key = curve.arm === undefined ? curve.id : String(curve.arm);
    const by = curve.by && !curve.name.includes(curve.by) ? curve.by : curve.name;
    const words = `${short(curve.arm === undefined ? by : curve.name)} ${number(loss(curve), 2)}`;
    if (!found.has(key)) found.set(key, { words, loss: loss(curve), colour: curve.colour });
  }
  return [...found.values()].slice(0, most);
}

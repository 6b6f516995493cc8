/* Making elements, reading the theme, and the tip that follows the pointer. Text from people goes through textContent
   only. */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | null | undefined} Child nothing is left out */

/**
 * An HTML element. An attribute "onX" is a listener; true sets an attribute without a value, false and null leave it
 * out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} attributes
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * An SVG element.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {string | null} text
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function s(tag, attributes = {}, text = null) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text !== null) element.textContent = text;
  return element;
}

/**
 * A button that does something when it is pressed.
 * @param {Child} text
 * @param {(event: MouseEvent) => void} press
 * @param {Record<string, any>} attributes
 */
export const button = (text, press, attributes = {}) =>
  h("button", { type: "button", class: "pg-button", onclick: press, ...attributes }, text);

/**
 * A list to choose from.
 * @param {Iterable<readonly [value: string | number, label: string | number]>} options
 * @param {Record<string, any>} attributes
 */
export const select = (options, attributes = {}) =>
  h("select", attributes, ...Array.from(options, ([value, label]) => h("option", { value }, String(label))));

/**
 * A part of the page that scrolls by itself, by the keyboard too.
 * @param {string} look
 * @param {string} name
 * @param {Child[]} children
 */
export const scroller = (look, name, ...children) =>
  h("div", { class: look, tabindex: "0", role: "region", "aria-label": name }, ...children);

/**
 * What a panel begins with: its name, the question it answers, and its tools.
 * @param {string} title
 * @param {Child} question
 * @param {Child[]} tools
 */
export const head = (title, question, ...tools) =>
  h(
    "div",
    { class: "pg-head" },
    h("div", {}, h("h2", {}, title), h("p", {}, question)),
    h("div", { class: "pg-tools" }, ...tools),
  );

/**
 * An entry of a list of facts.
 * @param {string} label
 * @param {Child} value
 * @param {string} title
 */
export const fact = (label, value, title = "") => h("div", { title }, h("dt", {}, label), h("dd", {}, value));

/**
 * Add a fact whose value is filled in later; returns the place for it.
 * @param {HTMLElement} facts
 * @param {string} label
 */
export function slot(facts, label) {
  const value = h("dd", {}, "–");
  facts.append(h("div", {}, h("dt", {}, label), value));
  return value;
}

/**
 * Change a text only where it differs, so that nothing that is selected is lost.
 * @param {Node} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Replace the children only where they differ, so that nothing jumps under the pointer.
 * @param {Element} parent
 * @param {Element[]} wanted
 */
export function setChildren(parent, wanted) {
  const differs = parent.children.length !== wanted.length || wanted.some((child, i) => parent.children[i] !== child);
  if (differs) parent.replaceChildren(...wanted);
}

/**
 * The drawing context of a canvas.
 * @param {HTMLCanvasElement} canvas
 */
export const pen = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));

/* ---- the theme ---- */

/**
 * The value of a custom property, for canvas and Plotly, which cannot read them.
 * @param {string} name
 */
export const css = (name) =>
  getComputedStyle(document.querySelector(".gradio-container") || document.body)
    .getPropertyValue(name)
    .trim();

export const isDark = () => document.body.classList.contains("dark");

/** @type {(() => void)[]} */
const repaints = [];
/**
 * Panels that paint their own colours do it again when light turns to dark.
 * @param {() => void} repaint
 */
export function onTheme(repaint) {
  if (!repaints.length) {
    const watch = new MutationObserver(() => repaints.forEach((each) => each()));
    watch.observe(document.body, { attributes: true, attributeFilter: ["class"] });
  }
  repaints.push(repaint);
}

/**
 * Whether a person could see it.
 * @param {HTMLElement} element
 */
export const visible = (element) => !document.hidden && element.isConnected && element.offsetParent !== null;

/* ---- the tip that follows the pointer ---- */

/** @type {HTMLElement | null} */
let tip = null;

/**
 * @param {{clientX: number, clientY: number}} at
 * @param {(Node | string)[]} content
 */
export function showTip({ clientX, clientY }, ...content) {
  if (!tip) document.body.append((tip = h("div", { class: "pg-tip", role: "status" })));
  tip.replaceChildren(...content);
  tip.style.display = "block";
  const box = tip.getBoundingClientRect();
  const below = clientY + 18;
  tip.style.left = `${Math.max(4, Math.min(clientX + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${below + box.height > innerHeight ? clientY - box.height - 12 : below}px`;
}

export function hideTip() {
  if (tip) tip.style.display = "none";
}

/**
 * Which of n equal parts of an element lies under the pointer, from the left.
 * @param {{clientX: number}} event
 * @param {Element} element
 * @param {number} n
 */
export function columnUnder({ clientX }, element, n) {
  const box = element.getBoundingClientRect();
  return Math.max(0, Math.min(n - 1, Math.floor(((clientX - box.left) / box.width) * n)));
}

/**
 * Open a tab of the page, as a click on it does.
 * @param {string} name
 */
export function openTab(name) {
  /** @type {NodeListOf<HTMLElement>} */
  const tabs = document.querySelectorAll('#tabs button[role="tab"]');
  [...tabs].find((tab) => tab.textContent.trim() === name)?.click();
}

/* ---- waiting ---- */

/**
 * A panel asks again and again while something is being done for it, as long as it can be seen: more and more seldom,
 * until an answer brings news. One that says the same as before is no news to Gradio, which then tells the panel
 * nothing: so it asks until it is told that it need not.
 * @param {HTMLElement} root
 * @param {() => void} ask
 * @param {number} first milliseconds before it asks for the first time
 * @returns {(waits: boolean) => void}
 */
export function asking(root, ask, first = 700) {
  let timer = 0;
  /** @param {number} wait */
  function again(wait) {
    timer = setTimeout(() => {
      if (visible(root)) ask();
      again(Math.max(first, Math.min(1.5 * wait, SELDOM_MS)));
    }, wait);
  }
  return (waits) => {
    clearTimeout(timer);
    if (waits) again(first);
  };
}

const SELDOM_MS = 3000;

/**
 * What is being waited for, and how much of it is done, where that is known.
 * @param {string} words
 * @param {number | null | undefined} share
 */
export function waiting(words, share) {
  const known = share !== null && share !== undefined;
  const fill = h("div", {
    class: known ? "pg-bar-fill" : "pg-bar-fill pg-unknown",
    style: `width: ${known ? 100 * share : 30}%`,
  });
  return h("div", { class: "pg-waiting", role: "status" }, h("p", {}, words), h("div", { class: "pg-bar" }, fill));
}

/* Runs before all else, inside the document, so that what would keep the page from ever being built is met or told of. */

/* A browser that refuses storage (in a frame of another site whose cookies it blocks, or where it is told to keep nothing)
   throws at the mere mention of it, and Gradio would never get to build the page. It gets a memory that lasts as long as
   the page; you.js says so. */

for (const name of ["localStorage", "sessionStorage"]) {
  try {
    void (/** @type {any} */ (window)[name].length);
  } catch {
    /** @type {Map<string, string>} */
    const kept = new Map();
    const value = {
      getItem: (/** @type {unknown} */ key) => kept.get(String(key)) ?? null,
      setItem: (/** @type {unknown} */ key, /** @type {unknown} */ text) => void kept.set(String(key), String(text)),
      removeItem: (/** @type {unknown} */ key) => void kept.delete(String(key)),
      clear: () => kept.clear(),
      key: (/** @type {number} */ i) => [...kept.keys()][i] ?? null,
      get length() {
        return kept.size;
      },
    };
    Object.defineProperty(window, name, { value, configurable: true });
    document.documentElement.dataset.forgets = "yes";
  }
}

/* Gradio opens its page of the API when its button is pressed. An address that asks for it, `?view=api`, it takes for a page on which
   it is open already, and shows nothing: address.js presses the button once the page stands. */
const asked = new URL(location.href);
if (asked.searchParams.get("view") === "api") {
  asked.searchParams.delete("view");
  history.replaceState(history.state, "", asked);
  document.documentElement.dataset.asks = "api";
}

/* One panel of the page alone, for the pages of a course: `?embed=loss`, inside or play; page.css hides the rest. */
const shown = asked.searchParams.get("embed");
if (shown && ["loss", "inside", "play"].includes(shown)) document.documentElement.dataset.embed = shown;

/* Behind a proxy that tells the app another address than the one that the browser sees, what Gradio asks for can go astray, and
   the page would stay at "Loading…" without a word. */
const LONG_MS = 12_000;
setTimeout(() => {
  const root = /** @type {any} */ (window).gradio_config?.root;
  if (typeof root !== "string" || document.documentElement.dataset.greeted) return;
  const here = location.origin + location.pathname.replace(/\/+$/, "");
  const there = new URL(root, location.href).href.replace(/\/+$/, "");
  if (there === here) return;
  const path = location.pathname.replace(/\/+$/, "");
  const remedy = path
    ? `start it with GRADIO_ROOT_PATH=${path}`
    : "let the proxy pass on the headers Host and X-Forwarded-Proto";
  const said = document.createElement("p");
  said.className = "pg-warning pg-astray";
  said.textContent = `This page is at ${here}, and the app behind it was told that it is at ${there}: what the page asks for goes astray. To whoever runs it: ${remedy} (README of playground, "Behind a proxy").`;
  document.body.prepend(said);
}, LONG_MS);

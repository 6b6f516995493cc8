/* Runs before all else, inside the document: a browser that refuses storage (in a frame of another site whose cookies it
   blocks, or where it is told to keep nothing) throws at the mere mention of it, and Gradio would never get to build the
   page. It gets a memory that lasts as long as the page; you.js says so. */

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

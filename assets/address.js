/* What the address says after its #: the design, the tab, and the view and quantity of Inside, readable, as
   `#d=default,n_layer=6&tab=inside&view=heads`. */

/** Until it has been read, nothing is written over it. */
let read = false;

/** @returns {Map<string, string>} */
const parts = () =>
  new Map(
    location.hash
      .slice(1)
      .split("&")
      .filter(Boolean)
      .map((part) => {
        const i = part.indexOf("=");
        return i < 0 ? [part, ""] : [part.slice(0, i), part.slice(i + 1)];
      }),
  );

/**
 * Runs when the page has loaded, once it is known who looks: what the address asks for goes to the server in place of
 * the open run, of which there is none yet.
 * @param {unknown} visitor
 */
export function arrive(visitor) {
  const asked = parts();
  read = true;
  watchTabs();
  const { asks, embed } = document.documentElement.dataset;
  if (asks === "api") pressApi();
  if (embed) leadBack();
  return [visitor, { design: asked.get("d") ?? "", tab: embed === "inside" ? embed : (asked.get("tab") ?? "") }];
}

/**
 * @param {string} name
 * @param {string} value empty: it is left out
 * @param {boolean} [step] whether Back returns to what was before
 */
function put(name, value, step = false) {
  const now = parts();
  if (!read || (now.get(name) ?? "") === value) return;
  if (value) now.set(name, value);
  else now.delete(name);
  const hash = [...now].map(([key, text]) => `${key}=${text}`).join("&");
  const url = `${location.pathname}${location.search}${hash ? `#${hash}` : ""}`;
  if (step) history.pushState(history.state, "", url);
  else history.replaceState(history.state, "", url);
}

/**
 * The design that the recipe shows; the one that the page begins with needs no words.
 * @param {string} design
 */
export const putDesign = (design) => put("d", design === "default" && !parts().has("d") ? "" : design);

/**
 * What Inside shows; what it begins with needs no words.
 * @param {string} view
 * @param {string} quantity
 */
export function putLook(view, quantity) {
  put("view", view === FIRST_LOOK.view ? "" : view);
  put("quantity", quantity === FIRST_LOOK.quantity ? "" : quantity);
}

/** What the address asks Inside to show. */
export const lookAsked = () => ({
  view: parts().get("view") || FIRST_LOOK.view,
  quantity: parts().get("quantity") || FIRST_LOOK.quantity,
});

const FIRST_LOOK = { view: "diagram", quantity: "stream_rms" };

/** Opens Gradio's page of the API, as first.js noted that the address asks. */
const pressApi = () => /** @type {HTMLElement | null} */ (document.querySelector("footer .show-api"))?.click();

/** Below a panel that stands alone: where it comes from. */
function leadBack() {
  const whole = new URL(location.href);
  whole.searchParams.delete("embed");
  const link = document.createElement("a");
  Object.assign(link, { href: whole.href, target: "_blank", rel: "noopener", className: "pg-whole" });
  link.textContent = "Open in the playground";
  document.body.append(link);
}

/** A tab that a person opens is a step that Back returns from. */
function watchTabs() {
  const bar = document.querySelector("#tabs [role=tablist]");
  if (!bar) return;
  const watch = new MutationObserver(() => {
    const open = bar.querySelector('[role="tab"][aria-selected="true"]');
    const name = open?.textContent?.trim().toLowerCase() ?? "";
    if (name) put("tab", name === "play" ? "" : name, true);
  });
  watch.observe(bar, { subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
}

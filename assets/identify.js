/* Who looks: the secret that this browser keeps, and the host's token where it has one. Runs when the page has loaded, perhaps before
   any other script is there. Takes what was kept, a secret alone in older pages, and gives what is kept from now on. */
(kept) => {
  const token = new URLSearchParams(location.hash.slice(1)).get("host");
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const key = (kept && typeof kept === "object" ? kept.key : kept) || fresh();
  if (token) history.replaceState(history.state, "", location.pathname + location.search); // not for everybody's eyes on a projector
  window.playgroundVisitor = { key, host: token || (kept && kept.host) || null };
  return { ...window.playgroundVisitor };
}

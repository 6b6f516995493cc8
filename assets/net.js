/* Asking the server as somebody: the secret that this browser keeps, and the host's token where it has one. */

import { h } from "./dom.js";

/** @typedef {{key: string | null, host: string | null}} Visitor */

/** @type {Visitor} */
let visitor = { key: null, host: null };
/** A random name of this page: the server counts those that look. */
const PAGE = randomHex(8);

export const who = () => visitor;

/** @param {number} bytes */
function randomHex(bytes) {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Runs when the page has loaded. Takes what this browser has kept (older pages kept the secret alone), gives what it
 * keeps from now on. The host's token leaves the address: not for everybody's eyes on a projector.
 * @param {Partial<Visitor> | string | null} kept
 */
export function identify(kept) {
  const token = new URLSearchParams(location.hash.slice(1)).get("host");
  if (token) history.replaceState(history.state, "", location.pathname + location.search);
  const before = typeof kept === "string" ? { key: kept } : kept || {};
  visitor = { key: before.key || randomHex(24), host: token || before.host || null };
  return { ...visitor };
}

/**
 * A path of the app as an address, also where the app is hosted under a path of its own.
 * @param {string} path
 */
export const address = (path) => new URL(path, document.baseURI);

/** @returns {Record<string, string>} */
function headers() {
  const { key, host } = visitor;
  return {
    ...(key ? { "X-Playground-Key": key } : {}),
    ...(host ? { "X-Playground-Host": host } : {}),
    "X-Playground-Page": PAGE,
  };
}

/** An answer that says what is wrong. */
export class Refused extends Error {
  /** @param {{error?: string, code?: string, share?: number | null, words?: string, place?: number}} body @param {Response} response */
  constructor(body, response) {
    super(body.error || response.statusText);
    this.status = response.status === 202 ? 503 : response.status; // accepted, and not there yet
    this.body = body;
  }
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
export async function get(path) {
  const response = await fetch(address(path), { headers: headers() });
  const body = await response.json();
  if (!response.ok || response.status === 202) throw new Refused(body, response);
  return body;
}

const AGAIN_MS = 1000;
/**
 * As `get`, of what takes the server a while: asked for again until it is there. `say` is told how far it is, and
 * returns whether it is still wanted; where it is not, this returns null and the server stops computing it.
 * @param {string} path
 * @param {(words: string) => boolean} say
 * @returns {Promise<any>}
 */
export async function getAtLength(path, say) {
  for (;;) {
    try {
      return await get(path);
    } catch (error) {
      if (!(error instanceof Refused) || error.body.code !== "underway") throw error;
      const { place, words, share } = error.body;
      const done = typeof share === "number" ? `, ${Math.round(100 * share)}%` : "";
      if (!say(place ? `Number ${place} in line.` : `Under way: ${words}${done}.`)) return null;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));
/** @param {unknown} error */
export const statusOf = (error) => (error instanceof Refused ? error.status : null);

/** What to say of an error while asking goes on. @param {unknown} error */
export const whyNot = (error) =>
  statusOf(error) === null ? "The playground does not answer; trying again." : messageOf(error);

/**
 * A link to a file. That of a private run is for whoever shows the key, which a plain link cannot.
 * @param {string} path
 * @param {Record<string, any>} attributes
 * @param {string} text
 * @param {boolean} guarded
 */
export function download(path, attributes, text, guarded) {
  /** @param {Event} event */
  async function fetched(event) {
    event.preventDefault();
    const response = await fetch(address(path), { headers: headers() });
    if (!response.ok) return;
    const named = /filename="?([^";]+)/.exec(response.headers.get("content-disposition") || "");
    save(named ? named[1] : "", await response.blob());
  }
  const listener = guarded ? { onclick: fetched } : {};
  return h("a", { href: address(path).href, download: "", ...attributes, ...listener }, text);
}

/**
 * Hand a file to the person.
 * @param {string} name
 * @param {Blob} blob
 */
export function save(name, blob) {
  const href = URL.createObjectURL(blob);
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/**
 * Copy to the clipboard; where the browser refuses it, do something else. Returns whether it was copied.
 * @param {string} text
 * @param {() => void} otherwise
 */
export async function copy(text, otherwise) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    otherwise();
    return false;
  }
}

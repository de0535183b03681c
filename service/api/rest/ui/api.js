/* The service as the page sees it. Every address is relative to the page, so that a path prefix in front changes nothing. */

import { ASKED_THRESHOLD, query } from "./settings.js";

const EXTENSIONS = {
  jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", webp: "image/webp", bmp: "image/bmp", tif: "image/tiff", tiff: "image/tiff",
};

/** What the service refused or could not do: an RFC 9457 problem document, or the nearest to one that can be said. */
export class Problem extends Error {
  constructor({ title, detail = "", code = "", status = 0, requestId = "", retryAfterS = null }) {
    super(title);
    Object.assign(this, { title, detail, code, status, requestId, retryAfterS });
  }

  /** Whether the same request may go better later. */
  get mayPass() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** A path of the service, with or without its leading slash, as an absolute URL under the page's own address. */
export const address = (path) => new URL(path.replace(/^\/+/, ""), new URL(".", document.baseURI));

async function ask(url, options = {}) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({
      title: "The service did not answer",
      detail: "The connection failed before an answer came. It may be restarting, or the network between you and it is down.",
    });
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response) {
  let document = {};
  try {
    document = await response.json();
  } catch { /* a proxy's own page, not a problem document: the status must do */ }
  const retryAfterS = Number.parseFloat(response.headers.get("retry-after") ?? "");
  return new Problem({
    title: document.title || `The service answered ${response.status}`,
    detail: typeof document.detail === "string" ? document.detail : "",
    code: document.code ?? "",
    status: document.status ?? response.status,
    requestId: document.request_id ?? response.headers.get("x-request-id") ?? "",
    retryAfterS: Number.isFinite(retryAfterS) ? retryAfterS : null,
  });
}

/** The models being served, the default first; `pinned` where the name alone would not tell which version is meant. */
export async function listModels() {
  const { models } = await (await ask(address("v1/models"))).json();
  const names = models.map(({ name }) => name);
  return models
    .map((model) => ({ ...model, pinned: names.indexOf(model.name) !== names.lastIndexOf(model.name) }))
    .sort((a, b) => Number(b.default ?? false) - Number(a.default ?? false));
}

/** Queue, latency and throughput of the last minute. */
export const readStatus = async () => (await ask(address("v1/status"))).json();

/** Addresses of a model's sample images; none is a fine answer. */
export const examplesOf = (model) => (model.examples ?? []).map((path) => address(path));

/** A sample image as a File. */
export async function fetchExample(url) {
  const blob = await (await ask(url)).blob();
  return new File([blob], fileName(url), { type: blob.type });
}

export const fileName = (url) => decodeURIComponent(url.pathname.split("/").pop());

/** The file's own content type, else the one its ending promises. */
export function contentType({ type, name }) {
  return type || EXTENSIONS[name.split(".").pop().toLowerCase()] || "application/octet-stream";
}

/** Where to post an image for the detections of these settings. */
export function detectUrl(settings, threshold) {
  const url = address(`v1/models/${encodeURIComponent(settings.model.name)}/detect`);
  for (const [name, value] of query(settings, threshold)) url.searchParams.append(name, value);
  return url;
}

/** The image's detections: {answer, text, roundTripMs}. Raises Problem. */
export async function detect(settings, file, signal) {
  const started = performance.now();
  const response = await ask(detectUrl(settings, ASKED_THRESHOLD), {
    method: "POST",
    headers: { "Content-Type": contentType(file), Accept: "application/json" },
    body: file,
    signal,
  });
  const text = await response.text();
  return { answer: JSON.parse(text), text, roundTripMs: performance.now() - started };
}

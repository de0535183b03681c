/* The service as the page sees it. Every address is relative to the page, so that a path prefix in front changes nothing. */

/** Asked once per image, low enough that the slider never needs to ask again. */
export const ASKED_THRESHOLD = 0.05;

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

/** The models being served, the default first. */
export async function listModels() {
  const { models } = await (await ask(address("v1/models"))).json();
  return [...models].sort((a, b) => Number(b.default ?? false) - Number(a.default ?? false));
}

/** Addresses of a model's sample images; none is a fine answer. */
export async function listExamples(model) {
  const { examples = [] } = await (await ask(address(`v1/models/${encodeURIComponent(model.name)}`))).json();
  return examples.map((path) => address(path));
}

/** A sample image as a File. */
export async function fetchExample(url) {
  const blob = await (await ask(url)).blob();
  return new File([blob], fileName(url), { type: blob.type });
}

export const fileName = (url) => decodeURIComponent(url.pathname.split("/").pop());

/** The file's own content type, else the one its ending promises. */
export function contentType(file) {
  return file.type || EXTENSIONS[file.name.split(".").pop().toLowerCase()] || "application/octet-stream";
}

function detectUrl(model, threshold) {
  const url = address(`v1/models/${encodeURIComponent(model.name)}/detect`);
  if (model.pinned) url.searchParams.set("version", model.version);
  url.searchParams.set("score_threshold", String(threshold));
  if (model.task !== "detection") url.searchParams.set("masks", "rle");
  return url;
}

/** The image's detections: {answer, text, roundTripMs}. Raises Problem. */
export async function detect(model, file, signal) {
  const started = performance.now();
  const response = await ask(detectUrl(model, ASKED_THRESHOLD), {
    method: "POST",
    headers: { "Content-Type": contentType(file), Accept: "application/json" },
    body: file,
    signal,
  });
  const text = await response.text();
  return { answer: JSON.parse(text), text, roundTripMs: performance.now() - started };
}

const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** A shell line that gets what the page shows. A sample is fetched first, so that the line runs as it stands. */
export function curlLine(model, file, threshold, sampleUrl = null) {
  const body = sampleUrl ? "@-" : quote(`@${file.name}`);
  return [
    ...(sampleUrl ? [`curl -s ${quote(sampleUrl.href)} |`] : []),
    `curl -s ${quote(detectUrl(model, threshold).href)}`,
    `  -H ${quote(`Content-Type: ${contentType(file)}`)}`,
    `  --data-binary ${body}`,
  ].join(" \\\n").replaceAll("| \\\n", "|\n");
}

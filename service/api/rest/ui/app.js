/*
 * The page: give an image, see what the model finds.
 *
 * One request per image, at a low threshold; slider, legend and layers then only choose what to draw of its answer.
 * #page carries the state for eyes other than ours: data-state (starting, idle, busy, done, failed), data-count (drawn),
 * data-total (answered), data-image, data-model.
 */

import * as api from "./api.js";
import { buildLegend, drawHistogram, drawTimings, element, milliseconds, renderAnswer } from "./panels.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const page = $("page");

const viewer = new Viewer({
  stage: $("stage"), picture: $("picture"), overlay: $("overlay"), tip: $("tip"),
  onFocus: (words) => { $("status").textContent = words; },
});

let models = [];
let model = null;
let source = null; // {file, sampleUrl} as last given
let result = null; // {answer, text, single, setCounts} of the image on show
let hidden = new Set(); // labels switched off in the legend
let inFlight = null; // AbortController of the request under way
let turn = 0; // grows with every image given: an answer of an older turn is dropped

/* ---- models and samples ---- */

async function start() {
  try {
    models = await api.listModels();
  } catch (error) {
    return fail(error, start);
  }
  const names = models.map((m) => m.name);
  for (const m of models) m.pinned = names.indexOf(m.name) !== names.lastIndexOf(m.name);
  $("model").replaceChildren(...models.map((m, i) =>
    element("option", { value: String(i), textContent: m.pinned ? `${m.name} ${m.version}` : m.name })));
  $("model").disabled = models.length < 1;
  if (!models.length) {
    return fail(new api.Problem({ title: "No model is loaded", detail: "The service runs, but serves no model yet." }), start);
  }
  hideProblem();
  const wanted = new URLSearchParams(location.hash.slice(1)).get("model");
  $("model").value = String(Math.max(0, names.indexOf(wanted)));
  await choose(models[Number($("model").value)]);
}

async function choose(chosen) {
  const mine = ++turn;
  inFlight?.abort();
  model = chosen;
  state("busy");
  page.dataset.model = model.name;
  hidden = new Set();
  $("model-facts").replaceChildren(
    element("span", { className: "state", dataset: { state: model.state ?? "" }, textContent: model.state ?? "" }),
    element("span", { textContent: model.version }),
    element("span", { className: "task", textContent: model.task ?? "" }),
    element("code", { textContent: (model.digest ?? "").replace(/^sha256:/, "").slice(0, 10), title: model.digest ?? "" }));
  layer("names", (model.labels ?? []).length !== 1);
  const masksToggle = document.querySelector('[data-layer="masks"]');
  masksToggle.hidden = model.task === "detection";

  const examples = await api.listExamples(model).catch(() => []);
  if (model !== chosen) return;
  $("samples").hidden = !examples.length;
  $("sample-list").replaceChildren(...examples.map((url) => {
    const button = element("button", { type: "button", className: "sample", dataset: { url: url.href } },
      element("img", { src: url.href, alt: `Sample ${api.fileName(url)}`, loading: "lazy", decoding: "async" }));
    button.addEventListener("click", () => giveSample(url));
    return element("li", {}, button);
  }));

  // A file of the visitor's own moves on to the new model; a sample of another model would say little about this one.
  if (mine !== turn) return; // something was given meanwhile, and is under way
  if (source && !source.sampleUrl) return run();
  if (examples.length) return giveSample(examples[0]);
  source = null;
  clear();
  state("idle");
}

async function giveSample(url) {
  const mine = ++turn;
  inFlight?.abort();
  state("busy");
  try {
    const file = await api.fetchExample(url);
    if (mine === turn) await give(file, url);
  } catch (error) {
    if (mine === turn) fail(error, () => giveSample(url));
  }
}

/* ---- one image, one request ---- */

function give(file, sampleUrl = null) {
  source = { file, sampleUrl };
  return run();
}

async function run() {
  if (!model) return;
  const { file, sampleUrl } = source;
  const mine = ++turn;
  inFlight?.abort();
  inFlight = new AbortController();
  hideProblem();
  clear();
  state("busy");
  page.dataset.image = file.name;
  for (const sample of document.querySelectorAll(".sample")) {
    sample.setAttribute("aria-pressed", String(sample.dataset.url === sampleUrl?.href));
  }
  fileFacts(file);
  showCurl();

  const bitmap = createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  bitmap.then((pixels) => {
    if (mine !== turn) return pixels?.close();
    viewer.show(pixels);
    $("empty").hidden = Boolean(pixels);
    if (pixels) fileFacts(file, pixels);
  });
  try {
    const given = await api.detect(model, file, inFlight.signal);
    await bitmap;
    if (mine === turn) succeed(given);
  } catch (error) {
    if (mine === turn && error.name !== "AbortError") fail(error, run);
  }
}

function succeed({ answer, text, roundTripMs }) {
  const single = (model.labels ?? []).length === 1 && answer.detections.some((d) => d.mask);
  result = { answer, text, single };
  viewer.found(answer.image, answer.detections, single);
  $("empty").hidden = true;
  fileFacts(source.file, answer.image);
  result.setCounts = buildLegend($("legend"), answer.detections, { single, hidden, onToggle: refilter });
  drawHistogram($("histogram"), answer.detections.map((d) => d.score), api.ASKED_THRESHOLD);
  drawTimings({ total: $("time-total"), bar: $("time-bar"), list: $("time-list") }, answer.timings_ms ?? {});
  $("round-trip").textContent = `${milliseconds(roundTripMs)} there and back, as this browser saw it`;
  $("request-id").textContent = answer.request_id ? `request ${answer.request_id}` : "";
  $("answer-facts").textContent = `${kilobytes(text.length)} of JSON`;
  copyButton("json").disabled = false;
  if ($("answer").open) renderAnswer($("json"), answer);
  state("done");
  refilter();
}

/** What the slider, the legend and the layers come down to: no request, only another choice of what to draw. */
function refilter() {
  const threshold = Number($("threshold").value);
  $("threshold-value").textContent = threshold.toFixed(2);
  $("histogram").style.setProperty("--cut", `${((threshold - api.ASKED_THRESHOLD) / (1 - api.ASKED_THRESHOLD)) * 100}%`);
  showCurl();
  if (!result) return;
  const { detections } = result.answer;
  const counts = new Map();
  for (const d of detections) {
    if (d.score >= threshold && !hidden.has(d.label)) counts.set(d.label, (counts.get(d.label) ?? 0) + 1);
  }
  const shown = viewer.filter(threshold, hidden);
  result.setCounts(counts);
  page.dataset.count = String(shown);
  page.dataset.total = String(detections.length);
  $("count").textContent = String(shown);
  $("count-words").textContent = shown === detections.length
    ? (shown === 1 ? "detection" : "detections")
    : `of ${detections.length} detections`;
  $("overlay").setAttribute("aria-label", `${page.dataset.image}: ${
    [...counts].map(([label, n]) => `${n} ${label}`).join(", ") || "nothing found at this score"}`);
}

function clear() {
  result = null;
  viewer.show(null);
  $("empty").hidden = false;
  Object.assign(page.dataset, { count: "0", total: "0" });
  $("count").textContent = "–";
  $("count-words").textContent = "detections";
  $("legend").replaceChildren(element("li", { className: "muted", textContent: "Nothing yet" }));
  $("histogram").replaceChildren();
  $("time-total").textContent = "–";
  $("time-bar").replaceChildren();
  $("time-bar").setAttribute("aria-label", "No timings yet");
  $("time-list").replaceChildren();
  $("round-trip").textContent = "";
  $("request-id").textContent = "";
  $("answer-facts").textContent = "";
  $("json").textContent = "Nothing yet.";
  copyButton("json").disabled = true;
}

/* ---- when it goes wrong ---- */

let again = null;

function fail(error, retry) {
  const problem = error instanceof api.Problem
    ? error
    : new api.Problem({ title: "The page could not use the answer", detail: String(error.message ?? error) });
  again = retry;
  state("failed");
  $("empty").hidden = true;
  $("problem-title").textContent = problem.title;
  $("problem-detail").textContent = problem.detail;
  $("problem-advice").textContent = problem.retryAfterS !== null
    ? `The service asks to wait ${Math.max(1, Math.ceil(problem.retryAfterS))} s before trying again.`
    : "";
  const facts = [["Status", problem.status || ""], ["Code", problem.code], ["Request", problem.requestId]];
  $("problem-facts").replaceChildren(...facts.filter(([, value]) => value !== "").map(([name, value]) =>
    element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: String(value) }))));
  $("retry").hidden = !problem.mayPass;
  $("problem").hidden = false;
}

function hideProblem() {
  $("problem").hidden = true;
}

/* ---- small things ---- */

function state(name) {
  page.dataset.state = name;
  $("stage").setAttribute("aria-busy", String(name === "busy"));
  if (name === "busy") $("status").textContent = "Detecting";
}

function kilobytes(bytes) {
  if (bytes < 1e3) return `${bytes} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function fileFacts(file, image = null) {
  $("file-facts").replaceChildren(
    element("strong", { textContent: file.name, title: file.name }),
    element("span", { className: "muted", textContent: [
      image && `${image.width} × ${image.height}`,
      kilobytes(file.size),
      image && !viewer.hasPicture && "no preview of this format in this browser",
    ].filter(Boolean).join(" · ") }));
}

function showCurl() {
  if (!model || !source) return;
  $("curl").textContent = api.curlLine(model, source.file, Number($("threshold").value), source.sampleUrl);
  copyButton("curl").disabled = false;
}

const copyButton = (what) => document.querySelector(`[data-copy="${what}"]`);

async function copy(button) {
  const text = button.dataset.copy === "json" ? result.text : $("curl").textContent;
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard API over plain HTTP from another host: the old way still works there.
    const area = element("textarea", { value: text, className: "visually-hidden" });
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = done ? "Copied" : "Not allowed";
  $("status").textContent = button.textContent;
  setTimeout(() => { button.textContent = "Copy"; }, 1600);
}

function layer(name, on) {
  document.querySelector(`[data-layer="${name}"]`).setAttribute("aria-pressed", String(on));
  viewer.layer(name, on);
}

const firstImage = (transfer) => [...(transfer?.files ?? [])][0];

/* ---- what the visitor does ---- */

$("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) give(target.files[0]);
  target.value = ""; // the same file again is a new wish
});
$("model").addEventListener("change", ({ target }) => {
  history.replaceState(null, "", `#model=${encodeURIComponent(models[Number(target.value)].name)}`);
  choose(models[Number(target.value)]);
});
$("threshold").addEventListener("input", refilter);
for (const button of document.querySelectorAll("[data-layer]")) {
  button.addEventListener("click", () => layer(button.dataset.layer, button.getAttribute("aria-pressed") !== "true"));
}
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
$("answer").addEventListener("toggle", () => {
  if ($("answer").open && result) renderAnswer($("json"), result.answer);
});
$("retry").addEventListener("click", () => again?.());
$("dismiss").addEventListener("click", () => {
  hideProblem();
  $("empty").hidden = viewer.hasPicture;
});

let depth = 0; // dragenter and dragleave also fire for every child crossed
addEventListener("dragenter", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  depth++;
  page.classList.add("dragging");
});
addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  if (!depth) page.classList.remove("dragging");
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  page.classList.remove("dragging");
  const file = firstImage(event.dataTransfer);
  if (file) give(file);
});
addEventListener("paste", (event) => {
  const file = firstImage(event.clipboardData);
  if (file) give(file);
});

refilter();
start();

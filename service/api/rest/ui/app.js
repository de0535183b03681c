/*
 * The desk: give images, see what the models find, side by side if you like.
 *
 * One request per image and settings, at a low threshold; slider, legend and layers then only choose what to draw of it.
 * #page carries the state for eyes other than ours: data-state (starting, idle, busy, done, failed), data-image, and of the
 * side chosen data-model, data-count (drawn) and data-total (answered). Every .pane carries its own.
 */

import { agreement } from "./agreement.js";
import * as api from "./api.js";
import { asProblem, Asker, entryOf } from "./asker.js";
import { copyText } from "./copy.js";
import { byId, element, kilobytes } from "./dom.js";
import { answerText, showAgreement, showAnswer, showCounts, showJson, showLatencies } from "./figures.js";
import { Gallery } from "./gallery.js";
import { takeIn } from "./intake.js";
import { watchService } from "./live.js";
import { Pane } from "./pane.js";
import { ProblemBox } from "./problem-box.js";
import { SettingsForm } from "./settings-form.js";
import { ASKED_THRESHOLD, defaults } from "./settings.js";
import { SNIPPETS } from "./snippets.js";
import { wireTabs } from "./tabs.js";

const page = byId("page");
const tell = (words) => { byId("status").textContent = words; };

/* ---- what is on the desk ---- */

let models = [];
const samples = new Map(); // model -> its sample pictures
let own = []; // the visitor's pictures, {name, file, sampleUrl, thumbnail, answers}
let current = null; // the picture on show
let bitmap = null; // its pixels, null where the browser cannot show the format
let loading = false; // whether its file or pixels are still on their way
const settings = { a: null, b: null };
let active = "a"; // the side that form, figures and snippets speak of
let comparing = false;
let onlyDifferences = false;
const hidden = new Set(); // labels switched off in the legend
let snippet = "curl";

const asker = new Asker((picture) => { if (picture === current) refresh(); else refreshGallery(); });
const gallery = new Gallery(byId("gallery"), { onPick: choose, onRemove: remove });
const form = new SettingsForm(byId("settings"), change);
const deskProblem = new ProblemBox(byId("desk-problem"));
const panes = Object.fromEntries(["a", "b"].map((side) => [side, new Pane(side, {
  onPick: () => activate(side),
  onRetry: () => { asker.again(current, settings[side]); refresh(); },
  onFocus: tell,
})]));
byId("panes").append(panes.a.root, panes.b.root);
panes.b.root.hidden = true;

const sides = () => (comparing ? ["a", "b"] : ["a"]);
const entryAt = (side) => (current?.file && settings[side] ? entryOf({ picture: current, settings: settings[side] }) : null);
const threshold = () => byId("threshold").valueAsNumber;

const picture = (name, file, sampleUrl, thumbnail) => ({ name, file, sampleUrl, thumbnail, answers: new Map() });

function samplesOf(model) {
  if (!samples.has(model)) {
    samples.set(model, api.examplesOf(model).map((url) => picture(api.fileName(url), null, url, url.href)));
  }
  return samples.get(model);
}

/* ---- what the visitor does ---- */

async function start() {
  deskProblem.hide();
  try {
    models = await api.listModels();
    if (!models.length) throw new api.Problem({ title: "No model is loaded", detail: "The service runs, but serves no model yet.", status: 503 });
  } catch (error) {
    page.dataset.state = "failed";
    setTimeout(() => { if (!models.length) start(); }, 3000); // it may just be starting
    return deskProblem.show(asProblem(error), start);
  }
  form.offer(models);
  const wanted = new URLSearchParams(location.hash.slice(1)).get("model");
  change(defaults(models.find((m) => m.name === wanted) ?? models[0]));
}

/** The side chosen gets other settings. */
function change(chosen) {
  const otherModel = settings[active]?.model !== chosen.model;
  settings[active] = chosen;
  if (otherModel && active === "a") {
    history.replaceState(null, "", `#model=${encodeURIComponent(chosen.model.name)}`);
    layer("names", chosen.model.labels.length !== 1);
    gallery.offer([...own, ...samplesOf(chosen.model)]);
    // A picture of the visitor's own stays for the new model; a sample of another model would say little about this one.
    if (!current || (current.sampleUrl && !comparing)) return choose(samplesOf(chosen.model)[0] ?? own[0] ?? null);
  }
  refresh();
}

/** Put a picture on show. */
async function choose(chosen) {
  current = chosen;
  bitmap?.close();
  bitmap = null;
  loading = Boolean(chosen);
  deskProblem.hide();
  refresh();
  if (!chosen) return;
  gallery.reveal(chosen);
  try {
    chosen.file ??= await api.fetchExample(chosen.sampleUrl);
  } catch (error) {
    if (chosen !== current) return;
    loading = false;
    page.dataset.state = "failed";
    return deskProblem.show(asProblem(error), () => choose(chosen));
  }
  if (chosen !== current) return;
  askAround();
  const pixels = await createImageBitmap(chosen.file, { imageOrientation: "from-image" }).catch(() => null);
  if (chosen !== current) return pixels?.close();
  bitmap = pixels;
  loading = false;
  refresh();
}

function give(files) {
  const given = files.map((file) => picture(file.name, file, null, URL.createObjectURL(file)));
  own = [...given, ...own];
  if (settings.a) gallery.offer([...own, ...samplesOf(settings.a.model)]);
  tell(given.length > 1 ? `${given.length} images` : given[0].name);
  choose(given[0]);
}

function remove(gone) {
  URL.revokeObjectURL(gone.thumbnail);
  own = own.filter((one) => one !== gone);
  gallery.offer([...own, ...samplesOf(settings.a.model)]);
  if (gone === current) choose(own[0] ?? samplesOf(settings.a.model)[0] ?? null);
  else refresh();
}

/** Form, figures and snippets speak of this side from now on. */
function activate(side) {
  active = side;
  for (const button of document.querySelectorAll("[data-side-tab]")) {
    button.setAttribute("aria-pressed", String(button.dataset.sideTab === side));
  }
  refresh();
}

function compare(on) {
  comparing = on;
  byId("compare").setAttribute("aria-pressed", String(on));
  page.dataset.panes = on ? "2" : "1";
  panes.b.root.hidden = byId("side-tabs").hidden = byId("differences").hidden = !on;
  if (on) settings.b ??= defaults(models.find((m) => m !== settings.a.model) ?? models[0]);
  activate(on ? "b" : "a");
}

/* ---- what follows from it ---- */

/** Ask for what is on show, then for the visitor's other pictures. */
function askAround() {
  const others = own.filter((one) => one !== current);
  asker.want([current, ...others].filter((one) => one?.file).flatMap((one) =>
    sides().map((side) => ({ picture: one, settings: settings[side] }))));
}

function refresh() {
  if (!settings[active]) return;
  askAround();
  form.show(settings[active]);
  for (const side of sides()) panes[side].update(bitmap, loading ? null : entryAt(side), settings[side], current?.name);
  page.dataset.state = stateOfAll();
  page.dataset.image = current?.name ?? "";
  page.dataset.model = settings[active].model.name;
  byId("panes").dataset.active = active;
  byId("empty").hidden = current !== null;
  document.querySelector('[data-layer="masks"]').hidden = sides().every((side) => settings[side].model.task !== "segmentation");
  fileFacts();
  showAnswer(answered(active), settings[active], hidden, refilter);
  showLatencies(asker.latenciesMs(settings[active]));
  byId("again").disabled = !answered(active);
  refilter();
}

const answered = (side) => {
  const entry = loading ? null : entryAt(side);
  return entry?.state === "done" ? entry : null;
};

function stateOfAll() {
  if (!current) return "idle";
  const states = sides().map((side) => entryAt(side)?.state ?? "busy");
  if (loading || states.some((state) => state === "waiting" || state === "busy")) return "busy";
  return states.includes("failed") ? "failed" : "done";
}

/** What the slider, the legend and the layers come down to: no request, only another choice of what to draw. */
function refilter() {
  byId("threshold-value").textContent = threshold().toFixed(2);
  byId("histogram").style.setProperty("--cut", `${((threshold() - ASKED_THRESHOLD) / (1 - ASKED_THRESHOLD)) * 100}%`);
  if (!settings[active]) return;
  const shown = Object.fromEntries(sides().map((side) => [side, panes[side].filter(threshold(), hidden)]));
  const found = comparing && answered("a") && answered("b") ? agreement(shown.a, shown.b) : null;
  for (const side of sides()) panes[side].leaveOut(found && onlyDifferences ? found.agreed : null);
  showAgreement(found);
  const words = showCounts(answered(active), shown[active]);
  page.dataset.count = String(shown[active].length);
  page.dataset.total = panes[active].root.dataset.total;
  if (current) panes[active].overlay.setAttribute("aria-label", `${current.name}: ${words}`);
  showSnippet();
  refreshGallery();
}

function refreshGallery() {
  if (!settings.a) return;
  gallery.update(current, (one) => {
    const entry = one.file ? entryOf({ picture: one, settings: settings.a }) : { state: "waiting" };
    const count = entry.state === "done"
      ? entry.answer.detections.filter((d) => d.score >= threshold() && !hidden.has(d.label)).length
      : 0;
    return { state: entry.state, count };
  });
}

function fileFacts() {
  if (!current) return byId("file-facts").replaceChildren(element("span", { className: "muted", textContent: "No image yet" }));
  const image = bitmap ?? answered(active)?.answer.image;
  byId("file-facts").replaceChildren(
    element("strong", { textContent: current.name, title: current.name }),
    element("span", { className: "muted", textContent: [
      image && `${image.width} × ${image.height}`,
      current.file && kilobytes(current.file.size),
      !bitmap && !loading && "no preview of this format in this browser",
    ].filter(Boolean).join(" · ") }));
}

function showSnippet() {
  if (!current?.file) return;
  byId("snippet").textContent = SNIPPETS[snippet]({
    settings: settings[active], file: current.file, sampleUrl: current.sampleUrl, threshold: threshold(),
  });
  byId("copy-snippet").disabled = false;
}

function layer(name, on) {
  document.querySelector(`[data-layer="${name}"]`).setAttribute("aria-pressed", String(on));
  for (const pane of Object.values(panes)) pane.layer(name, on);
}

/* ---- wires ---- */

takeIn(byId("file"), page, give);
byId("threshold").addEventListener("input", refilter);
byId("compare").addEventListener("click", () => compare(!comparing));
byId("again").addEventListener("click", () => { asker.again(current, settings[active]); refresh(); });
byId("differences").addEventListener("click", () => {
  onlyDifferences = !onlyDifferences;
  byId("differences").setAttribute("aria-pressed", String(onlyDifferences));
  refilter();
});
for (const button of document.querySelectorAll("[data-layer]")) {
  button.addEventListener("click", () => layer(button.dataset.layer, button.getAttribute("aria-pressed") !== "true"));
}
for (const button of document.querySelectorAll("[data-side-tab]")) {
  button.addEventListener("click", () => activate(button.dataset.sideTab));
}
wireTabs(byId("snippet-tabs"), (name) => { snippet = name; byId("snippet").setAttribute("aria-labelledby", `tab-${name}`); showSnippet(); });
byId("copy-snippet").addEventListener("click", ({ target }) => copyText(target, byId("snippet").textContent, tell));
byId("copy-json").addEventListener("click", ({ target }) => copyText(target, answerText(), tell));
byId("answer").addEventListener("toggle", showJson);

refilter();
watchService();
start();

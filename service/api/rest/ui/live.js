/* How the service is doing now: asked every other second while the page is in sight. */

import { readStatus } from "./api.js";
import { byId, element, milliseconds } from "./dom.js";
import { drawSparkline } from "./sparkline.js";

const PERIOD_MS = 2000;
const SLOTS = 45; // a minute and a half
const history = { queue: [], p95: [], rate: [] };

/** Begin, and go on until the page is closed. */
export function watchService() {
  let timer = null;
  const look = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    await readStatus().then(show, () => show(null));
    timer = setTimeout(look, PERIOD_MS);
  };
  document.addEventListener("visibilitychange", look);
  look();
}

function show(status) {
  const state = status?.state ?? "unreachable";
  for (const pill of [byId("pill"), byId("live-state")]) pill.dataset.state = state;
  byId("live-state").textContent = state;
  if (!status) {
    byId("pill-words").textContent = "no answer";
    for (const figures of Object.values(history)) remember(figures, null);
    return;
  }
  const { models } = status;
  const answered = models.filter((m) => m.p95_s !== null);
  const queue = sum(models, "queue_depth");
  const rate = sum(models, "answers_per_s");
  const worst = answered.length ? Math.max(...answered.map((m) => m.p95_s)) * 1e3 : null; // never an average of percentiles
  const p95 = worst === null ? "–" : milliseconds(worst);
  byId("pill-words").textContent = worst === null ? state : `p95 ${p95}`;
  figure("queue", queue, String(queue), `${status.in_flight_requests} inside, ${sum(models, "queued_work_s").toFixed(2)} s of work`);
  figure("p95", worst, p95, answered.length > 1 ? "the slowest model" : "answers of the last minute");
  figure("rate", rate, rate.toFixed(rate < 10 ? 2 : 0), `${sum(models, "requests")} requests, ${sum(models, "failed")} without answer`);
  byId("live-models").replaceChildren(...models.map(row));
}

function figure(name, value, text, words) {
  remember(history[name], value);
  const box = document.querySelector(`[data-live="${name}"]`);
  box.querySelector(".live-figure").textContent = text;
  box.querySelector(".live-words").textContent = words;
  drawSparkline(box.querySelector(".spark"), history[name], { slots: SLOTS, label: `${text}, over the last minutes` });
}

function remember(figures, value) {
  figures.push(value);
  if (figures.length > SLOTS) figures.shift();
}

const sum = (rows, field) => rows.reduce((all, row) => all + row[field], 0);
const time = (seconds) => (seconds === null ? "–" : milliseconds(seconds * 1e3));

function row(model) {
  const digest = model.digest.replace(/^sha256:/, "").slice(0, 10);
  const cells = [
    element("th", { scope: "row" }, model.name, element("span", { className: "muted", textContent: ` ${model.version}` })),
    element("td", { className: "wide" }, element("code", { textContent: digest, title: model.digest })),
    element("td", { className: "wide", textContent: `${model.engine} ${model.precision}` }),
    ...[String(model.queue_depth), time(model.p50_s), time(model.p95_s), model.answers_per_s.toFixed(2)].map((text) =>
      element("td", { className: "figure", textContent: text })),
  ];
  return element("tr", { dataset: { model: model.name, version: model.version } }, ...cells);
}

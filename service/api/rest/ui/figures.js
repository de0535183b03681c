/* The cards beside the pictures: what they say of the side that is chosen, and of both where two are compared. */

import { renderAnswer } from "./answer-text.js";
import { byId, element, kilobytes, milliseconds } from "./dom.js";
import { drawHistogram } from "./histogram.js";
import { buildLegend } from "./legend.js";
import { isSingle } from "./pane.js";
import { ASKED_THRESHOLD } from "./settings.js";
import { drawSparkline } from "./sparkline.js";
import { clearTimings, drawTimings } from "./timings.js";

const timings = () => ({ total: byId("time-total"), bar: byId("time-bar"), list: byId("time-list") });
let setCounts = () => {};
let shownEntry = null;

/** Everything that changes with the answer alone. entry is null where there is none. */
export function showAnswer(entry, settings, hidden, onToggle) {
  if (entry === shownEntry) return;
  shownEntry = entry;
  byId("json").textContent = "Nothing yet.";
  if (!entry) return clear();
  const { answer, text, roundTripMs } = entry;
  setCounts = buildLegend(byId("legend"), answer.detections, { single: isSingle(settings.model, answer), hidden, onToggle });
  drawHistogram(byId("histogram"), answer.detections.map((d) => d.score), ASKED_THRESHOLD);
  drawTimings(timings(), answer.timings_ms ?? {});
  byId("round-trip").textContent = `${milliseconds(roundTripMs)} there and back, as this browser saw it`;
  byId("request-id").textContent = answer.request_id ? `request ${answer.request_id}` : "";
  byId("answer-facts").textContent = `${kilobytes(text.length)} of JSON`;
  byId("copy-json").disabled = false;
  showJson();
}

/** The answer's text is made only when someone looks. */
export function showJson() {
  if (byId("answer").open && shownEntry) renderAnswer(byId("json"), shownEntry.answer);
}

export const answerText = () => shownEntry?.text ?? "";

function clear() {
  setCounts = () => {};
  byId("legend").replaceChildren(element("li", { className: "muted", textContent: "Nothing yet" }));
  byId("histogram").replaceChildren();
  clearTimings(timings());
  for (const id of ["round-trip", "request-id", "answer-facts"]) byId(id).textContent = "";
  byId("copy-json").disabled = true;
}

/** Everything that changes with the slider: shown is what counts of entry's answer. */
export function showCounts(entry, shown) {
  const counts = new Map();
  for (const { label } of shown) counts.set(label, (counts.get(label) ?? 0) + 1);
  setCounts(counts);
  const total = entry?.answer.detections.length ?? 0;
  byId("count").textContent = entry ? String(shown.length) : "–";
  byId("count-words").textContent = !entry || shown.length === total
    ? (shown.length === 1 ? "detection" : "detections")
    : `of ${total} detections`;
  return [...counts].map(([label, n]) => `${n} ${label}`).join(", ") || "nothing found at this score";
}

/** How two answers agree; null hides it. */
export function showAgreement(found) {
  byId("agreement").hidden = !found;
  if (!found) return;
  for (const [id, n] of [["both", found.both], ["only-a", found.onlyA], ["only-b", found.onlyB]]) byId(id).textContent = String(n);
  const all = Math.max(found.both + found.onlyA + found.onlyB, 1);
  for (const [id, n] of [["bar-a", found.onlyA], ["bar-both", found.both], ["bar-b", found.onlyB]]) {
    byId(id).style.flexGrow = String(n / all);
    byId(id).hidden = n === 0;
  }
}

/** The service's own time of this visit's answers by one model's settings, in the order they came. */
export function showLatencies(latenciesMs) {
  byId("latency").hidden = latenciesMs.length < 2;
  if (latenciesMs.length < 2) return;
  const sorted = [...latenciesMs].sort((a, b) => a - b);
  const words = `median ${milliseconds(sorted[sorted.length >> 1])} of ${latenciesMs.length}`;
  byId("latency-words").textContent = words;
  drawSparkline(byId("latency-spark"), latenciesMs, { label: `Time of the last answers, ${words}` });
}

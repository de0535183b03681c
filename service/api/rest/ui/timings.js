/* Where the time of one request went: a bar cut by stage, in the order of the request path. */

import { element, milliseconds } from "./dom.js";

const STAGES = ["decode", "preprocess", "queue", "detector", "nms", "mask_head", "keypoint_head", "encode"];

/** What no stage claims is "other". */
export function drawTimings({ total, bar, list }, timings) {
  const known = Object.entries(timings).filter(([name, ms]) => name !== "total" && Number.isFinite(ms));
  const place = (name) => (STAGES.includes(name) ? STAGES.indexOf(name) : STAGES.length);
  const stages = known.sort(([a], [b]) => place(a) - place(b)).map(([name, ms]) => ({ name, ms }));
  const sum = stages.reduce((all, { ms }) => all + ms, 0);
  const whole = Number.isFinite(timings.total) ? timings.total : sum;
  if (whole - sum > 0.02 * whole && whole - sum > 0.05) stages.push({ name: "other", ms: whole - sum });

  total.textContent = milliseconds(whole);
  const words = stages.map(({ name, ms }) => `${name.replaceAll("_", " ")} ${milliseconds(ms)}`);
  bar.setAttribute("aria-label", words.join(", "));
  bar.replaceChildren(...stages.flatMap(({ name, ms }, i) => {
    if (ms <= 0) return [];
    const part = element("span", { className: "part", title: words[i], dataset: { stage: colourOf(name, i) } });
    part.style.flexGrow = String(ms / Math.max(whole, 1e-6));
    return part;
  }));
  list.replaceChildren(...stages.map(({ name, ms }, i) => element("li", {},
    element("span", { className: "dot", dataset: { stage: colourOf(name, i) } }),
    element("span", { className: "name", textContent: name.replaceAll("_", " ") }),
    element("span", { className: "figure", textContent: milliseconds(ms) }))));
}

export function clearTimings({ total, bar, list }) {
  total.textContent = "–";
  bar.replaceChildren();
  bar.setAttribute("aria-label", "No timings yet");
  list.replaceChildren();
}

const colourOf = (name, i) => (STAGES.includes(name) || name === "other" ? name : STAGES[i % STAGES.length]);

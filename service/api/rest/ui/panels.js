/* The figures beside the picture: legend, score histogram, stage timings, the answer as text. */

import { labelColour } from "./palette.js";

const STAGES = ["decode", "preprocess", "queue", "detector", "nms", "mask_head", "encode"];
const SVG = "http://www.w3.org/2000/svg";

export function element(tag, properties = {}, ...children) {
  const { dataset = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset);
  made.append(...children);
  return made;
}

/**
 * The labels found, most frequent first, each a switch. Built once per answer; returns a function that sets the
 * counts for those shown (label -> count).
 */
export function buildLegend(list, detections, { single, hidden, onToggle }) {
  const found = new Map();
  for (const d of detections) {
    const entry = found.get(d.label) ?? { label: d.label, id: d.label_id ?? 0, total: 0 };
    entry.total++;
    found.set(d.label, entry);
  }
  const rows = [...found.values()].sort((a, b) => b.total - a.total).map(({ label, id, total }) => {
    const swatch = element("span", { className: single ? "swatch many" : "swatch" });
    if (!single) swatch.style.setProperty("--colour", labelColour(id));
    const count = element("span", { className: "figure" });
    const button = element("button", { type: "button", className: "legend-row" },
      swatch, element("span", { className: "name", textContent: label }), count);
    button.addEventListener("click", () => {
      const hide = !hidden.has(label);
      if (hide) hidden.add(label); else hidden.delete(label);
      button.setAttribute("aria-pressed", String(!hide));
      onToggle();
    });
    button.setAttribute("aria-pressed", String(!hidden.has(label)));
    return { label, total, button, count };
  });
  list.replaceChildren(...(rows.length
    ? rows.map(({ label, button }) => element("li", { dataset: { label } }, button))
    : [element("li", { className: "muted", textContent: "Nothing found" })]));
  return (counts) => {
    for (const { label, total, button, count } of rows) {
      const shown = counts.get(label) ?? 0;
      count.textContent = `${shown}`;
      button.classList.toggle("none", shown === 0);
      button.title = `${shown} of ${total} shown; click to show or hide`;
    }
  };
}

/** How the scores lie between low and 1, drawn twice: faint for all, strong right of the threshold (CSS cuts it). */
export function drawHistogram(box, scores, low) {
  const bins = new Array(38).fill(0);
  for (const score of scores) {
    bins[Math.min(bins.length - 1, Math.max(0, Math.floor(((score - low) / (1 - low)) * bins.length)))]++;
  }
  const most = Math.max(1, ...bins);
  // Square roots: one detection among two hundred must still be seen.
  const bars = bins.map((n, i) => {
    const height = n ? Math.max(8, 100 * Math.sqrt(n / most)) : 0;
    return n ? `M${i * 10 + 1} 100v${-height}h8v${height}z` : "";
  }).join("");
  box.replaceChildren(...["all", "kept"].map((name) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", name);
    svg.setAttribute("viewBox", `0 0 ${bins.length * 10} 100`);
    svg.setAttribute("preserveAspectRatio", "none");
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", bars);
    svg.append(path);
    return svg;
  }));
}

export const milliseconds = (ms) => (ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)) + " ms";

/** One bar cut by stage, in the order of the request path; what no stage claims is "other". */
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
    const part = element("span", { className: "part", title: words[i], dataset: { stage: stageColour(name, i) } });
    part.style.flexGrow = String(ms / Math.max(whole, 1e-6));
    return part;
  }));
  list.replaceChildren(...stages.map(({ name, ms }, i) => element("li", {},
    element("span", { className: "dot", dataset: { stage: stageColour(name, i) } }),
    element("span", { className: "name", textContent: name.replaceAll("_", " ") }),
    element("span", { className: "figure", textContent: milliseconds(ms) }))));
}

const stageColour = (name, i) => (STAGES.includes(name) || name === "other" ? name : STAGES[i % STAGES.length]);

const LONG = 48;

/** The answer for reading: one detection a line, long mask strings cut. The copy button gives all of it. */
export function renderAnswer(pre, answer) {
  const compact = (value) => JSON.stringify(value, (key, inner) =>
    key === "counts" && inner.length > LONG ? `${inner.slice(0, LONG)}… ${inner.length - LONG} more` : inner)
    .replaceAll(/("(?:[^"\\]|\\.)*")|([,:])/g, (all, string, mark) => (string ? string : `${mark} `));
  const lines = Object.entries(answer).map(([key, value]) => {
    if (key === "detections" && value.length) {
      return `  "detections": [\n${value.map((d) => `    ${compact(d)}`).join(",\n")}\n  ]`;
    }
    return `  ${JSON.stringify(key)}: ${compact(value)}`;
  });
  pre.replaceChildren(...coloured(`{\n${lines.join(",\n")}\n}`));
}

/** JSON text as nodes, keys, strings and numbers in spans of their own. */
function* coloured(text) {
  let last = 0;
  for (const match of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|\b(?:true|false|null)\b/gi)) {
    if (match.index > last) yield text.slice(last, match.index);
    const kind = match[1] ? "key" : match[0][0] === '"' ? "string" : "number";
    yield element("span", { className: `json-${kind}`, textContent: match[0] });
    last = match.index + match[0].length;
  }
  yield text.slice(last);
}

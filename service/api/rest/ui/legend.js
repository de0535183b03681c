/* The labels found, most frequent first, each a switch. */

import { element } from "./dom.js";
import { labelColour } from "./palette.js";

/** Build the list once per answer; returns a function that sets the counts of those shown (label -> count). */
export function buildLegend(list, detections, { single, hidden, onToggle }) {
  const found = new Map();
  for (const { label, label_id: id = 0 } of detections) {
    const entry = found.get(label) ?? { label, id, total: 0 };
    entry.total++;
    found.set(label, entry);
  }
  const rows = [...found.values()].sort((a, b) => b.total - a.total).map((entry) => row(entry, single, hidden, onToggle));
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

function row({ label, id, total }, single, hidden, onToggle) {
  const swatch = element("span", { className: single ? "swatch many" : "swatch" });
  if (!single) swatch.style.setProperty("--colour", labelColour(id));
  const count = element("span", { className: "figure" });
  const button = element("button", { type: "button", className: "legend-row", aria: { pressed: String(!hidden.has(label)) } },
    swatch, element("span", { className: "name", textContent: label }), count);
  button.addEventListener("click", () => {
    const hide = !hidden.has(label);
    if (hide) hidden.add(label); else hidden.delete(label);
    button.setAttribute("aria-pressed", String(!hide));
    onToggle();
  });
  return { label, total, button, count };
}

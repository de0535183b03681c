/* How the scores lie between low and 1, drawn twice: faint for all, strong right of the threshold (CSS cuts it). */

import { svg } from "./dom.js";

const BINS = 38;

export function drawHistogram(box, scores, low) {
  const bins = new Array(BINS).fill(0);
  for (const score of scores) bins[Math.min(BINS - 1, Math.max(0, Math.floor(((score - low) / (1 - low)) * BINS)))]++;
  const most = Math.max(1, ...bins);
  // Square roots: one detection among two hundred must still be seen.
  const bars = bins.map((n, i) => {
    const height = n ? Math.max(8, 100 * Math.sqrt(n / most)) : 0;
    return n ? `M${i * 10 + 1} 100v${-height}h8v${height}z` : "";
  }).join("");
  box.replaceChildren(...["all", "kept"].map((name) =>
    svg("svg", { class: name, viewBox: `0 0 ${BINS * 10} 100`, preserveAspectRatio: "none" }, svg("path", { d: bars }))));
}

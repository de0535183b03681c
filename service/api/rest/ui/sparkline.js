/* A line of figures over time, the last one marked; as quiet as a word. */

import { svg } from "./dom.js";

const [WIDTH, HEIGHT] = [120, 28];

/** Draw values (numbers, null for a gap), oldest first, filling the box from the right when slots are given. */
export function drawSparkline(box, values, { slots = values.length, label = "" } = {}) {
  const most = Math.max(...values.filter((v) => v !== null), 0) || 1;
  const step = WIDTH / Math.max(slots - 1, 1);
  const points = values.map((value, i) => value === null
    ? null
    : [WIDTH - (values.length - 1 - i) * step, HEIGHT - 3 - (HEIGHT - 6) * (value / most)]);
  let pen = "M";
  const line = points.map((point) => {
    if (!point) { pen = "M"; return ""; }
    const part = `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
    pen = "L";
    return part;
  }).join("");
  const last = points.at(-1);
  box.replaceChildren(svg("svg", { viewBox: `-3 0 ${WIDTH + 6} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("path", { class: "spark-line", d: line, "vector-effect": "non-scaling-stroke" }),
    // A line of no length with round ends: a dot that keeps its shape however the box is stretched.
    ...(last ? [svg("path", { class: "spark-end", d: `M${last[0]} ${last[1]}h0.01`, "vector-effect": "non-scaling-stroke" })] : [])));
}

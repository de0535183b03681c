/* The answer for reading: one detection a line, long mask strings cut. The copy button gives all of it. */

import { element } from "./dom.js";

const LONG = 48;

export function renderAnswer(pre, answer) {
  const lines = Object.entries(answer).map(([key, value]) => {
    if (key === "detections" && value.length) {
      return `  "detections": [\n${value.map((d) => `    ${compact(d)}`).join(",\n")}\n  ]`;
    }
    return `  ${JSON.stringify(key)}: ${compact(value)}`;
  });
  pre.replaceChildren(...coloured(`{\n${lines.join(",\n")}\n}`));
}

const compact = (value) => JSON.stringify(value, (key, inner) =>
  key === "counts" && inner.length > LONG ? `${inner.slice(0, LONG)}… ${inner.length - LONG} more` : inner)
  .replaceAll(/("(?:[^"\\]|\\.)*")|([,:])/g, (all, string, mark) => (string ? string : `${mark} `));

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

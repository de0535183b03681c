// Detect with JavaScript's fetch, in Node 18 or newer: node fetch.mjs http://localhost:8000 image.png
// In a browser the same call works from a page of the service's own origin, with a File as the body.

import { readFile } from "node:fs/promises";

const [url, path] = process.argv.slice(2);
const body = await readFile(path);
const ask = () => fetch(`${url}/v1/detect?score_threshold=0.5`, {
  method: "POST",
  body,
  headers: { "Content-Type": "application/octet-stream" },
  signal: AbortSignal.timeout(30_000),
});

let response = await ask();
for (let tries = 1; tries < 5 && (response.status === 429 || response.status === 503); tries++) {
  const waitS = Number(response.headers.get("retry-after") ?? 1);
  await new Promise((resolve) => setTimeout(resolve, waitS * 1e3));
  response = await ask();
}
const answer = await response.json();
if (!response.ok) {
  console.error(answer.detail); // RFC 9457: says what is wrong and what was expected
  process.exit(1);
}
for (const { label, score, box } of answer.detections) {
  console.log(label, score.toFixed(3), ...box.map((v) => v.toFixed(1)));
}

/* The question on show, as text that runs elsewhere: a shell line, Python with requests, Python with tritonclient. */

import { address, contentType, detectUrl, fileName } from "./api.js";
import { query } from "./settings.js";

/** What is asked about: {settings, file: {name, type}, sampleUrl, threshold}. */
export const SNIPPETS = { curl, python, tritonclient };

const shell = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** A Python string: JSON's escapes are Python's too. */
const python_string = (text) => JSON.stringify(text);

/** A sample is fetched first, so that the line runs as it stands. */
function curl({ settings, file, sampleUrl, threshold }) {
  const lines = [
    `curl -s ${shell(detectUrl(settings, threshold).href)} \\`,
    `  -H ${shell(`Content-Type: ${contentType(file)}`)} \\`,
    `  --data-binary ${sampleUrl ? "@-" : shell(`@${file.name}`)}`,
  ];
  return [...(sampleUrl ? [`curl -s ${shell(sampleUrl.href)} |`] : []), ...lines].join("\n");
}

const readImage = ({ file, sampleUrl }, get) => (sampleUrl ? get(sampleUrl) : `open(${python_string(file.name)}, "rb").read()`);

function python(question) {
  const { settings, file, threshold } = question;
  const url = detectUrl(settings, threshold);
  url.search = "";
  const options = new Map();
  for (const [name, value] of query(settings, threshold)) options.set(name, [...(options.get(name) ?? []), python_string(value)]);
  const params = [...options].map(([name, values]) =>
    `    ${python_string(name)}: ${values.length > 1 || name === "classes" ? `[${values.join(", ")}]` : values[0]},`);
  return [
    "import requests",
    "",
    `image = ${readImage(question, (sample) => `requests.get(${python_string(sample.href)}).content`)}`,
    "options = {", ...params, "}",
    `headers = {"Content-Type": ${python_string(contentType(file))}}`,
    `response = requests.post(${python_string(url.href)}, params=options, headers=headers, data=image, timeout=30)`,
    "response.raise_for_status()",
    'for found in response.json()["detections"]:',
    '    print(found["label"], round(found["score"], 3), found["box"])',
  ].join("\n");
}

function tritonclient(question) {
  const { settings, sampleUrl, threshold } = question;
  const { model } = settings;
  const masks = settings.masks && model.task === "segmentation";
  const server = address("").href.replace(/^https?:\/\//, "").replace(/\/$/, "");
  const secure = location.protocol === "https:";
  const parameters = new Map();
  for (const [name, value] of query(settings, threshold)) {
    if (name === "masks" || name === "version") continue;
    parameters.set(name, parameters.has(name) ? `${parameters.get(name)},${value}` : value);
  }
  const outputs = ["boxes", "scores", "labels", ...(masks ? ["masks"] : [])];
  return [
    ...(sampleUrl ? ["from urllib.request import urlopen", ""] : []),
    "import numpy as np",
    "import tritonclient.http as triton",
    "",
    `client = triton.InferenceServerClient(${python_string(server)}${secure ? ", ssl=True" : ""})`,
    `image = triton.InferInput("image", [1], "BYTES")`,
    `image.set_data_from_numpy(np.array([${readImage(question, (sample) => `urlopen(${python_string(sample.href)}).read()`)}], object))`,
    `outputs = [triton.InferRequestedOutput(name) for name in ${JSON.stringify(outputs)}]`,
    `parameters = {${[...parameters].map(([name, value]) => `${python_string(name)}: ${python_string(value)}`).join(", ")}}`,
    `result = client.infer(${python_string(model.name)}, [image], outputs=outputs, parameters=parameters${model.pinned ? `, model_version=${python_string(model.version)}` : ""})`,
    `labels = ${JSON.stringify(model.labels)}`,
    'for box, score, label in zip(*(result.as_numpy(name)[0] for name in ("boxes", "scores", "labels"))):',
    "    print(labels[label - 1], round(float(score), 3), box)",
  ].join("\n");
}

/** What a file is called where a snippet reads it. */
export const nameOf = ({ file, sampleUrl }) => file?.name ?? fileName(sampleUrl);

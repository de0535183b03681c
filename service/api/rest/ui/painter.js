/* Painting detections: masks, keypoints, boxes, names. Frames: detections are in image pixels, names in CSS pixels. */

import { crop, outline } from "./rle.js";
import { fade, inkOn, instanceColour, labelColour } from "./palette.js";

/** Pixels all mask canvases may hold together (4 bytes each); masks beyond it are painted anew each time. */
const MAX_CACHED_PIXELS = 24e6;
/** The logit above which a keypoint is drawn, as in the service's own pictures. */
const SURE_KEYPOINT = 2;

/** A detection made ready to paint: its outline traced once, its colour settled. */
export function prepare(detection, rank, single) {
  const cropped = detection.mask?.counts ? crop(detection.mask) : null;
  return {
    ...detection,
    extent: cropped && [cropped.x, cropped.y, cropped.width, cropped.height],
    sprite: null, // {canvas, left, top}: the mask as painted at the present size, in device pixels
    colour: single ? instanceColour(rank) : labelColour(detection.label_id ?? 0),
    path: cropped && outline(cropped),
    area: cropped ? cropped.area : null,
    boxArea: (detection.box[2] - detection.box[0]) * (detection.box[3] - detection.box[1]),
  };
}

export class Painter {
  #cachedPixels = 0;

  /** Masks painted so far fit no longer: the view has changed. */
  forget(detections) {
    for (const d of detections) d.sprite = null;
    this.#cachedPixels = 0;
  }

  /** Paint shown (best first) onto canvas. view is {scale, x, y, ratio, width}; focus one of shown, or null. */
  paint(canvas, view, shown, focus, layers, limbs) {
    const context = canvas.getContext("2d");
    const { scale, x, y, ratio } = view;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!shown.length) return;
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
    context.lineJoin = "round";
    const order = [...shown].reverse(); // the fainter the score, the earlier: the sure ones end on top
    if (layers.masks) this.#masks(context, view, order, focus);
    for (const d of order) if (d.keypoints) keypoints(context, d, limbs, scale, focus === null || d === focus ? 1 : 0.35);
    if (layers.boxes) boxes(context, order, focus, scale, layers.masks);
    else if (focus) boxes(context, [focus], focus, scale, layers.masks);
    if (layers.names && focus === null) names(context, view, shown);
  }

  #masks(context, view, order, focus) {
    context.globalAlpha = focus === null ? 1 : 0.42;
    for (const d of order) if (d.path && d !== focus) this.#mask(context, view, d);
    context.globalAlpha = 1;
    if (focus?.path) drawMask(context, focus, view.scale, 0.55);
  }

  /** One mask, from its own small canvas where there is room for one. */
  #mask(context, view, d) {
    const { scale, x, y, ratio } = view;
    const zoom = ratio * scale;
    if (!d.sprite) {
      const [left, top] = [Math.floor(ratio * x + zoom * d.extent[0]) - 2, Math.floor(ratio * y + zoom * d.extent[1]) - 2];
      const [width, height] = [Math.ceil(zoom * d.extent[2]) + 5, Math.ceil(zoom * d.extent[3]) + 5];
      if (this.#cachedPixels + width * height > MAX_CACHED_PIXELS) return drawMask(context, d, scale);
      this.#cachedPixels += width * height;
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      const own = canvas.getContext("2d");
      own.setTransform(zoom, 0, 0, zoom, ratio * x - left, ratio * y - top);
      drawMask(own, d, scale);
      d.sprite = { canvas, left, top };
    }
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(d.sprite.canvas, d.sprite.left, d.sprite.top);
    context.restore();
  }
}

function drawMask(context, { path, colour }, scale, opacity = 0.34) {
  context.lineJoin = "round";
  context.lineWidth = 1.4 / scale;
  context.fillStyle = fade(colour, opacity);
  context.strokeStyle = fade(colour, 0.95);
  context.fill(path, "evenodd");
  context.stroke(path);
}

function boxes(context, order, focus, scale, masksShown) {
  const crowded = order.length > 60;
  for (const d of order) {
    const chosen = d === focus;
    const masked = masksShown && d.path;
    context.lineWidth = (chosen ? 2.2 : masked ? 1 : crowded ? 1.4 : 1.8) / scale;
    context.strokeStyle = fade(d.colour, chosen ? 1 : (focus ? 0.35 : 1) * (masked ? 0.55 : 0.95));
    const [x1, y1, x2, y2] = d.box;
    context.beginPath();
    context.roundRect(x1, y1, x2 - x1, y2 - y1, 2 / scale);
    context.stroke();
  }
}

/** Limbs between the points that are sure enough, then the points. */
function keypoints(context, d, limbs, scale, opacity) {
  const sure = ([, , score]) => score > SURE_KEYPOINT;
  context.lineWidth = 2.2 / scale;
  context.lineCap = "round";
  context.strokeStyle = fade(d.colour, 0.95 * opacity);
  context.beginPath();
  for (const [start, end] of limbs) {
    const [from, to] = [d.keypoints[start], d.keypoints[end]];
    if (!sure(from) || !sure(to)) continue;
    context.moveTo(from[0], from[1]);
    context.lineTo(to[0], to[1]);
  }
  context.stroke();
  context.fillStyle = fade("#ffffff", opacity);
  context.lineWidth = 1 / scale;
  for (const [x, y] of d.keypoints.filter(sure)) {
    context.beginPath();
    context.arc(x, y, 2.6 / scale, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}

/** Tags in CSS pixels, so that they read the same at any zoom; one that would cover another is left out. */
function names(context, { scale, x, y, ratio, width: imageWidth }, shown) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = "600 11px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
  context.textBaseline = "middle";
  const taken = [];
  for (const d of shown) {
    const text = `${d.label} ${d.score.toFixed(2)}`;
    const width = context.measureText(text).width + 10;
    const left = Math.max(x, Math.min(x + d.box[0] * scale - 0.5, x + imageWidth * scale - width));
    const above = y + d.box[1] * scale - 17;
    const top = above < y ? y + d.box[1] * scale + 1 : above;
    const clash = taken.some((t) => left < t.right && left + width > t.left && top < t.bottom && top + 16 > t.top);
    if (clash) continue;
    taken.push({ left, right: left + width, top, bottom: top + 16 });
    context.fillStyle = d.colour;
    context.beginPath();
    context.roundRect(left, top, width, 16, 3);
    context.fill();
    context.fillStyle = inkOn(d.colour);
    context.fillText(text, left + 5, top + 8.5);
  }
}

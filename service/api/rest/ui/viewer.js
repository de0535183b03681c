/*
 * The picture and what was found in it.
 *
 * Two canvases lie on each other: the picture is painted once per size, the overlay at every move of the slider.
 * Each mask is painted once per size too, into a canvas of its own box; from then on it is copied, so that hundreds stay fluid.
 * Frames: detections are in image pixels; the view scales and shifts them into the stage's CSS pixels.
 */

import { crop, outline } from "./rle.js";
import { fade, inkOn, instanceColour, labelColour } from "./palette.js";

/** Pixels all mask canvases may hold together (4 bytes each); masks beyond it are painted anew each time. */
const MAX_CACHED_PIXELS = 24e6;

/** A detection made ready to paint: its outline traced once, its colour settled. */
function prepare(detection, rank, single) {
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

export class Viewer {
  #stage; #picture; #overlay; #tip;
  #bitmap = null;
  #image = null; // {width, height} in image pixels
  #view = { scale: 1, x: 0, y: 0 };
  #all = []; // best first
  #shown = [];
  #layers = { masks: true, boxes: true, names: true };
  #focus = null; // the detection under the pointer or the arrow keys
  #queued = false;
  #cachedPixels = 0;
  #onFocus;

  constructor({ stage, picture, overlay, tip, onFocus }) {
    this.#stage = stage;
    this.#picture = picture;
    this.#overlay = overlay;
    this.#tip = tip;
    this.#onFocus = onFocus;
    new ResizeObserver(() => this.#resize()).observe(stage);
    overlay.addEventListener("pointermove", (event) => this.#point(event));
    overlay.addEventListener("pointerdown", (event) => this.#point(event));
    overlay.addEventListener("pointerleave", () => this.#setFocus(null));
    overlay.addEventListener("blur", () => this.#setFocus(null));
    overlay.addEventListener("keydown", (event) => this.#key(event));
  }

  /** A new picture, nothing found in it yet. bitmap is null where the browser cannot show the format. */
  show(bitmap) {
    this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.#image = bitmap && { width: bitmap.width, height: bitmap.height };
    this.#all = [];
    this.#shown = [];
    this.#setFocus(null);
    this.#resize();
  }

  get hasPicture() {
    return this.#bitmap !== null;
  }

  /** What was found in the picture. image is the frame the boxes are in. */
  found(image, detections, single) {
    this.#image = image;
    this.#all = [...detections].sort((a, b) => b.score - a.score).map((d, rank) => prepare(d, rank, single));
    this.#resize();
  }

  /** Draw those above the threshold with labels not hidden; returns how many. */
  filter(threshold, hidden) {
    this.#shown = this.#all.filter((d) => d.score >= threshold && !hidden.has(d.label));
    if (this.#focus && !this.#shown.includes(this.#focus)) this.#setFocus(null);
    this.#repaint();
    return this.#shown.length;
  }

  layer(name, on) {
    this.#layers[name] = on;
    this.#repaint();
  }

  #resize() {
    const width = this.#stage.clientWidth;
    const height = this.#stage.clientHeight;
    const ratio = Math.min(window.devicePixelRatio || 1, 3);
    for (const canvas of [this.#picture, this.#overlay]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    if (!this.#image) return;
    this.#stage.style.setProperty("--aspect", String(this.#image.width / this.#image.height));
    const margin = width < 600 ? 8 : 16;
    const scale = Math.min((width - 2 * margin) / this.#image.width, (height - 2 * margin) / this.#image.height);
    this.#view = {
      scale,
      x: (width - this.#image.width * scale) / 2,
      y: (height - this.#image.height * scale) / 2,
      ratio,
    };
    for (const d of this.#all) d.sprite = null;
    this.#cachedPixels = 0;
    const context = this.#picture.getContext("2d");
    const { x, y } = this.#view;
    const [w, h] = [this.#image.width * scale, this.#image.height * scale];
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.beginPath();
    context.roundRect(x, y, w, h, 6);
    context.clip();
    context.imageSmoothingQuality = "high";
    if (this.#bitmap) {
      context.drawImage(this.#bitmap, x, y, w, h);
    } else {
      context.fillStyle = "#8884";
      context.fillRect(x, y, w, h);
    }
    this.#paint();
  }

  #repaint() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.#paint();
    });
  }

  #paint() {
    const context = this.#overlay.getContext("2d");
    const { scale, x, y, ratio } = this.#view;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#overlay.width, this.#overlay.height);
    if (!this.#image || !this.#shown.length) return;
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
    context.lineJoin = "round";

    // The fainter the score, the earlier it is painted: the sure ones end on top.
    const order = [...this.#shown].reverse();
    const dim = this.#focus !== null;
    if (this.#layers.masks) {
      context.globalAlpha = dim ? 0.42 : 1;
      for (const d of order) if (d.path && d !== this.#focus) this.#paintMask(context, d);
      context.globalAlpha = 1;
      if (this.#focus?.path) drawMask(context, this.#focus, scale, 0.55);
    }
    if (this.#layers.boxes) {
      const crowded = this.#shown.length > 60;
      for (const d of order) {
        const chosen = d === this.#focus;
        const masked = this.#layers.masks && d.path;
        context.lineWidth = (chosen ? 2.2 : masked ? 1 : crowded ? 1.4 : 1.8) / scale;
        context.strokeStyle = fade(d.colour, chosen ? 1 : (dim ? 0.35 : 1) * (masked ? 0.55 : 0.95));
        const [x1, y1, x2, y2] = d.box;
        context.beginPath();
        context.roundRect(x1, y1, x2 - x1, y2 - y1, 2 / scale);
        context.stroke();
      }
    } else if (this.#focus) {
      const [x1, y1, x2, y2] = this.#focus.box;
      context.lineWidth = 1.6 / scale;
      context.strokeStyle = this.#focus.colour;
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    if (this.#layers.names && !dim) this.#paintNames(context, order);
  }

  /** One mask onto the overlay, from its own small canvas where there is room for one. */
  #paintMask(context, d) {
    const { scale, x, y, ratio } = this.#view;
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

  /** Tags in CSS pixels, so that they read the same at any zoom; one that would cover another is left out. */
  #paintNames(context, order) {
    const { scale, x, y, ratio } = this.#view;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "600 11px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
    context.textBaseline = "middle";
    const taken = [];
    for (const d of [...order].reverse()) {
      const text = `${d.label} ${d.score.toFixed(2)}`;
      const width = context.measureText(text).width + 10;
      const left = Math.max(x, Math.min(x + d.box[0] * scale - 0.5, x + this.#image.width * scale - width));
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

  #point(event) {
    if (!this.#image) return;
    const { scale, x, y } = this.#view;
    const px = (event.offsetX - x) / scale;
    const py = (event.offsetY - y) / scale;
    const context = this.#overlay.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    const under = this.#shown
      .filter(({ box: [x1, y1, x2, y2] }) => px >= x1 && px <= x2 && py >= y1 && py <= y2)
      .sort((a, b) => a.boxArea - b.boxArea);
    this.#setFocus(under.find((d) => d.path && context.isPointInPath(d.path, px, py, "evenodd")) ?? under[0] ?? null);
  }

  #key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") this.#setFocus(null);
    if (!step || !this.#shown.length) return;
    event.preventDefault();
    const at = this.#focus ? this.#shown.indexOf(this.#focus) : step > 0 ? -1 : 0;
    this.#setFocus(this.#shown[(at + step + this.#shown.length) % this.#shown.length]);
    this.#onFocus?.(describe(this.#focus));
  }

  #setFocus(detection) {
    if (detection === this.#focus) return;
    this.#focus = detection;
    this.#tip.hidden = !detection;
    if (detection) {
      this.#tip.textContent = describe(detection);
      this.#tip.style.setProperty("--colour", detection.colour);
      const { scale, x, y } = this.#view;
      const [x1, y1, x2, y2] = detection.box.map((v) => v * scale);
      const width = this.#tip.offsetWidth;
      const height = this.#tip.offsetHeight;
      const left = Math.max(6, Math.min(x + (x1 + x2) / 2 - width / 2, this.#stage.clientWidth - width - 6));
      const top = y + y1 - height - 8 > 4 ? y + y1 - height - 8 : Math.min(y + y2 + 8, this.#stage.clientHeight - height - 6);
      this.#tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
    }
    this.#repaint();
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

function describe(d) {
  const [x1, y1, x2, y2] = d.box;
  const size = `${Math.round(x2 - x1)} × ${Math.round(y2 - y1)} px`;
  return `${d.label} ${d.score.toFixed(2)} · ${size}${d.area ? ` · area ${d.area.toLocaleString("en")} px²` : ""}`;
}

/*
 * One picture and what was found in it: fitting, choosing what to draw, pointing, stepping by keys.
 *
 * Two canvases lie on each other: the picture is painted once per size, the overlay at every move of the slider.
 */

import { Painter, prepare } from "./painter.js";

export class Viewer {
  #stage; #picture; #overlay; #tip; #onFocus;
  #painter = new Painter();
  #bitmap = null;
  #image = null; // {width, height} in image pixels
  #view = { scale: 1, x: 0, y: 0, ratio: 1, width: 1 };
  #all = []; // best first
  #shown = []; // those that count
  #drawn = []; // those of them that are drawn
  #layers = { masks: true, boxes: true, names: true };
  #limbs = [];
  #focus = null; // the detection under the pointer or the arrow keys
  #queued = false;

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

  /** A new picture, nothing found in it yet. bitmap stays its owner's; null where the browser cannot show the format. */
  show(bitmap) {
    this.#bitmap = bitmap;
    this.#image = bitmap && { width: bitmap.width, height: bitmap.height };
    this.found(this.#image, [], false);
  }

  get hasPicture() {
    return this.#bitmap !== null;
  }

  /** What was found in the picture. image is the frame the boxes are in; limbs join keypoints by their numbers. */
  found(image, detections, single, limbs = []) {
    this.#image = image ?? this.#image;
    this.#limbs = limbs;
    this.#all = [...detections].sort((a, b) => b.score - a.score).map((d, rank) => prepare(d, rank, single));
    this.#shown = this.#drawn = [];
    this.#setFocus(null);
    this.#resize();
  }

  /** Those above the threshold with labels not hidden. */
  filter(threshold, hidden) {
    this.#shown = this.#drawn = this.#all.filter((d) => d.score >= threshold && !hidden.has(d.label));
    this.#refocus();
    return this.#shown;
  }

  /** Draw only those of the shown that are not in agreed (null: all). */
  leaveOut(agreed) {
    this.#drawn = agreed ? this.#shown.filter((d) => !agreed.has(d)) : this.#shown;
    this.#refocus();
  }

  layer(name, on) {
    this.#layers[name] = on;
    this.#repaint();
  }

  #refocus() {
    if (this.#focus && !this.#drawn.includes(this.#focus)) this.#setFocus(null);
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
    if (!this.#image || !width) return;
    this.#stage.style.setProperty("--aspect", String(this.#image.width / this.#image.height));
    const margin = width < 600 ? 8 : 16;
    const scale = Math.min((width - 2 * margin) / this.#image.width, (height - 2 * margin) / this.#image.height);
    this.#view = {
      scale,
      x: (width - this.#image.width * scale) / 2,
      y: (height - this.#image.height * scale) / 2,
      ratio,
      width: this.#image.width,
    };
    this.#painter.forget(this.#all);
    this.#paintPicture();
    this.#paint();
  }

  #paintPicture() {
    const context = this.#picture.getContext("2d");
    const { scale, x, y, ratio } = this.#view;
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
    this.#painter.paint(this.#overlay, this.#view, this.#drawn, this.#focus, this.#layers, this.#limbs);
  }

  #point(event) {
    if (!this.#image) return;
    const { scale, x, y } = this.#view;
    const px = (event.offsetX - x) / scale;
    const py = (event.offsetY - y) / scale;
    const context = this.#overlay.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    const under = this.#drawn
      .filter(({ box: [x1, y1, x2, y2] }) => px >= x1 && px <= x2 && py >= y1 && py <= y2)
      .sort((a, b) => a.boxArea - b.boxArea);
    this.#setFocus(under.find((d) => d.path && context.isPointInPath(d.path, px, py, "evenodd")) ?? under[0] ?? null);
  }

  #key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") this.#setFocus(null);
    if (!step || !this.#drawn.length) return;
    event.preventDefault();
    const at = this.#focus ? this.#drawn.indexOf(this.#focus) : step > 0 ? -1 : 0;
    this.#setFocus(this.#drawn[(at + step + this.#drawn.length) % this.#drawn.length]);
    this.#onFocus?.(describe(this.#focus));
  }

  #setFocus(detection) {
    if (detection === this.#focus) return;
    this.#focus = detection;
    this.#tip.hidden = !detection;
    if (detection) this.#placeTip(detection);
    this.#repaint();
  }

  /** Above the box where there is room, else below it. */
  #placeTip(detection) {
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
}

function describe(d) {
  const [x1, y1, x2, y2] = d.box;
  const size = `${Math.round(x2 - x1)} × ${Math.round(y2 - y1)} px`;
  return `${d.label} ${d.score.toFixed(2)} · ${size}${d.area ? ` · area ${d.area.toLocaleString("en")} px²` : ""}`;
}

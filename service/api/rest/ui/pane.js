/* One side of the desk: a picture by one side's settings. Says on itself what it shows: data-state, -count, -total, -model. */

import { ProblemBox } from "./problem-box.js";
import { inWords } from "./settings.js";
import { Viewer } from "./viewer.js";

export class Pane {
  #root; #viewer; #problem; #entry = null; #bitmap = undefined;

  constructor(side, { onPick, onRetry, onFocus }) {
    const made = document.getElementById("pane").content.cloneNode(true);
    this.#root = made.querySelector(".pane");
    this.#root.dataset.side = side;
    this.#part(".pane-letter").textContent = side.toUpperCase();
    this.#part(".pane-pick").addEventListener("click", onPick);
    this.#problem = new ProblemBox(this.#part(".problem"));
    this.#viewer = new Viewer({
      stage: this.#part(".pane-stage"), picture: this.#part(".picture"), overlay: this.overlay, tip: this.#part(".tip"), onFocus,
    });
    this.retry = onRetry;
  }

  get root() { return this.#root; }
  get overlay() { return this.#part(".overlay"); }
  get hasPicture() { return this.#viewer.hasPicture; }

  #part(selector) {
    return this.#root.querySelector(selector);
  }

  /** Show what is known: the picture's pixels (null if not shown here) and the entry of these settings (null for none yet). */
  update(bitmap, entry, settings, name) {
    this.#root.dataset.state = entry?.state ?? "idle";
    this.#root.dataset.model = settings?.model.name ?? "";
    this.#part(".pane-model").textContent = settings ? `${settings.model.name} ${settings.model.version}` : "";
    this.#part(".pane-options").textContent = settings ? inWords(settings) : "";
    const done = entry?.state === "done" ? entry : null;
    if (bitmap !== this.#bitmap || !done) {
      this.#viewer.show(bitmap);
      this.#bitmap = bitmap;
      this.#entry = null;
    }
    if (done && done !== this.#entry) {
      this.#viewer.found(done.answer.image, done.answer.detections, isSingle(settings.model, done.answer), settings.model.keypoints?.limbs);
    }
    this.#entry = done;
    if (entry?.state === "failed") this.#problem.show(entry.problem, this.retry); else this.#problem.hide();
    this.overlay.setAttribute("aria-label", name ?? "No image yet");
  }

  /** Choose what counts by score and label; returns it. */
  filter(threshold, hidden) {
    const shown = this.#viewer.filter(threshold, hidden);
    this.#root.dataset.count = String(shown.length);
    this.#root.dataset.total = String(this.#entry?.answer.detections.length ?? 0);
    this.#part(".pane-count").textContent = this.#entry ? String(shown.length) : "";
    return shown;
  }

  leaveOut(agreed) { this.#viewer.leaveOut(agreed); }
  layer(name, on) { this.#viewer.layer(name, on); }
}

/** Whether instances rather than labels need telling apart: one label, touching objects. */
export const isSingle = (model, answer) =>
  (model.labels ?? []).length === 1 && answer.detections.some((d) => d.mask);

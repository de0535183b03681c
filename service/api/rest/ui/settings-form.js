/* The form in which one side's settings are read and changed. */

import { element } from "./dom.js";
import { defaults } from "./settings.js";

const SOFT_NMS_SIGMA = 0.5; // the service's default: Bodla 2017, section 3

export class SettingsForm {
  #form; #models = []; #settings = null; #onChange;

  constructor(form, onChange) {
    this.#form = form;
    this.#onChange = onChange;
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const name of ["iou", "sigma"]) {
      form.elements[name].addEventListener("input", ({ target }) => this.#tell(name, target.valueAsNumber, ""));
    }
    form.addEventListener("change", ({ target }) => this.#changed(target));
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      this.#give(defaults(this.#settings.model));
    });
  }

  /** Fill the model chooser. */
  offer(models) {
    this.#models = models;
    const { model } = this.#form.elements;
    model.replaceChildren(...models.map((m, i) =>
      element("option", { value: String(i), textContent: m.pinned ? `${m.name} ${m.version}` : m.name })));
    model.disabled = !models.length;
  }

  /** Show settings, without telling anyone. */
  show(settings) {
    if (settings === this.#settings) return;
    const { elements } = this.#form;
    const sameModel = this.#settings?.model === settings.model;
    this.#settings = settings;
    const { model } = settings;
    elements.model.value = String(this.#models.indexOf(model));
    elements.nms.value = settings.nms;
    this.#slide("iou", settings.iouThreshold, model.postprocess.iou_threshold, " · model’s own");
    this.#slide("sigma", settings.sigma, SOFT_NMS_SIGMA, " · as published");
    this.#part("sigma").hidden = settings.nms !== "soft_gaussian";
    this.#part("iou").hidden = settings.nms === "soft_gaussian"; // every overlap lowers the score a little
    elements.most.value = settings.maxDetections ?? "";
    elements.most.placeholder = String(model.postprocess.max_detections ?? "");
    elements.masks.checked = settings.masks;
    elements.agnostic.checked = settings.classAgnostic;
    this.#part("masks").hidden = model.task !== "segmentation";
    this.#part("agnostic").hidden = this.#part("classes").hidden = model.labels.length < 2;
    if (!sameModel) this.#offerClasses(model);
    for (const box of this.#form.querySelectorAll("[name=class]")) box.checked = settings.classes.includes(box.value);
    this.#form.querySelector("[type=reset]").disabled = JSON.stringify(settings) === JSON.stringify(defaults(model));
  }

  #part(name) {
    return this.#form.querySelector(`[data-part="${name}"]`);
  }

  #offerClasses(model) {
    this.#form.querySelector(".chips").replaceChildren(...model.labels.map((label) =>
      element("label", { className: "chip" },
        element("input", { type: "checkbox", name: "class", value: label }), element("span", { textContent: label }))));
    this.#form.querySelector(".model-facts").replaceChildren(
      ...[`version ${model.version}`, model.task, `${model.engine} ${model.precision}`].map((text) =>
        element("span", { textContent: text })),
      element("code", { textContent: model.digest.replace(/^sha256:/, "").slice(0, 10), title: model.digest }));
  }

  #slide(name, value, otherwise, words) {
    this.#form.elements[name].value = value ?? otherwise;
    this.#tell(name, value ?? otherwise, value === null ? words : "");
  }

  #tell(name, value, words) {
    this.#form.querySelector(`output[for="${name}"]`).textContent = value.toFixed(2) + words;
  }

  #changed(target) {
    const { elements } = this.#form;
    const now = this.#settings;
    if (target.name === "model") return this.#give(defaults(this.#models[Number(target.value)]));
    if (target.name === "most" && !target.checkValidity()) return target.reportValidity();
    this.#give({
      ...now,
      nms: elements.nms.value,
      sigma: target.name === "sigma" ? elements.sigma.valueAsNumber : now.sigma,
      iouThreshold: target.name === "iou" ? elements.iou.valueAsNumber : now.iouThreshold,
      maxDetections: elements.most.value === "" ? null : elements.most.valueAsNumber,
      masks: elements.masks.checked,
      classAgnostic: elements.agnostic.checked,
      classes: [...this.#form.querySelectorAll("[name=class]:checked")].map((box) => box.value),
    });
  }

  #give(settings) {
    this.show(settings);
    this.#onChange(settings);
  }
}

/* What went wrong, in the service's own words, with what can be done about it. */

import { element } from "./dom.js";

export class ProblemBox {
  #box; #retry = null;

  /** box holds .title, .detail, .advice, .problem-facts, .retry and .dismiss. */
  constructor(box) {
    this.#box = box;
    box.querySelector(".retry").addEventListener("click", () => this.#retry?.());
    box.querySelector(".dismiss").addEventListener("click", () => this.hide());
  }

  show(problem, retry) {
    this.#retry = retry;
    this.#set(".title", problem.title);
    this.#set(".detail", problem.detail);
    this.#set(".advice", problem.retryAfterS == null
      ? ""
      : `The service asks to wait ${Math.max(1, Math.ceil(problem.retryAfterS))} s before trying again.`);
    const facts = [["Status", problem.status || ""], ["Code", problem.code], ["Request", problem.requestId]];
    this.#box.querySelector(".problem-facts").replaceChildren(
      ...facts.filter(([, value]) => value !== "").map(([name, value]) =>
        element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: String(value) }))));
    this.#box.querySelector(".retry").hidden = !problem.mayPass;
    this.#box.hidden = false;
  }

  hide() {
    this.#box.hidden = true;
  }

  #set(part, text) {
    this.#box.querySelector(part).textContent = text;
  }
}

/* The strip of pictures: the visitor's own first, then the model's samples. Arrow keys go along it. */

import { element } from "./dom.js";

export class Gallery {
  #list; #onPick; #onRemove; #tiles = new Map(); // picture -> {item, button, badge}

  constructor(list, { onPick, onRemove }) {
    this.#list = list;
    this.#onPick = onPick;
    this.#onRemove = onRemove;
    list.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show these pictures, in this order; tiles of the same picture are kept. */
  offer(pictures) {
    const before = this.#tiles;
    this.#tiles = new Map(pictures.map((picture) => [picture, before.get(picture) ?? this.#tile(picture)]));
    this.#list.replaceChildren(...[...this.#tiles.values()].map(({ item }) => item));
  }

  /** Mark which is on show, and what is known of each: factsOf(picture) is {state, count}. */
  update(current, factsOf) {
    for (const [picture, { button, badge }] of this.#tiles) {
      const { state, count } = factsOf(picture);
      button.setAttribute("aria-pressed", String(picture === current));
      button.dataset.state = state;
      badge.textContent = state === "done" ? String(count) : state === "failed" ? "!" : "";
      badge.hidden = badge.textContent === "";
      const words = { done: `${count} found`, failed: "failed", busy: "detecting" }[state];
      button.setAttribute("aria-label", [picture.sampleUrl ? "Sample" : "Image", picture.name, words].filter(Boolean).join(", "));
    }
  }

  /** Bring the tile of a picture into sight. */
  reveal(picture) {
    this.#tiles.get(picture)?.item.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #tile(picture) {
    const image = element("img", { src: picture.thumbnail, alt: "", loading: "lazy", decoding: "async" });
    const badge = element("span", { className: "badge", hidden: true });
    const name = element("span", { className: "tile-name", textContent: picture.name });
    image.addEventListener("error", () => image.replaceWith(name)); // a format this browser cannot show
    const button = element("button", { type: "button", className: picture.sampleUrl ? "tile sample" : "tile own", title: picture.name, dataset: picture.sampleUrl ? { url: picture.sampleUrl.href } : {} }, image, badge);
    button.addEventListener("click", () => this.#onPick(picture));
    const item = element("li", {}, button);
    if (!picture.sampleUrl) {
      const remove = element("button", { type: "button", className: "remove", title: "Remove", textContent: "×", aria: { label: `Remove ${picture.name}` } });
      remove.addEventListener("click", () => this.#onRemove(picture));
      item.append(remove);
    }
    return { item, button, badge };
  }

  #key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const entries = [...this.#tiles];
    const at = entries.findIndex(([, { button }]) => button === document.activeElement);
    if (at < 0) return;
    event.preventDefault();
    const [picture, { button }] = entries[(at + step + entries.length) % entries.length];
    button.focus();
    this.#onPick(picture);
  }
}

/*
 * Questions to the service: which picture by which settings, a few at a time, the ones on show first.
 *
 * Answers are kept with their picture, so that going back and forth asks nobody. picture.answers maps a settings key to
 * {state: "waiting" | "busy" | "done" | "failed", answer, text, roundTripMs, problem}.
 */

import * as api from "./api.js";
import { keyOf } from "./settings.js";

const PARALLEL = 2;
const TRIES = 4; // of a question refused for want of capacity
const LONGEST_WAIT_S = 30; // beyond it the visitor is told, and decides

export class Asker {
  #wishes = [];
  #running = new Map(); // entry -> AbortController
  #changed;
  #log = []; // {key, ms}: how long each answer took in the service, in the order they came

  /** changed(picture) is called whenever an answer of it begins, comes or fails. */
  constructor(changed) {
    this.#changed = changed;
  }

  /** The questions worth answering now, [{picture, settings}], most wanted first; others under way are given up. */
  want(questions) {
    this.#wishes = questions.map((question) => ({ ...question, entry: entryOf(question) }));
    const wanted = new Set(this.#wishes.map(({ entry }) => entry));
    for (const [entry, controller] of this.#running) {
      if (wanted.has(entry)) continue;
      controller.abort();
      this.#running.delete(entry);
      entry.state = "waiting";
    }
    this.#next();
  }

  /** Milliseconds in the service of the last answers by these settings, oldest first. */
  latenciesMs(settings) {
    const key = keyOf(settings);
    return this.#log.filter((one) => one.key === key).slice(-60).map(({ ms }) => ms);
  }

  /** Ask once more. */
  again(picture, settings) {
    entryOf({ picture, settings }).state = "waiting";
    this.#next();
  }

  #next() {
    for (const wish of this.#wishes) {
      if (this.#running.size >= PARALLEL) return;
      if (wish.entry.state === "waiting") this.#run(wish);
    }
  }

  async #run({ picture, settings, entry }) {
    const controller = new AbortController();
    this.#running.set(entry, controller);
    entry.state = "busy";
    this.#changed(picture);
    try {
      const given = await patiently(() => api.detect(settings, picture.file, controller.signal), controller.signal);
      Object.assign(entry, given, { state: "done" });
      this.#log.push({ key: keyOf(settings), ms: given.answer.timings_ms?.total ?? given.roundTripMs });
    } catch (error) {
      if (controller.signal.aborted) return; // given up, and put back among the waiting
      Object.assign(entry, { state: "failed", problem: asProblem(error) });
    }
    if (this.#running.get(entry) === controller) this.#running.delete(entry);
    this.#changed(picture);
    this.#next();
  }
}

/** What is known of a picture by settings. */
export function entryOf({ picture, settings }) {
  const key = keyOf(settings);
  if (!picture.answers.has(key)) picture.answers.set(key, { state: "waiting" });
  return picture.answers.get(key);
}

export const asProblem = (error) => (error instanceof api.Problem
  ? error
  : new api.Problem({ title: "The page could not use the answer", detail: String(error.message ?? error) }));

async function patiently(ask, signal) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (error.retryAfterS == null || error.retryAfterS > LONGEST_WAIT_S || tries === TRIES || signal.aborted) throw error;
      await new Promise((resolve) => { setTimeout(resolve, Math.max(error.retryAfterS, 0.1) * 1e3); });
      signal.throwIfAborted();
    }
  }
}

// Decisions on their way: written down in the browser before they are sent, sent until the service has taken or refused
// them, and taken once however often they are sent (each has its own idempotency key).
import { call, newKey, Refusal } from "./page.js";

const STORE = "vidlm.outbox";
const PAUSES_MS = [500, 1000, 2000, 4000, 8000, 15000];

const read = () => {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "[]");
  } catch {
    return [];
  }
};
const write = (waiting) => localStorage.setItem(STORE, JSON.stringify(waiting));

export class Outbox extends EventTarget {
  #who; #sending = false; #failures = 0; #timer = null;

  constructor(who) {
    super();
    this.#who = who;
    addEventListener("online", () => this.#send());
    this.#send();
  }

  /** What this person decided and the service has not taken yet. */
  get waiting() {
    return read().filter((one) => one.who === this.#who);
  }

  /** Writes a decision down and sends it as soon as that is possible. */
  add(itemId, body) {
    write([...read(), { key: newKey(), who: this.#who, item: itemId, body, at: Date.now() }]);
    this.#tell("waiting", {});
    this.#send();
  }

  async #send() {
    if (this.#sending) return;
    this.#sending = true;
    clearTimeout(this.#timer);
    for (let next = this.waiting[0]; next; next = this.waiting[0]) {
      try {
        const taken = await call("POST", `/v1/review/items/${next.item}/decision`, next.body, { headers: { "Idempotency-Key": next.key } });
        this.#failures = 0;
        this.#drop(next);
        this.#tell("taken", { item: next.item, body: next.body, taken });
      } catch (refusal) {
        if (!(refusal instanceof Refusal)) throw refusal;
        const later = refusal.status === 0 || refusal.status === 401 || refusal.status === 429 || refusal.status >= 500;
        if (later) {
          this.#failures += 1;
          this.#tell("late", { refusal });
          this.#timer = setTimeout(() => this.#send(), PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length) - 1]);
          break;
        }
        this.#drop(next);
        this.#tell("refused", { item: next.item, body: next.body, refusal });
      }
    }
    this.#sending = false;
  }

  #drop(done) {
    write(read().filter((one) => one.key !== done.key));
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

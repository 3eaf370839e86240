// Watches videos until their jobs end: a few questions at a time, those first that waited longest, and none while
// nobody looks at the page.
import { call } from "./page.js";

const EVERY_MS = 1500;
const AT_ONCE = 4;
const OPEN = new Set(["uploading", "queued", "preparing", "analyzing", "finishing"]);

const watched = new Map(); // id -> { tells: functions, at: when it was asked about last }
let timer = 0;

/** Whether a job in this state goes on. */
export const goesOn = (state) => OPEN.has(state);

/** Calls `tell(video)` now and then, the last time when its job has ended; `tell(null)` when it is gone. */
export function follow(id, tell) {
  const one = watched.get(id) ?? { tells: new Set(), at: 0 };
  one.tells.add(tell);
  watched.set(id, one);
  timer ||= setInterval(round, EVERY_MS);
}

async function round() {
  if (document.hidden) return;
  const next = [...watched].sort(([, a], [, b]) => a.at - b.at).slice(0, AT_ONCE);
  await Promise.all(next.map(([id, one]) => ask(id, one)));
  if (!watched.size) timer = clearInterval(timer) ?? 0;
}

async function ask(id, one) {
  one.at = performance.now();
  let video = null;
  try {
    video = await call("GET", `/v1/videos/${id}`);
  } catch (refusal) {
    if (![404, 410].includes(refusal.status)) return; // the next round asks again
  }
  if (!video || !goesOn(video.state)) watched.delete(id);
  for (const tell of one.tells) tell(video);
}

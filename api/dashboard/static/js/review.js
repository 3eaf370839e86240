// The desk: shows one video after another, takes decisions by keyboard or mouse, and has the next one ready.
//
//   claim ahead -> [next]      show -> [current] --decide--> outbox -> the service
//                     '-----------------^                       (written down before it is sent)
import { call, clock, Refusal, showTimes, t, toast } from "./page.js";
import { h } from "./dom.js";
import { listen, playing } from "./keys.js";
import { Outbox } from "./outbox.js";
import { Player } from "./player.js";
import { openTab } from "./tabs.js";
import { Draft } from "./verdict.js";
import { drawTimeline } from "./timeline.js";
import { ask, drawCaptions, flagCard, itemHead, pastDecisions, provenance } from "./panels.js";

const STEADY_MS = 350; // nobody has judged a video in that time: it is the second half of a double click

const $ = (id) => document.getElementById(id);
const given = JSON.parse($("review").textContent);
const player = new Player(moved);
const outbox = new Outbox(given.who);

let draft = null; // of the video that is shown
let next = null; // a promise of the data of the one after it, or of null where nothing waits
let flagAt = -1;
let timeline = null, markCaption = null, conversation = null;
let shownAt = 0;
let lastDecision = null; // { item, id } once the service has it; id is null before
let lockTimer = null;
const skipped = new Set(); // ids of items that go to others first

// ---- showing ----

function show(data) {
  draft = new Draft(data);
  flagAt = data.flags.length ? 0 : -1;
  conversation = null;
  shownAt = performance.now();
  $("desk").hidden = false;
  $("done").hidden = true;
  $("note").value = "";
  $("problem").hidden = true;
  $("answers").replaceChildren();
  $("missed-box").open = false;
  $("missed").reset();
  $("item").replaceChildren(...itemHead(data).filter(Boolean));
  $("past").replaceChildren(pastDecisions(data));
  $("why").replaceChildren(...provenance(data));
  $("missed").elements.policy.replaceChildren(...Object.entries(data.policies).map(([id, policy]) => h("option", { value: id }, policy.title)));
  player.show(data, data.flags[0]?.start_s);
  timeline = drawTimeline($("timeline"), data, (seconds) => player.seek(seconds));
  markCaption = drawCaptions($("captions"), data, (seconds) => player.seek(seconds));
  drawFlags();
  drawMissed();
  moved(data.flags[0]?.start_s ?? 0);
  showTimes($("past"));
  for (const button of $("verdicts").querySelectorAll("[data-outcome]")) button.disabled = !data.item.lock;
  if (!data.item.lock) problem(t("Somebody else is at this, or it is decided: you can only look."));
  history.replaceState(null, "", `/review/${data.item.id}${given.queue ? `?queue=${given.queue}` : ""}`);
  document.title = `${data.policies[data.flags[0]?.policy_id]?.title ?? t("Review")} · vidlm`;
  $("main").focus({ preventScroll: true });
  watchLock();
}

function drawFlags() {
  const { data } = draft;
  const options = (index) => ({ current: index === flagAt, onChoose: (flag) => choose(data.flags.indexOf(flag)), onJudge: judge });
  $("flags").replaceChildren(...data.flags.map((flag, index) => flagCard(flag, data, draft, options(index))));
  timeline?.mark(data.flags[flagAt]?.id);
}

function drawMissed() {
  const title = (id) => draft.data.policies[id]?.title ?? id;
  $("missed-list").replaceChildren(
    ...draft.missed.map((one, index) => h("li", { class: "row spread" }, h("span", null, `${title(one.policy_id)}, ${clock(one.start_s)} – ${clock(one.end_s)}`), h("button", { type: "button", class: "small plain", onclick: () => (draft.missed.splice(index, 1), drawMissed()) }, t("Remove")))),
  );
}

function moved(seconds) {
  timeline?.move(seconds);
  markCaption?.(seconds);
}

function choose(index) {
  const { flags } = draft.data;
  if (!flags.length) return;
  flagAt = (index + flags.length) % flags.length;
  player.seek(flags[flagAt].evidence_s[0] ?? flags[flagAt].start_s);
  drawFlags();
  $("flags").children[flagAt].scrollIntoView({ block: "nearest" });
}

function judge(flag, said) {
  draft.judge(flag.id, said);
  drawFlags();
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = false;
}

// ---- the next one ----

/** Takes the next item and all that is shown of it. */
async function fetchNext() {
  const claim = () => call("POST", "/v1/review/claim", { queues: given.queue ? [given.queue] : [], without: [...skipped].slice(-200) });
  let claimed = await claim();
  if (!claimed.item && skipped.size) {
    skipped.clear(); // all else is done
    claimed = await claim();
  }
  const why = claimed.exposure.break_because;
  const said = { budget: t("You have looked at enough for today."), stretch: t("You have been at it for long without a pause."), severe: t("Several hard ones in a row.") };
  $("break").hidden = !why;
  $("break").textContent = why ? `${t("Time for a break.")} ${said[why]}` : "";
  if (!claimed.item) return null;
  const data = await call("GET", `/review/${claimed.item.id}/data`);
  if (data.preview) fetch(`/v1/videos/${data.video.id}/preview`, { headers: { Range: "bytes=0-524287" } }).catch(() => {}); // warms the disk and the way
  return data;
}

function prefetch() {
  next = fetchNext().catch((refusal) => refusal);
}

async function advance() {
  const found = await (next ?? fetchNext().catch((refusal) => refusal));
  next = null;
  if (found instanceof Refusal && found.code !== "too_many_claims") {
    finish();
    toast(found.message, "bad");
  } else if (found === null || found instanceof Error) finish();
  else {
    show(found);
    prefetch();
  }
}

function finish() {
  draft = null;
  clearInterval(lockTimer);
  $("desk").hidden = true;
  $("done").hidden = false;
  $("undo-last").hidden = !lastDecision;
  const stream = new EventSource("/queue/events");
  let first = true;
  stream.addEventListener("changed", async () => {
    if (first) return void (first = false);
    if (draft) return stream.close();
    const found = await fetchNext().catch(() => null);
    if (!found) return;
    stream.close();
    show(found);
    prefetch();
  });
}

// ---- deciding ----

function decide(outcome, reason) {
  if (!draft?.data.item.lock || performance.now() - shownAt < STEADY_MS) return;
  const { body, problem: why } = draft.decide(outcome, reason, $("note").value, (performance.now() - shownAt) / 1000);
  if (why) {
    problem(t(why));
    $("note").focus();
    return;
  }
  const itemId = draft.data.item.id;
  draft = null; // a second click decides nothing
  lastDecision = { item: itemId, id: null };
  $("undo").disabled = true;
  outbox.add(itemId, body);
  advance();
}

outbox.addEventListener("waiting", showUnsent);
outbox.addEventListener("late", showUnsent);
outbox.addEventListener("taken", ({ detail }) => {
  if (lastDecision?.item === detail.item) lastDecision.id = detail.taken.decision.id;
  $("undo").disabled = !lastDecision?.id;
  showUnsent();
});
outbox.addEventListener("refused", ({ detail }) => {
  const node = toast(t("A decision was not taken: {why}", { why: detail.refusal.message }), "bad");
  node.append(" ", h("a", { href: `/review/${detail.item}` }, t("Look at it again")));
  if (lastDecision?.item === detail.item) lastDecision = null;
  showUnsent();
});

function showUnsent() {
  const count = outbox.waiting.length;
  $("unsent").hidden = !outbox.waiting.some((one) => Date.now() - one.at > 1500);
  $("unsent").textContent = t("{n} decisions are not saved yet. They are kept in this browser, and sent as soon as the service answers.", { n: count });
}
setInterval(showUnsent, 1000);

async function undo() {
  if (!lastDecision?.id) return;
  const { id } = lastDecision;
  lastDecision = null;
  $("undo").disabled = true;
  try {
    const back = await call("POST", `/v1/review/decisions/${id}/undo`);
    const held = draft?.data ?? null;
    const data = await call("GET", `/review/${back.id}/data`);
    if (held) {
      const after = next; // what was shown comes next, and what was ready after it is given back
      next = Promise.resolve(held);
      after?.then((one) => one?.item?.lock && release(one)).catch(() => {});
    }
    show(data);
    toast(t("Undone."), "good");
  } catch (refusal) {
    toast(refusal.message, "bad");
  }
}

async function skip() {
  if (!draft) return;
  const { data } = draft;
  if (!data.item.lock) return advance();
  skipped.add(data.item.id);
  draft = null;
  const after = next ?? fetchNext().catch((refusal) => refusal); // taken before this one is back in the line
  next = after;
  await after;
  release(data);
  advance();
}

function release(data) {
  return call("POST", `/v1/review/items/${data.item.id}/release`, { token: data.item.lock.token }).catch(() => {});
}

// ---- the lock ----

function watchLock() {
  clearInterval(lockTimer);
  const { lock } = draft.data.item;
  if (!lock) return void ($("lock").textContent = "");
  const every = Math.max(5, draft.data.lock_s / 3);
  let kept = performance.now();
  lockTimer = setInterval(async () => {
    if (!draft) return clearInterval(lockTimer);
    const left = (new Date(lock.until) - Date.now()) / 1000;
    $("lock").textContent = left > 0 ? t("Yours for {left}", { left: clock(left) }) : t("Your time for this ran out; deciding still works while nobody else took it.");
    if (document.hidden || (performance.now() - kept) / 1000 < every) return;
    kept = performance.now();
    try {
      lock.until = (await call("POST", `/v1/review/items/${draft.data.item.id}/keep`, { token: lock.token })).until;
    } catch (refusal) {
      if (refusal.status === 409) problem(refusal.message);
    }
  }, 1000);
}

// ---- by hand ----

$("verdicts").addEventListener("click", (event) => {
  const button = event.target.closest("[data-outcome]");
  if (button) decide(button.dataset.outcome, button.dataset.reason);
});
$("skip").addEventListener("click", skip);
$("undo").addEventListener("click", undo);
$("undo-last").addEventListener("click", undo);
$("help").addEventListener("click", () => $("keys").showModal());
$("missed").addEventListener("submit", (event) => {
  event.preventDefault();
  const { policy, start, end } = event.target.elements;
  draft.missed.push({ policy_id: policy.value, start_s: Number(start.value), end_s: Number(end.value) });
  event.target.reset();
  drawMissed();
});
$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = event.target.elements.question;
  const question = field.value.trim();
  if (!question || !draft) return;
  field.value = "";
  const { data } = draft;
  try {
    conversation = await ask($("answers"), data.video.id, question, conversation, (seconds) => player.seek(seconds));
  } catch (refusal) {
    field.value = question;
    toast(refusal.message, "bad");
  }
});

// ---- by keyboard ----

const time = () => Math.round(player.time * 10) / 10;
const ACTS = {
  1: () => decide("approve", "not_there"),
  2: () => decide("approve", "lookalike"),
  3: () => decide("approve", "allowed"),
  4: () => decide("approve", "fiction"),
  5: () => decide("remove"),
  6: () => decide("second_opinion"),
  e: () => decide("escalate"),
  u: undo,
  s: skip,
  n: () => choose(flagAt + 1),
  p: () => choose(flagAt - 1),
  y: () => flagAt >= 0 && judge(draft.data.flags[flagAt], { verdict: "confirm" }),
  x: () => flagAt >= 0 && judge(draft.data.flags[flagAt], { verdict: "reject", reason: "not_there" }),
  ...playing(player),
  "[": () => (($("missed-box").open = true), ($("missed").elements.start.value = time())),
  "]": () => (($("missed-box").open = true), ($("missed").elements.end.value = time())),
  q: () => (openTab("tab-ask"), $("ask").elements.question.focus()),
  t: () => $("note").focus(),
  "?": () => $("keys").showModal(),
};

listen(ACTS, (key) => draft || key === "u");

// what was taken ahead goes back into the line when its taker leaves
addEventListener("pagehide", () => {
  const ahead = next;
  next = null;
  ahead?.then((data) => {
    if (!data?.item?.lock) return;
    const body = JSON.stringify({ token: data.item.lock.token });
    fetch(`/v1/review/items/${data.item.id}/release`, { method: "POST", body, keepalive: true, headers: { "Content-Type": "application/json" } });
  });
});
addEventListener("beforeunload", (event) => outbox.waiting.length && event.preventDefault());

show(given.data);
prefetch();

// A video's own page: every time that is written somewhere is a place to jump to.
import { call, newKey, showTimes, t, toast } from "./page.js";
import { h } from "./dom.js";
import { listen, playing } from "./keys.js";
import { Player } from "./player.js";
import { openTab } from "./tabs.js";
import { drawTimeline } from "./timeline.js";
import { answered, ask, drawCaptions, flagCard, pastDecisions, provenance, questionRow, showAnswer } from "./panels.js";
import "./confirm.js";

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const player = new Player(moved);
let flagAt = -1;
let conversation = null; // the one that the next question belongs to

const seek = (seconds) => player.seek(seconds);
const timeline = drawTimeline($("timeline"), data, seek);
const markCaption = drawCaptions($("captions"), data, seek);

player.show(data, Number(new URLSearchParams(location.search).get("t")) || 0, data.veiled);
$("why").replaceChildren(...provenance(data));
$("past")?.replaceChildren(pastDecisions(data));
showTimes($("panel-past"));
drawFlags();
moved(0);
for (const question of data.questions) earlier(question);
showTimes($("answers"));

function moved(seconds) {
  timeline.move(seconds);
  markCaption(seconds);
  const chapters = [...document.querySelectorAll("#chapters li")];
  const now = chapters.findLast((item) => Number(item.firstElementChild.dataset.seek) <= seconds);
  for (const item of chapters) item === now ? item.setAttribute("aria-current", "true") : item.removeAttribute("aria-current");
}

function drawFlags() {
  const options = (index) => ({ current: index === flagAt, onChoose: (flag) => choose(data.flags.indexOf(flag)) });
  $("flags").replaceChildren(...data.flags.map((flag, index) => flagCard(flag, data, null, options(index))));
  timeline.mark(data.flags[flagAt]?.id);
}

function choose(index) {
  if (!data.flags.length) return;
  flagAt = (index + data.flags.length) % data.flags.length;
  seek(data.flags[flagAt].evidence_s[0] ?? data.flags[flagAt].start_s);
  drawFlags();
}

// ---- questions ----

/** A question that was asked before, with a way to go on from it. */
async function earlier(question) {
  const row = questionRow(question.question);
  row.querySelector("strong").after(h("small", { class: "quiet" }, h("time", { datetime: question.created_at, "data-ago": true })));
  $("answers").append(row);
  try {
    showAnswer(row, await answered(question), seek);
  } catch (refusal) {
    row.lastChild.textContent = refusal.message;
  }
  if (question.conversation_id && $("ask")) row.append(h("p", null, h("button", { type: "button", class: "small plain", onclick: () => goOn(question.conversation_id) }, t("Ask more about this"))));
}

function goOn(id) {
  conversation = id;
  $("conversation").hidden = id === null;
  $("ask").elements.question.focus();
}

$("afresh")?.addEventListener("click", () => goOn(null));
$("ask")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = event.target.elements.question;
  const question = field.value.trim();
  if (!question) return;
  field.value = "";
  $("no-questions").hidden = true;
  try {
    conversation = await ask($("answers"), data.video.id, question, conversation, seek);
    $("conversation").hidden = conversation === null;
  } catch (refusal) {
    field.value = question;
    toast(refusal.message, "bad");
  }
});

// ---- appeals ----

$("appeal")?.addEventListener("click", () => $("appeal-box").showModal());
const appealKey = newKey(); // however often it is sent, it is one appeal
$("appeal-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("POST", `/v1/videos/${data.video.id}/appeals`, { note: event.target.elements.note.value }, { headers: { "Idempotency-Key": appealKey } });
    location.reload();
  } catch (refusal) {
    $("appeal-problem").textContent = refusal.message;
    $("appeal-problem").hidden = false;
  }
});

// ---- by hand, by keyboard ----

document.addEventListener("click", (event) => {
  const jump = event.target.closest("[data-seek]");
  if (jump) seek(Number(jump.dataset.seek));
  event.target.closest("[data-close]")?.closest("dialog").close();
});
listen({
  ...playing(player),
  n: () => choose(flagAt + 1),
  p: () => choose(Math.max(flagAt, 0) - 1),
  q: () => (openTab("tab-ask"), $("ask")?.elements.question.focus()),
  "?": () => $("keys").showModal(),
});

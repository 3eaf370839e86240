// A job on its way: how far it is, as the service tells, and the page anew once it has ended.
import { clock, t } from "./page.js";
import { listen, playing } from "./keys.js";
import { Player } from "./player.js";
import "./confirm.js";

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const ENDS = ["ready", "rejected", "failed", "cancelled", "expired", "deleted"];
const AGAIN_MS = 5000; // where there is no stream, the page is asked for anew
const STAGES = ["queued", "preparing", "analyzing", "finishing"];

if (data.preview) {
  const player = new Player(() => {});
  player.show(data, 0, data.veiled);
  listen(playing(player));
}
if ($("progress")) follow();

function follow() {
  const given = $("eta").dataset.eta;
  showEta(given === "" ? null : Number(given));
  const stream = new EventSource(`/v1/videos/${data.video.id}/events?last_event_id=${data.told}`);
  stream.addEventListener("progress", (event) => show(JSON.parse(event.data)));
  for (const state of [...STAGES, ...ENDS]) stream.addEventListener(`video.${state}`, () => came(state, stream));
  stream.addEventListener("error", () => stream.readyState === EventSource.CLOSED && setTimeout(() => location.reload(), AGAIN_MS));
  addEventListener("pagehide", () => stream.close());
}

function show({ stage, fraction, eta_s: eta }) {
  mark(stage);
  $("whole").value = fraction;
  $("part").textContent = `${Math.round(100 * fraction)} %`;
  showEta(eta);
}

function showEta(seconds) {
  $("eta").textContent = seconds === null ? t("No estimate yet.") : t("about {time} left", { time: clock(Math.ceil(seconds)) });
}

function mark(stage) {
  for (const item of document.querySelectorAll("[data-stage]")) {
    if (item.dataset.stage === stage) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
  $("state").textContent = t(stage);
}

function came(state, stream) {
  const ended = ENDS.includes(state);
  const shows = state === "analyzing" && !data.preview; // now there is something to play
  if (!ended && !shows) return mark(state);
  stream.close();
  if ($("video") && !$("video").paused) $("filled").hidden = false; // nobody is torn out of what they look at
  else location.reload();
}

// Golden items: what is right about a video is said, and taken back, through the API.
import { call, t, toast } from "./page.js";

const add = document.getElementById("add");
const retire = document.getElementById("retire");

add?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(add);
  const problem = document.getElementById("add-problem");
  const button = add.querySelector("[type=submit]");
  const violated = fields.getAll("violated");
  problem.hidden = true;
  button.disabled = true;
  try {
    await call("POST", "/v1/review/golden", { video_id: add.dataset.video, outcome: fields.get("outcome"), violated, note: fields.get("note") });
    location.assign("/quality/golden");
  } catch (refusal) {
    problem.textContent = refusal.message;
    problem.hidden = false;
    button.disabled = false;
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-retire]");
  if (!button) return;
  document.getElementById("retire-video").textContent = button.dataset.video;
  retire.dataset.golden = button.dataset.retire;
  retire.returnValue = "";
  retire.showModal();
});

retire.addEventListener("close", async () => {
  if (retire.returnValue !== "yes") return;
  try {
    await call("DELETE", `/v1/review/golden/${retire.dataset.golden}`);
    location.assign("/quality/golden");
  } catch (refusal) {
    toast(t("It was not retired: {why}", { why: refusal.message }), "bad");
  }
});

// Webhooks: what changes something asks the API, then the page shows how things are now.
import { showSecret, sure } from "./admin.js";
import { call, Refusal, showTimes, t, toast } from "./page.js";
import { followMoments, local } from "./moments.js";

const hooks = document.getElementById("hooks");
const adding = document.getElementById("add");
const again = document.getElementById("again");
const SOON_MS = [300, 1500, 4000, 9000]; // a message that was just asked for has arrived by then, or was refused
const WHY = {
  already_registered: t("This address is told already."),
  address_not_allowed: t("Only addresses of the public internet are told, unless the service allows others."),
  invalid_request: t("This is no http or https address."),
};
let timers = [];
followMoments();

/** What changes on the page, as it is now; what was opened stays open, and the focus where it was. */
async function refresh() {
  const focused = document.activeElement?.id;
  const open = [...hooks.querySelectorAll("details[open]")].map((one) => one.id);
  await htmx.ajax("GET", hooks.dataset.address, { target: hooks, swap: "innerHTML" });
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus();
  showTimes(hooks);
}

function watch() {
  for (const timer of timers) clearTimeout(timer);
  timers = SOON_MS.map((wait) => setTimeout(refresh, wait));
}

/** Does something; what was refused is said. */
async function attempt(doing) {
  try {
    return await doing();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    toast(error.message, "bad");
    return undefined;
  }
}

async function test(card, path) {
  const place = () => document.querySelector(`[data-id="${card.dataset.id}"] .answer`);
  place().className = "answer quiet";
  place().textContent = t("Sending…");
  const told = await attempt(() => call("POST", `${path}/test`));
  if (told === undefined) {
    place().textContent = "";
    return;
  }
  const well = told.status >= 200 && told.status < 300;
  place().classList.add(well ? "good" : "bad");
  const said = told.status === null ? t("No answer: {error}", { error: told.error }) : t("Answered {status}", { status: told.status });
  place().textContent = `${said} · ${told.seconds.toFixed(2)} s`;
}

async function rotate(card, path) {
  const question = t("Make a new secret for {url}? Messages are signed with it from the next attempt on.", { url: card.dataset.url });
  if (!(await sure(question, t("New secret")))) return;
  const made = await attempt(() => call("POST", `${path}/rotate`));
  if (made) await showSecret(t("The secret that signs its messages"), made.secret);
}

async function remove(card, path) {
  const question = t("Remove {url}? What waits for it is called off. What was sent stays in the log.", { url: card.dataset.url });
  if (!(await sure(question, t("Remove")))) return;
  await attempt(() => call("DELETE", path));
  await refresh();
  document.getElementById("main").focus();
}

const ACTIONS = {
  test,
  rotate,
  remove,
  pause: async (card, path) => { await attempt(() => call("PATCH", path, { enabled: false })); await refresh(); },
  resume: async (card, path) => { await attempt(() => call("PATCH", path, { enabled: true })); await refresh(); },
  again(card) {
    again.dataset.id = card.dataset.id;
    again.querySelector(".url").textContent = card.dataset.url;
    again.querySelector("[name=since]").value = local(new Date(Date.now() - 86_400_000));
    again.showModal();
  },
};

document.addEventListener("click", async (event) => {
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
  const button = event.target.closest("[data-do]");
  const card = button?.closest(".hook");
  if (card) await ACTIONS[button.dataset.do](card, `/v1/webhooks/${card.dataset.id}`);
  const replay = event.target.closest("[data-replay]");
  if (replay) {
    const made = await attempt(() => call("POST", `/v1/webhooks/deliveries/${replay.dataset.replay}/replay`));
    if (made) {
      toast(t("On its way again."), "good");
      watch();
    }
  }
});

again.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const asked = { since: new Date(form.elements.since.value).toISOString(), undelivered: form.elements.undelivered.checked };
  again.close();
  let count = 0, cursor = null;
  do {
    const said = await attempt(() => call("POST", `/v1/webhooks/${again.dataset.id}/replay`, { ...asked, cursor }));
    if (!said) return;
    count += said.deliveries;
    cursor = said.next_cursor;
  } while (cursor);
  toast(t("{n} messages are on their way again.", { n: count }), "good");
  watch();
});

adding.addEventListener("submit", async (event) => {
  event.preventDefault();
  const data = new FormData(adding);
  const field = adding.elements.url, problem = document.getElementById("add-problem");
  problem.hidden = true;
  field.removeAttribute("aria-invalid");
  let made;
  try {
    made = await call("POST", "/v1/webhooks", { url: data.get("url"), description: data.get("description"), events: data.getAll("events") });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    problem.textContent = WHY[error.code] ?? error.message;
    problem.hidden = false;
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", "add-problem");
    field.focus();
    return;
  }
  adding.reset();
  await refresh();
  await showSecret(t("The secret that signs its messages"), made.secret);
});

document.addEventListener("change", (event) => {
  if (event.target.matches(".filters select")) event.target.form.requestSubmit();
});

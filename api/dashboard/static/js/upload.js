// Uploads: several files, two at a time, each with its progress from the first byte to the verdict.
//
//   waiting -> sending -> (its job: queued .. ready, rejected, failed, cancelled, expired)
//           -> too large, refused, called off, cut off: said, and may be sent again where that may help
import { h } from "./dom.js";
import { follow, goesOn } from "./follow.js";
import { call, t, toast, whyNot } from "./page.js";

const AT_ONCE = 2;
const input = document.getElementById("files");
const choose = document.getElementById("choose");
const list = document.getElementById("upload-list");
const clear = document.getElementById("uploads-clear");
const drop = document.getElementById("drop");
const rows = new Set();
const waiting = [];
const sending = new Set();

/** 1234567 -> "1.2 MB". */
function bytes(size) {
  const unit = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  for (; size >= 1000 && place < unit.length - 1; place += 1) size /= 1000;
  return `${place && size < 10 ? size.toFixed(1) : Math.round(size)} ${unit[place]}`;
}

function key() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
}

function add(files) {
  const most = Number(input.dataset.most);
  for (const file of files) {
    const one = { file, key: key(), label: "", done: false };
    one.bar = h("progress", { max: 1, value: 0, "aria-label": t("Progress of {name}", { name: file.name }) });
    one.told = h("span", { class: "told" });
    one.acts = h("div", { class: "acts" });
    const name = h("bdi", { class: "file", title: file.name }, file.name);
    one.row = h("li", { class: "upload" }, name, one.bar, one.told, one.acts);
    rows.add(one);
    list.prepend(one.row);
    if (file.size > most) {
      const sizes = { size: bytes(file.size), most: bytes(most) };
      end(one, t("This is {size}; {most} is the most that is taken.", sizes), { bad: true });
    } else {
      wait(one);
    }
  }
  document.getElementById("uploads").hidden = !rows.size;
  pump();
}

function wait(one) {
  begin(one, 0, t("Waits to be sent"), t("Cancel"), () => callOff(one));
  waiting.push(one);
}

function pump() {
  while (sending.size < AT_ONCE && waiting.length) send(waiting.shift());
}

function send(one) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  form.append("file", one.file, one.file.name);
  request.open("POST", "/v1/videos");
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("Idempotency-Key", one.key); // sent again, it is the same upload
  request.responseType = "json";
  request.upload.addEventListener("progress", (event) => {
    one.bar.value = event.loaded / event.total;
    say(one, t("{sent} of {size} sent", { sent: bytes(Math.min(event.loaded, one.file.size)), size: bytes(one.file.size) }));
  });
  request.addEventListener("load", () => answered(one, request.status, request.response));
  request.addEventListener("error", () => again(one, t("The service does not answer.")));
  request.addEventListener("abort", () => end(one, t("Called off; nothing was kept.")));
  request.addEventListener("loadend", () => {
    sending.delete(one);
    pump();
  });
  one.request = request;
  sending.add(one);
  begin(one, 0, t("Sending"), t("Cancel"), () => callOff(one));
  request.send(form);
}

function answered(one, status, said) {
  if (status === 401) return location.assign(`/sign-in?next=${encodeURIComponent("/library")}`);
  if (status === 202) return accepted(one, said);
  const told = whyNot(said?.code, said?.detail ?? t("This did not work."));
  if (status >= 500 || status === 429) again(one, told);
  else end(one, told, { bad: true });
}

function accepted(one, video) {
  one.id = video.id;
  show(one, video);
  follow(one.id, (news) => show(one, news));
}

function show(one, video) {
  if (!video) return end(one, t("It was deleted."));
  const state = t(video.state);
  if (goesOn(video.state)) {
    const left = video.progress.eta_s;
    const told = left === null ? state : t("{state}, about {seconds} s left", { state, seconds: Math.ceil(left) });
    return begin(one, video.progress.fraction, told, t("Cancel"), () => change(one, "cancel"));
  }
  document.dispatchEvent(new CustomEvent("video-changed", { detail: video.id }));
  if (video.state === "ready") {
    const told = t("ready: {verdict}", { verdict: t(video.verdict.action) });
    return end(one, told, { label: t("Open"), act: `/videos/${video.id}` });
  }
  const retry = { label: t("Retry"), act: () => change(one, "retry") };
  const told = video.error ? `${state}: ${video.error.detail}` : state;
  end(one, told, { bad: video.error !== null, ...(video.state === "rejected" ? {} : retry) });
}

async function change(one, what) {
  one.act = null; // the button stays where it is until there is an answer
  try {
    accepted(one, await call("POST", `/v1/videos/${one.id}/${what}`));
  } catch (refusal) {
    toast(refusal.message, "bad");
    follow(one.id, (news) => show(one, news));
  }
}

function callOff(one) {
  if (sending.has(one)) return one.request.abort();
  waiting.splice(waiting.indexOf(one), 1);
  end(one, t("Called off; nothing was kept."));
}

function again(one, why) {
  const act = () => {
    wait(one);
    pump();
  };
  end(one, why, { bad: true, label: t("Send again"), act });
}

function begin(one, share, text, label, act) {
  one.done = false;
  one.bar.hidden = false;
  one.bar.value = share;
  say(one, text, false);
  offer(one, label, act);
}

function end(one, text, { bad = false, label, act } = {}) {
  one.done = true;
  one.bar.hidden = true;
  say(one, text, bad);
  offer(one, label, act);
  document.getElementById("uploads-said").textContent = `${one.file.name}: ${text}`;
}

function say(one, text, bad) {
  one.told.textContent = text;
  one.told.className = bad ? "told bad" : "told";
}

/** The one thing that can be done with a row: `act` is a function, or where a link leads. Focus stays in the row. */
function offer(one, label = "", act = null) {
  one.act = act;
  clear.hidden = ![...rows].some((other) => other.done);
  if (one.label === label) return;
  one.label = label;
  const held = one.acts.contains(document.activeElement);
  const words = [label, h("span", { class: "unseen" }, ` ${one.file.name}`)];
  const link = typeof act === "string" && h("a", { class: "button small", href: act }, words);
  const button = link || (label && h("button", { type: "button", class: "small", onclick: () => one.act?.() }, words));
  one.acts.replaceChildren(...(button ? [button] : []));
  if (held) (button || choose).focus();
}

choose.addEventListener("click", () => input.click());
input.addEventListener("change", () => {
  add([...input.files]);
  input.value = "";
});
clear.addEventListener("click", () => {
  for (const one of [...rows].filter((other) => other.done)) {
    rows.delete(one);
    one.row.remove();
  }
  clear.hidden = true;
  document.getElementById("uploads").hidden = !rows.size;
  choose.focus();
});

const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  drop.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.hidden = true;
});
document.addEventListener("drop", (event) => {
  drop.hidden = true;
  if (!holdsFiles(event)) return;
  event.preventDefault();
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const files = items.filter((item) => !item.webkitGetAsEntry()?.isDirectory).map((item) => item.getAsFile());
  if (files.length < items.length) toast(t("Folders are not taken: drop the files that are in them."), "bad");
  add(files);
});
addEventListener("beforeunload", (event) => {
  if (waiting.length || sending.size) event.preventDefault(); // what was not sent would be lost
});

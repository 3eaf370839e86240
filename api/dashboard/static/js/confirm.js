// What is done for good is asked about once more: every button with data-act opens the dialog that says what follows.
import { call, newKey } from "./page.js";

const $ = (id) => document.getElementById(id);
let wanted = null; // { method, path, key }

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (!button) return;
  const { act: method, path, title, why, sure } = button.dataset;
  wanted = { method, path, key: newKey() };
  $("confirm-title").textContent = title;
  $("confirm-why").textContent = why;
  $("confirm-sure").textContent = sure;
  $("confirm-sure").classList.toggle("bad", button.classList.contains("bad"));
  $("confirm-problem").hidden = true;
  button.closest("details")?.removeAttribute("open");
  $("confirm").showModal();
  $("confirm-not").focus(); // Enter by mistake changes nothing
});

$("confirm-sure").addEventListener("click", async () => {
  const { method, path, key } = wanted;
  $("confirm-sure").disabled = true;
  try {
    await call(method, path, undefined, { headers: method === "POST" ? { "Idempotency-Key": key } : {} });
    location.reload();
  } catch (refusal) {
    $("confirm-problem").textContent = refusal.message;
    $("confirm-problem").hidden = false;
    $("confirm-sure").disabled = false;
  }
});

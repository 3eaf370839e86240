// Own settings are saved as they are changed.
import { call, t, toast } from "./page.js";

const form = document.getElementById("preferences");
const saved = document.getElementById("saved");

form.addEventListener("change", async (event) => {
  const field = event.target;
  const value = field.type === "checkbox" ? field.checked : field.name === "speed" ? Number(field.value) : field.value;
  try {
    await call("POST", "/settings/preferences", { [field.name]: value });
  } catch (refusal) {
    toast(refusal.message, "bad");
    return;
  }
  saved.textContent = t("Saved.");
  if (field.name === "theme") document.documentElement.dataset.theme = value;
  if (field.name === "language") location.reload();
});

// What pages of admins share: a secret is copied, and what cannot be undone is asked for twice.
import { h } from "./dom.js";
import { t, toast } from "./page.js";

/** Copies what is in a node; where the browser does not let us, it is selected for the reader to copy. */
export async function copy(node) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    toast(t("Copied."), "good");
  } catch {
    getSelection().selectAllChildren(node);
    toast(t("Selected: copy it with Ctrl+C."));
  }
}

/** Asks in a dialog; true where the answer is `button`, false for everything else. */
export function sure(question, button) {
  const dialog = h("dialog", { "aria-labelledby": "sure" },
    h("form", { method: "dialog", class: "stack" },
      h("p", { id: "sure", dir: "auto" }, question),
      h("div", { class: "row close" },
        h("button", { class: "bad", value: "yes" }, button),
        h("button", { class: "plain", value: "no", autofocus: true }, t("Cancel")))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
  });
}

/** Shows what is shown once, until it is closed. */
export function showSecret(title, secret) {
  const code = h("code", { class: "mono", id: "secret" }, secret);
  const dialog = h("dialog", { "aria-labelledby": "secret-title" },
    h("form", { method: "dialog", class: "stack secret" },
      h("h2", { id: "secret-title" }, title),
      h("div", { class: "row wrap" }, code, h("button", { type: "button", class: "main", onclick: () => copy(code) }, t("Copy"))),
      h("p", { class: "notice" }, t("Copy it now: it is never shown again.")),
      h("div", {}, h("button", { value: "done" }, t("Done")))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve();
    });
  });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(document.getElementById(button.dataset.copy));
});
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.confirm) return;
  event.preventDefault();
  if (await sure(form.dataset.confirm, form.dataset.confirmButton)) form.submit();
});

// The answer to a form may hold a secret, or say why not: to load that page anew would send the form again.
const { here } = document.querySelector("[data-here]").dataset;
if (location.pathname !== here) history.replaceState(null, "", here);

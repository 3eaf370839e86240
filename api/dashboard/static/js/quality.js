// Quality: the part about policies comes after the page; where it does not, that is said in its place.
import { t } from "./page.js";
import { h } from "./dom.js";

const part = document.getElementById("policies");
part.addEventListener("htmx:afterSwap", () => part.removeAttribute("aria-busy"));
for (const failed of ["htmx:sendError", "htmx:responseError"]) {
  part.addEventListener(failed, (event) => {
    event.stopPropagation();
    part.removeAttribute("aria-busy");
    const again = h("button", { type: "button", onclick: () => location.reload() }, t("Try again"));
    part.replaceChildren(h("section", { class: "card stack" }, h("p", { class: "problem", role: "alert" }, t("The figures of policies could not be read.")), h("div", null, again)));
  });
}

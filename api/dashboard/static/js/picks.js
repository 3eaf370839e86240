// The list of a draft's policies: by parent, found by words, with marks for what is new, changed, off or wrong.
import { h } from "./dom.js";
import { t } from "./page.js";

const parentOf = (row) => String(row.id ?? "").split(".")[0] || t("new");
const heading = (parent) => parent.charAt(0).toUpperCase() + parent.slice(1).replaceAll("_", " ");

/** Fills `list`. `marks(row)`: [[text, kind], ...]; `gone`: rows that the draft has no more; `pick` and `back` act. */
export function showPicks(list, { rows, gone, at, words, marks, pick, back }) {
  const focused = document.activeElement?.closest("#picks") ? document.activeElement.dataset.place : null;
  const matches = (row) => words.every((word) => `${row.id} ${row.title}`.toLowerCase().includes(word));
  const groups = new Map();
  rows.forEach((row, place) => {
    if (!matches(row) && place !== at) return;
    const parent = parentOf(row);
    if (!groups.has(parent)) groups.set(parent, []);
    groups.get(parent).push(h("li", {}, h("button", { type: "button", class: "pick", "data-place": place, "aria-current": place === at ? "true" : null, onclick: () => pick(place) },
      h("span", {}, row.title || row.id || t("A new policy")),
      h("span", { class: "marks" }, marks(row, place).map(([text, kind]) => h("span", { class: `badge ${kind}` }, text))))));
  });
  const items = [...groups].map(([parent, found]) => h("li", {}, h("p", { class: "parent" }, heading(parent)), h("ul", {}, found)));
  if (gone.length) {
    items.push(h("li", {}, h("p", { class: "parent" }, t("Removed")), h("ul", {}, gone.map((row) => h("li", { class: "row spread" },
      h("del", {}, row.title), h("button", { type: "button", class: "plain small", onclick: () => back(row) }, t("Put back")))))));
  }
  list.replaceChildren(...items);
  if (focused !== null) list.querySelector(`[data-place="${focused}"]`)?.focus();
}

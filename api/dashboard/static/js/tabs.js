// Tabs of which one is open, by mouse and by arrow keys.

const tabs = [...document.querySelectorAll("[role=tab]")];

/** Opens the tab with this id. */
export function openTab(id) {
  for (const one of tabs) {
    one.setAttribute("aria-selected", String(one.id === id));
    one.tabIndex = one.id === id ? 0 : -1;
    document.getElementById(one.getAttribute("aria-controls")).hidden = one.id !== id;
  }
}

for (const tab of tabs) {
  tab.addEventListener("click", () => openTab(tab.id));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const to = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    openTab(to.id);
    to.focus();
    event.stopPropagation();
  });
}

// Single keys that act at once, while nobody types and no dialog is open.
import { preferences } from "./page.js";

const AGAIN = ",.jl"; // keys that go on while they are held

/** What the player's keys do. */
export const playing = (player) => ({
  j: () => player.skip(-2),
  k: () => player.playOrPause(),
  l: () => player.skip(2),
  ",": () => player.skip(-0.1),
  ".": () => player.skip(0.1),
  b: () => player.toggle("blur"),
  g: () => player.toggle("grey"),
  m: () => player.toggle("mute"),
});

/** Listens for `acts` (key -> what it does), as long as `may(key)` says so. */
export function listen(acts, may = () => true) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (typing && event.key === "Escape") typing.blur();
    if (typing || !preferences.shortcuts || document.querySelector("dialog[open]") || event.repeat && !AGAIN.includes(event.key)) return;
    const act = acts[event.key];
    if (!act || !may(event.key)) return;
    event.preventDefault();
    act();
  });
}

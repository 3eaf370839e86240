// The video, veiled until somebody asks to see it plainly. Every new video is veiled again, unless it was cleared.
import { clock, preferences } from "./page.js";

const $ = (id) => document.getElementById(id);

export class Player {
  #video = $("video");

  /** `onMove(seconds)` is called as time goes by. */
  constructor(onMove) {
    for (const name of ["blur", "grey", "mute"]) $(name).addEventListener("change", () => this.#apply());
    $("speed").addEventListener("change", () => this.#apply());
    $("unveil").addEventListener("click", () => this.toggle("blur"));
    $("speed").value = String(preferences.speed);
    this.#video.addEventListener("timeupdate", () => {
      const end = this.#video.duration || 0;
      $("clock").textContent = `${clock(this.time)} / ${clock(end)}`;
      if (end && document.activeElement !== $("scrub")) $("scrub").value = String((1000 * this.time) / end);
      onMove(this.time);
    });
    this.#video.addEventListener("loadedmetadata", () => this.#apply());
    this.#video.addEventListener("click", () => this.playOrPause());
    for (const kind of ["play", "pause", "emptied"]) {
      this.#video.addEventListener(kind, () => $("play").classList.toggle("playing", !this.#video.paused));
    }
    $("play").addEventListener("click", () => this.playOrPause());
    $("scrub").addEventListener("input", () => this.seek(($("scrub").value / 1000) * (this.#video.duration || 0)));
    this.#video.addEventListener("volumechange", () => ($("mute").checked = this.#video.muted));
  }

  get time() {
    return this.#video.currentTime;
  }

  /** Another video, at `at` seconds. One that was cleared need not be veiled; sound is as its viewer likes it. */
  show(data, at = 0, veiled = true) {
    for (const name of ["blur", "grey", "mute"]) $(name).checked = preferences[name] && (veiled || name === "mute");
    this.#apply();
    this.#video.hidden = !data.preview;
    $("no-video").hidden = data.preview;
    if (!data.preview) {
      this.#video.removeAttribute("src");
      this.#video.load();
      return;
    }
    this.#video.poster = `/v1/videos/${data.video.id}/poster`;
    this.#video.src = `/v1/videos/${data.video.id}/preview`;
    this.#video.addEventListener("loadedmetadata", () => this.seek(at), { once: true });
  }

  seek(seconds) {
    const end = this.#video.duration || Infinity;
    this.#video.currentTime = Math.max(0, Math.min(seconds, end - 0.05));
  }

  skip(seconds) {
    this.seek(this.time + seconds);
  }

  playOrPause() {
    if (this.#video.paused) this.#video.play().catch(() => {});
    else this.#video.pause();
  }

  toggle(name) {
    $(name).checked = !$(name).checked;
    this.#apply();
  }

  #apply() {
    this.#video.classList.toggle("veiled-blur", $("blur").checked);
    this.#video.classList.toggle("veiled-grey", $("grey").checked);
    this.#video.muted = $("mute").checked;
    this.#video.playbackRate = Number($("speed").value);
    $("unveil").hidden = !$("blur").checked || this.#video.hidden;
  }
}

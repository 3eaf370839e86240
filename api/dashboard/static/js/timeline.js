// A video's timeline: a ruler with cuts and gaps, then a band a policy with its curve, limits and flags.
//
//   0:00        0:10        0:20
//   |---cut-------|---------###---|      ruler: shots, and ### where nobody looked
//   Weapon shown   __/^^\___        one band a policy: score over time, flag spans behind it
import { clock, preferences, t } from "./page.js";
import { h, s } from "./dom.js";

const HIGH = 100; // units of a band's height: scores are drawn upside down in them

/** Draws into `root`; `seek(seconds)` is called by a click. Returns what moves the playhead and marks a flag. */
export function drawTimeline(root, data, seek) {
  const duration = data.video.duration_s || data.segments.at(-1)?.[1] || 1;
  const x = (seconds) => (1000 * seconds) / duration;
  const head = h("div", { class: "head", hidden: true });
  const peek = h("div", { class: "peek", hidden: true });
  const bands = Object.entries(data.bands).map(([policy, scores]) => band(policy, scores, data, x));
  root.replaceChildren(ruler(data, duration, x, Math.max(2, Math.floor(root.clientWidth / 110))), ...bands, legend(data, bands.length), head, peek);

  const tracks = [...root.querySelectorAll("svg")];
  const at = (event) => {
    const box = tracks[0].getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * duration;
  };
  root.onclick = (event) => event.target.closest("svg") && seek(at(event));
  root.onpointermove = (event) => (event.target.closest("svg") ? showPeek(peek, root, event, at(event), data) : (peek.hidden = true));
  root.onpointerleave = () => (peek.hidden = true);

  return {
    move(seconds) {
      const box = tracks[0].getBoundingClientRect(), own = root.getBoundingClientRect();
      head.hidden = false;
      head.style.left = `${box.left - own.left + (box.width * Math.min(seconds, duration)) / duration}px`;
    },
    mark(flagId) {
      for (const span of root.querySelectorAll(".flag-span")) span.classList.toggle("current", span.dataset.flag === flagId);
    },
  };
}

function ruler(data, duration, x, most) {
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].find((size) => duration / size <= most) ?? 7200;
  const ticks = [];
  for (let at = 0; at <= duration; at += step) ticks.push(at);
  const labels = h("div", { class: "ticks quiet clock" }, ticks.filter((at) => at < 0.94 * duration).map((at) => mark(at, duration)), mark(duration, duration));
  return h(
    "div",
    { class: "ruler" },
    h("span", { class: "name quiet" }, t("Time")),
    h(
      "div",
      null,
      labels,
      s(
        "svg",
        { viewBox: `0 0 1000 ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        s("defs", null, hatch()),
        data.segments.map(([start]) => line("edge", x(start), 50)),
        data.shots.slice(1).map((start) => line("cut", x(start), 0)),
        data.gaps.map((gap) => s("rect", { class: "gap", x: x(gap.start_s), y: 0, width: x(gap.end_s - gap.start_s), height: HIGH })),
        line("edge", 0, 0), line("edge", 1000, 0),
      ),
    ),
  );
}

function mark(at, duration) {
  const label = h("span", null, clock(at));
  label.style.insetInlineStart = `${(100 * at) / duration}%`;
  return label;
}

function hatch() {
  return s(
    "pattern",
    { id: "unseen", width: 12, height: 12, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("line", { class: "gap-lines", x1: 0, y1: 0, x2: 0, y2: 12, "stroke-width": 6 }),
  );
}

const line = (kind, at, from) => s("line", { class: kind, x1: at, x2: at, y1: from, y2: HIGH });

function band(policy, scores, data, x) {
  const known = data.policies[policy];
  const flags = data.flags.filter((flag) => flag.policy_id === policy);
  const y = (score) => HIGH * (1 - score);
  let path = "", under = "";
  scores.forEach((score, index) => {
    if (score === null) return;
    const [start, end] = data.segments[index];
    path += `${path ? "L" : "M"}${x(start)} ${y(score)}L${x(end)} ${y(score)}`;
    under += `M${x(start)} ${HIGH}V${y(score)}H${x(end)}V${HIGH}Z`;
  });
  const peak = Math.max(0, ...scores.filter((score) => score !== null));
  const title = known?.title ?? policy;
  const limit = (kind, score) => score <= 1 && s("line", { class: `limit ${kind}`, x1: 0, x2: 1000, y1: y(score), y2: y(score) });
  return h(
    "div",
    { class: flags.length ? "band flagged" : "band" },
    h("span", { class: "name", title }, title),
    s(
      "svg",
      { viewBox: `0 0 1000 ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": t("{title}: highest score {peak}, {flags} flags", { title, peak: peak.toFixed(2), flags: flags.length }) },
      flags.map((flag) => s("rect", { class: `flag-span ${flag.severity}`, "data-flag": flag.id, x: x(flag.start_s), y: 0, width: x(flag.end_s - flag.start_s), height: HIGH })),
      s("path", { class: "under", d: under }),
      known && limit("review", known.review_threshold),
      known && limit("block", known.block_threshold),
      s("path", { class: "curve", d: path }),
      flags.flatMap((flag) => flag.evidence_s.map((at) => s("rect", { class: "evidence", x: x(at) - 1, y: HIGH - 12, width: 2, height: 12 }))),
    ),
  );
}

function legend(data, bands) {
  const said = [];
  if (!bands) said.push(t("No policy came near its threshold."));
  else said.push(t("Dashed: thresholds for review and for blocking. Ticks: the frames a flag rests on."));
  if (data.gaps.length) said.push(t("Hatched: nobody looked there."));
  if (data.told_until_s) said.push(t("Scores and captions are shown until {time}; the downloads hold all.", { time: clock(data.told_until_s) }));
  return h("p", { class: "legend" }, said.map((text) => h("span", null, text)));
}

function showPeek(peek, root, event, seconds, data) {
  const own = root.getBoundingClientRect();
  const shown = data.thumbnails;
  const number = shown ? Math.min(shown.count - 1, Math.round(seconds / shown.interval_s)) : null;
  const veiled = data.veiled !== false; // as the video is
  const veil = `${veiled && preferences.blur ? "veiled-blur " : ""}${veiled && preferences.grey ? "veiled-grey" : ""}`;
  if (peek.dataset.number !== String(number)) {
    peek.dataset.number = String(number);
    const picture = shown && shown.count > 0 && h("span", { class: "picture" }, h("img", { class: veil, alt: "", src: `/v1/videos/${data.video.id}/thumbnails/${number}` }));
    peek.replaceChildren(...(picture ? [picture] : []), h("span", { class: "clock" }));
  }
  peek.lastChild.textContent = clock(seconds);
  peek.style.left = `${event.clientX - own.left}px`;
  peek.hidden = false;
}

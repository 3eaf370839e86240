// What stands beside the video: flags with their policy's words, captions, answers, past decisions, provenance.
import { call, clock, t, whyNot } from "./page.js";
import { h } from "./dom.js";

const word = (name) => t(name.replaceAll("_", " "));

const lookSaid = (outcome) => ({ confirmed: t("confirmed"), rejected: t("ruled out") })[outcome] ?? t("unverified");

/** A score as a bar, with its policy's thresholds across it. */
function scoreBar(score, policy) {
  const bar = h("div", { class: "score", role: "img", "aria-label": t("score {score}, threshold {limit}", { score: score.toFixed(2), limit: policy?.review_threshold ?? "–" }) });
  const value = h("i");
  value.style.inlineSize = `${100 * score}%`;
  bar.append(value);
  for (const limit of policy ? [policy.review_threshold, policy.block_threshold] : []) {
    if (limit > 1) continue;
    const mark = h("b");
    mark.style.insetInlineStart = `${100 * limit}%`;
    bar.append(mark);
  }
  return bar;
}

/** One flag: what, when, how sure, the policy's words, and with `onJudge` what the reviewer says about it. */
export function flagCard(flag, data, draft, { current, onChoose, onJudge }) {
  const policy = data.policies[flag.policy_id];
  const look = data.looks.find((one) => one.policy_id === flag.policy_id && one.start_s >= flag.start_s && one.end_s <= flag.end_s + 0.01);
  return h(
    "li",
    { class: `card flag tight ${flag.severity}`, "aria-current": String(current), "data-flag": flag.id, onclick: (event) => !event.target.closest("button, select, summary") && onChoose(flag) },
    h("div", { class: "flag-head" }, h("strong", null, policy?.title ?? flag.policy_id), h("span", { class: `severity ${flag.severity}` }, word(flag.severity))),
    h("div", { class: "row close spread quiet" }, h("button", { type: "button", class: "small plain clock", onclick: () => onChoose(flag) }, `${clock(flag.start_s)} – ${clock(flag.end_s)}`), h("span", null, `${flag.score.toFixed(2)} · ${word(flag.action)}${look ? ` · ${t("looked at twice: {outcome}", { outcome: lookSaid(look.outcome) })}` : ""}`)),
    scoreBar(flag.score, policy),
    policy && h("details", { class: "policy-text", open: current }, h("summary", null, t("What the policy says")), h("dl", null, h("dt", null, t("Blocked")), h("dd", null, policy.blocked), h("dt", null, t("Allowed")), h("dd", null, policy.allowed || "–"))),
    onJudge && judging(flag, data, draft, onJudge),
  );
}

/** Right, wrong, or another policy's. */
function judging(flag, data, draft, onJudge) {
  const said = draft.flags.get(flag.id);
  const pressed = (verdict) => String(said?.verdict === verdict);
  const judge = (value) => (event) => (event.stopPropagation(), onJudge(flag, value));
  const others = Object.entries(data.policies).filter(([id]) => id !== flag.policy_id);
  const right = h("select", { "aria-label": t("The right policy") }, h("option", { value: "" }, t("Another policy…")), others.map(([id, one]) => h("option", { value: id, selected: said?.policy_id === id }, one.title)));
  right.addEventListener("change", () => right.value && onJudge(flag, { verdict: "wrong_policy", policy_id: right.value }));
  return h(
    "div",
    { class: "row close wrap verdict-of" },
    h("button", { type: "button", class: "small", "aria-pressed": pressed("confirm"), onclick: judge({ verdict: "confirm" }) }, t("Right"), " ", h("kbd", null, "y")),
    h("button", { type: "button", class: "small", "aria-pressed": pressed("reject"), onclick: judge({ verdict: "reject", reason: "not_there" }) }, t("Wrong"), " ", h("kbd", null, "x")),
    right,
  );
}

/** The head of the desk: what kind of item this is, and what the machine says. */
export function itemHead(data) {
  const { item, video, verdict } = data;
  const known = data.known[0];
  return [
    h("div", { class: "row close wrap spread" }, h("span", { class: `severity ${item.severity}` }, word(item.severity)), h("span", { class: "badge" }, t(item.queue)), item.occasion !== "flagged" && h("span", { class: "badge accent" }, word(item.occasion)), item.restricted && h("span", { class: "badge warn" }, t("restricted"))),
    h("p", null, verdict.reason ?? item.reason),
    data.summary.text && h("p", { class: "quiet" }, data.summary.text),
    data.coverage.partial && h("p", { class: "notice" }, t("Only {seen} of {total} s were looked at.", { seen: Math.round(data.coverage.seconds_seen), total: Math.round(data.coverage.seconds_total) })),
    data.provenance.toy_model && h("p", { class: "notice" }, t("Scored by the embedded toy model: about a real video this means nothing.")),
    known && h("p", { class: "notice" }, t("This was seen before: {share} % of it is in the bank {bank}.", { share: Math.round(100 * (known.exact ? 1 : known.share)), bank: known.bank })),
    h("p", { class: "quiet" }, h("a", { href: `/videos/${video.id}` }, video.client_id || video.filename || video.id), ` · ${clock(video.duration_s ?? 0)}`),
  ];
}

/** Captions that can be jumped to. Returns what marks the one at a time. */
export function drawCaptions(root, data, seek) {
  const rows = data.segments.map(([start, , caption]) => h("li", null, h("button", { type: "button", onclick: () => seek(start) }, h("span", { class: "clock quiet" }, clock(start)), h("span", null, caption))));
  root.replaceChildren(...(rows.length ? rows : [h("li", { class: "quiet" }, t("There are no captions."))]));
  let marked = -1;
  return (seconds) => {
    const now = data.segments.findIndex(([start, end]) => seconds >= start && seconds < end);
    if (now === marked) return;
    rows[marked]?.removeAttribute("aria-current");
    rows[now]?.setAttribute("aria-current", "true");
    marked = now;
    if (rows[now] && root.offsetParent) root.scrollTop = rows[now].offsetTop - root.offsetTop - root.clientHeight / 2;
  };
}

/** Asks the clip, and puts the answer with its times on top. Returns the conversation it belongs to. */
export async function ask(root, videoId, question, conversation, seek) {
  const row = questionRow(question);
  root.prepend(row);
  try {
    const asked = await call("POST", `/v1/videos/${videoId}/questions`, { question, conversation_id: conversation }, { headers: { Prefer: "wait=25" } });
    const found = await answered(asked);
    showAnswer(row, found, seek);
    return found.conversation_id;
  } catch (refusal) {
    row.remove();
    throw refusal;
  }
}

/** A question whose answer is still looked for. */
export const questionRow = (question) => h("li", { class: "tight" }, h("strong", null, question), h("span", { class: "quiet" }, t("Looking…")));

/** The question once it has ended. */
export async function answered(question) {
  let found = question;
  while (found.state === "queued" || found.state === "answering") found = await call("GET", `/v1/questions/${found.id}`, undefined, { headers: { Prefer: "wait=25" } });
  return found;
}

/** Puts the answer in the place of the waiting. */
export function showAnswer(row, found, seek) {
  const { answer } = found;
  if (!answer) return void (row.lastChild.textContent = t("There is no answer: {why}", { why: whyNot(found.error?.code, found.error?.code ?? found.state) }));
  row.lastChild.replaceWith(
    h("p", null, answer.text, " ", h("span", { class: "quiet" }, answer.abstained ? t("not found in this clip") : t("{n} % sure", { n: Math.round(100 * answer.confidence) }))),
    h("p", { class: "row close wrap" }, answer.evidence.map((one) => h("button", { type: "button", class: "small clock", onclick: () => seek(one.start_s) }, `${clock(one.start_s)} – ${clock(one.end_s)}`))),
  );
}

/** What was decided about this video before, about videos that are its like, and about flags like its own. */
export function pastDecisions(data) {
  const title = (id) => data.policies[id]?.title ?? id;
  const about = (flag) => h("li", null, `${title(flag.policy_id)}, ${clock(flag.start_s)} – ${clock(flag.end_s)}: ${word(flag.verdict)}${flag.right_policy_id ? ` → ${title(flag.right_policy_id)}` : ""}`);
  const rows = data.history.map((one) =>
    h(
      "li",
      { class: one.undone_at ? "tight undone" : "tight" },
      h("span", null, h("strong", null, word(one.outcome)), ` · ${data.names[one.actor] ?? t("a program")} · `, h("time", { datetime: one.created_at }), one.undone_at && [` · ${t("undone")} `, h("time", { datetime: one.undone_at })]),
      one.note && h("p", { class: "quiet" }, one.note),
      one.flags.length > 0 && h("ul", { class: "quiet" }, one.flags.map(about)),
    ),
  );
  const like = data.known.map((one) =>
    h("li", null, `${one.bank === "known_bad" ? t("Like a video that was removed") : t("Like a video that was approved")}, ${clock(one.start_s)} – ${clock(one.end_s)}`, one.exact ? ` (${t("the same file")})` : ` (${Math.round(100 * one.similarity)} %)`, one.known_video_id && [" ", h("a", { href: `/videos/${one.known_video_id}` }, t("open"))]),
  );
  const alike = (data.precedents ?? []).map((one) =>
    h("li", null, `${title(one.policy_id)} ${one.score.toFixed(2)}: `, h("strong", null, word(one.verdict)), one.reason && ` (${word(one.reason)})`, " · ", h("time", { datetime: one.decided_at, "data-ago": "" }), " · ", h("a", { href: `/videos/${one.video_id}?t=${one.start_s}` }, t("open"))),
  );
  if (alike.length) return h("div", { class: "stack" }, (rows.length > 0 || like.length > 0) && h("ul", { class: "stack" }, rows, like), h("h3", null, t("Flags like these, decided lately")), h("ul", { class: "tight" }, alike));
  if (!rows.length && !like.length) return h("p", { class: "quiet" }, t("Nothing was decided before that you should know of."));
  return h("ul", { class: "stack" }, rows, like);
}

/** Why the scores are what they are. */
export function provenance(data) {
  const { provenance: made, coverage } = data;
  const sampling = made.sampling ?? {};
  const rows = [
    [t("Model"), `${made.model_id ?? "–"} (${made.model_revision ?? "–"})`],
    [t("Prompts"), made.prompt_version],
    [t("Policies"), made.policy_set_version],
    [t("Pipeline"), made.pipeline_version],
    [t("Frames"), `${sampling.fps ?? "–"}/s, ${sampling.width ?? "–"} × ${sampling.height ?? "–"}`],
    [t("Looked at"), `${coverage.seconds_seen ?? 0} / ${coverage.seconds_total ?? 0} s`],
    [t("Video"), data.video.id],
    ...Object.entries(made.libraries ?? {}),
  ];
  return rows.flatMap(([name, value]) => [h("dt", null, name), h("dd", null, String(value ?? "–"))]);
}

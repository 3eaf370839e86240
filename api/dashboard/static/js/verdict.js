// What a reviewer says about one video, until it is sent: a verdict a flag, what was missed, a note. No elements here.

/** One video's decision in the making. */
export class Draft {
  constructor(data) {
    this.data = data;
    this.flags = new Map(); // flag id -> { verdict, reason?, policy_id?, start_s?, end_s? }
    this.missed = [];
  }

  /** Says something about a flag; the same again takes it back. */
  judge(flagId, said) {
    const had = this.flags.get(flagId);
    if (had && JSON.stringify(had) === JSON.stringify(said)) this.flags.delete(flagId);
    else this.flags.set(flagId, said);
  }

  /**
   * The whole decision: flags that nothing was said about are wrong where the video is approved, for `reason`, and right
   * where it is removed. Returns { body } or { problem }, a text for `t`.
   */
  decide(outcome, reason, note, watchedS) {
    const flags = [];
    for (const flag of this.data.flags) {
      const said = this.flags.get(flag.id);
      if (said) flags.push({ flag_id: flag.id, ...said });
      else if (outcome === "approve") flags.push({ flag_id: flag.id, verdict: "reject", reason });
      else if (outcome === "remove") flags.push({ flag_id: flag.id, verdict: "confirm" });
    }
    const violated = this.missed.length > 0 || flags.some((one) => one.verdict !== "reject");
    const noted = note.trim() !== "";
    if (outcome === "escalate" && !noted) return { problem: "A note is needed: say what the lead should look at." };
    if (outcome === "remove" && !violated && !noted) return { problem: "Nothing is marked as wrong: say in a note why the video is to go." };
    if (outcome === "approve" && violated && !noted) return { problem: "Something is marked as right: say in a note why the video may stay." };
    const body = { token: this.data.item.lock.token, outcome, flags, missed: this.missed, note, watched_s: Math.round(watchedS * 10) / 10 };
    return { body };
  }
}

// What a job is doing, in words: progress while it runs, the reason when it stopped.

// The file itself is at fault: the same bytes will fail again.
const HOPELESS = new Set([
  "undecodable_audio", "unsupported_format", "decode_limit_exceeded", "invalid_options", "gone",
]);

class JobStatus {
  constructor(say) {
    this.say = say;
    this.stage = h("p", { class: "stage", "aria-live": "polite" });
    this.figures = h("p", { class: "small muted num figures" });
    this.fill = h("i", {});
    this.bar = h("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100",
      "aria-label": say("status.progress") }, this.fill);
    this.working = h("div", { class: "working" },
      h("div", { class: "row between" }, this.stage, this.figures), this.bar);
    this.message = h("div", {});
    this.link = h("div", { hidden: true });
    this.root = h("div", { class: "status" }, this.link, this.working, this.message);
    this.timer = setInterval(() => this.#drawFigures(), 1000);
  }

  destroy() { clearInterval(this.timer); }

  connected(yes) {
    this.link.hidden = yes;
    if (yes || this.drawn === Boolean(this.job)) return;
    this.drawn = Boolean(this.job);
    const { title, hint } = explain({ code: "unavailable" }, this.say.strings);
    this.link.replaceChildren(this.drawn
      ? notice("warn", this.say("status.offline"), this.say("status.offline.hint"))
      : notice("warn", title, hint));
  }

  showJob(job, strings, { onRetry, onHome }) {
    this.job = job;
    const active = !FINAL.has(job.status);
    this.working.hidden = !active;
    this.message.replaceChildren();
    if (active) this.showProgress(job.progress);
    if (active && job.error) {
      this.message.append(notice("warn", explain(job.error, strings).title, this.say("status.will_retry")));
    }
    const way = (key, run) => h("button", { class: "primary", type: "button", onclick: run }, this.say(key));
    if (job.status === "failed") {
      const error = job.error ?? { code: "internal" };
      const { title, hint } = explain(error, strings);
      const out = HOPELESS.has(error.code) ? way("action.another", onHome) : way("action.retry", onRetry);
      this.message.append(notice("bad", title, hint, out));
    } else if (job.status === "cancelled") {
      this.message.append(notice("plain", this.say("status.cancelled"),
        this.say("status.cancelled.hint"), way("action.continue", onRetry)));
    }
  }

  showMissing(error, strings, onBack) {
    const { title, hint } = explain(error, strings);
    this.working.hidden = true;
    this.message.replaceChildren(notice("bad", title, hint,
      h("button", { type: "button", onclick: onBack }, this.say("action.home"))));
  }

  showWarnings(warnings, empty) {
    if (!empty) return;
    const reason = warnings.map((warning) => this.say.maybe(`warning.${warning.code}`)).find(Boolean);
    this.message.replaceChildren(notice("plain", this.say("status.no_text"),
      reason ?? this.say("status.no_text.hint")));
  }

  showProgress(progress) {
    this.progress = progress;
    this.receivedAt = performance.now();
    const { stage, queue_position: ahead, total_s: total, done_s: done } = progress;
    const text = stage === "waiting" && ahead > 0
      ? this.say("stage.waiting_behind", { count: ahead }) : this.say(`stage.${stage}`);
    if (this.stage.textContent !== text) this.stage.textContent = text;
    const percent = total ? Math.min(100, (100 * done) / total) : null;
    this.bar.classList.toggle("unknown", percent === null || stage === "finishing");
    this.fill.style.width = percent === null ? "" : `${percent}%`;
    if (percent === null) this.bar.removeAttribute("aria-valuenow");
    else this.bar.setAttribute("aria-valuenow", String(Math.round(percent)));
    this.#drawFigures();
  }

  #drawFigures() {
    if (!this.progress || this.working.hidden) return;
    const since_s = (performance.now() - this.receivedAt) / 1000;
    const { done_s: done, total_s: total, elapsed_s: elapsed, eta_s: eta, stage } = this.progress;
    const parts = [];
    if (total) parts.push(this.say("status.done", { done: clock(done), total: clock(total) }));
    if (stage !== "waiting") parts.push(this.say("status.elapsed", { time: clock(elapsed + since_s) }));
    if (eta !== null && eta !== undefined) {
      parts.push(this.say("status.left", {
        time: roughly(Math.max(0, eta - since_s), this.say.strings, this.say.language),
      }));
    }
    this.figures.textContent = parts.join(" · ");
  }
}

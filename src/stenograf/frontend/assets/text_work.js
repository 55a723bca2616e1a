// A language model on the finished text: summary, punctuation, an instruction in one's own words.
// Shown only where the backend has such a model.

const TEXT_TITLES = {
  punctuation: "texts.punctuated", summary: "texts.summarized", instruction: "texts.instructed",
};
const TEXT_WARNINGS = {
  words_kept: "texts.words_kept", answer_cut: "texts.answer_cut", no_text: "texts.no_text",
};
const TEXT_BUSY = new Set(["waiting", "running"]);
const FOLLOW_AGAIN_MS = 3000;

class TextWork {
  // `onSpelling(punctuated)` shows the transcript with the model's punctuation, or as recognized.
  constructor(say, jobId, onSpelling) {
    this.say = say;
    this.draft = `stenograf.wish.${jobId}`;
    this.onSpelling = onSpelling;
    this.answers = new Map();
    this.problem = h("div", {});
    this.wish = h("textarea", {
      rows: 3, maxlength: 4000, placeholder: say("texts.instruction.example"),
      oninput: () => this.#keepDraft(),
    });
    this.form = h("form", {
      class: "wish", hidden: true,
      onsubmit: (event) => { event.preventDefault(); this.#ask("instruction", this.wish.value.trim()); },
    }, h("label", {}, say("texts.instruction.label"), this.wish),
    h("div", { class: "row end" }, h("button", { class: "primary", type: "submit" }, say("texts.send"))));
    this.opener = h("button", { type: "button", "aria-expanded": "false", onclick: () => this.#openForm() },
      say("texts.instruction"));
    this.list = h("div", { class: "answers" });
    this.root = h("section", { class: "texts card", hidden: true, "aria-label": say("texts.title") },
      h("h2", {}, say("texts.title")),
      h("p", { class: "small muted" }, say("texts.where")),
      h("div", { class: "row" },
        h("button", { type: "button", onclick: () => this.#ask("summary") }, say("texts.summary")),
        h("button", { type: "button", onclick: () => this.#ask("punctuation") }, say("texts.punctuation")),
        this.opener),
      this.form, this.problem, this.list);
    this.#bringDraft();
  }

  // What is half written outlives other views, the other language and a reload.
  #keepDraft() {
    try { sessionStorage.setItem(this.draft, this.wish.value); } catch { /* full or forbidden */ }
  }

  #bringDraft() {
    try { this.wish.value = sessionStorage.getItem(this.draft) ?? ""; } catch { /* forbidden */ }
    if (!this.wish.value) return;
    this.form.hidden = false;
    this.opener.setAttribute("aria-expanded", "true");
  }

  destroy() {
    this.closed = true;
    for (const answer of this.answers.values()) answer.destroy();
  }

  async open(jobUrl) {
    if (this.url) return;
    this.url = `${jobUrl}/text`;
    try {
      const root = jobUrl.slice(0, jobUrl.lastIndexOf("/v1/jobs/"));
      const { text } = await requestJson(`${root}/v1/capabilities`);
      if (!text.configured) return;
      const { data } = await requestJson(this.url);
      if (this.closed) return;
      for (const view of data.reverse()) this.#show(view);
      this.root.hidden = false;
    } catch {
      this.url = null; // asked again when the transcript is drawn again
    }
  }

  #openForm() {
    this.form.hidden = !this.form.hidden;
    this.opener.setAttribute("aria-expanded", String(!this.form.hidden));
    if (!this.form.hidden) this.wish.focus();
  }

  async #ask(task, instruction = "") {
    if (task === "instruction" && !instruction) return this.wish.focus();
    this.problem.replaceChildren();
    try {
      this.#show(await requestJson(this.url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ task, instruction, wait: false }),
      }));
      if (task === "instruction" && instruction === this.wish.value.trim()) {
        this.wish.value = "";
        this.#keepDraft();
        if (!this.form.hidden) this.#openForm();
      }
    } catch (error) {
      const { title, hint } = explain(error, this.say.strings);
      this.problem.replaceChildren(notice("bad", title, hint));
    }
  }

  #show(view) {
    let answer = this.answers.get(view.id);
    if (!answer) {
      const again = () => this.#ask(view.task, view.instruction);
      answer = new TextAnswer(this.say, `${this.url}/${view.id}`, view, again, this.onSpelling);
      this.answers.set(view.id, answer);
    }
    this.list.prepend(answer.root);
    answer.show(view);
  }
}

class TextAnswer {
  constructor(say, url, view, again, onSpelling) {
    Object.assign(this, { say, url, again, onSpelling, spelled: false });
    this.state = h("p", { class: "small muted", "aria-live": "polite" });
    this.text = h("p", { class: "said" });
    this.below = h("div", { class: "below" });
    this.root = h("article", { class: "answer", "data-task": view.task },
      h("h3", {}, say(TEXT_TITLES[view.task])),
      view.instruction ? h("p", { class: "small muted" }, view.instruction) : null,
      this.text, this.state, this.below);
  }

  destroy() {
    this.source?.close();
    clearTimeout(this.timer);
  }

  show(view) {
    const busy = TEXT_BUSY.has(view.state);
    this.state.hidden = !busy && view.state !== "cancelled";
    this.state.textContent = this.#stateText(view);
    this.below.replaceChildren(...this.#explained(view), this.#buttons(view));
    if (!busy) this.text.textContent = view.text;
    if (busy && !this.source) this.#follow();
  }

  #stateText(view) {
    if (view.state === "cancelled") return this.say("texts.cancelled");
    if (view.retry_at) {
      return this.say("texts.waiting", { time: moment(view.retry_at, this.say.language) });
    }
    const parts = view.pieces_total > 1
      ? this.say("texts.pieces", { done: view.pieces_done, total: view.pieces_total }) : null;
    return [this.say("texts.working"), parts].filter(Boolean).join(" · ");
  }

  #explained(view) {
    if (view.error) {
      const { title, hint } = explain(view.error, this.say.strings);
      return [notice(view.state === "failed" ? "bad" : "warn", title, hint)];
    }
    const codes = new Set(view.warnings.map((warning) => warning.code));
    return [...codes].filter((code) => TEXT_WARNINGS[code])
      .map((code) => h("p", { class: "small muted" }, this.say(TEXT_WARNINGS[code])));
  }

  #buttons(view) {
    const button = (key, run) => h("button", { type: "button", onclick: run }, this.say(key));
    const row = h("div", { class: "row" });
    if (TEXT_BUSY.has(view.state)) row.append(button("texts.cancel", () => this.#cancel()));
    if (view.state === "failed" || view.state === "cancelled") row.append(button("texts.again", this.again));
    if (view.retry_at) row.append(button("texts.again", this.again));
    if (view.state === "ok" && view.text) row.append(this.#copyButton(view.text));
    if (view.state === "ok" && view.task === "punctuation") row.append(this.#spellingButton());
    return row;
  }

  #copyButton(text) {
    const answer = h("span", { class: "small muted", "aria-live": "polite" });
    const copy = h("button", {
      type: "button",
      onclick: async () => {
        const key = await toClipboard(text).then(() => "export.copied", () => "export.not_copied");
        answer.textContent = this.say(key);
      },
    }, icon("copy"), this.say("export.copy"));
    return h("span", { class: "row" }, copy, answer);
  }

  #spellingButton() {
    const label = () => this.say(this.spelled ? "texts.unapply" : "texts.apply");
    const button = h("button", {
      type: "button", "aria-pressed": String(this.spelled),
      onclick: () => {
        this.spelled = !this.spelled;
        button.textContent = label();
        button.setAttribute("aria-pressed", String(this.spelled));
        this.onSpelling(this.spelled);
      },
    }, label());
    return button;
  }

  #follow() {
    this.source = new EventSource(`${this.url}/events`, { withCredentials: true });
    const on = (name, use) => this.source.addEventListener(name, (event) => use(JSON.parse(event.data)));
    const clear = () => { this.text.textContent = ""; };
    this.source.onopen = clear; // a stream that is opened again begins with the whole text
    on("reset", clear);
    on("delta", ({ text }) => { this.text.textContent += text; });
    on("state", (view) => { if (TEXT_BUSY.has(view.state)) this.show(view); });
    on("done", (view) => { this.#stopFollowing(); this.show(view); });
    this.source.onerror = () => {
      if (this.source?.readyState !== EventSource.CLOSED) return;
      this.#stopFollowing();
      this.timer = setTimeout(() => this.#refresh(), FOLLOW_AGAIN_MS);
    };
  }

  #stopFollowing() {
    this.source?.close();
    this.source = null;
  }

  async #refresh() {
    try {
      this.show(await requestJson(this.url));
    } catch (error) {
      if (error.network || error.status >= 500) this.timer = setTimeout(() => this.#refresh(), FOLLOW_AGAIN_MS);
    }
  }

  async #cancel() {
    const view = await requestJson(this.url, { method: "DELETE" }).catch(() => null);
    if (!view) return;
    this.#stopFollowing();
    this.show(view);
  }
}

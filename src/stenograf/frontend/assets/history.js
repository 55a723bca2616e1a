// Past and present recordings, newest first, with a search that looks into the text as well.

const TYPING_PAUSE_MS = 300;
const ANSWER_MS = 3000;

class HistoryView {
  constructor(parent, send) {
    this.send = send;
    this.field = h("input", { type: "search", autocomplete: "off", maxlength: "200" });
    this.field.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.#search(), TYPING_PAUSE_MS);
    });
    this.onShown = () => { if (!document.hidden) this.send("look", Date.now()); };
    document.addEventListener("visibilitychange", this.onShown);
    this.title = h("h2", {});
    this.find = h("label", { class: "find" }, icon("search", 18), this.field);
    this.list = h("ul", { class: "jobs" });
    this.empty = h("p", { class: "muted empty" });
    this.more = h("button", { type: "button", onclick: () => this.send("more", Date.now()) });
    this.root = h("section", { class: "history" },
      h("div", { class: "top" }, this.title, this.find), this.list, this.empty, this.more);
    parent.append(this.root);
  }

  update(data, send) {
    this.send = send;
    if (!this.data) this.field.value = data.query; // later it is whoever types that knows better
    this.data = data;
    const say = (key, values) => words(data.strings, key, values);
    this.title.textContent = say("history.title");
    this.field.placeholder = say("history.search");
    this.field.setAttribute("aria-label", say("history.search"));
    this.more.textContent = say("history.more");
    this.more.hidden = !data.has_more;
    this.find.hidden = !data.jobs.length && !data.query;
    this.empty.hidden = data.jobs.length > 0;
    this.empty.textContent = data.query
      ? say("history.nothing_found", { query: data.query }) : say("history.empty");
    this.#draw(say);
  }

  destroy() {
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onShown);
    this.root.remove();
  }

  // What is sent while the page is drawn anew may be lost: it is sent until it is answered.
  #search() {
    const wanted = this.field.value.trim();
    this.send("search", wanted);
    this.timer = setTimeout(() => { if (this.data.query !== wanted) this.#search(); }, ANSWER_MS);
  }

  // Rows are replaced in place, so that a refresh never takes the focus away.
  #draw(say) {
    const focused = this.root.getRootNode().activeElement?.dataset?.id;
    this.list.replaceChildren(...this.data.jobs.map((job) => this.#row(job, say)));
    if (focused) this.list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  }

  #row(job, say) {
    const { language, strings } = this.data;
    const state = h("span", { class: `small state ${job.status}` }, this.#state(job, say));
    const facts = [job.duration_s ? clock(job.duration_s) : null, moment(job.created_at, language)];
    const second = job.error
      ? h("span", { class: "small clip bad" }, explain(job.error, strings).title)
      : h("span", { class: "small muted clip" }, job.text_preview || say("history.no_text"));
    return h("li", {}, h("button", {
      class: "entry", type: "button", "data-id": job.id, onclick: () => this.send("open", job.id),
    },
    h("span", { class: "grow" },
      h("span", { class: "clip name", title: nameOf(job) }, nameOf(job)),
      job.status === "completed" || job.error || job.text_preview ? second : null,
      job.status === "running" ? this.#bar(job) : null),
    h("span", { class: "side small muted num" }, job.status === "completed" ? null : state,
      h("span", {}, facts.filter(Boolean).join(" · ")))));
  }

  #state(job, say) {
    const { total_s: total, done_s: done } = job.progress;
    if (job.status === "running" && total) return `${Math.floor((100 * done) / total)}\u00a0%`;
    return say(`history.${job.status}`);
  }

  #bar(job) {
    const { total_s: total, done_s: done } = job.progress;
    const fill = h("i", { style: `width:${total ? (100 * done) / total : 0}%` });
    return h("div", { class: total ? "bar" : "bar unknown" }, fill);
  }
}

const histories = new WeakMap();

export default function ({ parentElement, data, setTriggerValue }) {
  const create = (parent, send) => new HistoryView(parent, send);
  return attach(histories, parentElement, create, data, setTriggerValue);
}

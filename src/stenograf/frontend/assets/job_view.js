// One recording: what is happening to it, its sound, its text.

class JobView {
  constructor(parent, send) {
    this.send = send;
    this.root = h("article", { class: "job" });
    parent.append(this.root);
    this.onKey = (event) => this.#shortcut(event);
    addEventListener("keydown", this.onKey);
  }

  update(data, send) {
    this.send = send;
    const fresh = !this.data || this.data.job_id !== data.job_id
      || this.data.language !== data.language;
    const changed = !fresh && this.data.revision !== data.revision;
    this.data = data;
    if (fresh) this.#build();
    else if (changed) this.feed.open(); // an action was carried out: look again
  }

  destroy() {
    this.#dispose();
    removeEventListener("keydown", this.onKey);
    this.root.remove();
  }

  #dispose() {
    for (const part of [this.wave, this.player, this.lines, this.exports, this.status, this.texts]) part?.destroy();
    this.feed?.close();
  }

  #build() {
    const heard = this.jobId === this.data.job_id ? this.player.place : null; // another language
    this.jobId = this.data.job_id;
    this.#dispose();
    const { strings, language, backend, job_id: jobId } = this.data;
    const say = (key, values) => words(strings, key, values);
    Object.assign(say, { strings, language, maybe: (key) => strings[key] });
    this.say = say;
    const act = (name) => () => this.send("action", { name, at: Date.now() });
    this.act = act;

    this.title = h("h1", {});
    this.meta = h("p", { class: "small muted meta" });
    this.stop = h("button", { type: "button", hidden: true, onclick: act("cancel") },
      icon("stop", 18), say("action.cancel"));
    this.remove = h("button", {
      class: "quiet icon", type: "button", hidden: true, title: say("action.delete"),
      "aria-label": say("action.delete"), onclick: () => this.confirm.showModal(),
    }, icon("trash"));
    this.confirm = this.#confirmDialog(act("purge"));

    this.status = new JobStatus(say);
    this.lines = new Lines(say, (start_s) => this.player.seek(start_s, true));
    this.wave = new Waveform(say, (to_s) => this.player.seek(to_s));
    this.player = new Player(say, (now_s, playing) => {
      this.wave.move(now_s);
      if (playing && !this.wasPlaying) this.lines.follow = true;
      this.wasPlaying = playing;
      this.lines.mark(now_s, playing);
    }, () => this.feed.open());
    this.sound = h("section", { class: "sound card", hidden: true, "aria-label": say("wave.label") },
      this.wave.root);
    this.exports = new ExportMenu(say, () => this.lines.text);
    this.toolbar = h("div", { class: "row toolbar", hidden: true },
      this.#layoutSwitch(), this.exports.root);
    this.dock = h("div", { class: "dock", hidden: true }, this.player.root, this.toolbar);
    this.text = h("section", { class: "text", hidden: true, "aria-label": say("text.label") },
      this.lines.root);
    this.removed = h("details", { class: "removed small muted", hidden: true });
    this.texts = new TextWork(say, jobId, (punctuated) => this.feed.spell(punctuated));
    this.root.replaceChildren(
      h("button", { class: "link small back", type: "button", onclick: act("home") },
        icon("back", 18), say("action.home")),
      h("header", { class: "head" },
        h("div", { class: "grow" }, this.title, this.meta), this.stop, this.remove),
      this.status.root, this.sound, this.dock, this.text, this.removed, this.texts.root,
      this.confirm);
    this.#layOut(Boolean(this.flow));
    if (heard) this.player.goOn(heard);
    this.feed = new JobFeed(backendRoot(backend), jobId, (event, ...rest) => this[`on_${event}`](...rest));
  }

  on_job(job) {
    const { strings, language } = this.data;
    const active = !FINAL.has(job.status);
    this.job = job;
    this.title.textContent = this.title.title = nameOf(job);
    this.meta.textContent = [
      shownName(job.filename) === nameOf(job) ? null : shownName(job.filename),
      job.duration_s ? clock(job.duration_s) : null,
      byteSize(job.size_bytes, language, strings),
      moment(job.created_at, language),
    ].filter(Boolean).join(" · ");
    this.stop.hidden = !active;
    this.remove.hidden = active;
    this.status.showJob(job, strings, { onRetry: this.act("retry"), onHome: this.act("home") });
    this.player.load(`${this.feed.url}/audio`, job.duration_s);
    this.dock.hidden = HOPELESS.has(job.error?.code);
  }

  on_progress(progress) { this.status.showProgress(progress); }

  on_link(connected) {
    this.status.connected(connected);
    if (this.away && connected) this.act("look")(); // what the page said meanwhile is over
    this.away = !connected;
  }

  // What was read already stays readable.
  on_missing(error) {
    const gone = error.status === 404 || error.status === 410;
    if (gone || !this.job) this.title.textContent = this.say("status.missing");
    for (const part of [this.sound, this.dock, this.texts.root, this.stop, this.remove]) part.hidden = true;
    this.player.audio.pause();
    this.status.showMissing(error, this.data.strings, this.act("home"));
    if (error.status === 401 && !this.toldKey) this.act("look")(); // the page asks for the key
    this.toldKey ||= error.status === 401;
  }

  on_overview(overview) {
    this.sound.hidden = false;
    this.wave.show(overview, this.job.duration_s || overview.bucket_s * overview.maximum.length);
  }

  on_segments(segments, { partial, transcript = null }) {
    const live = partial && !FINAL.has(this.job.status);
    const atEnd = scrollingParent(this.root);
    const follows = live && atEnd.scrollTop > 0
      && atEnd.scrollHeight - atEnd.scrollTop - atEnd.clientHeight < 160;
    this.lines.show(segments, live);
    this.lines.mark(this.player.audio.currentTime, this.player.playing);
    this.text.hidden = this.toolbar.hidden = !this.lines.segments.length;
    this.text.classList.toggle("live", live);
    this.exports.offer(this.feed.url, partial, this.feed.punctuated);
    this.#listRemoved(transcript?.warnings ?? []);
    if (transcript && !partial && this.lines.segments.length) this.texts.open(this.feed.url);
    if (transcript && !partial) {
      this.status.showWarnings(transcript.warnings ?? [], !this.lines.segments.length);
    }
    if (follows) atEnd.scrollTo({ top: atEnd.scrollHeight, behavior: "smooth" });
  }

  // What the recognizer wrote and the guards took out, with the place to listen and judge.
  #listRemoved(warnings) {
    const taken = warnings.filter((warning) => warning.text);
    this.removed.hidden = !taken.length;
    this.removed.replaceChildren(
      h("summary", {}, this.say("text.removed", { count: taken.length })),
      h("ul", {}, taken.map((warning) => {
        const start_s = warning.start / SAMPLE_RATE;
        return h("li", {}, h("button", {
          class: "quiet num stamp", type: "button", onclick: () => this.player.seek(start_s, true),
          "aria-label": this.say("text.listen_from", { time: clock(start_s) }),
        }, clock(start_s)), " ", warning.text);
      })));
  }

  #layoutSwitch() {
    const option = (key, flow) => h("button", {
      class: "quiet", type: "button", onclick: () => this.#layOut(flow),
    }, this.say(key));
    this.layouts = [option("text.by_phrase", false), option("text.as_text", true)];
    return h("div", { class: "switch", role: "group", "aria-label": this.say("text.layout") },
      this.layouts);
  }

  #layOut(flow) {
    this.flow = flow;
    this.lines.root.classList.toggle("flow", flow);
    this.layouts.forEach((one, index) => one.setAttribute("aria-pressed", String(Boolean(index) === flow)));
  }

  #confirmDialog(purge) {
    const dialog = h("dialog", { "aria-labelledby": "confirm-title" },
      h("h2", { id: "confirm-title" }, this.say("delete.title")),
      h("p", { class: "muted" }, this.say("delete.what")),
      h("div", { class: "row end" },
        h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, this.say("delete.keep")),
        h("button", { class: "danger", type: "button", onclick: () => { dialog.close(); purge(); } },
          this.say("delete.confirm"))));
    return dialog;
  }

  #shortcut(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0];
    if (target.closest?.("button, a, input, textarea, select, summary, dialog, [role=slider]")) return;
    if (event.key === " ") this.player.playOrPause();
    else if (event.key === "ArrowLeft") this.player.seek(this.player.audio.currentTime - SKIP_S);
    else if (event.key === "ArrowRight") this.player.seek(this.player.audio.currentTime + SKIP_S);
    else return;
    event.preventDefault();
  }
}

function scrollingParent(element) {
  let node = element;
  while (node) {
    if (node instanceof Element && /auto|scroll/.test(getComputedStyle(node).overflowY)) return node;
    node = node.parentNode ?? node.host;
  }
  return document.scrollingElement;
}

const jobViews = new WeakMap();

export default function ({ parentElement, data, setTriggerValue }) {
  const create = (parent, send) => new JobView(parent, send);
  return attach(jobViews, parentElement, create, data, setTriggerValue);
}

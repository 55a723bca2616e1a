// The place to drop recordings, the microphone, and the list of what is being uploaded.

class UploaderView {
  constructor(parent, send) {
    this.send = send;
    this.queue = uploadQueue();
    this.onChange = () => this.#drawQueue();
    this.onCreated = (event) => this.send("created", event.detail);
    this.queue.addEventListener("change", this.onChange);
    this.queue.addEventListener("created", this.onCreated);
    this.input = h("input", {
      type: "file", multiple: true, class: "visually-hidden", tabindex: "-1", "aria-hidden": "true",
      "data-testid": "file-input", onchange: () => this.#add([...this.input.files]),
    });
    this.zone = h("section", { class: "zone card" });
    this.interrupted = h("div", { class: "stack" });
    this.list = h("ul", { class: "queue" });
    this.live = h("p", { class: "visually-hidden", "aria-live": "polite" });
    this.rows = new Map();
    this.root = h("div", { class: "uploader" },
      this.input, this.zone, this.interrupted, this.list, this.live);
    parent.append(this.root);
    this.#listenForDrops();
  }

  update(data, send) {
    this.send = send;
    const redraw = this.data?.language !== data.language || this.data?.compact !== data.compact;
    this.data = data;
    this.backend = backendRoot(data.backend);
    this.root.dataset.options = JSON.stringify(data.options);  // what the next file will get
    this.queue.recover(this.backend);
    if (redraw) {
      this.rows.clear();
      this.list.replaceChildren();
      if (!this.recorder) this.#drawZone();
      this.#drawInterrupted();
    }
    this.root.classList.toggle("compact", data.compact);
    this.zone.hidden = data.compact;
    this.interrupted.hidden = data.compact;
    this.#drawQueue();
  }

  destroy() {
    this.queue.removeEventListener("change", this.onChange);
    this.queue.removeEventListener("created", this.onCreated);
    for (const [name, handler] of this.drops) removeEventListener(name, handler);
    this.recorder?.release();
    this.root.remove();
  }

  #say(key, values) { return words(this.data.strings, key, values); }

  #add(files, recordingId = null) {
    if (!files.length) return;
    this.queue.add(files, this.backend, this.data.options, recordingId);
    this.input.value = "";
    this.interrupted.replaceChildren();
  }

  #listenForDrops() {
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files") && !this.data?.compact;
    const over = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.zone.classList.add("over");
    };
    const leave = (event) => { if (!event.relatedTarget) this.zone.classList.remove("over"); };
    const drop = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.zone.classList.remove("over");
      this.#add([...event.dataTransfer.files]);
    };
    this.drops = [["dragover", over], ["dragleave", leave], ["drop", drop]];
    for (const [name, handler] of this.drops) addEventListener(name, handler);
  }

  #drawZone() {
    const microphone = Recorder.available();
    this.zone.replaceChildren(
      h("h1", {}, this.#say("uploader.title")),
      h("p", { class: "muted" }, this.#say("uploader.lead")),
      h("div", { class: "row actions" },
        h("button", { class: "primary", type: "button", onclick: () => this.input.click() },
          icon("upload"), this.#say("uploader.choose")),
        h("button", { type: "button", disabled: !microphone, onclick: () => this.#record() },
          icon("mic"), this.#say("uploader.record"))),
      h("p", { class: "small muted" },
        this.#say(microphone ? "uploader.promise" : "uploader.no_microphone")));
  }

  // What an earlier visit left behind: uploads cut off half way, recordings never uploaded.
  async #drawInterrupted() {
    const left = await Promise.all([this.#leftUploads(), this.#leftRecordings()].map(
      (notices) => notices.catch(() => [])));
    this.interrupted.replaceChildren(...left.flat());
  }

  async #leftUploads() {
    const uploading = new Set(this.queue.items.map((item) => item.upload?.url));
    const entries = (await interruptedUploads(this.backend)).filter((e) => !uploading.has(e.uploadUrl));
    if (!entries.length) return [];
    const names = entries.slice(0, 3).map((entry) => shownName(entry.metadata.filename)).join(", ");
    const box = notice("plain",
      this.#say("uploader.interrupted", { names }), this.#say("uploader.interrupted.hint"),
      this.#button("link small", "uploader.forget", async () => {
        await forgetUploads(entries);
        box.remove();
      }));
    return [box];
  }

  async #leftRecordings() {
    const ids = await recordingShelf().orphans();
    return ids.map((id) => {
      const when = moment(id, this.data.language);
      const box = notice("plain",
        this.#say("uploader.unsent", { when }), this.#say("uploader.unsent.hint"),
        this.#button("primary", "uploader.send", async () => {
          this.#add([await recordingShelf().file(id, this.#recordingName(id))], id);
        }),
        this.#button("quiet", "action.delete", async () => {
          await recordingShelf().remove(id);
          box.remove();
        }));
      return box;
    });
  }

  #button(look, key, run) {
    return h("button", { class: look, type: "button", onclick: run }, this.#say(key));
  }

  #recordingName(startedAt) {
    const stamp = new Date(startedAt).toLocaleString("sv-SE").slice(0, 16).replace(":", "-");
    return `${this.#say("uploader.recording_name")} ${stamp}`;
  }

  async #record() {
    const bars = h("div", { class: "levels", "aria-hidden": "true" },
      Array.from({ length: 48 }, () => h("i", {})));
    const time = h("p", { class: "num time" }, clock(0));
    const finish = async (keep) => {
      const recorder = this.recorder;
      this.recorder = null;
      const file = await recorder.stop(this.#recordingName(recorder.id));
      this.#drawZone();
      if (keep && file) this.#add([file], recorder.id);
      else recordingShelf().remove(recorder.id);
    };
    this.recorder = new Recorder();
    try {
      await this.recorder.start((level, elapsed_s) => {
        time.textContent = clock(elapsed_s);
        bars.append(bars.firstElementChild);
        bars.lastElementChild.style.height = `${Math.max(4, Math.sqrt(level) * 100)}%`;
      });
    } catch {
      this.recorder.release();
      this.recorder = null;
      this.#drawZone();
      this.zone.append(notice("warn",
        this.#say("uploader.microphone_denied"), this.#say("uploader.microphone_denied.hint")));
      return;
    }
    this.zone.replaceChildren(
      h("h1", {}, this.#say("uploader.recording")), bars, time,
      h("div", { class: "row actions" },
        h("button", { class: "primary", type: "button", onclick: () => finish(true) },
          icon("stop"), this.#say("uploader.finish")),
        h("button", { class: "quiet", type: "button", onclick: () => finish(false) },
          this.#say("uploader.discard"))));
    this.zone.querySelector("button").focus();
  }

  #drawQueue() {
    if (!this.data) return;
    const items = this.queue.items;
    for (const [key, row] of this.rows) {
      if (!items.some((item) => item.key === key)) { row.root.remove(); this.rows.delete(key); }
    }
    for (const item of items) {
      if (!this.rows.has(item.key)) {
        const row = uploadRow(this.queue, item, (key, values) => this.#say(key, values));
        this.rows.set(item.key, row);
        this.list.append(row.root);
      }
      this.rows.get(item.key).draw(this.data);
    }
    this.list.hidden = !items.length;
    const active = items.filter((item) => ACTIVE.has(item.state)).length;
    const said = active ? this.#say("uploader.active", { count: active }) : "";
    if (this.live.textContent !== said) this.live.textContent = said;
  }
}

const uploaders = new WeakMap();

export default function ({ parentElement, data, setTriggerValue }) {
  const create = (parent, send) => new UploaderView(parent, send);
  return attach(uploaders, parentElement, create, data, setTriggerValue);
}

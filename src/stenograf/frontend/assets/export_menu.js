// Copy the text, or take the transcript in any format, by clipboard or as a file.

const FORMATS = ["txt", "srt", "vtt", "tsv", "json", "verbose_json"];

async function toClipboard(text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
  // Pages on plain http have no clipboard API; a selected text area still copies.
  const area = h("textarea", { style: "position:fixed;opacity:0", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("copy was refused");
}

// The name the server gave in Content-Disposition (RFC 6266).
function nameGiven(response, otherwise) {
  const given = /filename\*=UTF-8''([^;]+)/i.exec(response.headers.get("Content-Disposition") ?? "");
  try { return given ? decodeURIComponent(given[1]) : otherwise; } catch { return otherwise; }
}

function saveAs(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

class ExportMenu {
  constructor(say, getText) {
    this.say = say;
    this.getText = getText;
    this.answer = h("span", { class: "small muted", "aria-live": "polite" });
    this.copyButton = h("button", { type: "button", onclick: () => this.#copy(async () => this.getText()) },
      icon("copy"), say("export.copy"));
    this.list = h("ul", { class: "formats" });
    this.menu = h("details", { class: "menu" },
      h("summary", { class: "button" }, icon("down"), say("export.take")), this.list);
    this.root = h("div", { class: "row exports" }, this.answer, this.copyButton, this.menu);
    this.onOutside = (event) => {
      if (!event.composedPath().includes(this.menu)) this.menu.open = false;
    };
    addEventListener("pointerdown", this.onOutside);
    this.menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.menu.open = false;
      this.menu.querySelector("summary").focus();
    });
  }

  destroy() { removeEventListener("pointerdown", this.onOutside); }

  offer(jobUrl, partial, punctuated = false) {
    const query = `${partial ? "&partial=true" : ""}${punctuated ? "&punctuated=true" : ""}`;
    this.list.replaceChildren(...FORMATS.map((format) => {
      const url = `${jobUrl}/transcript?format=${format}${query}`;
      const name = this.say(`export.${format}`);
      return h("li", { class: "row" },
        h("span", { class: "grow" }, h("b", {}, name),
          h("span", { class: "small muted" }, this.say(`export.${format}.what`))),
        h("button", {
          class: "quiet icon", type: "button", title: this.say("export.copy"),
          "aria-label": `${this.say("export.copy")}: ${name}`,
          onclick: () => this.#copy(() => this.#fetchText(url)),
        }, icon("copy")),
        h("a", {
          class: "button quiet-link", href: `${url}&download=true`, download: "",
          onclick: (event) => this.#download(event, `${url}&download=true`, format),
          title: this.say("export.download"), "data-format": format,
          "aria-label": `${this.say("export.download")}: ${name}`,
        }, icon("down")));
    }));
  }

  async #fetchText(url) {
    return (await requestFile(url)).text();
  }

  // Fetched here rather than followed: an answer that is no file would take the page's place.
  async #download(event, url, format) {
    event.preventDefault();
    this.problem?.remove();
    try {
      const response = await requestFile(url);
      saveAs(await response.blob(), nameGiven(response, `transcript.${format}`));
      this.menu.open = false;
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error) {
    const { title } = explain(error, this.say.strings);
    this.problem = h("li", { class: "failed" }, notice("bad", this.say("export.failed"), title));
    this.list.prepend(this.problem);
  }

  async #copy(getText) {
    this.problem?.remove();
    let key = "export.copied";
    try {
      await toClipboard(await getText());
    } catch (error) {
      if (error.code && this.menu.open) return this.#complain(error);
      key = "export.not_copied";
    }
    this.answer.textContent = this.say(key);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.answer.textContent = ""; }, 3000);
  }
}

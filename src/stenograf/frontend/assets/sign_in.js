// The key, asked for once: the backend turns it into a cookie that this page's requests carry.

class SignIn {
  constructor(parent) {
    this.root = h("div", { class: "sign-in" });
    parent.append(this.root);
    this.onShown = () => this.#look();
    document.addEventListener("visibilitychange", this.onShown);
  }

  update(data) {
    this.data = data;
    this.session = `${backendRoot(data.backend)}/v1/session`;
    const drawn = `${data.language} ${data.signed_in}`;
    if (this.drawn !== drawn) this.root.replaceChildren(data.signed_in ? this.#out() : this.#form());
    this.drawn = drawn;
  }

  destroy() {
    document.removeEventListener("visibilitychange", this.onShown);
    this.root.remove();
  }

  // The key may have been shown in another tab meanwhile.
  async #look() {
    if (document.hidden || this.data.signed_in) return;
    const state = await requestJson(this.session).catch(() => null);
    if (state?.signed_in) location.reload();
  }

  #say(key) { return words(this.data.strings, key); }

  #form() {
    this.input = h("input", {
      type: "password", id: "key", name: "key", autocomplete: "current-password", required: true,
      autocapitalize: "off", spellcheck: "false",
    });
    this.button = h("button", { class: "primary", type: "submit" }, this.#say("sign_in.enter"));
    this.answer = h("div", { "aria-live": "assertive" });
    const otherHost = new URL(this.session).hostname !== location.hostname;
    return h("form", { class: "card", onsubmit: (event) => this.#enter(event) },
      h("h1", {}, this.#say("sign_in.title")),
      h("p", { class: "muted" }, this.#say("sign_in.lead")),
      h("label", { for: "key", class: "small" }, this.#say("sign_in.key")),
      h("div", { class: "row" }, this.input, this.button),
      otherHost ? notice("warn", this.#say("sign_in.other_host"), this.#say("sign_in.other_host.hint")) : null,
      this.answer);
  }

  async #enter(event) {
    event.preventDefault();
    const key = this.input.value.trim();
    this.button.disabled = true;
    try {
      // a header takes nothing else, and no key of ours has anything else in it
      if (!/^[\x21-\x7e]+$/.test(key)) throw { status: 401 };
      await requestJson(this.session, { method: "POST", headers: { Authorization: `Bearer ${key}` } });
      location.reload();
    } catch (error) {
      const { title, hint } = error.status === 401
        ? { title: this.#say("sign_in.wrong"), hint: "" } : explain(error, this.data.strings);
      this.answer.replaceChildren(notice("bad", title, hint));
      this.button.disabled = false;
      this.input.select();
    }
  }

  #out() {
    const leave = async () => {
      await requestJson(this.session, { method: "DELETE" }).catch(() => {});
      location.reload();
    };
    return h("p", { class: "small out" },
      h("button", { class: "link small", type: "button", onclick: leave }, this.#say("sign_in.leave")));
  }
}

const signIns = new WeakMap();

export default function ({ parentElement, data, setTriggerValue }) {
  return attach(signIns, parentElement, (parent) => new SignIn(parent), data, setTriggerValue);
}

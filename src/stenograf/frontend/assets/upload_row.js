// One file on its way: name, progress, what can be done about it.

function uploadRow(queue, item, say) {
  const shown = shownName(item.name);
  const action = (name, key, run) => h("button", {
    class: "quiet icon", type: "button", onclick: run,
    "aria-label": `${say(key)}: ${shown}`, title: say(key),
  }, icon(name));
  const bar = h("i", {});
  const line = h("p", { class: "small muted num" });
  const problem = h("p", { class: "small problem" });
  const pause = action("pause", "uploader.pause", () => queue.pause(item));
  const resume = action("play", "uploader.resume", () => queue.resume(item));
  const retry = action("retry", "uploader.retry", () => queue.retry(item));
  const root = h("li", { class: "card upload" },
    h("div", { class: "grow" },
      h("p", { class: "clip name", title: shown }, shown),
      h("div", { class: "bar" }, bar), line, problem),
    pause, resume, retry, action("close", "uploader.cancel", () => queue.remove(item)));

  function status({ language, strings }) {
    const total = byteSize(item.size, language, strings);
    if (item.cut && item.state === "uploading") return `${total} · ${say("upload.offline")}`;
    if (item.state !== "uploading") return `${total} · ${say(`upload.${item.state}`)}`;
    const parts = [`${byteSize(item.sent, language, strings)} / ${total}`];
    if (item.speed > 0) {
      parts.push(say("upload.speed", { speed: byteSize(item.speed, language, strings) }));
      const left_s = (item.size - item.sent) / item.speed;
      parts.push(say("upload.left", { time: roughly(left_s, strings, language) }));
    }
    return parts.join(" · ");
  }

  function draw(data) {
    bar.style.width = `${item.size ? (100 * item.sent) / item.size : 0}%`;
    line.textContent = status(data);
    root.dataset.state = item.state;
    pause.hidden = !["uploading", "waiting"].includes(item.state);
    resume.hidden = !["paused", "offline"].includes(item.state);
    retry.hidden = item.state !== "failed" || !item.size;
    problem.hidden = !item.error;
    if (item.error) {
      const { title, hint } = explain(item.error, data.strings);
      problem.textContent = hint ? `${title}. ${hint}` : title;
    }
  }
  return { root, draw };
}

// Microphone recordings on this machine's disk until the backend has them: closing the tab, a
// crash or an empty battery loses at most the last second.

const SHELF = "stenograf.recordings";

class Shelf {
  #open() {
    this.database ??= new Promise((resolve, reject) => {
      const asked = indexedDB.open(SHELF, 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore("parts", { keyPath: ["id", "index"] });
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
    });
    return this.database;
  }

  async #store(mode, use) {
    const database = await this.#open();
    return new Promise((resolve, reject) => {
      const transaction = database.transaction("parts", mode);
      const request = use(transaction.objectStore("parts"));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }

  // A recording belongs to this tab as long as the tab lives or until it is removed.
  keep(id) {
    navigator.locks.request(`${SHELF}.${id}`, () => new Promise((release) => {
      this.releases ??= new Map();
      this.releases.set(id, release);
    }));
  }

  async put(id, index, blob) {
    await this.#store("readwrite", (store) => store.put({ id, index, blob }));
  }

  async remove(id) {
    if (!id) return;
    await this.#store("readwrite", (store) => store.delete(this.#range(id)));
    this.releases?.get(id)?.();
  }

  // Ids of recordings whose tab is gone, oldest first.
  async orphans() {
    if (!navigator.locks) return [];
    const keys = await this.#store("readonly", (store) => store.getAllKeys());
    const { held } = await navigator.locks.query();
    const owned = new Set(held.map((lock) => lock.name));
    return [...new Set(keys.map(([id]) => id))].filter((id) => !owned.has(`${SHELF}.${id}`)).sort();
  }

  async file(id, name) {
    this.keep(id);
    const parts = await this.#store("readonly", (store) => store.getAll(this.#range(id)));
    return recordingFile(parts.map((part) => part.blob), name);
  }

  #range(id) { return IDBKeyRange.bound([id, 0], [id, Infinity]); }
}

function recordingFile(parts, name) {
  const type = (parts[0]?.type || "audio/webm").split(";")[0];
  const extension = { "audio/mp4": "m4a", "audio/ogg": "ogg" }[type] ?? "webm";
  return new File(parts, `${name}.${extension}`, { type });
}

function recordingShelf() {
  window.__stenografShelf ??= new Shelf();
  return window.__stenografShelf;
}

// The microphone as one more source of files.

const RECORDING_TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const PART_MS = 1000;
const METER_MS = 80;

class Recorder {
  static available() {
    return Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
  }

  constructor() {
    this.id = Date.now();
    this.parts = [];
    this.onLeave = (event) => event.preventDefault();
  }

  async start(onLevel) {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: true },
    });
    const mimeType = RECORDING_TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.recorder = new MediaRecorder(this.stream, mimeType ? { mimeType } : {});
    this.recorder.ondataavailable = (event) => this.#store(event.data);
    recordingShelf().keep(this.id);
    this.recorder.start(PART_MS);
    addEventListener("beforeunload", this.onLeave);
    this.#meter(onLevel);
  }

  #store(part) {
    if (!part.size) return;
    this.parts.push(part);
    // A full or forbidden disk leaves the recording in memory, where it always is as well.
    recordingShelf().put(this.id, this.parts.length - 1, part).catch(() => {});
  }

  #meter(onLevel) {
    this.audio = new AudioContext();
    const analyser = this.audio.createAnalyser();
    analyser.fftSize = 1024;
    this.audio.createMediaStreamSource(this.stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const startedAt = performance.now();
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      onLevel(peak, (performance.now() - startedAt) / 1000);
    }, METER_MS);
  }

  // The recording as a File, or null when not even a second was recorded.
  async stop(name) {
    const done = new Promise((resolve) => { this.recorder.onstop = resolve; });
    if (this.recorder.state !== "inactive") {
      this.recorder.stop();
      await done;
    }
    this.release();
    return this.parts.length ? recordingFile(this.parts, name) : null;
  }

  release() {
    removeEventListener("beforeunload", this.onLeave);
    clearInterval(this.timer);
    this.audio?.close();
    this.stream?.getTracks().forEach((track) => track.stop());
  }
}

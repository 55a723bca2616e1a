// The microphone as one more source of files.

const RECORDING_TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

class Recorder {
  static available() {
    return Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
  }

  async start(onLevel) {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: true },
    });
    const mimeType = RECORDING_TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.parts = [];
    this.recorder = new MediaRecorder(this.stream, mimeType ? { mimeType } : {});
    this.recorder.ondataavailable = (event) => event.data.size && this.parts.push(event.data);
    this.recorder.start(1000);
    this.startedAt = performance.now();
    this.#meter(onLevel);
  }

  #meter(onLevel) {
    this.audio = new AudioContext();
    const analyser = this.audio.createAnalyser();
    analyser.fftSize = 1024;
    this.audio.createMediaStreamSource(this.stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      onLevel(peak, (performance.now() - this.startedAt) / 1000);
    }, 80);
  }

  // The recording as a File, or null when nothing was heard at all.
  async stop(name) {
    const done = new Promise((resolve) => { this.recorder.onstop = resolve; });
    if (this.recorder.state !== "inactive") {
      this.recorder.stop();
      await done;
    }
    this.release();
    const type = this.recorder.mimeType.split(";")[0] || "audio/webm";
    const extension = { "audio/mp4": "m4a", "audio/ogg": "ogg" }[type] ?? "webm";
    return this.parts.length ? new File(this.parts, `${name}.${extension}`, { type }) : null;
  }

  release() {
    clearInterval(this.timer);
    this.audio?.close();
    this.stream?.getTracks().forEach((track) => track.stop());
  }
}

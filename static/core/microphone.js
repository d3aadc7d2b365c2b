// Runs beside the page: gathers samples and hands them over ten times a second or so.
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Float32Array(4096);
    this.count = 0;
  }

  process([[channel]]) {
    if (!channel) return true;
    this.samples.set(channel, this.count);
    this.count += channel.length;
    if (this.count === this.samples.length) {
      const { buffer } = this.samples.slice();
      this.port.postMessage(buffer, [buffer]);
      this.count = 0;
    }
    return true;
  }
}

registerProcessor('microphone', Microphone);

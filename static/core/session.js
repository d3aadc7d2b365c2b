// One realtime session: sound goes up, words come down.
import { jobToken } from './token.js';

const CHUNK = 16 * 1024;
/** Chunks that may be on their way without having been acknowledged. */
const AHEAD = 64;

/** Opens a session; `tell(change)` is called with what has become known. */
export class Session {
  /** `rate`: samples a second of 32-bit floats; `null` for the bytes of a file as it is. */
  constructor({ language, rate, tell }) {
    this.tell = tell;
    this.rate = rate;
    const format = rate ? { type: 'raw', encoding: 'pcm_f32le', sample_rate: rate } : { type: 'file' };
    this.start = { message: 'StartRecognition', audio_format: format, transcription_config: { language, enable_partials: true } };
    this.sentAt = new Map();
    this.sent = 0;
    this.acknowledged = 0;
    this.over = false;
    this.begun = null;
    this.ended = null;
    this.waiting = [];
    /** For each piece of sound: the second at which it ends, and when it was sent. */
    this.pieces = [];
    this.seconds = 0;
  }

  /** Resolves once sound may be sent. */
  open() {
    const url = new URL('/v2', location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    if (jobToken()) url.searchParams.set('jwt', jobToken());
    this.socket = new WebSocket(url);
    this.socket.binaryType = 'arraybuffer';
    return new Promise((resolve, reject) => {
      this.socket.onopen = () => this.socket.send(JSON.stringify(this.start));
      this.socket.onmessage = ({ data }) => this.take(JSON.parse(data), resolve);
      this.socket.onclose = (event) => {
        this.over = true;
        this.release();
        this.tell({ closed: event });
        reject(event);
      };
    });
  }

  take(message, opened) {
    const { metadata } = message;
    switch (message.message) {
      case 'RecognitionStarted':
        opened();
        break;
      case 'AudioAdded':
        this.acknowledged = message.seq_no;
        this.tell({ acknowledged: performance.now() - this.sentAt.get(message.seq_no) });
        this.sentAt.delete(message.seq_no);
        this.release();
        break;
      case 'AddPartialTranscript':
        this.word(metadata);
        this.tell({ partial: metadata.transcript });
        break;
      case 'AddTranscript':
        this.word(metadata);
        this.tell({ final: metadata.transcript, delay: this.delayOf(message) });
        break;
      case 'EndOfTranscript':
        this.over = true;
        this.tell({ state: 'done', lastWords: performance.now() - this.ended });
        this.socket.close(1000);
        break;
      case 'Error':
        this.over = true;
        this.tell({ state: 'failed', error: message });
        break;
      case 'Warning':
        this.tell({ warning: message });
        break;
      default:
    }
  }

  word({ transcript }) {
    if (!transcript?.trim() || this.heard) return;
    this.heard = true;
    this.tell({ firstWords: performance.now() - this.begun });
  }

  /** How long after the sound of its last word was sent a final has come; `null` if not known. */
  delayOf({ results }) {
    const word = results?.findLast(({ type }) => type === 'word');
    const piece = word && this.pieces.find(({ end }) => end >= word.end_time);
    return piece ? performance.now() - piece.at : null;
  }

  add(chunk) {
    if (this.over || this.ended !== null) return;
    const now = performance.now();
    this.begun ??= now;
    this.sent += 1;
    this.sentAt.set(this.sent, now);
    if (this.rate) {
      this.seconds += chunk.byteLength / (4 * this.rate);
      this.pieces.push({ end: this.seconds, at: now });
    }
    this.socket.send(chunk);
    this.tell({ sent: chunk.byteLength, seconds: this.rate ? this.seconds : null });
  }

  /** Sends a whole file, never far ahead of what was taken. */
  async addFile(file) {
    for (let at = 0; at < file.size && !this.over && this.ended === null; at += CHUNK) {
      if (this.sent - this.acknowledged >= AHEAD) {
        await new Promise((resolve) => this.waiting.push(resolve));
      }
      this.add(await file.slice(at, at + CHUNK).arrayBuffer());
    }
  }

  /** Sends samples as fast as they would be spoken. */
  async addSpoken(samples) {
    const step = Math.round(this.rate / 10);
    const begun = performance.now();
    for (let at = 0; at < samples.length && !this.over && this.ended === null; at += step) {
      // A piece goes out when its last sample would have been spoken.
      const due = begun + (1000 * Math.min(at + step, samples.length)) / this.rate;
      await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
      this.add(samples.slice(at, at + step).buffer);
    }
  }

  release() {
    this.waiting.splice(0).forEach((resolve) => resolve());
  }

  finish() {
    if (this.over || this.ended !== null) return;
    this.ended = performance.now();
    this.release();
    this.socket.send(JSON.stringify({ message: 'EndOfStream', last_seq_no: this.sent }));
    this.tell({ state: 'finishing' });
  }
}

/** What recognisers work with; browsers bring every file to it. */
export const SPOKEN_RATE = 16_000;

/** The sound of a file as one channel of samples, {@link SPOKEN_RATE} a second. */
export async function decode(file) {
  const context = new OfflineAudioContext(1, 1, SPOKEN_RATE);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const mixed = sound.getChannelData(0).slice();
  for (let channel = 1; channel < sound.numberOfChannels; channel += 1) {
    sound.getChannelData(channel).forEach((sample, index) => { mixed[index] += sample; });
  }
  return sound.numberOfChannels > 1 ? mixed.map((sample) => sample / sound.numberOfChannels) : mixed;
}

/** The microphone, as 32-bit floats: `rate` samples a second go to `onSamples` until `stop()`. */
export async function microphone() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext();
  const stop = () => {
    stream.getTracks().forEach((track) => track.stop());
    // Both the end of the session and that of its socket come here, in whatever order.
    if (context.state !== 'closed') context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL('./microphone.js', import.meta.url));
  } catch (error) {
    stop();
    throw error;
  }
  const listen = (onSamples) => {
    const node = new AudioWorkletNode(context, 'microphone', { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => onSamples(data);
    context.createMediaStreamSource(stream).connect(node);
  };
  return { rate: context.sampleRate, listen, stop };
}

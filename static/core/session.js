// One realtime session: sound goes up, words come down.
import { jobToken } from './token.js';

const CHUNK = 16 * 1024;
/** Chunks that may be on their way without having been acknowledged. */
const AHEAD = 64;

/** Opens a session; `tell(change)` is called with what has become known. */
export class Session {
  constructor({ language, format, tell }) {
    this.tell = tell;
    this.start = { message: 'StartRecognition', audio_format: format, transcription_config: { language, enable_partials: true } };
    this.sentAt = new Map();
    this.sent = 0;
    this.acknowledged = 0;
    this.over = false;
    this.begun = null;
    this.ended = null;
    this.waiting = [];
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
        this.tell({ final: metadata.transcript });
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

  add(chunk) {
    if (this.over) return;
    this.begun ??= performance.now();
    this.sent += 1;
    this.sentAt.set(this.sent, performance.now());
    this.socket.send(chunk);
    this.tell({ sent: chunk.byteLength });
  }

  /** Sends a whole file, never far ahead of what was taken. */
  async addFile(file) {
    for (let at = 0; at < file.size && !this.over; at += CHUNK) {
      if (this.sent - this.acknowledged >= AHEAD) {
        await new Promise((resolve) => this.waiting.push(resolve));
      }
      this.add(await file.slice(at, at + CHUNK).arrayBuffer());
    }
  }

  release() {
    this.waiting.splice(0).forEach((resolve) => resolve());
  }

  finish() {
    if (this.over) return;
    this.ended = performance.now();
    this.socket.send(JSON.stringify({ message: 'EndOfStream', last_seq_no: this.sent }));
    this.tell({ state: 'finishing' });
  }
}

/** Samples of the microphone as 32-bit floats; resolves with a function that stops it. */
export async function listen(onSamples) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext();
  await context.audioWorklet.addModule(new URL('./microphone.js', import.meta.url));
  const node = new AudioWorkletNode(context, 'microphone', { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => onSamples(data);
  context.createMediaStreamSource(stream).connect(node);
  return () => {
    stream.getTracks().forEach((track) => track.stop());
    context.close();
  };
}

/** The sample rate that `listen` gives. */
export function sampleRate() {
  const context = new AudioContext();
  const { sampleRate: rate } = context;
  context.close();
  return rate;
}

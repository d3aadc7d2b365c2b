// Server-sent events over fetch: unlike EventSource it tells why it failed, and asks for the
// password again when that was changed.
import { errorOf, reached } from './api.js';

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;
/** The appliance says at least every 15 seconds that it is there. */
const SILENCE = 40_000;

/**
 * Follows a stream until `stop()`; comes back after each break and names the last event seen.
 * `onState` is told `open`, `lost`, or `absent` where there is no such stream.
 */
export function follow(path, { onEvent, onState = () => {} }) {
  const control = new AbortController();
  run(path, { onEvent, onState, signal: control.signal });
  return () => control.abort();
}

async function run(path, { onEvent, onState, signal }) {
  let pause = FIRST_PAUSE;
  let last = null;
  while (!signal.aborted) {
    try {
      const headers = last === null ? {} : { 'last-event-id': last };
      const response = await fetch(path, { headers, signal, cache: 'no-store' });
      if ([404, 405, 501].includes(response.status)) return onState('absent');
      if (!response.ok) throw await errorOf(response);
      reached(true);
      onState('open');
      pause = FIRST_PAUSE;
      await read(response.body.getReader(), signal, (event) => {
        last = event.id ?? last;
        onEvent(event);
      });
    } catch {
      if (signal.aborted) return undefined;
      onState('lost');
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
  return undefined;
}

async function read(reader, signal, onEvent) {
  const decoder = new TextDecoder();
  let text = '';
  while (!signal.aborted) {
    const { done, value } = await soon(reader);
    if (done) return;
    text += decoder.decode(value, { stream: true }).replaceAll('\r\n', '\n');
    const blocks = text.split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      const event = parse(block);
      if (event) onEvent(event);
    }
  }
}

/** The next piece, or an error when the stream has been silent for too long. */
function soon(reader) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reader.cancel().catch(() => {});
      reject(new Error('silence'));
    }, SILENCE);
  });
  return Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
}

function parse(block) {
  const event = { type: 'message', id: null, data: null };
  for (const line of block.split('\n')) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === 'data') event.data = event.data === null ? value : `${event.data}\n${value}`;
    if (field === 'event') event.type = value;
    if (field === 'id') event.id = value;
  }
  return event.data === null ? null : event;
}

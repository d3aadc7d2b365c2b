// Realtime transcription: words appear while the sound comes in.
import { texts } from '../texts.js';
import { html, useEffect, useRef, useState } from '../core/view.js';
import { get } from '../core/api.js';
import { serves, state, useLive } from '../core/live.js';
import { bytes, span } from '../core/format.js';
import { decode, microphone, Session, SPOKEN_RATE } from '../core/session.js';
import { withToken } from '../core/token.js';
import { Badge, Button, Card, Facts, Field, Notice } from '../parts.js';
import { useLanguage } from './language.js';
import { TokenField } from './token.js';

const t = texts.speech;
const NOTHING = { state: 'idle', finals: '', partial: '', sent: 0, delays: [], warnings: [] };
const KINDS = { idle: 'plain', connecting: 'info', listening: 'info', finishing: 'info', done: 'good', failed: 'bad' };

/** What is known, with what has just become known. */
function merge(known, change) {
  const next = { ...known, ...change };
  if ('final' in change) {
    next.finals = known.finals + change.final;
    next.partial = '';
    if (change.delay !== null) next.delays = [...known.delays, change.delay];
  }
  if ('warning' in change) next.warnings = [...known.warnings, change.warning];
  if ('sent' in change) next.sent = known.sent + change.sent;
  if ('acknowledged' in change) next.acknowledged = Math.max(known.acknowledged ?? 0, change.acknowledged);
  if (change.closed && !['done', 'failed'].includes(known.state)) next.state = 'failed';
  return next;
}

/** What sound comes from: its sample rate, how it is handed to a session, and how it is stopped. */
async function open(source, file) {
  if (source === 'microphone') {
    const { rate, listen, stop } = await microphone();
    return { rate, send: (session) => listen((samples) => session.add(samples)), stop };
  }
  if (source === 'fast') {
    return { rate: null, send: async (session) => { await session.addFile(file); session.finish(); }, stop: () => {} };
  }
  const samples = await decode(file).catch(() => { throw Object.assign(new Error(t.notDecoded), { name: t.failed }); });
  return { rate: SPOKEN_RATE, send: async (session) => { await session.addSpoken(samples); session.finish(); }, stop: () => {} };
}

/**
 * Lets a wrong job token be refused in words: a WebSocket that is refused tells no reason. Batch
 * asks for the same token.
 */
async function checkToken() {
  if (state.about?.authentication.job_token_set && serves('batch')) await get('/v2/jobs?limit=1', withToken());
}

function useSession() {
  const [known, setKnown] = useState(NOTHING);
  const running = useRef(null);
  const stop = () => {
    running.current?.sound.stop();
    running.current?.session.finish();
  };
  useEffect(() => () => {
    running.current?.sound.stop();
    running.current?.session.socket?.close();
  }, []);
  const begin = async (source, file, language) => {
    setKnown({ ...NOTHING, state: 'connecting' });
    const tell = (change) => {
      if (change.closed || change.state === 'failed') running.current?.sound.stop();
      setKnown((before) => merge(before, change));
    };
    try {
      await checkToken();
      const sound = await open(source, file);
      const session = new Session({ language, rate: sound.rate, tell });
      running.current = { session, sound };
      await session.open();
      tell({ state: 'listening' });
      await sound.send(session);
    } catch (error) {
      // A socket that closes has told it by itself.
      if (error instanceof CloseEvent) return;
      tell({ state: 'failed', error: { type: error.title ?? error.name, reason: error.message } });
      running.current?.session.socket?.close();
    }
  };
  return { known, begin, stop };
}

function Problem({ known }) {
  const { error, closed, state } = known;
  if (error) return html`<${Notice} kind="bad" title=${error.type} live>${error.reason}</${Notice}>`;
  if (state !== 'failed' || !closed) return null;
  return html`<${Notice} kind="bad" title=${t.closed(closed.code, closed.reason)} live>${!known.sent && t.noConnection}</${Notice}>`;
}

function Latency({ known }) {
  const time = (value) => (value === undefined || value === null ? '–' : t.span(value));
  const delays = known.delays.toSorted((a, b) => a - b);
  const typical = delays[Math.floor(delays.length / 2)];
  const sent = known.seconds ? t.sentSeconds(span(known.seconds), bytes(known.sent)) : bytes(known.sent);
  return html`
    <${Card} title=${t.latency} id="latency">
      <p class="countdown"><strong>${time(typical)}</strong> <span class="muted">${t.finalsAfter}</span></p>
      <${Facts} items=${[
        [t.slowest, time(delays.at(-1))],
        [t.firstWords, time(known.firstWords)],
        [t.lastWords, time(known.lastWords)],
        [t.acknowledged, time(known.acknowledged)],
        [t.sent, sent],
      ]} />
    </${Card}>`;
}

export default function Realtime() {
  const live = useLive();
  const [source, setSource] = useState('spoken');
  const [file, setFile] = useState(null);
  const [language, languageField] = useLanguage();
  const { known, begin, stop } = useSession();
  const busy = ['connecting', 'listening', 'finishing'].includes(known.state);
  const hasMicrophone = Boolean(navigator.mediaDevices);
  return html`
    <div class="grid two">
      <${Card} title=${t.source} id="source">
        <form onSubmit=${(event) => {
          event.preventDefault();
          begin(source, file, language);
        }}>
          <fieldset class="switch"><legend class="unseen">${t.source}</legend>
            ${['spoken', 'fast', 'microphone'].map((name) => html`
              <label key=${name}><input type="radio" name="source" value=${name} checked=${source === name}
                disabled=${busy || (name === 'microphone' && !hasMicrophone)} onChange=${() => setSource(name)} /><span>${t.sources[name]}</span></label>`)}
          </fieldset>
          <p class="hint">${hasMicrophone ? t.sourceHints[source] : t.noMicrophone}</p>
          ${source !== 'microphone' && html`
            <${Field} label=${t.file}>${(attributes) => html`
              <input ...${attributes} type="file" accept="audio/*" onChange=${(event) => setFile(event.target.files[0] ?? null)} />`}
            </${Field}>`}
          ${languageField}
          ${live.about?.authentication.job_token_set && html`<${TokenField} />`}
          <div class="buttons">
            <${Button} type="submit" kind="primary" disabled=${busy || !language || (source !== 'microphone' && !file)}>${t.begin}</${Button}>
            <${Button} onClick=${stop} disabled=${known.state !== 'listening'}>${t.end}</${Button}>
          </div>
        </form>
      </${Card}>
      <${Latency} known=${known} />
    </div>
    <${Card} title=${t.result} id="result" wide actions=${html`<${Badge} kind=${KINDS[known.state]}>${t.states[known.state]}</${Badge}>`}>
      <${Problem} known=${known} />
      ${known.warnings.map(({ type, reason }) => html`<${Notice} key=${reason} kind="warn" title=${t.warnings[type] ?? type}>${reason}</${Notice}>`)}
      <p class="words" aria-live="polite">${known.finals}<span class="partial">${known.partial}</span></p>
      <p class="hint">${t.partial}</p>
    </${Card}>`;
}

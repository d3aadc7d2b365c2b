// Realtime transcription: words appear while the sound comes in.
import { texts } from '../texts.js';
import { html, useEffect, useRef, useState } from '../core/view.js';
import { bytes } from '../core/format.js';
import { listen, sampleRate, Session } from '../core/session.js';
import { TokenField } from '../core/token.js';
import { Badge, Button, Card, Facts, Field, Notice } from '../parts.js';

const t = texts.speech;
const NOTHING = { state: 'idle', finals: '', partial: '', sent: 0 };
const KINDS = { idle: 'plain', connecting: 'info', listening: 'info', finishing: 'info', done: 'good', failed: 'bad' };

/** What is known, with what has just become known. */
function merge(known, change) {
  const next = { ...known, ...change };
  if ('final' in change) {
    next.finals = known.finals + change.final;
    next.partial = '';
  }
  if ('sent' in change) next.sent = known.sent + change.sent;
  if ('acknowledged' in change) next.acknowledged = Math.max(known.acknowledged ?? 0, change.acknowledged);
  if (change.closed && !['done', 'failed'].includes(known.state)) next.state = 'failed';
  return next;
}

function useSession() {
  const [known, setKnown] = useState(NOTHING);
  const running = useRef(null);
  const stop = () => {
    running.current?.silence?.();
    running.current?.session.finish();
  };
  useEffect(() => () => {
    running.current?.silence?.();
    running.current?.session.socket?.close();
  }, []);
  const begin = async (source, file, language) => {
    setKnown({ ...NOTHING, state: 'connecting' });
    const tell = (change) => setKnown((before) => merge(before, change));
    const format = source === 'file' ? { type: 'file' } : { type: 'raw', encoding: 'pcm_f32le', sample_rate: sampleRate() };
    const session = new Session({ language, format, tell });
    running.current = { session };
    try {
      await session.open();
      tell({ state: 'listening' });
      if (source === 'file') {
        await session.addFile(file);
        session.finish();
      } else {
        running.current.silence = await listen((samples) => session.add(samples));
      }
    } catch (error) {
      if (error instanceof CloseEvent) return;
      tell({ state: 'failed', error: { type: error.name, reason: error.message } });
      session.socket.close();
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
  const time = (value) => (value === undefined || value === null ? null : t.milliseconds(value));
  return html`
    <${Card} title=${t.latency} id="latency">
      <${Facts} items=${[
        [t.sent, bytes(known.sent)],
        [t.acknowledged, time(known.acknowledged) ?? '–'],
        [t.firstWords, time(known.firstWords) ?? '–'],
        [t.lastWords, time(known.lastWords) ?? '–'],
      ]} />
    </${Card}>`;
}

export default function Realtime() {
  const [source, setSource] = useState('file');
  const [file, setFile] = useState(null);
  const [language, setLanguage] = useState('en');
  const { known, begin, stop } = useSession();
  const busy = ['connecting', 'listening', 'finishing'].includes(known.state);
  const microphone = Boolean(navigator.mediaDevices);
  return html`
    <div class="grid two">
      <${Card} title=${t.source} id="source">
        <form onSubmit=${(event) => {
          event.preventDefault();
          begin(source, file, language);
        }}>
          <fieldset class="switch"><legend class="unseen">${t.source}</legend>
            ${['file', 'microphone'].map((name) => html`
              <label key=${name}><input type="radio" name="source" value=${name} checked=${source === name}
                disabled=${name === 'microphone' && !microphone} onChange=${() => setSource(name)} /><span>${t.sources[name]}</span></label>`)}
          </fieldset>
          ${!microphone && html`<p class="hint">${t.noMicrophone}</p>`}
          ${source === 'file' && html`
            <${Field} label=${t.file}>${(attributes) => html`
              <input ...${attributes} type="file" accept="audio/*" onChange=${(event) => setFile(event.target.files[0] ?? null)} />`}
            </${Field}>`}
          <${Field} label=${t.language} hint=${t.languageHint}>${(attributes) => html`
            <input ...${attributes} class="short" value=${language} onInput=${(event) => setLanguage(event.target.value.trim())} />`}
          </${Field}>
          <${TokenField} />
          <div class="buttons">
            <${Button} type="submit" kind="primary" disabled=${busy || (source === 'file' && !file)}>${t.begin}</${Button}>
            <${Button} onClick=${stop} disabled=${known.state !== 'listening'}>${t.end}</${Button}>
          </div>
        </form>
      </${Card}>
      <${Latency} known=${known} />
    </div>
    <${Card} title=${t.result} id="result" wide actions=${html`<${Badge} kind=${KINDS[known.state]}>${t.states[known.state]}</${Badge}>`}>
      <${Problem} known=${known} />
      ${known.warning && html`<${Notice} kind="warn" title=${known.warning.type}>${known.warning.reason}</${Notice}>`}
      <p class="words" aria-live="polite">${known.finals}<span class="partial">${known.partial}</span></p>
      <p class="hint">${t.partial}</p>
    </${Card}>`;
}

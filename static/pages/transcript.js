// One transcript: its words light up as they are heard, and each can be chosen.
import { texts } from '../texts.js';
import { html, useEffect, useMemo, useRef, useState } from '../core/view.js';
import { download, get, send } from '../core/api.js';
import { bearer } from '../core/token.js';
import { Card, ErrorNotice, Loading, Notice, Outcome, useAction, useLoaded } from '../parts.js';

const t = texts.speech;
const FORMATS = { txt: 'txt', srt: 'srt', json: 'json-v2' };

/** Words and marks as they stand in the text: `glued` ones have no blank before them. */
function wordsOf(results) {
  return results.map((result, index) => ({
    index,
    text: result.alternatives?.[0]?.content ?? '',
    start: result.start_time,
    end: result.end_time,
    glued: result.type === 'punctuation' && (result.attaches_to ?? 'previous') !== 'next',
    mark: result.type === 'punctuation',
  }));
}

/** The audio: what was submitted here, or what the appliance has kept. */
function useAudio(path, file) {
  const [url, setUrl] = useState(null);
  useEffect(() => {
    let made = null;
    let current = true;
    const take = (blob) => {
      if (!current) return;
      made = URL.createObjectURL(blob);
      setUrl(made);
    };
    if (file) take(file);
    else {
      send('GET', `${path}/data`, { headers: bearer() }).then((answer) => answer.blob())
        .then(take, () => current && setUrl(''));
    }
    return () => {
      current = false;
      if (made) URL.revokeObjectURL(made);
    };
  }, []);
  return url;
}

export function Transcript({ job, file }) {
  const path = `/v2/jobs/${encodeURIComponent(job.id)}`;
  const { value, error } = useLoaded(() => get(`${path}/transcript?format=json-v2`, { headers: bearer() }));
  const url = useAudio(path, file);
  const audio = useRef(null);
  const [now, setNow] = useState(-1);
  const save = useAction((name) => download(`${path}/transcript?format=${FORMATS[name]}`, `job-${job.id}.${name}`, { headers: bearer() }));
  const words = useMemo(() => wordsOf(value?.results ?? []), [value]);
  const current = words.findLast((word) => !word.mark && word.start <= now)?.index;
  const hear = (word) => {
    if (!audio.current) return;
    audio.current.currentTime = word.start;
    setNow(word.start);
    audio.current.play().catch(() => {});
  };
  return html`
    <${Card} title=${t.transcript(job.id)} id="transcript">
      <${ErrorNotice} error=${error} />
      ${!value && !error && html`<${Loading} />`}
      ${url && html`<audio ref=${audio} controls src=${url} aria-label=${job.data_name || t.transcript(job.id)}
        onTimeUpdate=${(event) => setNow(event.target.currentTime)}></audio>`}
      ${url === '' && html`<${Notice}>${t.noAudio}</${Notice}>`}
      ${value && words.length === 0 && html`<p class="muted">${t.noWords}</p>`}
      ${words.length > 0 && html`
        ${url && html`<p class="hint">${t.words}</p>`}
        <p class="words">${words.map((word) => html`${word.glued ? '' : ' '}${word.mark
          ? word.text
          : html`<button type="button" key=${word.index} class=${word.index === current ? 'spoken' : ''} disabled=${!url} onClick=${() => hear(word)}>${word.text}</button>`}`)}</p>`}
      ${value && html`<div class="buttons">${Object.keys(FORMATS).map((name) => html`
        <button type="button" key=${name} class="button small" onClick=${() => save.run(name)}>${t.save(name)}</button>`)}</div>`}
      <${Outcome} action=${save} />
    </${Card}>`;
}

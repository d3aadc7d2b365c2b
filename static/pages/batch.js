// Batch transcription: files in, transcripts out.
import { texts } from '../texts.js';
import { html, useState } from '../core/view.js';
import { get, remove, upload } from '../core/api.js';
import { bytes, dateTime, span } from '../core/format.js';
import { bearer, TokenField } from '../core/token.js';
import { Badge, Button, Card, ErrorNotice, Field, Guarded, Loading, Notice, Outcome, useAction, useEvery, useLoaded } from '../parts.js';
import { Transcript } from './transcript.js';

const t = texts.speech;
const JOBS = '/v2/jobs';
const LOOK_EVERY = 2000;
const KINDS = { running: 'info', done: 'good', rejected: 'bad', deleted: 'plain', expired: 'plain' };

/** Files that were submitted from this page, to be played beside their transcripts. */
const submitted = new Map();

function Submit({ onSubmitted }) {
  const [file, setFile] = useState(null);
  const [language, setLanguage] = useState('en');
  const [progress, setProgress] = useState(null);
  const send = useAction(async () => {
    const form = new FormData();
    const config = { type: 'transcription', transcription_config: { language } };
    form.append('config', JSON.stringify(config));
    form.append('data_file', file, file.name);
    setProgress(0);
    try {
      const { id } = await upload(JOBS, form, { headers: bearer(), progress: setProgress });
      submitted.set(id, file);
      onSubmitted();
      return t.submitted(id);
    } finally {
      setProgress(null);
    }
  });
  return html`
    <${Card} title=${t.submit} id="submit">
      <form onSubmit=${(event) => {
        event.preventDefault();
        send.run();
      }}>
        <${Field} label=${t.file} hint=${file && bytes(file.size)}>${(attributes) => html`
          <input ...${attributes} type="file" accept="audio/*,video/mp4" onChange=${(event) => setFile(event.target.files[0] ?? null)} />`}
        </${Field}>
        <${Field} label=${t.language} hint=${t.languageHint}>${(attributes) => html`
          <input ...${attributes} class="short" value=${language} onInput=${(event) => setLanguage(event.target.value.trim())} />`}
        </${Field}>
        <${TokenField} onChange=${onSubmitted} />
        ${progress !== null && html`<progress max="1" value=${progress} aria-label=${t.sending(progress)}></progress>`}
        <div class="buttons"><${Button} type="submit" kind="primary" busy=${send.busy} disabled=${!file || !language}>
          ${progress === null ? t.send : t.sending(progress)}</${Button}></div>
        <${Outcome} action=${send} />
      </form>
    </${Card}>`;
}

function Job({ job, open, onOpen, onRemoved }) {
  const drop = async () => {
    await remove(`${JOBS}/${encodeURIComponent(job.id)}?force=true`, { headers: bearer() });
    submitted.delete(job.id);
    onRemoved(job.id);
  };
  return html`
    <tr class=${open ? 'open' : ''}>
      <th scope="row">${job.id}</th>
      <td class="breakable">${job.data_name || '–'}</td>
      <td>${dateTime(job.created_at)}</td>
      <td>${job.duration ? span(job.duration) : '–'}</td>
      <td><${Badge} kind=${KINDS[job.status] ?? 'plain'}>${t.statuses[job.status] ?? job.status}</${Badge}>
        ${job.errors?.map(({ message }) => html`<p class="wrong">${message}</p>`)}</td>
      <td><div class="buttons">
        ${job.status === 'done' && html`<button type="button" class="button small" onClick=${() => onOpen(job)}>${t.open}</button>`}
        <${Guarded} small label=${t.remove} title=${t.removeTitle(job.id)} work=${drop}>${t.removeWill}</${Guarded}>
      </div></td>
    </tr>`;
}

export default function Batch() {
  const jobs = useLoaded(async () => (await get(JOBS, { headers: bearer() })).jobs);
  const [open, setOpen] = useState(null);
  const [removed, setRemoved] = useState(null);
  useEvery(LOOK_EVERY, () => {
    if (!document.hidden && !jobs.error) jobs.reload();
  });
  const c = t.columns;
  return html`
    <div class="grid two">
      <${Submit} onSubmitted=${jobs.reload} />
      ${open && html`<${Transcript} key=${open.id} job=${open} file=${submitted.get(open.id)} />`}
    </div>
    <${Card} title=${t.jobs} id="jobs" wide>
      <${ErrorNotice} error=${jobs.error} />
      ${removed && html`<${Notice} kind="good" title=${t.removed(removed)} live />`}
      ${!jobs.value && !jobs.error && html`<${Loading} />`}
      ${jobs.value?.length === 0 && html`<p class="muted">${t.noJobs}</p>`}
      ${jobs.value?.length > 0 && html`
        <div class="scroll" tabindex="0" role="region" aria-label=${t.jobs}><table>
          <thead><tr>${Object.values(c).map((column) => html`<th key=${column} scope="col">${column}</th>`)}</tr></thead>
          <tbody>${jobs.value.map((job) => html`
            <${Job} key=${job.id} job=${job} open=${open?.id === job.id} onOpen=${setOpen} onRemoved=${(id) => {
              setRemoved(id);
              if (open?.id === id) setOpen(null);
              jobs.reload();
            }} />`)}
          </tbody>
        </table></div>`}
    </${Card}>`;
}

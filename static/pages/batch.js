// Batch transcription: files in, transcripts out.
import { texts } from '../texts.js';
import { html, useEffect, useRef, useState } from '../core/view.js';
import { get, remove, upload } from '../core/api.js';
import { useLive } from '../core/live.js';
import { bytes, dateTime, percent, span } from '../core/format.js';
import { bearer, withToken } from '../core/token.js';
import { Badge, Bar, Button, Card, ErrorNotice, Field, Guarded, Loading, Notice, Outcome, useAction, useEvery, useLoaded } from '../parts.js';
import { useLanguage } from './language.js';
import { Transcript } from './transcript.js';
import { TokenField } from './token.js';

const t = texts.speech;
const JOBS = '/v2/jobs';
const LOOK_EVERY = 1000;
/** Jobs on one page of the list; the appliance gives no more at once. */
const MOST = 100;
const KINDS = { waiting: 'plain', running: 'info', done: 'good', rejected: 'bad', deleted: 'plain', expired: 'plain' };

/** Files that were submitted from this page, to be played beside their transcripts. */
const submitted = new Map();

const pathOf = (id) => `${JOBS}/${encodeURIComponent(id)}`;

function Submit({ onSubmitted, asksForToken, refused, onToken }) {
  const [file, setFile] = useState(null);
  const [language, languageField] = useLanguage({ mayFind: true });
  const [apart, setApart] = useState(false);
  const [channels, setChannels] = useState(t.channelNames);
  const [progress, setProgress] = useState(null);
  const send = useAction(async () => {
    const form = new FormData();
    const diarization = apart && { diarization: 'channel', channel_diarization_labels: channels };
    const config = { type: 'transcription', transcription_config: { language, ...diarization } };
    form.append('config', JSON.stringify(config));
    form.append('data_file', file, file.name);
    const tell = (share, sent, all) => setProgress({ share, text: t.sending(bytes(sent), bytes(all), percent(100 * share)) });
    tell(0, 0, file.size);
    try {
      const { id } = await upload(JOBS, form, { headers: bearer(), progress: tell });
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
        <${Field} label=${t.file} hint=${file ? bytes(file.size) : t.forms}>${(attributes) => html`
          <input ...${attributes} type="file" accept="audio/*,video/mp4,video/mpeg" onChange=${(event) => setFile(event.target.files[0] ?? null)} />`}
        </${Field}>
        ${languageField}
        <label class="check"><input type="checkbox" checked=${apart} onChange=${(event) => setApart(event.target.checked)} /> ${t.apart}</label>
        ${apart && channels.map((name, index) => html`
          <${Field} key=${index} label=${t.channels[index]} hint=${t.channelHint}>${(attributes) => html`
            <input ...${attributes} class="short" required pattern="[A-Za-z0-9._]+" value=${name}
              onInput=${(event) => setChannels(channels.with(index, event.target.value.trim()))} />`}
          </${Field}>`)}
        ${asksForToken && html`<${TokenField} onChange=${onToken} />`}
        ${progress && html`<progress max="1" value=${progress.share} aria-label=${progress.text}></progress>`}
        <div class="buttons"><${Button} type="submit" kind="primary" busy=${send.busy} disabled=${!file || !language || refused}>
          ${progress ? progress.text : t.send}</${Button}></div>
        <${Outcome} action=${send} />
      </form>
    </${Card}>`;
}

/** Where a job is on its way: in the queue, or how far the work on it is. */
function Standing({ job }) {
  if (job.status !== 'running') return null;
  if (job.queue_position) return html`<p class="hint">${t.place(job.queue_position)}</p>`;
  const share = 100 * (job.progress ?? 0);
  const text = t.done(percent(share), job.seconds_left && span(job.seconds_left));
  return html`<${Bar} label=${t.progress} value=${share} text=${text} grows />`;
}

function Job({ job, open, onOpen, onRemoved }) {
  const status = job.queue_position ? 'waiting' : job.status;
  const drop = async () => {
    await remove(`${pathOf(job.id)}?force=true`, withToken());
    submitted.delete(job.id);
    onRemoved(job.id);
  };
  return html`
    <tr class=${open ? 'open' : ''}>
      <th scope="row">${job.id}</th>
      <td class="breakable">${job.data_name || '–'}</td>
      <td class="nowrap">${dateTime(job.created_at)}</td>
      <td class="nowrap">${job.duration ? span(job.duration) : '–'}</td>
      <td class="status"><${Badge} kind=${KINDS[status] ?? 'plain'}>${t.statuses[status] ?? status}</${Badge}>
        <${Standing} job=${job} />
        ${job.errors?.map(({ message }) => html`<p class="wrong">${message}</p>`)}</td>
      <td><div class="buttons">
        ${job.status === 'done' && html`<button type="button" class="button small" aria-label=${t.openJob(job.id)} onClick=${() => onOpen(job)}>${t.open}</button>`}
        <${Guarded} small label=${t.remove} title=${t.removeTitle(job.id)} work=${drop}>${t.removeWill}</${Guarded}>
      </div></td>
    </tr>`;
}

export default function Batch() {
  const live = useLive();
  // The list begins before this time, where one has turned to older jobs.
  const [before, setBefore] = useState(null);
  const start = useRef(before);
  start.current = before;
  const jobs = useLoaded(async () => {
    const older = start.current ? `&created_before=${encodeURIComponent(start.current)}` : '';
    return (await get(`${JOBS}?limit=${MOST}${older}`, withToken())).jobs;
  });
  const [open, setOpen] = useState(null);
  const [removed, setRemoved] = useState(null);
  const { reload } = jobs;
  const refused = jobs.error?.status === 401;
  const tokenIsSet = live.about?.authentication.job_token_set;
  useEvery(LOOK_EVERY, () => {
    if (!document.hidden && !refused) reload();
  });
  useEffect(() => {
    reload();
  }, [before, tokenIsSet]);
  const c = t.columns;
  const list = jobs.value ?? [];
  const opened = (job) => {
    setOpen(job);
    setRemoved(null);
  };
  return html`
    <div class="grid two">
      <${Submit} onSubmitted=${() => (before ? setBefore(null) : reload())} onToken=${reload}
        refused=${refused} asksForToken=${refused || tokenIsSet} />
      ${open && html`<${Transcript} key=${open.id} job=${open} file=${submitted.get(open.id)} />`}
    </div>
    <${Card} title=${t.jobs} id="jobs" wide>
      <${ErrorNotice} error=${jobs.error && (refused ? { title: jobs.error.title, message: t.tokenNeeded } : jobs.error)} />
      ${removed && html`<${Notice} kind="good" title=${t.removed(removed)} live />`}
      ${!jobs.value && !jobs.error && html`<${Loading} />`}
      ${jobs.value?.length === 0 && html`<p class="muted">${t.noJobs}</p>`}
      ${list.length > 0 && html`
        <div class="scroll" tabindex="0" role="region" aria-label=${t.jobs}><table>
          <thead><tr>${Object.values(c).map((column) => html`<th key=${column} scope="col">${column}</th>`)}</tr></thead>
          <tbody>${list.map((job) => html`
            <${Job} key=${job.id} job=${job} open=${open?.id === job.id}
              onOpen=${opened} onRemoved=${(id) => {
                setRemoved(id);
                if (open?.id === id) setOpen(null);
                reload();
              }} />`)}
          </tbody>
        </table></div>`}
      ${(before || list.length === MOST) && html`
        <div class="buttons">
          ${before && html`<button type="button" class="button small" onClick=${() => setBefore(null)}>${t.newest}</button>`}
          ${list.length === MOST && html`<button type="button" class="button small" onClick=${() => setBefore(list.at(-1).created_at)}>${t.older}</button>`}
        </div>`}
    </${Card}>`;
}

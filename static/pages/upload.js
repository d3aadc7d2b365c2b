// Installing a certificate: choose, see the judgement, send, and go on with the new one.
import { texts } from '../texts.js';
import { html, useEffect, useRef, useState } from '../core/view.js';
import { send, upload } from '../core/api.js';
import { assign, concerns, formOf, readFile } from '../core/certificates.js';
import { bytes, commonName, sentence } from '../core/format.js';
import { refreshAbout } from '../core/live.js';
import { Button, Card, ErrorNotice, Field, Notice, useAction, useId } from '../parts.js';
import { CertificateFacts } from './facts.js';

const t = texts.certificate;
const PATH = '/v2/security/sslcertificate';
/** How often, and how many times, to try whether the browser takes the new certificate. */
const TRY_EVERY = 1000;
const TRIES = 6;

export function Upload({ onChanged }) {
  const [files, setFiles] = useState([]);
  const [passphrase, setPassphrase] = useState('');
  const [asked, setAsked] = useState(false);
  // Whether to install in spite of its dates: asked once a judgement has named them.
  const [forcible, setForcible] = useState(false);
  const [force, setForce] = useState(false);
  const [judgement, setJudgement] = useState(null);
  const [problem, setProblem] = useState(null);
  const [progress, setProgress] = useState(null);
  const [over, setOver] = useState(false);

  const query = (dry) => {
    const parts = [dry && 'dry_run=true', force && 'force=true'].filter(Boolean);
    return parts.length ? `${PATH}?${parts.join('&')}` : PATH;
  };

  const refuse = (error) => {
    if (error.part === 'passphrase') setAsked(true);
    if (error.code === 'expired') setForcible(true);
    setJudgement(null);
    setProblem(error);
  };

  // Files may be exchanged while they are judged: only the last judgement counts.
  const judgements = useRef(0);
  const judge = useAction(async () => {
    judgements.current += 1;
    const own = judgements.current;
    setJudgement(null);
    setProblem(null);
    try {
      const judged = await upload(query(true), formOf(files, passphrase));
      if (own === judgements.current) setJudgement(judged);
    } catch (error) {
      if (own === judgements.current) refuse(error);
    }
  });

  // Judged as soon as something was chosen; a passphrase is judged when it is complete.
  useEffect(() => {
    if (files.length) judge.run();
  }, [files, force]);

  const forgetForce = () => {
    setForcible(false);
    setForce(false);
  };

  const restart = () => {
    setFiles([]);
    setProblem(null);
    setJudgement(null);
    setAsked(false);
    setPassphrase('');
    forgetForce();
  };

  const install = useAction(async () => {
    setProgress(0);
    try {
      const answer = await upload(query(false), formOf(files, passphrase), { progress: setProgress });
      restart();
      onChanged(answer);
      refreshAbout().catch(() => {});
    } catch (error) {
      refuse(error);
    } finally {
      setProgress(null);
    }
  });

  const take = async (chosen) => {
    const read = await Promise.all([...chosen].map(readFile));
    const kept = files.filter(({ role, name }) => !read.some((one) => one.name === name || one.role === role));
    const all = [...kept, ...read];
    setProblem(all.length > 2 ? { title: t.tooMany, message: '' } : null);
    if (all.length > 2) return;
    forgetForce();
    setFiles(assign(all));
  };

  const about = problem ? concerns(problem, files) : [];
  const problemAt = (field) => about.includes(field) && about[0] === field;
  const input = useId('files');
  return html`
    <${Card} title=${t.install} id="install">
      <div class=${`drop ${over ? 'over' : ''}`}
        onDragOver=${(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave=${() => setOver(false)}
        onDrop=${(event) => {
          event.preventDefault();
          setOver(false);
          take(event.dataTransfer.files);
        }}>
        <p><strong>${t.drop}</strong></p>
        <p class="muted">${t.dropWhy}</p>
        <label class="button" for=${input}>${t.choose}</label>
        <input class="unseen file" id=${input} type="file" multiple onChange=${(event) => {
          take(event.target.files);
          // So that the same file can be chosen again after it was edited.
          event.target.value = '';
        }} />
      </div>
      <ul class="files">${files.map((file) => html`
        <${Chosen} key=${file.role} file=${file} error=${problemAt(file.role) && problem}
          onRemove=${() => setFiles(files.filter((one) => one !== file))} />`)}
      </ul>
      ${files.length === 1 && judgement === null && !judge.busy && html`<p class="hint">${files[0].role === 'certfile' ? t.needsKey : t.needsCertificate}</p>`}
      ${asked && html`
        <form class="inline" onSubmit=${(event) => {
          event.preventDefault();
          judge.run();
        }}>
          <${Field} label=${t.passphrase} hint=${t.passphraseWhy} error=${problemAt('passphrase') && sentence(problem.message)}>${(attributes) => html`
            <input ...${attributes} type="password" autocomplete="off" value=${passphrase} onInput=${(event) => setPassphrase(event.target.value)} />`}
          </${Field}>
          <${Button} type="submit" busy=${judge.busy}>${t.check}</${Button}>
        </form>`}
      ${problem && about.length === 0 && html`<${ErrorNotice} error=${problem} />`}
      ${forcible && html`
        <label class="check"><input type="checkbox" checked=${force} onChange=${(event) => setForce(event.target.checked)} /> ${t.force}</label>`}
      ${judge.busy && html`<p class="muted" role="status">${t.judging}</p>`}
      ${judgement && html`<${Judgement} judgement=${judgement} />`}
      ${files.length > 0 && html`
        <div class="buttons">
          <${Button} kind="primary" busy=${install.busy} disabled=${!judgement} onClick=${install.run}>
            ${progress === null ? t.send : t.sending(progress)}</${Button}>
          <${Button} onClick=${restart} disabled=${install.busy}>${t.clear}</${Button}>
        </div>`}
    </${Card}>`;
}

function Chosen({ file, error, onRemove }) {
  return html`
    <li class=${error ? 'wrong-file' : ''}>
      <div><span class="muted">${t.roles[file.role]}</span> <strong class="breakable">${file.name}</strong> <span class="muted">${bytes(file.size)}</span></div>
      <button type="button" class="button small" aria-label=${t.removeFile(file.name)} onClick=${onRemove}>✕</button>
      ${error && html`<${Notice} kind="bad" title=${error.title} live>${sentence(error.message)}</${Notice}>`}
    </li>`;
}

function Judgement({ judgement }) {
  return html`
    <${Notice} kind="good" title=${`${t.fits}: ${commonName(judgement.certificate.subject)}`} live>
      ${judgement.waiting_key && t.waitingKey}
    </${Notice}>
    ${judgement.warnings.map(({ code, message }) => html`<${Notice} key=${code} kind="warn">${sentence(message)}</${Notice}>`)}
    <${CertificateFacts} certificate=${judgement.certificate} short />`;
}

/** After a replacement: tells the new fingerprint and goes on by itself once the browser lets it. */
export function Changed({ answer }) {
  const plain = location.protocol === 'http:';
  const [follows, setFollows] = useState(plain ? 'plain' : 'waiting');
  const place = useRef(null);
  const { certificate, message, warnings = [], generations = {} } = answer;
  useEffect(() => {
    place.current.focus();
    if (plain) return undefined;
    let tries = 0;
    let timer;
    const attempt = async () => {
      tries += 1;
      try {
        // A body of its own, so that no connection of the old generation answers from a queue.
        const served = await (await send('GET', PATH)).json();
        if (served.certificate.fingerprint_sha256 === certificate.fingerprint_sha256) return setFollows('accepted');
      } catch {
        if (tries >= TRIES) return setFollows('refused');
      }
      timer = setTimeout(attempt, TRY_EVERY);
      return undefined;
    };
    // The old connection is given the time to close: only a new one shows the new certificate.
    timer = setTimeout(attempt, TRY_EVERY);
    return () => clearTimeout(timer);
  }, []);
  const served = Object.entries(generations).map(([name, number]) => `${name} ${texts.listeners.generation(number).toLowerCase()}`).join(', ');
  return html`
    <div ref=${place} tabindex="-1" class="changed">
      <${Notice} kind="good" title=${`${message}. ${t.changed}.`} live>
        <p>${t.fingerprintNow}</p>
        <p><code class="breakable" data-fingerprint>${certificate.fingerprint_sha256}</code></p>
        ${follows === 'waiting' && html`<p>${t.browserAsks} ${t.following}</p>`}
        ${follows === 'accepted' && html`<p>${t.follows}</p>`}
        ${follows === 'plain' && html`<p>${t.plainFollows}</p>`}
        ${served && html`<p class="muted">${t.generations(served)}</p>`}
      </${Notice}>
      ${follows === 'refused' && html`
        <${Notice} kind="warn" live>${t.refused}
          <div class="buttons"><${Button} kind="primary" onClick=${() => location.reload()}>${texts.frame.reload}</${Button}></div>
        </${Notice}>`}
      ${warnings.map(({ code, message: text }) => html`<${Notice} key=${code} kind="warn">${sentence(text)}</${Notice}>`)}
    </div>`;
}

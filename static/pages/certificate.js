// The certificate that is served, and how another takes its place.
import { texts } from '../texts.js';
import { html, useState } from '../core/view.js';
import { download, remove, send } from '../core/api.js';
import { refreshAbout, useLive } from '../core/live.js';
import { commonName, date, sentence } from '../core/format.js';
import { Badge, Card, Copy, Guarded, Loading, Notice, Outcome, useAction } from '../parts.js';
import { CertificateFacts } from './facts.js';
import { Changed, Upload } from './upload.js';
import { Requests } from './requests.js';

const t = texts.certificate;
const PATH = '/v2/security/sslcertificate';

function Chain({ chain }) {
  return html`
    <details><summary>${t.chain(chain.length)}</summary>
      <ol class="chain">${chain.map((entry) => html`
        <li key=${entry.fingerprint_sha256}>
          <strong>${commonName(entry.subject)}</strong>
          <span class="muted">${t.issuer} ${commonName(entry.issuer)}, ${texts.overview.until(date(entry.not_after))}</span>
          <code class="breakable">${entry.fingerprint_sha256}</code>
        </li>`)}
      </ol>
    </details>`;
}

function Served({ about, onChanged }) {
  const { certificate } = about;
  const warnings = about.warnings.filter(({ code }) => code.includes('certificate'));
  const pem = async () => (await send('GET', `${PATH}?format=pem`)).text();
  const save = useAction(() => download(`${PATH}?format=pem`, 'certificate.pem'));
  const badge = html`<${Badge} kind=${certificate.default ? 'warn' : 'good'}>${certificate.default ? t.isDefault : t.isOwn}</${Badge}>`;
  const restore = async () => {
    onChanged(await remove(PATH));
    await refreshAbout().catch(() => {});
  };
  return html`
    <${Card} title=${t.served} id="served" actions=${badge}>
      <p class="subject">${commonName(certificate.subject)}</p>
      ${warnings.map(({ code, message }) => html`<${Notice} key=${code} kind="warn">${sentence(message)}</${Notice}>`)}
      ${certificate.self_signed && html`<${Notice} kind="warn">${texts.overview.selfSigned}</${Notice}>`}
      <${CertificateFacts} certificate=${certificate} />
      <${Chain} chain=${certificate.chain} />
      <div class="buttons">
        <${Copy} label=${t.copyChain} text=${pem} />
        <button type="button" class="button small" onClick=${save.run}>${t.saveChain}</button>
        ${!certificate.default && html`
          <${Guarded} small label=${t.restore} title=${t.restore} work=${restore}>${t.restoreWill}</${Guarded}>`}
      </div>
      <${Outcome} action=${save} />
    </${Card}>`;
}

export default function Certificate() {
  const live = useLive();
  const [changed, setChanged] = useState(null);
  if (!live.about) return html`<${Loading} />`;
  return html`
    ${changed && html`<${Changed} key=${changed.certificate.fingerprint_sha256} answer=${changed} />`}
    <div class="grid two">
      <${Served} about=${live.about} onChanged=${setChanged} />
      <${Upload} onChanged=${setChanged} />
    </div>
    <${Requests} />`;
}

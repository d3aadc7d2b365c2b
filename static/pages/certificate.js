// The certificate that is served, and how another takes its place.
import { texts } from '../texts.js';
import { html, useState } from '../core/view.js';
import { download, remove, send } from '../core/api.js';
import { refreshAbout, useLive } from '../core/live.js';
import { commonName, date, dateTime, daysUntil, sentence } from '../core/format.js';
import { Badge, Card, Copy, Facts, Guarded, Loading, Notice, Outcome, useAction } from '../parts.js';
import { Changed, Upload } from './upload.js';
import { Requests } from './requests.js';

const t = texts.certificate;
const PATH = '/v2/security/sslcertificate';

function Validity({ certificate }) {
  const [from, to] = [new Date(certificate.not_before), new Date(certificate.not_after)];
  const days = daysUntil(certificate.not_after);
  const share = Math.max(0, Math.min(100, (100 * (Date.now() - from)) / (to - from)));
  const kind = days < 7 ? 'bad' : days < 30 ? 'warn' : 'good';
  const text = t.daysLeft(days);
  return html`
    <div class="bar">
      <div class="bar-text"><span>${t.validText(date(from), date(to))}</span><strong>${text}</strong></div>
      <div class=${`track ${kind}`} role="img" aria-label=${`${t.validity}: ${text}`}><div style=${{ width: `${share}%` }}></div></div>
    </div>`;
}

const Code = ({ text }) => html`<code class="breakable">${text}</code> <${Copy} text=${text} />`;

/** What a certificate says, whether it serves or is about to. */
export function CertificateFacts({ certificate, short }) {
  return html`
    <${Validity} certificate=${certificate} />
    <${Facts} items=${[
      [t.names, html`<span class="names">${certificate.sans.map((name) => html`<code key=${name}>${name.replace(/^[A-Z]+:/, '')}</code>`)}</span>`],
      [t.issuer, certificate.self_signed ? t.selfIssued : commonName(certificate.issuer)],
      [t.key, t.bits(certificate.key_type, certificate.key_bits)],
      [t.sha256, html`<${Code} text=${certificate.fingerprint_sha256} />`],
      ...(short ? [] : [
        [t.signature, certificate.signature_algorithm],
        [t.serial, html`<code class="breakable">${certificate.serial}</code>`],
        [t.sha1, html`<code class="breakable">${certificate.fingerprint_sha1}</code>`],
        [t.pin, html`<code class="breakable">${certificate.spki_sha256}</code>`],
        [t.installed, certificate.installed?.at && t.installedBy(dateTime(certificate.installed.at), certificate.installed.by)],
      ]),
    ]} />`;
}

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

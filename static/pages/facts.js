// What a certificate says.
import { texts } from '../texts.js';
import { html } from '../core/view.js';
import { commonName, date, dateTime, daysUntil } from '../core/format.js';
import { Copy, Facts } from '../parts.js';

const t = texts.certificate;

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

/** Of a certificate that serves or is about to. */
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

// How the appliance is, at a glance.
import { texts } from '../texts.js';
import { html } from '../core/view.js';
import { state, total, useLive } from '../core/live.js';
import { bytes, daysUntil, date, commonName, percent, portOf, sentence, span } from '../core/format.js';
import { Absent, Badge, Bar, Card, Facts, Loading, Notice } from '../parts.js';
import { Chart } from '../core/chart.js';

const t = texts.overview;

/** Where each warning can be dealt with. */
const REMEDIES = {
  'default-password': 'access',
  'authentication-off': 'access',
  'certificate-fallback': 'certificate',
  'watched-certificate': 'certificate',
  'certificate-expired': 'certificate',
  'certificate-not-yet-valid': 'certificate',
  'certificate-expires-soon': 'certificate',
  'self-signed': 'certificate',
};

/** The same page on the first TLS port that carries it. */
export function tlsAddress() {
  const listener = (state.listeners ?? []).find(({ tls, services }) => tls && services.includes('interface'));
  return listener ? `https://${location.hostname}:${portOf(listener.address)}/` : null;
}

function warningsOf(about) {
  const warnings = [...about.warnings];
  if (location.protocol === 'http:') warnings.unshift({ code: 'plain-page', message: t.plainPage });
  if (about.certificate.self_signed) warnings.push({ code: 'self-signed', message: t.selfSigned });
  return warnings;
}

function Warnings({ about }) {
  const warnings = warningsOf(about);
  const urgent = ['authentication-off', 'certificate-expired', 'certificate-not-yet-valid', 'certificate-fallback'];
  return html`
    <${Card} title=${t.warnings} id="warnings" wide>
      ${warnings.length === 0 && html`<${Notice} kind="good">${t.noWarnings}</${Notice}>`}
      <ul class="plain-list">${warnings.map(({ code, message }) => html`
        <li key=${code}><${Notice} kind=${urgent.includes(code) ? 'bad' : 'warn'}>
          ${t.own[code] ?? sentence(message)}${' '}
          ${REMEDIES[code] && html`<a href=${`#/${REMEDIES[code]}`}>${texts.frame.names[REMEDIES[code]]}</a>`}
          ${code === 'plain-page' && tlsAddress() && html`<a href=${tlsAddress()}>${t.toTls}</a>`}
        </${Notice}></li>`)}
      </ul>
    </${Card}>`;
}

const urgency = (days) => (days < 7 ? 'bad' : days < 30 ? 'warn' : 'good');

function Countdown({ certificate }) {
  const days = daysUntil(certificate.not_after);
  return html`
    <${Card} title=${t.certificate} id="countdown">
      <p class=${`countdown ${urgency(days)}`}>
        <strong>${Math.max(days, 0)}</strong>
        <span>${days < 0 ? t.expired : t.daysLeft(days)}</span>
      </p>
      <p class="muted">${commonName(certificate.subject)}, ${t.until(date(certificate.not_after))}
        ${certificate.default && html`, ${t.byDefault}`}</p>
      <p><a href="#/certificate">${texts.frame.names.certificate}</a></p>
    </${Card}>`;
}

const HEALTH_KINDS = { healthy: 'good', unhealthy: 'bad', disabled: 'plain' };

function Health({ health }) {
  if (health === undefined) return html`<${Card} title=${t.health} id="health"><${Loading} /></${Card}>`;
  if (health === null) {
    return html`<${Card} title=${t.health} id="health"><${Absent}>${t.noHealth}</${Absent}></${Card}>`;
  }
  const badge = (status) => html`<${Badge} kind=${HEALTH_KINDS[status]}>${t.healthStates[status]}</${Badge}>`;
  return html`
    <${Card} title=${t.health} id="health" actions=${badge(health.status)}>
      <ul class="health">${Object.entries(t.components).filter(([name]) => health[name]).map(([name, label]) => html`
        <li key=${name}>
          <span>${label}</span>${badge(health[name].status)}
          ${[...(health[name].errors ?? []), ...(health[name].warnings ?? [])].map((text) => html`<p>${text}</p>`)}
        </li>`)}
      </ul>
    </${Card}>`;
}

function Exposure({ about, listeners }) {
  const draining = (listeners ?? []).flatMap(({ generations }) => generations)
    .filter((generation) => generation.state === 'draining').length;
  const on = about.enable_insecure_ports;
  return html`
    <${Card} title=${t.exposure} id="exposure">
      <ul class="plain-list">
        <li><${Notice} kind=${on ? 'warn' : 'good'} title=${on ? t.plainOn : t.plainOff}>${on ? t.plainOnWhy : t.plainOffWhy}</${Notice}></li>
        <li><${Notice} kind=${about.authentication.auth_enabled ? 'good' : 'bad'}
          title=${about.authentication.auth_enabled ? t.authOn : t.authOff} /></li>
      </ul>
      <p class="muted">${draining ? t.draining(draining) : t.notDraining} <a href="#/listeners">${texts.frame.names.listeners}</a></p>
    </${Card}>`;
}

function Runs({ about, node }) {
  return html`
    <${Card} title=${t.runs} id="runs">
      <${Facts} items=${[
        [t.name, about.name],
        [t.version, about.appliance_version],
        [t.host, node?.['kubernetes.io/hostname']],
        [t.reached, location.host],
        [t.uptime, span(about.uptime_seconds)],
        [t.services, about.services.join(', ')],
      ]} />
    </${Card}>`;
}

function Load({ live }) {
  const { samples } = live;
  const rate = [
    { name: 'rate', label: t.rate, now: live.rate === null ? '–' : t.perSecond(live.rate) },
    { name: 'requests', label: t.requests, now: total('requests_in_progress') },
  ];
  const connections = [
    { name: 'connections', label: t.connections, now: total('connections') },
    { name: 'websockets', label: t.websockets, now: total('websockets') },
  ];
  const machine = [
    { name: 'processor', label: t.processor, now: percent(live.processor?.usage_percentage) },
    { name: 'memory', label: t.memory, now: percent(live.memory?.usage_percentage) },
    { name: 'disk', label: t.disk, now: percent(live.disks?.[0]?.usage_percentage) },
  ];
  const known = live.processor || live.memory;
  return html`
    <${Card} title=${t.load} id="load">
      ${known
        ? html`<${Chart} title=${t.load} samples=${samples} series=${machine} ceiling=${100} />`
        : live.processor === null && html`<${Absent}>${t.noFigures}</${Absent}>`}
      ${live.disks?.map((disk) => html`
        <${Bar} key=${disk.name} label=${t.diskOf(disk.name)} value=${disk.usage_percentage}
          kind=${disk.usage_percentage > 90 ? 'bad' : 'plain'} text=${t.free(bytes(disk.available_kb * 1024))} />`)}
    </${Card}>
    <${Card} title=${t.rate} id="rate"><${Chart} title=${t.rate} samples=${samples} series=${rate} /></${Card}>
    <${Card} title=${t.connections} id="connections"><${Chart} title=${t.connections} samples=${samples} series=${connections} /></${Card}>`;
}

export default function Overview() {
  const live = useLive();
  const { about } = live;
  if (!about) return html`<${Loading} />`;
  return html`
    <div class="grid">
      <${Warnings} about=${about} />
      <div class="stack">
        <${Countdown} certificate=${about.certificate} />
        <${Exposure} about=${about} listeners=${live.listeners} />
      </div>
      <${Health} health=${live.health} />
      <${Runs} about=${about} node=${live.node} />
      <${Load} live=${live} />
    </div>`;
}

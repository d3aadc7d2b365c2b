// Requests for certificates whose keys are made on the appliance.
import { texts } from '../texts.js';
import { html, useState } from '../core/view.js';
import { getIfThere, post, remove, saveAs } from '../core/api.js';
import { date, dateTime } from '../core/format.js';
import { Absent, Button, Card, Copy, ErrorNotice, Field, Guarded, Loading, Outcome, useAction, useLoaded } from '../parts.js';

const t = texts.certificate;
const PATH = '/v2/security/csr';
const EMPTY = { common_name: '', organization: '', country: '', names: '', key_type: 'ec-p256' };

function bodyOf(fields) {
  const { names, key_type, ...parts } = fields;
  const subject = Object.fromEntries(Object.entries(parts).filter(([, text]) => text.trim()));
  const list = names.split(/[\s,]+/).filter(Boolean);
  return list.length ? { subject, names: list, key_type } : { subject, key_type };
}

const fileName = (request) => `${(request.subject?.common_name || request.names?.[0] || 'request').replace(/[^\w.-]+/g, '_')}.csr`;

function Make({ onMade }) {
  const [fields, setFields] = useState({ ...EMPTY, common_name: location.hostname });
  const make = useAction(async () => {
    await post(PATH, bodyOf(fields));
    onMade();
    return t.made;
  });
  const text = (name, label, hint) => html`
    <${Field} label=${label} hint=${hint}>${(attributes) => html`
      <input ...${attributes} value=${fields[name]} onInput=${(event) => setFields({ ...fields, [name]: event.target.value })} />`}
    </${Field}>`;
  return html`
    <form onSubmit=${(event) => {
      event.preventDefault();
      make.run();
    }}>
      <div class="columns">
        ${text('common_name', t.commonName)}
        ${text('names', t.csrNames, t.csrNamesHint)}
        ${text('organization', t.organization)}
        ${text('country', t.country, t.countryHint)}
        <${Field} label=${t.keyType}>${(attributes) => html`
          <select ...${attributes} value=${fields.key_type} onChange=${(event) => setFields({ ...fields, key_type: event.target.value })}>
            ${Object.entries(t.keyTypes).map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}
          </select>`}
        </${Field}>
      </div>
      <div class="buttons"><${Button} type="submit" kind="primary" busy=${make.busy}>${t.make}</${Button}></div>
      <${Outcome} action=${make} />
    </form>`;
}

function Waiting({ request, onDeleted }) {
  const drop = async () => {
    await remove(`${PATH}/${request.id}`);
    onDeleted();
  };
  const names = (request.names ?? []).join(', ');
  return html`
    <li>
      <div><strong>${request.subject?.common_name || names}</strong>
        <span class="muted" title=${dateTime(request.created)}>${names}, ${t.keyTypes[request.key_type] ?? request.key_type}, ${t.waitingUntil(date(request.expires))}</span></div>
      <div class="buttons">
        <button type="button" class="button small" onClick=${() => saveAs(fileName(request), new Blob([request.csr]))}>${t.saveRequest}</button>
        <${Copy} text=${request.csr} />
        <${Guarded} small label=${t.deleteRequest} title=${t.deleteRequest} work=${drop}>${t.deleteRequestWill}</${Guarded}>
      </div>
    </li>`;
}

export function Requests() {
  const { value, error, reload } = useLoaded(() => getIfThere(PATH));
  return html`
    <${Card} title=${t.csr} id="requests">
      ${value === undefined && !error && html`<${Loading} />`}
      <${ErrorNotice} error=${error} />
      ${value === null && html`<${Absent}>${t.csrAbsent}</${Absent}>`}
      ${value && html`
        <p class="muted">${t.csrWhy}</p>
        <${Make} onMade=${reload} />
        <h3>${t.waiting}</h3>
        ${value.requests.length === 0 && html`<p class="muted">${t.waitingNone}</p>`}
        <ul class="rows">${value.requests.map((request) => html`<${Waiting} key=${request.id} request=${request} onDeleted=${reload} />`)}</ul>`}
    </${Card}>`;
}

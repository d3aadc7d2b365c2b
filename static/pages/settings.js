// What may be set while the appliance runs.
import { texts } from '../texts.js';
import { html, useState } from '../core/view.js';
import { getIfThere, post, put, remove } from '../core/api.js';
import { Absent, Button, Card, ErrorNotice, Field, Guarded, Loading, Outcome, useAction, useLoaded } from '../parts.js';

const t = texts.settings;
const V2 = '/v2/management';
const TEXTS = ['drain_timeout', 'log_level'];

/** What differs from what holds: numbers as numbers, `null` for what was emptied. */
function changeOf(settings, fields) {
  const change = {};
  for (const [name, text] of Object.entries(fields)) {
    if (text.trim() === String(settings[name] ?? '')) continue;
    const number = Number(text);
    if (text.trim() === '') change[name] = null;
    else change[name] = TEXTS.includes(name) || Number.isNaN(number) ? text.trim() : number;
  }
  return change;
}

function Form({ settings, onSaved }) {
  const known = Object.keys(t.fields).filter((name) => name in settings);
  const [fields, setFields] = useState(Object.fromEntries(known.map((name) => [name, String(settings[name] ?? '')])));
  const save = useAction(async () => {
    const change = changeOf(settings, fields);
    if (Object.keys(change).length === 0) return t.unchanged;
    const saved = await put(`${V2}/settings`, change);
    setFields(Object.fromEntries(known.map((name) => [name, String(saved[name] ?? '')])));
    onSaved();
    return t.saved;
  });
  const wrong = known.find((name) => name === save.error?.part);
  const control = (name, attributes) => {
    const set = (event) => setFields({ ...fields, [name]: event.target.value });
    if (name !== 'log_level') return html`<input ...${attributes} class="short" value=${fields[name]} onInput=${set} inputmode=${TEXTS.includes(name) ? undefined : 'numeric'} />`;
    return html`<select ...${attributes} value=${fields[name]} onChange=${set}>
      ${Object.entries(t.levels).map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}</select>`;
  };
  return html`
    <form onSubmit=${(event) => {
      event.preventDefault();
      save.run();
    }}>
      <div class="columns">${known.map((name) => html`
        <${Field} key=${name} label=${t.fields[name][0]} hint=${t.fields[name][1]} error=${wrong === name && save.error.message}>
          ${(attributes) => control(name, attributes)}</${Field}>`)}
      </div>
      <div class="buttons"><${Button} type="submit" kind="primary" busy=${save.busy}>${texts.common.save}</${Button}></div>
      ${!wrong && html`<${Outcome} action=${save} />`}
    </form>`;
}

function Power() {
  const schedule = (action) => async () => (await remove(`${V2}/${action}`)).message;
  const callOff = useAction(async () => (await post(`${V2}/reboot/cancel`, {})).message);
  return html`
    <${Card} title=${t.power} id="power">
      <p class="muted">${t.powerWhy}</p>
      <div class="buttons">
        <${Guarded} label=${t.reboot} title=${t.reboot} work=${schedule('reboot')}>${t.rebootWill}</${Guarded}>
        <${Guarded} label=${t.shutdown} title=${t.shutdown} work=${schedule('shutdown')}>${t.shutdownWill}</${Guarded}>
        <${Button} busy=${callOff.busy} onClick=${callOff.run}>${t.callOff}</${Button}>
      </div>
      <${Outcome} action=${callOff} />
    </${Card}>`;
}

export default function Settings() {
  const { value, error, reload } = useLoaded(() => getIfThere(`${V2}/settings`));
  return html`
    <${Card} title=${t.title} id="settings">
      <${ErrorNotice} error=${error} />
      ${value === undefined && !error && html`<${Loading} />`}
      ${value === null && html`<${Absent}>${t.absent}</${Absent}>`}
      ${value && html`<p class="muted">${t.intro}</p><${Form} settings=${value} onSaved=${reload} />`}
    </${Card}>
    ${value && html`<${Power} />`}`;
}

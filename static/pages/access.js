// Who may use the appliance, and how: plain HTTP, authentication, tokens, reset.
import { texts } from '../texts.js';
import { html, useEffect, useState } from '../core/view.js';
import { get, post, remove } from '../core/api.js';
import { refreshAbout, refreshListeners, useLive } from '../core/live.js';
import { span } from '../core/format.js';
import { Badge, Button, Card, ErrorNotice, Field, Guarded, Loading, Notice, Outcome, useAction, useEvery, useLoaded } from '../parts.js';
import { tlsAddress } from './overview.js';
import { Password } from './password.js';
import { Changed } from './upload.js';

const t = texts.access;
const V2 = '/v2/security';
/** How often to look which addresses wait, in milliseconds. */
const THROTTLED_EVERY = 3000;
const quietly = (promise) => promise.catch(() => {});

function PlainHttp({ live }) {
  const on = live.about.enable_insecure_ports;
  const plain = (live.listeners ?? []).filter(({ redirect_to: target }) => target).map(({ name }) => name);
  const ports = plain.length ? t.plainPorts(plain.join(', ')) : t.noPlainPorts;
  const fromHere = on && location.protocol === 'http:';
  const toggle = async () => {
    const target = tlsAddress();
    const { enable_insecure_ports: enabled } = await post(`${V2}/insecureports`, { enable_insecure_ports: !on });
    if (fromHere && target) {
      location.assign(`${target}#/access`);
      return t.moving;
    }
    await quietly(Promise.all([refreshAbout(), refreshListeners()]));
    return t.plainDone[enabled];
  };
  const label = on ? t.plainTurnOff : t.plainTurnOn;
  return html`
    <${Card} title=${t.plain} id="plain" actions=${html`<${Badge} kind=${on ? 'warn' : 'good'}>${t.plainState[on]}</${Badge}>`}>
      <p>${on ? t.plainOffWill(ports) : t.plainOnWill(ports)}</p>
      ${fromHere && html`<${Notice} kind="warn">${t.plainOffFromHere}</${Notice}>`}
      <div class="buttons">
        <${Guarded} label=${label} title=${label} kind=${on ? 'primary' : 'danger'} work=${toggle}>
          ${on ? t.plainOffWill(ports) : t.plainOnWill(ports)}</${Guarded}>
      </div>
    </${Card}>`;
}

function randomToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function JobToken({ isSet }) {
  const [token, setToken] = useState('');
  const set = useAction(async () => {
    await post(`${V2}/jobtoken`, { user_token: token });
    await quietly(refreshAbout());
    return t.tokenSet;
  });
  const drop = async () => {
    await remove(`${V2}/jobtoken`);
    await quietly(refreshAbout());
    set.clear();
    setToken('');
    return t.tokenRemoved;
  };
  return html`
    <${Card} title=${t.token} id="token" actions=${html`<${Badge} kind=${isSet ? 'good' : 'plain'}>${t.tokenState[isSet]}</${Badge}>`}>
      <p class="muted">${t.tokenWhy}</p>
      <form onSubmit=${(event) => {
        event.preventDefault();
        set.run();
      }}>
        <${Field} label=${t.newToken}>${(attributes) => html`
          <input ...${attributes} autocomplete="off" spellcheck="false" value=${token} onInput=${(event) => setToken(event.target.value)} />`}
        </${Field}>
        <div class="buttons">
          <${Button} onClick=${() => setToken(randomToken())}>${t.makeToken}</${Button}>
          <${Button} type="submit" kind="primary" busy=${set.busy} disabled=${!token}>${t.setToken}</${Button}>
        </div>
      </form>
      <${Outcome} action=${set} />
      <div class="buttons"><${Guarded} label=${t.removeToken} title=${t.removeToken} work=${drop} disabled=${!isSet}>${t.removeTokenWill}</${Guarded}></div>
    </${Card}>`;
}

function Authentication({ about }) {
  const on = about.authentication.auth_enabled;
  const off = async () => {
    const answer = await remove(`${V2}/adminpassword`);
    await quietly(refreshAbout());
    return answer?.warning ?? t.authDone;
  };
  return html`
    <${Card} title=${t.auth} id="auth">
      ${on
        ? html`<p>${t.authIsOn}</p>`
        : html`<${Notice} kind="bad">${t.authIsOff}</${Notice}>`}
      <div class="buttons"><${Guarded} label=${t.authOff} title=${t.authOff} work=${off} disabled=${!on}>${t.authOffWill}</${Guarded}></div>
    </${Card}>`;
}

/** The addresses that the throttle slows or refuses now. */
function Throttled() {
  const { news } = useLive();
  const { value, error, reload } = useLoaded(() => get(`${V2}/throttled`));
  useEvery(THROTTLED_EVERY, reload);
  const failures = news.find(({ type }) => type === 'login-failed')?.id;
  useEffect(() => {
    reload();
  }, [failures]);
  return html`
    <${Card} title=${t.throttled} id="throttled">
      <p class="muted">${t.throttledWhy}</p>
      <${ErrorNotice} error=${error} />
      ${!value && !error && html`<${Loading} />`}
      ${value?.count === 0 && html`<p>${t.nobodyThrottled}</p>`}
      ${value?.count > 0 && html`
        <div class="scroll" tabindex="0" role="region" aria-label=${t.throttled}><table>
          <thead><tr>${Object.values(t.throttle).map((column) => html`<th key=${column} scope="col">${column}</th>`)}</tr></thead>
          <tbody>${value.addresses.map((one) => html`
            <tr key=${one.address}><th scope="row" class="nowrap">${one.address}</th>
              <td><${Badge} kind=${one.state === 'refused' ? 'bad' : 'warn'}>${t.throttleStates[one.state]}</${Badge}></td>
              <td class="number">${one.failures}</td>
              <td>${one.retry_after_seconds ? span(one.retry_after_seconds) : t.atOnce}</td>
              <td>${span(one.forgiven_in_seconds)}</td></tr>`)}
          </tbody>
        </table></div>`}
      ${value?.count > value?.addresses.length && html`<p class="hint">${texts.listeners.andMore(value.count - value.addresses.length)}</p>`}
    </${Card}>`;
}

function Reset({ onReset }) {
  const reset = async () => {
    onReset(await remove(`${V2}/reset`));
    setTimeout(() => quietly(refreshAbout()), 0);
    return t.resetDone;
  };
  return html`
    <${Card} title=${t.reset} id="reset">
      <p>${t.resetWhy}</p>
      <div class="buttons">
        <${Guarded} label=${t.resetButton} title=${t.resetButton} word=${t.resetWord} work=${reset}>${t.resetWhy}</${Guarded}>
      </div>
    </${Card}>`;
}

export default function Access() {
  const live = useLive();
  const [answer, setAnswer] = useState(null);
  if (!live.about) return html`<${Loading} />`;
  return html`
    ${answer && html`<${Changed} answer=${answer} />`}
    <div class="grid two">
      <${PlainHttp} live=${live} />
      <${Password} />
      <${JobToken} isSet=${live.about.authentication.job_token_set} />
      <${Authentication} about=${live.about} />
      <${Throttled} />
      <${Reset} onReset=${setAnswer} />
    </div>`;
}

// The admin password, with an estimate of how long it would withstand guessing.
import { texts } from '../texts.js';
import { html, loadScript, useEffect, useState } from '../core/view.js';
import { post } from '../core/api.js';
import { refreshAbout, useLive } from '../core/live.js';
import { Badge, Button, Card, Field, Notice, Outcome, useAction } from '../parts.js';

const t = texts.access;
const PATH = '/v2/security/adminpassword';
/** What bcrypt takes. */
const MOST_BYTES = 72;
/** Words that anybody would try on this appliance first. */
const OBVIOUS = ['admin', 'portcullis', 'appliance', 'speechmatics'];

let estimator = null;

/** Loads the estimator with the commonest passwords and the keyboards. */
function loadEstimator() {
  estimator ??= Promise.all([
    loadScript('../vendor/zxcvbn.js'),
    import('../vendor/common-passwords.js'),
    import('../vendor/keyboards.js'),
  ]).then(([, passwords, keyboards]) => new window.zxcvbnts.core.ZxcvbnFactory({
    dictionary: { passwords: passwords.default, obvious: OBVIOUS },
    graphs: keyboards.default,
    maxLength: MOST_BYTES,
  }));
  return estimator;
}

const bytesOf = (text) => new TextEncoder().encode(text).length;

function timeOf(result) {
  // Without translations, `display` is the name of a unit.
  const { base, display } = result.crackTimes.offlineSlowHashingXPerSecond;
  return t.times[display]?.(base) ?? display;
}

function Strength({ password }) {
  const [result, setResult] = useState(null);
  useEffect(() => {
    let current = true;
    if (!password) setResult(null);
    else loadEstimator().then((made) => current && setResult(made.check(password)), () => {});
    return () => {
      current = false;
    };
  }, [password]);
  if (!result) return null;
  const kind = ['bad', 'bad', 'warn', 'good', 'good'][result.score];
  return html`
    <div class="bar">
      <div class="bar-text"><span>${t.strengthLabel}: <strong>${t.strength[result.score]}</strong></span>
        <span>${t.guesses(timeOf(result))}</span></div>
      <div class=${`track ${kind}`} aria-hidden="true"><div style=${{ width: `${(result.score + 1) * 20}%` }}></div></div>
    </div>`;
}

export function Password() {
  const { about } = useLive();
  const [password, setPassword] = useState('');
  const [repeated, setRepeated] = useState('');
  const [shown, setShown] = useState(false);
  const set = useAction(async () => {
    await post(PATH, { password });
    setPassword('');
    setRepeated('');
    // Asks with the old password, so that the browser asks for the new one.
    setTimeout(() => refreshAbout().catch(() => {}), 0);
    return t.passwordDone;
  });
  const count = bytesOf(password);
  const tooLong = count > MOST_BYTES && t.tooLong(count);
  const differs = repeated && repeated !== password && t.differs;
  const { auth_enabled: enabled, default_password: byDefault } = about.authentication;
  const kind = enabled ? (byDefault ? 'default' : 'own') : 'off';
  const type = shown ? 'text' : 'password';
  return html`
    <${Card} title=${t.password} id="password"
      actions=${html`<${Badge} kind=${{ off: 'bad', default: 'warn', own: 'good' }[kind]}>${t.passwordNow[kind]}</${Badge}>`}>
      <form onSubmit=${(event) => {
        event.preventDefault();
        set.run();
      }}>
        <input class="unseen" type="text" name="username" autocomplete="username" value="admin" tabindex="-1" aria-hidden="true" readonly />
        <${Field} label=${t.newPassword} hint=${t.bytes(count)} error=${tooLong}>${(attributes) => html`
          <input ...${attributes} type=${type} autocomplete="new-password" value=${password}
            onInput=${(event) => setPassword(event.target.value)} />`}
        </${Field}>
        <${Strength} password=${password} />
        <${Field} label=${t.repeat} error=${differs}>${(attributes) => html`
          <input ...${attributes} type=${type} autocomplete="new-password" value=${repeated}
            onInput=${(event) => setRepeated(event.target.value)} />`}
        </${Field}>
        <label class="check"><input type="checkbox" checked=${shown} onChange=${(event) => setShown(event.target.checked)} /> ${t.show}</label>
        ${location.protocol === 'http:' && html`<${Notice} kind="warn">${texts.overview.plainPage}</${Notice}>`}
        <div class="buttons"><${Button} kind="primary" type="submit" busy=${set.busy}
          disabled=${!password || tooLong || password !== repeated}>${t.setPassword}</${Button}></div>
        <${Outcome} action=${set} />
      </form>
    </${Card}>`;
}

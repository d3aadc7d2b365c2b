// The job token, as long as this page is open.
import { html, useState } from './view.js';
import { texts } from '../texts.js';
import { Field } from '../parts.js';

const t = texts.speech;
let token = '';

export const jobToken = () => token;

/** The header that carries it. */
export const bearer = () => (token ? { authorization: `Bearer ${token}` } : {});

/**
 * How the speech services are asked: without the admin password, which the browser would forget
 * when they refuse it.
 */
export const withToken = (more = {}) => ({ ...more, headers: bearer(), credentials: 'omit' });

export function TokenField({ onChange = () => {} }) {
  const [text, setText] = useState(token);
  return html`
    <${Field} label=${t.token} hint=${t.tokenHint}>${(attributes) => html`
      <input ...${attributes} type="password" autocomplete="off" value=${text}
        onInput=${(event) => {
          token = event.target.value.trim();
          setText(event.target.value);
        }}
        onChange=${onChange} />`}
    </${Field}>`;
}

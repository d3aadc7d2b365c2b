// The job token, as long as this page is open.
import { html, useState } from './view.js';
import { texts } from '../texts.js';
import { Field } from '../parts.js';

const t = texts.speech;
let token = '';

export const jobToken = () => token;

/**
 * The header that carries it. It is sent without a token as well: otherwise the browser would send
 * the admin password, and forget it when the speech services refuse it.
 */
export const bearer = () => ({ authorization: `Bearer ${token || 'none'}` });

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

// The field for the job token.
import { html, useState } from '../core/view.js';
import { texts } from '../texts.js';
import { jobToken, setJobToken } from '../core/token.js';
import { Field } from '../parts.js';

const t = texts.speech;

export function TokenField({ onChange = () => {} }) {
  const [text, setText] = useState(jobToken());
  return html`
    <${Field} label=${t.token} hint=${t.tokenHint}>${(attributes) => html`
      <input ...${attributes} type="password" autocomplete="off" value=${text}
        onInput=${(event) => {
          setJobToken(event.target.value);
          setText(event.target.value);
        }}
        onChange=${onChange} />`}
    </${Field}>`;
}

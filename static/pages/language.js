// The choice of a language: what the model of the appliance knows.
import { texts } from '../texts.js';
import { html, useState } from '../core/view.js';
import { useLive } from '../core/live.js';
import { Field } from '../parts.js';

const t = texts.speech;
const AUTO = 'auto';
const names = new Intl.DisplayNames(['en'], { type: 'language' });

/**
 * The language that is chosen, and the field to choose it with. `mayFind`: whether the appliance may
 * be asked to find it, which it can do for jobs alone.
 */
export function useLanguage({ mayFind = false } = {}) {
  const { about } = useLive();
  const [chosen, setChosen] = useState(null);
  const known = about?.languages ?? [];
  const finds = mayFind && known.length > 1 && about.language_identification;
  const usual = known.includes('en') ? 'en' : known[0];
  const language = chosen ?? (finds ? AUTO : usual ?? 'en');
  const options = known.map((code) => ({ code, name: names.of(code) })).sort((a, b) => a.name.localeCompare(b.name));
  if (finds) options.unshift({ code: AUTO, name: t.languageFound });
  // Without a model nothing is known of its languages.
  const field = options.length === 0
    ? html`<${Field} label=${t.language} hint=${t.languageHint}>${(attributes) => html`
        <input ...${attributes} class="short" value=${language} onInput=${(event) => setChosen(event.target.value.trim())} />`}
      </${Field}>`
    : html`<${Field} label=${t.language} hint=${language === AUTO ? t.languageFoundHint : null}>${(attributes) => html`
        <select ...${attributes} onChange=${(event) => setChosen(event.target.value)}>${options.map(({ code, name }) => html`
          <option key=${code} value=${code} selected=${code === language}>${name}</option>`)}
        </select>`}
      </${Field}>`;
  return [language, field];
}

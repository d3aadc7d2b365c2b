// The way to what programs use.
import { texts } from '../texts.js';
import { html } from '../core/view.js';
import { send } from '../core/api.js';
import { serves, useLive } from '../core/live.js';
import { Absent, Card, Copy, useLoaded } from '../parts.js';

const t = texts.api;

async function hasDocs() {
  try {
    await send('HEAD', '/docs');
    return true;
  } catch (err) {
    if (err.status === 404) return false;
    throw err;
  }
}

export default function Api() {
  useLive();
  const { value: docs } = useLoaded(hasDocs);
  const example = `curl -k -u admin ${location.origin}/v2/management/host/about`;
  return html`
    <${Card} title=${texts.frame.names.api} id="api">
      <p>${t.intro}</p>
      ${docs === true && html`<p><a class="button primary" href="/docs">${t.docs}</a></p>`}
      ${docs === false && html`<${Absent}>${t.noDocs}</${Absent}>`}
      <p>${t.example}</p>
      <p><code class="breakable">${example}</code> <${Copy} text=${example} /></p>
    </${Card}>
    <${Card} title=${t.paths} id="paths">
      <div class="scroll" tabindex="0" role="region" aria-label=${t.paths}><table>
        <thead><tr><th scope="col">${t.columns.path}</th><th scope="col">${t.columns.what}</th></tr></thead>
        <tbody>${t.rows.filter(([, , service]) => !service || serves(service)).map(([path, what]) => html`
          <tr key=${path}><th scope="row"><code>${path}</code></th><td>${what}</td></tr>`)}
        </tbody>
      </table></div>
    </${Card}>`;
}

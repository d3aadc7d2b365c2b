// The frame: which page shows, where one can go, and whether the appliance answers.
import { texts } from './texts.js';
import { html, render, useEffect, useRef, useState } from './core/view.js';
import { serves, start, useLive } from './core/live.js';
import { ageOf } from './core/format.js';
import { Loading, Notice, useEvery } from './parts.js';

const { frame } = texts;

/** After so many milliseconds without an answer the page says that it waits. */
const SILENCE = 10_000;
const begun = Date.now();

/** Each page is loaded when it is first asked for. */
const PAGES = [
  { name: 'overview', load: () => import('./pages/overview.js') },
  { name: 'listeners', load: () => import('./pages/listeners.js') },
  { name: 'certificate', load: () => import('./pages/certificate.js') },
  { name: 'access', load: () => import('./pages/access.js') },
  { name: 'batch', load: () => import('./pages/batch.js'), service: 'batch' },
  { name: 'realtime', load: () => import('./pages/realtime.js'), service: 'realtime' },
  { name: 'activity', load: () => import('./pages/activity.js') },
  { name: 'settings', load: () => import('./pages/settings.js') },
  { name: 'api', load: () => import('./pages/api.js') },
];

const wanted = () => {
  const name = location.hash.replace(/^#\/?/, '').split('/')[0];
  return PAGES.find((page) => page.name === name) ?? PAGES[0];
};

function useRoute() {
  const [page, setPage] = useState(wanted);
  useEffect(() => {
    const turn = () => setPage(wanted());
    window.addEventListener('hashchange', turn);
    return () => window.removeEventListener('hashchange', turn);
  }, []);
  return page;
}

function Navigation({ current }) {
  const [open, setOpen] = useState(false);
  const live = useLive();
  useEffect(() => setOpen(false), [current]);
  const shown = PAGES.filter((page) => !page.service || serves(page.service));
  return html`
    <header class="side">
      <a class="brand" href="#/overview"><img src=${new URL('./icon.svg', import.meta.url).href} alt="" width="28" height="28" />
        <span>${live.about?.name ?? frame.product}</span></a>
      <button type="button" class="menu" aria-expanded=${open ? 'true' : 'false'} aria-controls="pages"
        onClick=${() => setOpen(!open)}><span aria-hidden="true">☰</span> ${frame.menu}</button>
      <nav id="pages" class=${open ? 'open' : ''} aria-label=${frame.pages}>
        <ul>${shown.map(({ name }) => html`
          <li key=${name}><a href=${`#/${name}`} aria-current=${name === current ? 'page' : undefined}>${frame.names[name]}</a></li>`)}
        </ul>
      </nav>
      <${Connection} />
    </header>`;
}

/** Whether the figures on the page are those of now. */
function Connection() {
  const { connection, events, lastSeen } = useLive();
  const [now, setNow] = useState(Date.now);
  useEvery(2000, () => setNow(Date.now()));
  const silent = now - Math.max(lastSeen, begun) > SILENCE;
  const open = events === 'open' ? 'live' : 'asked';
  const kind = connection === 'lost' ? 'lost' : silent ? 'waiting' : connection === 'open' ? open : connection;
  return html`<p class=${`pulse ${kind}`} role="status"><span aria-hidden="true"></span>${frame.pulse[kind]}</p>`;
}

function Lost() {
  const live = useLive();
  const [, tick] = useState(0);
  useEvery(1000, () => tick((count) => count + 1));
  if (live.connection !== 'lost') return null;
  return html`
    <${Notice} kind="bad" title=${frame.lost} live>
      ${frame.lostWhy}${live.lastSeen ? ` ${frame.lastSeen(ageOf(live.lastSeen))}` : ''}
      <div class="buttons"><button type="button" class="button" onClick=${() => location.reload()}>${frame.reload}</button></div>
    </${Notice}>`;
}

function App() {
  const page = useRoute();
  const [shown, setShown] = useState({ name: null, Page: null, error: null });
  const heading = useRef(null);
  const first = useRef(true);
  useEffect(() => {
    let current = true;
    document.title = `${frame.names[page.name]} – ${frame.product}`;
    page.load().then(
      (module) => current && setShown({ name: page.name, Page: module.default, error: null }),
      () => current && setShown({ name: page.name, Page: null, error: true }),
    );
    if (!first.current) {
      heading.current?.focus();
      window.scrollTo(0, 0);
    }
    first.current = false;
    return () => {
      current = false;
    };
  }, [page]);
  const ready = shown.name === page.name;
  return html`
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      heading.current.focus();
    }}>${frame.skip}</a>
    <${Navigation} current=${page.name} />
    <main id="main">
      <h1 ref=${heading} tabindex="-1">${frame.names[page.name]}</h1>
      <${Lost} />
      ${ready && shown.error && html`<${Notice} kind="bad" title=${frame.noPage} live>${frame.noPageWhy}</${Notice}>`}
      ${ready && shown.Page ? html`<div class="page" data-page=${page.name}><${shown.Page} /></div>` : !shown.error && html`<${Loading} />`}
    </main>`;
}

start();
const root = document.getElementById('app');
root.replaceChildren();
render(html`<${App} />`, root);

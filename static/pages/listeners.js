// Each port a lane: the generation that serves in front, the replaced ones behind it.
import { texts } from '../texts.js';
import { html, useEffect, useRef, useState } from '../core/view.js';
import { refreshListeners, useLive } from '../core/live.js';
import { ageOf, bytes, clock, dateTime, portOf } from '../core/format.js';
import { Badge, Bar, Card, Loading, useEvery } from '../parts.js';

const t = texts.listeners;
/** More dots than this say no more. */
const MOST_DOTS = 24;
/** Uploads and WebSockets that are shown one by one in each generation. */
const MOST_ROWS = 6;
/** How often to look at what is carried, whose changes are not told, in milliseconds. */
const LOOK_EVERY = 1000;
/** How long a generation that has ended is still shown, in milliseconds. */
const FAREWELL = 4000;

/** What a generation carries, one dot each: WebSockets, requests, then idle connections. */
function Load({ generation }) {
  const { connections, requests_in_progress: requests, websockets } = generation;
  const idle = Math.max(0, connections - requests - websockets);
  const dots = [
    ...Array(websockets).fill('socket'),
    ...Array(requests).fill('request'),
    ...Array(idle).fill('idle'),
  ];
  const shown = dots.slice(0, MOST_DOTS);
  return html`
    <div class="dots" aria-hidden="true">
      ${shown.map((kind, index) => html`<i key=${index} class=${kind}></i>`)}
      ${dots.length > MOST_DOTS && html`<span>${t.more(dots.length - MOST_DOTS)}</span>`}
    </div>
    <ul class="counts">
      <li>${t.connections(connections)}</li>
      <li class=${requests ? 'some' : ''}>${t.requests(requests)}</li>
      <li class=${websockets ? 'some' : ''}>${t.websockets(websockets)}</li>
    </ul>`;
}

/** An upload with its progress. */
function Upload({ upload }) {
  const { path, since, received_bytes: received, total_bytes: total } = upload;
  const label = html`<code class="breakable">${path}</code> <span class="muted">${t.since(ageOf(since))}</span>`;
  if (total) {
    const share = (100 * received) / total;
    return html`<li><${Bar} label=${label} name=${`${t.upload} ${path}`} value=${share} text=${t.progress(bytes(received), bytes(total))} /></li>`;
  }
  return html`<li class="bar-text"><span>${label}</span><span>${t.received(bytes(received))}</span></li>`;
}

const Socket = ({ socket }) => html`
  <li class="bar-text"><span><code class="breakable">${socket.path}</code></span><span>${t.open(ageOf(socket.since))}</span></li>`;

/** Uploads and WebSockets one by one, as many as fit. */
function Carried({ generation }) {
  const { carried, carried_left_out: leftOut } = generation;
  const shown = carried.slice(0, MOST_ROWS);
  const more = carried.length - shown.length + leftOut;
  const uploads = shown.filter(({ kind }) => kind === 'upload');
  const sockets = shown.filter(({ kind }) => kind === 'websocket');
  const key = (one, index) => `${one.since} ${one.path} ${index}`;
  return html`
    ${uploads.length > 0 && html`
      <h3>${t.uploads}</h3>
      <ul class="carried">${uploads.map((one, index) => html`<${Upload} key=${key(one, index)} upload=${one} />`)}</ul>`}
    ${sockets.length > 0 && html`
      <h3>${t.sockets}</h3>
      <ul class="carried">${sockets.map((one, index) => html`<${Socket} key=${key(one, index)} socket=${one} />`)}</ul>`}
    ${more > 0 && html`<p class="muted">${t.andMore(more)}</p>`}`;
}

function Generation({ generation, ended }) {
  const kind = ended ? 'ended' : generation.state;
  const labels = { serving: t.serving, draining: t.draining, ended: t.gone };
  return html`
    <li class=${`generation ${kind}`}>
      <div class="generation-head">
        <strong>${t.generation(generation.number)}</strong>
        <${Badge} kind=${{ serving: 'good', draining: 'warn', ended: 'plain' }[kind]}>${labels[kind]}</${Badge}>
      </div>
      <p class="muted" title=${dateTime(generation.since)}>${generation.reason}, ${t.since(ageOf(generation.since))}</p>
      <${Load} generation=${generation} />
      <${Carried} generation=${generation} />
    </li>`;
}

function Lane({ listener, farewells }) {
  const serving = listener.generations.filter(({ state }) => state === 'serving');
  const draining = listener.generations.filter(({ state }) => state === 'draining').reverse();
  const ended = farewells.filter((farewell) => farewell.listener === listener.name);
  const redirecting = listener.exposure === 'redirecting';
  return html`
    <section class="lane" aria-labelledby=${`lane-${listener.name}`}>
      <div class=${`gate ${listener.tls ? 'tls' : 'clear'}`}>
        <h2 id=${`lane-${listener.name}`}>${listener.name}</h2>
        <p class="port">${t.port(portOf(listener.address))}</p>
        <p><${Badge} kind=${listener.tls ? 'good' : 'plain'}>${listener.tls ? t.tls : t.plain}</${Badge}>${' '}
          <${Badge} kind=${redirecting ? 'info' : 'plain'}>${redirecting ? t.redirects(listener.redirect_to ?? 'TLS') : t.exposure.serving}</${Badge}></p>
        <p class="muted">${listener.services.join(', ')}</p>
      </div>
      <ul class="track-front" aria-label=${t.serving}>${serving.map((generation) => html`<${Generation} key=${generation.number} generation=${generation} />`)}</ul>
      <div class="behind">
        <p class="behind-label">${draining.length + ended.length ? t.behind : t.clear}</p>
        <ul aria-label=${t.behind}>
          ${draining.map((generation) => html`<${Generation} key=${generation.number} generation=${generation} />`)}
          ${ended.map(({ generation }) => html`<${Generation} key=${generation.number} generation=${generation} ended />`)}
        </ul>
      </div>
    </section>`;
}

/** What is carried as words, for the table. */
function carriedText({ carried, carried_left_out: leftOut }) {
  const told = carried.map((one) => (one.kind === 'websocket'
    ? t.socketText(one.path, ageOf(one.since))
    : t.uploadText(one.path, bytes(one.received_bytes), one.total_bytes && bytes(one.total_bytes))));
  if (leftOut > 0) told.push(t.andMore(leftOut));
  return told.length ? html`<ul>${told.map((text, index) => html`<li key=${index}>${text}</li>`)}</ul>` : '–';
}

function Table({ listeners }) {
  const c = t.columns;
  const rows = listeners.flatMap((listener) => listener.generations.toReversed()
    .map((generation) => ({ listener, generation })));
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label=${texts.frame.names.listeners}>
      <table>
        <thead><tr>${Object.values(c).map((column) => html`<th key=${column} scope="col">${column}</th>`)}</tr></thead>
        <tbody>${rows.map(({ listener, generation }) => html`
          <tr key=${`${listener.name}-${generation.number}`}>
            <th scope="row">${listener.name}</th>
            <td>${portOf(listener.address)}</td>
            <td class="number">${generation.number}</td>
            <td><${Badge} kind=${generation.state === 'serving' ? 'good' : 'warn'}>${t[generation.state]}</${Badge}></td>
            <td>${dateTime(generation.since)}</td>
            <td>${generation.reason}</td>
            <td class="number">${generation.connections}</td>
            <td class="number">${generation.requests_in_progress}</td>
            <td class="number">${generation.websockets}</td>
            <td>${carriedText(generation)}</td>
          </tr>`)}
        </tbody>
      </table>
    </div>`;
}

/** Generations that were there a moment ago: they are shown a little longer, to be seen leaving. */
function useFarewells(listeners) {
  const before = useRef([]);
  const [farewells, setFarewells] = useState([]);
  useEffect(() => {
    const flat = (listeners ?? []).flatMap(({ name, generations }) => generations.map((generation) => ({ listener: name, generation })));
    const same = (a) => (b) => a.listener === b.listener && a.generation.number === b.generation.number;
    const left = before.current.filter((one) => !flat.some(same(one)));
    before.current = flat;
    if (left.length === 0) return;
    const gone = left.map((one) => ({
      ...one,
      generation: {
        ...one.generation, connections: 0, requests_in_progress: 0, websockets: 0, carried: [], carried_left_out: 0,
      },
    }));
    setFarewells((shown) => [...shown, ...gone]);
    setTimeout(() => setFarewells((shown) => shown.filter((one) => !gone.includes(one))), FAREWELL);
  }, [listeners]);
  return farewells;
}

function News({ news }) {
  const told = news.filter(({ type }) => t.told[type]);
  return html`
    <${Card} title=${t.events} id="news" wide>
      ${told.length === 0 && html`<p class="muted">${t.noEvents}</p>`}
      <ol class="news">${told.slice(0, 12).map((event) => html`
        <li key=${event.id}><time datetime=${event.at}>${clock(event.at)}</time> ${t.told[event.type](event)}</li>`)}
      </ol>
    </${Card}>`;
}

export default function Listeners() {
  const live = useLive();
  const [view, setView] = useState('picture');
  const farewells = useFarewells(live.listeners);
  useEvery(LOOK_EVERY, () => {
    if (!document.hidden) refreshListeners().catch(() => {});
  });
  if (!live.listeners) return html`<${Loading} />`;
  return html`
    <p class="intro">${t.intro}</p>
    <fieldset class="switch"><legend class="unseen">${t.view}</legend>
      ${['picture', 'table'].map((name) => html`
        <label key=${name}><input type="radio" name="view" value=${name} checked=${view === name}
          onChange=${() => setView(name)} /><span>${t[name]}</span></label>`)}
    </fieldset>
    ${view === 'table'
      ? html`<${Table} listeners=${live.listeners} />`
      : html`<div class="lanes">${live.listeners.map((listener) => html`
          <${Lane} key=${listener.name} listener=${listener} farewells=${farewells} />`)}</div>`}
    ${live.events !== 'absent' && html`<${News} news=${live.news} />`}`;
}

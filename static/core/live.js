// What the appliance is doing now: one store that all pages look at.
import { getIfThere, get, onReach } from './api.js';
import { follow } from './stream.js';
import { useEffect, useState } from './view.js';

const EVERY = 2000;
/** How many rounds lie between two looks at what changes slowly. */
const SLOW = 5;
/** Samples that the charts show: ten minutes. */
const KEPT = 300;

export const state = {
  about: null,
  listeners: null,
  health: undefined,
  processor: undefined,
  memory: undefined,
  disks: undefined,
  /** `starting`, `open` or `lost`. */
  connection: 'starting',
  /** `open`, `lost` or `absent`: whether changes are told, or have to be asked for. */
  events: 'lost',
  lastSeen: 0,
  samples: { time: [], rate: [], connections: [], requests: [], websockets: [], processor: [], memory: [], disk: [] },
  /** Requests a second between the last two looks, over all listeners. */
  rate: null,
  /** The labels of the machine. */
  node: undefined,
  /** What the event stream told, the newest first. */
  news: [],
};

const watchers = new Set();

function changed() {
  for (const watcher of watchers) watcher();
}

/** Draws the calling component again whenever something has changed. */
export function useLive() {
  const [, draw] = useState(0);
  useEffect(() => {
    const watcher = () => draw((count) => count + 1);
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }, []);
  return state;
}

/** Whether some listener carries a service. */
export const serves = (name) => state.about?.services?.includes(name) ?? false;

const V2 = '/v2/management';

/** What the appliance does not have is not asked for again. */
const absent = new Set();

async function optional(path) {
  if (absent.has(path)) return null;
  const found = await getIfThere(path);
  if (found === null) absent.add(path);
  return found;
}

export async function refreshAbout() {
  state.about = await get(`${V2}/host/about`);
  state.health = await optional(`${V2}/health`);
  state.disks = (await optional(`${V2}/diskinfo`))?.disks ?? null;
  state.node ??= await optional(`${V2}/nodeinfo`);
  changed();
}

export async function refreshListeners() {
  state.listeners = (await get(`${V2}/listeners`)).listeners;
  changed();
}

async function refreshFigures() {
  [state.processor, state.memory] = await Promise.all([
    optional(`${V2}/cpuinfo`),
    optional(`${V2}/meminfo`),
  ]);
}

/** Adds up a figure over all generations. */
export const total = (figure) => (state.listeners ?? [])
  .flatMap((listener) => listener.generations)
  .reduce((sum, generation) => sum + generation[figure], 0);

/** What each generation had answered at the last look. */
let counted = null;

/** Requests a second since the last look; those of a generation that has ended meanwhile are lost. */
function measureRate() {
  const now = { at: performance.now(), of: new Map() };
  for (const { name, generations } of state.listeners) {
    for (const { number, requests_total: count } of generations) now.of.set(`${name} ${number}`, count);
  }
  if (counted) {
    const begun = [...now.of].reduce((sum, [key, count]) => sum + count - (counted.of.get(key) ?? 0), 0);
    state.rate = begun / ((now.at - counted.at) / 1000);
  }
  counted = now;
}

function sample() {
  const { samples } = state;
  measureRate();
  const push = (name, value) => {
    samples[name].push(value);
    if (samples[name].length > KEPT) samples[name].shift();
  };
  push('time', Date.now() / 1000);
  push('rate', state.rate);
  push('connections', total('connections'));
  push('requests', total('requests_in_progress'));
  push('websockets', total('websockets'));
  push('processor', state.processor?.usage_percentage ?? null);
  push('memory', state.memory?.usage_percentage ?? null);
  push('disk', state.disks?.[0]?.usage_percentage ?? null);
}

let round = 0;

async function look() {
  try {
    if (!document.hidden || state.connection !== 'open') {
      await Promise.all([
        refreshListeners(),
        refreshFigures(),
        round % SLOW === 0 || !state.about ? refreshAbout() : null,
      ]);
      sample();
      changed();
    }
    round += 1;
  } catch (err) {
    // A lost connection shows in `state.connection`; a refusal is met again by the page's own call.
    if (err.status === undefined) throw err;
  } finally {
    setTimeout(look, EVERY);
  }
}

const RETELLS_LISTENERS = /^generation-|^configuration-|^missed$/;
const RETELLS_ABOUT = /^configuration-|^certificate-|^power-|^missed$/;
const NEWS = 50;

function onEvent(event) {
  let told = {};
  try {
    told = JSON.parse(event.data);
  } catch {
    return;
  }
  state.news = [{ ...told, type: event.type }, ...state.news].slice(0, NEWS);
  const quiet = () => {};
  if (RETELLS_LISTENERS.test(event.type)) refreshListeners().catch(quiet);
  if (RETELLS_ABOUT.test(event.type)) refreshAbout().catch(quiet);
  changed();
}

export function start() {
  onReach((yes) => {
    if (yes) state.lastSeen = Date.now();
    const connection = yes ? 'open' : 'lost';
    if (connection === state.connection) return;
    state.connection = connection;
    changed();
  });
  look();
  follow(`${V2}/events`, {
    onEvent,
    onState: (events) => {
      state.events = events;
      changed();
    },
  });
}

// What was done here, and what the appliance says about itself.
import { texts } from '../texts.js';
import { html, useEffect, useMemo, useRef, useState } from '../core/view.js';
import { download, get } from '../core/api.js';
import { useLive } from '../core/live.js';
import { follow } from '../core/stream.js';
import { dateTime } from '../core/format.js';
import { Absent, Badge, Button, Card, ErrorNotice, Field, Loading, Outcome, useAction, useEvery, useLoaded } from '../parts.js';

const t = texts.activity;
const AUDIT = '/v2/security/audit?limit=500';
const LOGS = '/v2/management/logs';
const LOOK_EVERY = 4000;
/** Lines of the log that are kept on the page. */
const KEPT = 2000;
const SHOWN = 500;
const KINDS = { done: 'good', refused: 'warn', failed: 'bad' };
const RANKS = { ERROR: 0, WARN: 1, INFO: 2, DEBUG: 3, TRACE: 4 };

const has = (entry, text) => !text || JSON.stringify(entry).toLowerCase().includes(text.toLowerCase());

function Audit() {
  const { value, error, reload } = useLoaded(async () => (await get(AUDIT)).entries);
  const { news } = useLive();
  const [text, setText] = useState('');
  const [outcome, setOutcome] = useState('');
  useEvery(LOOK_EVERY, () => {
    if (!document.hidden) reload();
  });
  useEffect(() => {
    reload();
  }, [news]);
  const entries = (value ?? []).filter((entry) => has(entry, text) && (!outcome || entry.outcome === outcome));
  return html`
    <${Card} title=${t.audit} id="audit" wide>
      <p class="muted">${t.auditWhy}</p>
      <div class="filters">
        <${Field} label=${texts.common.filter}>${(attributes) => html`
          <input ...${attributes} type="search" value=${text} onInput=${(event) => setText(event.target.value)} />`}</${Field}>
        <${Field} label=${t.outcome}>${(attributes) => html`
          <select ...${attributes} value=${outcome} onChange=${(event) => setOutcome(event.target.value)}>
            <option value="">${t.all}</option>
            ${Object.entries(t.outcomes).map(([name, label]) => html`<option key=${name} value=${name}>${label}</option>`)}
          </select>`}</${Field}>
      </div>
      <${ErrorNotice} error=${error} />
      ${!value && !error && html`<${Loading} />`}
      ${value && html`
        <p class="hint" role="status">${entries.length ? t.showing(entries.length, value.length) : t.nothing}</p>
        <div class="scroll tall" tabindex="0" role="region" aria-label=${t.audit}><table>
          <thead><tr>${Object.values(t.columns).map((column) => html`<th key=${column} scope="col">${column}</th>`)}</tr></thead>
          <tbody>${entries.slice(0, SHOWN).map((entry) => html`
            <tr key=${`${entry.at} ${entry.action}`}>
              <td class="nowrap">${dateTime(entry.at)}</td><td>${entry.user}</td><td>${entry.address ?? t.console}</td><td>${entry.action}</td>
              <td><${Badge} kind=${KINDS[entry.outcome]}>${t.outcomes[entry.outcome]}</${Badge}></td>
              <td>${entry.detail}${entry.old_fingerprint && html`<span class="muted">${t.changes(entry.old_fingerprint, entry.new_fingerprint)}</span>`}</td>
            </tr>`)}
          </tbody>
        </table></div>`}
    </${Card}>`;
}

/** A line of the log in either of its forms. */
function readLine(line) {
  if (line.startsWith('{')) {
    try {
      const { time, level, target, msg } = JSON.parse(line);
      return { time, level: level.toUpperCase(), text: `${target} ${msg}` };
    } catch {
      // Not of ours; shown as it is.
    }
  }
  const [, time, level, text] = /^(\S+) +(ERROR|WARN|INFO|DEBUG|TRACE) +(.*)$/.exec(line) ?? [null, '', 'INFO', line];
  return { time, level, text };
}

function useLog() {
  const [log, setLog] = useState({ state: 'lost', lines: [] });
  const pause = useRef(false);
  const waiting = useRef([]);
  const number = useRef(0);
  useEffect(() => {
    const stop = follow(`${LOGS}?follow=true&limit=15m`, {
      onState: (state) => setLog((before) => ({ state, lines: state === 'open' ? [] : before.lines })),
      onEvent: (event) => {
        number.current += 1;
        const line = event.type === 'missed'
          ? { time: '', level: 'WARN', text: t.missed(JSON.parse(event.data).lines) }
          : readLine(event.data);
        waiting.current.push({ ...line, number: number.current });
      },
    });
    const timer = setInterval(() => {
      if (pause.current || waiting.current.length === 0) return;
      const fresh = waiting.current.splice(0);
      setLog((before) => ({ ...before, lines: [...before.lines, ...fresh].slice(-KEPT) }));
    }, 250);
    return () => {
      stop();
      clearInterval(timer);
    };
  }, []);
  return { ...log, pause };
}

function Log() {
  const { state, lines, pause } = useLog();
  const [paused, setPaused] = useState(false);
  const [text, setText] = useState('');
  const [level, setLevel] = useState('ALL');
  const save = useAction(() => download(`${LOGS}/zip?limit=24h`, 'logs.zip'));
  const box = useRef(null);
  const least = RANKS[level] ?? 4;
  const shown = useMemo(
    () => lines.filter((line) => RANKS[line.level] <= least && has(line, text)).slice(-SHOWN),
    [lines, text, level],
  );
  useEffect(() => {
    if (!paused && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown]);
  if (state === 'absent') return html`<${Card} title=${t.log} id="log" wide><${Absent}>${t.noLog}</${Absent}></${Card}>`;
  return html`
    <${Card} title=${t.log} id="log" wide actions=${html`<${Badge} kind=${state === 'open' ? 'good' : 'warn'}>${texts.frame.pulse[state === 'open' ? 'live' : 'lost']}</${Badge}>`}>
      <div class="filters">
        <${Field} label=${texts.common.filter}>${(attributes) => html`
          <input ...${attributes} type="search" value=${text} onInput=${(event) => setText(event.target.value)} />`}</${Field}>
        <${Field} label=${t.level}>${(attributes) => html`
          <select ...${attributes} value=${level} onChange=${(event) => setLevel(event.target.value)}>
            ${Object.entries(t.levels).map(([name, label]) => html`<option key=${name} value=${name}>${label}</option>`)}
          </select>`}</${Field}>
        <div class="buttons">
          <${Button} onClick=${() => {
            pause.current = !paused;
            setPaused(!paused);
          }}>${paused ? t.resume : t.pause}</${Button}>
          <${Button} busy=${save.busy} onClick=${save.run}>${t.zip}</${Button}>
        </div>
      </div>
      <${Outcome} action=${save} />
      <div class="log" ref=${box} tabindex="0" role="log" aria-label=${t.log} aria-live="off">
        ${shown.map((line) => html`<p key=${line.number} class=${line.level.toLowerCase()}><time>${line.time.slice(11, 23)}</time> <b>${line.level}</b> ${line.text}</p>`)}
      </div>
    </${Card}>`;
}

export default function Activity() {
  return html`<${Audit} /><${Log} />`;
}

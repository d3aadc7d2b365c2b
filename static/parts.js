// What several pages are made of.
import { texts } from './texts.js';
import { sentence } from './core/format.js';
import { Fragment, html, useEffect, useRef, useState } from './core/view.js';

const { common } = texts;

export function Card({ title, actions, children, wide, id }) {
  return html`
    <section class=${`card ${wide ? 'wide' : ''}`} aria-labelledby=${id}>
      <header><h2 id=${id}>${title}</h2>${actions}</header>
      ${children}
    </section>`;
}

const SIGNS = { good: '✓', warn: '!', bad: '✕', info: 'i' };

/** Something to know: `kind` is good, warn, bad or info. */
export function Notice({ kind = 'info', title, children, live }) {
  const role = live ? (kind === 'bad' ? 'alert' : 'status') : undefined;
  return html`
    <div class=${`notice ${kind}`} role=${role}>
      <span class="sign" aria-hidden="true">${SIGNS[kind]}</span>
      <div>${title && html`<strong>${title}</strong>`}${children && html`<div>${children}</div>`}</div>
    </div>`;
}

export const Badge = ({ kind = 'plain', children }) => html`<span class=${`badge ${kind}`}>${children}</span>`;

/** Terms and what they are: `items` is a list of `[term, description]`; empty ones are left out. */
export const Facts = ({ items }) => html`
  <dl class="facts">
    ${items.filter(([, what]) => what !== null && what !== undefined && what !== '').map(([term, what]) => html`
      <${Fragment} key=${term}><dt>${term}</dt><dd>${what}</dd></${Fragment}>`)}
  </dl>`;

/**
 * Carries something out: `run()` calls `work`, and meanwhile and afterwards `busy`, `done` and
 * `error` tell how it goes. `done` is what `work` resolves with.
 */
export function useAction(work) {
  const [outcome, setOutcome] = useState({ busy: false, done: null, error: null });
  const latest = useRef(work);
  latest.current = work;
  const run = async (...given) => {
    setOutcome({ busy: true, done: null, error: null });
    try {
      const done = await latest.current(...given);
      setOutcome({ busy: false, done: done ?? null, error: null });
      return true;
    } catch (error) {
      if (error.status === undefined) console.error(error);
      setOutcome({ busy: false, done: null, error });
      return false;
    }
  };
  return { ...outcome, run, clear: () => setOutcome({ busy: false, done: null, error: null }) };
}

/** The appliance's own words about what went wrong. */
export const ErrorNotice = ({ error }) => error && html`
  <${Notice} kind="bad" title=${error.title ?? common.failed} live>${sentence(error.message)}</${Notice}>`;

/** How an action ended: what was done, or why not. */
export const Outcome = ({ action, done }) => html`
  <${ErrorNotice} error=${action.error} />
  ${action.done && html`<${Notice} kind="good" title=${done ?? action.done} live />`}`;

export const Button = ({ kind = 'plain', busy, type = 'button', children, ...rest }) => html`
  <button type=${type} class=${`button ${kind}`} aria-busy=${busy ? 'true' : undefined}
    disabled=${busy || rest.disabled} ...${rest}>
    ${busy && html`<span class="spinner" aria-hidden="true"></span>`}${children}
  </button>`;

let lastId = 0;
export function useId(prefix) {
  const id = useRef(null);
  id.current ??= `${prefix}-${lastId += 1}`;
  return id.current;
}

/** A labelled field; the control is made by `children(attributes)`. */
export function Field({ label, hint, error, children }) {
  const id = useId('field');
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ');
  const attributes = {
    id,
    'aria-describedby': described || undefined,
    'aria-invalid': error ? 'true' : undefined,
  };
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${children(attributes)}
      ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
      ${error && html`<p class="wrong" id=${`${id}-error`} role="alert">${error}</p>`}
    </div>`;
}

/** Asks before something that is hard to undo; with `word`, that word has to be typed. */
export function Confirm({ open, title, children, label, word, kind = 'danger', action, onClose }) {
  const dialog = useRef(null);
  const [typed, setTyped] = useState('');
  useEffect(() => {
    if (open && !dialog.current.open) {
      setTyped('');
      dialog.current.showModal();
    }
    if (!open && dialog.current.open) dialog.current.close();
  }, [open]);
  const id = useId('confirm');
  const go = async (event) => {
    event.preventDefault();
    await action.run();
    onClose();
  };
  return html`
    <dialog ref=${dialog} aria-labelledby=${id} onClose=${onClose}>
      ${open && html`
        <form onSubmit=${go}>
          <h2 id=${id}>${title}</h2>
          ${children}
          ${word && html`
            <${Field} label=${common.typeWord(word)}>${(attributes) => html`
              <input ...${attributes} autocomplete="off" value=${typed}
                onInput=${(event) => setTyped(event.target.value)} />`}
            </${Field}>`}
          <div class="buttons">
            <${Button} onClick=${onClose} disabled=${action.busy}>${common.cancel}</${Button}>
            <${Button} kind=${kind} type="submit" busy=${action.busy} disabled=${word && typed !== word}>${label}</${Button}>
          </div>
        </form>`}
    </dialog>`;
}

/** A button with the question in front of it and the outcome behind. */
export function Guarded({ label, title, children, confirm, word, work, kind = 'danger', disabled, small }) {
  const [open, setOpen] = useState(false);
  const action = useAction(work);
  return html`
    <${Button} kind=${`${kind === 'danger' ? 'quiet-danger' : kind}${small ? ' small' : ''}`} disabled=${disabled}
      onClick=${() => setOpen(true)}>${label}</${Button}>
    <${Confirm} open=${open} title=${title} label=${confirm ?? label} word=${word} kind=${kind}
      action=${action} onClose=${() => setOpen(false)}>${children}</${Confirm}>
    <${Outcome} action=${action} />`;
}

/**
 * A share of a whole as a bar; `name` says what it is about where the label is no plain text, and
 * `grows` that it shows how far something is.
 */
export function Bar({ label, name = label, value, text, kind = 'plain', grows }) {
  const share = Math.max(0, Math.min(100, value ?? 0));
  const told = grows
    ? { role: 'progressbar', 'aria-label': name, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(share), 'aria-valuetext': text }
    : { role: 'img', 'aria-label': `${name}: ${text}` };
  return html`
    <div class="bar">
      <div class="bar-text"><span>${label}</span><span>${text}</span></div>
      <div class=${`track ${kind}`} ...${told}><div style=${{ width: `${share}%` }}></div></div>
    </div>`;
}

/** Copies a text; says so. */
export function Copy({ text, label = common.copy }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(await (typeof text === 'function' ? text() : text));
    } catch {
      // Without TLS there is no clipboard; an old way is left.
      const area = document.createElement('textarea');
      area.value = await (typeof text === 'function' ? text() : text);
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<button type="button" class="button small" onClick=${copy}>${copied ? common.copied : label}</button>`;
}

export const Loading = () => html`<p class="muted" role="status">${common.loading}</p>`;

/** What a page says where the appliance has no such thing. */
export const Absent = ({ children }) => html`<p class="absent">${children}</p>`;

/** Loads something when the page opens, and again with `reload()`. */
export function useLoaded(load) {
  const [loaded, setLoaded] = useState({ value: undefined, error: null });
  const alive = useRef(true);
  const reload = async () => {
    try {
      const value = await load();
      if (alive.current) setLoaded({ value, error: null });
    } catch (error) {
      if (error.status === undefined) console.error(error);
      if (alive.current) setLoaded((before) => ({ ...before, error }));
    }
  };
  useEffect(() => {
    reload();
    return () => {
      alive.current = false;
    };
  }, []);
  return { ...loaded, reload };
}

/** Calls `work` at every interval while the page is open. */
export function useEvery(milliseconds, work) {
  const latest = useRef(work);
  latest.current = work;
  useEffect(() => {
    const timer = setInterval(() => latest.current(), milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds]);
}

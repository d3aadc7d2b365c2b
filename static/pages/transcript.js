// One transcript: its words light up as they are heard, and each can be chosen.
import { texts } from '../texts.js';
import { html, useEffect, useMemo, useRef, useState } from '../core/view.js';
import { download, get, send } from '../core/api.js';
import { withToken } from '../core/token.js';
import { Card, ErrorNotice, Loading, Notice, Outcome, useAction, useLoaded } from '../parts.js';

const t = texts.speech;
const FORMATS = { txt: 'txt', srt: 'srt', json: 'json-v2' };

/** A pause of so many seconds ends a turn. */
const LONG_GAP = 1.5;

const opens = (result) => result?.type === 'punctuation' && result.attaches_to === 'next';

/**
 * Words and marks as they stand in the text: `glued` ones have no blank before them, and where a
 * language is written without blanks only foreign words in Latin letters do.
 */
function wordsOf(results, delimiter) {
  const textOf = (result) => result?.alternatives?.[0]?.content ?? '';
  return turnsOf(results).flat().map((result, index, all) => {
    const [text, before] = [textOf(result), all[index - 1]];
    const mark = result.type === 'punctuation';
    const foreign = /[0-9a-z]$/i.test(textOf(before)) && /^[0-9a-z]/i.test(text);
    const glued = (mark && !opens(result)) || opens(before) || (delimiter === '' && !foreign);
    return { who: result.channel, text, glued, mark, start: result.start_time, end: result.end_time };
  });
}

/**
 * What each channel says until its sentence ends or it pauses, in order of time: where two speak at
 * once their words stand by turns in the results. All is one turn where channels are not told apart.
 */
function turnsOf(results) {
  const turns = [];
  const open = new Map();
  for (const result of results) {
    const { channel } = result;
    const last = open.get(channel)?.at(-1);
    const ends = last?.is_eos || result.start_time - last?.end_time >= LONG_GAP;
    const held = opens(last) || (result.type !== 'word' && !opens(result));
    const goesOn = last && (!channel || held || !ends);
    if (!goesOn) {
      open.set(channel, []);
      turns.push(open.get(channel));
    }
    open.get(channel).push(result);
  }
  return turns;
}

/** The audio: what was submitted here, or what the appliance has kept. */
function useAudio(path, file) {
  const [url, setUrl] = useState(null);
  useEffect(() => {
    let made = null;
    let current = true;
    const take = (blob) => {
      if (!current) return;
      made = URL.createObjectURL(blob);
      setUrl(made);
    };
    if (file) take(file);
    else {
      send('GET', `${path}/data`, withToken()).then((answer) => answer.blob())
        .then(take, () => current && setUrl(''));
    }
    return () => {
      current = false;
      if (made) URL.revokeObjectURL(made);
    };
  }, []);
  return url;
}

/**
 * The index of the word that is heard at a time; the last one stays lit through a pause. Turns may
 * overlap.
 */
const wordAt = (words, time) => words.reduce((latest, word, index) => (
  !word.mark && word.start <= time && !(word.start < words[latest]?.start) ? index : latest
), -1);

/**
 * The words. There may be thousands, so they are drawn once, what is heard is marked past Preact,
 * and all together are one stop of the Tab key; the arrows go from word to word.
 */
function Words({ words, heard, onChoose }) {
  const box = useRef(null);
  const at = (index) => box.current.querySelector(`[data-word="${index}"]`);
  const drawn = useMemo(() => {
    const paragraphs = [];
    words.forEach((word, index) => {
      if (index === 0 || word.who !== words[index - 1].who) {
        paragraphs.push([word.who && html`<strong class="speaker">${word.who}</strong>`]);
      }
      paragraphs.at(-1).push(html`${word.glued ? '' : ' '}${word.mark
        ? word.text
        : html`<button type="button" key=${index} data-word=${index} tabindex="-1">${word.text}</button>`}`);
    });
    return paragraphs.map((paragraph, index) => html`<p key=${index}>${paragraph}</p>`);
  }, [words]);
  const stop = (button) => {
    box.current.querySelector('[tabindex="0"]')?.setAttribute('tabindex', '-1');
    button?.setAttribute('tabindex', '0');
  };
  useEffect(() => stop(box.current.querySelector('button')), [words]);
  useEffect(() => {
    box.current.querySelector('.spoken')?.classList.remove('spoken');
    const button = at(heard);
    button?.classList.add('spoken');
    button?.scrollIntoView({ block: 'nearest' });
  }, [heard]);
  const move = (event) => {
    const buttons = [...box.current.querySelectorAll('button')];
    const from = buttons.indexOf(document.activeElement);
    const to = {
      ArrowRight: from + 1, ArrowLeft: from - 1, Home: 0, End: buttons.length - 1,
    }[event.key];
    if (to === undefined || !buttons[to]) return;
    event.preventDefault();
    stop(buttons[to]);
    buttons[to].focus();
  };
  const choose = (event) => {
    const index = event.target.dataset.word;
    if (index === undefined) return;
    stop(event.target);
    onChoose(words[index]);
  };
  return html`<div class="words tall" ref=${box} onClick=${choose} onKeyDown=${move}>${drawn}</div>`;
}

export function Transcript({ job, file }) {
  const path = `/v2/jobs/${encodeURIComponent(job.id)}`;
  const { value, error } = useLoaded(() => get(`${path}/transcript?format=json-v2`, withToken()));
  const url = useAudio(path, file);
  const audio = useRef(null);
  const [heard, setHeard] = useState(-1);
  const place = useRef(null);
  const save = useAction((name) => download(`${path}/transcript?format=${FORMATS[name]}`, `job-${job.id}.${name}`, withToken()));
  const words = useMemo(
    () => wordsOf(value?.results ?? [], value?.metadata.language_pack_info?.word_delimiter), [value],
  );
  useEffect(() => place.current.scrollIntoView({ block: 'nearest' }), []);
  const look = () => {
    if (audio.current) setHeard(wordAt(words, audio.current.currentTime));
  };
  // The element tells its time four times a second, words follow each other faster.
  const follow = () => {
    look();
    if (audio.current && !audio.current.paused) requestAnimationFrame(follow);
  };
  const hear = (word) => {
    if (!audio.current) return;
    audio.current.currentTime = word.start;
    setHeard(words.indexOf(word));
    audio.current.play().catch(() => {});
  };
  return html`
    <div ref=${place} class="stretch"><${Card} title=${t.transcript(job.id)} id="transcript">
      <p class="muted breakable">${job.data_name}</p>
      <${ErrorNotice} error=${error} />
      ${!value && !error && html`<${Loading} />`}
      ${url && html`<audio ref=${audio} controls src=${url} aria-label=${job.data_name || t.transcript(job.id)}
        onPlay=${follow} onSeeked=${look}></audio>`}
      ${url === '' && html`<${Notice}>${t.noAudio}</${Notice}>`}
      ${value?.metadata?.warnings?.map(({ code, reason }) => html`<${Notice} key=${reason} kind="warn" title=${t.warnings[code] ?? code}>${reason}</${Notice}>`)}
      ${value && words.length === 0 && html`<p class="muted">${t.noWords}</p>`}
      ${words.length > 0 && html`
        ${url && html`<p class="hint">${t.words}</p>`}
        <${Words} words=${words} heard=${heard} onChoose=${hear} />`}
      ${value && html`<div class="buttons">${Object.keys(FORMATS).map((name) => html`
        <button type="button" key=${name} class="button small" onClick=${() => save.run(name)}>${t.save(name)}</button>`)}</div>`}
      <${Outcome} action=${save} />
    </${Card}></div>`;
}

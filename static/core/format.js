// Figures and times as people read them.
import { texts } from '../texts.js';

const { units } = texts;

export function bytes(count) {
  if (count === null || count === undefined) return '–';
  let value = count;
  for (const unit of units.bytes) {
    if (value < 1000 || unit === units.bytes.at(-1)) {
      return `${value < 10 && unit !== units.bytes[0] ? value.toFixed(1) : Math.round(value)} ${unit}`;
    }
    value /= 1024;
  }
  return '';
}

export const percent = (value) => (value === null || value === undefined ? '–' : `${Math.round(value)} %`);

/** The two largest units of a span of seconds: `3 d 4 h`. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [
    [Math.floor(whole / 86400), units.day],
    [Math.floor(whole / 3600) % 24, units.hour],
    [Math.floor(whole / 60) % 60, units.minute],
    [whole % 60, units.second],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return `0 ${units.second}`;
  return parts.slice(first, first + 2).filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`).join(' ');
}

export const ageOf = (time) => span((Date.now() - new Date(time)) / 1000);

export const dateTime = (time) => new Date(time).toLocaleString('en-GB', {
  year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
});

export const date = (time) => new Date(time).toLocaleDateString('en-GB', {
  year: 'numeric', month: 'short', day: 'numeric',
});

export const clock = (time) => new Date(time).toLocaleTimeString('en-GB');

export const daysUntil = (time) => Math.floor((new Date(time) - Date.now()) / 86_400_000);

/** `CN` of a name in one line, or all of it. */
export const commonName = (name) => /(?:^|,)\s*CN=((?:\\.|[^,])*)/.exec(name)?.[1].replace(/\\(.)/g, '$1') ?? name;

/** What the appliance says in the middle of a line, as a sentence of its own. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const portOf = (address) => address.slice(address.lastIndexOf(':') + 1);

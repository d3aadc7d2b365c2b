// Preact, its hooks and htm under one roof.
import { h, render, Fragment } from '../vendor/preact.js';
import htm from '../vendor/htm.js';

export { render, Fragment };
export { useEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
export const html = htm.bind(h);

const loading = new Map();

/** Puts an element into the head once; `url` names it. Resolves when what it names is there. */
function load(url, element) {
  if (!loading.has(url)) {
    loading.set(url, new Promise((resolve, reject) => {
      element.onload = resolve;
      element.onerror = () => {
        loading.delete(url);
        reject(new Error(url));
      };
      document.head.append(element);
    }));
  }
  return loading.get(url);
}

const urlOf = (path) => new URL(path, import.meta.url).href;

/** Loads a classic script of this version once, and resolves when it has run. */
export function loadScript(path) {
  const url = urlOf(path);
  return load(url, Object.assign(document.createElement('script'), { src: url }));
}

/** Loads a style sheet of this version once. */
export function loadStyle(path) {
  const url = urlOf(path);
  return load(url, Object.assign(document.createElement('link'), { rel: 'stylesheet', href: url }));
}

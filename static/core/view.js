// Preact, its hooks and htm under one roof.
import { h, render, Fragment } from '../vendor/preact.js';
import htm from '../vendor/htm.js';

export { render, Fragment };
export { useEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
export const html = htm.bind(h);

const loading = new Map();

/** Loads a classic script of this version once, and resolves when it has run. */
export function loadScript(path) {
  const url = new URL(path, import.meta.url).href;
  if (!loading.has(url)) {
    loading.set(url, new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = url;
      script.onload = resolve;
      script.onerror = () => {
        loading.delete(url);
        reject(new Error(url));
      };
      document.head.append(script);
    }));
  }
  return loading.get(url);
}

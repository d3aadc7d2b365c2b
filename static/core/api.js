// Everything that is said to the appliance goes through here.
import { texts } from '../texts.js';

/** The appliance answered, and said no. */
export class ApiError extends Error {
  constructor(status, body, text) {
    super(body?.detail || body?.error || text || texts.errors.status(status));
    this.status = status;
    this.title = body?.error || texts.errors.status(status);
    // What went wrong and what of the request it concerns, in words that stay.
    this.code = body?.error_code;
    this.part = body?.part;
  }
}

/** No answer came: the network, the appliance or the certificate stands in the way. */
export class LostError extends Error {
  constructor() {
    super(texts.errors.lost);
    this.status = 0;
    this.title = texts.errors.lostTitle;
  }
}

const listeners = new Set();

/** Calls `listener(true)` after each answer and `listener(false)` when none came. */
export function onReach(listener) {
  listeners.add(listener);
}

export function reached(yes) {
  for (const listener of listeners) listener(yes);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The error that an answer stands for. */
export async function errorOf(response) {
  const text = await response.text().catch(() => '');
  return new ApiError(response.status, parse(text), text.trim());
}

/** Long, because a person may be typing the password meanwhile. */
const PATIENCE = 60_000;

/** Sends a request and resolves with the answer, whose status is a good one. */
export async function send(method, path, { json, body, headers = {}, credentials, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: json === undefined ? headers : { ...headers, 'content-type': 'application/json' },
      body: json === undefined ? body : JSON.stringify(json),
      cache: 'no-store',
      credentials,
      signal: signal ?? AbortSignal.timeout(PATIENCE),
    });
  } catch (err) {
    if (err.name === 'AbortError') throw err;
    reached(false);
    throw new LostError();
  }
  reached(true);
  if (!response.ok) throw await errorOf(response);
  return response;
}

const asJson = async (response) => parse(await response.text());

export const get = async (path, options) => asJson(await send('GET', path, options));
export const post = async (path, json, options) => asJson(await send('POST', path, { json, ...options }));
export const put = async (path, json) => asJson(await send('PUT', path, { json }));
export const remove = async (path, options) => asJson(await send('DELETE', path, options));

/** The same as `get`, but `null` where the appliance has no such thing. */
export async function getIfThere(path, options) {
  try {
    return await get(path, options);
  } catch (err) {
    if ([404, 405, 501].includes(err.status)) return null;
    throw err;
  }
}

/** Posts a form and tells how much of it is on its way: a share, the bytes, and all of them. */
export function upload(path, form, { headers = {}, progress = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => progress(loaded / Math.max(total, 1), loaded, total);
    request.onload = () => {
      reached(true);
      const body = parse(request.responseText);
      if (request.status >= 200 && request.status < 300) resolve(body);
      else reject(new ApiError(request.status, body, request.responseText.trim()));
    };
    request.onerror = () => {
      reached(false);
      reject(new LostError());
    };
    request.send(form);
  });
}

/** Hands a file to the person at the browser. */
export function saveAs(name, blob) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Fetches something and hands it to the person at the browser. */
export async function download(path, name, options) {
  const response = await send('GET', path, options);
  saveAs(name, await response.blob());
}

// A browser in front of the appliance, watched: what it complains of, whom it asks, and what it
// prompts for.
import assert from 'node:assert/strict';
import https from 'node:https';
import { chromium } from 'playwright-core';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'];

/** Where the appliance is, and what the test has laid out; the Rust test says so. */
export const given = JSON.parse(process.env.PORTCULLIS_BROWSER ?? '{}');

/**
 * Starts a browser; with `trusted`, it takes only certificates of that public key (base64), and
 * with `microphone`, that sound file is what its microphone hears.
 */
export async function launch({ trusted, microphone } = {}) {
  const args = [...FLAGS];
  if (trusted) args.push(`--ignore-certificate-errors-spki-list=${trusted}`);
  if (microphone) {
    args.push(
      '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
      `--use-file-for-fake-audio-capture=${microphone}%noloop`,
    );
  }
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  if (!trusted) return chromium.launch({ executablePath, args });
  // The list counts only for a browser with a profile of its own.
  const context = await chromium.launchPersistentContext(`${given.folder}/profile`, { executablePath, args });
  return { newContext: async () => context, close: () => context.close() };
}

/** What went wrong on a page, but for the answers that a scenario expects. */
class Watch {
  constructor(page) {
    this.expected = [];
    this.complaints = [];
    this.requests = [];
    this.kept = [];
    page.on('console', (message) => {
      if (message.type() !== 'error' && !/Content Security Policy/.test(message.text())) return;
      this.complaints.push({ text: message.text(), url: message.location().url });
    });
    page.on('pageerror', (error) => this.complaints.push({ text: String(error.stack || error), url: '' }));
    page.on('request', (request) => this.requests.push(request.url()));
    page.on('response', (response) => {
      const { pathname } = new URL(response.url());
      const caching = response.headers()['cache-control'] ?? '';
      const own = /^https?:/.test(response.url()) && response.status() !== 307;
      if (own && !pathname.startsWith('/interface/') && !/no-store/.test(caching)) this.kept.push(`${response.status()} ${response.url()} ${caching}`);
    });
  }

  /** Lets an answer be one that browsers complain of. */
  expect(status, path) {
    this.expected.push({ status: String(status), path });
  }

  check() {
    const left = this.complaints.filter(({ text, url }) => !this.expected.some(
      ({ status, path }) => text.includes(status) && (url.includes(path) || text.includes(path)),
    ));
    assert.deepEqual(left, [], 'the browser complains');
    const own = ['https:', 'http:'].flatMap((scheme) => [`${scheme}//${new URL(given.https).hostname}:`]);
    const foreign = this.requests.filter((url) => !/^(data|blob):/.test(url) && !own.some((start) => url.startsWith(start)));
    assert.deepEqual(foreign, [], 'another host is asked');
    assert.deepEqual(this.kept, [], 'a page or an answer may be kept');
  }
}

/**
 * Opens a page whose prompts are answered with `password`, given up where it is `null`. Of several
 * passwords each is tried once, the last one always.
 */
export async function visit(browser, { url = given.https, password = 'admin', ...options } = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  const page = await context.newPage();
  const watch = new Watch(page);
  const prompts = { count: 0, password: [].concat(password).at(-1) };
  const nextPassword = () => {
    if (Array.isArray(password) && password.length > 1) return password.shift();
    return prompts.password;
  };
  const session = await context.newCDPSession(page);
  await session.send('Fetch.enable', { handleAuthRequests: true, patterns: [{ urlPattern: '*' }] });
  const quietly = (promise) => promise.catch(() => {});
  session.on('Fetch.requestPaused', ({ requestId }) => quietly(session.send('Fetch.continueRequest', { requestId })));
  session.on('Fetch.authRequired', ({ requestId }) => {
    prompts.count += 1;
    const word = nextPassword();
    const authChallengeResponse = word === null
      ? { response: 'CancelAuth' }
      : { response: 'ProvideCredentials', username: 'admin', password: word };
    quietly(session.send('Fetch.continueWithAuth', { requestId, authChallengeResponse }));
  });
  page.setDefaultTimeout(15_000);
  await page.goto(url);
  return { context, page, watch, prompts };
}

/** Goes to a page of the interface and waits until it stands. */
export async function turnTo(page, name) {
  await page.evaluate((hash) => {
    window.location.hash = hash;
  }, `#/${name}`);
  await page.waitForSelector(`.page[data-page=${name}]`);
}

/** A request past the browser, from an address of its own where `localAddress` names one. */
export function request(path, { password, headers = {}, ...options } = {}) {
  const authorization = password && `Basic ${btoa(`admin:${password}`)}`;
  return https.request(new URL(path, given.https), {
    rejectUnauthorized: false, agent: false, headers: authorization ? { ...headers, authorization } : headers, ...options,
  });
}

/** The status and the text of the answer to a request. */
export function answerTo(sent) {
  return new Promise((resolve, reject) => {
    sent.on('error', reject);
    sent.on('response', async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode, text });
    });
  });
}

/** Waits until `condition` holds. */
export async function until(what, condition, deadline = 15_000) {
  const end = Date.now() + deadline;
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`still waiting: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

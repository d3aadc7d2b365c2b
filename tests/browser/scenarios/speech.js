// Batch and realtime with recorded speech: "Had he married a more amiable woman, he might have been
// made still more respectable than he was."
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { given, launch, turnTo, visit } from '../browser.js';

/** A busy machine recognises slowly. */
const PATIENCE = 60_000;
const SENTENCE = /amiable woman.*respectable/is;

const jobs = (page) => page.getByRole('region', { name: 'Jobs' }).first();
const rowOf = (page, id) => page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: id, exact: true }) });

/** Submits a file over a slow line, so that its way can be seen, and waits until it is done. */
async function submit(page, context) {
  await turnTo(page, 'batch');
  await page.getByText('There are no jobs.').waitFor();
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  const line = (uploadThroughput) => session.send('Network.emulateNetworkConditions', {
    offline: false, latency: 0, downloadThroughput: -1, uploadThroughput,
  });
  await line(80_000);
  await page.getByLabel('Audio file').setInputFiles(given.sentence);
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.waitForFunction(() => {
    const { value } = document.querySelector('progress') ?? {};
    return value > 0 && value < 1;
  });
  await page.getByRole('button', { name: /^Sending, [\d.]+ kB of \d+ kB \(\d+ %\)$/ }).waitFor();
  await page.getByText('Job 1 is submitted.').waitFor();
  await line(-1);
  await rowOf(page, '1').getByText('Done').waitFor({ timeout: PATIENCE });
  assert.match(await rowOf(page, '1').textContent(), /0920\.wav.*6 s/s);
}

/** The audio comes from the appliance, as the page has forgotten the file. */
async function read(page) {
  await page.reload();
  await page.getByRole('button', { name: 'Open job 1' }).click();
  const words = page.locator('.words');
  await words.getByRole('button').first().waitFor();
  assert.match(await words.textContent(), SENTENCE);
  const audio = page.locator('audio');
  await page.waitForFunction(() => document.querySelector('audio')?.duration > 6);
  await words.getByRole('button', { name: 'woman', exact: true }).click();
  const spoken = page.locator('.words .spoken');
  await page.waitForFunction(() => document.querySelector('.spoken')?.textContent === 'woman');
  await page.waitForFunction(() => document.querySelector('.spoken').textContent !== 'woman');
  assert.equal(await spoken.count(), 1, 'one word is heard at a time');
  await audio.evaluate((element) => element.pause());

  await words.getByRole('button', { name: 'woman', exact: true }).focus();
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowRight');
  const focused = await page.evaluate(() => [document.activeElement.dataset.word, document.activeElement.tabIndex]);
  assert.equal(focused[1], 0, 'the arrows take the stop of the Tab key along');
  assert.equal(await words.locator('[tabindex="0"]').count(), 1);
}

async function save(page) {
  const content = {};
  for (const format of ['txt', 'srt', 'json']) {
    const [saved] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: `Download ${format}` }).click(),
    ]);
    assert.equal(saved.suggestedFilename(), `job-1.${format}`);
    content[format] = await readFile(await saved.path(), 'utf8');
  }
  assert.match(content.txt, SENTENCE);
  assert.match(content.srt, /^1\n00:00:0\d,\d{3} --> 00:00:/);
  assert.equal(JSON.parse(content.json).job.id, '1');
}

async function refuse(page, watch) {
  watch.expect(400, '/v2/jobs');
  await page.getByLabel('Audio file').setInputFiles(given.sentence);
  const language = page.getByLabel('Language');
  assert.deepEqual(await language.locator('option').allTextContents(), ['English']);
  // The appliance may have got another model since the page was loaded.
  await language.evaluate((field) => field.append(new Option('Old', 'xx')));
  await language.selectOption('xx');
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByRole('alert').getByText(/The language "xx" is not installed/).waitFor();
  await language.selectOption('en');
  const noise = `${given.folder}/letter.wav`;
  await writeFile(noise, 'Dear appliance, this is a letter and no sound.\n'.repeat(50));
  await page.getByLabel('Audio file').setInputFiles(noise);
  await page.getByRole('button', { name: 'Submit' }).click();
  const row = page.getByRole('row', { name: /letter\.wav/ });
  await row.getByText('Rejected', { exact: true }).waitFor({ timeout: PATIENCE });
  assert.match(await row.locator('.wrong').textContent(), /\w{4}/, 'the appliance says why');
}

/** A muted recording, of two seconds. */
async function muted() {
  const path = `${given.folder}/muted.wav`;
  const [rate, bytes] = [16_000, 64_000];
  const head = Buffer.alloc(44);
  head.write('RIFF');
  head.writeUInt32LE(bytes + 36, 4);
  head.write('WAVEfmt ', 8);
  [[16, 4], [1, 2], [1, 2], [rate, 4], [2 * rate, 4], [2, 2], [16, 2]].reduce((at, [value, width]) => head.writeUIntLE(value, at, width), 16);
  head.write('data', 36);
  head.writeUInt32LE(bytes, 40);
  await writeFile(path, Buffer.concat([head, Buffer.alloc(bytes)]));
  return path;
}

/** A recording without words says why, with the job and live. */
async function warn(page) {
  const file = await muted();
  await page.getByLabel('Audio file').setInputFiles(file);
  await page.getByRole('button', { name: 'Submit' }).click();
  const row = page.getByRole('row', { name: /muted\.wav/ });
  await row.getByText('Done', { exact: true }).waitFor({ timeout: PATIENCE });
  await row.getByRole('button', { name: /Open job/ }).click();
  const told = page.locator('.notice.warn').getByText(/nothing can be heard in 2\.0 s of audio/);
  await told.waitFor();
  await turnTo(page, 'realtime');
  await choose(page, 'File, at once');
  await page.getByLabel('Audio file').setInputFiles(file);
  await page.getByRole('button', { name: 'Begin' }).click();
  await page.getByText('Finished.').waitFor({ timeout: PATIENCE });
  await told.waitFor();
  await turnTo(page, 'batch');
}

async function remove(page) {
  await rowOf(page, '1').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText('Job 1 is deleted.').waitFor();
  await rowOf(page, '1').waitFor({ state: 'detached' });
}

/** With a job token the page asks for it, and sends it for jobs and for sessions. */
async function token(page, watch) {
  watch.expect(401, '/v2/jobs');
  await turnTo(page, 'access');
  await page.getByLabel('New job token').fill('a-word-for-jobs');
  await page.getByRole('button', { name: 'Set the token' }).click();
  await page.getByText(/Job token set/).waitFor();
  await turnTo(page, 'batch');
  await page.getByText('Enter it above to see the jobs').waitFor();
  const field = page.getByLabel('Job token');
  await field.fill('another-word');
  await field.press('Tab');
  await turnTo(page, 'realtime');
  await page.getByLabel('Audio file').setInputFiles(given.sentence);
  await page.getByRole('button', { name: 'Begin' }).click();
  await page.getByRole('alert').getByText('Permission Denied').first().waitFor();
  await turnTo(page, 'batch');
  await field.fill('a-word-for-jobs');
  await field.press('Tab');
  await jobs(page).getByText('letter.wav').waitFor();
}

const choose = (page, name) => page.locator('label', { hasText: name }).click();

async function transcribe(page, source, { partials }) {
  await turnTo(page, 'realtime');
  await choose(page, source);
  await page.getByLabel('Audio file').setInputFiles(given.sentence);
  await page.getByRole('button', { name: 'Begin' }).click();
  if (partials) {
    await page.waitForFunction(() => document.querySelector('.partial')?.textContent.trim(), null, { timeout: PATIENCE });
  }
  await page.getByText('Finished.').waitFor({ timeout: PATIENCE });
  assert.match(await page.locator('.words').textContent(), SENTENCE);
  assert.equal(await page.locator('.partial').textContent(), '', 'nothing is left open');
}

const latency = async (page) => page.getByRole('region', { name: 'Latency' }).textContent();

export default async function speech() {
  const browser = await launch();
  const { page, watch, context, prompts } = await visit(browser);
  await submit(page, context);
  await read(page);
  await save(page);
  await refuse(page, watch);
  await warn(page);
  await remove(page);
  await token(page, watch);
  await transcribe(page, 'File, as it is spoken', { partials: true });
  assert.match(await latency(page), /\d m?s from sound to final words.*First words after[\d.]+ m?s/s);
  // What comes faster than it can be spoken is heard whole, without a glance in between.
  await transcribe(page, 'File, at once', { partials: false });
  assert.equal(prompts.count, 1, 'the browser keeps the admin password');
  watch.check();
  await browser.close();
  await hear();
}

/** The sentence once more, through the microphone of another browser. */
async function hear() {
  const browser = await launch({ microphone: given.sentence });
  const { page, watch, context } = await visit(browser);
  await context.grantPermissions(['microphone'], { origin: given.https.replace(/\/$/, '') });
  await turnTo(page, 'realtime');
  await page.getByLabel('Job token').fill('a-word-for-jobs');
  await choose(page, 'Microphone');
  await page.getByRole('button', { name: 'Begin' }).click();
  await page.getByText('Listening').waitFor();
  await page.locator('.words').getByText(/amiable woman/i).waitFor({ timeout: PATIENCE });
  await page.getByRole('button', { name: 'End' }).click();
  await page.getByText('Finished.').waitFor({ timeout: PATIENCE });
  console.log(await latency(page));
  watch.check();
  await browser.close();
}

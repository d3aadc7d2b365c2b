// Speech services that are not there: answers in the documented shapes.
const JOBS = [
  { id: '2', created_at: '2026-01-31T12:05:00.000Z', data_name: 'interview.wav', duration: 0, status: 'running' },
  { id: '1', created_at: '2026-01-31T12:00:00.000Z', data_name: 'welcome.wav', duration: 4, status: 'done' },
];

const word = (content, start, end) => ({ type: 'word', start_time: start, end_time: end, alternatives: [{ content, confidence: 0.98, language: 'en' }] });
const mark = (content, at) => ({ type: 'punctuation', start_time: at, end_time: at, attaches_to: 'previous', alternatives: [{ content, confidence: 1, language: 'en' }] });
const RESULTS = [word('Welcome', 0.2, 0.7), word('to', 0.7, 0.8), word('the', 0.8, 0.95), word('appliance', 0.95, 1.6), mark('.', 1.6)];

/** A second of silence as WAV. */
export function silence() {
  const samples = 16_000;
  const wav = Buffer.alloc(44 + samples * 2);
  wav.write('RIFF', 0);
  wav.writeUInt32LE(36 + samples * 2, 4);
  wav.write('WAVEfmt ', 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(16_000, 24);
  wav.writeUInt32LE(32_000, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write('data', 36);
  wav.writeUInt32LE(samples * 2, 40);
  return wav;
}

/** Puts batch and realtime into the list of services, and answers for them. */
export async function withSpeech(context) {
  let jobs = [...JOBS];
  await context.route('**/v2/management/host/about', async (route) => {
    const headers = { ...route.request().headers(), authorization: `Basic ${btoa('admin:admin')}` };
    const answer = await route.fetch({ headers });
    const about = await answer.json();
    about.services = [...new Set([...about.services, 'batch', 'realtime'])];
    await route.fulfill({ response: answer, json: about });
  });
  await context.route(/\/v2\/jobs(\?.*)?$/, (route) => {
    if (route.request().method() === 'GET') return route.fulfill({ json: { jobs } });
    jobs = [{ ...JOBS[1], id: '3', data_name: 'new.wav', duration: 1 }, ...jobs];
    return route.fulfill({ status: 201, json: { id: '3' } });
  });
  await context.route(/\/v2\/jobs\/\d+(\?.*)?$/, (route) => {
    const id = /jobs\/(\d+)/.exec(route.request().url())[1];
    jobs = jobs.filter((job) => job.id !== id);
    return route.fulfill({ json: { job: { ...JOBS[1], id, status: 'deleted' } } });
  });
  await context.route(/\/v2\/jobs\/\d+\/transcript/, (route) => route.fulfill({ json: { format: '2.9', results: RESULTS } }));
  await context.route(/\/v2\/jobs\/\d+\/data/, (route) => route.fulfill({ contentType: 'audio/wav', body: silence() }));
  await context.routeWebSocket(/\/v2(\?.*)?$/, (socket) => {
    let taken = 0;
    const tell = (message) => socket.send(JSON.stringify(message));
    socket.onMessage((data) => {
      if (typeof data !== 'string') {
        taken += 1;
        tell({ message: 'AudioAdded', seq_no: taken });
        tell({ message: 'AddPartialTranscript', metadata: { transcript: 'Welcome to' }, results: [] });
        return;
      }
      const { message } = JSON.parse(data);
      if (message === 'StartRecognition') tell({ message: 'RecognitionStarted', id: 'one' });
      if (message === 'EndOfStream') {
        tell({ message: 'AddTranscript', metadata: { transcript: 'Welcome to the appliance. ' }, results: RESULTS });
        tell({ message: 'EndOfTranscript' });
      }
    });
  });
}

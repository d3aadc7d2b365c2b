//! Where a job stands that has not ended: its place in the queue, how far it is, what is left.

use std::path::Path;

use serde_json::Value;

use crate::support::curl::curl;
use crate::support::service::Service;
use crate::support::speech::{
    CONFIG, batch_setup, client_command, clients, ended, id_of, long_recording, post, recording,
    said, submit,
};
use crate::support::{seconds, wait_until_blocking};

const PYTHON: &str = r#"
import asyncio, sys
from speechmatics.batch import AsyncClient
async def main():
    async with AsyncClient(api_key="any", url=sys.argv[1] + "/v2") as client:
        listed = {job.id: job.status.value for job in await client.list_jobs()}
        read = {id: (await client.get_job_info(id)).status.value for id in listed}
        assert listed == read == {"1": "running", "2": "running", "3": "running"}, (listed, read)
asyncio.run(main())
"#;

const NODE: &str = r#"
const { BatchClient } = require('@speechmatics/batch-client');
(async () => {
  const client = new BatchClient({ apiKey: 'any', apiUrl: process.argv[1], appId: 'test' });
  const { jobs } = await client.listJobs();
  const read = await Promise.all(jobs.map(async ({ id }) => (await client.getJob(id)).job));
  for (const job of [...jobs, ...read]) if (job.status !== 'running') throw new Error(job.status);
  if (read.length !== 3) throw new Error('jobs are missing');
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"#;

/// The list, which is answered at once, by id.
fn listed(service: &Service) -> impl Fn(&str) -> Value + use<> {
    let reply = curl(&[&service.url("https", "/v2/jobs")]).expect(200).json();
    let jobs = reply["jobs"].as_array().expect("a list").clone();
    move |id| jobs.iter().find(|job| job["id"] == id).expect("the job is listed").clone()
}

#[test]
fn waiting_jobs_tell_their_place_and_running_ones_what_is_left() {
    let service = batch_setup().settings("speech.decoding_threads = 1").start();
    let folder = tempfile::tempdir().expect("tempdir");
    let long = long_recording(folder.path(), 40);
    let short = recording("cards/001.wav");
    let first = id_of(&post(&service, &long, CONFIG).expect(201));
    wait_until_blocking("the first is begun", seconds(30), || {
        listed(&service)(&first)["queue_position"] == Value::Null
    });
    let (second, third) = (submit(&service, &short), submit(&service, &short));
    let now = listed(&service);
    assert_eq!(
        (&now(&second)["queue_position"], &now(&third)["queue_position"]),
        (&1.into(), &2.into())
    );
    assert_eq!(
        (&now(&third)["progress"], &now(&third)["seconds_left"]),
        (&0.0.into(), &Value::Null)
    );
    let alone = curl(&[&service.url("https", &format!("/v2/jobs/{third}"))]).expect(200).json();
    assert_eq!(alone["job"]["queue_position"], 2, "{alone}");

    let client = |program: &Path, arguments: &[&str]| {
        let mut command = client_command(program, &service);
        said(command.args(arguments).arg(service.url("https", "")).output().expect("a client"))
    };
    client(&clients().join("venv/bin/python"), &["-W", "ignore", "-c", PYTHON]);
    client(Path::new("node"), &["-e", NODE]);

    let mut seen = 0.0;
    wait_until_blocking("what is left is known", seconds(60), || {
        let job = listed(&service)(&first);
        let progress = job["progress"].as_f64().expect("a share");
        assert!((seen..1.0).contains(&progress), "{seen} {job}");
        seen = progress;
        job["seconds_left"].as_u64().is_some_and(|left| (1..600).contains(&left))
    });
    assert!(seen > 0.0);
    curl(&["-X", "DELETE", &service.url("https", &format!("/v2/jobs/{second}?force=true"))])
        .expect(200);
    assert_eq!(listed(&service)(&third)["queue_position"], 1);
    curl(&["-X", "DELETE", &service.url("https", &format!("/v2/jobs/{first}?force=true"))])
        .expect(200);
    let done = ended(&service, &third);
    for key in ["progress", "seconds_left", "queue_position"] {
        assert_eq!(done[key], Value::Null, "{done}");
    }
}

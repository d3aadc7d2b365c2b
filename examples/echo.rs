//! An appliance with one service more, written against the public API alone. The end-to-end tests
//! and the benchmarks drive it.
//!
//! ```sh
//! cargo run --example echo -- run --unprivileged --data-dir target/echo
//! curl -k --data-binary @FILE https://localhost:8443/echo/upload
//! ```

use std::{process::ExitCode, time::Duration};

use actix_web::{
    Error, HttpRequest, HttpResponse,
    error::ErrorBadRequest,
    web::{Bytes, Payload, Query},
};
use futures::{StreamExt, stream};
use portcullis::{
    ApiError, Appliance, Authentication, Endpoint, Mount, Service, command_line, figures,
    websocket::{self, Session, Socket},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// As in the appliance itself: memory is given back after load.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Echo;

impl Service for Echo {
    fn mounts(&self) -> Vec<Mount> {
        vec![
            Mount::new("/echo", Authentication::Open, |config| {
                Endpoint::new("/upload").post(upload).register(config);
                Endpoint::new("/ws").get(open_websocket).register(config);
                Endpoint::new("/slow").get(slow).register(config);
            })
            .with_websockets(["/ws"]),
            // The same behind the job token, while one is set.
            Mount::new("/echo/guarded", Authentication::JobToken, |config| {
                Endpoint::new("/upload").post(upload).register(config);
            }),
        ]
    }
}

/// `POST /echo/upload`: the length and the SHA-256 of a body of any size.
async fn upload(mut body: Payload) -> Result<HttpResponse, Error> {
    let (mut length, mut digest) = (0_u64, Sha256::new());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(ApiError::from)?;
        length += chunk.len() as u64;
        digest.update(&chunk);
    }
    let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(HttpResponse::Ok().json(serde_json::json!({ "length": length, "sha256": sha256 })))
}

/// `GET /echo/ws`: every message comes back.
async fn open_websocket(request: HttpRequest, body: Payload) -> Result<HttpResponse, Error> {
    websocket::start(EchoSession, &request, body)
}

struct EchoSession;

impl Session for EchoSession {
    type Event = ();

    fn text(&mut self, text: &str, socket: &mut Socket<'_>) {
        socket.text(text);
    }

    fn binary(&mut self, bytes: Bytes, socket: &mut Socket<'_>) {
        socket.binary(bytes);
    }
}

#[derive(Deserialize)]
struct SlowQuery {
    bytes: u64,
    seconds: f64,
}

/// `GET /echo/slow?bytes=N&seconds=S`: N bytes, spread evenly over S seconds.
async fn slow(query: Query<SlowQuery>) -> Result<HttpResponse, Error> {
    const STEP: Duration = Duration::from_millis(50);
    let SlowQuery { bytes, seconds } = query.into_inner();
    if !(0.0..=86_400.0).contains(&seconds) || bytes > 1 << 40 {
        return Err(ErrorBadRequest("seconds must be 0 to 86400, bytes at most 2^40"));
    }
    let steps = (seconds / STEP.as_secs_f64()).ceil().max(1.0) as u64;
    let body = stream::unfold(0, move |step| async move {
        if step == steps {
            return None;
        }
        if step > 0 {
            actix_web::rt::time::sleep(STEP).await;
        }
        let sent = |step: u64| (u128::from(bytes) * u128::from(step) / u128::from(steps)) as usize;
        let chunk = Bytes::from(vec![b'.'; sent(step + 1) - sent(step)]);
        Some((Ok::<_, Error>(chunk), step + 1))
    });
    Ok(HttpResponse::Ok().content_type("application/octet-stream").streaming(body))
}

fn main() -> ExitCode {
    // The benchmarks compare.
    if std::env::var_os("ECHO_UNCOUNTED").is_some() {
        figures::stop_counting();
    }
    command_line(Appliance::new("echo", env!("CARGO_PKG_VERSION")).service("echo", Echo))
}

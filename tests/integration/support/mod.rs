//! What every test stands on: the running binary, certificates, and clients of each protocol.

pub(crate) mod admin;
pub(crate) mod bounded;
pub(crate) mod certificates;
pub(crate) mod console;
pub(crate) mod curl;
pub(crate) mod disk;
pub(crate) mod follower;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod needles;
pub(crate) mod openssl;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod realtime;
pub(crate) mod service;
pub(crate) mod shim;
pub(crate) mod sounds;
pub(crate) mod speech;
pub(crate) mod stored;
pub(crate) mod tls;
pub(crate) mod uploads;
pub(crate) mod watched;
pub(crate) mod websocket;

use std::time::{Duration, Instant};

/// How often `wait_until` looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Waits for a state, and fails the test with the state's description when it does not come.
pub(crate) async fn wait_until(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < deadline, "still waiting after {deadline:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The same for tests without a runtime.
pub(crate) fn wait_until_blocking(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> bool,
) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < deadline, "still waiting after {deadline:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The time between two steps of a client that is slow on purpose, or of a load loop.
pub(crate) async fn pace(step: Duration) {
    tokio::time::sleep(step).await;
}

/// Bounds something that must come to an end.
pub(crate) async fn within<F: Future>(deadline: Duration, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(deadline, future).await {
        Ok(output) => output,
        Err(_) => panic!("not done within {deadline:?}: {what}"),
    }
}

/// Whole seconds, written shortly.
pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Milliseconds, written shortly.
pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

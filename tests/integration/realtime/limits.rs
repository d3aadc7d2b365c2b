//! Sessions that last too long, clients that are gone, and the end of the appliance.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::realtime::{Client, SECOND, realtime_setup, samples, text};
use crate::support::speech::sentence;
use crate::support::{millis, pace, seconds, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_without_audio_is_warned_and_ended() {
    let service = realtime_setup().settings("[realtime]\nidle_timeout = \"6s\"").start();
    let mut client = Client::session(&service, &json!({})).await;
    let warning = client.next_of("Warning").await;
    assert_eq!(warning["type"], "idle_timeout");
    let reason = warning["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("Session will timeout in "), "{reason}");
    assert_eq!(client.fails().await, ("idle_timeout".to_owned(), 1008));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_at_its_limit_although_audio_comes() {
    let service = realtime_setup().settings("[realtime]\nsession_timeout = \"3s\"").start();
    let mut client = Client::session(&service, &json!({})).await;
    let error = 'speaking: loop {
        client.audio(&[0; SECOND / 10]).await;
        let due = tokio::time::Instant::now() + millis(100);
        while let Ok(message) = tokio::time::timeout_at(due, client.next()).await {
            if message["message"] == "Error" {
                break 'speaking message;
            }
        }
    };
    assert_eq!(error["type"], "session_timeout");
    assert_eq!(client.closed().await, (1008, "policy_violation".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_are_gone_are_noticed_and_others_stay() {
    let service = realtime_setup().settings("[realtime]\npeer_timeout = \"4s\"").start();
    let open = || async {
        let sessions = service.admin().get("/v2/management/host/realtime/sessions").await.json();
        sessions["request_ids"].as_array().expect("ids").len()
    };
    // Clients that are stopped take nothing, answer nothing and do not close.
    let script = r"
import base64, json, os, socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
kept = []
start = json.dumps({'message': 'StartRecognition', 'audio_format': {'type': 'raw', 'encoding': 'pcm_s16le', 'sample_rate': 16000}, 'transcription_config': {'language': 'en'}}).encode()
for _ in range(count):
    s = socket.create_connection(('127.0.0.1', port), 10)
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall(('GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n' % key).encode())
    s.recv(4096)
    s.sendall(bytes([0x81, 0x80 | 126, len(start) >> 8, len(start) & 255, 0, 0, 0, 0]) + start)
    kept.append(s)
print('open', flush=True)
time.sleep(600)
";
    let mut gone = Command::new("python3")
        .args(["-c", script, &service.port("ws").to_string(), "4"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("python3");
    wait_until("the clients have sessions", seconds(30), async || open().await == 4).await;
    let descriptors = service.usage().descriptors;
    let pid = Pid::from_raw(i32::try_from(gone.id()).expect("a pid"));
    kill(pid, Signal::SIGSTOP).expect("stopped");
    // One answers pings and is silent otherwise, one only sends.
    let mut healthy = Client::session(&service, &json!({})).await;
    let alive = tokio::spawn(async move {
        healthy.next_of("EndOfTranscript").await;
    });
    let mut sending = Client::session(&service, &json!({})).await;
    for _ in 0..60 {
        sending.audio(&[0; 3200]).await;
        pace(millis(200)).await;
        if open().await == 2 {
            break;
        }
    }
    wait_until("the stopped clients are cut off", seconds(60), async || {
        sending.audio(&[0; 320]).await;
        open().await == 2
    })
    .await;
    assert!(service.usage().descriptors < descriptors + 4 - 2);
    for _ in 0..40 {
        sending.audio(&[0; 3200]).await;
        pace(millis(200)).await;
    }
    assert_eq!(open().await, 2, "they were cut off although they are there");
    assert!(!alive.is_finished());
    alive.abort();
    gone.kill().expect("killed");
    gone.wait().expect("gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_shutdown_finals_are_told_before_the_end() {
    let mut service = realtime_setup().start();
    let mut client = Client::session(&service, &json!({"max_delay": 20})).await;
    client.audio(&samples(&sentence())).await;
    let mut idle = Client::connect(&service, "ws", "/v2").await;
    client.next_of("AudioAdded").await;
    service.signal(Signal::SIGTERM);
    let heard = client.rest().await;
    assert!(text(&heard).contains("respectable than he was"), "{heard:?}");
    assert_eq!(client.closed().await.0, 1012);
    assert_eq!(idle.closed().await.0, 1012);
    drop((client, idle));
    assert!(service.wait_for_end(seconds(40)).success());
}

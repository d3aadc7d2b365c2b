//! Appliances whose bounds are small, and clients that try them.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::curl::curl_as;
use super::service::{Service, Setup};

/// An echo appliance with these lines under `[limits]`: `http` and `https` carry the
/// administration and the metrics, `ws` nothing but the echo service.
pub(crate) fn bounded(limits: &str) -> Setup {
    let all = r#"services = ["security", "management", "monitoring", "echo"]"#;
    Service::echo().settings(&format!("[limits]\n{limits}")).listeners(&format!(
        "[[listener]]\nname = \"http\"\naddress = \"127.0.0.1:0\"\n{all}\nredirect_to = \"https\"\n\n\
         [[listener]]\nname = \"https\"\naddress = \"127.0.0.1:0\"\ntls = true\n{all}\n\n\
         [[listener]]\nname = \"ws\"\naddress = \"127.0.0.1:0\"\nservices = [\"echo\"]\n"
    ))
}

/// The sum of the series that begin so; 0 where there is none yet.
pub(crate) fn counted(service: &Service, series: &str) -> u64 {
    let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// A connection from another address of this machine, which reads little at a time.
pub(crate) async fn narrow_from(source: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind((source, 0).into())?;
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await
}

/// Asks for a long answer and takes nothing of it but its first byte.
pub(crate) async fn ask_and_stall(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    let request = b"GET /echo/slow?bytes=64000000&seconds=3 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("a request");
    let mut first = [0];
    stream.read_exact(&mut first).await.expect("the beginning of an answer");
}

/// Asks for an answer that takes `seconds` and waits for its first byte.
pub(crate) async fn ask_slowly(stream: &mut TcpStream, seconds: u32) -> std::io::Result<()> {
    let request = format!(
        "GET /echo/slow?bytes=100000&seconds={seconds} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut first = [0];
    stream.read_exact(&mut first).await.map(drop)
}

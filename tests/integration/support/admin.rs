//! The administrator's calls, each over a TLS connection of its own.

use std::io;

use serde::Deserialize;
use serde_json::{Value, json};

use super::certificates::Bundle;
use super::http::{Answer, Connection, basic};
use super::service::Service;
use super::{seconds, wait_until};

/// Separates the parts of an upload.
const BOUNDARY: &str = "----------------portcullis-test";

/// Somebody who knows a password.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    port: u16,
    password: String,
}

impl Service {
    /// The administrator with the password of a new appliance.
    pub(crate) fn admin(&self) -> Admin {
        Admin { port: self.port("https"), password: "admin".to_owned() }
    }
}

impl Admin {
    pub(crate) fn with_password(&self, password: &str) -> Self {
        Self { port: self.port, password: password.to_owned() }
    }

    /// The `Authorization` header of this administrator.
    pub(crate) fn authorization(&self) -> String {
        basic("admin", &self.password)
    }

    /// One request on a new connection.
    pub(crate) async fn try_request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let authorization = self.authorization();
        let mut headers = vec![("authorization", authorization.as_str()), ("connection", "close")];
        if !body.is_empty() {
            headers.push(("content-type", content_type));
        }
        Connection::tls(self.port).await?.request(method, path, &headers, body).await
    }

    async fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.try_request(method, path, "application/json", body.as_bytes()).await;
        answer.unwrap_or_else(|err| panic!("{method} {path}: {err}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, None).await
    }

    /// The status of a request that anybody with the right password may make.
    pub(crate) async fn about_status(&self) -> u16 {
        self.get("/v2/management/host/about").await.status
    }

    /// Uploads a certificate bundle.
    pub(crate) async fn try_install(&self, bundle: &Bundle) -> io::Result<Answer> {
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let body = multipart(bundle);
        self.try_request("POST", "/v2/security/sslcertificate", &content_type, &body).await
    }

    /// Uploads a certificate bundle that must be taken.
    pub(crate) async fn install(&self, bundle: &Bundle) -> Value {
        let answer = self.try_install(bundle).await.expect("an answer to the upload");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Turns plain HTTP on or off.
    pub(crate) async fn set_insecure_ports(&self, enabled: bool) {
        let body = json!({ "enable_insecure_ports": enabled });
        let answer = self.post("/v2/security/insecureports", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["enable_insecure_ports"], enabled, "{}", answer.text());
    }

    /// Changes the password, and comes back as the administrator who knows it.
    pub(crate) async fn set_password(&self, password: &str) -> Self {
        let body = json!({ "password": password });
        let answer = self.post("/v2/security/adminpassword", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.with_password(password)
    }

    /// Every listener with its generations.
    pub(crate) async fn listeners(&self) -> Vec<Listener> {
        #[derive(Deserialize)]
        struct Listeners {
            listeners: Vec<Listener>,
        }
        let answer = self.get("/v2/management/listeners").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let parsed: Result<Listeners, _> = serde_json::from_slice(&answer.body);
        parsed.unwrap_or_else(|err| panic!("{err} in {}", answer.text())).listeners
    }

    /// One listener with its generations.
    pub(crate) async fn listener(&self, name: &str) -> Listener {
        let mut listeners = self.listeners().await.into_iter();
        listeners.find(|listener| listener.name == name).expect("a listener of that name")
    }

    /// How many generations still drain, over all listeners.
    pub(crate) async fn draining(&self) -> usize {
        let listeners = self.listeners().await;
        listeners.iter().map(|listener| listener.draining().count()).sum()
    }

    /// Waits until every replaced generation is gone.
    pub(crate) async fn until_drained(&self) {
        wait_until("every drained generation is gone", seconds(20), async || {
            self.draining().await == 0
        })
        .await;
    }
}

/// One entry of `GET /v2/management/listeners`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) tls: bool,
    pub(crate) exposure: String,
    pub(crate) services: Vec<String>,
    pub(crate) redirect_to: Option<String>,
    pub(crate) generations: Vec<Generation>,
}

/// One generation of a listener.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) state: String,
    pub(crate) since: String,
    pub(crate) reason: String,
    pub(crate) connections: u64,
    pub(crate) requests_in_progress: u64,
    pub(crate) websockets: u64,
    pub(crate) requests_total: u64,
    pub(crate) carried: Vec<Value>,
}

impl Listener {
    pub(crate) fn draining(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter().filter(|generation| generation.state == "draining")
    }

    pub(crate) fn serving(&self) -> &Generation {
        let mut serving =
            self.generations.iter().filter(|generation| generation.state == "serving");
        let generation = serving.next().expect("a serving generation");
        assert!(serving.next().is_none(), "two generations serve: {self:?}");
        generation
    }
}

/// The two parts of an upload, as a browser or curl would send them.
fn multipart(bundle: &Bundle) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, path) in [("keyfile", &bundle.key), ("certfile", &bundle.chain)] {
        body.extend_from_slice(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{field}.pem\"\r\nContent-Type: application/octet-stream\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(&std::fs::read(path).expect("a file of the bundle"));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

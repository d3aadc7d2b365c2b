//! Tells whoever started the appliance that every port accepts.

use std::{net::SocketAddr, path::Path};

use anyhow::Context as _;
use portcullis_actors::supervisor::BoundListener;
use serde::Serialize;

use crate::notify::{self, Word};

/// What the ready file holds.
#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    pid: u32,
    listeners: Vec<ReadyListener>,
}

#[derive(Debug, Serialize)]
struct ReadyListener {
    name: String,
    address: SocketAddr,
    tls: bool,
}

impl Ready {
    pub(crate) fn new(bound: &[BoundListener]) -> Self {
        let listeners = bound
            .iter()
            .map(|listener| ReadyListener {
                name: listener.plan().name.clone(),
                address: listener.address(),
                tls: listener.plan().tls.takes_tls(),
            })
            .collect();
        Self { pid: std::process::id(), listeners }
    }

    /// Writes the ready file, tells the service manager and logs the addresses.
    pub(crate) fn announce(&self, file: Option<&Path>) -> anyhow::Result<()> {
        for listener in &self.listeners {
            let scheme = if listener.tls { "https" } else { "http" };
            log::info!("listener {}: {scheme} on {}", listener.name, listener.address);
        }
        if let Some(file) = file {
            self.write(file).with_context(|| format!("cannot write {}", file.display()))?;
        }
        notify::tell(Word::Ready);
        Ok(())
    }

    /// Written aside and renamed, so that whoever sees it sees all of it.
    fn write(&self, file: &Path) -> std::io::Result<()> {
        let mut aside = file.as_os_str().to_owned();
        aside.push(".new");
        std::fs::write(&aside, serde_json::to_vec(self)?)?;
        std::fs::rename(&aside, file)
    }
}

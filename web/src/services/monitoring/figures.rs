//! Figures that are made at each scrape: the machine, this process, the certificate, access.

use std::{fmt, path::PathBuf};

use portcullis_actors::watch::WatchedCertificate;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::{
    service::Door,
    services::shared::{
        collected::{Encoded, gauge, labelled_gauge, yes},
        host_figures,
    },
};

/// What makes the figures.
pub(super) fn collector(door: &Door) -> Box<dyn Collector> {
    Box::new(Figures {
        certificates: door.certificates().clone(),
        authenticator: door.authenticator().clone(),
        insecure_ports: door.insecure_ports().clone(),
        data_dir: door.appliance().data_dir.clone(),
        version: door.appliance().version,
        watched: door.appliance().watched_certificate.clone(),
    })
}

struct Figures {
    certificates: portcullis_actors::certificate::Certificates,
    authenticator: portcullis_actors::auth::Authenticator,
    insecure_ports: portcullis_actors::supervisor::InsecurePorts,
    data_dir: PathBuf,
    version: &'static str,
    watched: Option<WatchedCertificate>,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        let encoder = &mut encoder;
        self.certificate(encoder)?;
        self.access(encoder)?;
        self.process(encoder)?;
        self.machine(encoder)
    }
}

impl Figures {
    fn certificate(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let active = self.certificates.active();
        let facts = active.bundle.facts();
        let seconds = |at: time::OffsetDateTime| at.unix_timestamp() as f64;
        let watched_is_bad =
            self.watched.as_ref().is_some_and(|watched| watched.state().error.is_some());
        gauge(
            encoder,
            "appliance_tls_certificate_not_before_seconds",
            "Unix time from which the served certificate is valid",
            seconds(facts.not_before()),
        )?;
        gauge(
            encoder,
            "appliance_tls_certificate_not_after_seconds",
            "Unix time at which the served certificate expires",
            seconds(facts.not_after()),
        )?;
        gauge(
            encoder,
            "appliance_tls_certificate_default",
            "1 while the default certificate of this installation serves",
            yes(active.is_default),
        )?;
        gauge(
            encoder,
            "appliance_tls_certificate_unusable",
            "1 while the installed certificate or the watched files cannot be used",
            yes(active.fallback.is_some() || watched_is_bad),
        )
    }

    fn access(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        gauge(
            encoder,
            "appliance_auth_enabled",
            "1 while a password is asked for",
            yes(self.authenticator.is_enabled()),
        )?;
        gauge(
            encoder,
            "appliance_auth_default_password",
            "1 while the admin password is the default one",
            yes(self.authenticator.has_default_password() == Some(true)),
        )?;
        gauge(
            encoder,
            "appliance_auth_throttled_addresses",
            "Addresses that are refused now for wrong passwords",
            self.authenticator.refused_addresses() as f64,
        )?;
        gauge(
            encoder,
            "appliance_auth_checks_waiting",
            "Passwords that wait to be hashed, or are being hashed",
            self.authenticator.waiting_checks() as f64,
        )?;
        gauge(
            encoder,
            "appliance_insecure_ports_enabled",
            "1 while plain ports serve, 0 while they redirect",
            yes(self.insecure_ports.are_enabled()),
        )
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let process = host_figures::own_process();
        let cpu_help = "Processor time used, user and system";
        encoder
            .encode_descriptor("process_cpu_seconds", cpu_help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&process.cpu_seconds, None)?;
        encoder
            .encode_descriptor(
                "container_cpu_usage_seconds",
                "Processor time used, by component",
                None,
                MetricType::Counter,
            )?
            .encode_family(&[("container", "portcullis")])?
            .encode_counter::<NoLabelSet, _, f64>(&process.cpu_seconds, None)?;
        let resident = process.resident_bytes as f64;
        labelled_gauge(
            encoder,
            "container_memory_rss",
            "Resident memory in bytes, by component",
            &[(("image", "portcullis"), resident)],
        )?;
        gauge(encoder, "process_resident_memory_bytes", "Resident memory", resident)?;
        gauge(encoder, "process_threads", "Threads", process.threads as f64)?;
        gauge(
            encoder,
            "process_open_fds",
            "Open file descriptors",
            process.open_descriptors as f64,
        )?;
        gauge(
            encoder,
            "process_start_time_seconds",
            "Unix time at which the process began",
            process.start_time_seconds,
        )?;
        labelled_gauge(
            encoder,
            "appliance_build_info",
            "1; the version is in the label",
            &[(("version", self.version), 1.0)],
        )
    }

    fn machine(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let memory = host_figures::memory();
        for (name, help, bytes) in [
            ("node_memory_MemTotal_bytes", "Memory of the machine", memory.total),
            ("node_memory_MemFree_bytes", "Memory that nothing uses", memory.free),
            (
                "node_memory_MemAvailable_bytes",
                "Memory that programs can have without swapping",
                memory.available,
            ),
        ] {
            gauge(encoder, name, help, bytes as f64)?;
        }
        let root = std::path::Path::new("/");
        let mut found = host_figures::file_systems(&[("data", &self.data_dir), ("root", root)]);
        found.dedup_by(|a, b| a.mountpoint == b.mountpoint);
        type Figure = fn(&host_figures::FileSystem) -> u64;
        let figures: [(&str, &str, Figure); 3] = [
            ("node_filesystem_size_bytes", "Size of the file system", |fs| fs.total),
            ("node_filesystem_free_bytes", "Free, for the system too", |fs| fs.free),
            ("node_filesystem_avail_bytes", "Free, for ordinary programs", |fs| fs.available),
        ];
        for (name, help, figure) in figures {
            let values: Vec<_> = found
                .iter()
                .map(|fs| (("mountpoint", fs.mountpoint.as_str()), figure(fs) as f64))
                .collect();
            labelled_gauge(encoder, name, help, &values)?;
        }
        Ok(())
    }
}

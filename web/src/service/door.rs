//! What a service learns from the door, and what it may use.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_actors::{
    Owners, audit::AuditEntry, auth::Authenticator, certificate::Certificates, events::EventLog,
    metrics::METRICS, settings::LiveSettings, supervisor::InsecurePorts, watch::WatchedCertificate,
};
use prometheus_client::registry::Registry;

use super::house::House;
use crate::{
    names::{PublicNames, origin::OwnPort},
    outbound::Outbound,
};

/// What is fixed for the life of the process.
#[derive(Debug)]
pub struct ApplianceFacts {
    /// The name of the appliance, for `about`.
    pub name: String,
    /// Its version, for `about`.
    pub version: &'static str,
    /// When the process started.
    pub started: Instant,
    /// The address that each listener was bound to, by its name.
    pub addresses: BTreeMap<String, SocketAddr>,
    /// The ports of all listeners, and what they speak.
    pub ports: Vec<OwnPort>,
    /// What the configuration says about names and origins outside.
    pub names: PublicNames,
    /// The files that the certificate is followed from, if any.
    pub watched_certificate: Option<WatchedCertificate>,
    /// Whether a certificate may be uploaded although files are followed.
    pub upload_beside_watch: bool,
    /// Where state, log and all that the services keep lies.
    pub data_dir: PathBuf,
    /// The text of the configuration, secrets masked.
    pub configuration: String,
    /// How long requests may go on after SIGTERM.
    pub shutdown_timeout: Duration,
    /// What sends requests to addresses that others name.
    pub outbound: Arc<Outbound>,
}

/// What the front, and the services that administer the appliance, work with.
#[derive(Clone)]
pub struct Context {
    /// What can change.
    pub owners: Owners,
    /// What cannot.
    pub appliance: Arc<ApplianceFacts>,
    /// The services.
    pub house: House,
}

/// The door as one service sees it. Cheap to clone.
///
/// ```
/// use portcullis::{Door, events::ServiceEvent, figures::Counter};
///
/// /// What a start may do with it.
/// fn look_around(door: &Door) -> std::io::Result<()> {
///     let greetings = Counter::<u64>::default();
///     door.figures(|registry| registry.register("greetings", "Greetings", greetings.clone()));
///     log::info!("{} shows {}", door.appliance_name(), door.certificate_fingerprint());
///     let path = door.folder()?.join("guests.txt");
///     door.events().publish(ServiceEvent::new("book-opened").with("service", door.name()));
///     std::fs::write(path, "")
/// }
/// ```
#[derive(Clone)]
pub struct Door {
    name: Arc<str>,
    context: Context,
}

impl Door {
    /// The door for the service `name`.
    #[doc(hidden)] // For the program that lets services in.
    #[must_use]
    pub fn new(name: &str, context: Context) -> Self {
        Self { name: name.into(), context }
    }

    /// The name of the service, as listeners list it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the appliance, as `about` has it.
    #[must_use]
    pub fn appliance_name(&self) -> &str {
        &self.appliance().name
    }

    /// The version of the appliance, as `about` has it.
    #[must_use]
    pub fn appliance_version(&self) -> &str {
        self.appliance().version
    }

    /// The address that each listener is bound to, by its name, whether it carries this service or not.
    #[must_use]
    pub fn addresses(&self) -> &BTreeMap<String, SocketAddr> {
        &self.appliance().addresses
    }

    /// The SHA-256 fingerprint of the certificate that serves now: hex in upper case, with colons.
    #[must_use]
    pub fn certificate_fingerprint(&self) -> String {
        self.certificates().active().fingerprint().to_owned()
    }

    /// Whether plain ports serve now; if not, they redirect to TLS.
    #[must_use]
    pub fn serves_plain_http(&self) -> bool {
        self.insecure_ports().are_enabled()
    }

    /// Whether the admin password is asked for now.
    #[must_use]
    pub fn asks_for_password(&self) -> bool {
        self.authenticator().is_enabled()
    }

    /// What is fixed for the life of the process.
    #[must_use]
    pub(crate) fn appliance(&self) -> &ApplianceFacts {
        &self.context.appliance
    }

    /// A folder of the data directory for this service alone, `services/<name>`; made, with mode
    /// 0700, if need be. Blocks.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder(&self) -> io::Result<PathBuf> {
        let folder = self.context.appliance.data_dir.join("services").join(&*self.name);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        let explained = |err: io::Error| {
            io::Error::new(err.kind(), format!("{} cannot be made: {err}", folder.display()))
        };
        made.map_err(explained)?;
        Ok(folder)
    }

    /// What happens: to be followed, and to be told of.
    #[must_use]
    pub fn events(&self) -> &EventLog {
        &self.context.owners.events
    }

    /// Records what the service has changed by itself. Never waits. Changes that requests ask for
    /// behind the admin password are recorded by the front, see [`note_change`](crate::front::note_change).
    pub fn record(&self, entry: AuditEntry) {
        self.context.owners.audit.record(entry);
    }

    /// The settings that hold. They may change at any time: read them when they are needed.
    #[must_use]
    pub fn settings(&self) -> &LiveSettings {
        &self.context.owners.settings
    }

    /// The certificate that serves.
    #[must_use]
    pub(crate) fn certificates(&self) -> &Certificates {
        &self.context.owners.certificates
    }

    /// Whether a password or a token is asked for, and who is refused.
    #[must_use]
    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.context.owners.authenticator
    }

    /// Whether plain ports serve or redirect.
    #[must_use]
    pub(crate) fn insecure_ports(&self) -> &InsecurePorts {
        &self.context.owners.insecure_ports
    }

    /// What sends requests to addresses that clients name.
    #[must_use]
    pub(crate) fn outbound(&self) -> &Arc<Outbound> {
        &self.context.appliance.outbound
    }

    /// Adds figures to `/metrics`. A name may be there once: a kind of which there are several services
    /// adds its figures with the first one, and tells the services apart by a label.
    pub fn figures(&self, add: impl FnOnce(&mut Registry)) {
        METRICS.extend(add);
    }

    /// For the services that administer the appliance, and nobody else.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }
}

//! A kind of service: what it reads from the configuration, and how a service of it starts.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use futures::future::LocalBoxFuture;

use super::{
    Service,
    door::Door,
    table::{ConfigError, Table},
};

/// Why a service cannot start.
pub type StartError = Box<dyn Error + Send + Sync>;

/// A kind of service, which the configuration makes services of.
///
/// There is one service of a kind, which has the kind's name and is configured in the table of that
/// name, or there are several: `[[service]]` with `kind` and `name` makes a further one, whose keys
/// stand beside these two.
///
/// ```
/// use portcullis::{Authentication, ConfigError, Endpoint, Kind, Mount, Service, Start, StartError, Tables};
///
/// struct Greeters;
///
/// impl Kind for Greeters {
///     fn name(&self) -> &'static str {
///         "greeter"
///     }
///
///     /// Reads `[greeter]`: `word = "hello"`.
///     fn configure(&self, tables: &mut Tables<'_>) -> Result<Start, ConfigError> {
///         let word = tables.own.string("word")?.map_or("hello".to_owned(), |found| found.value);
///         Ok(Start::new(|_door| async { Ok::<_, StartError>(Greeter { word }) }))
///     }
/// }
///
/// struct Greeter {
///     word: String,
/// }
///
/// impl Service for Greeter {
///     fn mounts(&self) -> Vec<Mount> {
///         let word = self.word.clone();
///         vec![Mount::new("/greeter", Authentication::Open, move |config| {
///             let word = word.clone();
///             let greet = move || std::future::ready(word.clone());
///             Endpoint::new("/hello").get(greet).register(config);
///         })]
///     }
/// }
/// ```
pub trait Kind: Send + Sync + 'static {
    /// Its name, and that of its table: lower case, not one of the appliance's own tables, and no other
    /// kind has it.
    fn name(&self) -> &'static str;

    /// Whether `[[service]]` may make services of it.
    fn several(&self) -> bool {
        false
    }

    /// Tables that it reads beside its own, perhaps together with other kinds.
    fn shared_tables(&self) -> &'static [&'static str] {
        &[]
    }

    /// The names under which `health` lists its service, where it lists it as disabled as long as no
    /// listener carries it.
    fn components(&self) -> &'static [&'static str] {
        &[]
    }

    /// The prefix of [`Service::administration`]. As long as no listener carries the service, the
    /// management API answers there that it is not served.
    fn administration_prefix(&self) -> Option<&'static str> {
        None
    }

    /// Reads and checks what the configuration says; keys that it does not take are refused. Has no
    /// other effect: it is called to check a file, too, and for services that no listener carries.
    ///
    /// # Errors
    /// What is wrong with which key.
    fn configure(&self, tables: &mut Tables<'_>) -> Result<Start, ConfigError>;
}

/// What the configuration says to a service.
pub struct Tables<'d> {
    /// Its own table.
    pub own: Table<'d>,
    shared: BTreeMap<&'static str, Table<'d>>,
}

impl<'d> Tables<'d> {
    /// `shared` are those that [`Kind::shared_tables`] names.
    #[doc(hidden)] // For the program that reads the configuration, as the next but one.
    #[must_use]
    pub fn new(own: Table<'d>, shared: BTreeMap<&'static str, Table<'d>>) -> Self {
        Self { own, shared }
    }

    /// A table of [`Kind::shared_tables`].
    ///
    /// # Panics
    /// It is not one of them.
    pub fn shared(&mut self, name: &str) -> &mut Table<'d> {
        self.shared.get_mut(name).expect("the kind names the tables that it reads")
    }

    /// Refuses keys that were not taken.
    ///
    /// # Errors
    /// There is such a key.
    #[doc(hidden)]
    pub fn finish(self) -> Result<(), ConfigError> {
        self.own.finish()?;
        self.shared.into_values().try_for_each(Table::finish)
    }
}

type Begin = dyn FnOnce(Door) -> LocalBoxFuture<'static, Result<Arc<dyn Service>, StartError>>;

/// A service that is configured and can be started.
///
/// ```
/// use portcullis::{Mount, Service, Start};
///
/// struct Guests(std::fs::File);
///
/// impl Service for Guests {
///     fn mounts(&self) -> Vec<Mount> {
///         Vec::new()
///     }
/// }
///
/// let start = Start::new(|door| async move {
///     // What blocks belongs on a thread that may.
///     let opened = actix_web::web::block(move || {
///         std::fs::File::create(door.folder()?.join("guests.txt"))
///     });
///     opened.await.map_err(std::io::Error::other)?.map(Guests)
/// });
/// # drop(start);
/// ```
pub struct Start {
    begin: Box<Begin>,
    private_ports: Vec<u16>,
}

impl Start {
    /// Starts with `begin`, which is given the door before any listener is open and may take a
    /// minute. If it fails, the appliance does not start: a service that can serve later, or can tell
    /// its clients what is wrong, starts all the same and says so in its health.
    pub fn new<S, E, F>(begin: impl FnOnce(Door) -> F + 'static) -> Self
    where
        S: Service,
        E: Into<StartError>,
        F: Future<Output = Result<S, E>> + 'static,
    {
        let begin = |door| -> LocalBoxFuture<'static, _> {
            let started = begin(door);
            Box::pin(async move {
                let service = started.await.map_err(Into::into)?;
                Ok(Arc::new(service) as Arc<dyn Service>)
            })
        };
        Self { begin: Box::new(begin), private_ports: Vec::new() }
    }

    /// A service that is made already and has nothing to start.
    pub fn made(service: Arc<impl Service>) -> Self {
        let begin = |_| -> LocalBoxFuture<'static, _> {
            Box::pin(async { Ok(service as Arc<dyn Service>) })
        };
        Self { begin: Box::new(begin), private_ports: Vec::new() }
    }

    /// Ports of this machine behind the service, which requests to addresses that clients name never
    /// reach.
    #[must_use]
    pub fn with_private_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.private_ports.extend(ports);
        self
    }

    /// See [`Self::with_private_ports`].
    #[doc(hidden)] // For the program that starts services, as the next.
    #[must_use]
    pub fn private_ports(&self) -> &[u16] {
        &self.private_ports
    }

    /// Starts the service.
    ///
    /// # Errors
    /// Those of the service.
    #[doc(hidden)]
    pub async fn begin(self, door: Door) -> Result<Arc<dyn Service>, StartError> {
        (self.begin)(door).await
    }
}

//! The services that run.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::{Service, openapi};

/// A service that some listener carries.
#[derive(Clone)]
pub struct Resident {
    /// As listeners list it.
    pub name: String,
    /// Other names under which `health` lists it.
    pub components: &'static [&'static str],
    /// What runs.
    pub service: Arc<dyn Service>,
}

/// A service that no listener carries.
#[derive(Debug, Clone)]
pub struct Absent {
    /// As listeners would list it.
    pub name: String,
    /// The names under which `health` lists it as disabled.
    pub components: &'static [&'static str],
    /// Where the management API says that it is not served.
    pub administration_prefix: Option<&'static str>,
}

/// All services that some listener carries; none before all of them have started. Cheap to clone.
#[derive(Clone, Default)]
pub struct House(Arc<OnceLock<Inside>>);

struct Inside {
    residents: Vec<Resident>,
    absent: Vec<Absent>,
    openapi: Value,
}

impl House {
    /// Lets everybody in, once.
    pub fn open(&self, title: &str, version: &str, residents: Vec<Resident>, absent: Vec<Absent>) {
        let parts = residents.iter().filter_map(|resident| resident.service.openapi());
        let openapi = openapi::document(title, version, parts);
        // Whoever is in already stays.
        let _ = self.0.set(Inside { residents, absent, openapi });
    }

    /// Those that run, by name.
    #[must_use]
    pub fn residents(&self) -> &[Resident] {
        self.0.get().map_or(&[], |inside| &inside.residents)
    }

    /// The service of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Resident> {
        self.residents().iter().find(|resident| resident.name == name)
    }

    /// The services that no listener carries.
    pub(crate) fn absent(&self) -> &[Absent] {
        self.0.get().map_or(&[], |inside| &inside.absent)
    }

    /// The API of all of them.
    pub(crate) fn openapi(&self) -> Option<&Value> {
        self.0.get().map(|inside| &inside.openapi)
    }
}

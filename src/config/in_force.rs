//! The configuration in force, for those who compare another one with it.

use std::sync::Arc;

use portcullis_web::service::{Kind, table::ConfigError};
use zeroize::Zeroizing;

use super::{
    Config, Kinds,
    plan::{Outline, Plan},
    secrets,
};

/// What is left of a configuration once its services have started. There are secrets in it, so it has no
/// `Debug`.
pub(crate) struct InForce {
    outline: Outline,
    original: Zeroizing<String>,
    kinds: Vec<Arc<dyn Kind>>,
}

impl InForce {
    /// Before anybody has taken the services out of `config`. `kinds` are those that the appliance knows.
    pub(crate) fn new(config: &Config, kinds: &Kinds) -> Self {
        let outline = Outline::of(config);
        Self { outline, original: config.original.clone(), kinds: kinds.to_vec() }
    }

    /// What would change if `text`, of a file called `file`, were the configuration. Where it has a masked secret,
    /// it means the one in force.
    ///
    /// # Errors
    /// The text is no configuration of this appliance, or nothing is behind a mask.
    pub(crate) fn plan(&self, file: &str, text: &str) -> Result<Plan, ConfigError> {
        let text = secrets::restore(file, &self.original, text)?;
        let next = Config::parse(file, &text, &self.kinds)?;
        Ok(Plan::between(&self.outline, &Outline::of(&next)))
    }
}

//! What may be set while the appliance runs.
//!
//! The configuration file says what holds at first; an administrator's choices are kept in the
//! state with the rest and win over it.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// What holds now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Settings {
    /// How long a replaced generation may live.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, example = "1day")]
    pub drain_timeout: Duration,
    /// Generations of one listener that may drain at once while they carry connections.
    pub max_draining: usize,
    /// Wrong passwords of one address that are answered at once.
    pub login_failures_free: u32,
    /// Wrong passwords of one address after which it is refused.
    pub login_failures_limit: u32,
    /// Wrong passwords of one address that are forgiven in a minute.
    pub login_failures_forgiven_per_minute: u32,
    /// What is logged at least; `None`: what `RUST_LOG` or the default says.
    pub log_level: Option<LogLevel>,
    /// Age, in minutes, at which services remove what they have finished.
    pub cleanup_interval_minutes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            drain_timeout: Duration::from_secs(24 * 3600),
            max_draining: 32,
            login_failures_free: 5,
            login_failures_limit: 20,
            login_failures_forgiven_per_minute: 30,
            log_level: None,
            cleanup_interval_minutes: 24 * 60,
        }
    }
}

/// How long and how many replaced generations may live.
#[derive(Debug, Clone, Copy)]
pub struct DrainLimits {
    /// After this time a draining generation is ended.
    pub drain_timeout: Duration,
    /// Generations of one listener that may drain at once while they carry connections; past it
    /// the oldest is ended.
    pub max_draining: usize,
}

/// How many wrong passwords of one address are borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThrottleLimits {
    /// Failures that are answered at once.
    pub(crate) free: u32,
    /// Failures after which nothing is checked any more.
    pub(crate) brim: u32,
    /// Failures that leak out in a minute.
    pub(crate) forgiven_per_minute: u32,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        Settings::default().throttle_limits()
    }
}

impl ThrottleLimits {
    /// Failures that leak out in a second.
    pub(crate) fn leak(self) -> f64 {
        f64::from(self.forgiven_per_minute) / 60.0
    }
}

/// A level of the log; each carries those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // They are what they are called.
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// An administrator's choices; what is absent is as the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_timeout_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_draining: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_failures_free: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_failures_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_failures_forgiven_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_level: Option<LogLevel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cleanup_interval_minutes: Option<u32>,
}

/// A change: what is absent stays, `null` returns to what the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsChange {
    /// As in `24h`, `30s` or `1h 30m`; 1 s to 366 days.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "24h")]
    pub drain_timeout: Option<Option<String>>,
    /// 1 to 10000.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    pub max_draining: Option<Option<usize>>,
    /// 0 to 1000, below the limit.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<u32>, maximum = 1000)]
    pub login_failures_free: Option<Option<u32>>,
    /// 1 to 1000.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub login_failures_limit: Option<Option<u32>>,
    /// 1 to 6000.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 6000)]
    pub login_failures_forgiven_per_minute: Option<Option<u32>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<LogLevel>)]
    pub log_level: Option<Option<LogLevel>>,
    /// 1 to 527040, which is 366 days.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 527040)]
    pub cleanup_interval_minutes: Option<Option<u32>>,
}

/// Why a change of the settings is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {reason}; nothing was changed")]
pub struct SettingsError {
    pub key: &'static str,
    pub reason: String,
}

const YEAR_SECONDS: u64 = 366 * 24 * 3600;

impl StoredSettings {
    /// These choices with `change` made.
    ///
    /// # Errors
    /// A value is out of its range.
    pub(crate) fn with(
        &self,
        change: &SettingsChange,
        configured: &Settings,
    ) -> Result<Self, SettingsError> {
        let mut next = self.clone();
        if let Some(text) = &change.drain_timeout {
            next.drain_timeout_seconds = text.as_deref().map(drain_seconds).transpose()?;
        }
        let whole = |key, value: &Option<u32>, range: std::ops::RangeInclusive<u32>| match value {
            Some(value) if !range.contains(value) => Err(SettingsError {
                key,
                reason: format!("is {value}; it must be {} to {}", range.start(), range.end()),
            }),
            value => Ok(*value),
        };
        if let Some(value) = change.max_draining {
            let narrow = value.map(|value| u32::try_from(value).unwrap_or(u32::MAX));
            next.max_draining = whole("max_draining", &narrow, 1..=10_000)?.and(value);
        }
        if let Some(value) = &change.login_failures_free {
            next.login_failures_free = whole("login_failures_free", value, 0..=1000)?;
        }
        if let Some(value) = &change.login_failures_limit {
            next.login_failures_limit = whole("login_failures_limit", value, 1..=1000)?;
        }
        if let Some(value) = &change.login_failures_forgiven_per_minute {
            let key = "login_failures_forgiven_per_minute";
            next.login_failures_forgiven_per_minute = whole(key, value, 1..=6000)?;
        }
        if let Some(value) = change.log_level {
            next.log_level = value;
        }
        if let Some(value) = &change.cleanup_interval_minutes {
            next.cleanup_interval_minutes = whole("cleanup_interval_minutes", value, 1..=527_040)?;
        }
        let settings = configured.with(&next);
        if settings.login_failures_free >= settings.login_failures_limit {
            return Err(SettingsError {
                key: "login_failures_free",
                reason: format!(
                    "is {}; it must be less than login_failures_limit, which is {}",
                    settings.login_failures_free, settings.login_failures_limit
                ),
            });
        }
        Ok(next)
    }
}

fn drain_seconds(text: &str) -> Result<u64, SettingsError> {
    let error = |reason| SettingsError { key: "drain_timeout", reason };
    let duration = humantime::parse_duration(text).map_err(|err| {
        error(format!("is not a duration such as \"24h\", \"30s\" or \"1h 30m\": {err}"))
    })?;
    let seconds = duration.as_secs();
    if !(1..=YEAR_SECONDS).contains(&seconds) {
        return Err(error(format!("is {text}; it must be 1s to 366days")));
    }
    Ok(seconds)
}

/// What a change has led to.
#[derive(Debug, Clone)]
pub struct SettingsChanged {
    pub settings: Arc<Settings>,
    /// What is not as before, as `max_draining: 32 -> 4`; one after another.
    pub differences: String,
}

impl Settings {
    /// What `next` has that these do not have, as `max_draining: 32 -> 4`.
    pub(crate) fn differences(&self, next: &Self) -> String {
        let object = |settings: &Self| match serde_json::to_value(settings) {
            Ok(serde_json::Value::Object(object)) => object,
            _ => serde_json::Map::new(),
        };
        let (before, after) = (object(self), object(next));
        let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
        let changed = changed.map(|(key, value)| {
            let before = before.get(key).unwrap_or(&serde_json::Value::Null);
            format!("{key}: {before} -> {value}")
        });
        changed.collect::<Vec<_>>().join(", ")
    }

    /// These, which the configuration says, with an administrator's choices.
    pub(crate) fn with(&self, stored: &StoredSettings) -> Self {
        Self {
            drain_timeout: stored
                .drain_timeout_seconds
                .map_or(self.drain_timeout, Duration::from_secs),
            max_draining: stored.max_draining.unwrap_or(self.max_draining),
            login_failures_free: stored.login_failures_free.unwrap_or(self.login_failures_free),
            login_failures_limit: stored.login_failures_limit.unwrap_or(self.login_failures_limit),
            login_failures_forgiven_per_minute: stored
                .login_failures_forgiven_per_minute
                .unwrap_or(self.login_failures_forgiven_per_minute),
            log_level: stored.log_level.or(self.log_level),
            cleanup_interval_minutes: stored
                .cleanup_interval_minutes
                .unwrap_or(self.cleanup_interval_minutes),
        }
    }

    pub(crate) fn drain_limits(&self) -> DrainLimits {
        DrainLimits { drain_timeout: self.drain_timeout, max_draining: self.max_draining }
    }

    pub(crate) fn throttle_limits(&self) -> ThrottleLimits {
        ThrottleLimits {
            free: self.login_failures_free,
            brim: self.login_failures_limit,
            forgiven_per_minute: self.login_failures_forgiven_per_minute,
        }
    }
}

/// The settings that hold, read without waiting. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveSettings(Arc<ArcSwap<Settings>>);

impl LiveSettings {
    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// What holds now.
    #[must_use]
    pub fn current(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    pub(crate) fn publish(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }
}

fn as_text<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// Tells `null` (`Some(None)`) from absence (`None`, the default).
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(json: &str) -> SettingsChange {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn absent_stays_and_null_returns_to_the_configuration() {
        let configured = Settings { max_draining: 7, ..Settings::default() };
        let set = change(r#"{"max_draining": 3, "drain_timeout": "1h 30m", "log_level": "debug"}"#);
        let stored = StoredSettings::default().with(&set, &configured).unwrap();
        let now = configured.with(&stored);
        assert_eq!((now.max_draining, now.drain_timeout.as_secs()), (3, 5400));
        let stored = stored.with(&change(r#"{"max_draining": null}"#), &configured).unwrap();
        let now = configured.with(&stored);
        assert_eq!((now.max_draining, now.drain_timeout.as_secs()), (7, 5400));
        assert_eq!(now.log_level, Some(LogLevel::Debug));
    }

    #[test]
    fn what_is_told_can_be_set_again() {
        let told = serde_json::to_string(&Settings::default()).unwrap();
        let set = change(&told);
        let stored = StoredSettings::default().with(&set, &Settings::default()).unwrap();
        assert_eq!(Settings::default().with(&stored), Settings::default());
    }

    #[test]
    fn differences_name_old_and_new_values_and_nothing_else() {
        let before = Settings::default();
        let after =
            Settings { max_draining: 4, log_level: Some(LogLevel::Debug), ..before.clone() };
        let told = before.differences(&after);
        assert_eq!(told, "log_level: null -> \"debug\", max_draining: 32 -> 4");
        assert_eq!(before.differences(&before), "");
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (json, key) in [
            (r#"{"max_draining": 0}"#, "max_draining"),
            (r#"{"drain_timeout": "soon"}"#, "drain_timeout"),
            (r#"{"drain_timeout": "2years"}"#, "drain_timeout"),
            (r#"{"login_failures_free": 20}"#, "login_failures_free"),
            (r#"{"login_failures_limit": 3}"#, "login_failures_free"),
            (r#"{"cleanup_interval_minutes": 0}"#, "cleanup_interval_minutes"),
        ] {
            let refused = StoredSettings::default().with(&change(json), &Settings::default());
            assert_eq!(refused.unwrap_err().key, key, "{json}");
        }
    }
}

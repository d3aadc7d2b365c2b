//! Where a service answers, and for whom.

use std::sync::Arc;

use actix_web::{dev::ResourceDef, web::ServiceConfig};

/// Who may use a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Anybody.
    Open,
    /// Basic authentication as `admin`, unless it was switched off.
    Admin,
    /// The same, or one of the scrapers' bearer tokens for GET and HEAD.
    Monitoring,
    /// `Authorization: Bearer` with the job token, while one is set.
    JobToken,
}

/// A path prefix and the routes below it. Making one changes nothing; its routes are asked for by each
/// worker of each generation that carries it.
///
/// ```
/// use actix_web::web::Data;
/// use portcullis::{Authentication, Endpoint, Mount};
///
/// struct Guests(Vec<String>);
///
/// let guests = Data::new(Guests(vec!["Ann".into(), "Bob".into()]));
/// let mount = Mount::new("/guests", Authentication::Admin, move |config| {
///     config.app_data(guests.clone());
///     Endpoint::new("/count").get(count).register(config);
/// });
/// assert_eq!(mount.prefix(), "/guests");
///
/// async fn count(guests: Data<Guests>) -> String {
///     guests.0.len().to_string()
/// }
/// ```
#[derive(Clone)]
pub struct Mount {
    pub(crate) prefix: String,
    pub(crate) authentication: Authentication,
    pub(crate) any_host: bool,
    pub(crate) websockets: Option<ResourceDef>,
    pub(crate) origins: Arc<[String]>,
    pub(crate) routes: Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>,
}

impl Mount {
    /// Mounts `routes` below `prefix` (`/echo`; the empty prefix is everything). Route patterns are
    /// relative to it. State that handlers share belongs in a `web::Data` that `routes` clones.
    ///
    /// # Panics
    /// The prefix is none, see [`is_prefix`].
    #[must_use]
    pub fn new(
        prefix: impl Into<String>,
        authentication: Authentication,
        routes: impl Fn(&mut ServiceConfig) + Send + Sync + 'static,
    ) -> Self {
        let prefix = prefix.into();
        assert!(is_prefix(&prefix), "`{prefix}` is not the prefix of a mount, such as `/echo`");
        Self {
            prefix,
            authentication,
            any_host: false,
            websockets: None,
            origins: Arc::default(),
            routes: Arc::new(routes),
        }
    }

    /// Answers browsers whatever name they reached the appliance by: for what tells nothing and
    /// does nothing, such as the probes of a load balancer. Everything else is refused under a
    /// name that is not the appliance's, see `host_names` below `[security]` in the configuration.
    #[must_use]
    pub fn for_any_host(mut self) -> Self {
        self.any_host = true;
        self
    }

    /// Takes WebSockets on paths of these patterns, which are relative to the prefix. On every other
    /// path the offer of an upgrade is ignored: the request is answered as if it were not there.
    #[must_use]
    pub fn with_websockets<'a>(mut self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let patterns = patterns.into_iter().map(|pattern| format!("{}{pattern}", self.prefix));
        self.websockets = Some(ResourceDef::new(patterns.collect::<Vec<_>>()));
        self
    }

    /// Lets pages of these origins (such as `https://app.example.com`, in lower case) open WebSockets
    /// here, beside those of the appliance itself.
    #[must_use]
    pub fn allowing_origins(mut self, origins: impl Into<Arc<[String]>>) -> Self {
        self.origins = origins.into();
        self
    }

    /// Its path prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// Whether a mount may have this prefix: none, or segments of letters, digits, `-`, `.`, `_` and `~`, each
/// after a slash.
#[must_use]
pub fn is_prefix(text: &str) -> bool {
    // What RFC 3986 calls unreserved: nothing that a client or the router reads in another way.
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let segment = |one: &str| !["", ".", ".."].contains(&one) && one.bytes().all(fits);
    text.is_empty() || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_means_the_same_to_everybody() {
        for good in ["", "/echo", "/v2/jobs", "/-", "/a.b/c_d~e", "/favicon.ico"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in
            ["/", "echo", "/echo/", "//x", "/a//b", "/a/../b", "/.", "/s*", "/{x}", "/%61", "/ä"]
        {
            assert!(!is_prefix(bad), "{bad}");
        }
    }
}

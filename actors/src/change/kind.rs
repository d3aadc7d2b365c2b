//! What kind of change it was: whatever tells of a change takes its words from here.

/// A kind of change. Others may know its names: they are the same for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    FirstStart,
    CertificateInstalled,
    DefaultCertificateRestored,
    /// The default certificate was out of date. The state says nothing of it.
    DefaultCertificateRenewed,
    AdminPasswordSet,
    AuthenticationOn,
    AuthenticationOff,
    PlainHttpOn,
    PlainHttpOff,
    JobTokenSet,
    JobTokenRemoved,
    SettingsChanged,
    Reset,
    RolledBack,
    StateFilesEdited,
}

/// What an event says of a change that was taken back.
pub(super) const UNDONE: &str = "undone: new listeners did not start";

impl ChangeKind {
    /// What was done, in the past tense: in the history, in events, in the log, as the reason of the
    /// generations that come of it, and in the audit record where the console or the appliance itself
    /// does it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::FirstStart => "first start",
            Self::CertificateInstalled => "certificate installed",
            Self::DefaultCertificateRestored => "default certificate restored",
            Self::DefaultCertificateRenewed => "default certificate made anew",
            Self::AdminPasswordSet => "admin password set",
            Self::AuthenticationOn => "authentication switched on",
            Self::AuthenticationOff => "authentication switched off",
            Self::PlainHttpOn => "plain HTTP switched on",
            Self::PlainHttpOff => "plain HTTP switched off",
            Self::JobTokenSet => "job token set",
            Self::JobTokenRemoved => "job token removed",
            Self::SettingsChanged => "settings changed",
            Self::Reset => "reset",
            Self::RolledBack => "rolled back to an older revision",
            Self::StateFilesEdited => "state files edited",
        }
    }

    /// Its label in metrics, in kebab case.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::FirstStart => "first-start",
            Self::CertificateInstalled => "certificate-installed",
            Self::DefaultCertificateRestored => "default-certificate-restored",
            Self::DefaultCertificateRenewed => "default-certificate-made-anew",
            Self::AdminPasswordSet => "admin-password-set",
            Self::AuthenticationOn => "authentication-switched-on",
            Self::AuthenticationOff => "authentication-switched-off",
            Self::PlainHttpOn => "plain-http-switched-on",
            Self::PlainHttpOff => "plain-http-switched-off",
            Self::JobTokenSet => "job-token-set",
            Self::JobTokenRemoved => "job-token-removed",
            Self::SettingsChanged => "settings-changed",
            Self::Reset => "reset",
            Self::RolledBack => "rolled-back-to-an-older-revision",
            Self::StateFilesEdited => "state-files-edited",
        }
    }

    /// What the audit record calls it where files that are followed bring it.
    pub(crate) fn action_of_files(self) -> &'static str {
        match self {
            Self::CertificateInstalled => "install certificate",
            Self::StateFilesEdited => "edit state files",
            other => other.text(),
        }
    }

    /// Whether it is about the certificate alone: who asks for that is given new generations even
    /// where the same certificate serves already.
    pub(super) fn is_of_certificate(self) -> bool {
        matches!(self, Self::CertificateInstalled | Self::DefaultCertificateRestored)
    }

    /// Whether it settles what serves whatever the state said before: a bundle that could not be
    /// used is forgotten then.
    pub(super) fn settles_all(self) -> bool {
        self.is_of_certificate() || self == Self::Reset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards, scripts and data directories know these.
    #[test]
    fn names_are_what_they_have_always_been() {
        use ChangeKind::*;
        let told: Vec<_> = [
            FirstStart,
            CertificateInstalled,
            DefaultCertificateRestored,
            DefaultCertificateRenewed,
            AdminPasswordSet,
            AuthenticationOn,
            AuthenticationOff,
            PlainHttpOn,
            PlainHttpOff,
            JobTokenSet,
            JobTokenRemoved,
            SettingsChanged,
            Reset,
            RolledBack,
            StateFilesEdited,
        ]
        .into_iter()
        .map(|kind| {
            assert_eq!(kind.label(), kind.text().replace(' ', "-").to_ascii_lowercase());
            kind.text()
        })
        .collect();
        assert_eq!(
            told,
            [
                "first start",
                "certificate installed",
                "default certificate restored",
                "default certificate made anew",
                "admin password set",
                "authentication switched on",
                "authentication switched off",
                "plain HTTP switched on",
                "plain HTTP switched off",
                "job token set",
                "job token removed",
                "settings changed",
                "reset",
                "rolled back to an older revision",
                "state files edited",
            ]
        );
        assert_eq!(CertificateInstalled.action_of_files(), "install certificate");
        assert_eq!(StateFilesEdited.action_of_files(), "edit state files");
    }
}

//! Tells in time that the certificate comes to its end.

use time::OffsetDateTime;

use super::ActiveCertificate;
use crate::events::{EventKind, EventLog};

/// How close the end is; each stage is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpiryStage {
    /// More than 30 days are left.
    Far,
    ThirtyDays,
    FourteenDays,
    SevenDays,
    OneDay,
    Expired,
}

impl ExpiryStage {
    /// The stage of a certificate with this end.
    #[must_use]
    pub fn of(not_after: OffsetDateTime, now: OffsetDateTime) -> Self {
        let left = not_after - now;
        if left.is_negative() {
            return Self::Expired;
        }
        match left.whole_hours() {
            0..=24 => Self::OneDay,
            25..=168 => Self::SevenDays,
            169..=336 => Self::FourteenDays,
            337..=720 => Self::ThirtyDays,
            _ => Self::Far,
        }
    }
}

/// Tells a stage that is new, in the log and as an event, and gives the stage.
pub(super) fn check(
    active: &ActiveCertificate,
    before: ExpiryStage,
    events: &EventLog,
) -> ExpiryStage {
    let facts = active.bundle.facts();
    let stage = ExpiryStage::of(facts.not_after(), OffsetDateTime::now_utc());
    if stage == before || stage == ExpiryStage::Far {
        return stage;
    }
    let (code, message) = if stage == ExpiryStage::Expired {
        let message = format!("the certificate {} expired on {}", facts.subject, facts.not_after);
        log::error!("{message}");
        ("certificate-expired", message)
    } else {
        let message = format!("the certificate {} expires on {}", facts.subject, facts.not_after);
        log::warn!("{message}");
        ("certificate-expires-soon", message)
    };
    events.publish(EventKind::CertificateWarning { code: code.to_owned(), message });
    stage
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    #[test]
    fn stages_follow_the_days_left() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let stage =
            |days, hours| ExpiryStage::of(now + Duration::days(days) + Duration::hours(hours), now);
        assert_eq!(stage(31, 0), ExpiryStage::Far);
        assert_eq!(stage(30, 0), ExpiryStage::ThirtyDays);
        assert_eq!(stage(14, 0), ExpiryStage::FourteenDays);
        assert_eq!(stage(7, 0), ExpiryStage::SevenDays);
        assert_eq!(stage(1, 0), ExpiryStage::OneDay);
        assert_eq!(stage(0, -1), ExpiryStage::Expired);
    }
}

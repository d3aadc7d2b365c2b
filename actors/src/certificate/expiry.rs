//! Tells in time that the certificate comes to its end.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::ActiveCertificate;
use crate::events::{EventKind, EventLog};

/// How close the end is; each stage is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpiryStage {
    /// It is valid, and for more than 30 days.
    Far,
    ThirtyDays,
    FourteenDays,
    SevenDays,
    OneDay,
    Expired,
    /// Its first day is still to come, or the clock is wrong.
    NotYetValid,
}

impl ExpiryStage {
    /// The stage of a certificate with this beginning and end.
    #[must_use]
    pub fn of(not_before: OffsetDateTime, not_after: OffsetDateTime, now: OffsetDateTime) -> Self {
        if now < not_before {
            return Self::NotYetValid;
        }
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

/// What is wrong with a certificate before its first day, without its name.
#[must_use]
pub fn not_yet(active: &ActiveCertificate, now: OffsetDateTime) -> String {
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let now = now.format(&Rfc3339).unwrap_or_else(|_| now.to_string());
    format!("is not valid before {}, and the clock says {now}", active.bundle.facts().not_before)
}

/// Tells a stage that is new, in the log and as an event, and gives the stage.
pub(super) fn check(
    active: &ActiveCertificate,
    before: ExpiryStage,
    events: &EventLog,
) -> ExpiryStage {
    let facts = active.bundle.facts();
    let now = OffsetDateTime::now_utc();
    let stage = ExpiryStage::of(facts.not_before(), facts.not_after(), now);
    if stage == before || stage == ExpiryStage::Far {
        return stage;
    }
    let subject = &facts.subject;
    let (code, message) = match stage {
        ExpiryStage::NotYetValid => (
            "certificate-not-yet-valid",
            format!("the certificate {subject} {}", not_yet(active, now)),
        ),
        ExpiryStage::Expired => (
            "certificate-expired",
            format!("the certificate {subject} expired on {}", facts.not_after),
        ),
        _ => (
            "certificate-expires-soon",
            format!("the certificate {subject} expires on {}", facts.not_after),
        ),
    };
    if stage >= ExpiryStage::Expired {
        log::error!("{message}");
    } else {
        log::warn!("{message}");
    }
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
        let stage = |days, hours| {
            ExpiryStage::of(now, now + Duration::days(days) + Duration::hours(hours), now)
        };
        assert_eq!(stage(31, 0), ExpiryStage::Far);
        assert_eq!(stage(30, 0), ExpiryStage::ThirtyDays);
        assert_eq!(stage(14, 0), ExpiryStage::FourteenDays);
        assert_eq!(stage(7, 0), ExpiryStage::SevenDays);
        assert_eq!(stage(1, 0), ExpiryStage::OneDay);
        assert_eq!(stage(0, -1), ExpiryStage::Expired);
        let (begin, end) = (now + Duration::SECOND, now + Duration::days(90));
        assert_eq!(ExpiryStage::of(begin, end, now), ExpiryStage::NotYetValid);
    }
}

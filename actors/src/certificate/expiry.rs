//! Tells in time that the certificate comes to its end.

use time::OffsetDateTime;

use super::ActiveCertificate;

/// How close the end is; each stage is logged once.
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

/// Logs a stage that is new, and gives the stage.
pub(super) fn check(active: &ActiveCertificate, before: ExpiryStage) -> ExpiryStage {
    let facts = active.bundle.facts();
    let stage = ExpiryStage::of(facts.not_after(), OffsetDateTime::now_utc());
    if stage != before {
        match stage {
            ExpiryStage::Far => {}
            ExpiryStage::Expired => {
                log::error!("the certificate {} expired on {}", facts.subject, facts.not_after);
            }
            ExpiryStage::OneDay
            | ExpiryStage::SevenDays
            | ExpiryStage::FourteenDays
            | ExpiryStage::ThirtyDays => {
                log::warn!("the certificate {} expires on {}", facts.subject, facts.not_after);
            }
        }
    }
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

//! What the service counts.

use portcullis_speech::measures::Measures;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Seconds of work for each second of audio.
const FACTOR_BUCKETS: [f64; 10] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0];
/// Seconds from the end of a word to its final.
const DELAY_BUCKETS: [f64; 11] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    /// The close reason of the session, such as `quota_exceeded`.
    error: &'static str,
}

/// The figures of the service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Figures {
    /// Sessions open now.
    pub(super) open: Gauge,
    errors: Family<ErrorLabels, Counter>,
    factor: Histogram,
    final_delay: Histogram,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            open: Gauge::default(),
            errors: Family::default(),
            factor: Histogram::new(FACTOR_BUCKETS),
            final_delay: Histogram::new(DELAY_BUCKETS),
        }
    }
}

impl Figures {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "appliance_realtime_sessions_open",
            "Realtime sessions open now",
            self.open.clone(),
        );
        registry.register(
            "appliance_realtime_errors",
            "Realtime sessions that ended with an error, those refused included",
            self.errors.clone(),
        );
        registry.register(
            "appliance_realtime_factor",
            "Seconds of recognition for each second of audio, by session that has ended",
            self.factor.clone(),
        );
        registry.register_with_unit(
            "appliance_realtime_final_delay",
            "Time from the end of a word to its final, of sessions that have ended",
            Unit::Seconds,
            self.final_delay.clone(),
        );
    }

    /// A session ended with `error`, its close reason.
    pub(super) fn failed(&self, error: &'static str) {
        self.errors.get_or_create(&ErrorLabels { error }).inc();
    }

    /// What a channel has cost and how late it was, once it is over.
    pub(super) fn measured(&self, measures: &Measures) {
        if let Some(factor) = measures.real_time_factor() {
            self.factor.observe(factor);
        }
        for (delay, words) in measures.delays() {
            for _ in 0..words {
                self.final_delay.observe(delay.as_secs_f64());
            }
        }
    }
}

//! What the service counts.

use std::{fmt, sync::Arc};

use portcullis_speech::{Speech, jobs::Jobs};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::{MetricType, counter::Counter, family::Family},
    registry::Registry,
};

use crate::services::shared::collected::{Encoded, labelled_gauge};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    /// What there is too much of.
    reason: &'static str,
}

/// The figures of the service. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    refused: Family<RefusedLabels, Counter>,
    clean_ups: Counter,
}

impl Figures {
    pub(super) fn register(&self, speech: Arc<Speech>, registry: &mut Registry) {
        registry.register(
            "appliance_jobs_refused",
            "Jobs that were not taken, by what there was too much of",
            self.refused.clone(),
        );
        registry.register(
            "appliance_jobs_clean_ups",
            "Looks for finished jobs to clear away",
            self.clean_ups.clone(),
        );
        registry.register_collector(Box::new(KeptJobs(speech)));
    }

    /// A job was not taken, for there is too much of `reason`.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    pub(super) fn looked_for_finished_jobs(&self) {
        self.clean_ups.inc();
    }
}

/// The jobs that are kept, counted at each scrape.
struct KeptJobs(Arc<Speech>);

impl fmt::Debug for KeptJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptJobs").finish_non_exhaustive()
    }
}

impl Collector for KeptJobs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        self.0.jobs().map_or(Ok(()), |jobs| count_jobs(jobs, &mut encoder))
    }
}

fn count_jobs(jobs: &Jobs, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    // A store that fails is told by health; figures that are missing say it as well.
    if let Ok(counts) = jobs.store().counts() {
        let values = [
            ("fetching", counts.fetching),
            ("waiting", counts.queued),
            ("running", counts.running),
            ("done", counts.done),
            ("rejected", counts.rejected),
        ];
        labelled_gauge(
            encoder,
            "appliance_jobs",
            "Batch jobs that are kept, by status; waiting is the length of the queue",
            &values.map(|(status, count)| (("status", status), count as f64)),
        )?;
    }
    let done = jobs.work_done();
    for (name, help, duration) in [
        (
            "appliance_jobs_audio_seconds",
            "Audio that was transcribed, of the jobs that are done",
            done.audio,
        ),
        (
            "appliance_jobs_decode_seconds",
            "Time that the work on it took; the audio over this is the real-time speed of one job",
            done.work,
        ),
    ] {
        encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&duration.as_secs_f64(), None)?;
    }
    Ok(())
}

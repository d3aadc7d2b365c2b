//! Figures that are made at each scrape.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};

pub(crate) type Encoded = Result<(), fmt::Error>;

pub(crate) fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> Encoded {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

pub(crate) fn labelled_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[((&str, &str), f64)],
) -> Encoded {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (label, value) in values {
        metric.encode_family(&[*label])?.encode_gauge(value)?;
    }
    Ok(())
}

pub(crate) fn yes(value: bool) -> f64 {
    f64::from(u8::from(value))
}

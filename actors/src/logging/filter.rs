//! Which lines are logged at all.

use env_logger::Logger as Filter;
use log::{Level, LevelFilter, Metadata};

/// What is logged where neither `RUST_LOG` nor an administrator says otherwise.
const DEFAULT: &str = "info,actix_server=warn";

/// The modules that may speak below info. Others print what passes through them there: headers,
/// addresses, bodies, and with them credentials.
const MAY_SPEAK: [&str; 6] = [
    "portcullis",
    "portcullis_actors",
    "portcullis_web",
    "portcullis_speech",
    // They tell of threads and sockets, by numbers alone.
    "actix_server",
    "mio",
];

/// These tell of each damaged byte of what anybody has sent; what came of it is told by the job.
const TALKERS: &str = "symphonia";

/// These print a line at `error` or `warn` for each malformed request or flood of resets, without
/// its sender. Whoever has accepted the connection tells of it now and then.
const ONE_FOR_EACH_REQUEST: [&str; 3] =
    ["actix_http::h1::decoder", "actix_http::h1::dispatcher", "h2::proto::streams::recv"];

fn module(target: &str) -> &str {
    target.split("::").next().unwrap_or_default()
}

/// Whether a line of this target is ours. `program` is the module of the program, which may have
/// services of its own.
pub(super) fn is_ours(target: &str, program: &str) -> bool {
    let module = module(target);
    module.starts_with("portcullis") || module == program
}

/// Whether a line may be logged, whatever level is set.
pub(super) fn may_speak(metadata: &Metadata<'_>, program: &str) -> bool {
    let (target, module) = (metadata.target(), module(metadata.target()));
    let is_harmless =
        metadata.level() <= Level::Info || MAY_SPEAK.contains(&module) || module == program;
    is_harmless && !module.starts_with(TALKERS) && !ONE_FOR_EACH_REQUEST.contains(&target)
}

/// The filter that `RUST_LOG` asks for, or the default one, and what is to be told about it.
/// Directives that cannot be read are passed over.
pub(super) fn from_environment(text: Option<&str>, program: &str) -> (Filter, Vec<String>) {
    let text = text.filter(|text| !text.trim().is_empty()).unwrap_or(DEFAULT);
    let mut told = Vec::new();
    let (directives, pattern) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let mut kept = Vec::new();
    for directive in directives.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match env_filter::Builder::new().try_parse(directive) {
            Ok(_) => kept.push(directive),
            Err(err) => told.push(format!("RUST_LOG: {err}; this part of it is passed over")),
        }
        let (name, level) = directive.split_once('=').unwrap_or((directive, "trace"));
        let is_below_info = level.parse::<LevelFilter>().is_ok_and(|level| level > Level::Info);
        // A level alone is for all that may speak.
        let is_a_module = name.parse::<LevelFilter>().is_err();
        let own = module(name.trim());
        if is_a_module && is_below_info && !MAY_SPEAK.contains(&own) && own != program {
            told.push(format!(
                "RUST_LOG: {own} stays at info, because below it it could print credentials"
            ));
        }
    }
    let mut whole = kept.join(",");
    if let Some(pattern) = pattern {
        whole = format!("{whole}/{pattern}");
    }
    let mut builder = env_logger::Builder::new();
    // What env_logger cannot read it would print itself, and wait for standard error.
    match env_filter::Builder::new().try_parse(&whole) {
        Ok(_) if !kept.is_empty() => builder.parse_filters(&whole),
        Ok(_) => builder.filter_level(LevelFilter::Info),
        Err(err) => {
            told.push(format!("RUST_LOG: {err}; all of it is passed over"));
            builder.filter_level(LevelFilter::Info)
        }
    };
    (builder.build(), told)
}

/// Everything from `level` on.
pub(super) fn from_level(level: LevelFilter) -> Filter {
    env_logger::Builder::new().filter_level(level).build()
}

#[cfg(test)]
mod tests {
    use log::Log as _;

    use super::*;

    fn metadata(target: &str, level: Level) -> Metadata<'_> {
        Metadata::builder().target(target).level(level).build()
    }

    #[test]
    fn modules_that_are_not_listed_stay_at_info() {
        for target in [
            "h2",
            "actix_http::h1::service",
            "rustls::x",
            "ureq",
            "ureq_proto::client",
            "tungstenite::handshake",
            "hyper_util",
            "somebody_new",
            "tracing::span",
            "portcullis2",
        ] {
            assert!(!may_speak(&metadata(target, Level::Trace), "greeter"), "{target}");
            assert!(!may_speak(&metadata(target, Level::Debug), "greeter"), "{target}");
            assert!(may_speak(&metadata(target, Level::Info), "greeter"), "{target}");
        }
        for target in ["portcullis::access", "portcullis_web::front", "greeter::hello", "mio"] {
            assert!(may_speak(&metadata(target, Level::Trace), "greeter"), "{target}");
        }
        assert!(!may_speak(&metadata("symphonia_bundle_mp3", Level::Error), ""));
        assert!(!may_speak(&metadata("actix_http::h1::dispatcher", Level::Error), ""));
        assert!(!may_speak(&metadata("h2::proto::streams::recv", Level::Warn), ""));
    }

    #[test]
    fn what_rust_log_asks_for_in_vain_is_told_once_for_each_part() {
        let (filter, told) = from_environment(
            Some("info,portcullis::access=debug,hyper=trace,rustls=warn,h2,x=loud"),
            "greeter",
        );
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("hyper stays at info"), "{told:?}");
        assert!(told[1].contains("h2 stays at info"), "{told:?}");
        assert!(told[2].contains("loud"), "{told:?}");
        assert!(filter.enabled(&metadata("portcullis::access", Level::Debug)));
        assert!(!filter.enabled(&metadata("portcullis_web", Level::Debug)));
        assert!(!filter.enabled(&metadata("rustls", Level::Info)));
    }

    #[test]
    fn a_rust_log_that_says_nothing_is_the_default() {
        for text in [None, Some(""), Some("  ")] {
            let (filter, told) = from_environment(text, "");
            assert!(told.is_empty(), "{told:?}");
            assert!(filter.enabled(&metadata("portcullis", Level::Info)));
            assert!(!filter.enabled(&metadata("portcullis", Level::Debug)));
            assert!(!filter.enabled(&metadata("actix_server", Level::Info)));
        }
        let (filter, told) = from_environment(Some("=loud=,"), "");
        assert!(!told.is_empty());
        assert!(filter.enabled(&metadata("portcullis", Level::Info)), "never silent by mistake");
    }
}

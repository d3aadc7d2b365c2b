//! How far back to look: durations as Go writes them.

use std::time::Duration;

/// Reads `8h5m3s`, `3h30m`, `1.5h`, `300s` or a number of seconds; `None` where it is neither.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[end..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_read() {
        for (text, seconds) in [
            ("8h5m3s", 8.0 * 3600.0 + 303.0),
            ("8h", 8.0 * 3600.0),
            ("3h30m", 3.5 * 3600.0),
            ("300s", 300.0),
            ("300", 300.0),
            ("1.5h", 5400.0),
            ("250ms", 0.25),
            ("0", 0.0),
        ] {
            assert_eq!(parse(text), Duration::try_from_secs_f64(seconds).ok(), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["", "h", "1", "1d", "-1h", "1h-", "1 h", "1..5h", "soon", "99999999999999999999"]
        {
            assert_eq!(parse(text).is_some(), text == "1", "{text}");
        }
    }
}

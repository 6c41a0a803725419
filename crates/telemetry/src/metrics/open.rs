//! OpenMetrics 1.0 text, which the `prometheus` crate does not write.
//!
//! It differs from the text 0.0.4: a counter's family has no `_total`, its sample has; numbers of `le` are canonical floats
//! (`1.0`); the exposition ends with `# EOF`, so that a cut-off one is seen. No `_created` lines.

use std::fmt::Write as _;

use prometheus::proto;

/// The `Content-Type` of this form.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The `Content-Type` of the older form.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether an `Accept` header asks for OpenMetrics rather than for plain text: its best offer of ours counts, and OpenMetrics
/// wins a tie that names it. Without the header, or with `*/*` only: the older form.
pub fn wants_openmetrics(accept: &str) -> bool {
    let (mut open, mut text) = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or("").to_ascii_lowercase();
        let (mut weight, mut ours) = (1_000, true);
        for part in parts {
            match part.split_once('=').map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))) {
                Some(("q" | "Q", value)) => weight = thousandths(value),
                Some(("version", value)) => ours = matches!(value, "1.0.0" | "0.0.4"),
                _ => {}
            }
        }
        match media.as_str() {
            "application/openmetrics-text" if ours => open = weight.max(open),
            "text/plain" if ours => text = weight.max(text),
            _ => {}
        }
    }
    open > 0 && open >= text
}

/// `0.75` as 750; what is no weight counts as 0.
fn thousandths(text: &str) -> u32 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = rest.bytes().chain(*b"000").take(3);
    let fraction = digits.map(|b| u32::from(b.wrapping_sub(b'0')));
    if !rest.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "1" => 1_000,
        "0" | "" => fraction.fold(0, |sum, digit| sum * 10 + digit),
        _ => 0,
    }
}

/// Everything that was gathered, in this form.
pub(super) fn encode(families: &[proto::MetricFamily]) -> String {
    let mut out = String::new();
    for family in families {
        let counter = family.get_field_type() == proto::MetricType::COUNTER;
        let histogram = family.get_field_type() == proto::MetricType::HISTOGRAM;
        let name = family.name();
        let base = name.strip_suffix("_total").filter(|_| counter).unwrap_or(name);
        let kind = if counter {
            "counter"
        } else if histogram {
            "histogram"
        } else {
            "gauge"
        };
        let _ = writeln!(out, "# TYPE {base} {kind}");
        if let Some(unit) = ["seconds", "bytes", "ratio"].iter().find(|u| base.ends_with(&format!("_{u}"))) {
            let _ = writeln!(out, "# UNIT {base} {unit}");
        }
        let _ = writeln!(out, "# HELP {base} {}", escaped(family.help()));
        for metric in family.get_metric() {
            let labels: Vec<(&str, &str)> =
                metric.get_label().iter().map(|l| (l.name(), l.value())).collect();
            if counter {
                line(&mut out, &format!("{base}_total"), &labels, None, metric.get_counter().get_value());
            } else if histogram {
                let h = metric.get_histogram();
                for bucket in h.get_bucket() {
                    let le = Some(canonical(bucket.upper_bound()));
                    let seen = bucket.cumulative_count() as f64;
                    line(&mut out, &format!("{base}_bucket"), &labels, le, seen);
                }
                let count = h.get_sample_count() as f64;
                line(&mut out, &format!("{base}_bucket"), &labels, Some("+Inf".into()), count);
                line(&mut out, &format!("{base}_sum"), &labels, None, h.get_sample_sum());
                line(&mut out, &format!("{base}_count"), &labels, None, count);
            } else {
                line(&mut out, base, &labels, None, metric.get_gauge().get_value());
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], le: Option<String>, value: f64) {
    out.push_str(name);
    let all = labels.iter().map(|(n, v)| (*n, escaped(v))).chain(le.map(|le| ("le", le)));
    let pairs: Vec<String> = all.map(|(n, v)| format!("{n}=\"{v}\"")).collect();
    if !pairs.is_empty() {
        let _ = write!(out, "{{{}}}", pairs.join(","));
    }
    let _ = writeln!(out, " {value}");
}

/// The bound of a bucket as OpenMetrics wants it: `1.0`, `0.005`, `+Inf`.
fn canonical(bound: f64) -> String {
    if bound == f64::INFINITY { "+Inf".to_owned() } else { format!("{bound:?}") }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_decides() {
        for (accept, open) in [
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", true),
            ("application/openmetrics-text; version=\"1.0.0\"", true),
            ("application/openmetrics-text;version=0.0.1", false),
            ("Application/OpenMetrics-Text;q=0.0", false),
            ("text/plain;q=0.9,application/openmetrics-text;q=0.8", false),
            // What Prometheus 2 and 3 send.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
            ("text/plain;version=0.0.4;q=0.6,*/*;q=0.5", false),
            ("application/openmetrics-text;q=abc,;;;=,", false),
        ] {
            assert_eq!(wants_openmetrics(accept), open, "{accept}");
        }
        assert_eq!(
            ["1", "1.000", "0.75", "0.7", "0", "0.", "2", "-1", "0.x"].map(thousandths),
            [1000, 1000, 750, 700, 0, 0, 0, 0, 0]
        );
    }
}

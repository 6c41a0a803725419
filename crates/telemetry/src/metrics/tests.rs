//! The catalogue's promises: zero at the start, sums over threads, caps, the text format.

use std::time::Duration;

use warp_model::Mono;

use super::*;
use crate::label_enum;

label_enum! {
    /// Seen from WARP.
    enum Direction = "direction" { Ingress = "ingress", Egress = "egress" }
}
label_enum! {
    /// Test label.
    enum Method = "method" { Invite = "INVITE", Bye = "BYE", Other = "other" }
}

#[test]
fn every_series_exists_at_zero() {
    let r = Registry::new();
    let _c: Counters<(Method, Direction)> = r.counters("warp_t_requests_total", "Requests.");
    let _h: Histograms<Direction> = r.histograms("warp_t_seconds", "Time.", &[0.1, 1.0]);
    let text = r.render();
    for m in ["INVITE", "BYE", "other"] {
        for d in ["ingress", "egress"] {
            let line = format!("warp_t_requests_total{{method=\"{m}\",direction=\"{d}\"}} 0");
            assert!(text.contains(&line), "{line} missing in\n{text}");
        }
    }
    assert!(text.contains("# TYPE warp_t_seconds histogram"));
    assert!(text.contains("warp_t_seconds_bucket{direction=\"egress\",le=\"+Inf\"} 0"));
    assert!(text.contains("# HELP warp_t_requests_total Requests."));
}

label_enum! {
    /// As many values as a real one.
    enum Status = "status" {
        A = "100", B = "180", C = "200", D = "302", E = "400", F = "403", G = "404", H = "408", I = "480",
    }
}

/// What cannot occur has no series; what is rare is there once it was counted, and stays.
#[test]
fn a_large_family_shows_what_was_counted() {
    let r = Registry::new();
    let c: Counters<(Status, Direction)> = r.counters("warp_t_answers_total", "Answers.");
    let h: Histograms<Method> = r.histograms("warp_t_took_seconds", "Time.", &[0.1]);
    assert!(
        !r.render().contains("warp_t_answers_total{") && !r.render().contains("warp_t_took_seconds_count")
    );
    c.inc((Status::C, Direction::Egress));
    h.observe(Method::Bye, Duration::from_millis(1));
    let text = r.render();
    assert!(text.contains("warp_t_answers_total{status=\"200\",direction=\"egress\"} 1"), "{text}");
    assert_eq!(text.matches("warp_t_answers_total{").count(), 1);
    assert!(text.contains("warp_t_took_seconds_count{method=\"BYE\"} 1"), "{text}");
    assert_eq!(text.matches("warp_t_took_seconds_count").count(), 1);
    // The catalogue knows it all the same.
    assert!(
        r.catalogue().iter().any(|e| e.name == "warp_t_answers_total" && e.labels == ["status", "direction"])
    );
}

#[test]
fn threads_add_up() {
    let r = Registry::new();
    let c: Counters<Direction> = r.counters("warp_t_total", "T.");
    let g = r.gauge("warp_t_open", "T.");
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let (c, g) = (c.clone(), g.clone());
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    c.inc(Direction::Egress);
                    g.inc(());
                }
                for _ in 0..999 {
                    g.dec(());
                }
            })
        })
        .collect();
    for t in threads {
        t.join().unwrap();
    }
    assert_eq!(c.value(Direction::Egress), 20_000);
    assert_eq!(c.value(Direction::Ingress), 0);
    assert_eq!(g.value(()), 20);
    g.set((), -3);
    assert!(r.render().contains("warp_t_open -3"));
}

#[test]
fn histogram_buckets_are_cumulative() {
    let r = Registry::new();
    let h = r.histogram("warp_t_pdd_seconds", "PDD.", &[0.1, 0.25, 1.0]);
    for ms in [100, 101, 900, 5_000] {
        h.observe((), Duration::from_millis(ms));
    }
    assert_eq!(h.count(()), 4);
    let text = r.render();
    for line in [
        "warp_t_pdd_seconds_bucket{le=\"0.1\"} 1",
        "warp_t_pdd_seconds_bucket{le=\"0.25\"} 2",
        "warp_t_pdd_seconds_bucket{le=\"1\"} 3",
        "warp_t_pdd_seconds_bucket{le=\"+Inf\"} 4",
        "warp_t_pdd_seconds_sum 6.101",
        "warp_t_pdd_seconds_count 4",
    ] {
        assert!(text.contains(line), "{line} missing in\n{text}");
    }
}

#[test]
fn names_beyond_the_cap_fold_into_other() {
    let r = Registry::new();
    let by_trunk: Keyed<Counters<Direction>> = r.keyed("warp_t_calls_total", "Calls.", "trunk", 2, ());
    for name in ["trk_a", "trk_b", "trk_c", "trk_d", "trk_a"] {
        by_trunk.of(name).inc(Direction::Ingress);
    }
    let text = r.render();
    assert!(text.contains("warp_t_calls_total{trunk=\"trk_a\",direction=\"ingress\"} 2"));
    assert!(text.contains("warp_t_calls_total{trunk=\"_other\",direction=\"ingress\"} 2"));
    assert!(text.contains("warp_metrics_label_overflow_total{label=\"trunk\"} 2"));
    let later = |s: u64| Mono(s * 1_000_000_000);
    by_trunk.retire(|n| n == "trk_a", later(1));
    assert!(r.render().contains("trk_b"));
    by_trunk.retire(|n| n == "trk_a", later(902));
    let text = r.render();
    assert!(!text.contains("trk_b") && text.contains("trk_a"));
}

#[test]
fn two_parts_that_count_the_same_thing_add_up() {
    let r = Registry::new();
    let a = r.counter("warp_t_twice_total", "A.");
    let b = r.counter("warp_t_twice_total", "A.");
    a.inc(());
    b.add((), 5);
    assert!(r.render().contains("warp_t_twice_total 6"));
    assert_eq!(r.catalogue().iter().filter(|e| e.name == "warp_t_twice_total").count(), 1);
    // Another type under a known name is not shown and harms nothing.
    let g = r.gauge("warp_t_twice_total", "A.");
    g.set((), 99);
    assert!(r.render().contains("warp_t_twice_total 6"));
}

/// Family, its type, and its samples with their values, read strictly: metadata before samples, one family at a time, no sample
/// of another name, label values escaped.
type Families = Vec<(String, String, Vec<(String, f64)>)>;

fn parsed(text: &str, open: bool) -> Families {
    let mut out: Families = Vec::new();
    let mut lines: Vec<&str> = text.lines().collect();
    assert!(text.ends_with('\n'));
    if open {
        assert_eq!(lines.pop(), Some("# EOF"), "an exposition that is whole says so");
    }
    for line in lines {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (word, name, rest) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or(""));
            if out.last().is_none_or(|f| f.0 != name) {
                assert!(out.iter().all(|f| f.0 != name), "{name} comes twice");
                out.push((name.to_owned(), String::new(), Vec::new()));
            }
            let family = out.last_mut().unwrap();
            assert!(family.2.is_empty(), "metadata after samples: {line}");
            match word {
                "TYPE" => family.1 = rest.to_owned(),
                "UNIT" => assert!(open && name.ends_with(&format!("_{rest}")), "{line}"),
                "HELP" => assert!(!rest.is_empty(), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let family = out.last_mut().unwrap();
        let suffixes: &[&str] = match (family.1.as_str(), open) {
            ("counter", true) => &["_total"],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            ("counter", false) | ("gauge", _) => &[""],
            (kind, _) => panic!("{name} is of type {kind:?}"),
        };
        assert!(suffixes.iter().any(|s| *name == format!("{}{s}", family.0)), "{line} in {}", family.0);
        let value = match value {
            "+Inf" => f64::INFINITY,
            value => value.parse().unwrap_or_else(|_| panic!("{line}")),
        };
        family.2.push((series.to_owned(), value));
    }
    out
}

#[test]
fn both_forms_say_the_same_each_by_its_own_rules() {
    let r = Registry::new();
    let c: Counters<Direction> = r.counters("warp_t_calls_total", "Calls, \"quoted\" and \\ back.");
    let h: Histograms<Direction> = r.histograms("warp_t_seconds", "Time.", &[0.005, 1.0, 10.0]);
    let keyed: Keyed<Counter> = r.keyed("warp_t_by_name_total", "Names.", "name", 5, ());
    r.float_gauge("warp_t_used_ratio", "Part.").set(0.25);
    c.add(Direction::Egress, 1_234_567_890_123);
    h.observe(Direction::Ingress, Duration::from_millis(700));
    keyed.of("odd \"name\"\\\nwith a line").inc(());
    let (open, text) = (r.render_openmetrics(), r.render());
    let (open_families, text_families) = (parsed(&open, true), parsed(&text, false));
    assert_eq!(open_families.len(), text_families.len());
    let canonical =
        |series: &str| series.replace("le=\"1\"", "le=\"1.0\"").replace("le=\"10\"", "le=\"10.0\"");
    for ((name, kind, samples), (older, older_kind, older_samples)) in
        open_families.iter().zip(&text_families)
    {
        let total = if kind == "counter" { "_total" } else { "" };
        assert_eq!((format!("{name}{total}"), kind), (older.clone(), older_kind));
        // The figures about the scrape itself differ from scrape to scrape.
        if !name.starts_with("warp_metrics_s") {
            let older: Vec<(String, f64)> = older_samples.iter().map(|(s, v)| (canonical(s), *v)).collect();
            assert_eq!(samples, &older, "{name}");
        }
    }
    assert!(open.contains("warp_t_calls_total{direction=\"egress\"} 1234567890123\n"), "{open}");
    assert!(open.contains("warp_t_seconds_bucket{direction=\"ingress\",le=\"1.0\"} 1\n"), "{open}");
    assert!(open.contains("# UNIT warp_t_used_ratio ratio\n"), "{open}");
}

//! `statistics` on the wire: the keys, their order and their types are those of version 10.5, numbers with a fraction and
//! the uptime are strings.

use crate::statistics::{CommandKind, Interface, Interval, Proxy, RelayStatistics, Sums};
use crate::write::Writer;

/// Commands of the original: its name in `intervalstatistics`, its short name, and ours where we have it.
const COMMANDS: [(&str, &str, Option<CommandKind>); 24] = [
    ("ping", "ping", Some(CommandKind::Ping)),
    ("offer", "offer", Some(CommandKind::Offer)),
    ("answer", "answer", Some(CommandKind::Answer)),
    ("delete", "delete", Some(CommandKind::Delete)),
    ("query", "query", Some(CommandKind::Query)),
    ("list", "list", Some(CommandKind::List)),
    ("start recording", "startrec", Some(CommandKind::StartRecording)),
    ("stop recording", "stoprec", Some(CommandKind::StopRecording)),
    ("start forwarding", "startfwd", None),
    ("stop forwarding", "stopfwd", None),
    ("block DTMF", "blkdtmf", Some(CommandKind::BlockDtmf)),
    ("unblock DTMF", "unblkdtmf", Some(CommandKind::UnblockDtmf)),
    ("block media", "blkmedia", Some(CommandKind::BlockMedia)),
    ("unblock media", "unblkmedia", Some(CommandKind::UnblockMedia)),
    ("play media", "playmedia", Some(CommandKind::PlayMedia)),
    ("stop media", "stopmedia", Some(CommandKind::StopMedia)),
    ("play DTMF", "playdtmf", Some(CommandKind::PlayDtmf)),
    ("statistics", "stats", Some(CommandKind::Statistics)),
    ("silence media", "slnmedia", Some(CommandKind::SilenceMedia)),
    ("unsilence media", "unslnmedia", Some(CommandKind::UnsilenceMedia)),
    ("publish", "pub", None),
    ("subscribe request", "subreq", None),
    ("subscribe answer", "subans", None),
    ("unsubscribe", "unsub", None),
];

/// The value at a command's place; zero for commands that we do not have.
fn of<T: Copy + Default>(values: &[T; CommandKind::COUNT], kind: Option<CommandKind>) -> T {
    kind.and_then(|k| values.get(k.index()).copied()).unwrap_or_default()
}

/// `units` of which `per` make a whole, with six decimals.
fn decimal(units: u128, per: u128) -> String {
    let whole = units.checked_div(per).unwrap_or(0);
    let rest = units.checked_rem(per).unwrap_or(0);
    let rest = rest.saturating_mul(1_000_000).checked_div(per).unwrap_or(0);
    format!("{whole}.{rest:06}")
}

fn seconds(us: u64) -> String {
    decimal(u128::from(us), 1_000_000)
}

const US: u128 = 1_000_000;

/// Appends the value of `statistics`.
pub(super) fn write_statistics(w: &mut Writer<'_>, s: &RelayStatistics) {
    w.key("statistics");
    w.open_dict();
    write_current(w, s);
    write_totals(w, s);
    write_interval(w, &s.interval);
    write_mos(w, &s.mos);
    write_control(w, s);
    w.key("interfaces");
    w.open_list();
    for interface in &s.interfaces {
        write_interface(w, interface);
    }
    w.close_list();
    w.key("transcoders");
    w.open_list();
    w.close_list();
    w.close_dict();
}

fn write_current(w: &mut Writer<'_>, s: &RelayStatistics) {
    let c = &s.current;
    let rates = [("packetrate", c.packets_per_s), ("byterate", c.bytes_per_s), ("errorrate", c.errors_per_s)];
    w.key("currentstatistics");
    w.open_dict();
    w.pair_count("sessionsown", c.sessions);
    w.pair_count("sessionsforeign", 0);
    w.pair_count("sessionstotal", c.sessions);
    w.pair_count("transcodedmedia", 0);
    for (name, rate) in rates {
        w.pair_count(&format!("{name}_user"), rate);
    }
    for (name, _) in rates {
        w.pair_count(&format!("{name}_kernel"), 0);
    }
    for (name, rate) in rates {
        w.pair_count(name, rate);
    }
    w.pair_count("media_userspace", c.media);
    w.pair_count("media_kernel", 0);
    w.pair_count("media_mixed", 0);
    w.close_dict();
}

fn write_totals(w: &mut Writer<'_>, s: &RelayStatistics) {
    let t = &s.totals;
    let relayed = [("packets", t.packets), ("packeterrors", t.errors), ("bytes", t.bytes)];
    w.key("totalstatistics");
    w.open_dict();
    w.pair_text("uptime", t.uptime_s.to_string());
    w.pair_count("managedsessions", t.managed);
    w.pair_count("rejectedsessions", t.rejected);
    w.pair_count("timeoutsessions", t.timeout);
    w.pair_count("silenttimeoutsessions", t.silent_timeout);
    w.pair_count("finaltimeoutsessions", 0);
    w.pair_count("offertimeoutsessions", t.offer_timeout);
    w.pair_count("regularterminatedsessions", t.terminated);
    w.pair_count("forcedterminatedsessions", 0);
    for (name, count) in relayed {
        w.pair_count(&format!("relayed{name}_user"), count);
    }
    for (name, _) in relayed {
        w.pair_count(&format!("relayed{name}_kernel"), 0);
    }
    for (name, count) in relayed {
        w.pair_count(&format!("relayed{name}"), count);
    }
    w.pair_count("zerowaystreams", t.zero_way);
    w.pair_count("onewaystreams", t.one_way);
    w.pair_text("avgcallduration", decimal(t.durations.mean(), US));
    w.pair_text("totalcallsduration", decimal(t.durations.sum, US));
    w.pair_text("totalcallsduration2", decimal(t.durations.squares, US.saturating_mul(US)));
    w.pair_text("totalcallsduration_stddev", decimal(t.durations.deviation(), US));
    w.close_dict();
}

fn write_interval(w: &mut Writer<'_>, i: &Interval) {
    w.key("intervalstatistics");
    w.open_dict();
    w.pair_text("totalcallsduration", seconds(i.durations_us));
    w.pair_count("minmanagedsessions", i.sessions.0);
    w.pair_count("maxmanagedsessions", i.sessions.1);
    for (name, _, kind) in COMMANDS {
        let (min, max, avg) = of(&i.commands, kind).delay_us;
        for (what, us) in [("min", min), ("max", max), ("avg", avg)] {
            w.pair_text(&format!("{what}{name}delay"), seconds(us));
        }
    }
    for (name, _, kind) in COMMANDS {
        let (min, max, avg) = of(&i.commands, kind).per_s;
        for (what, rate) in [("min", min), ("max", max), ("avg", avg)] {
            w.pair_text(&format!("{what}{name}requestrate"), rate.to_string());
        }
    }
    w.close_dict();
}

fn write_mos(w: &mut Writer<'_>, m: &Sums) {
    w.key("mos");
    w.open_dict();
    w.pair_text("mos_total", decimal(m.sum, 100));
    w.pair_text("mos2_total", decimal(m.squares, 10_000));
    w.pair_count("mos_samples_total", m.count);
    w.pair_text("mos_average", decimal(m.sum, u128::from(m.count).saturating_mul(100)));
    w.pair_text("mos_stddev", decimal(m.deviation(), 100));
    w.close_dict();
}

fn write_control(w: &mut Writer<'_>, s: &RelayStatistics) {
    w.key("controlstatistics");
    w.open_dict();
    w.key("proxies");
    w.open_list();
    for proxy in &s.proxies {
        write_proxy(w, proxy);
    }
    w.close_list();
    for (_, short, kind) in COMMANDS {
        w.pair_count(&format!("total{short}count"), of(&s.commands, kind));
    }
    w.close_dict();
}

fn write_proxy(w: &mut Writer<'_>, p: &Proxy) {
    w.open_dict();
    w.pair_text("proxy", p.address.to_string());
    for (_, short, kind) in COMMANDS {
        w.pair_count(&format!("{short}count"), of(&p.counts, kind));
        w.pair_text(&format!("{short}duration"), seconds(of(&p.durations_us, kind)));
    }
    w.pair_count("errorcount", p.errors);
    w.close_dict();
}

fn write_interface(w: &mut Writer<'_>, i: &Interface) {
    w.open_dict();
    w.pair_text("name", &i.name);
    w.pair_text("address", i.address.to_string());
    w.key("ports");
    w.open_dict();
    w.pair_int("min", i64::from(i.ports.0));
    w.pair_int("max", i64::from(i.ports.1));
    w.pair_count("used", i.used);
    let hundredths = i.used.saturating_mul(10_000).checked_div(i.total).unwrap_or(0);
    w.pair_text("used_pct", format!("{}.{:02}", hundredths / 100, hundredths % 100));
    w.pair_count("free", i.total.saturating_sub(i.used));
    w.pair_count("totals", i.total);
    w.pair_int("last", i64::from(i.last));
    w.close_dict();
    w.close_dict();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_six_places_and_do_not_round_up() {
        assert_eq!(decimal(0, US), "0.000000");
        assert_eq!(decimal(1_234_567, US), "1.234567");
        assert_eq!(decimal(435, 100), "4.350000");
        assert_eq!(decimal(2, 3), "0.666666");
        assert_eq!(decimal(7, 0), "0.000000");
    }

    /// 20 clients and 128 interfaces are what our relay tells of at most.
    #[test]
    fn t_ng_04_the_largest_reply_is_one_datagram() {
        let address = std::net::IpAddr::from([0xFFFF; 8]);
        let mut proxy = Proxy::new(address);
        proxy.counts = [1 << 40; CommandKind::COUNT];
        proxy.durations_us = [1 << 50; CommandKind::COUNT];
        let interface = Interface {
            name: "x".repeat(40),
            address,
            ports: (30_000, 65_535),
            used: 64_000,
            total: 64_000,
            last: 65_534,
        };
        let all = RelayStatistics {
            proxies: vec![proxy; 20],
            interfaces: vec![interface; 128],
            commands: [u64::MAX; CommandKind::COUNT],
            ..RelayStatistics::default()
        };
        for encoding in [crate::Encoding::Bencode, crate::Encoding::Json] {
            let mut out = Vec::new();
            let reply = crate::Reply::Statistics(Box::new(all.clone()));
            crate::codec::encode_reply(&[b'c'; 256], encoding, true, &reply, &mut out);
            assert!(out.len() < 65_507, "{encoding:?}: {}", out.len());
        }
    }

    #[test]
    fn deviation_of_known_values() {
        let mut s = Sums::default();
        assert_eq!((s.mean(), s.deviation()), (0, 0));
        for v in [2_000_000, 4_000_000, 4_000_000, 4_000_000, 5_000_000, 5_000_000, 7_000_000, 9_000_000] {
            s.add(v);
        }
        assert_eq!((s.mean(), s.deviation()), (5_000_000, 2_000_000));
        // A thousand million calls of a day each are far from the edge of the numbers.
        let (n, day) = (1_000_000_000u64, 86_400_000_000u128);
        let many = Sums { count: n, sum: day * u128::from(n) / 2, squares: day * day * u128::from(n) / 2 };
        assert_eq!(many.deviation(), day / 2);
    }
}

//! Every figure stands at its own key: documents are made of values that all differ, so that two that are swapped, dropped or
//! read from the wrong place show.

use serde_json::Value;
use warp_ng::Encoding;
use warp_ng::codec::{decode_request, encode_reply};
use warp_ng::reply::{Counts, Reply};
use warp_ng::statistics::{
    CommandKind, Current, Interface, Interval, IntervalCommand, Proxy, RelayStatistics, Sums, Totals,
};

fn json_of(reply: &Reply) -> Value {
    let mut out = Vec::new();
    encode_reply(b"c1", Encoding::Json, true, reply, &mut out);
    serde_json::from_slice(out.strip_prefix(b"c1 ").expect("the cookie")).expect("JSON")
}

/// Index → a value that no other place has.
fn by_command<T>(f: impl Fn(u64) -> T) -> [T; CommandKind::COUNT] {
    std::array::from_fn(|i| f(i as u64))
}

#[test]
fn each_command_has_a_place_of_its_own_in_the_order_of_the_list() {
    use CommandKind::*;
    let first = [Ping, Offer, Answer, Delete, Query, List, Statistics];
    let then = [BlockDtmf, UnblockDtmf, BlockMedia, UnblockMedia, SilenceMedia, UnsilenceMedia];
    let then = then.into_iter().chain([PlayMedia, StopMedia, PlayDtmf, StartRecording, StopRecording]);
    let all: Vec<CommandKind> = first.into_iter().chain(then).collect();
    assert!(all.iter().map(|kind| kind.index()).eq(0..18));
    assert_eq!(all.len(), CommandKind::COUNT);
}

#[test]
fn statistics_put_every_figure_at_its_key() {
    let us = 1_000_000;
    let all = RelayStatistics {
        current: Current { sessions: 11, packets_per_s: 12, bytes_per_s: 13, errors_per_s: 14, media: 15 },
        totals: Totals {
            uptime_s: 21,
            managed: 22,
            rejected: 23,
            timeout: 24,
            silent_timeout: 25,
            offer_timeout: 26,
            terminated: 27,
            packets: 28,
            errors: 29,
            bytes: 30,
            zero_way: 31,
            one_way: 32,
            durations: Sums { count: 4, sum: 8 * us, squares: 20 * us * us },
        },
        interval: Interval {
            durations_us: 41_000_000,
            sessions: (42, 43),
            commands: by_command(|i| IntervalCommand {
                delay_us: (1_000 + i, 2_000 + i, 3_000 + i),
                per_s: (100 + i, 200 + i, 300 + i),
            }),
        },
        mos: Sums { count: 2, sum: 860, squares: 370_000 },
        proxies: vec![Proxy {
            address: [192, 0, 2, 1].into(),
            counts: by_command(|i| 400 + i),
            durations_us: by_command(|i| 5_000 + i),
            errors: 77,
        }],
        commands: by_command(|i| 600 + i),
        interfaces: vec![Interface {
            name: "outer".into(),
            address: [192, 0, 2, 9].into(),
            ports: (30_000, 30_999),
            used: 250,
            total: 1_000,
            last: 30_123,
        }],
    };
    let document = json_of(&Reply::Statistics(Box::new(all)));
    let s = &document["statistics"];
    let expect = |at: &str, want: Value| assert_eq!(s.pointer(at), Some(&want), "{at}");
    for (at, n) in [
        ("/currentstatistics/sessionsown", 11),
        ("/currentstatistics/sessionstotal", 11),
        ("/currentstatistics/packetrate", 12),
        ("/currentstatistics/packetrate_user", 12),
        ("/currentstatistics/packetrate_kernel", 0),
        ("/currentstatistics/byterate", 13),
        ("/currentstatistics/errorrate_user", 14),
        ("/currentstatistics/media_userspace", 15),
        ("/totalstatistics/managedsessions", 22),
        ("/totalstatistics/rejectedsessions", 23),
        ("/totalstatistics/timeoutsessions", 24),
        ("/totalstatistics/silenttimeoutsessions", 25),
        ("/totalstatistics/offertimeoutsessions", 26),
        ("/totalstatistics/regularterminatedsessions", 27),
        ("/totalstatistics/forcedterminatedsessions", 0),
        ("/totalstatistics/relayedpackets", 28),
        ("/totalstatistics/relayedpackets_kernel", 0),
        ("/totalstatistics/relayedpacketerrors", 29),
        ("/totalstatistics/relayedbytes_user", 30),
        ("/totalstatistics/zerowaystreams", 31),
        ("/totalstatistics/onewaystreams", 32),
        ("/intervalstatistics/minmanagedsessions", 42),
        ("/intervalstatistics/maxmanagedsessions", 43),
        ("/mos/mos_samples_total", 2),
        ("/controlstatistics/proxies/0/errorcount", 77),
        ("/interfaces/0/ports/min", 30_000),
        ("/interfaces/0/ports/max", 30_999),
        ("/interfaces/0/ports/used", 250),
        ("/interfaces/0/ports/free", 750),
        ("/interfaces/0/ports/totals", 1_000),
        ("/interfaces/0/ports/last", 30_123),
    ] {
        expect(at, Value::from(n));
    }
    for (at, text) in [
        ("/totalstatistics/uptime", "21"),
        ("/totalstatistics/avgcallduration", "2.000000"),
        ("/totalstatistics/totalcallsduration", "8.000000"),
        ("/totalstatistics/totalcallsduration2", "20.000000"),
        ("/totalstatistics/totalcallsduration_stddev", "1.000000"),
        ("/intervalstatistics/totalcallsduration", "41.000000"),
        ("/mos/mos_total", "8.600000"),
        ("/mos/mos2_total", "37.000000"),
        ("/mos/mos_average", "4.300000"),
        ("/controlstatistics/proxies/0/proxy", "192.0.2.1"),
        ("/interfaces/0/name", "outer"),
        ("/interfaces/0/address", "192.0.2.9"),
        ("/interfaces/0/ports/used_pct", "25.00"),
    ] {
        expect(at, Value::from(text));
    }
    // By command: each name has the figures of its own place, and commands that we do not have stand at zero.
    let names = [
        ("ping", "ping"),
        ("offer", "offer"),
        ("answer", "answer"),
        ("delete", "delete"),
        ("query", "query"),
        ("list", "list"),
        ("statistics", "stats"),
    ];
    for (i, (name, short)) in (0u64..).zip(names) {
        for (what, base) in [("min", 1), ("max", 2), ("avg", 3)] {
            let delay = format!("0.{:06}", base * 1_000 + i);
            expect(&format!("/intervalstatistics/{what}{name}delay"), Value::from(delay));
            let rate = (base * 100 + i).to_string();
            expect(&format!("/intervalstatistics/{what}{name}requestrate"), Value::from(rate));
        }
        expect(&format!("/controlstatistics/total{short}count"), Value::from(600 + i));
        expect(&format!("/controlstatistics/proxies/0/{short}count"), Value::from(400 + i));
        let duration = format!("0.{:06}", 5_000 + i);
        expect(&format!("/controlstatistics/proxies/0/{short}duration"), Value::from(duration));
    }
    expect("/controlstatistics/totalpubcount", Value::from(0));
    expect("/intervalstatistics/maxpublishdelay", Value::from("0.000000"));
}

#[test]
fn counts_add_field_by_field_and_saturate() {
    let a = Counts { packets: 1, bytes: 20, errors: 300 };
    let b = Counts { packets: 4_000, bytes: 50_000, errors: 600_000 };
    assert_eq!(a.plus(b), Counts { packets: 4_001, bytes: 50_020, errors: 600_300 });
    let most = Counts { packets: u64::MAX, bytes: u64::MAX, errors: u64::MAX };
    assert_eq!(most.plus(a), most);
}

#[test]
fn only_errors_and_load_limits_are_not_ok() {
    assert!(Reply::Pong.is_ok());
    assert!(!Reply::error("no").is_ok());
    assert!(!Reply::LoadLimit { message: "full".into() }.is_ok());
}

/// A word that is no word of the DTLS key changes nothing: it is neither `off` nor `active`.
#[test]
fn an_unknown_dtls_word_is_no_dtls_wish() {
    use warp_ng::command::{Command, Dtls};
    let dtls = |word: &str| {
        let text = format!(
            r#"c1 {{"command":"offer","call-id":"a","from-tag":"b","sdp":"v=0\r\n","DTLS":"{word}"}}"#
        );
        match decode_request(text.as_bytes()).expect("a request").command {
            Command::Offer(offer) => offer.dtls,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(dtls("passive"), Some(Dtls::Passive));
    assert_eq!(dtls("active"), Some(Dtls::Active));
    for off in ["off", "no", "disable"] {
        assert_eq!(dtls(off), Some(Dtls::Off), "{off}");
    }
    for word in ["", "on", "offf", "pass"] {
        assert_eq!(dtls(word), None, "{word}");
    }
}

/// The largest datagram is read, one byte more is no message.
#[test]
fn t_ng_02_a_datagram_has_its_largest_size() {
    use warp_model::limits::NG_BYTES;
    let of = |bytes: usize| {
        // One text may not be as long as all.
        let head = format!(r#"c1 {{"command":"ping","y":"{}","x":""#, "y".repeat(9_000));
        let filler = vec![b'x'; bytes - head.len() - 2];
        [head.as_bytes(), &filler, br#""}"#].concat()
    };
    assert_eq!(of(NG_BYTES).len(), NG_BYTES);
    assert_eq!(decode_request(&of(NG_BYTES)).map(|r| r.command), Ok(warp_ng::Command::Ping));
    let larger = of(NG_BYTES + 1);
    let refused = decode_request(&larger).expect_err("too large");
    assert_eq!((refused, refused.to_string()), (warp_ng::codec::NgError::NoCookie, "no cookie".to_owned()));
    let refused = decode_request(b"c1 ").expect_err("nothing behind the cookie");
    assert_eq!(refused.to_string(), "Invalid data (no payload)");
}

/// RFC 8259 §7: every escape, one in each place where it may stand.
#[test]
fn json_escapes_are_read_as_their_characters() {
    for (escaped, text) in [
        (r#"a\"b"#, "a\"b"),
        (r"a\\b", "a\\b"),
        (r"a\/b", "a/b"),
        (r"\b\f\n\r\t", "\u{8}\u{c}\n\r\t"),
        (r"\u0041\u00e9\u20AC", "Aé€"),
        (r"\ud83d\ude00.", "😀."),
    ] {
        let request = format!(r#"c1 {{"command":"query","call-id":"{escaped}"}}"#);
        let got = decode_request(request.as_bytes()).expect(escaped);
        let query = warp_ng::Query { call_id: text.into(), ..warp_ng::Query::default() };
        assert_eq!(got.command, warp_ng::Command::Query(query), "{escaped}");
    }
    for bad in [r"\x", r"\u00g0", r"\u00", r"\ud83d", r"\ud83dx", r"\ud83d\u0041", r"\ude00"] {
        let request = format!(r#"c1 {{"command":"query","call-id":"{bad}"}}"#);
        assert!(decode_request(request.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn the_end_of_a_whole_call_names_the_call_and_waits_for_nothing() {
    let delete = warp_ng::Delete::call("abc");
    assert_eq!((delete.call_id.as_slice(), delete.delete_delay), (&b"abc"[..], Some(0)));
    assert_eq!((delete.from_tag, delete.to_tag, delete.via_branch), (None, None, None));
    assert_eq!((delete.fatal, delete.match_to_tag, delete.fast), (false, false, false));
}

//! Round trips of typed values through both encodings; hostile documents; seeded mutations (T-NG-02).

use std::net::{IpAddr, SocketAddr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use warp_model::now::Wall;
use warp_ng::codec::{decode_reply, decode_request, encode_reply, encode_request};
use warp_ng::fuzzing::{fuzz_document, fuzz_request};
use warp_ng::tape::DocumentError;
use warp_ng::*;

fn token() -> impl Strategy<Value = Vec<u8>> {
    "[a-zA-Z0-9@.\\-\"\\\\é]{1,24}".prop_map(String::into_bytes)
}
fn ip() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>()
}

fn sdp_command() -> impl Strategy<Value = SdpCommand> {
    let words = (
        token(),
        token(),
        option::of(token()),
        option::of(token()),
        "v=0[\\r\\n a-z0-9=]{0,200}".prop_map(String::into_bytes),
        option::of(ip()),
        vec(ip(), 0..4),
        option::of((token(), token())),
        option::of(ip()),
        option::of(token()),
        vec(token(), 0..3),
    );
    let choices = (
        option::of(prop_oneof![
            Just(Ice::Remove),
            Just(Ice::Force),
            Just(Ice::Default),
            Just(Ice::Optional),
            Just(Ice::ForceRelay)
        ]),
        option::of(prop_oneof![
            Just(Transport::RtpAvp),
            Just(Transport::RtpSavpf),
            Just(Transport::UdpTlsRtpSavpf),
            Just(Transport::Accept)
        ]),
        option::of(prop_oneof![Just(Dtls::Off), Just(Dtls::Passive), Just(Dtls::Active)]),
        option::of(prop_oneof![Just(AddressFamily::Ip4), Just(AddressFamily::Ip6)]),
        option::of(0i64..256),
        any::<u32>(),
    );
    (words, choices).prop_map(|(w, c)| {
        let bit = |n: u32| c.5 & (1 << n) != 0;
        SdpCommand {
            call_id: w.0,
            from_tag: w.1,
            to_tag: w.2,
            via_branch: w.3,
            sdp: w.4,
            received_from: w.5,
            media_ips: w.6,
            direction: w.7,
            media_address: w.8,
            label: w.9,
            metadata: None,
            record: Some(bit(29)).filter(|_| bit(28)),
            file_names: Some(("recording-dir", b"x y".to_vec())).into_iter().filter(|_| bit(29)).collect(),
            xmlrpc_callback: w.5.filter(|_| c.5 & 1 << 31 != 0),
            attributes: match w.10.as_slice() {
                [] => vec![],
                values => vec![
                    AttributeEdits { add: values.to_vec(), ..AttributeEdits::default() },
                    AttributeEdits {
                        kind: b"audio".to_vec(),
                        remove: values.to_vec(),
                        substitute: values.iter().map(|v| (v.clone(), b"x:y z".to_vec())).collect(),
                        ..AttributeEdits::default()
                    },
                ],
            },
            media_remove: w.10.clone(),
            codec: Codecs {
                strip: w.10.clone(),
                except: vec![b"PCMU".to_vec()],
                mask: w.10,
                ignore: vec![b"G729".to_vec()],
                ..Codecs::default()
            },
            ice: c.0,
            ice_lite: warp_ng::IceLite { forward: c.0.is_some(), backward: c.0.is_none() },
            transport_protocol: c.1,
            dtls: c.2,
            address_family: c.3,
            tos: c.4,
            sdes_off: bit(0),
            sdes_pad: bit(1),
            sdes_lifetime: bit(2),
            sdes_no: Vec::new(),
            sdes_only: Vec::new(),
            rtcp_mux: RtcpMux {
                offer: bit(1),
                require: bit(2),
                demux: bit(3),
                accept: bit(4),
                reject: bit(5),
            },
            replace: Replace {
                origin: bit(6),
                origin_full: bit(7),
                session_name: bit(8),
                username: bit(9),
                sdp_version: bit(10),
                force_increment_sdp_version: bit(11),
                zero_address: bit(12),
            },
            flags: Flags {
                trust_address: bit(13),
                sip_source_address: bit(14),
                symmetric: bit(15),
                asymmetric: bit(16),
                strict_source: bit(17),
                no_rtcp_attribute: bit(18),
                full_rtcp_attribute: bit(19),
                original_sendrecv: bit(20),
                loop_protect: bit(21),
                port_latching: bit(22),
                no_port_latching: bit(23),
                unidirectional: bit(24),
                reset: bit(25),
                generate_mid: bit(26),
                provisional: bit(27),
            },
        }
    })
}

/// What names a party: tag, label, media address.
fn party() -> impl Strategy<Value = (Option<Vec<u8>>, Option<Vec<u8>>, Option<IpAddr>)> {
    (option::of(token()), option::of(token()), option::of(ip()))
}

fn keep() -> impl Strategy<Value = KeepBack> {
    (token(), 0..KeepAction::ALL.len(), party(), any::<bool>()).prop_map(
        |(call_id, what, (from_tag, label, address), directional)| KeepBack {
            call_id,
            what: KeepAction::ALL[what].1,
            from_tag,
            label,
            address,
            directional,
        },
    )
}

fn play() -> impl Strategy<Value = Play> {
    let sound = prop_oneof![
        token().prop_map(Sound::File),
        token().prop_map(Sound::Blob),
        token().prop_map(Sound::Blob64),
        Just(Sound::Database),
    ];
    let ms = || 100u32..=5_000;
    let what = prop_oneof![
        Just(PlayAction::Stop),
        (option::of(sound), any::<u32>(), 0u64..1_000_000, 0u64..1_000_000).prop_map(
            |(sound, times, limit_ms, start_ms)| PlayAction::Media { sound, times, limit_ms, start_ms }
        ),
        (option::of(0u8..16), ms(), ms(), 0u8..64).prop_map(|(event, duration_ms, pause_ms, volume)| {
            PlayAction::Dtmf { event, duration_ms, pause_ms, volume }
        }),
    ];
    (token(), what, party(), any::<bool>()).prop_map(|(call_id, what, (from_tag, label, address), all)| {
        Play { call_id, what, from_tag, label, address, all }
    })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::Ping),
        keep().prop_map(Command::Keep),
        play().prop_map(Command::Play),
        Just(Command::Statistics),
        sdp_command().prop_map(Command::Offer),
        (sdp_command(), token()).prop_map(|(mut c, t)| {
            c.to_tag = Some(t);
            Command::Answer(c)
        }),
        (
            token(),
            option::of(token()),
            option::of(token()),
            option::of(token()),
            option::of(0u64..100_000),
            any::<(bool, bool, bool)>()
        )
            .prop_map(
                |(call_id, from_tag, to_tag, via_branch, delete_delay, (fatal, match_to_tag, fast))| {
                    Command::Delete(Delete {
                        call_id,
                        from_tag,
                        to_tag,
                        via_branch,
                        delete_delay,
                        fatal,
                        match_to_tag,
                        fast,
                    })
                }
            ),
        (token(), option::of(token()), option::of(token()))
            .prop_map(|(call_id, from_tag, to_tag)| Command::Query(Query { call_id, from_tag, to_tag })),
        (token(), option::of(token()), 0usize..3).prop_map(|(call_id, metadata, what)| {
            let (what, file_names) = (RecordAction::ALL[what].1, vec![("recording-file", call_id.clone())]);
            Command::Record(Record { call_id, what, metadata, file_names })
        }),
        (0u64..1_000_000).prop_map(|limit| Command::List { limit }),
    ]
}

fn counts() -> impl Strategy<Value = Counts> {
    (0u64..1 << 40, 0u64..1 << 50, 0u64..1000).prop_map(|(packets, bytes, errors)| Counts {
        packets,
        bytes,
        errors,
    })
}

fn mos(at: bool) -> impl Strategy<Value = MosFigures> {
    (10u16..46, 0u64..1000, 0u64..500, 0u64..100).prop_map(move |(mos, rtt, jitter, loss)| MosFigures {
        mos_x100: Some(mos * 10),
        round_trip_us: rtt,
        round_trip_leg_us: rtt / 2,
        jitter_us: jitter * 1000,
        loss_percent: loss,
        samples: if at { 0 } else { 9 },
        reported_at: at.then_some(Wall(1_700_000_000_000_000)),
    })
}

fn stats() -> impl Strategy<Value = CallStats> {
    let stream = (
        any::<SocketAddr>(),
        option::of(any::<SocketAddr>()),
        option::of(any::<u32>()),
        counts(),
        counts(),
        any::<(bool, bool)>(),
    )
        .prop_map(|(local, endpoint, ssrc, received, sent, (rtcp, confirmed))| StreamStats {
            local: plain(local),
            endpoint: endpoint.map(plain),
            advertised: endpoint.map(plain),
            last_packet: confirmed.then_some(Wall(1_700_000_001_000_000)),
            ssrc,
            rtcp,
            confirmed,
            received,
            sent,
            source: None,
        });
    let media =
        (1u32..4, vec(stream, 0..3), any::<(bool, bool, bool, bool)>()).prop_map(|(index, streams, f)| {
            MediaStats {
                index,
                kind: b"audio".to_vec(),
                protocol: b"RTP/AVP".to_vec(),
                codec: if f.0 { b"PCMU/8000".to_vec() } else { vec![] },
                flags: MediaFlags {
                    initialized: f.0,
                    rtcp_mux: f.1,
                    send: f.2,
                    recv: f.3,
                    passthrough: f.0,
                    sdes: f.3,
                    dtls: f.0,
                    ice: f.1,
                    ice_controlling: f.2,
                    asymmetric: f.1,
                    loop_check: f.2,
                },
                streams,
            }
        });
    let tag = (token(), option::of(token()), vec(token(), 0..3), vec(media, 0..3)).prop_map(
        |(tag, label, peers, medias)| TagStats {
            tag,
            via_branch: None,
            label,
            created: Wall(1_700_000_000_000_000),
            peers,
            medias,
        },
    );
    let source = (any::<u32>(), 0u64..1 << 40, 0u64..99, mos(false), option::of(mos(true))).prop_map(
        |(ssrc, packets, lost, average, lowest)| SsrcStats {
            ssrc,
            packets,
            bytes: packets,
            lost,
            last_timestamp: ssrc,
            last_sequence: 7,
            average,
            lowest,
            highest: lowest,
            progression: lowest.into_iter().chain(lowest).collect(),
            progression_s: if lowest.is_some() { 20 } else { 0 },
        },
    );
    (counts(), counts(), vec(source, 0..4), vec(tag, 0..4)).prop_map(|(rtp, rtcp, ssrcs, tags)| CallStats {
        created: Wall(1_700_000_000_123_456),
        last_signal: Wall(1_700_000_000_000_000),
        metadata: (rtp.errors > 500).then(|| b"text".to_vec()),
        rtp,
        rtcp,
        ssrcs,
        tags,
    })
}

/// Scope ids and flow labels are not part of an address on the wire.
fn plain(a: SocketAddr) -> SocketAddr {
    SocketAddr::new(a.ip(), a.port())
}

proptest! {
    #[test]
    fn commands_round_trip(command in command(), load_limit: bool, json: bool) {
        let encoding = if json { Encoding::Json } else { Encoding::Bencode };
        let mut out = Vec::new();
        encode_request(b"1_2_3", encoding, load_limit, &command, &mut out);
        let request = decode_request(&out).unwrap();
        prop_assert_eq!(request, Request { cookie: b"1_2_3", encoding, load_limit, command, ignored: vec![] });
    }

    /// `ref/ng-protocol.md` §4: each address says its family beside it.
    #[test]
    fn addresses_say_their_family(stats in stats()) {
        let mut out = Vec::new();
        encode_reply(b"9", Encoding::Json, true, &Reply::Stats(Box::new(stats.clone())), &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        let streams = stats.tags.iter().flat_map(|t| &t.medias).flat_map(|m| &m.streams);
        let all: Vec<SocketAddr> =
            streams.flat_map(|s| [Some(s.local), s.endpoint, s.advertised]).flatten().collect();
        for (name, wanted) in [("IPv4", true), ("IPv6", false)] {
            let said = text.matches(&format!("\"family\":\"{name}\"")).count();
            prop_assert_eq!(said, all.iter().filter(|a| a.is_ipv4() == wanted).count(), "{}", text);
        }
    }

    #[test]
    fn replies_round_trip(stats in stats(), calls in vec(token(), 0..5), json: bool) {
        let encoding = if json { Encoding::Json } else { Encoding::Bencode };
        for reply in [
            Reply::Stats(Box::new(stats.clone())),
            Reply::Calls(calls.clone()),
            Reply::Pong,
            Reply::Ok { warning: Some("x".into()) },
            Reply::Sdp { sdp: b"v=0\r\n".to_vec(), warning: None, recordings: vec![b"/r/a.pcap".to_vec(), b"b".to_vec()] },
            Reply::error("no"),
            Reply::LoadLimit { message: "full".into() },
        ] {
            let mut out = Vec::new();
            encode_reply(b"9", encoding, true, &reply, &mut out);
            prop_assert_eq!(decode_reply(&out).unwrap(), (&b"9"[..], reply));
        }
    }

    #[test]
    fn t_ng_02_any_bytes_are_read_without_panic(data in vec(any::<u8>(), 0..400)) {
        fuzz_document(&data);
        fuzz_request(&data);
    }
}

#[test]
fn t_ng_02_mutated_requests_never_panic_and_keep_their_cookie() {
    let mut seed = Mutator(0x5eed_0001);
    let mut c = SdpCommand::new("call", "from", "v=0\r\nm=audio 1 RTP/AVP 0\r\n");
    c.rtcp_mux.demux = true;
    c.received_from = Some([1, 2, 3, 4].into());
    c.attributes = vec![AttributeEdits {
        add: vec![b"x:1".to_vec()],
        substitute: vec![(b"a".to_vec(), b"b".to_vec())],
        ..AttributeEdits::default()
    }];
    let string = "replace-origin TOS=96 codec=[strip=[all G729] offer=PCMA] direction=[a b] sdp-attr=[audio=[substitute=[[a b]]]]";
    let mut seeds = vec![
        format!(
            "c00kie d3:sdp1:v7:call-id1:c8:from-tag1:f10:rtpp-flags{}:{string}7:command5:offere",
            string.len()
        )
        .into_bytes(),
    ];
    for encoding in [Encoding::Bencode, Encoding::Json] {
        let mut whole = Vec::new();
        encode_request(b"c00kie", encoding, true, &Command::Offer(c.clone()), &mut whole);
        seeds.push(whole);
    }
    for whole in seeds {
        assert!(decode_request(&whole).is_ok());
        for _ in 0..20_000 {
            let mut data = whole.clone();
            for _ in 0..=seed.below(3) {
                seed.mutate(&mut data, 7);
            }
            fuzz_request(&data);
            fuzz_document(data.get(7..).unwrap_or_default());
            match decode_request(&data) {
                Ok(r) => assert_eq!(r.cookie, b"c00kie"),
                Err(NgError::Bad { cookie, .. }) => assert_eq!(cookie, b"c00kie"),
                Err(NgError::NoCookie) => panic!("the cookie was not touched"),
            }
        }
    }
}

#[test]
fn t_ng_02_depth_elements_lengths_and_numbers_have_limits() {
    let deep = |open: &str, close: &str, n: usize| open.repeat(n) + &close.repeat(n);
    assert!(bencode::decode(deep("l", "e", 16).as_bytes()).is_ok());
    assert_eq!(bencode::decode(deep("l", "e", 17).as_bytes()), Err(DocumentError::TooLarge));
    assert_eq!(bencode::decode(deep("l", "e", 30_000).as_bytes()), Err(DocumentError::TooLarge));
    assert!(json::decode(deep("[", "]", 16).as_bytes()).is_ok());
    assert_eq!(json::decode(deep("[", "]", 30_000).as_bytes()), Err(DocumentError::TooLarge));
    let many = |n: usize| format!("l{}e", "0:".repeat(n));
    assert!(bencode::decode(many(4_095).as_bytes()).is_ok());
    assert_eq!(bencode::decode(many(4_096).as_bytes()), Err(DocumentError::TooLarge));
    let long = |n: usize| format!("{n}:{}", "x".repeat(n));
    assert!(bencode::decode(long(65_000).as_bytes()).is_ok());
    assert_eq!(bencode::decode(long(65_001).as_bytes()), Err(DocumentError::TooLarge));
    for bad in [
        "",
        "d",
        "de e",
        "d1:ae",
        "d1:a1:b",
        "di1e1:ae",
        "dlee1:ae",
        "i9223372036854775808e",
        "i-9223372036854775809e",
        "ie",
        "i-e",
        "i1",
        "i1.5e",
        "-1:a",
        "99999999999999999999:a",
        "5:abc",
        "5",
        "5abc",
        "x",
        "dee",
        "1:a1:b",
        "e",
    ] {
        assert_eq!(bencode::decode(bad.as_bytes()), Err(DocumentError::Syntax), "{bad}");
    }
    for good in ["i9223372036854775807e", "i-9223372036854775808e", "i0e", "de", "le", "0:", "de\r\n"] {
        assert!(bencode::decode(good.as_bytes()).is_ok(), "{good}");
    }
    for bad in [
        "",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "[,1]",
        "[1,]",
        "[1 2]",
        "{1:2}",
        "{true:1}",
        "{\"a\":1 \"b\":2}",
        "[1]]",
        "[}",
        "{]",
        "9223372036854775808",
        "1.5",
        "1e3",
        "+1",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0020\"",
        "\"\n\"",
        "tru",
        "[\"\u{1}\"]",
        "{\"a\"::1}",
        "1 2",
        "{\"a\",1}",
    ] {
        assert_eq!(json::decode(bad.as_bytes()), Err(DocumentError::Syntax), "{bad}");
    }
    let tape =
        json::decode(br#" { "a" : [ 1 , -2 , "x\u00e9\ud83d\ude00\n" , true , null , {} , [] ] } "#).unwrap();
    let items: Vec<_> = tape.root().unwrap().get("a").unwrap().items().collect();
    assert_eq!(items.len(), 7);
    assert_eq!(items[1].int(), Some(-2));
    assert_eq!(items[2].str(), Some("xé😀\n".as_bytes()));
}

#[test]
fn t_ng_02_doubled_identifying_keys_are_refused_and_others_ignored() {
    let identifying: [(&[&str], &str); 6] = [
        (&["command"], "5:offer"),
        (&["sdp"], "1:s"),
        (&["call-id", "call id", "call_id"], "1:c"),
        (&["from-tag", "from tag", "from_tag"], "1:f"),
        (&["to-tag", "to tag", "to_tag"], "1:t"),
        (&["via-branch", "via branch", "via_branch"], "1:v"),
    ];
    let pair = |key: &str, value: &str| format!("{}:{key}{value}", key.len());
    let all: String = identifying.iter().map(|(keys, value)| pair(keys[0], value)).collect();
    assert!(decode_request(format!("c d{all}e").as_bytes()).is_ok());
    for (keys, value) in identifying {
        for key in keys {
            let datagram = format!("c d{all}{}e", pair(key, value));
            assert!(matches!(decode_request(datagram.as_bytes()), Err(NgError::Bad { .. })), "{datagram}");
        }
    }
    assert!(decode_request(b"c d7:command5:query7:call-id1:a1:x1:y1:x1:ze").is_ok());
    // Unsorted keys are normal.
    assert!(decode_request(b"c d7:command5:query7:call-id1:ae").is_ok());
}

/// xorshift64*, and four kinds of damage.
struct Mutator(u64);

impl Mutator {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    /// Leaves the first `keep` bytes alone.
    fn mutate(&mut self, data: &mut Vec<u8>, keep: usize) {
        let at = keep + self.below(data.len().saturating_sub(keep));
        match self.below(4) {
            0 if at < data.len() => data[at] = self.next() as u8,
            1 if at < data.len() => {
                data.remove(at);
            }
            2 => data.insert(at.min(data.len()), b"deil0123456789:-,{}[]\"\\"[self.below(22)]),
            _ => data.truncate(at.max(keep)),
        }
    }
}

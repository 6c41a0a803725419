//! Dialogues captured between Kamailio 5.6.3 and a relay of version 10.5.3 (`ref/ng-protocol.md` §10), and the error texts.

use warp_model::now::Wall;
use warp_ng::codec::{decode_reply, decode_request, encode_reply};
use warp_ng::{
    Command, Dtls, Encoding, Ice, NgError, RecordAction, Reply, SdpCommand, Transport, reply::reasons,
};

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 18\r\n";

/// A small bencode writer of the test's own: `s` string, lists and dicts by nesting.
fn s(t: &str) -> String {
    format!("{}:{t}", t.len())
}
fn list(items: &[&str]) -> String {
    format!("l{}e", items.iter().map(|i| s(i)).collect::<String>())
}

fn offer_of_kamailio() -> String {
    let codec = format!("d{}{}{}{}e", s("strip"), list(&["G729"]), s("transcode"), list(&["PCMA"]));
    let pairs = [
        ("supports", list(&["load limit"])),
        ("sdp", s(SDP)),
        ("ICE", s("remove")),
        ("DTLS", s("off")),
        ("record-call", s("off")),
        ("TOS", "i184e".to_owned()),
        ("media-address", s("127.0.0.1")),
        ("label", s("caller")),
        ("direction", list(&["a", "b"])),
        ("flags", list(&["trust-address"])),
        ("replace", list(&["origin", "session-connection"])),
        ("codec", codec),
        ("transport-protocol", s("RTP/AVP")),
        ("rtcp-mux", list(&["demux"])),
        ("SDES", list(&["off"])),
        ("call-id", s("1-1@127.0.0.1")),
        ("via-branch", s("z9hG4bK-1")),
        ("received-from", list(&["IP4", "127.0.0.1"])),
        ("from-tag", s("ft1")),
        ("command", s("offer")),
    ];
    let body: String = pairs.iter().map(|(k, v)| format!("{}{v}", s(k))).collect();
    format!("0_16215_1 d{body}e")
}

#[test]
fn offer_as_kamailio_sends_it() {
    let datagram = offer_of_kamailio();
    let request = decode_request(datagram.as_bytes()).unwrap();
    assert_eq!(request.cookie, b"0_16215_1");
    assert_eq!(request.encoding, Encoding::Bencode);
    assert!(request.load_limit);
    let mut want = SdpCommand::new("1-1@127.0.0.1", "ft1", SDP);
    want.via_branch = Some(b"z9hG4bK-1".to_vec());
    want.received_from = Some([127, 0, 0, 1].into());
    want.ice = Some(Ice::Remove);
    want.dtls = Some(Dtls::Off);
    want.sdes_off = true;
    want.tos = Some(184);
    want.record = Some(false);
    want.media_address = Some([127, 0, 0, 1].into());
    want.label = Some(b"caller".to_vec());
    want.direction = Some((b"a".to_vec(), b"b".to_vec()));
    want.flags.trust_address = true;
    want.replace.origin = true;
    want.transport_protocol = Some(Transport::RtpAvp);
    want.rtcp_mux.demux = true;
    want.codec.strip = vec![b"G729".to_vec()]; // and no transcoding yet
    assert_eq!(request.command, Command::Offer(want));
}

#[test]
fn answer_query_and_delete_as_kamailio_sends_them() {
    let answer = format!(
        "0_16215_2 d{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}e",
        s("supports"),
        list(&["load limit"]),
        s("sdp"),
        s(SDP),
        s("ICE"),
        s("remove"),
        s("replace"),
        list(&["origin"]),
        s("call-id"),
        s("c"),
        s("via-branch"),
        s("z9hG4bK-1"),
        s("from-tag"),
        s("ft1"),
        s("to-tag"),
        s("tt1"),
        s("command"),
        s("answer"),
    );
    let Command::Answer(c) = decode_request(answer.as_bytes()).unwrap().command else {
        panic!("not an answer");
    };
    assert_eq!(c.to_tag.as_deref(), Some(&b"tt1"[..]));
    let query = b"0_16215_3 d7:call-id1:c8:from-tag3:ft16:to-tag3:tt17:command5:querye";
    let Command::Query(q) = decode_request(query).unwrap().command else {
        panic!("not a query");
    };
    assert_eq!(q.from_tag.as_deref(), Some(&b"ft1"[..]));
    let delete =
        b"0_16215_4 d7:call-id1:c13:received-froml3:IP49:127.0.0.1e8:from-tag3:ft17:command6:deletee";
    let Command::Delete(d) = decode_request(delete).unwrap().command else {
        panic!("not a delete");
    };
    assert_eq!((d.delete_delay, d.fatal), (None, false));
}

#[test]
fn ping_and_pong_byte_for_byte() {
    let request = decode_request(b"0_16215_9 d7:command4:pinge").unwrap();
    assert_eq!(request.command, Command::Ping);
    assert_eq!(written(request.cookie, Encoding::Bencode, &Reply::Pong), "0_16215_9 d6:result4:ponge");
    assert_eq!(written(b"7", Encoding::Json, &Reply::Pong), r#"7 {"result":"pong"}"#);
}

fn written(cookie: &[u8], encoding: Encoding, reply: &Reply) -> String {
    let mut out = Vec::new();
    encode_reply(cookie, encoding, false, reply, &mut out);
    String::from_utf8(out).unwrap()
}

fn answered(datagram: &[u8]) -> String {
    match decode_request(datagram) {
        Err(NgError::Bad { cookie, encoding, reason }) => written(cookie, encoding, &Reply::error(reason)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_byte_for_byte() {
    assert_eq!(
        answered(br#"x1 {"command":"hello"}"#),
        r#"x1 {"result":"error","error-reason":"Unrecognized command"}"#
    );
    assert_eq!(answered(b"x2 hello"), "x2 d6:result5:error12:error-reason22:Invalid NG data formate");
    for (datagram, reason) in [
        (&b"x d1:a1:be"[..], "Dictionary contains no key \"command\""),
        (b"x d7:command5:offere", "No SDP body in message"),
        (b"x d7:command5:offer3:sdp1:ve", "No call-id in message"),
        (b"x d7:command5:offer3:sdp1:v7:call-id1:ce", "No from-tag in message"),
        (b"x d7:command6:answer3:sdp1:v7:call-id1:c8:from-tag1:fe", "No to-tag in message"),
        (b"x d7:command6:deletee", "No call-id in message"),
        (b"x d7:command4:list5:limiti-1ee", "invalid limit, must be >= 0"),
        (b"x ", "Invalid data (no payload)"),
        (b"x d7:command", "Could not decode bencode dictionary"),
        (b"x {\"command\"", "Failed to parse JSON document"),
    ] {
        let Err(NgError::Bad { reason: got, .. }) = decode_request(datagram) else {
            panic!("{datagram:?}");
        };
        assert_eq!(got, reason);
    }
}

#[test]
fn small_replies_byte_for_byte() {
    let unknown = Reply::Ok { warning: Some(reasons::NOT_FOUND.into()) };
    assert_eq!(
        written(b"1", Encoding::Bencode, &unknown),
        "1 d7:warning38:Call-ID not found or tags didn't match6:result2:oke"
    );
    assert_eq!(written(b"1", Encoding::Bencode, &Reply::Calls(vec![])), "1 d5:callsle6:result2:oke");
    let sdp = Reply::Sdp { sdp: b"v=0\r\n".to_vec(), warning: None, recordings: Vec::new() };
    assert_eq!(written(b"1", Encoding::Bencode, &sdp), "1 d3:sdp5:v=0\r\n6:result2:oke");
    assert_eq!(written(b"1", Encoding::Json, &sdp), r#"1 {"sdp":"v=0\r\n","result":"ok"}"#);
}

#[test]
fn load_limit_only_for_clients_that_know_it() {
    let reply = Reply::LoadLimit { message: reasons::LIMIT_SESSIONS.into() };
    let mut out = Vec::new();
    encode_reply(b"1", Encoding::Json, true, &reply, &mut out);
    assert_eq!(out, br#"1 {"result":"load limit","message":"Parallel session limit reached"}"#);
    assert_eq!(
        written(b"1", Encoding::Json, &reply),
        r#"1 {"result":"error","error-reason":"Parallel session limit reached"}"#
    );
}

#[test]
fn spellings_of_other_clients() {
    // OpenSIPS: a space in the key, integers where strings are expected, unknown keys and flags.
    let datagram = b"c d3:sdp1:v14:address family3:IP618:transport_protocol8:RTP/SAVP11:repacketizei20e5:flagsl12:loop_protect3:zzze\
        4:whatd1:al1:bee7:call_idi184e8:from-tagi7e6:to tag0:7:command5:offere";
    let request = decode_request(datagram).unwrap();
    let Command::Offer(c) = request.command else { panic!() };
    assert_eq!(c.call_id, b"184");
    assert_eq!(c.from_tag, b"7");
    assert_eq!(c.to_tag, None);
    assert_eq!(c.address_family, Some(warp_ng::AddressFamily::Ip6));
    assert_eq!(c.transport_protocol, Some(Transport::RtpSavp));
    assert!(c.flags.loop_protect);
    assert!(!request.load_limit);
    // An integer as text.
    let Command::Delete(d) =
        decode_request(b"c d12:delete delay2:157:call-id1:c7:command6:deletee").unwrap().command
    else {
        panic!()
    };
    assert_eq!(d.delete_delay, Some(15));
}

fn offered(pairs: &str) -> (SdpCommand, Vec<String>) {
    let datagram =
        format!("c {{\"command\":\"offer\",\"sdp\":\"v\",\"call-id\":\"c\",\"from-tag\":\"f\",{pairs}}}");
    let request = decode_request(datagram.as_bytes()).unwrap();
    let ignored = request.ignored.into_iter().map(|n| String::from_utf8(n).unwrap()).collect();
    match request.command {
        Command::Offer(c) => (c, ignored),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_string_of_flags_is_taken_apart() {
    let string = [
        "replace-origin trust-address RTP/AVPF ICE=remove via-branch=auto-next direction=a direction=b TOS=96",
        "address-family=IP6 rtcp-mux=[demux accept] codec=[strip=[all G729] offer=PCMA transcode=[opus]]",
        "codec-except-PCMU SDES-off sdp-attr=[audio=[add=[ptime:20] substitute=[[a b]]]] call-id=other label=trunk",
        "no-such-flag",
    ];
    let (apart, ignored) = offered(&format!("\"rtpp_flags\":\"{}\"", string.join(" ")));
    let (keys, _) = offered(
        r#""flags":["trust-address"],"replace":["origin"],"transport-protocol":"RTP/AVPF","ICE":"remove","direction":["a","b"],
        "TOS":96,"address family":"IP6","rtcp-mux":["demux","accept"],"SDES":["off"],"label":"trunk",
        "codec":{"strip":["all","G729"],"offer":["PCMA"],"except":["PCMU"]},
        "sdp-attr":{"audio":{"add":["ptime:20"],"substitute":[["a","b"]]}}"#,
    );
    assert_eq!(apart, keys);
    assert_eq!(ignored, ["codec-transcode", "no-such-flag"]);
    let (none, ignored) = offered(r#""rtpp_flags":"codec=[strip=[x]""#);
    assert_eq!((none.codec.strip.len(), ignored), (0, vec!["rtpp-flags".to_owned()]));
}

#[test]
fn second_spellings_and_integers_as_text() {
    let (first, none) = offered(
        r#""ICE":"remove","DTLS":"off","SDES":["off"],"TOS":184,"flags":["SIP-source-address","to-tag","loop-protect"],
        "sdp-media-remove":["video"],"codec":{"mask":["PCMA"]},"received-from":["IP4","192.0.2.1"]"#,
    );
    let (second, _) = offered(
        r#""ice":"remove","dtls":"no","flags":["sip-source-address","to_tag","loop protect","sdes-off","codec-mask-PCMA"],
        "tos":"184","sdp_media_remove":["video"],"received from":["IP4","192.0.2.1"]"#,
    );
    assert_eq!(first, second);
    assert_eq!((first.tos, none.len()), (Some(184), 0));
    // Codec names keep their spelling and may be long.
    let (c, _) = offered(
        r#""flags":["codec-strip-opus/48000/2/64000/20/useinbandfec--1/complexity--9","codec_ignore_x_y"]"#,
    );
    assert_eq!(c.codec.strip, [b"opus/48000/2/64000/20/useinbandfec--1/complexity--9".to_vec()]);
    assert_eq!(c.codec.ignore, [b"x_y".to_vec()]);
    // The four kinds of `direction` that are not two names leave the interfaces alone.
    for odd in ["[]", "[\"a\"]", "\"a\"", "7"] {
        assert_eq!(offered(&format!("\"direction\":{odd}")).0.direction, None, "{odd}");
    }
}

#[test]
fn t_ng_02_unknown_keys_and_flags_are_named_and_bounded() {
    let (_, ignored) =
        offered(r#""DTMF-delay":"9","flags":["what is this","what is this"],"repacketize":20"#);
    assert_eq!(ignored, ["DTMF-delay", "what is this", "repacketize"]);
    let many: Vec<String> = (0..50).map(|i| format!("\"{}{i}\":1", "x".repeat(100 + i))).collect();
    let (_, ignored) = offered(&many.join(","));
    assert!(ignored.len() <= 8 && ignored.iter().all(|n| n.len() == 40), "{ignored:?}");
}

#[test]
fn t_ng_06_an_attribute_cannot_bring_lines_of_its_own() {
    let (c, _) = offered(
        r#""sdp-attr":{"none":{"add":["good:1","bad\r\nm=audio 9 RTP/AVP 0","tab\tbed",""],"remove":"x"},
        "video":{"substitute":[["a","b\n"],["only one"],{"from":"c","to":"d"}]}}"#,
    );
    assert_eq!(c.attributes[0].add, [b"good:1".to_vec()]);
    assert_eq!((c.attributes[0].kind.len(), &c.attributes[0].remove), (0, &vec![b"x".to_vec()]));
    assert_eq!(c.attributes[1].substitute, [(b"c".to_vec(), b"d".to_vec())]);
}

#[test]
fn no_cookie_no_reply() {
    for datagram in [&b""[..], b" d7:command4:pinge", b"d7:command4:pinge", b"x"] {
        assert_eq!(decode_request(datagram), Err(NgError::NoCookie));
    }
    let long = [&[b'x'; 300][..], b" d7:command4:pinge"].concat();
    assert_eq!(decode_request(&long), Err(NgError::NoCookie));
}

#[test]
fn statistics_have_the_shape_that_clients_read() {
    let (_, reply) = decode_reply(
        b"1 d7:createdi1700000000e10:created_usi250000e6:totalsd3:RTPd7:packetsi3e5:bytesi516e6:errorsi0eee6:result2:oke",
    )
    .unwrap();
    let Reply::Stats(stats) = &reply else { panic!("{reply:?}") };
    assert_eq!(stats.created, Wall(1_700_000_000_250_000));
    assert_eq!((stats.rtp.packets, stats.rtp.bytes), (3, 516));
    let text = written(b"1", Encoding::Bencode, &reply);
    assert!(text.contains("7:createdi1700000000e10:created_usi250000e"));
    assert!(text.contains("6:totalsd3:RTPd7:packetsi3e5:bytesi516e6:errorsi0ee4:RTCPd7:packetsi0e"));
    assert!(text.ends_with("6:result2:oke"));
}

#[test]
fn suites_of_sdes_are_named_one_by_one_and_sixty_four_at_most() {
    let words: Vec<String> = (0..70).flat_map(|n| [format!("no-S{n}"), format!("only-T{n}")]).collect();
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.push("pad");
    words.push("whatever");
    let body = format!("{}{}{}{}", s("SDES"), list(&words), s("call-id"), s("c"));
    let body =
        format!("{body}{}{}{}{}{}{}", s("from-tag"), s("f"), s("sdp"), s(SDP), s("command"), s("offer"));
    let datagram = format!("1 d{body}e");
    let request = decode_request(datagram.as_bytes()).unwrap();
    let Command::Offer(offer) = request.command else { panic!("not an offer") };
    let named =
        |letter: &str| -> Vec<Vec<u8>> { (0..64).map(|n| format!("{letter}{n}").into_bytes()).collect() };
    assert_eq!(offer.sdes_no, named("S"));
    assert_eq!(offer.sdes_only, named("T"));
    assert!(offer.sdes_pad && !offer.sdes_off);
    assert_eq!(request.ignored, [b"SDES-whatever".to_vec()]);
    for off in ["off", "no", "disable"] {
        let text = datagram.replace(&list(&words), &list(&[off]));
        let Ok(Command::Offer(offer)) = decode_request(text.as_bytes()).map(|r| r.command) else { panic!() };
        assert!(offer.sdes_off && offer.sdes_no.is_empty(), "{off}");
    }
}

/// What Kamailio's `start_recording()` and `record-call` send, and how a client's names of files stay names.
#[test]
fn commands_about_recordings() {
    let recorded = |document: &str| match decode_request(format!("c {document}").as_bytes()) {
        Ok(request) => Ok((request.command, request.ignored)),
        Err(NgError::Bad { reason, .. }) => Err(reason),
        Err(_) => Err("no reply"),
    };
    let is = |command: &str, more: &str, what: RecordAction| {
        let (found, ignored) =
            recorded(&format!(r#"{{"command":"{command}","call-id":"c"{more}}}"#)).unwrap();
        let Command::Record(c) = found else { panic!("{found:?}") };
        assert_eq!((c.what, &c.call_id[..], ignored.len()), (what, &b"c"[..], 0), "{command}{more}");
        c
    };
    let c = is(
        "start recording",
        r#","metadata":"a|b","recording-file":"../x","output-destination":"y""#,
        RecordAction::Start,
    );
    assert_eq!(c.metadata.as_deref(), Some(&b"a|b"[..]));
    assert_eq!(c.file_names, [("recording-file", b"../x".to_vec()), ("output-destination", b"y".to_vec())]);
    is("stop recording", "", RecordAction::Stop);
    is("stop recording", r#","pause":"yes""#, RecordAction::Pause);
    is("stop recording", r#","flags":["pause"]"#, RecordAction::Pause);
    is("pause recording", "", RecordAction::Pause);
    is("start recording", r#","flags":["pause"]"#, RecordAction::Start);
    assert_eq!(recorded(r#"{"command":"start recording"}"#), Err("No call-id in message"));
    assert_eq!(recorded(r#"{"command":"some recording","call-id":"c"}"#), Err("Unrecognized command"));
    let long = format!(
        r#","recording-dir":"{}","recording-dir":"b","recording-dir":"c","recording-dir":"d","recording-dir":"e""#,
        "x".repeat(5_000)
    );
    let c = is("start recording", &long, RecordAction::Start);
    assert_eq!((c.file_names.len(), c.file_names[0].1.len()), (4, 1_024), "bounded");
    let offer = |more: &str| {
        let (found, ignored) =
            recorded(&format!(r#"{{"command":"offer","call-id":"c","from-tag":"f","sdp":"v=0"{more}}}"#))
                .unwrap();
        let Command::Offer(c) = found else { panic!("{found:?}") };
        (c.record, ignored.into_iter().map(|i| String::from_utf8(i).unwrap()).collect::<Vec<_>>())
    };
    for (more, record) in [
        ("", None),
        (r#","record-call":"yes""#, Some(true)),
        (r#","record call":"on""#, Some(true)),
        (r#","flags":["record-call"]"#, Some(true)),
        (r#","rtpp-flags":"record-call=yes trust-address""#, Some(true)),
        (r#","record-call":"no""#, Some(false)),
        (r#","record-call":"off""#, Some(false)),
    ] {
        assert_eq!(offer(more), (record, vec![]), "{more}");
    }
    assert_eq!(offer(r#","record-call":"perhaps""#), (None, vec!["record-call=perhaps".to_owned()]));
}

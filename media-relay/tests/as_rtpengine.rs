//! Whole dialogues as rtpengine answers them, line by line: what clients and public suites compare. Debian's daemon is asked the
//! same where it is installed, so that no line of this table is our opinion.

mod common;
mod engine;
mod programs;

use engine::Client;
use programs::has;
use serde_json::{Value, json};

const CALLER: &str = "v=0\r\no=alice 11 22 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
const CALLEE: &str = "v=0\r\no=bob 33 44 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
const EVENTS: &str = "a=rtpmap:101 telephone-event/8000\r\n";
const KEY: &str = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

/// One command and those lines of its answer that begin with one of the names, ports by name (`P`, `P+1`).
struct Step(Value, &'static [&'static str], &'static [&'static str]);

fn command(name: &str, from: &str, to: &str, sdp: String, more: &Value) -> Value {
    let mut c = json!({"command":name,"from-tag":from,"sdp":sdp,"ICE":"remove"});
    if !to.is_empty() {
        c["to-tag"] = json!(to);
    }
    for (key, value) in more.as_object().unwrap() {
        c[key] = value.clone();
    }
    c
}

/// The lines of the answer that are looked at, without keys and with ports by name.
fn seen(reply: &Value, names: &[&str]) -> Vec<String> {
    let Some(sdp) = reply["sdp"].as_str() else { return vec![reply["error-reason"].to_string()] };
    let mut port = 0u16;
    let mut out = Vec::new();
    for line in sdp.lines() {
        let mut line = line.to_owned();
        if line.starts_with("m=") {
            let word = line.split(' ').nth(1).unwrap().to_owned();
            port = word.parse().unwrap();
            line = line.replacen(&word, if port == 0 { "0" } else { "P" }, 1);
        } else if let Some(rtcp) = line.strip_prefix("a=rtcp:") {
            let number: u16 = rtcp.split(' ').next().unwrap().parse().unwrap();
            line = (if number == port { "a=rtcp:P" } else { "a=rtcp:P+1" }).to_owned();
        } else if line.starts_with("a=crypto:") {
            let (before, key) = line.split_once(" inline:").unwrap();
            let end = key.find(['=', '|']).unwrap_or(key.len());
            line = format!("{before} KEY{}", &key[end..]);
        }
        if names.iter().any(|name| line.starts_with(name)) {
            out.push(line);
        }
    }
    out
}

/// Offer, answer and both again, first by the caller and then by the callee.
fn twice(offer: &str, answer: &str, more: &Value) -> [Value; 6] {
    let (offer, answer) = (format!("{CALLER}{offer}"), format!("{CALLEE}{answer}"));
    [
        command("offer", "f", "", offer.clone(), more),
        command("answer", "f", "t", answer.clone(), more),
        command("offer", "f", "t", offer.clone(), more),
        command("answer", "f", "t", answer.clone(), more),
        command("offer", "t", "f", answer, more),
        command("answer", "t", "f", offer, more),
    ]
}

fn dialogue(
    commands: [Value; 6],
    names: &'static [&'static str],
    said: [&'static [&'static str]; 6],
) -> Vec<Step> {
    commands.into_iter().zip(said).map(|(c, said)| Step(c, names, said)).collect()
}

/// The dialogues and what is said in each.
fn dialogues() -> Vec<(&'static str, Vec<Step>)> {
    let none = json!({});
    let audio = format!("m=audio 40000 RTP/AVP 0 8 101\r\n{EVENTS}");
    let law = format!("m=audio 40010 RTP/AVP 8 101\r\n{EVENTS}");
    let with = |text: &str, more: &str| format!("{text}{more}");
    let mux = "a=rtcp-mux\r\n";
    let both: &[&str] = &["m=audio P RTP/AVP 0 8 101"];
    let one: &[&str] = &["m=audio P RTP/AVP 8 101"];
    let apart: &[&str] = &["a=rtcp:P+1"];
    let offered: &[&str] = &["a=rtcp:P+1", "a=rtcp-mux"];
    let together: &[&str] = &["a=rtcp:P", "a=rtcp-mux"];
    let rtcp: &[&str] = &["a=rtcp:", "a=rtcp-mux"];
    let zero: &[&str] = &["a=mid:zero"];
    let nothing: &[&str] = &[];
    let pcma = format!("{CALLEE}m=audio 40010 RTP/AVP 8 101\r\n{EVENTS}");
    let savp = |lines: &str| format!("{CALLER}m=audio 40000 RTP/SAVP 0\r\n{lines}");
    let plain = json!({"transport-protocol":"RTP/AVP","SDES":["no-AES_CM_128_HMAC_SHA1_80"]});
    let wide = format!(
        "{CALLER}m=audio 40000 RTP/AVP 96 0 97 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/48000\r\n{EVENTS}"
    );
    vec![
        (
            "an answer names codecs of its offer only (RFC 3264 §6.1)",
            dialogue(twice(&audio, &law, &none), &["m="], [both, one, both, one, one, one]),
        ),
        (
            "also not those that were stripped on the way",
            vec![
                Step(
                    command(
                        "offer",
                        "f",
                        "",
                        with(CALLER, &audio),
                        &json!({"codec":{"strip":["telephone-event"]}}),
                    ),
                    &["m=", "a=rtpmap"],
                    &["m=audio P RTP/AVP 0 8", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000"],
                ),
                Step(
                    command("answer", "f", "t", pcma, &none),
                    &["m=", "a=rtpmap"],
                    &["m=audio P RTP/AVP 8", "a=rtpmap:8 PCMA/8000"],
                ),
            ],
        ),
        (
            "events go with the last codec of their clock",
            vec![Step(
                command("offer", "f", "", wide.clone(), &json!({"codec":{"strip":["opus"]}})),
                &["m=", "a=rtpmap"],
                &["m=audio P RTP/AVP 0 101", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000"],
            )],
        ),
        (
            "codecs of media by DTLS are stripped as well",
            vec![Step(
                command(
                    "offer",
                    "f",
                    "",
                    format!(
                        "{}a=setup:actpass\r\na=fingerprint:sha-256 {}\r\n",
                        wide.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF"),
                        ["AB"; 32].join(":")
                    ),
                    &json!({"codec":{"strip":["opus"]},"transport-protocol":"RTP/AVP"}),
                ),
                &["m="],
                &["m=audio P RTP/AVP 0 101"],
            )],
        ),
        (
            "each party keeps the name that the offer gave to a section (RFC 5888 §9.1)",
            dialogue(twice(&with(&audio, "a=mid:zero\r\n"), &law, &none), &["a=mid"], [zero; 6]),
        ),
        (
            "a name is generated in offers, not in answers",
            dialogue(
                twice(&audio, &law, &json!({"flags":["generate-mid"]})),
                &["a=mid"],
                [&["a=mid:1"], nothing, &["a=mid:1"], nothing, &["a=mid:1"], &["a=mid:1"]],
            ),
        ),
        (
            "where RTCP is muxed already, offers name one port (RFC 5761 §5.1.1)",
            dialogue(
                twice(&with(&audio, mux), &with(&law, mux), &none),
                rtcp,
                [offered, together, together, together, together, together],
            ),
        ),
        (
            "mux that only one side has",
            dialogue(
                twice(&audio, &with(&law, mux), &json!({"rtcp-mux":["offer"]})),
                rtcp,
                [offered, apart, together, apart, offered, apart],
            ),
        ),
        (
            "require asks it of the other side, and says nothing to the offerer",
            vec![
                Step(
                    command(
                        "offer",
                        "f",
                        "",
                        format!("{CALLER}{audio}{mux}"),
                        &json!({"rtcp-mux":["require"]}),
                    ),
                    rtcp,
                    together,
                ),
                Step(command("answer", "f", "t", with(CALLEE, &law), &none), rtcp, apart),
            ],
        ),
        (
            "the suite of an answer is one that the command leaves",
            vec![
                Step(
                    command(
                        "offer",
                        "f",
                        "",
                        savp(&format!(
                            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\na=crypto:2 AES_CM_128_HMAC_SHA1_32 {KEY}\r\n"
                        )),
                        &plain,
                    ),
                    &["m="],
                    &["m=audio P RTP/AVP 0"],
                ),
                Step(
                    command(
                        "answer",
                        "f",
                        "t",
                        format!("{CALLEE}m=audio 40010 RTP/AVP 0\r\n"),
                        &json!({"SDES":plain["SDES"]}),
                    ),
                    &["a=crypto"],
                    &["a=crypto:2 AES_CM_128_HMAC_SHA1_32 KEY"],
                ),
            ],
        ),
        (
            "keys are written with padding and their life where that is asked (RFC 4568 §6.1)",
            vec![
                Step(
                    command(
                        "offer",
                        "f",
                        "",
                        format!("{CALLER}m=audio 40000 RTP/AVP 0\r\n"),
                        &json!({"transport-protocol":"RTP/SAVP","SDES":["pad","lifetime"]}),
                    ),
                    &["a=crypto:1 "],
                    &["a=crypto:1 AEAD_AES_256_GCM KEY=|2^31"],
                ),
                Step(
                    command(
                        "offer",
                        "g",
                        "",
                        format!("{CALLER}m=audio 40000 RTP/AVP 0\r\n"),
                        &json!({"transport-protocol":"RTP/SAVP","flags":["SDES-lifetime"]}),
                    ),
                    &["a=crypto:1 "],
                    &["a=crypto:1 AEAD_AES_256_GCM KEY|2^31"],
                ),
            ],
        ),
        (
            "a command without a name is not known",
            vec![Step(json!({"command":""}), &[], &["\"Unrecognized command\""])],
        ),
        (
            "protocols have the letters of their registration",
            vec![
                Step(
                    command("offer", "f", "", with(CALLER, &audio.replace("RTP/AVP", "rtp/avp")), &none),
                    &["m="],
                    both,
                ),
                Step(
                    command("offer", "g", "", format!("{CALLER}m=image 40000 UDPTL t38\r\n"), &none),
                    &["m="],
                    &["m=image P udptl t38"],
                ),
            ],
        ),
    ]
}

/// What of the table a relay says otherwise.
fn otherwise(client: &mut Client) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, (what, steps)) in dialogues().into_iter().enumerate() {
        for (n, Step(mut command, names, expected)) in steps.into_iter().enumerate() {
            command["call-id"] = json!(format!("as{at}"));
            let reply = client.ask(&command);
            let said = seen(&reply, names);
            if said != expected {
                wrong.push(format!("{what}, command {n}: said {said:#?}, expected {expected:#?}: {reply}"));
            }
        }
    }
    wrong
}

#[test]
fn dialogues_are_answered_as_rtpengine_answers_them() {
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let wrong = otherwise(&mut Client::ours(&world));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_is_what_debians_rtpengine_says() {
    if !has("rtpengine", "the_table_is_what_debians_rtpengine_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let wrong = otherwise(&mut Client::rtpengine(&folder, 37_000));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What our own proxy asks for where peers are held to codecs (RFC 0046): an offer that has none of them keeps its own, and is not
/// left with events alone.
#[test]
fn an_offer_without_the_wanted_codecs_keeps_its_own() {
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let mut client = Client::ours(&world);
    for (n, (offered, kept)) in
        [("9 101", "9 101"), ("9 0 101", "0 101"), ("9 13 101", "9 13 101")].into_iter().enumerate()
    {
        let sdp = format!("{CALLER}m=audio 40000 RTP/AVP {offered}\r\na=rtpmap:9 G722/8000\r\n{EVENTS}");
        let codec = json!({"strip":["all"],"except":["PCMU","telephone-event"]});
        let mut offer = command("offer", "f", "", sdp, &json!({"codec":codec}));
        offer["call-id"] = json!(format!("held-{n}"));
        let said = seen(&client.ask(&offer), &["m="]);
        assert_eq!(said, [format!("m=audio P RTP/AVP {kept}")]);
    }
}

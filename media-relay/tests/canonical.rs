//! The canonical rendering, line by line: against Debian's rtpengine over a corpus of SDPs and flags, and where versions of
//! rtpengine differ against the order of version 26 (`ref/ng-protocol.md`).
//!
//! Debian's 10.5 keeps the session's `c=`, leaves attributes that it does not understand before the codecs, and passes
//! lines on that newer versions drop; [`as_26`] moves just those. All else must be the same text.

mod common;
mod engine;
mod programs;

use engine::Client;
use programs::has;
use serde_json::{Value, json};

/// Lines with our ports by name: `P0` and `P0+1` of the first section, and so on.
fn lines(sdp: &str) -> Vec<String> {
    let (mut section, mut port) = (0, 0u16);
    let mut out = Vec::new();
    for line in sdp.lines() {
        let mut line = line.to_owned();
        if let Some(rest) = line.strip_prefix("m=") {
            section += 1;
            let mut words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
            port = words[1].parse().unwrap();
            if port != 0 {
                words[1] = format!("P{section}");
            }
            line = format!("m={}", words.join(" "));
        } else if let Some(rest) = line.strip_prefix("a=rtcp:") {
            let number: u16 = rest.split(' ').next().unwrap().parse().unwrap();
            let name = format!("P{section}+{}", number - port);
            line = line.replacen(&number.to_string(), &name, 1);
        }
        out.push(line);
    }
    out
}

/// A text of 10.5 in the order of 26. Only what is named here moves.
fn as_26(sdp: &str) -> Vec<String> {
    let all = lines(sdp);
    let mut parts: Vec<Vec<String>> = vec![Vec::new()];
    for line in all {
        if line.starts_with("m=") {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push(line);
    }
    let session = parts.remove(0);
    let address = session.iter().find(|l| l.starts_with("c=")).cloned();
    let gone = |l: &String| l.starts_with("c=") || l.starts_with("r=") || l.starts_with("b=X-");
    let mark = |l: &&String| l.starts_with("a=rtpengine:");
    let mut out: Vec<String> = session.iter().filter(|l| !gone(l) && !l.starts_with("a=")).cloned().collect();
    out.extend(session.iter().filter(mark).cloned());
    out.extend(session.iter().filter(|l| l.starts_with("a=") && !mark(l)).cloned());
    for part in parts {
        let is_rtp = part[0].contains("RTP/");
        let is_refused = part[0].split(' ').nth(1) == Some("0");
        let own = part.iter().find(|l| l.starts_with("c=")).cloned();
        let address = own.or_else(|| address.clone()).unwrap();
        let address = if is_refused { "c=IN IP4 0.0.0.0".to_owned() } else { address };
        let take = |names: &[&str]| -> Vec<String> {
            let is = |l: &&String| names.iter().any(|n| l.starts_with(n));
            part.iter().filter(is).cloned().collect()
        };
        let head = [&["m="][..], &["i="]].map(take).concat();
        out.extend(head);
        out.push(address);
        out.extend(take(&["b="]));
        let early = ["a=mid:", "a=label:"];
        let late = ["a=ptime:", "a=maxptime:"];
        let codec = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
        let ours = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive", "a=rtcp:", "a=rtcp-mux"];
        if is_refused {
            out.extend(early.iter().flat_map(|n| take(&[n])));
            continue;
        }
        if !is_rtp {
            out.extend(take(&["a="]));
            continue;
        }
        out.extend(early.iter().flat_map(|n| take(&[n])));
        let is_codec = |l: &String| codec.iter().any(|n| l.starts_with(n)) && !l.starts_with("a=rtcp-fb:*");
        out.extend(part.iter().filter(|l| is_codec(l)).cloned());
        out.extend(take(&["a=extmap"]));
        let placed = |l: &String| {
            [&early[..], &late, &ours].concat().iter().any(|n| l.starts_with(n)) || l.starts_with("a=extmap")
        };
        out.extend(part.iter().filter(|l| l.starts_with("a=") && !is_codec(l) && !placed(l)).cloned());
        out.extend(part.iter().filter(|l| ours.iter().any(|n| l.starts_with(n))).cloned());
        out.extend(late.iter().flat_map(|n| take(&[n])));
    }
    out
}

const SESSION: &str = "v=0\r\no=alice 11 22 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
const AUDIO: &str = "m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";
const ANSWER: &str =
    "m=audio 40010 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";
const RICH: &str = "v=0\r\no=alice 11 22 IN IP4 127.0.0.1\r\ns=call me\r\ni=info\r\nu=http://x/\r\ne=a@b\r\np=+1\r\nc=IN IP4 127.0.0.1\r\n\
b=AS:100\r\nb=CT:90\r\nb=X-YZ:9\r\nt=0 0\r\nr=7d 1h 0\r\na=group:BUNDLE a v\r\na=msid-semantic: WMS\r\na=tool:x\r\na=sendonly\r\n\
m=audio 40000 RTP/AVP 0 8 18 101\r\ni=audio info\r\nb=AS:64\r\na=mid:a\r\na=label:1\r\na=ptime:20\r\na=maxptime:40\r\na=foo:bar\r\n\
a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=fmtp:18 annexb=no\r\na=extmap:1 urn:x\r\na=silenceSupp:off - - - -\r\n\
m=video 40002 RTP/AVP 96 97\r\na=mid:v\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\n\
a=fmtp:97 profile-level-id=42e01f\r\na=rtcp-fb:* ccm fir\r\na=framerate:25\r\na=recvonly\r\nm=audio 0 RTP/AVP 0\r\na=rejected\r\n\
m=image 40004 udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=sendonly\r\n";

/// What is offered, what is answered (`""`: nothing), and further keys of both commands.
fn corpus() -> Vec<(&'static str, String, String, Value)> {
    let with = |more: &str| format!("{SESSION}{AUDIO}{more}");
    let answer = |more: &str| format!("{SESSION}{ANSWER}{more}");
    let opus = format!(
        "{SESSION}m=audio 40000 RTP/AVP 96 97 0\r\na=fmtp:96 useinbandfec=1; stereo=1\r\na=rtcp-fb:96 nack\r\n\
         a=rtpmap:96 opus/48000/2\r\na=rtcp-fb:96 pli\r\na=rtpmap:97 speex/16000/1\r\n"
    );
    let lf = with("a=ptime:20\r\n").replace("\r\n", "\n");
    let video = "m=video 40020 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    let zero = with("").replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0");
    let zero_media = with("m=audio 40020 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\na=sendrecv\r\n");
    vec![
        ("plain", with(""), answer(""), json!({})),
        ("LF only", lf, answer("a=ptime:20\r\n"), json!({})),
        ("everything at once", RICH.to_owned(), String::new(), json!({})),
        (
            "marked and with identifications",
            RICH.to_owned(),
            String::new(),
            json!({"replace":["origin"],"flags":["loop-protect"]}),
        ),
        ("codecs with parameters", opus, String::new(), json!({})),
        ("packet times", with("a=maxptime:60\r\na=ptime:20\r\n"), answer("a=ptime:30\r\n"), json!({})),
        ("send only", with("a=sendonly\r\n"), answer("a=recvonly\r\n"), json!({})),
        ("inactive", with("a=inactive\r\n"), answer("a=inactive\r\n"), json!({})),
        ("mux", with("a=rtcp-mux\r\n"), answer("a=rtcp-mux\r\n"), json!({})),
        ("mux refused", with("a=rtcp-mux\r\n"), answer(""), json!({})),
        ("mux offered", with(""), answer("a=rtcp-mux\r\n"), json!({"rtcp-mux":["offer"]})),
        ("mux required", with(""), answer("a=rtcp-mux\r\n"), json!({"rtcp-mux":["offer","require"]})),
        ("demux", with("a=rtcp-mux\r\n"), answer(""), json!({"rtcp-mux":["demux"]})),
        (
            "whole rtcp attribute",
            with("a=rtcp:40009\r\n"),
            answer(""),
            json!({"flags":["full-rtcp-attribute"]}),
        ),
        ("no rtcp attribute", with(""), answer(""), json!({"flags":["no-rtcp-attribute"]})),
        ("origin replaced", with(""), answer(""), json!({"replace":["origin"]})),
        ("feedback profile", with(""), String::new(), json!({"transport-protocol":"RTP/AVPF"})),
        (
            "a codec stripped",
            with(""),
            format!("{SESSION}m=audio 40010 RTP/AVP 8\r\n"),
            json!({"codec":{"strip":["PCMU"]}}),
        ),
        (
            "all stripped but two, in another order",
            with(""),
            format!("{SESSION}m=audio 40010 RTP/AVP 8\r\n"),
            json!({"codec":{"strip":["all"],"offer":["PCMA","PCMU"]}}),
        ),
        ("another address shown", with(""), String::new(), json!({"media-address":"203.0.113.9"})),
        ("a refused line", with("m=video 0 RTP/AVP 96\r\na=inactive\r\n"), String::new(), json!({})),
        ("a line refused by the answer", with(video), answer("m=video 0 RTP/AVP 96\r\n"), json!({})),
        ("two lines", with(video), answer(&video.replace("40020", "40012")), json!({})),
        ("hold by 0.0.0.0", zero, answer(""), json!({})),
        ("hold of one line", zero_media, String::new(), json!({})),
        (
            "fax",
            format!(
                "{SESSION}m=image 40004 udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=sendrecv\r\n"
            ),
            String::new(),
            json!({}),
        ),
    ]
}

fn commands(at: usize, offer: &str, answer: &str, more: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    for (name, sdp) in [("offer", offer), ("answer", answer)] {
        if sdp.is_empty() {
            continue;
        }
        let mut c = json!({"command":name,"call-id":format!("canonical{at}"),"from-tag":"ft","sdp":sdp,"ICE":"remove"});
        if name == "answer" {
            c["to-tag"] = json!("tt");
        }
        for (key, value) in more.as_object().unwrap() {
            c[key] = value.clone();
        }
        out.push(c);
    }
    out
}

#[test]
fn the_canonical_rendering_is_debians_text_in_the_order_of_26() {
    if !has("rtpengine", "the_canonical_rendering_is_debians_text_in_the_order_of_26") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut theirs = Client::rtpengine(&folder, 36_000);
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let mut ours = Client::ours(&world);
    let mut wrong = Vec::new();
    for (at, (what, offer, answer, more)) in corpus().into_iter().enumerate() {
        for command in commands(at, &offer, &answer, &more) {
            let (their_text, our_text) = (theirs.sdp(&command), ours.sdp(&command));
            let mark = |l: String| match l.starts_with("a=rtpengine:") {
                true => "a=rtpengine:ID".to_owned(),
                false => l,
            };
            let expected: Vec<String> = as_26(&their_text).into_iter().map(mark).collect();
            let said: Vec<String> = lines(&our_text).into_iter().map(mark).collect();
            if said != expected {
                let name = command["command"].as_str().unwrap();
                wrong.push(format!(
                    "{what}, {name}: ours\n{}\nexpected\n{}\nas Debian wrote it\n{their_text}",
                    said.join("\n"),
                    expected.join("\n")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of the corpus differ:\n{}", wrong.len(), wrong.join("\n=====\n"));
}

#[test]
fn the_ng_door_says_either_rendering_of_one_negotiation() {
    let offer = json!({"command":"offer","call-id":"x","from-tag":"f","sdp":format!("{SESSION}{AUDIO}")});
    for (rendering, expected) in [
        (
            warp_media_relay::config::Rendering::Canonical,
            "v=0\r\no=alice 11 22 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio P1 RTP/AVP 0 8 101\r\nc=IN IP4 127.0.0.1\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\na=rtcp:P1+1",
        ),
        (
            warp_media_relay::config::Rendering::Transparent,
            "v=0\r\no=alice 11 22 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio P1 RTP/AVP 0 8 101\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=rtcp:P1+1",
        ),
    ] {
        let world = common::World::new(|c| {
            c.ng = Some("127.0.0.1:0".parse().unwrap());
            c.sdp = rendering;
        });
        let said = Client::ours(&world).sdp(&offer);
        assert_eq!(lines(&said).join("\r\n"), expected, "{rendering:?}");
    }
}

#[test]
fn a_removed_line_is_left_out_and_comes_back_refused_in_the_answer() {
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let mut ours = Client::ours(&world);
    let video = "m=video 40020 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    let second = AUDIO.replace("40000", "40030");
    let m_lines = |sdp: &str| -> Vec<String> {
        let m = |l: &String| l.starts_with("m=");
        lines(sdp).into_iter().filter(m).map(|l| l.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    let ask = |name: &str, from: &str, to: &str, sdp: String| {
        let mut c = json!({"command":name,"call-id":"removed","from-tag":from,"sdp":sdp,"sdp-media-remove":["video"]});
        if !to.is_empty() {
            c["to-tag"] = json!(to);
        }
        c
    };
    // Three lines of the caller, two of the callee.
    let three = format!("{SESSION}{AUDIO}{video}{second}");
    let two = format!("{SESSION}{ANSWER}{}", ANSWER.replace("40010", "40012"));
    let offered = ours.sdp(&ask("offer", "f", "", three.clone()));
    assert_eq!(m_lines(&offered), ["m=audio P1", "m=audio P2"]);
    let answered = ours.sdp(&ask("answer", "f", "t", two.clone()));
    assert_eq!(m_lines(&answered), ["m=audio P1", "m=video 0", "m=audio P3"]);
    // The callee offers with its two lines: the caller sees three, and its three come back as two.
    let offered = ours.sdp(&ask("offer", "t", "f", two.clone()));
    assert_eq!(m_lines(&offered), ["m=audio P1", "m=video 0", "m=audio P3"]);
    let refusing = three.replace("m=video 40020", "m=video 0");
    let answered = ours.sdp(&ask("answer", "t", "f", refusing));
    assert_eq!(m_lines(&answered), ["m=audio P1", "m=audio P2"]);
    // A re-offer of the caller goes on as the first one did, also without the key.
    let mut again = ask("offer", "f", "t", three);
    again.as_object_mut().unwrap().remove("sdp-media-remove");
    assert_eq!(m_lines(&ours.sdp(&again)), ["m=audio P1", "m=audio P2"]);
    assert_eq!(m_lines(&ours.sdp(&ask("answer", "f", "t", two))), ["m=audio P1", "m=video 0", "m=audio P3"]);
}

//! `block media`, `silence media` and `block DTMF`: what passes and what does not, and the answers that clients get, ours and
//! those of Debian's rtpengine.

mod common;
mod engine;
mod programs;

use common::{Phone, World, rtp};
use engine::Client;
use programs::has;
use serde_json::{Value, json};

fn world() -> World {
    World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()))
}

/// A command about the call `c`, which must be taken.
fn keep(client: &mut Client, command: &str, more: Value) {
    let mut c = json!({"command":command,"call-id":"c"});
    for (key, value) in more.as_object().unwrap() {
        c[key] = value.clone();
    }
    assert_eq!(client.ask(&c), json!({"result":"ok"}), "{c}");
}

/// A packet of an event, number 5, of payload type 101.
fn event(phone: &mut Phone) -> Vec<u8> {
    let mut packet = phone.next_rtp()[..12].to_vec();
    packet[1] = 101;
    packet.extend_from_slice(&[5, 10, 0, 160]);
    packet
}

/// Sends `kept`, then what must pass: nothing else arrives.
fn only_passes(from: &mut Phone, to: &Phone, kept: &[Vec<u8>], passes: Vec<u8>) {
    for packet in kept {
        from.rtp.send_to(packet, from.relay.as_ref().unwrap().rtp).unwrap();
    }
    from.rtp.send_to(&passes, from.relay.as_ref().unwrap().rtp).unwrap();
    assert_eq!(to.recv_rtp(), passes);
}

#[test]
fn media_of_a_party_or_of_all_is_blocked_silenced_and_let_pass_again() {
    let world = world();
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("c", &mut a, &mut b);
    common::both_ways(&mut a, &mut b);
    // All of it, both ways; reports go on.
    keep(&mut client, "block media", json!({}));
    for _ in 0..3 {
        a.send_rtp();
        b.send_rtp();
    }
    let report = a.send_rtcp();
    assert_eq!(b.recv_rtcp(), report);
    let dropped = |w: &World| w.metric("warp_media_packet_errors_total{reason=\"no_session\"}");
    world.wait("six are kept back", |w| dropped(w) == 6.0);
    assert!(a.is_quiet() && b.is_quiet());
    keep(&mut client, "unblock media", json!({}));
    common::both_ways(&mut a, &mut b);
    // One party only, by its tag.
    keep(&mut client, "block media", json!({"from-tag":"caller","flags":["directional"]}));
    a.send_rtp();
    world.wait("one more", |w| dropped(w) == 7.0);
    let packet = b.send_rtp();
    assert_eq!(a.recv_rtp(), packet);
    assert!(b.is_quiet());
    keep(&mut client, "unblock media", json!({"from-tag":"caller","flags":["directional"]}));
    // Silence instead of what is said; events pass.
    keep(&mut client, "silence media", json!({"from-tag":"caller","flags":["directional"]}));
    let said = a.send_rtp();
    let heard = b.recv_rtp();
    assert_eq!((&heard[..12], &heard[12..]), (&said[..12], &[0xFF; 160][..]));
    let digit = event(&mut a);
    only_passes(&mut a, &b, &[], digit);
    let packet = b.send_rtp();
    assert_eq!(a.recv_rtp(), packet, "the other one is heard");
    keep(&mut client, "unsilence media", json!({}));
    common::both_ways(&mut a, &mut b);
    // Events are kept back, speech is not.
    keep(&mut client, "block DTMF", json!({}));
    let (digits, speech) = ([event(&mut a), event(&mut a)], a.next_rtp());
    only_passes(&mut a, &b, &digits, speech);
    keep(&mut client, "unblock DTMF", json!({}));
    let digit = event(&mut a);
    only_passes(&mut a, &b, &[], digit);
    common::both_ways(&mut a, &mut b);
}

/// A re-offer and a later branch change nothing of what was said of all.
#[test]
fn what_is_kept_back_stays_so_over_a_reoffer() {
    let world = world();
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    b.relay = Some(world.sdp(warp_ng::Command::Offer(common::offer("c", &a.sdp()))));
    keep(&mut client, "block DTMF", json!({}));
    a.relay = Some(world.sdp(warp_ng::Command::Answer(common::answer("c", &b.sdp()))));
    for _ in 0..2 {
        let (digits, speech) = ([event(&mut a), event(&mut a)], a.next_rtp());
        only_passes(&mut a, &b, &digits, speech);
        world.call("c", &mut a, &mut b);
    }
    let packet = rtp(2, 500);
    b.rtp.send_to(&packet, b.relay.as_ref().unwrap().rtp).unwrap();
    assert_eq!(a.recv_rtp(), packet);
}

#[test]
fn the_answers_are_those_of_rtpengine() {
    let folder = tempfile::tempdir().unwrap();
    let world = world();
    let mut clients = vec![Client::ours(&world)];
    if has("rtpengine", "the_answers_are_those_of_rtpengine") {
        clients.push(Client::rtpengine(&folder, 38_800));
    }
    let sdp = Phone::new("127.0.0.1", false, 1).sdp();
    for (at, client) in clients.iter_mut().enumerate() {
        client.sdp(&json!({"command":"offer","call-id":"c","from-tag":"f","label":"caller","sdp":sdp}));
        client.sdp(&json!({"command":"answer","call-id":"c","from-tag":"f","to-tag":"t","sdp":sdp}));
        for command in
            ["block media", "unblock media", "silence media", "unsilence media", "block DTMF", "unblock DTMF"]
        {
            let mut say = |more: Value| {
                let mut c = json!({"command":command,"call-id":"c"});
                for (key, value) in more.as_object().unwrap() {
                    c[key] = value.clone();
                }
                let reply = client.ask(&c);
                reply["error-reason"].as_str().unwrap_or_else(|| reply["result"].as_str().unwrap()).to_owned()
            };
            let who = if at == 0 { "ours" } else { "rtpengine" };
            for (more, wanted) in [
                (json!({}), "ok"),
                (json!({"from-tag":"f"}), "ok"),
                (json!({"from-tag":"nobody"}), "From-tag given, but no such tag exists"),
                (json!({"label":"caller"}), "ok"),
                (json!({"address":"127.0.0.1"}), "ok"),
                (json!({"call-id":"another"}), "Unknown call-ID"),
                (json!({"label":"nobody"}), "No monologue matching the given label"),
                (json!({"address":"192.0.2.77"}), "Failed to match address to any tag"),
                (
                    json!({"from-tag":"nobody","flags":["directional"]}),
                    "From-tag given, but no such tag exists",
                ),
            ] {
                assert_eq!(say(more.clone()), wanted, "{who}: {command} {more}");
            }
        }
    }
}

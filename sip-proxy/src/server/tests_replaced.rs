//! A core that is replaced while a relay still owes it an answer, on a running shard.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};

use warp_model::sync::lock;
use warp_ng::{Command, Reply};
use warp_sip::flow::Flow;

use super::media_control::MediaControl;
use super::shard::Shard;
use super::tests::shard_with;
use super::tests_journal::{invite, world};
use crate::core::Mode;
use crate::core::tests_world::{SDP, with_body};

/// The offers of a relay that takes its time.
type Owed = Arc<Mutex<Vec<(Vec<u8>, Box<dyn FnOnce(Reply) + Send>)>>>;

fn relay(owed: &Owed) -> MediaControl {
    let owed = Arc::clone(owed);
    MediaControl::InProcess(Arc::new(move |command, reply| match command {
        Command::Offer(offer) => lock(&owed).push((offer.sdp, reply)),
        _ => reply(Reply::Ok { warning: None }),
    }))
}

/// F-PROC-05: what the relay answers to a question of the core of before is nobody's; it never becomes the SDP of another call.
#[test]
fn f_proc_05_an_answer_to_a_replaced_core_reaches_no_question_of_the_new_one() {
    let (customer, vendor, snapshots) = world();
    let owed = Owed::default();
    let (mut shard, metrics) = shard_with(Mode::Policy, Some(snapshots), relay(&owed));
    let now = warp_net::clock::Clock::now();
    shard.take_snapshot(now);
    let (us, from) = (shard.udp_addr(), customer.local_addr().unwrap());
    let dial = |shard: &mut Shard, call: &str| {
        let plain = invite(us, from, "+14155550123", call);
        let (head, _) = plain.split_once("Content-Length").unwrap();
        let text = with_body(head, SDP);
        shard.on_message(Flow::udp(us, from), text.as_bytes(), now);
        shard.flush(now);
        lock(&owed).pop().expect("the relay is asked").1
    };
    let of_old = dial(&mut shard, "old");
    for _ in 0..17 {
        shard.with_core(now, |_| panic!("meant"));
    }
    assert_eq!((metrics.panics.value(()), shard.core_stats().requests_in), (17, 0), "a new core");
    let of_new = dial(&mut shard, "new");
    let answer = |shard: &mut Shard, reply: Box<dyn FnOnce(Reply) + Send>, sdp: &str| {
        reply(Reply::Sdp { sdp: sdp.as_bytes().to_vec(), warning: None, recordings: Vec::new() });
        shard.on_mailbox(now);
        shard.flush(now);
        invites(&vendor)
    };
    let old = answer(&mut shard, of_old, "v=1\r\n");
    assert!(old.is_empty(), "the other call's media: {old:#?}");
    let new = answer(&mut shard, of_new, "v=2\r\n");
    assert!(
        new.len() == 1 && new[0].contains("Call-ID: ") && new[0].ends_with("\r\n\r\nv=2\r\n"),
        "{new:#?}"
    );
}

/// INVITEs that have arrived at a vendor.
fn invites(vendor: &UdpSocket) -> Vec<String> {
    vendor.set_nonblocking(true).unwrap();
    let mut bytes = [0; 8_192];
    let mut all = Vec::new();
    while let Ok(n) = vendor.recv(&mut bytes) {
        all.push(String::from_utf8_lossy(&bytes[..n]).into_owned());
    }
    all.retain(|text| text.starts_with("INVITE "));
    all
}

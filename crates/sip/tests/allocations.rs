//! The message path asks the heap for nothing (G-3: refusals cost less than acceptance; issue A: proxy view with 0 allocations).

use std::path::Path;

use allocation_counter::measure;
use warp_sip::edit::{Edit, NewVia};
use warp_sip::flow::Transport;
use warp_sip::message::{self, Message, ResponseDraft};

fn torture() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut all = Vec::new();
    for rfc in ["rfc4475", "rfc5118"] {
        for entry in std::fs::read_dir(folder.join(rfc)).unwrap() {
            let path = entry.unwrap().path();
            all.push((path.display().to_string(), std::fs::read(path).unwrap()));
        }
    }
    all
}

#[test]
fn reading_checking_forwarding_and_answering_allocate_nothing() {
    let mut out = Vec::with_capacity(65_536);
    for (name, bytes) in torture() {
        let used = measure(|| {
            out.clear();
            match Message::parse(&bytes) {
                Err(e) => {
                    ResponseDraft::new(0).broken(&bytes, &e, &mut out);
                }
                Ok(msg) => {
                    let _ = message::check(&msg).and_then(|()| message::check_proxy(&msg, &[]));
                    let _ = (msg.vias().count(), msg.routes().count(), msg.contacts().count(), msg.sdp());
                    message::respond(&msg, 503, "", Some(b"t"), &[("Retry-After", b"5")], &mut out);
                    let via = NewVia {
                        transport: Transport::Udp,
                        sent_by: b"h",
                        branch: b"z9hG4bKx",
                        rport: false,
                    };
                    let mut edit = Edit::new(&msg);
                    edit.mark_received_rport(([192, 0, 2, 1], 5060).into())
                        .push_via(via)
                        .set_max_forwards(1)
                        .remove_trust_headers();
                    edit.write_to(&mut out).unwrap();
                }
            }
        });
        assert_eq!(used.count_total, 0, "{name}");
    }
}

//! Transaction steps (RFC 3261 §17): the machines alone, without bytes, and what a proxy decides with them.

use divan::{Bencher, black_box};
use warp_model::Mono;
use warp_sip::dialog::{Dialog, Party, Side};
use warp_sip::proxy::{FailoverRules, verdict};
use warp_sip::transaction::{
    ClientInput, ClientInvite, ClientOther, ServerInput, ServerInvite, ServerOther, Timers,
};

fn main() {
    divan::main();
}

/// INVITE as a proxy sees it: both machines from the request to the 2xx and its last timer.
#[divan::bench]
fn invite_answered(bencher: Bencher<'_, '_>) {
    let t = Timers::default();
    bencher.bench_local(|| {
        let now = black_box(Mono(1));
        let mut server = ServerInvite::start(false);
        let (mut client, _) = ClientInvite::start(false, &t, now);
        for status in [100, 180, 200] {
            black_box(client.on_input(ClientInput::Response(status), &t, now));
            black_box(server.on_input(ServerInput::Respond(status), &t, now));
        }
        let end = client.next_timeout().unwrap_or(now);
        black_box((client.on_timeout(&t, end), server.on_timeout(&t, end)))
    });
}

/// BYE: both machines from the request to the 200 and its last timer.
#[divan::bench]
fn bye(bencher: Bencher<'_, '_>) {
    let t = Timers::default();
    bencher.bench_local(|| {
        let now = black_box(Mono(1));
        let mut server = ServerOther::start(false);
        let (mut client, _) = ClientOther::start(false, &t, now);
        black_box(client.on_input(ClientInput::Response(200), &t, now));
        black_box(server.on_input(ServerInput::Respond(200), &t, now));
        let end = server.next_timeout().unwrap_or(now);
        black_box((client.on_timeout(&t, end), server.on_timeout(&t, end)))
    });
}

/// What a vendor's final means.
#[divan::bench]
fn failover_verdict() -> warp_sip::proxy::Verdict {
    verdict(black_box(480), black_box(Some(34)), &FailoverRules::default())
}

/// A BYE of our own, from the dialog.
#[divan::bench]
fn originated_bye(bencher: Bencher<'_, '_>) {
    let party = |who: &str| Party {
        address: format!("<sip:{who}@192.0.2.10>;tag=0123456789abcdef").into_bytes(),
        tag: b"0123456789abcdef".to_vec(),
        target: format!("sip:{who}@192.0.2.10:5070").into_bytes(),
        routes: vec![b"<sip:192.0.2.20:5060;lr>".to_vec()],
        cseq: 1,
    };
    let mut dialog = Dialog {
        call_id: b"1-2@192.0.2.10".to_vec(),
        caller: party("a"),
        callee: party("b"),
        shown: Vec::new(),
    };
    let mut out = Vec::with_capacity(1_024);
    bencher.bench_local(|| {
        out.clear();
        dialog.write_request("BYE", Side::Callee, b"SIP/2.0/UDP us;branch=z9hG4bK1", b"", &mut out);
        black_box(out.len())
    });
}

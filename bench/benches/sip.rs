//! SIP: reading and forwarding a 1-kB INVITE. Targets (issue A): proxy view ≤ 1 µs without allocation, forwarded copy ≤ 1.3 µs.

use divan::{AllocProfiler, Bencher, black_box};
use warp_sip::edit::{Edit, NewVia};
use warp_sip::flow::Transport;
use warp_sip::message::{self, Message};
use warp_sip::stream::Framer;
use warp_sip::uri::Uri;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// An INVITE of 1,0xx bytes as a carrier sends it: two Vias, a Route to us, SDP.
fn invite() -> Vec<u8> {
    let sdp = "v=0\r\no=carrier 3725198 3725198 IN IP4 198.51.100.20\r\ns=-\r\nc=IN IP4 198.51.100.20\r\nt=0 0\r\nm=audio 21432 RTP/AVP 0 8 101\r\n\
               a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
    let text = format!(
        "INVITE sip:+14155550123@192.0.2.10:5060;user=phone SIP/2.0\r\n\
         Via: SIP/2.0/UDP 198.51.100.10:5060;rport;branch=z9hG4bK7f3e1c0a9d8b4e6f\r\n\
         Via: SIP/2.0/UDP 198.51.100.30:5060;received=198.51.100.30;rport=5060;branch=z9hG4bK-524287-1---3f0eb40b11f9\r\n\
         Max-Forwards: 69\r\n\
         Route: <sip:192.0.2.10:5060;lr>\r\n\
         From: \"Example Caller\" <sip:+12125550100@198.51.100.10;user=phone>;tag=5e00e125a9\r\n\
         To: <sip:+14155550123@192.0.2.10;user=phone>\r\n\
         Call-ID: 9f4d2f0e-6a41-4b7a-b2c8-0a8f6f0d1c2e@198.51.100.30\r\n\
         CSeq: 102 INVITE\r\n\
         Contact: <sip:+12125550100@198.51.100.10:5060;transport=udp>\r\n\
         P-Asserted-Identity: <sip:+12125550100@198.51.100.10;user=phone>\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK\r\n\
         Supported: timer, 100rel\r\n\
         User-Agent: Carrier-SBC/7.2\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    text.into_bytes()
}

/// What a proxy looks at before it decides: index, top Via, tags, CSeq, Call-ID, Request-URI, limits.
#[divan::bench]
fn proxy_view(bencher: Bencher<'_, '_>) {
    let invite = invite();
    bencher.bench_local(|| {
        let msg = Message::parse(black_box(&invite)).unwrap();
        let uri = Uri::parse(msg.request_uri().unwrap()).unwrap();
        black_box((
            msg.top_via().branch,
            msg.from_tag(),
            msg.to_tag(),
            msg.cseq(),
            msg.call_id().len(),
            msg.max_forwards(),
            uri.host.len(),
        ))
    });
}

/// The same, kept for the forwarding: what the parse alone costs when the message goes on.
#[divan::bench]
fn parse_and_check(bencher: Bencher<'_, '_>) {
    let invite = invite();
    bencher.bench_local(|| {
        let msg = Message::parse(black_box(&invite)).unwrap();
        message::check(&msg).unwrap();
        message::check_proxy(&msg, &[]).unwrap();
        black_box(msg.cseq())
    });
}

/// Parse and forwarded copy together.
#[divan::bench]
fn parse_and_forward(bencher: Bencher<'_, '_>) {
    let invite = invite();
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        let msg = Message::parse(black_box(&invite)).unwrap();
        forward(&msg, &mut out);
        black_box(out.len())
    });
}

/// The copy alone: Max-Forwards, received, Via, Record-Route, Route.
#[divan::bench]
fn forwarded_copy(bencher: Bencher<'_, '_>) {
    let invite = invite();
    let msg = Message::parse(&invite).unwrap();
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        forward(black_box(&msg), &mut out);
        black_box(out.len())
    });
}

fn forward(msg: &Message<'_>, out: &mut Vec<u8>) {
    out.clear();
    let mut edit = Edit::new(msg);
    edit.mark_received_rport(([198, 51, 100, 10], 5060).into())
        .push_via(NewVia {
            transport: Transport::Udp,
            sent_by: b"192.0.2.10:5060",
            branch: b"z9hG4bK0123456789abcdef",
            rport: false,
        })
        .set_max_forwards(msg.max_forwards().unwrap_or(70) - 1)
        .remove_route_top()
        .add_record_route(b"<sip:192.0.2.10:5060;lr>");
    edit.write_to(out).unwrap();
}

#[divan::bench]
fn respond_100(bencher: Bencher<'_, '_>) {
    let invite = invite();
    let msg = Message::parse(&invite).unwrap();
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        message::respond(black_box(&msg), 100, "", None, &[], &mut out);
        black_box(out.len())
    });
}

#[divan::bench]
fn frame_from_stream(bencher: Bencher<'_, '_>) {
    let invite = invite();
    let mut framer = Framer::new();
    bencher.bench_local(|| {
        framer.push(black_box(&invite));
        let got = matches!(framer.poll_frame(), Some(warp_sip::stream::Frame::Message(_)));
        assert!(got && framer.poll_frame().is_none());
    });
}

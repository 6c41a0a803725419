//! ng: one offer as Kamailio sends it, decoded; replies encoded; a repeated cookie.

use std::net::SocketAddr;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use warp_model::now::Mono;
use warp_ng::codec::{decode_reply, decode_request, encode_reply, encode_request};
use warp_ng::{Channel, Command, CookieCache, Encoding, Ice, Reply, SdpCommand, bencode};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const SDP: &str = "v=0\r\no=carrier 3725198 3725198 IN IP4 198.51.100.20\r\ns=-\r\nc=IN IP4 198.51.100.20\r\nt=0 0\r\nm=audio 21432 RTP/AVP 0 8 101\r\n\
    a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";

fn offer() -> Command {
    let mut c = SdpCommand::new("9f4d2f0e-6a41-4b7a-b2c8-0a8f6f0d1c2e@198.51.100.30", "5e00e125a9", SDP);
    c.via_branch = Some(b"z9hG4bK7f3e1c0a9d8b4e6f".to_vec());
    c.received_from = Some([198, 51, 100, 10].into());
    c.ice = Some(Ice::Remove);
    c.flags.trust_address = true;
    c.replace.origin = true;
    Command::Offer(c)
}

fn datagram(encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::new();
    encode_request(b"0_16215_1", encoding, true, &offer(), &mut out);
    out
}

/// Bencode to the flat form: the decoder alone.
#[divan::bench]
fn bencode_decode(bencher: Bencher<'_, '_>) {
    let all = datagram(Encoding::Bencode);
    let document = &all[10..];
    bencher
        .counter(BytesCount::of_slice(document))
        .bench_local(|| bencode::decode(black_box(document)).unwrap().len());
}

/// A datagram to the typed command.
#[divan::bench(args = [Encoding::Bencode, Encoding::Json])]
fn decode_offer(bencher: Bencher<'_, '_>, encoding: &Encoding) {
    let all = datagram(*encoding);
    bencher.counter(BytesCount::of_slice(&all)).bench_local(|| decode_request(black_box(&all)).unwrap());
}

/// The typed command to a datagram, into a buffer that is kept.
#[divan::bench]
fn encode_offer(bencher: Bencher<'_, '_>) {
    let command = offer();
    let mut out = Vec::with_capacity(2_048);
    bencher.bench_local(|| {
        out.clear();
        encode_request(b"0_16215_1", Encoding::Bencode, true, black_box(&command), &mut out);
        out.len()
    });
}

/// The reply with SDP.
#[divan::bench]
fn encode_sdp_reply(bencher: Bencher<'_, '_>) {
    let reply = Reply::Sdp { sdp: SDP.as_bytes().to_vec(), warning: None, recordings: Vec::new() };
    let mut out = Vec::with_capacity(2_048);
    bencher.bench_local(|| {
        out.clear();
        encode_reply(b"0_16215_1", Encoding::Bencode, true, black_box(&reply), &mut out);
        out.len()
    });
}

/// The client's half.
#[divan::bench]
fn decode_sdp_reply(bencher: Bencher<'_, '_>) {
    let mut datagram = Vec::new();
    let reply = Reply::Sdp { sdp: SDP.as_bytes().to_vec(), warning: None, recordings: Vec::new() };
    encode_reply(b"0_16215_1", Encoding::Bencode, true, &reply, &mut datagram);
    bencher.bench_local(|| decode_reply(black_box(&datagram)).unwrap());
}

/// A cookie that is not known yet, in a cache of 10,000: what every command pays for T-NG-03.
#[divan::bench]
fn cookie_lookup_and_keep(bencher: Bencher<'_, '_>) {
    let mut cache = CookieCache::new(10_000, 32 << 20);
    let from = SocketAddr::from(([127, 0, 0, 1], 2_223));
    let mut n = 0u64;
    bencher.bench_local(|| {
        n += 1;
        let cookie = n.to_be_bytes();
        let now = Mono(n * 10_000);
        assert!(cache.repeat(Channel::Udp, from, &cookie, now).is_none());
        cache.keep(Channel::Udp, from, &cookie, &[0; 300], now);
    });
}

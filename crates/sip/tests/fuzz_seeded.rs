//! Seeded mutations of real messages through the fuzz targets (`ref/threats-and-faults` §4): the same bytes on every run.
//! `WARP_FUZZ_ROUNDS` makes it longer.

use std::path::Path;

use warp_sip::fuzzing::{
    fuzz_sip_digest, fuzz_sip_parse, fuzz_sip_session, fuzz_sip_stream, fuzz_sip_uri, fuzz_sip_via,
};

/// xorshift64*: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\\\0",
    b"\"",
    b"\\",
    b"<",
    b">",
    b",",
    b";",
    b":",
    b"=",
    b"@",
    b"?",
    b"%",
    b"%00",
    b"[",
    b"]",
    b"[::1]",
    b" ",
    b"\t",
    b"\r\n ",
    b"\r\n\r\n",
    b"SIP/2.0",
    b"sip:",
    b"tel:+1",
    b"Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n",
    b"v:",
    b"Route: <sip:a;lr>\r\n",
    b"Content-Length: 0\r\n",
    b"l: 99999\r\n",
    b";tag=x",
    b"CSeq: 4294967295 INVITE\r\n",
    b"Contact: *\r\n",
    b"\xff",
    b"Max-Forwards: 0\r\n",
    b"P-Asserted-Identity : <sip:a@b>\r\n",
    b"*",
    b"0",
    b"-1",
];

fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut data = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(data.len() + 1);
        let to = (at + random.below(40)).min(data.len());
        match random.below(7) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 => drop(data.drain(at..to)),
            2 => {
                let piece = data[at..to].to_vec();
                data.splice(at..at, piece);
            }
            3 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let until = (from + random.below(200)).min(other.len());
                data.splice(at..to, other[from..until].iter().copied());
            }
            4 => data.truncate(at),
            _ => {
                let token = TOKENS[random.below(TOKENS.len())];
                data.splice(at..at, token.iter().copied());
            }
        }
    }
    data
}

fn messages() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files: Vec<_> = ["rfc4475", "rfc5118"]
        .iter()
        .flat_map(|d| std::fs::read_dir(folder.join(d)).unwrap())
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|f| std::fs::read(f).unwrap()).collect()
}

fn rounds(default: u64) -> u64 {
    std::env::var("WARP_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Runs a target; a failure names the seed and the bytes.
fn run(name: &str, corpus: &[Vec<u8>], target: fn(&[u8]), default: u64) {
    for seed in 1..=rounds(default) {
        let data = mutate(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)), corpus);
        if std::panic::catch_unwind(|| target(&data)).is_err() {
            panic!("{name}: seed {seed}: {}", data.escape_ascii());
        }
    }
}

#[test]
fn t_sip_01_mutated_messages_do_no_harm() {
    let corpus = messages();
    for m in &corpus {
        fuzz_sip_parse(m);
    }
    run("sip_parse", &corpus, fuzz_sip_parse, 12_000);
}

#[test]
fn t_sip_04_mutated_streams_do_no_harm() {
    // Piece sizes stand before each piece.
    let framed = |m: &Vec<u8>| {
        m.chunks(97)
            .flat_map(|c| std::iter::once(c.len() as u8).chain(c.iter().copied()))
            .collect::<Vec<u8>>()
    };
    let corpus: Vec<_> = messages().iter().map(framed).collect();
    run("sip_stream", &corpus, fuzz_sip_stream, 6_000);
}

#[test]
fn mutated_uris_do_no_harm() {
    let corpus = [
        "sip:alice:pw@[2001:db8::1]:5070;transport=tcp;lr?Subject=x&a=b",
        "sips:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1@example.com",
        "tel:+1-415-555-0100;npdi;rn=+14155550199",
        "sip:%2B14155550100;npdi;rn=+1@gw.example.com;user=phone",
        "sip:user@[2001:db8:::192.0.2.1]",
        "urn:service:sos",
    ]
    .map(|s| s.as_bytes().to_vec());
    run("sip_uri", &corpus, fuzz_sip_uri, 30_000);
}

#[test]
fn mutated_header_values_do_no_harm() {
    let corpus = [
        "SIP / 2.0 / UDP [2001:db8::9:1]:5060 ; branch = z9hG4bKx;rport=5060;received=192.0.2.1;maddr=h;ttl=1",
        "\"A \\\" <b>\" <sip:a@b;lr>;tag=1;q=0.5, <sip:c@d>, sip:e@f;expires=1",
        "Q.850 ;cause=16 ;text=\"Normal\", SIP;cause=200",
    ]
    .map(|s| s.as_bytes().to_vec());
    run("sip_via", &corpus, fuzz_sip_via, 30_000);
}

#[test]
fn t_sip_18_mutated_multipart_bodies_do_no_harm() {
    let corpus = [
        "multipart/mixed;boundary=b1\n--b1\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n\r\n--b1\r\n\
         Content-Type: application/isup\r\nContent-Disposition: signal;handling=optional\r\n\r\n\x01\x02\r\n--b1--\r\n",
        "multipart/related;boundary=\"b 1\"\npreamble\r\n--b 1\r\n\r\nhello\r\n--b 1 \t\r\nContent-Type: \
         multipart/alternative;boundary=in\r\n\r\n--in\r\nContent-Type: application/sdp;x=y\r\nContent-Disposition: session\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\nv=0\r\n\r\n--in--\r\n\r\n--b 1--\r\nepilogue",
        "application/sdp\nv=0\r\n",
        "--b1\r\n--b1--\r\n--in\r\nContent-Type: application/sdp\r\n",
    ]
    .map(|s| s.as_bytes().to_vec());
    run("sip_session", &corpus, fuzz_sip_session, 40_000);
}

#[test]
fn t_sip_09_mutated_digests_do_no_harm() {
    let corpus = [
        "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:h\", response=\"00\", cnonce=\"c\", nc=00000001, qop=auth, algorithm=SHA-256",
        "Digest realm=\"r\", nonce=\"n\", algorithm=MD5, qop=\"auth,auth-int\", stale=true, opaque=\"o\"",
    ]
    .map(|s| s.as_bytes().to_vec());
    run("sip_digest", &corpus, fuzz_sip_digest, 20_000);
}

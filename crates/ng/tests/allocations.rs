//! What a document may cost: at most 64 bytes of memory for each of its own, and 64 KiB (G-1, T-NG-02).

use allocation_counter::measure;
use warp_ng::codec::{decode_reply, decode_request, encode_reply, encode_request};
use warp_ng::{CallStats, Command, Encoding, Reply, SdpCommand, SsrcStats, TagStats};

/// xorshift64*.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n.max(1) as u64) as usize
    }

    fn damage(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len());
        match self.below(5) {
            0 if at < data.len() => data[at] = self.below(256) as u8,
            1 if at < data.len() => drop(data.remove(at)),
            2 => data.insert(at, b"deil0123456789:-,{}[]\"\\ ="[self.below(24)]),
            3 => data.truncate(at),
            _ => {
                let piece = data[at..(at + self.below(200)).min(data.len())].to_vec();
                data.extend(piece);
            }
        }
    }
}

fn check(data: &[u8]) {
    let limit = data.len() as u64 * 64 + 65_536;
    let used = measure(|| drop(decode_request(data)));
    assert!(used.bytes_max <= limit, "request of {} bytes took {}", data.len(), used.bytes_max);
    assert!(used.count_total <= data.len() as u64 + 64, "{} allocations", used.count_total);
    let used = measure(|| drop(decode_reply(data)));
    assert!(used.bytes_max <= limit, "reply of {} bytes took {}", data.len(), used.bytes_max);
}

#[test]
fn t_ng_02_damaged_datagrams_cost_no_more_than_their_size_allows() {
    let mut offer = SdpCommand::new("call", "from", "v=0\r\nm=audio 1 RTP/AVP 0\r\n");
    offer.codec.strip = vec![b"all".to_vec(), b"opus/48000/2".to_vec()];
    offer.direction = Some((b"a".to_vec(), b"b".to_vec()));
    offer.flags.loop_protect = true;
    let stats = CallStats {
        ssrcs: vec![SsrcStats::default(); 3],
        tags: vec![TagStats { tag: b"t".to_vec(), peers: vec![b"u".to_vec()], ..TagStats::default() }; 3],
        ..CallStats::default()
    };
    let mut random = Seeded(0x5EED_0A11);
    for encoding in [Encoding::Bencode, Encoding::Json] {
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        encode_request(b"c", encoding, true, &Command::Offer(offer.clone()), &mut request);
        encode_reply(b"c", encoding, true, &Reply::Stats(Box::new(stats.clone())), &mut reply);
        for whole in [request, reply] {
            check(&whole);
            for _ in 0..5_000 {
                let mut data = whole.clone();
                for _ in 0..=random.below(4) {
                    random.damage(&mut data);
                }
                check(&data);
            }
        }
    }
}

#[test]
fn t_ng_02_documents_made_to_grow_do_not() {
    let head = "c {\"command\":\"offer\",\"sdp\":\"v\",\"call-id\":\"c\",\"from-tag\":\"f\",";
    let list = |item: &str, n: usize| vec![format!("\"{item}\""); n].join(",");
    let documents = [
        format!("{head}\"flags\":[{}]}}", list("codec-strip-x", 4_000)),
        format!("{head}\"flags\":[{}]}}", list("", 4_000)),
        format!("{head}\"codec\":{{\"strip\":[{}]}}}}", list("x", 4_000)),
        format!("{head}\"media-ips\":[{}]}}", list("::1", 4_000)),
        format!("{head}\"sdp-attr\":{{{}}}}}", vec!["\"a\":{\"add\":[\"x\"]}"; 800].join(",")),
        format!("{head}\"rtpp-flags\":\"{}\"}}", "codec-strip-x ".repeat(2_000)),
        format!("{head}\"rtpp-flags\":\"{}\"}}", "a=[".repeat(10_000)),
        format!("{head}\"rtpp-flags\":\"{}\"}}", "\\u0020".repeat(5_000)),
        format!("{head}{}}}", vec!["\"rtpp-flags\":\"a=[b=[c d]]\""; 2_000].join(",")),
        format!("c d{}e", "1:a0:".repeat(2_000)),
        format!("c {{\"result\":\"ok\",\"tags\":{{{}}}}}", vec!["\"\":{}"; 2_000].join(",")),
        format!("c {{\"result\":\"ok\",\"tags\":{{}},\"SSRC\":{{{}}}}}", vec!["\"1\":{}"; 2_000].join(",")),
        format!("c {{\"result\":\"ok\",\"calls\":[{}]}}", list("", 4_000)),
    ];
    for document in documents {
        check(document.as_bytes());
    }
}

#[test]
fn t_ng_06_added_attributes_are_bounded_for_each_kind_of_section() {
    let add = vec![format!("\"{}\"", "x".repeat(500)); 60].join(",");
    let document = format!(
        "c {{\"command\":\"offer\",\"sdp\":\"v\",\"call-id\":\"c\",\"from-tag\":\"f\",\"sdp-attr\":{{\"audio\":{{\"add\":[{add}]}}}}}}"
    );
    let Command::Offer(c) = decode_request(document.as_bytes()).unwrap().command else { panic!() };
    assert_eq!(c.attributes[0].add.len(), 4, "2,048 bytes in all");
}

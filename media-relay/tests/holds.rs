//! What is told of a hold to the other side, in both renderings.

mod desk;

use desk::*;
use warp_ng::{AddressFamily, Command};

/// A phone that speaks IPv4 alone cannot take `IN IP6 ::` (RFC 6157 §3), nor the other way round: the zeros of a hold (RFC 3264
/// §8.4) and those of a refused line are in the family of who gets them, in both renderings and on every level.
#[test]
fn the_zeros_of_a_hold_are_in_the_family_of_who_gets_them() {
    for canonical in [false, true] {
        let mut book = book();
        let mut offered = |tag: &str, sdp: String, family: AddressFamily, call: &str| {
            let mut o = offer(call, tag, sdp);
            o.address_family = Some(family);
            // A client of ng gets the canonical rendering, this process the transparent one.
            let from = canonical.then(|| "127.0.0.1".parse().unwrap());
            text(book.handle_command(Command::Offer(o), from, at(0)))
        };
        let on_line = |ip: &str, zero: &str| {
            sdp(ip, 4000, "").replacen("0 101\r\n", &format!("0 101\r\nc={zero}\r\n"), 1)
        };
        let from_six = [sdp("::", 4000, ""), on_line("2001:db8::77", "IN IP6 ::")];
        for (n, held) in from_six.into_iter().enumerate() {
            let told = offered("f", held, AddressFamily::Ip4, &format!("six {n}"));
            assert!(
                told.contains("c=IN IP4 0.0.0.0\r\n") && !told.contains("c=IN IP6"),
                "{canonical}: {told}"
            );
            assert!(told.contains("a=sendonly\r\n"), "{told}");
        }
        let from_four = [sdp("0.0.0.0", 4000, ""), on_line("198.51.100.1", "IN IP4 0.0.0.0")];
        for (n, held) in from_four.into_iter().enumerate() {
            let told = offered("f", held, AddressFamily::Ip6, &format!("four {n}"));
            assert!(told.contains("c=IN IP6 ::\r\n") && !told.contains("c=IN IP4"), "{canonical}: {told}");
        }
        let refused = sdp("2001:db8::77", 4000, "m=video 0 RTP/AVP 99\r\nc=IN IP6 ::\r\n");
        let told = offered("f", refused, AddressFamily::Ip4, "refused");
        assert!(told.contains("m=video 0 ") && !told.contains("c=IN IP6"), "{canonical}: {told}");
    }
}

//! SRTP and SRTCP as stages: published packets, round trips, and everything that must not come through.

use warp_media::packet::RoomyPacket;
use warp_media::pipeline::{Stage, StageMaker};
use warp_media::srtp::{CryptoLine, SOURCES, SrtpMaker, Suite};
use warp_media::{DropReason, MediaPath};
use warp_model::Mono;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn line(suite: Suite, master: Vec<u8>) -> CryptoLine {
    CryptoLine::new(1, suite, master).unwrap()
}

fn some_line(suite: Suite) -> CryptoLine {
    line(suite, (1..=suite.master_len() as u8).collect())
}

fn stages(of: &CryptoLine) -> (Box<dyn Stage>, Box<dyn Stage>) {
    (SrtpMaker::protect(of).unwrap().make(), SrtpMaker::unprotect(of).unwrap().make())
}

fn run(stage: &mut dyn Stage, packet: &[u8], path: MediaPath) -> Result<Vec<u8>, DropReason> {
    let mut buffer = [&[0; 64], packet, &[0; 64]].concat();
    let mut roomy = RoomyPacket::new(&mut buffer, 64, 64 + packet.len()).unwrap();
    stage.run(&mut roomy, path, Mono(0))?;
    Ok(roomy.bytes().to_vec())
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let head = [&[0x80, 0][..], &sequence.to_be_bytes(), &[0, 0, 0, 9], &ssrc.to_be_bytes()].concat();
    [head, vec![0xAB; 160]].concat()
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat()
}

/// The packets that libsrtp's own tests compare with, for both kinds of suites.
#[test]
fn packets_of_libsrtp_are_opened_and_ours_are_theirs() {
    let plain = hex("800f1234 decafbad cafebabe abababab abababab abababab abababab");
    let report = hex("81c8000b cafebabe abababab abababab abababab abababab");
    for (suite, master, sealed, sealed_report) in [
        (
            Suite::Cm128Long,
            "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6",
            "800f1234 decafbad cafebabe 4e55dc4c e79978d8 8ca4d215 949d2402 b78d6acc 99ea179b 8dbb",
            "81c8000b cafebabe 7128035b e487b9bd bef89041 f977a5a8 80000001 993e08cd 54d6c123 0798",
        ),
        (
            Suite::Gcm128,
            "000102030405060708090a0b0c0d0e0f a0a1a2a3a4a5a6a7a8a9aaab",
            "800f1234 decafbad cafebabe c5002ede 04cfdd2e b91159e0 880aa06e d2976826 f796b201 df3131a1 27e8a392",
            "81c8000b cafebabe c98b8b5d f0392a55 852b6c21 ac8e7025 c52c6fbe a2b3b446 ea31123b a88ce61e 80000001",
        ),
    ] {
        let (mut protect, mut unprotect) = stages(&line(suite, hex(master)));
        assert_eq!(run(&mut *protect, &plain, MediaPath::Rtp).unwrap(), hex(sealed), "{suite:?}");
        assert_eq!(run(&mut *unprotect, &hex(sealed), MediaPath::Rtp).unwrap(), plain, "{suite:?}");
        assert_eq!(run(&mut *unprotect, &hex(sealed_report), MediaPath::Rtcp).unwrap(), report, "{suite:?}");
        // libsrtp counts from 1, we from 0 (RFC 3711 §3.4).
        run(&mut *protect, &report, MediaPath::Rtcp).unwrap();
        assert_eq!(run(&mut *protect, &report, MediaPath::Rtcp).unwrap(), hex(sealed_report), "{suite:?}");
    }
}

#[test]
fn t_rtp_05_what_is_changed_anywhere_is_dropped_and_spoils_nothing() {
    for suite in Suite::ALL {
        let (mut protect, mut unprotect) = stages(&some_line(suite));
        for (path, plain) in [(MediaPath::Rtp, rtp(7, 100)), (MediaPath::Rtcp, rtcp(7))] {
            let sealed = run(&mut *protect, &plain, path).unwrap();
            assert_ne!(sealed[8..12], [0xAB; 4]);
            for at in 0..sealed.len() {
                let mut bad = sealed.clone();
                bad[at] ^= 0x10;
                let refused = run(&mut *unprotect, &bad, path);
                assert!(refused.is_err(), "{suite:?} {path:?}, byte {at}");
            }
            for length in 0..sealed.len() {
                assert!(run(&mut *unprotect, &sealed[..length], path).is_err(), "{suite:?}, {length} bytes");
            }
            assert_eq!(run(&mut *unprotect, &sealed, path).unwrap(), plain, "{suite:?}");
            assert_eq!(run(&mut *unprotect, &sealed, path), Err(DropReason::SrtpReplay), "{suite:?}");
            assert!(run(&mut *unprotect, &plain, path).is_err(), "plain text is not let in");
        }
    }
}

#[test]
fn the_rollover_counter_is_kept_forwards_and_for_late_packets() {
    for suite in [Suite::Cm128Short, Suite::Gcm256] {
        let (mut protect, mut unprotect) = stages(&some_line(suite));
        let mut late = Vec::new();
        // Three rounds of the 16 bits, with one packet of each round coming late.
        for n in 0..200_000u32 {
            if n % 10 != 0 && n % 65_536 > 40 && n % 65_536 < 65_500 {
                continue;
            }
            let sealed = run(&mut *protect, &rtp(7, n as u16), MediaPath::Rtp).unwrap();
            if n % 65_536 == 65_530 {
                late = sealed;
                continue;
            }
            assert_eq!(run(&mut *unprotect, &sealed, MediaPath::Rtp).unwrap(), rtp(7, n as u16), "{n}");
            if n % 65_536 == 20 && n > 65_536 {
                assert_eq!(run(&mut *unprotect, &late, MediaPath::Rtp).unwrap(), rtp(7, 65_530));
                assert_eq!(run(&mut *unprotect, &late, MediaPath::Rtp), Err(DropReason::SrtpReplay));
            }
        }
    }
}

#[test]
fn a_keystream_is_used_once() {
    let (mut protect, _) = stages(&some_line(Suite::Gcm128));
    run(&mut *protect, &rtp(7, 1), MediaPath::Rtp).unwrap();
    let mut other = rtp(7, 1);
    other[20] = 0;
    assert_eq!(run(&mut *protect, &other, MediaPath::Rtp), Err(DropReason::SrtpReplay));
    // More sources than are kept apart: none is forgotten, the new one is refused.
    for ssrc in 8..(7 + SOURCES as u32) {
        run(&mut *protect, &rtp(ssrc, 1), MediaPath::Rtp).unwrap();
    }
    assert!(run(&mut *protect, &rtp(1_000, 1), MediaPath::Rtp).is_err());
    assert!(run(&mut *protect, &rtp(7, 2), MediaPath::Rtp).is_ok());
    // Two stages of one key never use one index of SRTCP twice.
    let maker = SrtpMaker::protect(&some_line(Suite::Cm128Long)).unwrap();
    let (mut a, mut b) = (maker.make(), maker.make());
    let mut words = Vec::new();
    for is_first in [true, false, true] {
        let stage = if is_first { &mut a } else { &mut b };
        let sealed = run(&mut **stage, &rtcp(7), MediaPath::Rtcp).unwrap();
        words.push(u32::from_be_bytes(sealed[8..12].try_into().unwrap()));
    }
    assert_eq!(words, [0x8000_0000, 0x8000_0001, 0x8000_0002]);
}

#[test]
fn headers_with_sources_and_extensions_stay_readable() {
    for suite in [Suite::Cm256Long, Suite::Gcm256] {
        let (mut protect, mut unprotect) = stages(&some_line(suite));
        let mut packet = rtp(7, 1);
        packet[0] = 0x92; // two CSRCs and an extension of one word
        let sealed = run(
            &mut *protect,
            &[&packet[..12], &[1; 8], &[0xBE, 0xDE, 0, 1, 5, 5, 5, 5], &packet[12..]].concat(),
            MediaPath::Rtp,
        )
        .unwrap();
        assert_eq!(sealed[12..28], [1, 1, 1, 1, 1, 1, 1, 1, 0xBE, 0xDE, 0, 1, 5, 5, 5, 5]);
        assert_ne!(sealed[28..44], [0xAB; 16]);
        assert_eq!(run(&mut *unprotect, &sealed, MediaPath::Rtp).unwrap()[28..], packet[12..]);
        // An extension longer than the packet.
        packet[0] = 0x90;
        packet.truncate(14);
        assert!(run(&mut *protect, &packet, MediaPath::Rtp).is_err());
    }
}

#[test]
fn a_key_identifier_is_cut_out_where_the_author_announced_one() {
    for suite in [Suite::Cm128Long, Suite::Gcm128] {
        let ours = some_line(suite);
        let text = ours.line(false);
        let theirs =
            CryptoLine::parse(format!("{}|2^31|258:4", text.strip_prefix("a=crypto:").unwrap()).as_bytes());
        let theirs = theirs.unwrap();
        let (mut protect, _) = stages(&ours);
        let mut unprotect = SrtpMaker::unprotect(&theirs).unwrap().make();
        for (path, plain) in [(MediaPath::Rtp, rtp(7, 1)), (MediaPath::Rtcp, rtcp(7))] {
            let sealed = run(&mut *protect, &plain, path).unwrap();
            let behind = match (suite.is_gcm(), path) {
                // GCM: the identifier comes last.
                (true, _) => 0,
                (false, _) => 10,
            };
            let at = sealed.len() - behind;
            let with = |mki: [u8; 4]| [&sealed[..at], &mki, &sealed[at..]].concat();
            assert!(run(&mut *unprotect, &with([0, 0, 1, 3]), path).is_err());
            assert!(run(&mut *unprotect, &sealed, path).is_err());
            assert_eq!(run(&mut *unprotect, &with([0, 0, 1, 2]), path).unwrap(), plain, "{suite:?} {path:?}");
        }
    }
}

#[test]
fn srtp_stages_allocate_nothing() {
    for suite in Suite::ALL {
        let (mut protect, mut unprotect) = stages(&some_line(suite));
        let mut buffer = vec![0; 64 + 172 + 64];
        let info = allocation_counter::measure(|| {
            for n in 0..100u16 {
                buffer[64..236].copy_from_slice(&[[0; 12], [0xAB; 12]].concat().repeat(8)[..172]);
                buffer[64] = 0x80;
                buffer[66..68].copy_from_slice(&n.to_be_bytes());
            }
        });
        // The copying above is the test's own.
        let own = info.count_total;
        let info = allocation_counter::measure(|| {
            for n in 0..100u16 {
                buffer[64..236].copy_from_slice(&[[0; 12], [0xAB; 12]].concat().repeat(8)[..172]);
                buffer[64] = 0x80;
                buffer[66..68].copy_from_slice(&n.to_be_bytes());
                let mut packet = RoomyPacket::new(&mut buffer, 64, 236).unwrap();
                protect.run(&mut packet, MediaPath::Rtp, Mono(0)).unwrap();
                unprotect.run(&mut packet, MediaPath::Rtp, Mono(0)).unwrap();
                protect.run(&mut packet, MediaPath::Rtcp, Mono(0)).unwrap();
                unprotect.run(&mut packet, MediaPath::Rtcp, Mono(0)).unwrap();
            }
        });
        assert_eq!(info.count_total, own, "{suite:?}");
    }
}

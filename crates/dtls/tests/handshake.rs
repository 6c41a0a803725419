//! Handshakes over a wire that the test is: both roles, wrong certificates, strangers in between, lost and broken datagrams;
//! and the session machine with checks and handshake together.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use warp_dtls::Identity;
use warp_media::ice::{Candidate, Credentials, IceSetup};
use warp_media::keying::{
    DigestKind, DtlsSetup, Fingerprint, Handshake, HandshakeMaker, KeySlot, Progress, SlotMaker,
};
use warp_media::packet::RoomyPacket;
use warp_media::pipeline::Stage;
use warp_media::rtp::{PacketClass, classify};
use warp_media::session::{SessionMachine, SessionOutcome, SessionOutput, SessionSetup, Source};
use warp_media::srtp::CryptoLine;
use warp_media::{DropReason, LocalPort, MediaPath};
use warp_model::Mono;

fn at(ms: u64) -> Mono {
    Mono(ms * 1_000_000)
}

fn identity() -> Arc<Identity> {
    Arc::new(Identity::generate(at(0)).unwrap())
}

fn print(of: &Arc<Identity>) -> Fingerprint {
    Fingerprint::of(DigestKind::Sha256, of.certificate())
}

type Keys = Option<Box<[CryptoLine; 2]>>;

/// Carries datagrams between two until both wait; `wire` may change or lose each, by its number.
fn carry(
    ends: &mut [Box<dyn Handshake>; 2],
    keys: &mut [Keys; 2],
    now: Mono,
    wire: &mut dyn FnMut(&mut Vec<u8>) -> bool,
) -> bool {
    let mut ended = false;
    loop {
        let mut moved = false;
        for i in 0..2 {
            while let Some(mut datagram) = ends[i].poll_transmit() {
                moved = true;
                if !wire(&mut datagram) {
                    continue;
                }
                match ends[1 - i].handle(&datagram, now) {
                    Progress::UnderWay => {}
                    Progress::Done(made) => keys[1 - i] = Some(made),
                    Progress::Ended => ended = true,
                }
            }
        }
        if !moved {
            return ended;
        }
    }
}

fn both(prints: [Vec<Fingerprint>; 2], ids: [&Arc<Identity>; 2]) -> [Box<dyn Handshake>; 2] {
    [ids[0].make(true, &prints[0], at(0)).unwrap(), ids[1].make(false, &prints[1], at(0)).unwrap()]
}

#[test]
fn both_ends_make_the_same_keys() {
    let (a, b) = (identity(), identity());
    let mut ends = both([vec![print(&b)], vec![print(&a)]], [&a, &b]);
    let mut keys: [Keys; 2] = [None, None];
    carry(&mut ends, &mut keys, at(0), &mut |_| true);
    let [Some(active), Some(passive)] = keys else { panic!("not done") };
    assert!(active[0] == passive[1] && active[1] == passive[0] && active[0] != active[1]);
}

/// RFC 5763 §5: the certificate must be the one of the SDP, on both ends.
#[test]
fn t_rtp_06_another_certificate_makes_no_key() {
    let (a, b, other) = (identity(), identity(), identity());
    for (prints, who) in
        [([vec![print(&other)], vec![print(&a)]], 0), ([vec![print(&b)], vec![print(&other)]], 1)]
    {
        let mut ends = both(prints, [&a, &b]);
        let mut keys: [Keys; 2] = [None, None];
        let mut ended = carry(&mut ends, &mut keys, at(0), &mut |_| true);
        for ms in (0..20_000).step_by(100) {
            for end in &mut ends {
                if end.poll_timeout().is_some_and(|due| due <= at(ms)) {
                    ended |= end.handle_timeout(at(ms)) == Progress::Ended;
                }
            }
            ended |= carry(&mut ends, &mut keys, at(ms), &mut |_| true);
        }
        assert!(ended && keys[who].is_none(), "{who}");
    }
}

/// Every fifth datagram is lost: the handshake ends well all the same.
#[test]
fn t_rtp_06_lost_datagrams_are_made_good() {
    let (a, b) = (identity(), identity());
    for seed in 0..6u64 {
        let mut ends = both([vec![print(&b)], vec![print(&a)]], [&a, &b]);
        let mut keys: [Keys; 2] = [None, None];
        let mut count = seed;
        let mut wire = |_: &mut Vec<u8>| {
            count += 1;
            count % 5 != 0
        };
        for ms in (0..25_000).step_by(50) {
            for end in &mut ends {
                if end.poll_timeout().is_some_and(|due| due <= at(ms)) {
                    assert_ne!(end.handle_timeout(at(ms)), Progress::Ended, "seed {seed} at {ms}");
                }
            }
            carry(&mut ends, &mut keys, at(ms), &mut wire);
            if keys.iter().all(Option::is_some) {
                break;
            }
        }
        assert!(keys.iter().all(Option::is_some), "seed {seed}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    /// Whatever comes before, between and after: no panic, and the true handshake makes its keys.
    #[test]
    fn t_rtp_06_no_bytes_end_a_handshake(garbage in proptest::collection::vec(proptest::collection::vec(0u8.., 0..80), 1..6), like in proptest::bool::ANY) {
        let (a, b) = (identity(), identity());
        let mut ends = both([vec![print(&b)], vec![print(&a)]], [&a, &b]);
        let mut keys: [Keys; 2] = [None, None];
        let shape = |bytes: &Vec<u8>| {
            let mut bytes = bytes.clone();
            if like && bytes.len() > 13 {
                let length = (bytes.len() - 13) as u16;
                bytes[..3].copy_from_slice(&[22, 254, 253]);
                bytes[3..11].fill(0);
                bytes[11..13].copy_from_slice(&length.to_be_bytes());
            }
            bytes
        };
        for end in &mut ends {
            for bytes in &garbage {
                let _ = end.handle(&shape(bytes), at(0));
            }
        }
        for ms in (0..8_000).step_by(100) {
            for end in &mut ends {
                if end.poll_timeout().is_some_and(|due| due <= at(ms)) {
                    let _ = end.handle_timeout(at(ms));
                }
            }
            carry(&mut ends, &mut keys, at(ms), &mut |_| true);
        }
        // A broken first flight may cost a handshake, which the session machine begins anew; it never makes other keys.
        if let [Some(active), Some(passive)] = &keys {
            proptest::prop_assert!(active[0] == passive[1] && active[1] == passive[0]);
            for bytes in &garbage {
                proptest::prop_assert_ne!(ends[0].handle(&shape(bytes), at(9_000)), Progress::Ended);
            }
        }
    }
}

const PORTS: [LocalPort; 2] = [LocalPort { ip: 0, port: 30_000 }, LocalPort { ip: 1, port: 40_000 }];

fn addresses() -> [SocketAddr; 2] {
    ["192.0.2.1:30000".parse().unwrap(), "192.0.2.2:40000".parse().unwrap()]
}

/// Two session machines with a port each, and a stranger who may shout at both.
struct Pair {
    machines: [SessionMachine; 2],
    slots: [Arc<KeySlot>; 2],
    peers: [Option<SocketAddr>; 2],
    /// The rule's own peer, where there are no checks.
    exact: bool,
    to_strangers: usize,
}

impl Pair {
    fn new(ice: bool, ids: [&Arc<Identity>; 2]) -> Self {
        let slots: [Arc<KeySlot>; 2] = [Arc::default(), Arc::default()];
        let mut machines = [SessionMachine::default(), SessionMachine::default()];
        for i in 0..2 {
            let words = ["aaaa", "bbbb"].map(|name| Credentials {
                ufrag: name.into(),
                password: format!("{name}{name}-password-of-22"),
            });
            let setup = SessionSetup {
                ice: ice.then(|| IceSetup {
                    ours: words[i].clone(),
                    theirs: words[1 - i].clone(),
                    candidates: vec![Candidate { address: addresses()[1 - i], priority: 7 }],
                    controlling: i == 0,
                    lite: i == 1,
                    tie_breaker: i as u64,
                    seed: [i as u8; 12],
                    priority: 1,
                }),
                dtls: Some(DtlsSetup {
                    maker: Arc::clone(ids[i]) as Arc<dyn HandshakeMaker>,
                    active: i == 0,
                    fingerprints: vec![print(ids[1 - i])],
                    slot: Arc::clone(&slots[i]),
                }),
                peer: Some(addresses()[1 - i]),
            };
            machines[i].install(PORTS[i], Some(&Arc::new(setup)), at(0));
        }
        Self { machines, slots, peers: [None; 2], exact: !ice, to_strangers: 0 }
    }

    fn source(&self, i: usize, address: SocketAddr) -> Source {
        let expected =
            if self.exact { address == addresses()[1 - i] } else { self.peers[i] == Some(address) };
        Source { address, expected, allowed: expected }
    }

    fn carry(&mut self, now: Mono) {
        let mut wire: VecDeque<(usize, SocketAddr, Vec<u8>)> = VecDeque::new();
        loop {
            for i in 0..2 {
                while let Some(output) = self.machines[i].poll_output() {
                    match output {
                        SessionOutput::Transmit { to, bytes, .. } => wire.push_back((i, to, bytes)),
                        SessionOutput::Peer { address, .. } => self.peers[i] = address,
                    }
                }
            }
            let Some((from, to, bytes)) = wire.pop_front() else { return };
            if to != addresses()[1 - from] {
                self.to_strangers += 1;
                continue;
            }
            let source = self.source(1 - from, addresses()[from]);
            let class = classify(&bytes);
            let _ = self.machines[1 - from].handle(PORTS[1 - from], class, source, &bytes, now);
        }
    }

    fn run(&mut self, until: u64, mut meanwhile: impl FnMut(&mut Self, Mono)) {
        for ms in (0..until).step_by(20) {
            for i in 0..2 {
                if self.machines[i].poll_timeout().is_some_and(|due| due <= at(ms)) {
                    self.machines[i].handle_timeout(at(ms));
                }
            }
            meanwhile(self, at(ms));
            self.carry(at(ms));
            if self.slots.iter().all(|s| s.is_filled()) {
                return;
            }
        }
    }
}

#[test]
fn checks_come_first_and_the_handshake_behind_them() {
    let (a, b) = (identity(), identity());
    for ice in [true, false] {
        let mut pair = Pair::new(ice, [&a, &b]);
        pair.run(4_000, |_, _| {});
        assert!(pair.slots.iter().all(|s| s.is_filled()), "ice: {ice}");
        // Protected by one, opened by the other.
        let mut buffer = vec![0; 300];
        buffer[64..76].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4]);
        buffer[76..96].fill(0x55);
        let plain = buffer[64..96].to_vec();
        let mut packet = RoomyPacket::new(&mut buffer, 64, 96).unwrap();
        let [_, mut close]: [Box<dyn Stage>; 2] = SlotMaker::both(&pair.slots[0]).map(|m| m.make());
        let [mut open, _]: [Box<dyn Stage>; 2] = SlotMaker::both(&pair.slots[1]).map(|m| m.make());
        close.run(&mut packet, MediaPath::Rtp, at(0)).unwrap();
        assert_ne!(&packet.bytes()[..32], &plain[..]);
        open.run(&mut packet, MediaPath::Rtp, at(0)).unwrap();
        assert_eq!(packet.bytes(), plain);
        // A second time is a replay; without keys nothing passes, in neither direction.
        let waiting: Arc<KeySlot> = Arc::default();
        let [mut opens, mut closes] = SlotMaker::both(&waiting).map(|m| m.make());
        assert_eq!(opens.run(&mut packet, MediaPath::Rtp, at(0)), Err(DropReason::SrtpAuth));
        assert_eq!(closes.run(&mut packet, MediaPath::Rtp, at(0)), Err(DropReason::NoDestination));
    }
}

/// T-RTP-06: a stranger's ClientHello, before and during the handshake, gets silence and the true handshake succeeds: 100 of
/// 100 races, with and without ICE.
#[test]
fn t_rtp_06_a_strangers_client_hello_gets_silence_and_the_true_handshake_succeeds() {
    let (a, b, mallory) = (identity(), identity(), identity());
    let hello = |fingerprint: &Fingerprint| {
        let mut stranger = mallory.make(true, std::slice::from_ref(fingerprint), at(0)).unwrap();
        stranger.poll_transmit().unwrap()
    };
    let (stranger, hello) = ("203.0.113.66:30000".parse().unwrap(), hello(&print(&b)));
    for race in 0..100u64 {
        let mut pair = Pair::new(race % 2 == 0, [&a, &b]);
        let mut shouts = 0u64;
        pair.run(8_000, |pair, now| {
            shouts += 1;
            if !shouts.is_multiple_of(1 + race % 3) {
                return;
            }
            for (machine, port) in pair.machines.iter_mut().zip(PORTS) {
                let source = Source { address: stranger, expected: false, allowed: false };
                let outcome = machine.handle(port, PacketClass::Dtls, source, &hello, now);
                assert_eq!(outcome, SessionOutcome::Unwanted(DropReason::Source));
            }
        });
        assert!(pair.slots.iter().all(|s| s.is_filled()), "race {race}");
        assert_eq!(pair.to_strangers, 0, "race {race}");
    }
}

/// Behind a NAT whose address is shared a stranger may be allowed to speak: his handshake has no part in the true one's.
#[test]
fn t_rtp_06_a_strangers_handshake_from_an_allowed_address_does_not_hinder_the_true_one() {
    let (a, b, mallory) = (identity(), identity(), identity());
    let mut pair = Pair::new(false, [&a, &b]);
    let stranger: SocketAddr = "192.0.2.1:6666".parse().unwrap();
    let mut other = mallory.make(true, &[print(&b)], at(0)).unwrap();
    pair.run(8_000, |pair, now| {
        while let Some(bytes) = other.poll_transmit() {
            let source = Source { address: stranger, expected: false, allowed: true };
            let _ = pair.machines[1].handle(PORTS[1], PacketClass::Dtls, source, &bytes, now);
        }
        let mut kept = Vec::new();
        while let Some(output) = pair.machines[1].poll_output() {
            match output {
                SessionOutput::Transmit { to, bytes, .. } if to == stranger => {
                    drop(other.handle(&bytes, now))
                }
                output => kept.push(output),
            }
        }
        for output in kept {
            if let SessionOutput::Transmit { bytes, .. } = output {
                let source = pair.source(0, addresses()[1]);
                let _ = pair.machines[0].handle(PORTS[0], PacketClass::Dtls, source, &bytes, now);
            }
        }
    });
    assert!(pair.slots.iter().all(|s| s.is_filled()));
}

/// The keys of a call stay what they are, whatever comes behind them; a port without a session answers nobody.
#[test]
fn t_rtp_06_07_what_comes_later_changes_nothing_and_keep_alives_are_taken() {
    let (a, b) = (identity(), identity());
    let mut pair = Pair::new(false, [&a, &b]);
    pair.run(4_000, |_, _| {});
    let later = at(10_000);
    let mut again = a.make(true, &[print(&b)], at(0)).unwrap();
    let hello = again.poll_transmit().unwrap();
    let source = pair.source(1, addresses()[0]);
    let _ = pair.machines[1].handle(PORTS[1], PacketClass::Dtls, source, &hello, later);
    for cut in 0..hello.len() {
        let _ = pair.machines[1].handle(PORTS[1], PacketClass::Dtls, source, &hello[..cut], later);
    }
    assert!(pair.slots.iter().all(|s| s.is_filled()));
    // Without a session.
    let mut bare = SessionMachine::default();
    let indication = [&[0, 0x11, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[9; 12]].concat();
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[9; 12]].concat();
    let peer = Source { address: addresses()[0], expected: true, allowed: true };
    let stranger = Source { expected: false, allowed: false, ..peer };
    let mut say = |class, source, bytes: &[u8]| bare.handle(PORTS[0], class, source, bytes, later);
    assert_eq!(say(PacketClass::Stun, peer, &indication), SessionOutcome::Taken);
    assert_eq!(say(PacketClass::Stun, stranger, &indication), SessionOutcome::Unwanted(DropReason::Source));
    for bad in [&request[..], &indication[..7], &[&indication[..], &[0]].concat()] {
        assert_eq!(say(PacketClass::Stun, peer, bad), SessionOutcome::Unwanted(DropReason::Kind));
    }
    assert_eq!(say(PacketClass::Dtls, peer, &hello), SessionOutcome::Unwanted(DropReason::Kind));
    assert_eq!(bare.poll_output(), None);
    assert_eq!(bare.poll_timeout(), None);
}

//! Tests of [`crate::session`] with a handshake that the test is.

use super::*;
use crate::keying::{Fingerprint, HandshakeMaker, KeySlot};
use crate::stun::StunWriter;

const PORT: LocalPort = LocalPort { ip: 0, port: 30_000 };

/// Its first flight says how many were made before it.
#[derive(Debug, Default)]
struct Maker(std::sync::atomic::AtomicU8);

#[derive(Debug)]
struct Flight(Option<Vec<u8>>);

impl HandshakeMaker for Maker {
    fn make(&self, active: bool, _: &[Fingerprint], _: Mono) -> Option<Box<dyn Handshake>> {
        let made = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(Box::new(Flight(active.then(|| vec![made]))))
    }

    fn certificate(&self) -> &[u8] {
        b""
    }
}

impl Handshake for Flight {
    fn handle(&mut self, _: &[u8], _: Mono) -> Progress {
        Progress::Ended
    }

    fn handle_timeout(&mut self, _: Mono) -> Progress {
        Progress::UnderWay
    }

    fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.0.take()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn dtls(active: bool, peer: Option<&str>) -> Arc<SessionSetup> {
    let dtls = DtlsSetup {
        maker: Arc::new(Maker::default()),
        active,
        fingerprints: Vec::new(),
        slot: Arc::new(KeySlot::default()),
    };
    Arc::new(SessionSetup { ice: None, dtls: Some(dtls), peer: peer.map(address) })
}

fn sent(machine: &mut SessionMachine) -> Vec<(SocketAddr, Vec<u8>)> {
    std::iter::from_fn(|| machine.poll_output())
        .map(|output| match output {
            SessionOutput::Transmit { to, bytes, port: PORT } => (to, bytes),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// RFC 5763 §5: the active side sends the first flight where signalling says that the peer is, and anew when that moves or a
/// handshake has broken; the passive one waits.
#[test]
fn an_active_handshake_begins_where_the_peer_is() {
    let mut machine = SessionMachine::default();
    let (b, c) = ("192.0.2.2:2000", "192.0.2.3:3000");
    machine.install(PORT, Some(&dtls(false, Some(b))), Mono(0));
    assert_eq!(sent(&mut machine), []);
    let setup = dtls(true, None);
    machine.install(PORT, Some(&setup), Mono(1));
    assert_eq!(sent(&mut machine), [], "nobody knows where");
    let there = |at: &str| Arc::new(SessionSetup { peer: Some(address(at)), ..(*setup).clone() });
    machine.install(PORT, Some(&there(b)), Mono(2));
    assert_eq!(sent(&mut machine), [(address(b), vec![0])]);
    machine.install(PORT, Some(&there(b)), Mono(3));
    assert_eq!(sent(&mut machine), [], "the same again begins nothing");
    machine.install(PORT, Some(&there(c)), Mono(4));
    assert_eq!(sent(&mut machine), [(address(c), vec![1])], "a new rule counts at once");
    // The handshake ends at this: another begins, and not for ever.
    let from = |at: &str| Source { address: address(at), expected: true, allowed: true };
    for n in 2..20u8 {
        machine.handle(PORT, PacketClass::Dtls, from(c), &[20; 20], Mono(5));
        let again = sent(&mut machine);
        let wanted = if n < 1 + HANDSHAKES { vec![(address(c), vec![n])] } else { vec![] };
        assert_eq!(again, wanted, "{n}");
    }
}

/// A rule with other credentials of ICE (a restart, RFC 8445 §9): checks of the old ones meet silence from then on.
#[test]
fn t_rtp_07_a_restart_forgets_the_old_credentials() {
    let ice = |ours: &str| {
        let credentials = |name: &str| crate::ice::Credentials {
            ufrag: name.to_owned(),
            password: format!("{name}-and-22-characters-more"),
        };
        let ice = IceSetup {
            ours: credentials(ours),
            theirs: credentials("bbbb"),
            candidates: Vec::new(),
            controlling: false,
            lite: false,
            tie_breaker: 1,
            seed: [1; 12],
            priority: 1,
        };
        Arc::new(SessionSetup { ice: Some(ice), ..SessionSetup::default() })
    };
    let check = |ours: &str| {
        let check = StunWriter::new(StunKind::Request, [3; 12]).username(ours, "bbbb").priority(1);
        check.signed(format!("{ours}-and-22-characters-more").as_bytes())
    };
    let from = Source { address: address("192.0.2.2:2000"), expected: false, allowed: false };
    let mut machine = SessionMachine::default();
    for (installed, old) in [("aaaa", "cccc"), ("cccc", "aaaa")] {
        machine.install(PORT, Some(&ice(installed)), Mono(0));
        let refused = machine.handle(PORT, PacketClass::Stun, from, &check(old), Mono(1));
        assert_eq!(refused, SessionOutcome::Unwanted(DropReason::Source));
        assert_eq!(
            machine.handle(PORT, PacketClass::Stun, from, &check(installed), Mono(2)),
            SessionOutcome::Taken
        );
        while machine.poll_output().is_some() {}
    }
}

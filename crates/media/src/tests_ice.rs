//! Tests of [`crate::ice`]: two agents over a network that the test is, and strangers who meet silence.

use std::collections::VecDeque;

use super::*;

fn at(ms: u64) -> Mono {
    Mono(ms * 1_000_000)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn credentials(name: &str) -> Credentials {
    Credentials { ufrag: name.to_owned(), password: format!("{name}-and-22-characters-more") }
}

fn setup(ours: &str, theirs: &str, controlling: bool, told: &[(&str, u32)]) -> IceSetup {
    IceSetup {
        ours: credentials(ours),
        theirs: credentials(theirs),
        candidates: told.iter().map(|(a, p)| Candidate { address: address(a), priority: *p }).collect(),
        controlling,
        lite: false,
        tie_breaker: u64::from(ours.as_bytes()[0]),
        seed: [ours.as_bytes()[0]; 12],
        priority: 0x7E00_00FF,
    }
}

/// Two agents at one address each, and a wire that may swallow packets.
struct Wire {
    agents: [(SocketAddr, IceAgent); 2],
    /// The peers that each was told of last.
    peers: [Option<SocketAddr>; 2],
    sent: usize,
    /// Packets to this address are lost.
    dead: Vec<SocketAddr>,
}

impl Wire {
    fn new(a: IceSetup, b: IceSetup) -> Self {
        let agents = [(address("192.0.2.1:1000"), a), (address("192.0.2.2:2000"), b)];
        let agents = agents.map(|(at_, setup)| (at_, IceAgent::new(setup, at(0))));
        Self { agents, peers: [None; 2], sent: 0, dead: Vec::new() }
    }

    fn carry(&mut self, now: Mono) {
        let mut wire: VecDeque<(usize, SocketAddr, Vec<u8>)> = VecDeque::new();
        loop {
            for i in 0..2 {
                while let Some(out) = self.agents[i].1.poll_output() {
                    match out {
                        IceOutput::Transmit(to, bytes) => wire.push_back((i, to, bytes)),
                        IceOutput::Peer(peer) => self.peers[i] = peer,
                    }
                }
            }
            let Some((from, to, bytes)) = wire.pop_front() else { return };
            self.sent += 1;
            let other = 1 - from;
            if to == self.agents[other].0 && !self.dead.contains(&to) {
                let source = self.agents[from].0;
                assert_eq!(self.agents[other].1.handle(source, &bytes, now), Checked::Taken);
            }
        }
    }

    /// Runs both agents' timers until `end`.
    fn run(&mut self, from: u64, end: u64) {
        for ms in (from..=end).step_by(10) {
            for i in 0..2 {
                if self.agents[i].1.poll_timeout().is_some_and(|due| due <= at(ms)) {
                    self.agents[i].1.handle_timeout(at(ms));
                }
            }
            self.carry(at(ms));
        }
    }
}

const A: (&str, u32) = ("192.0.2.1:1000", 100);
const B: (&str, u32) = ("192.0.2.2:2000", 100);

#[test]
fn two_full_agents_find_each_other_and_go_on_asking_for_consent() {
    for (a_told, b_told) in [(&[B][..], &[A][..]), (&[B], &[]), (&[], &[A])] {
        let mut wire = Wire::new(setup("aaaa", "bbbb", true, a_told), setup("bbbb", "aaaa", false, b_told));
        wire.run(0, 400);
        assert_eq!(wire.peers, [Some(address(B.0)), Some(address(A.0))]);
        assert!(wire.agents.iter().all(|(_, a)| a.is_chosen), "the controlling one has nominated");
        let before = wire.sent;
        wire.run(410, 60_000);
        let asked = wire.sent - before;
        assert!((36..=64).contains(&asked), "4 packets each 4 to 6 s: {asked}");
        assert_eq!(wire.peers, [Some(address(B.0)), Some(address(A.0))]);
    }
}

/// The better of two addresses that both work is nominated; one that is dead is not waited for.
#[test]
fn a_controlling_agent_nominates_the_best_pair_that_works() {
    let told = [("192.0.2.99:9", 900), B, ("192.0.2.98:8", 50)];
    let mut wire = Wire::new(setup("aaaa", "bbbb", true, &told), setup("bbbb", "aaaa", false, &[]));
    wire.run(0, 1_000);
    assert_eq!(wire.peers[0], Some(address(B.0)));
    assert!(wire.agents[0].1.is_chosen);
}

#[test]
fn a_lite_agent_answers_and_follows_the_nomination() {
    let lite = IceSetup { lite: true, ..setup("aaaa", "bbbb", true, &[B]) };
    let mut wire = Wire::new(lite, setup("bbbb", "aaaa", true, &[A]));
    assert_eq!(wire.agents[0].1.poll_timeout(), None, "it never asks");
    wire.run(0, 600);
    assert_eq!(wire.peers, [Some(address(B.0)), Some(address(A.0))]);
    assert!(wire.agents.iter().all(|(_, a)| a.is_chosen));
}

/// RFC 8445 §7.3.1.1: the larger tie-breaker keeps its role, and both find each other all the same.
#[test]
fn t_rtp_07_a_conflict_of_roles_is_settled() {
    for role in [true, false] {
        let mut wire = Wire::new(setup("aaaa", "bbbb", role, &[B]), setup("bbbb", "aaaa", role, &[A]));
        wire.run(0, 2_000);
        assert_eq!(wire.peers, [Some(address(B.0)), Some(address(A.0))], "{role}");
        let roles = wire.agents.each_ref().map(|(_, a)| a.controlling);
        assert_eq!(roles, [false, true], "the larger tie-breaker is b's");
        assert!(wire.agents.iter().all(|(_, a)| a.is_chosen), "{role}");
    }
}

#[test]
fn t_rtp_07_wrong_credentials_garbage_and_strange_answers_meet_silence() {
    let mut agent = IceAgent::new(setup("aaaa", "bbbb", false, &[]), at(0));
    let stranger = address("203.0.113.9:9");
    let request = |theirs: &str, ours: &str, password: &str| {
        StunWriter::new(StunKind::Request, [3; 12])
            .username(theirs, ours)
            .priority(1)
            .use_candidate(true)
            .signed(password.as_bytes())
    };
    let right = credentials("aaaa").password;
    let answer = StunWriter::new(StunKind::Success, [3; 12])
        .mapped(stranger)
        .signed(credentials("bbbb").password.as_bytes());
    let unsigned = StunWriter::new(StunKind::Request, [3; 12]).username("aaaa", "x").with_fingerprint();
    for bad in [
        request("aaaa", "bbbb", "wrong"),
        request("aaab", "bbbb", &right),
        request("aaaab", "b", &right),
        unsigned,
        answer,
        b"\0\x01".to_vec(),
        vec![0; 60],
    ] {
        assert_eq!(agent.handle(stranger, &bad, at(1)), Checked::Unwanted);
        assert_eq!(agent.poll_output(), None);
    }
    assert_eq!((agent.peer(), agent.is_valid(stranger)), (None, false));
    // The right one is answered, whoever else has tried.
    let friend = address(B.0);
    assert_eq!(agent.handle(friend, &request("aaaa", "bbbb", &right), at(2)), Checked::Taken);
    assert!(agent.is_valid(friend));
    assert!(matches!(agent.poll_output(), Some(IceOutput::Transmit(to, _)) if to == friend));
}

/// RFC 8445 §8.1.1 and §8.2: a pair is chosen by the controlling side's USE-CANDIDATE, and by nothing else.
#[test]
fn only_the_controlling_side_nominates() {
    let check = |nominates: bool| {
        let check = StunWriter::new(StunKind::Request, [3; 12]).username("aaaa", "bbbb").priority(1);
        check.use_candidate(nominates).signed(credentials("aaaa").password.as_bytes())
    };
    let (b, c) = (address(B.0), address("198.51.100.7:7"));
    // Lite and controlled: the first that is heard serves until one is nominated.
    let mut agent = IceAgent::new(IceSetup { lite: true, ..setup("aaaa", "bbbb", false, &[]) }, at(0));
    for (from, nominates, peer, chosen) in
        [(b, false, b, false), (c, false, b, false), (c, true, c, true), (b, false, c, true)]
    {
        assert_eq!(agent.handle(from, &check(nominates), at(1)), Checked::Taken);
        assert_eq!((agent.peer(), agent.is_chosen), (Some(peer), chosen), "{from} {nominates}");
    }
    // Controlling: what the other side writes chooses nothing.
    let mut agent = IceAgent::new(setup("aaaa", "bbbb", true, &[]), at(0));
    assert_eq!(agent.handle(b, &check(true), at(1)), Checked::Taken);
    assert!(agent.pairs.iter().all(|pair| !pair.nominated) && !agent.is_chosen);
}

/// RFC 7675 §5.1: who does not consent gets nothing any more, and gets it again when it answers.
#[test]
fn media_stops_without_consent_and_comes_back_with_it() {
    let mut wire = Wire::new(setup("aaaa", "bbbb", true, &[B]), setup("bbbb", "aaaa", false, &[A]));
    wire.run(0, 500);
    wire.dead = vec![address(A.0), address(B.0)];
    wire.run(510, 29_000);
    assert!(wire.peers.iter().all(Option::is_some), "not yet");
    wire.run(29_010, 40_000);
    assert_eq!(wire.peers, [None, None]);
    wire.dead.clear();
    wire.run(40_010, 80_000);
    assert_eq!(wire.peers, [Some(address(B.0)), Some(address(A.0))]);
}

/// A peer that shows itself at ever new addresses is answered, and costs no more than the table.
#[test]
fn t_rtp_07_addresses_of_a_peer_are_bounded() {
    let mut agent = IceAgent::new(setup("aaaa", "bbbb", false, &[]), at(0));
    for port in 1..200u16 {
        let from = SocketAddr::new([198, 51, 100, 7].into(), port);
        let check = StunWriter::new(StunKind::Request, [3; 12]).username("aaaa", "bbbb").priority(1);
        let check = check.signed(credentials("aaaa").password.as_bytes());
        assert_eq!(agent.handle(from, &check, at(1)), Checked::Taken);
    }
    assert_eq!(agent.pairs.len(), PAIRS);
}

proptest::proptest! {
    #[test]
    fn t_rtp_07_no_bytes_end_an_agent(packets in proptest::collection::vec(proptest::collection::vec(0u8.., 0..120), 0..20)) {
        let mut agent = IceAgent::new(setup("aaaa", "bbbb", true, &[B]), at(0));
        for (i, bytes) in packets.iter().enumerate() {
            proptest::prop_assert_eq!(agent.handle(address(B.0), bytes, at(i as u64)), Checked::Unwanted);
        }
    }
}

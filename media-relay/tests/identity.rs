//! Which call, dialogue and party a command means: tags, branches, forks, glare, and what an SDP that is not owed may change
//! (issue "Sound ground" §3; `ref/ng-protocol.md` §3).

mod desk;

use desk::*;
use warp_media::SourcePolicy;
use warp_media_relay::core::book::Book;
use warp_ng::{Command, Delete, Query, Reply, SdpCommand};

const CALLER: &str = "198.51.100.1";
const CALLEE: &str = "192.0.2.2";

fn offered(book: &mut Book, mut c: SdpCommand, branch: &str, s: u64) -> u16 {
    c.via_branch = Some(branch.into()).filter(|_| !branch.is_empty());
    port(&text(run(book, Command::Offer(c), at(s))))
}

fn answered(book: &mut Book, mut c: SdpCommand, branch: &str, s: u64) -> u16 {
    c.via_branch = Some(branch.into()).filter(|_| !branch.is_empty());
    port(&text(run(book, Command::Answer(c), at(s))))
}

fn reoffer(call: &str, from: &str, to: &str, sdp: impl AsRef<str>) -> SdpCommand {
    answer(call, from, to, sdp)
}

/// A `delete` without delay.
fn gone(from: &str, branch: Option<&str>) -> Command {
    Command::Delete(Delete {
        from_tag: Some(from.into()),
        via_branch: branch.map(Into::into),
        ..Delete::call("c")
    })
}

/// Where what comes to `port` goes, and who may send to it.
fn way(rules: &Rules, port: u16) -> (Option<u16>, SourcePolicy) {
    let rule = rules.at(port);
    (rule.rtp.and_then(|way| way.to).map(|to| to.port()), rule.source)
}

#[test]
fn a_bye_with_a_branch_of_its_own_ends_the_call_at_once() {
    for bye_of in ["f", "t"] {
        let mut book = book();
        offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
        answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "b1", 1);
        assert!(matches!(run(&mut book, gone(bye_of, Some("branch of the BYE")), at(2)), Reply::Stats(_)));
        assert_eq!((book.calls(), book.pairs_used()), (0, 0), "{bye_of}");
    }
}

#[test]
fn a_repeated_delete_of_a_failed_fork_ends_nothing_else() {
    let mut book = book();
    for branch in ["b1", "b2"] {
        offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), branch, 0);
    }
    answered(&mut book, answer("c", "f", "t2", sdp(CALLEE, 5000, "")), "b2", 1);
    assert!(matches!(run(&mut book, gone("f", Some("b1")), at(2)), Reply::Stats(_)));
    for _ in 0..3 {
        let again = run(&mut book, gone("f", Some("b1")), at(3));
        assert!(matches!(again, Reply::Ok { warning: Some(_) }), "{again:?}");
    }
    assert_eq!((book.calls(), book.pairs_used()), (1, 2));
    // A branch that is offered again is there again.
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 4);
    assert!(matches!(run(&mut book, gone("f", Some("b1")), at(5)), Reply::Stats(_)));
    assert_eq!((book.calls(), book.pairs_used()), (1, 2));
}

#[test]
fn a_strange_branch_ends_no_fork_that_still_rings() {
    let mut book = book();
    for branch in ["b1", "b2"] {
        offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), branch, 0);
    }
    let lost = run(&mut book, gone("f", Some("b3, whose offer was lost")), at(1));
    assert!(matches!(lost, Reply::Ok { warning: Some(_) }), "{lost:?}");
    assert_eq!((book.calls(), book.pairs_used()), (1, 3));
    // Without a branch the caller's tag means all of them.
    run(&mut book, gone("f", None), at(2));
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
}

#[test]
fn a_repeated_delete_with_a_delay_puts_nothing_off() {
    let mut book = book();
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "", 0);
    let in_30_s = || Command::Delete(Delete { delete_delay: Some(30), ..Delete::call("c") });
    run(&mut book, in_30_s(), at(1));
    run(&mut book, in_30_s(), at(25));
    book.handle_timeout(at(31));
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
}

#[test]
fn an_answer_with_a_branch_that_nobody_knows_is_found_by_its_tags() {
    let mut book = book();
    let b = offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    let a = answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "next hop's", 1);
    let mut rules = Rules::default();
    rules.drain(&mut book);
    assert_eq!(way(&rules, a), (Some(5000), SourcePolicy::Exact(sock("198.51.100.1:4000"))));
    assert_eq!(way(&rules, b), (Some(4000), SourcePolicy::Exact(sock("192.0.2.2:5000"))));
    // The 200 behind it, with yet another; and a re-INVITE with one of its own.
    assert_eq!(answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "other", 2), a);
    assert_eq!(offered(&mut book, reoffer("c", "f", "t", sdp(CALLER, 4000, "")), "b9", 3), b);
    assert_eq!(answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "none", 4), a);
    assert_eq!(book.pairs_used(), 2);
}

#[test]
fn a_known_branch_decides_between_two_passes_of_one_call() {
    // A PBX sends the call through us twice under one Call-ID: same tags, the second SDP is our own port of the first.
    let (mut book, mut rules) = (book(), Rules::default());
    let b1 = offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    let b2 = offered(&mut book, offer("c", "f", sdp("203.0.113.9", b1, "")), "b2", 0);
    let a2 = answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "b2", 1);
    let a1 = answered(&mut book, answer("c", "f", "t", sdp("203.0.113.9", a2, "")), "b1", 2);
    assert_eq!(book.pairs_used(), 4, "two dialogues, no port shared");
    rules.drain(&mut book);
    assert_eq!((way(&rules, a1).0, way(&rules, a2).0), (Some(a2), Some(5000)));
    assert_eq!((way(&rules, b1).0, way(&rules, b2).0), (Some(4000), Some(b1)));
    // Hold comes through us twice too, each time with a branch of its own.
    let hold = "a=sendonly\r\n";
    assert_eq!(offered(&mut book, reoffer("c", "f", "t", sdp(CALLER, 4000, hold)), "b3", 3), b1);
    assert_eq!(offered(&mut book, reoffer("c", "f", "t", sdp("203.0.113.9", b1, hold)), "b4", 3), b2);
    assert_eq!(answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "b4", 4), a2);
    assert_eq!(answered(&mut book, answer("c", "f", "t", sdp("203.0.113.9", a2, "")), "b3", 5), a1);
    rules.drain(&mut book);
    assert_eq!((way(&rules, a1).0, way(&rules, b2).0), (Some(a2), Some(b1)));
    // So does the BYE: both passes are over with the first.
    run(&mut book, gone("f", Some("b5")), at(6));
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
    run(&mut book, gone("f", Some("b6")), at(6));
}

#[test]
fn a_200_that_repeats_its_sdp_after_an_update_of_the_callee_changes_no_media() {
    let (mut book, mut rules) = (book(), Rules::default());
    let b = offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    let a = answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "b1", 1);
    // The callee moves before its 200.
    assert_eq!(offered(&mut book, reoffer("c", "t", "f", sdp(CALLEE, 6000, "")), "u1", 2), a);
    assert_eq!(answered(&mut book, answer("c", "t", "f", sdp(CALLER, 4100, "")), "u1", 3), b);
    let ok = text(run(
        &mut book,
        Command::Answer(SdpCommand {
            via_branch: Some("b1".into()),
            ..answer("c", "f", "t", sdp(CALLEE, 5000, "a=x\r\n"))
        }),
        at(4),
    ));
    // The caller never sees the callee's own address.
    assert!(ok.contains("c=IN IP4 203.0.113.9\r\n") && port(&ok) == a && ok.contains("a=x\r\n"), "{ok}");
    rules.drain(&mut book);
    assert_eq!(way(&rules, a), (Some(6000), SourcePolicy::Exact(sock("198.51.100.1:4100"))));
    assert_eq!(way(&rules, b), (Some(4100), SourcePolicy::Exact(sock("192.0.2.2:6000"))));
}

#[test]
fn a_200_with_another_sdp_than_its_18x_is_believed_when_nothing_was_offered_since() {
    let (mut book, mut rules) = (book(), Rules::default());
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    let a = answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "b1", 1);
    assert_eq!(answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 7000, "")), "b1", 2), a);
    rules.drain(&mut book);
    assert_eq!(way(&rules, a).0, Some(7000));
}

#[test]
fn offers_that_cross_are_both_answered() {
    let (mut book, mut rules) = (book(), Rules::default());
    let b = offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    let a = answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "b1", 1);
    rules.drain(&mut book);
    for first in ["f", "t"] {
        // Each side moves, at once; the answers come in either order.
        assert_eq!(offered(&mut book, reoffer("c", "f", "t", sdp(CALLER, 4200, "")), "x", 2), b);
        assert_eq!(offered(&mut book, reoffer("c", "t", "f", sdp(CALLEE, 5200, "")), "y", 2), a);
        rules.drain(&mut book);
        let order = if first == "f" { ["f", "t"] } else { ["t", "f"] };
        for asker in order {
            let (c, branch) = match asker {
                "f" => (answer("c", "f", "t", sdp(CALLEE, 5200, "")), "x"),
                _ => (answer("c", "t", "f", sdp(CALLER, 4200, "")), "y"),
            };
            answered(&mut book, c, branch, 3);
        }
        rules.drain(&mut book);
        assert_eq!(way(&rules, a), (Some(5200), SourcePolicy::Exact(sock("198.51.100.1:4200"))), "{first}");
        assert_eq!(way(&rules, b), (Some(4200), SourcePolicy::Exact(sock("192.0.2.2:5200"))), "{first}");
    }
}

#[test]
fn an_offer_waits_alone_until_it_is_answered() {
    // One of two crossing offers is refused (491): the other one's answer does not apply it.
    let (mut book, mut rules) = (book(), Rules::default());
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    let a = answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "b1", 1);
    offered(&mut book, reoffer("c", "f", "t", sdp(CALLER, 4200, "")), "x", 2);
    offered(&mut book, reoffer("c", "t", "f", sdp(CALLEE, 5200, "")), "y", 2);
    answered(&mut book, answer("c", "t", "f", sdp(CALLER, 4000, "")), "y", 3);
    rules.drain(&mut book);
    assert_eq!(way(&rules, a), (Some(5200), SourcePolicy::Exact(sock("198.51.100.1:4000"))));
}

#[test]
fn a_late_offer_has_its_tags_swapped_and_ends_with_the_callers_bye() {
    let mut book = book();
    let a = offered(&mut book, reoffer("c", "t", "f", sdp(CALLEE, 5000, "")), "b1", 0);
    answered(&mut book, answer("c", "t", "f", sdp(CALLER, 4000, "")), "branch of the ACK", 1);
    let mut rules = Rules::default();
    rules.drain(&mut book);
    assert_eq!(way(&rules, a).0, Some(5000));
    run(&mut book, gone("f", Some("branch of the BYE")), at(2));
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
}

#[test]
fn a_callee_may_offer_before_we_have_heard_its_name() {
    let mut book = book();
    let b = offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    offered(&mut book, reoffer("c", "t", "f", sdp(CALLEE, 5000, "")), "u1", 1);
    assert_eq!(answered(&mut book, answer("c", "t", "f", sdp(CALLER, 4000, "")), "u1", 2), b);
    assert_eq!(book.pairs_used(), 2, "the same dialogue");
}

fn early(mut c: SdpCommand) -> SdpCommand {
    c.flags.provisional = true;
    c
}

#[test]
fn t_sip_14_t_ng_04_sixty_four_branches_share_the_callers_ports_and_one_is_open() {
    let (mut book, mut rules) = (book(), Rules::default());
    let mut ports = Vec::new();
    for i in 0..64 {
        ports.push(offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), &format!("b{i}"), 0));
    }
    assert_eq!(book.pairs_used(), 65);
    let from = |i: u16| answer("c", "f", &format!("t{i}"), sdp(CALLEE, 5000 + 2 * i, ""));
    // Two ring with early media: the latest is heard.
    let a = answered(&mut book, early(from(3)), "b3", 1);
    rules.drain(&mut book);
    assert_eq!((way(&rules, a).0, way(&rules, ports[3]).0), (Some(5006), Some(4000)));
    assert_eq!(answered(&mut book, early(from(9)), "b9", 2), a, "one port towards the caller");
    rules.drain(&mut book);
    assert_eq!((way(&rules, a).0, way(&rules, ports[9]).0), (Some(5018), Some(4000)));
    assert_eq!(way(&rules, ports[3]).0, None, "the earlier one is not mixed in");
    // A third answers for good; what rings on changes nothing.
    assert_eq!(answered(&mut book, from(40), "b40", 3), a);
    answered(&mut book, early(from(3)), "b3", 4);
    rules.drain(&mut book);
    assert_eq!((way(&rules, a).0, way(&rules, ports[40]).0), (Some(5080), Some(4000)));
    for closed in [3, 9] {
        assert_eq!(way(&rules, ports[closed]).0, None, "branch {closed}");
    }
    // The losers go; the winner's media does not move, and the caller's ports stay.
    for i in (0..64).filter(|i| *i != 40) {
        assert!(matches!(run(&mut book, gone("f", Some(&format!("b{i}"))), at(5)), Reply::Stats(_)));
    }
    rules.drain(&mut book);
    assert_eq!((book.calls(), book.pairs_used()), (1, 2));
    assert_eq!((way(&rules, a).0, way(&rules, ports[40]).0), (Some(5080), Some(4000)));
    run(&mut book, gone("f", Some("bye")), at(6));
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
    rules.drain(&mut book);
    assert!(rules.0.is_empty(), "every rule is gone with its port");
}

#[test]
fn when_the_open_branch_fails_the_one_that_rang_before_is_heard_again() {
    let (mut book, mut rules) = (book(), Rules::default());
    let b1 = offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b2", 0);
    let a = answered(&mut book, early(answer("c", "f", "t1", sdp(CALLEE, 5000, ""))), "b1", 1);
    answered(&mut book, early(answer("c", "f", "t2", sdp(CALLEE, 5500, ""))), "b2", 2);
    run(&mut book, gone("f", Some("b2")), at(3));
    rules.drain(&mut book);
    assert_eq!((way(&rules, a).0, way(&rules, b1).0), (Some(5000), Some(4000)));
    // And when that fails too, nobody is.
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b3", 4);
    run(&mut book, gone("f", Some("b1")), at(5));
    rules.drain(&mut book);
    assert_eq!(way(&rules, a).0, None);
}

#[test]
fn clients_that_do_not_say_what_is_early_get_the_latest_answer() {
    // Kamailio: 183 of one branch, 183 of another, 200 of the first.
    let (mut book, mut rules) = (book(), Rules::default());
    for branch in ["b1", "b2"] {
        offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), branch, 0);
    }
    let one = || answer("c", "f", "t1", sdp(CALLEE, 5000, ""));
    let a = answered(&mut book, one(), "b1", 1);
    answered(&mut book, answer("c", "f", "t2", sdp(CALLEE, 5500, "")), "b2", 2);
    rules.drain(&mut book);
    assert_eq!(way(&rules, a).0, Some(5500));
    answered(&mut book, one(), "b1", 3);
    rules.drain(&mut book);
    assert_eq!(way(&rules, a).0, Some(5000));
}

#[test]
fn branches_of_different_offers_share_nothing() {
    let mut book = book();
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    // Another port, another tag, another local address: each is a party of its own.
    offered(&mut book, offer("c", "f", sdp(CALLER, 4002, "")), "b2", 0);
    assert_eq!(book.pairs_used(), 4);
    offered(&mut book, offer("c", "g", sdp(CALLER, 4000, "")), "b3", 0);
    assert_eq!(book.pairs_used(), 6);
    offered(&mut book, offer("c", "f", sdp("2001:db8::1", 4000, "")), "b4", 0);
    assert_eq!(book.pairs_used(), 8);
}

#[test]
fn figures_of_shared_ports_are_told_once() {
    use std::sync::atomic::Ordering::Relaxed;
    let mut book = book();
    for branch in ["b1", "b2", "b3"] {
        offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), branch, 0);
    }
    let mut rules = Rules::default();
    let a = answered(&mut book, answer("c", "f", "t2", sdp(CALLEE, 5000, "")), "b2", 1);
    rules.drain(&mut book);
    rules.at(a).counters.packets.store(500, Relaxed);
    let query = Command::Query(Query { call_id: "c".into(), ..Query::default() });
    let figures = stats(run(&mut book, query, at(2)));
    assert_eq!(figures.rtp.packets, 500);
    assert_eq!(figures.figures_from(b"f").packets, 500);
    let caller = figures.tags.iter().find(|t| t.tag == b"f").unwrap();
    assert_eq!(caller.medias.len(), 1);
}

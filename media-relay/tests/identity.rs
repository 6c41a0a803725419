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
fn a_repeated_delete_of_a_failed_attempt_does_not_end_the_next_one() {
    // Serial forking: the first attempt's end left the call without a dialogue.
    let mut book = book();
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b1", 0);
    run(&mut book, gone("f", Some("b1")), at(1));
    assert_eq!(book.calls(), 0);
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "b2", 2);
    let again = run(&mut book, gone("f", Some("b1")), at(3));
    assert!(matches!(again, Reply::Ok { warning: Some(_) }), "{again:?}");
    assert_eq!(book.calls(), 1);
    // An attempt whose branch nobody ever heard of is the one that is there.
    assert!(matches!(run(&mut book, gone("f", Some("b2")), at(4)), Reply::Stats(_)));
    offered(&mut book, offer("d", "f", sdp(CALLER, 4000, "")), "b3", 5);
    let d = Delete { from_tag: Some("f".into()), via_branch: Some("x".into()), ..Delete::call("d") };
    assert!(matches!(run(&mut book, Command::Delete(d), at(6)), Reply::Stats(_)));
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
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

#[test]
fn t_ng_06_a_line_without_ports_is_not_believed_later() {
    // Refused in the 18x, so without ports; what the 200 says of it would never have been looked at.
    let (mut book, mut rules) = (book(), Rules::default());
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "", 0);
    answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 0, "")), "", 1);
    assert_eq!(answered(&mut book, answer("c", "f", "t", sdp("127.0.0.1", 5000, "")), "", 2), 0);
    offered(&mut book, reoffer("c", "f", "t", sdp(CALLER, 4000, "")), "", 3);
    let a = answered(&mut book, answer("c", "f", "t", sdp(CALLEE, 5000, "")), "", 4);
    rules.drain(&mut book);
    assert_eq!(way(&rules, a).0, Some(5000));
    let bad =
        |rule: &warp_media::ForwardRule| rule.rtp.and_then(|w| w.to).is_some_and(|to| to.ip().is_loopback());
    assert!(!rules.0.values().any(bad));
    // A line that was not offered on, and an answer that takes it all the same.
    let mut two = offer("d", "f", sdp(CALLER, 4000, "m=video 4100 RTP/AVP 99\r\nc=IN IP4 127.0.0.1\r\n"));
    two.media_remove = vec![b"video".to_vec()];
    text(run(&mut book, Command::Offer(two), at(5)));
    let live = answer("d", "f", "t", sdp(CALLEE, 5000, "m=video 5100 RTP/AVP 99\r\n"));
    let said = text(run(&mut book, Command::Answer(live), at(6)));
    assert!(said.contains("m=video 0 RTP/AVP 99\r\n"), "{said}");
    rules.drain(&mut book);
    assert!(!rules.0.values().any(bad));
}

#[test]
fn a_short_answer_refuses_what_it_leaves_out_and_a_long_one_loses_what_is_too_much() {
    let (mut book, mut rules) = (book(), Rules::default());
    let video = "m=video 4100 RTP/AVP 99 100\r\na=rtpmap:99 VP8/90000\r\n";
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, video)), "", 0);
    assert_eq!(book.pairs_used(), 4);
    let said = text(run(&mut book, Command::Answer(answer("c", "f", "t", sdp(CALLEE, 5000, ""))), at(1)));
    assert!(said.ends_with("m=video 0 RTP/AVP 99 100\r\n"), "{said}");
    assert_eq!(book.pairs_used(), 2, "the ports of the missing line are free");
    rules.drain(&mut book);
    assert_eq!(way(&rules, port(&said)).0, Some(5000));
    // One line offered, two answered: refused or live, the second is not for the caller.
    for surplus in ["m=video 0 RTP/AVP 31\r\n", "m=video 7000 RTP/AVP 31\r\na=sendrecv\r\n"] {
        let mut book = desk::book();
        offered(&mut book, offer("c", "f", sdp(CALLER, 4000, "")), "", 0);
        let long = answer("c", "f", "t", sdp(CALLEE, 5000, surplus));
        let said = text(run(&mut book, Command::Answer(long), at(1)));
        assert!(!said.contains("m=video") && said.matches("a=sendrecv").count() == 0, "{said}");
        assert_eq!(book.pairs_used(), 2);
    }
}

#[test]
fn an_answer_of_another_media_kind_or_profile_is_refused_and_says_where() {
    let mut book = book();
    let video = "m=video 4100 RTP/AVP 99\r\n";
    offered(&mut book, offer("c", "f", sdp(CALLER, 4000, video)), "", 0);
    let refused =
        |book: &mut Book, sdp: String| match run(book, Command::Answer(answer("c", "f", "t", sdp)), at(1)) {
            Reply::Error { reason } => reason.into_owned(),
            other => panic!("{other:?}"),
        };
    let fax = sdp(CALLEE, 5000, "m=image 5100 udptl t38\r\n");
    assert_eq!(
        refused(&mut book, fax),
        "Error rewriting SDP: section 2 (image): image udptl answers an offer of video RTP/AVP"
    );
    let swapped = sdp(CALLEE, 5000, video)
        .replace("m=audio", "m=x")
        .replace("m=video", "m=audio")
        .replace("m=x", "m=video");
    assert!(refused(&mut book, swapped).starts_with("Error rewriting SDP: section 1 (video)"));
    let protected = sdp(CALLEE, 5000, video).replace("5000 RTP/AVP", "5000 RTP/SAVP");
    assert!(refused(&mut book, protected).starts_with("Error rewriting SDP: section 1 (audio)"));
    // Refused lines of another profile are no matter, and the call is as it was.
    let taken = sdp(CALLEE, 5000, "m=video 0 RTP/SAVP 99\r\n");
    text(run(&mut book, Command::Answer(answer("c", "f", "t", taken)), at(2)));
    assert_eq!((book.calls(), book.pairs_used()), (1, 2));
}

#[test]
fn a_refusal_says_line_offset_and_cause() {
    let mut book = book();
    let mut refused = |sdp: String| match run(&mut book, Command::Offer(offer("c", "f", sdp)), at(0)) {
        Reply::Error { reason } => reason.into_owned(),
        other => panic!("{other:?}"),
    };
    let bad = sdp(CALLER, 4000, "").replace("m=audio 4000", "m=audio x");
    let offset = bad.find("m=audio").unwrap();
    assert_eq!(refused(bad), format!("Failed to parse SDP: bad m= line (line 6, byte {offset})"));
    assert_eq!(
        refused(sdp("127.0.0.1", 4000, "")),
        "Failed to parse SDP: section 1 (audio): media is not sent to 127.0.0.1:4000"
    );
    assert_eq!(
        refused("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n".into()),
        "Incomplete SDP specification: media without c= line (line 5, byte 43)"
    );
}

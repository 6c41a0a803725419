//! No command and no look at the clock walks over the calls of the book, but `list`. Counted in calls looked at, not in time.

use warp_model::{Mono, Now, Wall};
use warp_ng::{Command, Delete, Reply, SdpCommand};

use super::{Book, BookConfig};
use crate::core::Output;
use crate::core::ports::PortPool;

fn at(s: u64) -> Now {
    Now { mono: Mono(s * 1_000_000_000), wall: Wall(1_700_000_000_000_000 + s as i64 * 1_000_000) }
}

fn sdp(host: u8, port: usize) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.{host}\r\ns=-\r\nc=IN IP4 198.51.100.{host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    )
}

fn set_up(book: &mut Book, id: &str, port: usize, now: Now) {
    let offer = SdpCommand::new(id, "a", sdp(1, port));
    let answer = SdpCommand { to_tag: Some(b"b".to_vec()), ..SdpCommand::new(id, "a", sdp(2, port)) };
    for command in [Command::Offer(offer), Command::Answer(answer)] {
        let reply = book.handle_command(command, None, now);
        assert!(matches!(reply, Reply::Sdp { .. }), "{reply:?}");
    }
}

fn outputs(book: &mut Book) -> Vec<Output> {
    std::iter::from_fn(|| book.poll_output()).collect()
}

/// What each event looks at while `n` other calls run.
fn costs(n: usize) -> Vec<(&'static str, u64)> {
    let pool = PortPool::new(&["203.0.113.9".parse().unwrap()], 20_000..=59_999, 42).unwrap();
    let mut book = Book::new(BookConfig::default(), Box::new(pool));
    // The elder call has no media first, and it is the only one.
    set_up(&mut book, "silent", 9_000, at(0));
    outputs(&mut book);
    for i in 0..n {
        set_up(&mut book, &format!("other{i}"), 10_000 + 2 * i, at(30));
    }
    outputs(&mut book);
    let mut found = Vec::new();
    let mut before = book.calls.looks();
    let mut step = |book: &Book, name| {
        found.push((name, book.calls.looks() - before));
        before = book.calls.looks();
    };
    assert_eq!(book.calls(), n + 1);
    step(&book, "the live count");
    book.handle_timeout(at(31));
    step(&book, "a look at the clock with nothing due");
    book.handle_timeout(at(61));
    let timed_out: Vec<_> = outputs(&mut book)
        .into_iter()
        .filter_map(|o| match o {
            Output::TimedOut { due, .. } => Some(due),
            _ => None,
        })
        .collect();
    // The look came a second late, and says when it was due.
    assert_eq!((timed_out, book.calls()), (vec![at(60).mono], n));
    step(&book, "a media time-out");
    set_up(&mut book, "mine", 60_000, at(62));
    step(&book, "a call is set up");
    let port = outputs(&mut book).into_iter().find_map(|o| match o {
        Output::Install { rule, .. } => Some(rule.local),
        _ => None,
    });
    book.handle_learnt(port.unwrap(), "198.51.100.1:60000".parse().unwrap());
    step(&book, "an address is learnt");
    book.handle_command(
        Command::Delete(Delete { delete_delay: Some(0), ..Delete::call("mine") }),
        None,
        at(62),
    );
    assert_eq!(book.calls(), n);
    step(&book, "a call is deleted");
    book.set_limits(&super::RelayLimits { max_calls: n, ..limits() });
    let refused =
        book.handle_command(Command::Offer(SdpCommand::new("more", "a", sdp(1, 4_000))), None, at(62));
    assert!(!matches!(refused, Reply::Sdp { .. }), "{refused:?}");
    step(&book, "an offer beyond the limit");
    found
}

fn limits() -> super::RelayLimits {
    let c = BookConfig::default();
    super::RelayLimits {
        max_calls: c.max_calls,
        media_timeout: c.media_timeout,
        hold_timeout: c.hold_timeout,
        offer_timeout: c.offer_timeout,
        delete_delay: c.delete_delay,
    }
}

/// Issue 6 §4: media time-outs, learnt addresses and the limit of calls cost what they are about.
#[test]
fn t_ng_04_nothing_but_list_walks_over_the_calls() {
    let (few, many) = (costs(3), costs(3_000));
    assert_eq!(few, many, "what is looked at grows with the calls of the book");
    assert!(few.iter().all(|(_, looks)| *looks < 20), "{few:?}");
}

//! What an ACK, a drain, a jump of the clock, and odd contents may and may not do, in a whole core.

use super::tests_static::line;
use super::tests_world::*;

/// The ACK of a caller for a final response other than 2xx to its INVITE.
fn ack_of(invite: &str, response: &str) -> String {
    let head = invite.split_once("\r\n\r\n").unwrap().0;
    let ack: Vec<String> = head
        .lines()
        .filter(|l| !l.starts_with("Content") && !l.starts_with("Contact"))
        .map(|l| match l {
            l if l.starts_with("To: ") => format!("To: {}", line(response, "To")),
            l => l.replace("INVITE", "ACK"),
        })
        .collect();
    ack.join("\r\n") + "\r\nContent-Length: 0\r\n\r\n"
}

#[test]
fn an_ack_of_a_stateless_final_is_absorbed_and_only_true_strays_are_counted() {
    let mut w = World::new(false, |_| ());
    let home = "198.18.0.5:5060";
    // A challenge, a refusal of policy's door, an overload refusal: none has a transaction.
    let plain = invite(NUMBER, "d1", "", "").replace(CUSTOMER, home);
    w.give(home, &plain);
    let challenge = w.to(home);
    assert!(challenge.starts_with("SIP/2.0 407 "));
    assert_eq!(w.core.transactions(), (0, 0));
    w.give(home, &ack_of(&plain, &challenge));
    let zero = invite(NUMBER, "d2", "", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    w.give(CUSTOMER, &zero);
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 483 "));
    w.give(CUSTOMER, &ack_of(&zero, &refused));
    w.core.set_overload(super::overload::FULL);
    let shed = invite(NUMBER, "d3", "", "");
    w.give(CUSTOMER, &shed);
    let refused = w.to(CUSTOMER);
    w.give(CUSTOMER, &ack_of(&shed, &refused));
    // The ACK of an INVITE that had a transaction, after it is over.
    w.core.set_overload(0);
    let late = invite("+12125550100", "d4", "", "");
    w.give(CUSTOMER, &late);
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 404 "));
    w.wait(60_000);
    w.take();
    assert_eq!(w.core.transactions(), (0, 0));
    w.give(CUSTOMER, &ack_of(&late, &refused));
    assert!(w.take().is_empty());
    assert_eq!(w.core.stats().stray, 0);
    // A tag that is not ours, ours of another call, and none: strays.
    for to in ["<sip:x@h>;tag=0123456789abcdef01234567", line(&challenge, "To"), "<sip:x@h>"] {
        let stray = ack_of(&late, &format!("To: {to}\r\n"));
        w.give(CUSTOMER, &stray);
    }
    assert!(w.take().is_empty());
    assert_eq!(w.core.stats().stray, 3);
}

//! The session machine: its state table walked whole, windows, sequence numbers and timers.

use std::time::Duration;

use warp_model::Mono;
use warp_smpp::session::{Action, Closing, Incoming, Refused, Timers, allowed};
use warp_smpp::{Command, Header, Session, Side, State, Status};

const S: u64 = 1_000_000_000;

fn pdu(command: Command, sequence: u32) -> Header {
    Header { length: 16, command, status: Status::ROK, sequence }
}

fn bound(us: Side, state: State) -> Session {
    let mut session = Session::new(us, Timers::default(), 3, 2, Mono(0));
    session.bound(state);
    session
}

/// SMPP 3.4 table 2-1, written out: what the ESME and the SMSC may send in each state of a bind.
#[test]
fn the_state_table_is_that_of_the_specification() {
    use Command as C;
    let esme = |state| -> Vec<Command> {
        C::REQUESTS.iter().copied().filter(|c| allowed(*c, state, Side::Esme)).collect()
    };
    let smsc = |state| -> Vec<Command> {
        C::REQUESTS.iter().copied().filter(|c| allowed(*c, state, Side::Smsc)).collect()
    };
    assert_eq!(
        esme(State::Open),
        [C::BIND_RECEIVER, C::BIND_TRANSMITTER, C::BIND_TRANSCEIVER, C::ENQUIRE_LINK]
    );
    assert_eq!(smsc(State::Open), [C::OUTBIND, C::ENQUIRE_LINK]);
    let sending = [
        C::QUERY_SM,
        C::SUBMIT_SM,
        C::UNBIND,
        C::REPLACE_SM,
        C::CANCEL_SM,
        C::ENQUIRE_LINK,
        C::SUBMIT_MULTI,
        C::DATA_SM,
    ];
    let delivering = [C::DELIVER_SM, C::UNBIND, C::ENQUIRE_LINK, C::ALERT_NOTIFICATION, C::DATA_SM];
    assert_eq!(esme(State::BoundTx), sending);
    assert_eq!(esme(State::BoundTrx), sending);
    assert_eq!(esme(State::BoundRx), [C::UNBIND, C::ENQUIRE_LINK]);
    assert_eq!(smsc(State::BoundTx), [C::UNBIND, C::ENQUIRE_LINK]);
    assert_eq!(smsc(State::BoundRx), delivering);
    assert_eq!(smsc(State::BoundTrx), delivering);
    for state in [State::Unbound, State::Closed] {
        let enquire = if state == State::Closed { vec![] } else { vec![C::ENQUIRE_LINK] };
        assert_eq!((esme(state), smsc(state)), (enquire.clone(), enquire));
    }
}

/// T-SMS-04: the machine says of every command in every state what the table says, and the session stays.
#[test]
fn t_sms_04_out_of_state_is_answered_and_the_session_stays() {
    for us in [Side::Smsc, Side::Esme] {
        for state in [State::Open, State::BoundTx, State::BoundRx, State::BoundTrx] {
            for command in Command::REQUESTS {
                let mut session = bound(us, state);
                let incoming = session.handle(&pdu(*command, 77), Mono(S));
                let want = if *command == Command::ENQUIRE_LINK {
                    Incoming::Reply(Status::ROK)
                } else if command.is_bind() && us == Side::Smsc && state.is_bound() {
                    Incoming::Reply(Status::RALYBND)
                } else if !allowed(*command, state, us.other()) {
                    if command.has_response() {
                        Incoming::Reply(Status::RINVBNDSTS)
                    } else {
                        Incoming::Ignored
                    }
                } else if command.is_bind() {
                    Incoming::Bind(warp_smpp::session::bound(*command).unwrap())
                } else if *command == Command::UNBIND {
                    Incoming::Unbinding
                } else if command.has_response() {
                    Incoming::Request
                } else {
                    Incoming::Notice
                };
                assert_eq!(incoming, want, "{us:?} {state:?} {command}");
                assert_eq!(session.state(), state);
            }
            let mut session = bound(us, state);
            assert_eq!(session.handle(&pdu(Command(0x777), 1), Mono(S)), Incoming::Reply(Status::RINVCMDID));
        }
    }
}

#[test]
fn answers_come_in_any_order_and_strays_are_counted() {
    let mut session = bound(Side::Esme, State::BoundTrx);
    let sent: Vec<u32> =
        (10..13).map(|token| session.request(Command::SUBMIT_SM, token, Mono(S)).unwrap()).collect();
    assert_eq!(sent, [1, 2, 3]);
    assert_eq!(session.request(Command::SUBMIT_SM, 13, Mono(S)), Err(Refused::Window));
    let answer = |token| Incoming::Answer { token, command: Command::SUBMIT_SM };
    assert_eq!(session.handle(&pdu(Command::SUBMIT_SM.response(), 3), Mono(S)), answer(12));
    assert_eq!(session.handle(&pdu(Command::SUBMIT_SM.response(), 3), Mono(S)), Incoming::Ignored, "twice");
    assert_eq!(
        session.handle(&pdu(Command::QUERY_SM.response(), 1), Mono(S)),
        Incoming::Ignored,
        "another command's"
    );
    assert_eq!(session.handle(&pdu(Command::GENERIC_NACK, 1), Mono(S)), answer(10));
    assert_eq!((session.strays(), session.room()), (2, 2));
    assert_eq!(session.request(Command::SUBMIT_SM, 14, Mono(S)), Ok(4));
}

#[test]
fn sequence_numbers_wrap_to_one() {
    let mut session =
        Session::new(Side::Esme, Timers { inactivity: Duration::ZERO, ..Timers::default() }, 1, 1, Mono(0));
    session.bound(State::BoundTrx);
    // Each enquiry takes one; the machine is put before the end by its own numbers.
    let mut last = 0;
    for _ in 0..5 {
        let sequence = session.request(Command::SUBMIT_SM, 1, Mono(0)).unwrap();
        assert_eq!(sequence, last + 1);
        last = sequence;
        session.handle(&pdu(Command::SUBMIT_SM.response(), sequence), Mono(0));
    }
    session.skip_to_sequence(0x7FFF_FFFF);
    let at_end = session.request(Command::SUBMIT_SM, 1, Mono(0)).unwrap();
    session.handle(&pdu(Command::SUBMIT_SM.response(), at_end), Mono(0));
    assert_eq!((at_end, session.request(Command::SUBMIT_SM, 1, Mono(0))), (0x7FFF_FFFF, Ok(1)));
}

#[test]
fn the_peers_window_is_held_and_enquire_link_waits_for_nobody() {
    let mut session = bound(Side::Smsc, State::BoundTrx);
    for sequence in [1, 2] {
        assert_eq!(session.handle(&pdu(Command::SUBMIT_SM, sequence), Mono(S)), Incoming::Request);
    }
    assert!(session.is_full());
    assert_eq!(session.handle(&pdu(Command::SUBMIT_SM, 3), Mono(S)), Incoming::Reply(Status::RTHROTTLED));
    assert_eq!(session.handle(&pdu(Command::ENQUIRE_LINK, 4), Mono(S)), Incoming::Reply(Status::ROK));
    session.answered();
    assert_eq!(session.handle(&pdu(Command::SUBMIT_SM, 5), Mono(S)), Incoming::Request);
}

#[test]
fn unbind_waits_for_what_is_in_flight_then_closes() {
    let mut session = bound(Side::Smsc, State::BoundTrx);
    session.handle(&pdu(Command::SUBMIT_SM, 1), Mono(S));
    session.request(Command::DELIVER_SM, 50, Mono(S)).unwrap();
    assert_eq!(session.handle(&pdu(Command::UNBIND, 2), Mono(S)), Incoming::Unbinding);
    assert_eq!(session.poll(Mono(S)), None);
    assert_eq!(
        (session.room(), session.request(Command::DELIVER_SM, 51, Mono(S))),
        (0, Err(Refused::Window))
    );
    assert_eq!(session.handle(&pdu(Command::SUBMIT_SM, 3), Mono(S)), Incoming::Reply(Status::RINVBNDSTS));
    session.answered();
    assert_eq!(session.deadline(), Some(Mono(0)), "now");
    let mut actions = std::iter::from_fn(|| session.poll(Mono(S)));
    assert_eq!(actions.next(), Some(Action::UnbindAnswered(2)));
    assert_eq!(actions.next(), Some(Action::Expired { token: 50, command: Command::DELIVER_SM }));
    assert_eq!(actions.next(), Some(Action::Close(Closing::Unbound)));
    assert_eq!(actions.next(), None);
    assert_eq!((session.state(), session.deadline()), (State::Closed, None));
}

#[test]
fn our_own_unbind_ends_by_its_answer_or_by_the_timer() {
    for answered in [true, false] {
        let mut session = bound(Side::Esme, State::BoundTrx);
        session.request(Command::SUBMIT_SM, 5, Mono(S)).unwrap();
        let sequence = session.unbind(Mono(S)).unwrap();
        assert_eq!((session.room(), session.unbind(Mono(S))), (0, None));
        assert_eq!(
            session.handle(&pdu(Command::DELIVER_SM, 8), Mono(S)),
            Incoming::Reply(Status::RINVBNDSTS)
        );
        let now = if answered {
            session.handle(&pdu(Command::UNBIND.response(), sequence), Mono(2 * S));
            Mono(2 * S)
        } else {
            assert_eq!(session.deadline(), Some(Mono(61 * S)));
            Mono(61 * S)
        };
        let ends: Vec<Action> = std::iter::from_fn(|| session.poll(now)).collect();
        assert_eq!(
            ends,
            [Action::Expired { token: 5, command: Command::SUBMIT_SM }, Action::Close(Closing::Unbound)]
        );
    }
}

/// Drives a session to its deadlines until it closes; gives the actions with their seconds.
fn to_the_end(
    session: &mut Session,
    mut heard: impl FnMut(&mut Session, Action, Mono),
) -> Vec<(u64, Action)> {
    let mut seen = Vec::new();
    while let Some(at) = session.deadline() {
        let mut any = false;
        while let Some(action) = session.poll(at) {
            any = true;
            seen.push((at.0 / S, action));
            heard(session, action, at);
        }
        assert!(any, "the deadline {at:?} had nothing");
        assert!(seen.len() < 100, "no end: {seen:?}");
    }
    seen
}

#[test]
fn t_sms_06_who_does_not_bind_or_sends_by_pieces_is_closed() {
    let mut idle = Session::new(Side::Smsc, Timers::default(), 1, 1, Mono(0));
    assert_eq!(to_the_end(&mut idle, |_, _, _| ()), [(30, Action::Close(Closing::NoBind))]);
    let mut slow = bound(Side::Smsc, State::BoundTx);
    slow.partial(true, Mono(5 * S));
    // More bytes of the same PDU do not help.
    slow.partial(true, Mono(9 * S));
    assert_eq!(to_the_end(&mut slow, |_, _, _| ()), [(15, Action::Close(Closing::SlowPdu))]);
    let mut whole = bound(Side::Smsc, State::BoundTx);
    whole.partial(true, Mono(5 * S));
    whole.partial(false, Mono(6 * S));
    assert_eq!(whole.poll(Mono(16 * S)), None);
}

#[test]
fn a_dead_link_is_asked_twice_and_closed() {
    let mut session = bound(Side::Smsc, State::BoundTrx);
    session.request(Command::DELIVER_SM, 9, Mono(25 * S)).unwrap();
    let seen = to_the_end(&mut session, |_, _, _| ());
    assert_eq!(
        seen,
        [
            (30, Action::Enquire(2)),
            (60, Action::Enquire(3)),
            (85, Action::Expired { token: 9, command: Command::DELIVER_SM }),
            (90, Action::Close(Closing::DeadLink)),
        ]
    );
}

#[test]
fn a_living_idle_session_is_unbound_after_the_inactivity_timer() {
    let mut session = bound(Side::Smsc, State::BoundTrx);
    let seen = to_the_end(&mut session, |session, action, at| match action {
        Action::Enquire(sequence) => {
            session.handle(&pdu(Command::ENQUIRE_LINK.response(), sequence), at);
        }
        Action::Unbind(sequence) => {
            session.handle(&pdu(Command::UNBIND.response(), sequence), at);
        }
        _ => {}
    });
    assert_eq!(seen.len(), 11, "{seen:?}");
    assert_eq!(seen[8].0, 270);
    assert!(matches!(seen[9], (300, Action::Unbind(_))));
    assert_eq!(seen[10], (300, Action::Close(Closing::Unbound)));
}

#[test]
fn an_esme_is_bound_by_the_answer_and_not_by_a_refusal() {
    for (status, state) in [(Status::ROK, State::BoundTrx), (Status::RINVPASWD, State::Open)] {
        let mut session = Session::new(Side::Esme, Timers::default(), 1, 1, Mono(0));
        let sequence = session.request(Command::BIND_TRANSCEIVER, 0, Mono(0)).unwrap();
        let header = Header { status, ..pdu(Command::BIND_TRANSCEIVER.response(), sequence) };
        assert_eq!(
            session.handle(&header, Mono(S)),
            Incoming::Answer { token: 0, command: Command::BIND_TRANSCEIVER }
        );
        assert_eq!(session.state(), state);
    }
}

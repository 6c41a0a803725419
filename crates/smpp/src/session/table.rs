//! The state table (SMPP 3.4 §2.3, table 2-1): which command may be sent in which state by which side.

use super::{Side, State};
use crate::command::Command;

/// The state that a request to bind leads to; `None` for any other command.
pub const fn bound(command: Command) -> Option<State> {
    match command {
        Command::BIND_TRANSMITTER => Some(State::BoundTx),
        Command::BIND_RECEIVER => Some(State::BoundRx),
        Command::BIND_TRANSCEIVER => Some(State::BoundTrx),
        _ => None,
    }
}

/// Whether `sender` may send the request `command` in `state`. Where the field is wider than the table, so are we: replace_sm on a
/// transceiver, and enquire_link in every state of a connection. data_sm follows the direction of the bind, as submit_sm and
/// deliver_sm do: who bound to receive does not send.
pub const fn allowed(command: Command, state: State, sender: Side) -> bool {
    let esme = matches!(sender, Side::Esme);
    let sends = matches!(state, State::BoundTx | State::BoundTrx);
    let receives = matches!(state, State::BoundRx | State::BoundTrx);
    match command {
        Command::ENQUIRE_LINK => !matches!(state, State::Closed),
        Command::BIND_RECEIVER | Command::BIND_TRANSMITTER | Command::BIND_TRANSCEIVER => {
            esme && matches!(state, State::Open)
        }
        Command::OUTBIND => !esme && matches!(state, State::Open),
        Command::UNBIND => state.is_bound(),
        Command::SUBMIT_SM
        | Command::SUBMIT_MULTI
        | Command::QUERY_SM
        | Command::CANCEL_SM
        | Command::REPLACE_SM => esme && sends,
        Command::DELIVER_SM | Command::ALERT_NOTIFICATION => !esme && receives,
        Command::DATA_SM => (esme && sends) || (!esme && receives),
        _ => false,
    }
}

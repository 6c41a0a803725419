//! Registrations in Redis, for the other nodes (RFC 0036): where questions of the cores go, and how their answers come back by the mailbox.

use std::sync::Arc;

use warp_net::clock::Clock;
use warp_net::mailbox::Sender;
use warp_state::engine::Ask;
use warp_state::store::{Asker, Hooks};
use warp_state::{Aor, StateReply, Store, Token, Write};

use super::Note;
use crate::config::State;
use crate::core::{AskId, CoreConfig, Mode, Shared};

/// Opens the store for a proxy. Errors: its address cannot be used, no thread.
pub(crate) fn open(
    state: State,
    core: &CoreConfig,
    shared: &Arc<Shared>,
    senders: Vec<Sender<Note>>,
) -> Result<(Store, Asker), String> {
    let Mode::Registrar(settings) = &core.mode else {
        return Err("only a registrar shares registrations".into());
    };
    let Some(by) = settings.shared else {
        return Err("the registrar is not told to share registrations".into());
    };
    let (domain, listeners) = (settings.domain.clone(), core.listeners.clone());
    let (marked, walked) = (Arc::clone(shared), Arc::clone(shared));
    let hooks = Hooks {
        answer: Box::new(move |token, answer| {
            if let Some(sender) = senders.get(usize::from(token.shard)) {
                // A full mailbox drops it: the question's own deadline counts then.
                let _ = sender.send(Note::StateAnswer(token.id, answer));
            }
        }),
        stored: Box::new(move |record, batch| marked.stored(record, batch)),
        unstored: Box::new(move |part, floor| {
            walked.unstored(part, floor, &domain, &listeners, by.server_id, Clock::now())
        }),
        seconds: state.seconds,
        health: state.health,
    };
    Store::open(state.options, hooks)
}

/// One shard's end.
pub(super) struct StateLink {
    asker: Option<Asker>,
    shard: u16,
}

impl StateLink {
    pub(super) fn new(asker: Option<Asker>, shard: u16) -> StateLink {
        StateLink { asker, shard }
    }

    /// Asks for the contacts of somebody; the answer is "not now" at once when nobody can be asked.
    pub(super) fn look(&self, id: AskId, aor: Aor) -> Option<(AskId, StateReply)> {
        self.ask(id, Ask::Look { token: self.token(id), aor })
    }

    /// Passes changes on.
    pub(super) fn write(&self, id: AskId, write: Write, wait: bool) -> Option<(AskId, StateReply)> {
        self.ask(id, Ask::Write { token: wait.then(|| self.token(id)), write })
    }

    fn token(&self, id: AskId) -> Token {
        Token { shard: self.shard, id: id.0 }
    }

    fn ask(&self, id: AskId, ask: Ask) -> Option<(AskId, StateReply)> {
        let asked = self.asker.as_ref().is_some_and(|asker| asker.ask(ask).is_ok());
        (!asked).then_some((id, StateReply::Unavailable))
    }
}

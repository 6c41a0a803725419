//! The thread that syncs: one sync covers all that was appended during the one before it.

use std::sync::mpsc::Receiver;

use warp_events::Topic;
use warp_net::mailbox::{SendError, Sender};

use super::{Note, fault_of};

/// Takes numbers after the last record that was appended, until nobody sends any.
pub(super) fn run(topic: &Topic, appended: &Receiver<u64>, sender: &Sender<Note>) {
    while let Ok(first) = appended.recv() {
        let number = appended.try_iter().last().unwrap_or(first);
        let mut note = match topic.sync(number) {
            Ok(_) => Note::Durable(number),
            Err(error) => {
                tracing::error!(%error, "the queue cannot be made durable");
                Note::Failed(number, fault_of(&error))
            }
        };
        // What waits for it would wait for ever: a full mailbox is drained by its owner.
        while let Err(SendError::Full(again)) = sender.send(note) {
            note = again;
            std::thread::yield_now();
        }
    }
}

//! A shard's side of its session machine: what came for it is handed over, what it wants is done.

use warp_media::DropReason;
use warp_media::rtp::PacketClass;
use warp_media::session::{SessionOutcome, SessionOutput, Source};
use warp_model::Mono;
use warp_net::udp::Sent;

use super::Shard;

impl Shard {
    #[cold]
    pub(super) fn hand_to_session(
        &mut self,
        slot: usize,
        (at, len): (usize, usize),
        class: PacketClass,
        source: Source,
        now: Mono,
    ) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let packet = self.buffer.get(at..at + len).unwrap_or_default();
        let (sessions, port) = (&mut self.sessions, entry.port);
        // G-1: a stranger's bytes that a library trips over cost nobody else's packets.
        let handed = std::panic::AssertUnwindSafe(|| sessions.handle(port, class, source, packet, now));
        let outcome = std::panic::catch_unwind(handed).unwrap_or_else(|_| {
            self.metrics.panics.inc(());
            SessionOutcome::Unwanted(DropReason::Malformed)
        });
        if let SessionOutcome::Unwanted(reason) = outcome {
            if let Some(state) = &mut entry.state {
                state.refuse(reason);
            }
            self.tally.drop(reason);
        }
        self.carry_out(now);
    }

    /// Sessions whose timers have run out.
    #[cold]
    pub(super) fn look_after_sessions(&mut self, now: Mono) {
        let sessions = &mut self.sessions;
        let looked = std::panic::AssertUnwindSafe(|| sessions.handle_timeout(now));
        if std::panic::catch_unwind(looked).is_err() {
            self.metrics.panics.inc(());
        }
        self.carry_out(now);
    }

    /// Does what sessions want done.
    pub(super) fn carry_out(&mut self, now: Mono) {
        while let Some(output) = self.sessions.poll_output() {
            match output {
                SessionOutput::Transmit { port, to, bytes } => {
                    let Some(entry) = self.entry_of(port).filter(|e| e.is_open) else { continue };
                    if !matches!(entry.socket.send(&bytes, to), Sent::Done) {
                        // It is sent again when its time comes.
                        self.tally.socket_errors += 1;
                    }
                }
                SessionOutput::Peer { port, address } => {
                    let Some(&slot) = self.by_port.get(&port) else { continue };
                    let Some(state) = self.entry_of(port).and_then(|e| e.state.as_mut()) else { continue };
                    state.session_peer(address);
                    match state.take_news() {
                        Some(_) => self.peer_learnt(slot as usize, now),
                        None => self.tell_senders(port),
                    }
                }
            }
        }
    }
}

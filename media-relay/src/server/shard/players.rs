//! What a shard plays itself (RFC 0049): a packet every 20 ms, by the rule of the port whose packets would go to the hearer.
//!
//! No allocation, lock or log line per packet. One that is late by more than a few ticks (a stopped machine) goes on from
//! now, without a burst.

use std::sync::Arc;
use std::time::Duration;

use warp_media::packet::{HEAD_ROOM, RoomyPacket, TAIL_ROOM};
use warp_media::play::{PACKET_BYTES, Playing, TICK, Tick};
use warp_media::{LocalPort, MediaPath};
use warp_model::Mono;

use super::{Packet, Shard};
use crate::server::control::ToControl;

/// So late, a stream goes on from now.
const LATE: Duration = Duration::from_millis(100);

/// When a port's next packet is due.
pub(super) struct Due {
    pub(super) due: Mono,
    slot: u32,
    generation: u32,
    life: u32,
    playing: Arc<Playing>,
}

impl Shard {
    /// The port has a rule that plays this, or nothing.
    pub(super) fn install_player(&mut self, port: LocalPort, play: Option<Arc<Playing>>, now: Mono) {
        let Some(&slot) = self.by_port.get(&port) else { return };
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        let is_same = match (&entry.playing, &play) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        entry.playing = play.clone();
        if let Some(playing) = play {
            let (generation, life) = (entry.generation, entry.life);
            // At once: whatever else waits is due later, or now.
            self.players.push_front(Due { due: now, slot, generation, life, playing });
        }
    }

    /// Sends what is due.
    pub(super) fn play(&mut self, now: Mono) {
        while self.players.front().is_some_and(|p| p.due <= now) {
            let Some(mut next) = self.players.pop_front() else { return };
            if self.play_one(&next, now) {
                let on_time = next.due + TICK;
                next.due = if now.since(on_time) > LATE { now + TICK } else { on_time };
                self.players.push_back(next);
            }
        }
    }

    /// One tick. False: it is not played any more.
    fn play_one(&mut self, p: &Due, now: Mono) -> bool {
        let slot = p.slot as usize;
        let Some(entry) = self.entries.get_mut(slot) else { return false };
        let is_it = entry.playing.as_ref().is_some_and(|now| Arc::ptr_eq(now, &p.playing));
        if (entry.generation, entry.life) != (p.generation, p.life) || !is_it {
            return false;
        }
        let Some(lot) = self.buffer.get_mut(..HEAD_ROOM + PACKET_BYTES + TAIL_ROOM) else { return false };
        let len = match p.playing.tick(lot.get_mut(HEAD_ROOM..).unwrap_or_default(), now) {
            Tick::Packet(len) => len,
            Tick::Pause => return true,
            // Where the mailbox is full, it is said again at the next tick.
            Tick::Over => {
                return self.control.send(ToControl::Played(entry.port, Arc::clone(&p.playing))).is_err();
            }
        };
        let Some(state) = entry.state.as_mut() else { return false };
        // Nobody is known there yet: the sound goes on without a hearer.
        let Some(receiver) = state.played_receiver() else { return true };
        let Some(mut packet) = RoomyPacket::new(lot, HEAD_ROOM, HEAD_ROOM + len) else { return true };
        match state.protect(receiver, &mut packet, now) {
            Ok((out_port, dest)) => {
                let range = packet.range();
                let (at, len) = (range.start, range.len());
                self.send(Packet { slot, at, len, dest, out_port, path: MediaPath::Rtp }, now);
            }
            Err(reason) => self.tally.drop(reason),
        }
        true
    }
}

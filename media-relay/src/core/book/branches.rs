//! Branches of one offer (a ring group, serial forking): they share the ports towards the caller, and one at a time is open
//! towards it: the one that was answered last, but what an 18x says never takes the place of a 2xx.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use warp_media::SourcePolicy;
use warp_model::{Mono, Now};
use warp_ng::SdpCommand;

use super::Book;
use super::call::{Call, Dialogue, MediaLine};
use super::dialogues::digest;
use crate::core::Output;
use crate::core::negotiate::Spoken;
use crate::core::ports::PortPair;

/// Branches remembered after their end.
const GONE: usize = 256;
/// Branches of a call that is gone are remembered so long, for the next attempt under its Call-ID.
const PAST: Duration = Duration::from_secs(60);
/// Of so many calls at most.
const PAST_CALLS: usize = 8_192;

/// Branches of calls that are gone: when one failed and the next is tried, the call is a new one here, and a `delete` of
/// the failed one that comes again must not end it. By digest of the Call-ID; the oldest goes when it is full.
#[derive(Debug, Default)]
pub(super) struct Past {
    // Looked up, never iterated.
    branches: HashMap<u64, VecDeque<u64>>,
    order: VecDeque<(Mono, u64)>,
}

impl Past {
    /// Keeps what is known of a call.
    pub(super) fn keep(&mut self, call_id: &[u8], gone: VecDeque<u64>, now: Mono) {
        self.expire(now);
        if gone.is_empty() {
            return;
        }
        if self.order.len() >= PAST_CALLS
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.branches.remove(&oldest);
        }
        let id = digest(call_id);
        self.branches.insert(id, gone);
        self.order.push_back((now + PAST, id));
    }

    /// What is known of it, for a new call of this id.
    pub(super) fn take(&mut self, call_id: &[u8], now: Mono) -> VecDeque<u64> {
        self.expire(now);
        self.branches.remove(&digest(call_id)).unwrap_or_default()
    }

    fn expire(&mut self, now: Mono) {
        while let Some((_, id)) = self.order.pop_front_if(|(until, _)| *until <= now) {
            self.branches.remove(&id);
        }
    }
}

impl Call {
    /// Pairs of all dialogues but one.
    pub(super) fn pairs_elsewhere(&self, at: usize) -> BTreeSet<PortPair> {
        let others = self.dialogues.iter().enumerate().filter(|(i, _)| *i != at);
        others.flat_map(|(_, d)| d.pairs()).collect()
    }

    /// A dialogue of this branch was here and is gone.
    pub(super) fn had(&self, branch: &[u8]) -> bool {
        self.gone.contains(&digest(branch))
    }

    /// A dialogue of this branch is here again.
    pub(super) fn is_back(&mut self, branch: &[u8]) {
        let digest = digest(branch);
        self.gone.retain(|g| *g != digest);
    }

    /// A number that the call has not used yet.
    pub(super) fn count(&mut self) -> u64 {
        self.counter = self.counter.saturating_add(1);
        self.counter
    }

    /// A dialogue for a new branch. Its ports towards the offerer are those of an earlier branch of the same offer, when
    /// there is one: same tag, same media, same local address (`ips`, by media line).
    pub(super) fn branch(
        &mut self,
        c: &SdpCommand,
        spoken: &[Spoken],
        ips: &[Option<u8>],
        now: Now,
    ) -> Dialogue {
        let mut new = Dialogue::new(c.via_branch.clone(), &c.from_tag, c.to_tag.as_deref(), now);
        for party in &mut new.parties {
            // What was said of a party holds in all its dialogues, what was said of all for those that come.
            let known = self.dialogues.iter().flat_map(|d| &d.parties);
            let mut same = known.filter(|p| party.tag.as_deref().is_some_and(|tag| p.is(tag)));
            party.kept = same.next().map_or(self.kept, |p| p.kept);
        }
        let twin = self.dialogues.iter().rev().find(|d| {
            let [asker, _] = &d.parties;
            asker.is(&c.from_tag) && d.is_offer_of(spoken, ips)
        });
        match twin {
            Some(twin) => {
                new.group = twin.group;
                let ([first, _], [old, _]) = (&mut new.parties, &twin.parties);
                first.label.clone_from(&old.label);
                first.interface.clone_from(&old.interface);
                for line in &twin.media {
                    let [front, _] = &line.sides;
                    let mut line = MediaLine::default();
                    if let Some(side) = line.sides.first_mut() {
                        *side = front.shared();
                    }
                    new.media.push(line);
                }
            }
            None => new.group = self.count(),
        }
        new
    }

    /// The open dialogue of a group.
    fn open_of(&self, group: u64) -> Option<usize> {
        self.dialogues.iter().position(|d| d.group == group && d.open)
    }
}

impl Dialogue {
    /// The same media as its first party's last offer, at ports on these local addresses.
    fn is_offer_of(&self, spoken: &[Spoken], ips: &[Option<u8>]) -> bool {
        let [Some(offer), _] = &self.offers else { return false };
        let same = |(old, new): (&Spoken, &Spoken)| {
            old.class == new.class
                && old.kind == new.kind
                && old.rejected == new.rejected
                && old.rtp == new.rtp
                && old.rtcp == new.rtcp
                && old.origin == new.origin
        };
        let fits = |(line, ip): (&MediaLine, &Option<u8>)| {
            let pair = line.sides.first().and_then(|s| s.pair);
            pair.is_none_or(|pair| ip.is_none_or(|ip| ip == pair.ip))
        };
        offer.said.len() == spoken.len()
            && offer.said.iter().zip(spoken).all(same)
            && self.media.iter().zip(ips).all(fits)
            && self.pairs().next().is_some()
    }

    /// May it take the place of `other` towards the party that they share?
    fn goes_before(&self, other: &Dialogue) -> bool {
        let rank = |d: &Dialogue| (d.answered && !d.early, d.turn);
        rank(self) > rank(other)
    }
}

impl Book {
    /// Tells the shard what a dialogue's ports do now.
    pub(super) fn install(&mut self, call: &Call, at: usize) {
        let Some(dialogue) = call.dialogues.get(at) else { return };
        let front = call.open_of(dialogue.group).is_none();
        for line in &dialogue.media {
            let kept = dialogue.parties.each_ref().map(|p| p.kept);
            let rules = if dialogue.open { line.rules(kept) } else { line.closed_rules(front) };
            // A port that lets in nobody needs no rule: its socket is bound, and waits.
            for rule in rules.into_iter().filter(|r| r.source != SourcePolicy::Nobody) {
                self.out.push_back(Output::Install { shard: call.shard, rule: Box::new(rule) });
            }
        }
    }

    /// A dialogue was answered: it is open now, unless a better one of its group is.
    pub(super) fn open(&mut self, call: &mut Call, at: usize) {
        let turn = call.count();
        let Some(dialogue) = call.dialogues.get_mut(at) else { return };
        dialogue.turn = turn;
        let group = dialogue.group;
        let before = call.open_of(group);
        if before == Some(at) {
            return self.install(call, at);
        }
        let first = before.and_then(|b| call.dialogues.get(b)).zip(call.dialogues.get(at));
        if first.is_none_or(|(before, new)| new.goes_before(before)) {
            if let Some(old) = before.and_then(|b| call.dialogues.get_mut(b)) {
                old.open = false;
            }
            if let Some(new) = call.dialogues.get_mut(at) {
                new.open = true;
            }
            if let Some(before) = before {
                self.install(call, before);
            }
        }
        self.install(call, at);
    }

    /// Ends dialogues. Ports that a branch shares stay with those that are left, and the best of them is open.
    pub(super) fn end_dialogues(&mut self, call: &mut Call, now: Now, ends: impl Fn(&Dialogue) -> bool) {
        let mut groups = BTreeSet::new();
        loop {
            // The open one last: the figures of shared ports go with it.
            let closed = call.dialogues.iter().position(|d| !d.open && ends(d));
            let Some(at) = closed.or_else(|| call.dialogues.iter().position(&ends)) else { break };
            let kept = call.pairs_elsewhere(at);
            if let Some(dialogue) = call.dialogues.get_mut(at) {
                groups.insert(dialogue.group);
                let labels = dialogue.labels();
                self.release(call.shard, &labels, &mut dialogue.media, &kept, now);
            }
            let ended = call.dialogues.remove(at);
            if let Some(branch) = &ended.branch {
                if call.gone.len() >= GONE {
                    call.gone.pop_front();
                }
                call.gone.push_back(digest(branch));
            }
        }
        for group in groups {
            if call.open_of(group).is_some() {
                continue;
            }
            let mut best: Option<usize> = None;
            for (at, d) in call.dialogues.iter().enumerate().filter(|(_, d)| d.group == group) {
                if best.and_then(|b| call.dialogues.get(b)).is_none_or(|b| d.goes_before(b)) {
                    best = Some(at);
                }
            }
            let Some(best) = best else { continue };
            if let Some(dialogue) = call.dialogues.get_mut(best) {
                dialogue.open = dialogue.turn > 0;
            }
            self.install(call, best);
        }
    }

    /// Gives back the ports of media lines, but those that other branches still have. `labels` are those of the two parties.
    pub(super) fn release(
        &mut self,
        shard: u16,
        labels: &[Option<Vec<u8>>; 2],
        lines: &mut [MediaLine],
        kept: &BTreeSet<PortPair>,
        now: Now,
    ) {
        for line in lines {
            let (mut ended, mut shared) = (false, false);
            for side in &mut line.sides {
                side.keys.clear();
                let Some(pair) = side.pair.take() else { continue };
                if kept.contains(&pair) {
                    shared = true;
                } else {
                    self.close(shard, pair, now);
                }
                ended = true;
            }
            if ended {
                self.out.push_back(Output::StreamEnded(Box::new(line.ended(labels.clone(), shared))));
                if let Some(from) = line.kind.take() {
                    self.out.push_back(Output::StreamKind { from: Some(from), to: None });
                }
            }
        }
    }
}

//! Lines that one party never hears of (`sdp-media-remove`): its SDPs have fewer sections than those of the other party.
//!
//! An offer leaves such a line out. What the party says is read as if it had refused the line in its place, so that
//! both SDPs count the same lines here; what it is told leaves the line out; and the other party sees it refused, with
//! port 0 (RFC 3264 §6). A line that a party has been shown once is never left out again, only refused (RFC 3264 §8).

use std::collections::BTreeSet;

use super::call::Dialogue;
use crate::core::negotiate::{Origin, OutLine, Spoken};

impl Dialogue {
    /// Lines of these kinds that `party` has not been shown yet are hidden from it.
    pub(super) fn hide_new(&mut self, party: usize, offered: &[Spoken], kinds: &[Vec<u8>]) {
        let known = self.offers.iter().flatten().map(|o| o.said.len()).max().unwrap_or(0);
        let new = offered.iter().enumerate().skip(known);
        let hidden = new.filter(|(_, said)| kinds.iter().any(|kind| **kind == *said.kind)).map(|(at, _)| at);
        if let Some(of_party) = self.hidden.get_mut(party) {
            of_party.extend(hidden);
        }
    }

    /// What `party` said, with the lines that it does not know of in their places, refused.
    pub(super) fn with_hidden(&self, party: usize, said: Vec<Spoken>) -> Vec<Spoken> {
        let Some(hidden) = self.hidden.get(party).filter(|h| !h.is_empty()) else { return said };
        let theirs = self.offers.get(1 - party).and_then(Option::as_ref).map(|o| o.said.as_slice());
        let mut out = Vec::with_capacity(said.len().saturating_add(hidden.len()));
        let mut rest = said.into_iter();
        loop {
            let stand_in = hidden.contains(&out.len()).then(|| theirs?.get(out.len())).flatten();
            match stand_in {
                Some(line) => out.push(Spoken {
                    rejected: true,
                    rtp: None,
                    rtcp: None,
                    mux: false,
                    origin: Origin::Unsaid,
                    ..line.clone()
                }),
                None => match rest.next() {
                    Some(line) => out.push(line),
                    None => return out,
                },
            }
        }
    }

    /// The lines of one SDP from `speaker`, in its own places, with those left out that the other does not know of; and
    /// the lines that it does not know of itself, each with the place in its SDP that it comes before.
    pub(super) fn in_places<'s>(
        &self,
        speaker: usize,
        lines: Vec<OutLine>,
        spoken: &'s [Spoken],
    ) -> (Vec<OutLine>, Vec<(usize, &'s Spoken)>) {
        let none = BTreeSet::new();
        let unknown = self.hidden.get(speaker).unwrap_or(&none);
        let untold = self.hidden.get(1 - speaker).unwrap_or(&none);
        let (mut own, mut restored) = (Vec::with_capacity(lines.len()), Vec::new());
        for (at, line) in lines.into_iter().enumerate() {
            match spoken.get(at).filter(|_| unknown.contains(&at)) {
                Some(said) => restored.push((own.len(), said)),
                None => own.push(OutLine { remove: line.remove || untold.contains(&at), ..line }),
            }
        }
        (own, restored)
    }
}

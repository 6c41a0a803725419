//! What a party sends and the other does not get: `block media`, `silence media`, `block DTMF` (RFC 0043).
//!
//! Said of a party, or of all parties of a call, those that come later too. Rules follow at once; signalling does not.

use std::net::IpAddr;
use std::sync::Arc;

use warp_media::gate::{EventGate, Silence};
use warp_media::pipeline::StageMaker;
use warp_model::Now;
use warp_ng::reply::reasons;
use warp_ng::{KeepAction, KeepBack, Kept, Reply};

use super::Book;
use super::call::{Call, Party};
use super::taken::Taken;

/// What of one party's media is kept back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeptBack {
    pub(super) media: bool,
    voice: bool,
    dtmf: bool,
}

impl KeptBack {
    fn set(&mut self, action: KeepAction) {
        let place = match action.what {
            Kept::Media => &mut self.media,
            Kept::Voice => &mut self.voice,
            Kept::Dtmf => &mut self.dtmf,
        };
        *place = !action.ends;
    }

    /// Steps on what comes from the party; `events` are its payload types of telephone events.
    pub(super) fn stages(self, events: u128) -> Vec<Arc<dyn StageMaker>> {
        let mut stages: Vec<Arc<dyn StageMaker>> = Vec::new();
        if self.dtmf && events != 0 {
            stages.push(Arc::new(EventGate::new(events)));
        }
        if self.voice {
            stages.push(Arc::new(Silence::new(events)));
        }
        stages
    }
}

/// Who is meant, as a command says it.
#[derive(Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) from_tag: Option<&'a [u8]>,
    /// The From-tag names a party; else it must only be there.
    pub(super) directional: bool,
    pub(super) label: Option<&'a [u8]>,
    pub(super) address: Option<IpAddr>,
}

/// Who is meant, by party; an error when nobody is. `None`: the command names nobody.
pub(super) fn meant(call: &Call, c: Who<'_>) -> Result<Option<Vec<[bool; 2]>>, Reply> {
    let pick = |test: &dyn Fn(&Party, usize, usize) -> bool, reason| {
        let of = |(at, d): (usize, &super::call::Dialogue)| {
            let mut parties = d.parties.iter().enumerate().map(|(me, p)| test(p, at, me));
            [parties.next().unwrap_or(false), parties.next().unwrap_or(false)]
        };
        let found: Vec<[bool; 2]> = call.dialogues.iter().enumerate().map(of).collect();
        match found.iter().flatten().any(|f| *f) {
            true => Ok(Some(found)),
            false => Err(Reply::error(reason)),
        }
    };
    // A tag that nobody has is an error, as in the original, whoever is meant.
    if let Some(tag) = c.from_tag {
        let found = pick(&|p, _, _| p.is(tag), reasons::NO_SUCH_TAG)?;
        if c.directional {
            return Ok(found);
        }
    }
    if let Some(label) = c.label {
        return pick(&|p, _, _| p.label.as_deref() == Some(label), reasons::NO_LABEL);
    }
    if let Some(address) = c.address {
        let there = |at: usize, me: usize| {
            let lines = call.dialogues.get(at).into_iter().flat_map(|d| &d.media);
            let mut said = lines.filter_map(|l| l.sides.get(me)?.spoken.as_ref()?.rtp);
            said.any(|rtp| rtp.ip() == address)
        };
        return pick(&|_, at, me| there(at, me), reasons::NO_ADDRESS);
    }
    Ok(None)
}

impl Book {
    pub(super) fn keep_back(&mut self, c: &KeepBack, now: Now) -> Result<Reply, Reply> {
        let unknown = || Reply::error(reasons::UNKNOWN_CALL_ID_OTHERS);
        let serial = *self.by_id.get(&c.call_id).ok_or_else(unknown)?;
        if self.calls.get(serial).is_none_or(|call| call.ended.is_some()) {
            return Err(unknown());
        }
        let mut lent = Taken::of(self, serial, now).ok_or_else(unknown)?;
        let (_, book, call) = lent.parts().ok_or_else(unknown)?;
        let who = Who {
            from_tag: c.from_tag.as_deref(),
            directional: c.directional,
            label: c.label.as_deref(),
            address: c.address,
        };
        match meant(call, who)? {
            None => {
                call.kept.set(c.what);
                let parties = call.dialogues.iter_mut().flat_map(|d| &mut d.parties);
                parties.for_each(|party| party.kept.set(c.what));
            }
            Some(meant) => {
                for (dialogue, meant) in call.dialogues.iter_mut().zip(meant) {
                    let parties = dialogue.parties.iter_mut().zip(meant).filter(|(_, meant)| *meant);
                    parties.for_each(|(party, _)| party.kept.set(c.what));
                }
            }
        }
        for at in 0..call.dialogues.len() {
            book.install(call, at);
        }
        Ok(Reply::Ok { warning: None })
    }
}

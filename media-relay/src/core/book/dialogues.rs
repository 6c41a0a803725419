//! What of a command is taken, which dialogue it means (`ref/ng-protocol.md` §3), and the words of one party for the other.

use warp_ng::reply::reasons;
use warp_ng::{Delete, Reply, SdpCommand};
use warp_sdp::{Sdp, SdpFault};

use super::call::{Dialogue, Party};
use crate::core::negotiate::{Names, OutLine, OutOptions, rewrite};

/// Longest Call-ID, tag and branch, label and metadata that are kept with a call (T-NG-04).
const ID_BYTES: usize = 1_024;
const LABEL_BYTES: usize = 256;
pub(super) const METADATA_BYTES: usize = 4_096;

/// What is kept for the life of a call must be short.
pub(super) fn check_lengths(c: &SdpCommand) -> Result<(), Reply> {
    let ids = [Some(&c.call_id), Some(&c.from_tag), c.to_tag.as_ref(), c.via_branch.as_ref()];
    if ids.into_iter().flatten().any(|id| id.len() > ID_BYTES) {
        return Err(Reply::error(reasons::INVALID_DIALOGUE));
    }
    Ok(())
}

pub(super) fn parse(sdp: &[u8]) -> Result<Sdp<'_>, Reply> {
    Sdp::parse(sdp).map_err(|e| {
        Reply::error(match e.cause {
            SdpFault::Incomplete => reasons::INCOMPLETE_SDP,
            _ => reasons::BAD_SDP,
        })
    })
}

/// Which dialogue an offer is for, and which party speaks. `None`: a new one.
pub(super) fn find_for_offer(dialogues: &[Dialogue], c: &SdpCommand) -> Option<(usize, usize)> {
    let of_tags = |d: &Dialogue, to: &[u8]| {
        let me = d.party(&c.from_tag)?;
        d.parties.get(1 - me).filter(|p| p.is(to)).map(|_| me)
    };
    match c.to_tag.as_deref() {
        Some(to) => dialogues.iter().enumerate().rev().find_map(|(at, d)| Some((at, of_tags(d, to)?))),
        None => dialogues.iter().enumerate().rev().find_map(|(at, d)| {
            let me = d.party(&c.from_tag).filter(|_| d.branch == c.via_branch)?;
            Some((at, me))
        }),
    }
}

/// Which dialogue an answer is for, and which party had asked.
pub(super) fn find_for_answer(
    dialogues: &[Dialogue],
    c: &SdpCommand,
    to_tag: &[u8],
) -> Option<(usize, usize)> {
    let asked = |d: &Dialogue| d.party(&c.from_tag);
    let other_is = |d: &Dialogue, test: &dyn Fn(&Party) -> bool| {
        asked(d).filter(|asker| d.parties.get(1 - asker).is_some_and(test))
    };
    let find = |test: &dyn Fn(&Dialogue) -> Option<usize>| {
        dialogues.iter().enumerate().rev().find_map(|(at, d)| Some((at, test(d)?)))
    };
    let branch_fits = |d: &Dialogue| c.via_branch.is_none() || d.branch.is_none() || d.branch == c.via_branch;
    // The pair of tags; a nameless party of the branch; a fork behind the next hop takes the branch over.
    find(&|d| other_is(d, &|p| p.is(to_tag)))
        .or_else(|| find(&|d| other_is(d, &|p| p.tag.is_none()).filter(|_| branch_fits(d))))
        .or_else(|| find(&|d| asked(d).filter(|_| branch_fits(d))))
}

/// Is this dialogue meant by a `delete`? An answered one may come with the branch of its BYE, which says nothing.
pub(super) fn is_deleted(d: &Dialogue, c: &Delete) -> bool {
    let has = |tag: &Option<Vec<u8>>| tag.as_deref().is_none_or(|t| d.party(t).is_some());
    let branch = c.via_branch.is_none()
        || d.branch == c.via_branch
        || (d.answered && c.to_tag.is_some() && has(&c.to_tag));
    has(&c.from_tag) && branch && (!c.match_to_tag || has(&c.to_tag))
}

/// Stands for a text that is not kept: SDPs are long and calls are many. The same on every run.
fn digest(text: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

/// The SDP of `speaker` for `listener`, with the version of `o=` kept right per listener when that is asked for.
pub(super) fn say(
    speaker: &mut Party,
    listener: &mut Party,
    sdp: &Sdp<'_>,
    lines: &[OutLine],
    c: &SdpCommand,
    instance: &str,
) -> Vec<u8> {
    if c.label.as_ref().is_some_and(|l| l.len() <= LABEL_BYTES) {
        speaker.label.clone_from(&c.label);
    }
    let mut options = OutOptions {
        replace: c.replace,
        flags: c.flags,
        instance,
        codec: &c.codec,
        attributes: &c.attributes,
        version: None,
        names: None,
    };
    if c.replace.username || c.replace.session_name || c.replace.origin_full {
        listener.names = listener.names.take().or_else(|| Names::of(sdp));
        options.names = listener.names.as_ref();
    }
    // One session id means one line of versions.
    if !(c.replace.sdp_version || c.replace.force_increment_sdp_version || c.replace.origin_full) {
        return rewrite(sdp, lines, options);
    }
    // Compared with the version taken out: it counts up, by one, when anything else has changed (RFC 3264 §8).
    options.version = Some(0);
    let plain = digest(&rewrite(sdp, lines, options));
    let said = sdp.origin().and_then(|o| std::str::from_utf8(o.version).ok()?.parse().ok()).unwrap_or(1);
    let version = match &listener.sent {
        None => said,
        Some((last, before)) if *before == plain && !c.replace.force_increment_sdp_version => *last,
        Some((last, _)) => last.saturating_add(1),
    };
    listener.sent = Some((version, plain));
    options.version = Some(version);
    rewrite(sdp, lines, options)
}

//! What of a command is taken, which dialogue it means (`ref/ng-protocol.md` §3), and the words of one party for the other.

use warp_ng::reply::reasons;
use warp_ng::{Delete, Reply, SdpCommand};
use warp_sdp::{Sdp, SdpFault};

use super::call::{Call, Dialogue, Party};
use crate::core::negotiate::{Names, OutLine, OutOptions, Spoken, rewrite};

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
        let reason = match e.cause {
            SdpFault::Incomplete => reasons::INCOMPLETE_SDP,
            _ => reasons::BAD_SDP,
        };
        refused(reason, e)
    })
}

/// An error that says why and where. Clients that compare texts find the known one at its beginning.
pub(super) fn refused(reason: &'static str, why: impl std::fmt::Display) -> Reply {
    Reply::Error { reason: format!("{reason}: {why}").into() }
}

/// Which dialogue an offer is for, and which party speaks. `None`: a new one.
///
/// A pair of tags is enough, whatever the branch; a branch decides where several dialogues have the pair (a call that comes
/// through us twice), and the media address where the branch is new to all of them.
pub(super) fn find_for_offer(
    dialogues: &[Dialogue],
    c: &SdpCommand,
    spoken: &[Spoken],
) -> Option<(usize, usize)> {
    let knows = |d: &Dialogue| c.via_branch.as_deref().is_some_and(|b| d.knows(b));
    // What fits best, the latest of equals.
    let best = |test: &dyn Fn(&Dialogue) -> Option<usize>| {
        let fitting = dialogues.iter().enumerate().filter_map(|(at, d)| Some((at, test(d)?)));
        fitting.max_by_key(|(at, me)| {
            let d = dialogues.get(*at);
            let same_media = d.is_some_and(|d| {
                let before = d.media.iter().filter_map(|l| l.sides.get(*me)?.spoken.as_ref()?.rtp);
                before.eq(spoken.iter().filter_map(|s| s.rtp))
            });
            (d.is_some_and(knows), same_media, *at)
        })
    };
    let Some(to) = c.to_tag.as_deref() else {
        return match &c.via_branch {
            // A callee's tag names its dialogue; a caller's may be in many, and a branch that none knows is one more.
            Some(_) => best(&|d| d.party(&c.from_tag).filter(|me| knows(d) || *me == 1)),
            None => best(&|d| d.party(&c.from_tag).filter(|_| d.branch.is_none()))
                .or_else(|| best(&|d| d.party(&c.from_tag))),
        };
    };
    let with_other = |d: &Dialogue, other: &dyn Fn(&Party) -> bool| {
        let me = d.party(&c.from_tag)?;
        d.parties.get(1 - me).filter(|p| other(p)).map(|_| me)
    };
    let nameless = |p: &Party| p.tag.is_none();
    best(&|d| with_other(d, &|p| p.is(to)))
        .or_else(|| best(&|d| with_other(d, &nameless)))
        // The callee is the first of the two to offer before we have heard its name.
        .or_else(|| best(&|d| Some(1 - d.party(to)?).filter(|me| d.parties.get(*me).is_some_and(nameless))))
}

/// Which dialogue an answer is for, and which party had asked.
///
/// A branch that one of them knows decides; one that none knows says nothing: then the pair of tags, a party without a name
/// yet, and last a fork behind the next hop, which takes the branch over.
pub(super) fn find_for_answer(
    dialogues: &[Dialogue],
    c: &SdpCommand,
    to_tag: &[u8],
) -> Option<(usize, usize)> {
    let asked =
        |d: &Dialogue| d.party(&c.from_tag).filter(|asker| d.offers.get(*asker).is_some_and(Option::is_some));
    let knows = |d: &Dialogue| c.via_branch.as_deref().is_some_and(|b| d.knows(b));
    let decided = dialogues.iter().any(|d| asked(d).is_some() && knows(d));
    let fitting = dialogues.iter().enumerate().filter_map(|(at, d)| Some((at, d, asked(d)?)));
    let best = fitting.filter(|(_, d, _)| !decided || knows(d)).max_by_key(|(at, d, asker)| {
        let other = d.parties.get(1 - asker);
        let fit = match other {
            Some(p) if p.is(to_tag) => 2,
            Some(p) if p.tag.is_none() => 1,
            _ => 0,
        };
        let unmarked = c.via_branch.is_none() && d.branch.is_none();
        (fit, d.has_asked(*asker), unmarked, *at)
    });
    best.map(|(at, _, asker)| (at, asker))
}

/// Which dialogues a `delete` means.
///
/// A branch of the call names its dialogue, also when that is gone (a repeated `delete` ends nothing else). Any other branch is
/// that of a BYE or of a hop that we did not see, and says nothing: then the tags decide, unless they fit only branches
/// that still ring and there is more than one.
pub(super) fn find_for_delete(call: &Call, c: &Delete) -> Vec<bool> {
    let has = |d: &Dialogue, tag: &Option<Vec<u8>>| tag.as_deref().is_none_or(|t| d.party(t).is_some());
    let fits = |d: &Dialogue| has(d, &c.from_tag) && (!c.match_to_tag || has(d, &c.to_tag));
    let pick = |test: &dyn Fn(&Dialogue) -> bool| -> Option<Vec<bool>> {
        let picked: Vec<bool> = call.dialogues.iter().map(|d| fits(d) && test(d)).collect();
        picked.contains(&true).then_some(picked)
    };
    let Some(branch) = c.via_branch.as_deref() else {
        return pick(&|_| true).unwrap_or_default();
    };
    let is_single = call.dialogues.iter().filter(|d| fits(d)).count() == 1 && call.gone.is_empty();
    pick(&|d| d.knows(branch))
        .or_else(|| {
            if call.had(branch) {
                return None;
            }
            let named = pick(&|d| c.to_tag.is_some() && has(d, &c.to_tag));
            let answered = call.dialogues.iter().any(|d| fits(d) && d.answered && !d.early);
            named.or_else(|| pick(&|_| answered || is_single))
        })
        .unwrap_or_default()
}

/// Stands for a text that is not kept: SDPs are long and calls are many. The same on every run.
pub(super) fn digest(text: &[u8]) -> u64 {
    warp_model::hash::fnv1a(text.iter().copied())
}

/// How the relay writes.
#[derive(Clone, Copy)]
pub(super) struct Style<'a> {
    /// Our mark for loop protection.
    pub(super) instance: &'a str,
    /// Anew, in rtpengine's order.
    pub(super) canonical: bool,
}

/// The SDP of `speaker` for `listener`, with the version of `o=` kept right per listener when that is asked for.
pub(super) fn say(
    speaker: &mut Party,
    listener: &mut Party,
    sdp: &Sdp<'_>,
    lines: &[OutLine],
    c: &SdpCommand,
    style: Style<'_>,
    missing: &[(usize, &Spoken)],
) -> Vec<u8> {
    if c.label.as_ref().is_some_and(|l| l.len() <= LABEL_BYTES) {
        speaker.label.clone_from(&c.label);
    }
    let mut options = OutOptions {
        replace: c.replace,
        flags: c.flags,
        instance: style.instance,
        canonical: style.canonical,
        codec: &c.codec,
        attributes: &c.attributes,
        version: None,
        names: None,
        missing,
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

//! What is played to a party: `play media`, `stop media`, `play DTMF` (RFC 0049).
//!
//! A sound is heard by the party that the command names; a key is heard by the other one, as if the named party had pressed
//! it. Meanwhile the other one's RTP is not sent. Keys go before a sound, which waits; a new sound takes the place of the
//! one before. The rules carry what is played ([`warp_media::play`]), so that re-offers change nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use warp_media::LocalPort;
use warp_media::play::{Clip, Passes, PlayCodec, Playing, Voice};
use warp_model::Now;
use warp_ng::reply::reasons;
use warp_ng::{Play, PlayAction, Reply, Sound};

use super::Book;
use super::call::{Call, MediaSide};
use super::config::KeySource;
use super::keep::{Who, meant};
use super::taken::Taken;
use crate::core::negotiate::{Class, Spoken};
use crate::core::sound;

/// Keys that wait for a party at most; a command beyond is refused.
const KEYS: usize = 32;
const TOO_MANY_KEYS: &str = "Too many DTMF events are waiting";

/// What is played to one party.
#[derive(Debug, Default)]
pub(super) struct Heard {
    voice: Option<Arc<Voice>>,
    keys: VecDeque<Arc<Playing>>,
    sound: Option<Arc<Playing>>,
}

impl Heard {
    /// What it hears now.
    pub(super) fn current(&self) -> Option<Arc<Playing>> {
        self.keys.front().or(self.sound.as_ref()).cloned()
    }

    fn voice(&mut self, keys: KeySource) -> Option<Arc<Voice>> {
        if self.voice.is_none() {
            let mut random = [0; 10];
            (keys.0)(&mut random).then_some(())?;
            self.voice = Some(Arc::new(Voice::new(random)));
        }
        self.voice.clone()
    }

    /// True when that was what it heard.
    fn end(&mut self, played: &Arc<Playing>) -> bool {
        let is_it = |p: Option<&Arc<Playing>>| p.is_some_and(|p| Arc::ptr_eq(p, played));
        if is_it(self.keys.front()) {
            self.keys.pop_front();
            return true;
        }
        is_it(self.sound.as_ref()) && self.sound.take().is_some()
    }
}

/// The payload type and codec in which a party hears us: of its own that we can write, the first that the other one has too.
fn codec_of(spoken: &Spoken, other: Option<&Spoken>) -> Option<(u8, PlayCodec)> {
    let mut own = spoken.plays.into_iter().flatten();
    let has = |codec: PlayCodec| other.is_some_and(|o| o.plays.iter().flatten().any(|(_, c)| *c == codec));
    let agreed = own.clone().find(|(_, codec)| has(*codec));
    agreed.or_else(|| own.next())
}

/// Its payload type of telephone events beside speech of 8,000 Hz.
fn events_of(spoken: &Spoken) -> Option<u8> {
    let is_event = |pt: &u8| spoken.events.checked_shr(u32::from(*pt)).is_some_and(|rest| rest & 1 == 1);
    (0..=127).filter(is_event).find(|pt| spoken.clocks.hz(*pt) == 8_000)
}

/// The side that hears: of a live audio line that receives. One whose protection passes us unopened has no keys of ours: what we
/// said there would be in the clear, and heard by anybody but it (T-RTP-05).
fn hears(side: &MediaSide) -> Option<&Spoken> {
    let spoken = side.spoken.as_ref().filter(|s| &*s.kind == b"audio" && !s.rejected)?;
    let is_ours = !matches!(spoken.class, Class::Srtp | Class::Dtls) || side.protects();
    (side.pair.is_some() && spoken.direction.receives() && is_ours).then_some(spoken)
}

/// What a side is to hear now, of what is played to it: nothing while it does not receive, nor in what it has no more since an offer.
pub(super) fn heard_by(side: &MediaSide) -> Option<Arc<Playing>> {
    let spoken = hears(side)?;
    side.heard.current().filter(|playing| playing.is_for(&spoken.plays, spoken.events))
}

/// Parties that are meant: dialogue and place.
fn parties(call: &Call, c: &Play) -> Result<Vec<(usize, usize)>, Reply> {
    let who = Who {
        from_tag: c.from_tag.as_deref(),
        directional: true,
        label: c.label.as_deref(),
        address: c.address,
    };
    let all = || vec![[true; 2]; call.dialogues.len()];
    let found = match c.all {
        true => all(),
        false => meant(call, who)?.ok_or(Reply::error(reasons::NO_PARTY))?,
    };
    let flat = found.into_iter().enumerate().flat_map(|(at, two)| {
        two.into_iter().enumerate().filter(|(_, meant)| *meant).map(move |(me, _)| (at, me))
    });
    Ok(flat.collect())
}

/// In what a party hears us: a codec; and telephone events, where both sides have them (RFC 3264 §7: the others were not agreed on).
#[derive(Clone, Copy)]
struct Hearing {
    codec: Option<(u8, PlayCodec)>,
    events: Option<u8>,
}

/// The first line of a dialogue on which a party hears, and in what.
fn line_of(call: &mut Call, at: usize, party: usize) -> Option<(&mut MediaSide, Hearing)> {
    let dialogue = call.dialogues.get_mut(at).filter(|d| d.open && d.answered)?;
    let line =
        dialogue.media.iter_mut().find(|line| line.sides.get(party).is_some_and(|s| hears(s).is_some()))?;
    let other = line.sides.get(1usize.checked_sub(party)?).and_then(|s| s.spoken.as_ref());
    let own = line.sides.get(party).and_then(hears)?;
    let events = events_of(own).filter(|_| other.is_none_or(|o| events_of(o).is_some()));
    let hearing = Hearing { codec: codec_of(own, other), events };
    Some((line.sides.get_mut(party)?, hearing))
}

impl Book {
    /// Carries out a command that plays something. `load` gives the samples of a sound, or why there are none.
    pub fn handle_play(
        &mut self,
        c: &Play,
        load: &mut dyn FnMut(&Sound) -> Result<Clip, String>,
        now: Now,
    ) -> Reply {
        self.play(c, load, now).unwrap_or_else(|refused| refused)
    }

    fn play(
        &mut self,
        c: &Play,
        load: &mut dyn FnMut(&Sound) -> Result<Clip, String>,
        now: Now,
    ) -> Result<Reply, Reply> {
        let unknown = || Reply::error(reasons::UNKNOWN_CALL_ID_OTHERS);
        let serial = *self.by_id.get(&c.call_id).ok_or_else(unknown)?;
        if self.calls.get(serial).is_none_or(|call| call.ended.is_some()) {
            return Err(unknown());
        }
        let mut lent = Taken::of(self, serial, now).ok_or_else(unknown)?;
        let (_, book, call) = lent.parts().ok_or_else(unknown)?;
        let parties = parties(call, c)?;
        let (reply, changed) = match &c.what {
            PlayAction::Media { sound, times, limit_ms, start_ms } => {
                let sound = sound.as_ref().ok_or(Reply::error(reasons::NO_MEDIA_FILE))?;
                let how = Passes { times: *times, limit_ms: *limit_ms, start_ms: *start_ms };
                start(call, &parties, sound, load, how, book.config.keys)?
            }
            PlayAction::Stop => stop(call, &parties)?,
            PlayAction::Dtmf { event, duration_ms, pause_ms, volume } => {
                let event = event.ok_or(Reply::error(reasons::DTMF_CODE))?;
                let [lasts, pause] = [*duration_ms, *pause_ms].map(|ms| Duration::from_millis(ms.into()));
                press(call, &parties, Key { event, volume: *volume, lasts, pause }, book.config.keys)?
            }
        };
        for at in changed {
            book.install(call, at);
        }
        Ok(reply)
    }

    /// A shard has come to the end of what it played on this port: the party hears what comes next.
    pub fn handle_played(&mut self, port: LocalPort, played: &Arc<Playing>, now: Now) {
        let Some(serial) = self.by_port.get(&port).copied() else { return };
        let Some(mut lent) = Taken::of(self, serial, now) else { return };
        let Some((_, book, call)) = lent.parts() else { return };
        for at in 0..call.dialogues.len() {
            let sides = call.dialogues.get_mut(at).into_iter().flat_map(|d| &mut d.media);
            let mut ended = false;
            for side in sides.flat_map(|line| &mut line.sides) {
                ended |= side.heard.end(played);
            }
            if ended {
                book.install(call, at);
            }
        }
    }
}

type Done = Result<(Reply, Vec<usize>), Reply>;

fn start(
    call: &mut Call,
    parties: &[(usize, usize)],
    sound: &Sound,
    load: &mut dyn FnMut(&Sound) -> Result<Clip, String>,
    how: Passes,
    keys: KeySource,
) -> Done {
    let failed = match sound {
        Sound::File(_) => reasons::PLAY_FILE,
        Sound::Blob(_) | Sound::Blob64(_) => reasons::PLAY_BLOB,
        Sound::Database => reasons::PLAY_DATABASE,
    };
    let refused = |why: &str| Reply::Error { reason: format!("{failed}: {why}").into() };
    let mut hearers = Vec::new();
    for (at, party) in parties {
        let codec = line_of(call, *at, *party).and_then(|(_, hearing)| hearing.codec);
        hearers.extend(codec.map(|codec| (*at, *party, codec)));
    }
    if hearers.is_empty() {
        return Err(refused("nobody who hears it has PCMU, PCMA or L16 at 8000 Hz in a live line"));
    }
    let clip = load(sound).map_err(|why| refused(&why))?;
    for (at, party, (payload_type, codec)) in &hearers {
        let Some((side, _)) = line_of(call, *at, *party) else { continue };
        let voice = side.heard.voice(keys).ok_or_else(|| refused("no randomness"))?;
        let playing = Playing::clip(voice, clip.clone(), *codec, *payload_type, how);
        side.heard.sound = Some(Arc::new(playing));
    }
    let changed = hearers.into_iter().map(|(at, _, _)| at).collect();
    Ok((Reply::Playing { duration_ms: clip.millis() }, changed))
}

fn stop(call: &mut Call, parties: &[(usize, usize)]) -> Done {
    let (mut position_ms, mut changed) = (None, Vec::new());
    for (at, party) in parties {
        let lines = call.dialogues.get_mut(*at).into_iter().flat_map(|d| &mut d.media);
        for side in lines.filter_map(|line| line.sides.get_mut(*party)) {
            if let Some(sound) = side.heard.sound.take() {
                position_ms.get_or_insert(sound.position_ms());
                changed.push(*at);
            }
        }
    }
    let position_ms = position_ms.ok_or(Reply::error(reasons::NOT_PLAYING))?;
    Ok((Reply::Stopped { position_ms }, changed))
}

/// A key that is pressed.
#[derive(Clone, Copy)]
struct Key {
    event: u8,
    volume: u8,
    lasts: Duration,
    pause: Duration,
}

/// The other party of each named one hears it: as an event where it has events, else as the two tones.
fn press(call: &mut Call, parties: &[(usize, usize)], key: Key, keys: KeySource) -> Done {
    let mut changed = Vec::new();
    let mut reason = Reply::error(reasons::NO_DTMF_SOURCE);
    for (at, party) in parties {
        let Some(other) = 1usize.checked_sub(*party) else { continue };
        let Some((side, hearing)) = line_of(call, *at, other) else { continue };
        if side.heard.keys.len() >= KEYS {
            reason = Reply::error(TOO_MANY_KEYS);
            continue;
        }
        let Some(voice) = side.heard.voice(keys) else { continue };
        let playing = match (hearing.events, hearing.codec) {
            (Some(pt), _) => Playing::event(voice, pt, key.event, key.volume, key.lasts, key.pause),
            (None, Some((pt, codec))) => {
                let Some(clip) = sound::tones(key.event, key.volume, key.lasts, key.pause) else { continue };
                Playing::clip(voice, clip, codec, pt, Passes::default())
            }
            (None, None) => {
                reason = Reply::error(reasons::NO_DTMF_SINK);
                continue;
            }
        };
        side.heard.keys.push_back(Arc::new(playing));
        changed.push(*at);
    }
    match changed.is_empty() {
        true => Err(reason),
        false => Ok((Reply::Ok { warning: None }, changed)),
    }
}

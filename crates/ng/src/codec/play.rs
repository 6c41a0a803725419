//! The keys of `play media`, `stop media` and `play DTMF`.

use crate::command::{Play, PlayAction, Sound, dtmf_event};
use crate::tape::View;
use crate::write::Writer;

/// Milliseconds of an event when the command does not say, at least, and at most.
const DURATION_MS: (u32, u32, u32) = (250, 100, 5_000);
/// The same of the pause behind it.
const PAUSE_MS: (u32, u32, u32) = (100, 100, 5_000);
/// dBm0 below nothing when the command does not say.
const VOLUME: u8 = 8;

/// What a command says of playing.
#[derive(Debug, Default)]
pub(super) struct PlayFields {
    pub(super) all: bool,
    sound: Option<Sound>,
    times: u32,
    limit_ms: u64,
    start_ms: u64,
    event: Option<u8>,
    duration: Option<i64>,
    pause: Option<i64>,
    volume: Option<i64>,
}

/// The nearest of what may be.
fn within(value: Option<i64>, (usual, least, most): (u32, u32, u32)) -> u32 {
    let Some(value) = value else { return usual };
    u32::try_from(value.max(0)).unwrap_or(most).clamp(least, most)
}

impl PlayFields {
    /// False: the key is none of these.
    pub(super) fn key(&mut self, key: &[u8], value: View<'_, '_>) -> bool {
        let text = || value.text().map(|t| t.into_owned()).filter(|t| !t.is_empty());
        let count = || value.int().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        match key {
            b"file" => self.sound = text().map(Sound::File).or(self.sound.take()),
            b"blob" => self.sound = text().map(Sound::Blob).or(self.sound.take()),
            b"blob64" => self.sound = text().map(Sound::Blob64).or(self.sound.take()),
            b"db-id" => self.sound = self.sound.take().or(Some(Sound::Database)),
            b"repeat-times" => self.times = u32::try_from(count()).unwrap_or(u32::MAX),
            b"repeat-duration" => self.limit_ms = count(),
            b"start-pos" => self.start_ms = count(),
            b"code" | b"digit" => self.event = value.text().and_then(|t| dtmf_event(&t)),
            b"duration" => self.duration = value.int(),
            b"pause" => self.pause = value.int(),
            b"volume" => self.volume = value.int(),
            b"all" => self.all |= matches!(value.str(), Some(b"all" | b"yes" | b"true" | b"1")),
            _ => return false,
        }
        true
    }

    /// The command of this name, about the party that `of` names.
    pub(super) fn command(self, name: &[u8], of: Play) -> Play {
        let volume = self.volume.map_or(VOLUME, |v| u8::try_from(v.unsigned_abs()).unwrap_or(63).min(63));
        let what = match name {
            b"stop media" => PlayAction::Stop,
            b"play DTMF" => PlayAction::Dtmf {
                event: self.event,
                duration_ms: within(self.duration, DURATION_MS),
                pause_ms: within(self.pause, PAUSE_MS),
                volume,
            },
            _ => PlayAction::Media {
                sound: self.sound,
                times: self.times,
                limit_ms: self.limit_ms,
                start_ms: self.start_ms,
            },
        };
        Play { what, all: self.all, ..of }
    }
}

/// The keys of one.
pub(super) fn write_play(w: &mut Writer<'_>, c: &Play) {
    w.pair_text("call-id", &c.call_id);
    if let Some(tag) = &c.from_tag {
        w.pair_text("from-tag", tag);
    }
    if let Some(label) = &c.label {
        w.pair_text("label", label);
    }
    if let Some(address) = c.address {
        w.pair_text("address", address.to_string());
    }
    if c.all {
        w.pair_text("all", "all");
    }
    match &c.what {
        PlayAction::Stop => {}
        PlayAction::Media { sound, times, limit_ms, start_ms } => {
            match sound {
                Some(Sound::File(name)) => w.pair_text("file", name),
                Some(Sound::Blob(bytes)) => w.pair_text("blob", bytes),
                Some(Sound::Blob64(text)) => w.pair_text("blob64", text),
                Some(Sound::Database) => w.pair_int("db-id", 0),
                None => {}
            }
            for (key, value) in [
                ("repeat-times", u64::from(*times)),
                ("repeat-duration", *limit_ms),
                ("start-pos", *start_ms),
            ] {
                if value != 0 {
                    w.pair_count(key, value);
                }
            }
        }
        PlayAction::Dtmf { event, duration_ms, pause_ms, volume } => {
            w.pair_int("code", event.map_or(-1, i64::from));
            w.pair_int("duration", i64::from(*duration_ms));
            w.pair_int("pause", i64::from(*pause_ms));
            w.pair_int("volume", i64::from(*volume));
        }
    }
}

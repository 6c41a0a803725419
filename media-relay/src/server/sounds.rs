//! The folder of sounds (T-NG-05): what a client names is a name inside it, or nothing.
//!
//! A name is one to four words of letters, digits, `-`, `_` and `.` with `/` between them, none beginning with a dot; the
//! folder's own path before it is taken off, so that scripts written for rtpengine go on working. What it leads to must be
//! a plain file at just that place, without a link on the way. A few that were read last are kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use warp_media::play::Clip;
use warp_ng::Sound;

use crate::core::sound::{FILE_BYTES, read};

/// Bytes of a name.
const NAME_BYTES: usize = 255;
/// Words of a name.
const WORDS: usize = 4;
/// Sounds that are kept.
const KEPT: usize = 16;

/// Sounds by name.
#[derive(Debug, Default)]
pub(crate) struct Sounds {
    folder: Option<PathBuf>,
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// Length and time of the file that was read.
    version: (u64, Option<SystemTime>),
    clip: Clip,
}

impl Sounds {
    /// Of a folder; `None`: there are none by name.
    pub(crate) fn new(folder: Option<&str>) -> Self {
        Self { folder: folder.map(PathBuf::from), kept: VecDeque::new() }
    }

    /// The samples of a sound, or why there are none.
    pub(crate) fn load(&mut self, sound: &Sound) -> Result<Clip, String> {
        match sound {
            Sound::File(name) => self.file(name),
            Sound::Blob(bytes) => read(bytes, None),
            Sound::Blob64(text) => {
                let bytes = STANDARD.decode(text.trim_ascii()).map_err(|_| "not base 64".to_owned())?;
                read(&bytes, None)
            }
            Sound::Database => Err("there is no database of sounds".to_owned()),
        }
    }

    fn file(&mut self, name: &[u8]) -> Result<Clip, String> {
        let folder = self.folder.as_deref().ok_or("no folder of sounds is configured (sounds)")?;
        let name = inside(folder, name).ok_or("not a name inside the folder of sounds")?;
        let missing = |_| "there is no such file in the folder of sounds".to_owned();
        // The real path of the whole is the name behind the real path of the folder: no link is on the way.
        let path = folder.canonicalize().map_err(missing)?.join(name);
        if path.canonicalize().map_err(missing)? != path {
            return Err("a link in the folder of sounds".to_owned());
        }
        let about = path.symlink_metadata().map_err(missing)?;
        if !about.is_file() {
            return Err("not a plain file".to_owned());
        }
        if about.len() > FILE_BYTES {
            return Err(format!("longer than {FILE_BYTES} bytes"));
        }
        let version = (about.len(), about.modified().ok());
        if let Some(at) = self.kept.iter().position(|k| k.path == path)
            && let Some(kept) = self.kept.remove(at)
            && kept.version == version
        {
            let clip = kept.clip.clone();
            self.kept.push_back(kept);
            return Ok(clip);
        }
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(missing)?;
        file.take(FILE_BYTES).read_to_end(&mut bytes).map_err(|e| format!("it cannot be read: {e}"))?;
        let clip = read(&bytes, Some(name))?;
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { path, version, clip: clip.clone() });
        Ok(clip)
    }
}

/// The name inside the folder; `None`: it is none.
fn inside<'a>(folder: &Path, name: &'a [u8]) -> Option<&'a str> {
    let name = std::str::from_utf8(name).ok().filter(|n| n.len() <= NAME_BYTES)?;
    let name = match folder.to_str().and_then(|f| name.strip_prefix(f.trim_end_matches('/'))) {
        Some(rest) => rest.strip_prefix('/')?,
        None => name,
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let is_word = |word: &str| !word.is_empty() && !word.starts_with('.') && word.bytes().all(is_plain);
    (name.split('/').count() <= WORDS && name.split('/').all(is_word)).then_some(name)
}

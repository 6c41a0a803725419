//! The threads that check secrets: argon2id takes milliseconds and memory on purpose, which no thread of sockets has (T-SMS-05).

use std::sync::Mutex;
use std::sync::mpsc::Receiver;

use argon2::password_hash::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordVerifier};
use warp_model::sync::lock;
use warp_net::mailbox::{SendError, Sender};

use super::Note;
use crate::core::Check;

/// Secrets that are checked at once.
pub(super) const AT_ONCE: usize = 2;
/// Memory of one check, in KiB: what a hash asks for beyond it is refused at the start.
const MEMORY: u32 = 262_144;

/// Takes checks until nobody asks for any.
pub(super) fn run(checks: &Mutex<Receiver<Check>>, sender: &Sender<Note>) {
    loop {
        // One waits with the lock, the other ones for the lock.
        let Ok(check) = lock(checks).recv() else { return };
        let hash = PasswordHash::new(check.hash.reveal());
        let right =
            hash.is_ok_and(|hash| Argon2::default().verify_password(check.password.reveal(), &hash).is_ok());
        let mut note = Note::Checked { token: check.token, right };
        while let Err(SendError::Full(again)) = sender.send(note) {
            note = again;
            std::thread::yield_now();
        }
    }
}

/// Whether a text is a hash that can be checked. Errors: what is wrong; the text is not repeated.
pub(crate) fn readable(text: &str) -> Result<(), String> {
    let hash = PasswordHash::new(text).map_err(|e| format!("is no PHC string: {e}"))?;
    if Algorithm::try_from(hash.algorithm) != Ok(Algorithm::Argon2id) || hash.hash.is_none() {
        return Err("is no hash by argon2id".to_owned());
    }
    let params = Params::try_from(&hash).map_err(|e| e.to_string())?;
    if params.m_cost() > MEMORY {
        return Err(format!("asks for more than {MEMORY} KiB of memory"));
    }
    Ok(())
}

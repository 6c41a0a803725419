//! Secrets that take long to be checked: the core names them, others check them, and meanwhile who waits is kept. Bounded in number; what
//! was right is remembered for a minute under a keyed hash, so that the HTTP door, which is told a password with each request, is quick.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use warp_model::hash::SplitMix;
use warp_model::{Mono, Now, Secret};
use warp_smpp::{Command, State, Status};

use super::Core;
use super::jasmin::{JasminReply, JasminRequest, Refusal};
use super::slab::Key;

/// A secret that is to be checked against its hash; tell by [`Core::checked`].
#[derive(Debug)]
pub struct Check {
    /// To be given to [`Core::checked`].
    pub token: u64,
    /// What it must be, as a PHC string.
    pub hash: Secret<String>,
    /// What was given at the door.
    pub password: Secret<Vec<u8>>,
}

/// What is known of a name and password at once.
pub(super) enum Verdict {
    /// They are of the account of this place.
    Known(usize),
    /// One of them is wrong, or its source has guessed too often.
    Refused,
    /// It has to be checked against this hash. Without an account it is wrong whatever comes of that.
    Check(Option<usize>, Secret<String>),
}

/// A request to bind that is to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub(super) command: Command,
    pub(super) sequence: u32,
    pub(super) version: u8,
    pub(super) state: State,
}

/// Who asks to be let in.
#[derive(Debug)]
pub(super) struct Whose {
    pub(super) source: IpAddr,
    pub(super) name: Vec<u8>,
    pub(super) account: Option<usize>,
}

/// What waits for a check.
#[derive(Debug)]
pub(super) enum Waiting {
    Bind(Key, Binding),
    /// A request of the HTTP door, by its token.
    Door(u64, Box<JasminRequest>),
}

pub(super) struct Secrets {
    waiting: HashMap<u64, (Whose, Waiting, [u8; 32])>,
    next: u64,
    checks: VecDeque<Check>,
    /// Until when a keyed hash of name and password is known to be right.
    known: HashMap<[u8; 32], Mono>,
    key: [u8; 32],
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} waiting)", self.waiting.len())
    }
}

/// Checks that wait: further ones are refused as if there were no room.
const WAITING: usize = 64;
/// How long a right secret is remembered, and how many.
const REMEMBERED: Duration = Duration::from_secs(60);
const KNOWN: usize = 10_000;

impl Secrets {
    pub(super) fn new(random: &mut SplitMix) -> Secrets {
        let mut key = [0u8; 32];
        for place in key.chunks_exact_mut(8) {
            place.copy_from_slice(&random.draw().to_le_bytes());
        }
        Secrets { waiting: HashMap::new(), next: 0, checks: VecDeque::new(), known: HashMap::new(), key }
    }

    /// Whether this password was right for this name within the last minute.
    pub(super) fn remembers(&self, name: &[u8], password: &[u8], now: Mono) -> bool {
        self.known.get(&self.keyed(name, password)).is_some_and(|until| *until > now)
    }

    /// Has a password checked. `false`: too many wait.
    pub(super) fn ask(
        &mut self,
        who: Whose,
        waits: Waiting,
        hash: Secret<String>,
        password: Vec<u8>,
    ) -> bool {
        if self.waiting.len() >= WAITING {
            return false;
        }
        self.next = self.next.wrapping_add(1);
        let keyed = self.keyed(&who.name, &password);
        self.waiting.insert(self.next, (who, waits, keyed));
        self.checks.push_back(Check { token: self.next, hash, password: Secret::new(password) });
        true
    }

    /// The secret of this account is another one: what was known of it, and what is being checked, counts no more.
    pub(super) fn forget(&mut self, account: usize) {
        self.known.clear();
        let stale = self.waiting.values_mut().filter(|(who, ..)| who.account == Some(account));
        stale.for_each(|(who, ..)| who.account = None);
    }

    fn keyed(&self, name: &[u8], password: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.key);
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(password);
        hash.finalize().into()
    }

    fn remember(&mut self, keyed: [u8; 32], now: Mono) {
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(keyed, now + REMEMBERED);
    }
}

impl Core {
    /// The next secret to be checked; drain until `None`.
    pub fn poll_check(&mut self) -> Option<Check> {
        self.secrets.checks.pop_front()
    }

    /// A secret was checked.
    pub fn checked(&mut self, token: u64, right: bool, now: Now) {
        let Some((who, waits, keyed)) = self.secrets.waiting.remove(&token) else { return };
        let account = who.account.filter(|_| right);
        if account.is_some() {
            self.guard.succeeded(who.source, &who.name);
            self.secrets.remember(keyed, now.mono);
        } else {
            self.guard.failed(who.source, &who.name, now.mono);
        }
        match waits {
            Waiting::Door(token, ask) => match account {
                Some(account) => self.asked(token, account, &ask, now),
                None => {
                    let user = ask.who.user.clone();
                    self.answers.push_back((token, JasminReply::Refused(Refusal::Authentication(user))));
                }
            },
            Waiting::Bind(key, asked) => {
                // It may be gone.
                let Some(connection) = self.connections.get_mut(key) else { return };
                connection.checking = false;
                match account {
                    Some(account) => self.admit(key, account, asked, &who.name, now),
                    None => {
                        let (command, sequence) = (asked.command, asked.sequence);
                        self.refuse_bind(key, command, sequence, &who.name, Status::RINVPASWD, now);
                    }
                }
            }
        }
    }
}

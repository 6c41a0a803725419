//! Who asks: a key or a user, its audience, its tenant and what it may.

use std::fmt;

use warp_model::id::Kind;
use warp_model::{CustomerId, Id, KeyId, Wall};

use super::permission::Permissions;
pub use crate::audience::Audience;
use crate::store::Scope;

/// The kind of user ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserKind {}
impl Kind for UserKind {
    const PREFIX: &'static str = "usr";
}
/// The id of a user: `usr_` and 26 characters.
pub type UserId = Id<UserKind>;

/// The kind of ids of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {}
impl Kind for SessionKind {
    const PREFIX: &'static str = "ses";
}
/// The id of a browser's session: `ses_` and 26 characters. It is no secret.
pub type SessionId = Id<SessionKind>;

/// The name under which somebody calls: in the audit log, and for rate limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A program, with an API key.
    Key(KeyId),
    /// A person, with a token of an issuer or a session.
    User(UserId),
}

impl Who {
    /// What it is, in a sentence.
    pub fn called(self) -> &'static str {
        match self {
            Self::Key(_) => "this key",
            Self::User(_) => "this user",
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::User(id) => id.fmt(f),
        }
    }
}

/// Who calls, as the key or the token says.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The id of the key that was sent, or of the user.
    pub who: Who,
    /// The audience of the caller's key.
    pub audience: Audience,
    /// Of which tenant; `None` for operators.
    pub customer: Option<CustomerId>,
    /// What the caller may.
    pub permissions: Permissions,
    /// The addresses and networks that may use the key. Empty: all.
    pub ip_allow: Vec<String>,
    /// When the key ends; `None`: it does not, or it is a person.
    pub expires_at: Option<Wall>,
    /// The key was made on the machine itself when the last one was lost: it may make any key.
    pub recovered: bool,
    /// When the person showed a second factor; `None`: not as far as the token says, or it is a key.
    pub second_factor_at: Option<Wall>,
    /// The session of a browser that the request came by; `None`: it brought a key or a token itself.
    pub session: Option<Session>,
}

/// The session of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The id of its row.
    pub id: SessionId,
    /// When it ends, whatever is done with it.
    pub expires_at: Wall,
}

impl Caller {
    /// The scope of its transactions. The tenant comes from the key and from nowhere else (T-API-04).
    pub fn scope(&self) -> Scope {
        match self.customer {
            Some(id) => Scope::Customer(id),
            None => Scope::Operator("api"),
        }
    }
}

//! Who asks: a key, its audience, its tenant and what it may.

use warp_model::{CustomerId, KeyId, Wall};

use super::permission::Permissions;
use crate::store::Scope;

/// Whose API a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// A customer's own things, under `/api/v1`.
    Customer,
    /// The operator's API: everything, under `/api/v1/admin`.
    Operator,
}

impl Audience {
    /// As stored with a key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Operator => "operator",
        }
    }
}

/// Who calls, as the key says.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The id of the key that was sent.
    pub key: KeyId,
    /// The audience of the caller's key.
    pub audience: Audience,
    /// Of which tenant; `None` for operators.
    pub customer: Option<CustomerId>,
    /// What the key may; `*` is everything of its audience.
    pub scopes: Vec<String>,
    /// The addresses and networks that may use the key. Empty: all.
    pub ip_allow: Vec<String>,
    /// When the key ends; `None`: it does not.
    pub expires_at: Option<Wall>,
}

impl Caller {
    /// What the caller may.
    pub fn permissions(&self) -> Permissions {
        Permissions::of_scopes(self.scopes.iter().map(String::as_str))
    }

    /// The scope of its transactions. The tenant comes from the key and from nowhere else (T-API-04).
    pub fn scope(&self) -> Scope {
        match self.customer {
            Some(id) => Scope::Customer(id),
            None => Scope::Operator("api"),
        }
    }
}

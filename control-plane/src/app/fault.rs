//! Why a use case refuses: a closed list of kinds, one sentence, and every field that is wrong. How a refusal travels (a
//! status, an exit code) is the caller's business.
//!
//! T-API-09: a refusal never names SQL, files, versions or secrets.

use std::fmt;

use crate::store::StoreError;

/// What kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A filter or another parameter of a list cannot be read.
    InvalidQuery,
    /// The paging cursor was not made by us.
    InvalidCursor,
    /// Whoever asks may not do this.
    Forbidden,
    /// Somebody does not come in: the sign-in was not begun here, or the issuer says something else than was asked.
    LoginRefused,
    /// There is no such thing, or it is somebody else's: the two look the same (T-API-04).
    NotFound,
    /// A value that must be unique is taken, or there are too many already.
    Conflict,
    /// Something still refers to it.
    InUse,
    /// The caller named a version of the object that is not the present one.
    VersionMismatch,
    /// Fields are missing, unknown, or of a wrong type or value.
    ValidationFailed,
    /// A deck file has lines that cannot be read.
    DeckInvalid,
    /// The billing account has no money for it.
    NoCredit,
    /// It is more than may come in a second; later it may.
    Throttled,
    /// Something went wrong on our side; the log says what.
    Internal,
    /// The database is away or busy.
    Unavailable,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = FieldProblem)]
pub struct Problem {
    /// The path of the field, for example `media_ips[2]`.
    pub field: String,
    /// What kind of problem it is. The value itself: `required`, `unknown_field`, `wrong_type`, `out_of_range`, `invalid`,
    /// `invalid_line`, `invalid_pattern`. The value beside others, or beside what there is: `no_such_object`, `taken`, `currency_mismatch`,
    /// `cannot_change`, `belongs_together`, `contradicts`, `protected`, `operators_only`, `no_such_number`, `opted_out`, `quiet_hours`.
    pub code: &'static str,
    /// What is wrong with it, in words.
    pub message: String,
}

impl Problem {
    /// A problem of one field.
    pub fn new(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), code, message: message.into() }
    }
}

/// Why a use case was not carried out.
#[derive(Clone, Debug)]
pub struct Fault {
    /// From the closed list.
    pub kind: Kind,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What the caller can do about it.
    pub hint: Option<&'static str>,
    /// All field problems at once.
    pub details: Vec<Problem>,
    /// Seconds until another attempt makes sense.
    pub retry_after_s: Option<u64>,
}

impl Fault {
    /// With a sentence of its own.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, details: Vec::new(), retry_after_s: None }
    }

    /// Our own fault; what it was stands in the log.
    pub fn internal() -> Self {
        Self::new(Kind::Internal, "something went wrong on our side")
    }

    /// What does not exist and what is somebody else's look the same (T-API-04).
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no such {what}"))
    }

    /// A refusal that names every wrong field.
    pub fn fields(details: Vec<Problem>) -> Self {
        let message = match details.as_slice() {
            [one] => format!("{}: {}", one.field, one.message),
            many => format!("{} fields are wrong", many.len()),
        };
        Self { details, ..Self::new(Kind::ValidationFailed, message) }
    }

    /// A refusal that names one wrong field.
    pub fn field(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::fields(vec![Problem::new(field, code, message)])
    }

    /// The same with advice: what to do about it.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// What the store says, in our words; our own faults are logged here, once, and not told.
impl From<StoreError> for Fault {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Unavailable(_) | StoreError::TooSlow | StoreError::Serialization => {
                tracing::warn!(error = %e, "store unavailable");
                Self {
                    retry_after_s: Some(1),
                    ..Self::new(Kind::Unavailable, "the database is not available, try again")
                }
            }
            StoreError::Conflict(constraint) => {
                let (field, what) = conflict(&constraint);
                Self { details: vec![Problem::new(field, "taken", what)], ..Self::new(Kind::Conflict, what) }
            }
            StoreError::Reference(constraint) => reference(&constraint),
            StoreError::Check(constraint) => {
                tracing::warn!(%constraint, "a row was refused by a check that validation should have made");
                Self::new(Kind::ValidationFailed, "a value is not allowed")
            }
            other => {
                tracing::error!(error = %other, "store failed");
                Self::new(Kind::Internal, "something went wrong on our side")
            }
        }
    }
}

/// Field and sentence for a unique constraint.
fn conflict(constraint: &str) -> (&'static str, &'static str) {
    match constraint {
        "trunk_ips_address_excl" | "trunk_ips_pkey" => ("address", "this address is already on a trunk"),
        "trunk_credentials_pkey" => ("username", "this user name is taken"),
        "exchange_rates_pair_key" => ("currency", "there is a rate for this pair of currencies already"),
        "smpp_accounts_system_id_key" => ("system_id", "this system_id is taken"),
        "message_routes_place_key" => ("place", "there is a route at this place already"),
        "opt_outs_once" => ("recipient", "has opted out of this sender already"),
        "message_prices_once" => ("code", "there is a price for this code already"),
        "vendors_slug_key" => ("slug", "this slug is taken"),
        _ => ("name", "this name is taken"),
    }
}

/// A row that points to nothing (the field is wrong), or that others point to (409).
fn reference(constraint: &str) -> Fault {
    let field = [
        ("sell_deck", "sell_deck_id"),
        ("buy_deck", "buy_deck_id"),
        ("partition_id", "partition_id"),
        ("ban_id", "ban_id"),
        ("trunk_id", "trunk_id"),
        ("vendor_id", "vendor_id"),
        ("customer_id", "customer_id"),
    ]
    .iter()
    .find(|(part, _)| constraint.contains(part))
    .map_or("id", |(_, field)| field);
    Fault::field(field, "no_such_object", "there is no such object, or something still refers to it")
}

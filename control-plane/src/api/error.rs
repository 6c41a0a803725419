//! Errors as people meet them: a closed list of codes, each with one HTTP status and one sentence of documentation.
//!
//! T-API-09: a body carries code, message, field problems and request id; never SQL, file names, versions or secrets.

use std::fmt;

use crate::app::fault::{Fault, Kind, Problem};
use crate::store::StoreError;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = ($text:literal, $status:literal);)*) => {
        /// Every error code of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])* $variant),* }

        impl Code {
            /// All of them, for the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// As it is sent: snake_case.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text),* }
            }

            /// The HTTP status of the code, 400 to 599.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status),* }
            }

            /// What the code means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc),*).trim_ascii()),* }
            }
        }
    };
}

codes! {
    /// The body is not JSON, is nested too deeply, or names a key twice.
    InvalidJson = ("invalid_json", 400);
    /// A query parameter is unknown or cannot be read.
    InvalidQuery = ("invalid_query", 400);
    /// The paging cursor was not made by this API.
    InvalidCursor = ("invalid_cursor", 400);
    /// The request head cannot be accepted.
    BadRequest = ("bad_request", 400);
    /// No API key or token, or one that is unknown, revoked, expired, not for this API or not allowed from this address.
    Unauthorized = ("unauthorized", 401);
    /// This operation needs a second factor that was shown within the last 15 minutes: sign in again with one.
    StepUpRequired = ("step_up_required", 401);
    /// The billing account has no money for it, nor credit.
    NoCredit = ("no_credit", 402);
    /// The key is for another audience, or lacks the scope that the endpoint needs.
    Forbidden = ("forbidden", 403);
    /// The sign-in was not begun in this browser or took too long, the issuer refuses, or nobody here is bound to whoever signed in.
    LoginRefused = ("login_refused", 403);
    /// There is no such thing, or it is not yours.
    NotFound = ("not_found", 404);
    /// The path exists, the method does not.
    MethodNotAllowed = ("method_not_allowed", 405);
    /// The body did not arrive in time.
    RequestTimeout = ("request_timeout", 408);
    /// A value that must be unique is taken.
    Conflict = ("conflict", 409);
    /// Something still refers to it.
    InUse = ("in_use", 409);
    /// The Idempotency-Key was used for another request, is being worked on, or its answer was a secret shown once.
    IdempotencyConflict = ("idempotency_conflict", 409);
    /// If-Match names another version.
    VersionMismatch = ("version_mismatch", 412);
    /// The body is larger than the endpoint takes.
    BodyTooLarge = ("body_too_large", 413);
    /// The body is not of the content type that the endpoint takes.
    UnsupportedMediaType = ("unsupported_media_type", 415);
    /// Fields are missing, unknown, or of a wrong type or value; details lists all of them.
    ValidationFailed = ("validation_failed", 422);
    /// The sheet (CSV or XLSX) has lines that are not understood; details lists them with their line numbers.
    DeckInvalid = ("deck_invalid", 422);
    /// The head of the request is larger than 16 KiB.
    HeadersTooLarge = ("headers_too_large", 431);
    /// Too many requests of this key, customer or address; Retry-After says when.
    RateLimited = ("rate_limited", 429);
    /// Our fault. The request id helps us to find it.
    Internal = ("internal", 500);
    /// The database is away or busy; Retry-After says when. Calls are not affected.
    Unavailable = ("unavailable", 503);
}

/// An error as the API answers it.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// From the closed list.
    pub code: Code,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What the client can do about it.
    pub hint: Option<&'static str>,
    /// All field problems at once.
    pub details: Vec<Problem>,
    /// Seconds until another attempt makes sense.
    pub retry_after_s: Option<u64>,
}

impl ApiError {
    /// With a sentence of its own.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, details: Vec::new(), retry_after_s: None }
    }

    /// The same with advice: what to do about it.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for ApiError {}

/// Each kind of refusal has its code.
impl From<Fault> for ApiError {
    fn from(f: Fault) -> Self {
        let code = match f.kind {
            Kind::InvalidQuery => Code::InvalidQuery,
            Kind::InvalidCursor => Code::InvalidCursor,
            Kind::Forbidden => Code::Forbidden,
            Kind::LoginRefused => Code::LoginRefused,
            Kind::NotFound => Code::NotFound,
            Kind::Conflict => Code::Conflict,
            Kind::InUse => Code::InUse,
            Kind::VersionMismatch => Code::VersionMismatch,
            Kind::ValidationFailed => Code::ValidationFailed,
            Kind::DeckInvalid => Code::DeckInvalid,
            Kind::NoCredit => Code::NoCredit,
            Kind::Throttled => Code::RateLimited,
            Kind::Internal => Code::Internal,
            Kind::Unavailable => Code::Unavailable,
        };
        Self { code, message: f.message, hint: f.hint, details: f.details, retry_after_s: f.retry_after_s }
    }
}

impl From<StoreError> for ApiError {
    fn from(e: StoreError) -> Self {
        Fault::from(e).into()
    }
}

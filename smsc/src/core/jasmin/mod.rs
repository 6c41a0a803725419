//! Jasmin's HTTP API as values: what a request says, and how an answer is written. Pure; nobody is known here yet.
//!
//! Texts, names of arguments, their patterns and the order in which they are looked at are those of Jasmin 0.12 ([`args`]), so that
//! its clients keep their error handling. What differs stands in `docs/migrate/jasmin.md`.

pub mod args;
mod text;

use std::ops::Range;

use warp_model::Nanos;

use super::message::id_text;

/// Which path was asked for, and in which form the answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/send`: `Success "…"` or `Error "…"`.
    Quoted,
    /// `/balance`, `/rate`: JSON; an error is a JSON string.
    Json,
    /// `/secure/…`: JSON with `data`, or with `message`.
    Rest,
}

/// Who asks, and with what.
#[derive(Clone)]
pub struct Credentials {
    /// The system_id of an account.
    pub user: String,
    /// What it comes with; it is never printed.
    pub password: warp_model::Secret<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.user)
    }
}

/// A request that was understood.
#[derive(Clone, Debug)]
pub struct JasminRequest {
    /// Who it is that asks.
    pub who: Credentials,
    /// What is asked for.
    pub what: What,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message is to be sent: `/send`.
    Send(Box<Submission>),
    /// What is left of the credit: `/balance`.
    Balance,
    /// The price of a message: `/rate`.
    Rate(Box<Submission>),
}

/// A message as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submission {
    /// Digits, without the plus.
    pub to: String,
    /// Digits or letters, at most 20 octets; empty: none.
    pub from: String,
    /// The octet data_coding of SMPP.
    pub coding: u8,
    /// The priority, 0 (lowest) to 3.
    pub priority: u8,
    /// `sdt`: 16 characters of SMPP, or empty.
    pub schedule: String,
    /// `validity-period`; `None`: the default of the SMSC.
    pub validity_minutes: Option<u32>,
    /// The octets of the whole text.
    pub text: Vec<u8>,
    /// Where it is cut; one range when it is not.
    pub parts: Vec<Range<usize>>,
    /// Labels that routes look at.
    pub tags: Vec<String>,
    /// Optional parameters of `custom_tlvs`, encoded.
    pub tlvs: Vec<u8>,
    /// Which news of it are wanted.
    pub receipts: Option<Receipts>,
}

/// Which news of a message are wanted, and where: `dlr-level`, `dlr-url`, `dlr-method`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipts {
    /// 1: the vendor took it; 2: its end; 3: both.
    pub level: u8,
    /// By POST; else by GET.
    pub post: bool,
    /// Where the news go.
    pub url: String,
}

/// An answer to a [`JasminRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JasminReply {
    /// The message is durable under this id.
    Sent(u128),
    /// What is left; prepaid accounts are not known to this SMSC yet, so that there is no limit to tell.
    Balance,
    /// So many parts, at this price each.
    Rate {
        /// Messages that it is sent as.
        parts: usize,
        /// The price of each; 0 when no route tells one.
        unit: Nanos,
    },
    /// It is refused, for this reason.
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An argument is wrong: this is what is said.
    Argument(String),
    /// User or password are wrong; who is named.
    Authentication(String),
    /// The sender address is not one of the account's; who is named.
    Source(String),
    /// Over the rate of the account.
    Throughput,
    /// The account has no money for it.
    NoCredit,
    /// There is nowhere to send it.
    NoRoute,
    /// Its recipient has opted out of messages from this sender.
    OptedOut,
    /// It is marketing, and its validity ends before the recipient's quiet hours do.
    Quiet,
    /// The queue or the disk is full.
    Full,
    /// It could not be kept.
    Storage,
    /// Nothing has this path.
    Path,
    /// Neither GET nor POST.
    Method,
    /// The body is larger than is read.
    TooLarge,
    /// The body did not come in time.
    Slow,
    /// The header `Authorization` is missing.
    NoCredentials,
}

impl Refusal {
    /// The HTTP status of such an answer.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Argument(_) | Refusal::Source(_) => 400,
            Refusal::NoCredentials => 401,
            Refusal::Authentication(_) | Refusal::Throughput | Refusal::NoCredit => 403,
            Refusal::OptedOut | Refusal::Quiet => 403,
            Refusal::Path => 404,
            Refusal::Method => 405,
            Refusal::Slow => 408,
            Refusal::NoRoute => 412,
            Refusal::TooLarge => 413,
            Refusal::Storage => 500,
            Refusal::Full => 503,
        }
    }

    /// What is said of it.
    pub fn text(&self) -> String {
        match self {
            Refusal::Argument(what) => what.clone(),
            Refusal::Authentication(user) => format!("Authentication failure for username:{user}"),
            Refusal::Source(user) => {
                format!("Value filter failed for user [{user}] (source_address filter mismatch).")
            }
            Refusal::Throughput => "User throughput exceeded".to_owned(),
            Refusal::NoCredit => "Cannot charge submit_sm, check router log file for details".to_owned(),
            Refusal::NoRoute => "No route found".to_owned(),
            Refusal::OptedOut => "The recipient has opted out of messages from this sender".to_owned(),
            Refusal::Quiet => "The recipient's quiet hours end after the validity of the message".to_owned(),
            Refusal::Full => "The queue is full, try again later".to_owned(),
            Refusal::Storage => {
                "Cannot send submit_sm, check SMPPClientManagerPB log file for details".to_owned()
            }
            Refusal::Path => "No such path".to_owned(),
            Refusal::Method => "GET or POST".to_owned(),
            Refusal::TooLarge => "The body is too large".to_owned(),
            Refusal::Slow => "The body did not come in time".to_owned(),
            Refusal::NoCredentials => "Authorization is missing".to_owned(),
        }
    }
}

impl JasminReply {
    /// Status, content type and body.
    pub fn write(&self, form: Form) -> (u16, &'static str, String) {
        const TEXT: &str = "text/plain";
        const JSON: &str = "application/json";
        let said = match self {
            JasminReply::Sent(id) => format!("Success \"{}\"", String::from_utf8_lossy(&id_text(*id))),
            JasminReply::Balance => r#"{"balance": "ND", "sms_count": "ND"}"#.to_owned(),
            JasminReply::Rate { parts, unit } => {
                let unit = number(*unit);
                format!(r#"{{"unit_rate": {unit}, "submit_sm_count": {parts}}}"#)
            }
            JasminReply::Refused(why) => {
                let text = why.text();
                let (kind, body) = match form {
                    Form::Quoted => (TEXT, format!("Error \"{text}\"")),
                    Form::Json => (JSON, json_string(&text)),
                    Form::Rest => (JSON, format!(r#"{{"message": {}}}"#, json_string(&text))),
                };
                return (why.status(), kind, body);
            }
        };
        match (form, self) {
            (Form::Rest, JasminReply::Sent(_)) => {
                (200, JSON, format!(r#"{{"data": {}}}"#, json_string(&said)))
            }
            (Form::Rest, _) => (200, JSON, format!(r#"{{"data": {said}}}"#)),
            (Form::Json, _) => (200, JSON, said),
            (Form::Quoted, _) => (200, TEXT, said),
        }
    }
}

/// An amount as a number of JSON, with one decimal at least, as Python writes a float.
fn number(amount: Nanos) -> String {
    let text = amount.text().as_str().to_owned();
    if text.contains('.') { text } else { format!("{text}.0") }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(crate) use text::form_encode;

#[cfg(test)]
mod tests;

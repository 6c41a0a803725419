//! Mail as a destination of events (RFC 0032): a webhook whose URL is `mailto:ADDRESS`. [`message`] is pure; [`Post`] hands
//! one mail to the platform's own SMTP server, over a connection of its own, in [`MAIL_TIME`] in all.
//!
//! Nothing that a customer or a caller wrote stands in a header: the subject is the name of the event, which is one of the catalogue, and an
//! address has the letters that [`Address::parse`] lets through. What it says is text, and encoded by `lettre`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde_json::Value;
use warp_model::Secret;

use super::send::{ANSWER_BYTES, Outcome};
use crate::app::events::catalogue::Entry;
pub use crate::destination::address::{ADDRESS_BYTES, Address, FORM, SCHEME};

/// Time of a whole mail, from the connection to the server's last word. Less than a delivery belongs to whoever took it.
pub const MAIL_TIME: Duration = Duration::from_secs(12);
/// How the way to the server is kept from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailTls {
    /// The connection begins in clear and must become TLS before anything is said (RFC 3207); a server that cannot is not used.
    #[default]
    StartTls,
    /// It is TLS from its first byte (RFC 8314).
    Tls,
    /// It stays in clear: for a server on this machine only.
    None,
}

/// The SMTP server of the platform, and who its mails come from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the server, which its certificate has.
    pub host: String,
    /// The port that it listens on.
    pub port: u16,
    /// How the way there is kept from others.
    pub tls: MailTls,
    /// Certificates (PEM) that the server's may come from besides the public ones.
    pub ca: Option<PathBuf>,
    /// Who we are there, and the file with the password.
    pub login: Option<(String, PathBuf)>,
    /// Whom mails come from: `Ringer <no-reply@ringer.tel>`.
    pub from: String,
}

/// Whether mail can come from there.
pub fn is_from(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

/// What a mail is made of.
pub struct Letter<'a> {
    /// Whom it comes from.
    pub from: &'a Mailbox,
    /// Whom it goes to.
    pub to: &'a Address,
    /// The name of the event.
    pub kind: &'a str,
    /// The event, as webhooks are sent it.
    pub body: &'a str,
    /// Of `webhook.confirm`: the code that confirms the address.
    pub code: Option<&'a str>,
}

/// The mail of an event. Its Message-ID is made of the event's id and stays the same when it is sent again, so that a mail that came twice
/// can be told. Errors: the event is none; in words.
pub fn message(letter: &Letter<'_>) -> Result<Message, String> {
    let event: Value = serde_json::from_str(letter.body).map_err(|e| e.to_string())?;
    let entry = Entry::named(letter.kind).ok_or("the catalogue does not know the event")?;
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let id: String = text("id").chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let to: lettre::Address =
        letter.to.as_str().parse().map_err(|e: lettre::address::AddressError| e.to_string())?;
    let domain = letter.from.email.domain();
    let said = match letter.code {
        Some(code) => agreement(&event, code),
        None => told(entry, &event),
    };
    Message::builder()
        .from(letter.from.clone())
        .to(Mailbox::new(None, to))
        .subject(format!("[WARP] {}", entry.name))
        .message_id(Some(format!("<{id}@{domain}>")))
        // Nobody's holiday answers it (RFC 3834 §5).
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .header(ContentType::TEXT_PLAIN)
        .body(said)
        .map_err(|e| e.to_string())
}

/// What happened, in words, and the same for programs.
fn told(entry: &Entry, event: &Value) -> String {
    let mut out = format!("{}\n\n", entry.what);
    for (name, value) in event["data"].as_object().into_iter().flatten() {
        out.push_str(&format!("{name}: {}\n", plain(value)));
    }
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    out.push_str(&format!("\nEvent {} of {}", text("id"), text("created_at")));
    if let Some(customer) = event["customer_id"].as_str() {
        out.push_str(&format!(", customer {customer}"));
    }
    let pretty = serde_json::to_string_pretty(event).unwrap_or_default();
    out.push_str(&format!(".\n\n{pretty}\n"));
    out
}

fn agreement(event: &Value, code: &str) -> String {
    let webhook = event["data"]["webhook_id"].as_str().unwrap_or_default();
    format!(
        "Somebody asked that events of a platform be sent to this address by mail.\n\n\
         If you want them, confirm it with this code:\n\n    {code}\n\n\
         warp webhooks confirm {webhook} {code}\n\
         POST /api/v1/webhooks/{webhook}/confirm {{\"code\":\"{code}\"}}\n\n\
         If you know nothing of it, do nothing: no other mail will come.\n"
    )
}

/// A value as people read it, in one line.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.replace(char::is_control, " "),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(map) => match (&map.get("amount"), &map.get("currency")) {
            (Some(Value::String(amount)), Some(Value::String(currency))) => format!("{amount} {currency}"),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

/// Hands mails to the server of the platform.
#[derive(Clone)]
pub struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mail from {}", self.from)
    }
}

impl Post {
    /// With these settings. Errors: a file cannot be read, a name is none; in words, with the key of the configuration.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let from: Mailbox = settings
            .from
            .parse()
            .map_err(|_| "mail.from: must be an address, such as Ringer <no-reply@ringer.tel>")?;
        let hello = ClientId::Domain(from.email.domain().to_owned());
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.as_str())
            .port(settings.port)
            .timeout(Some(MAIL_TIME))
            .hello_name(hello)
            .tls(tls(settings)?);
        if let Some((user, file)) = &settings.login {
            let password = password(file).map_err(|why| format!("mail.password: {why}"))?;
            builder = builder.credentials(Credentials::new(user.clone(), password.reveal().clone()));
        }
        Ok(Self { transport: builder.build(), from })
    }

    /// Whom mails come from.
    pub fn from(&self) -> &Mailbox {
        &self.from
    }

    /// Sends one mail. Never longer than [`MAIL_TIME`].
    pub async fn send(&self, to: &Address, kind: &str, body: &str, code: Option<&str>) -> Outcome {
        let letter = Letter { from: &self.from, to, kind, body, code };
        let message = match message(&letter) {
            Ok(message) => message,
            Err(why) => return Outcome { error: why, forever: true, ..Outcome::default() },
        };
        let Ok(sent) = tokio::time::timeout(MAIL_TIME, self.transport.send(message)).await else {
            let error = format!("the mail server said nothing within {} s", MAIL_TIME.as_secs());
            return Outcome { error, ..Outcome::default() };
        };
        match sent {
            Ok(answer) => Outcome {
                status: Some(u16::from(answer.code())),
                answer: cut(&answer.message().collect::<Vec<_>>().join("\n")),
                ..Outcome::default()
            },
            Err(why) => {
                // What the server said is its answer; all else is why there was none.
                let status = why.status().map(u16::from);
                let said = cut(&why.to_string());
                let (answer, error) =
                    if status.is_some() { (said, String::new()) } else { (String::new(), said) };
                Outcome { status, answer, error, forever: why.is_permanent() }
            }
        }
    }
}

/// The first bytes of what a server said, as text.
fn cut(text: &str) -> String {
    let mut out: String = text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
    let end = (0..=ANSWER_BYTES.min(out.len())).rev().find(|at| out.is_char_boundary(*at)).unwrap_or(0);
    out.truncate(end);
    out
}

fn tls(settings: &Settings) -> Result<Tls, String> {
    if settings.tls == MailTls::None {
        return Ok(Tls::None);
    }
    let mut parameters =
        TlsParameters::builder(settings.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
    if let Some(path) = &settings.ca {
        let wrong = |why: String| format!("mail.ca: {}: {why}", path.display());
        let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        parameters =
            parameters.add_root_certificate(Certificate::from_pem(&pem).map_err(|e| wrong(e.to_string()))?);
    }
    let parameters = parameters.build_rustls().map_err(|e| format!("mail.host: {e}"))?;
    Ok(if settings.tls == MailTls::Tls { Tls::Wrapper(parameters) } else { Tls::Required(parameters) })
}

fn password(file: &std::path::Path) -> Result<Secret<String>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(Secret::new(text)) }
}

#[cfg(test)]
#[path = "tests_mail.rs"]
mod tests;

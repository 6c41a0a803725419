//! `[mail]`: the SMTP server by which events are mailed. Without one the platform sends no mail.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use warp_control_plane::webhooks::mail::{MailTls, Settings};

use super::KeyFile;
use super::rules::Rule;

/// `[mail]`: where mail is handed over, and whom it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The SMTP server that takes our mails, by the name that its certificate has. Absent: this platform sends no mail.
    pub host: Option<String>,
    /// Its port: 587 with `starttls`, 465 with `tls`.
    pub port: u16,
    /// How the way there is kept from others: `starttls` begins in clear and goes on only in TLS (RFC 3207), `tls` from the first byte
    /// (RFC 8314); `none` stays in clear, and is for a server on this machine.
    pub tls: Security,
    /// Certificates (PEM) that the server's may come from besides the public ones.
    pub ca: Option<PathBuf>,
    /// Who we are there. Absent: it knows us otherwise.
    pub user: Option<String>,
    /// The password of that user: `file:PATH`.
    pub password: Option<KeyFile>,
    /// Whom mails come from: `Ringer <no-reply@ringer.tel>`. Its domain is also the name that we greet the server with.
    pub from: Option<String>,
}

/// How the way to the mail server is kept from others, for [`Mail::tls`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// In clear at first, and then TLS or nothing.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// In clear all the way.
    None,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            host: None,
            port: 587,
            tls: Security::StartTls,
            ca: None,
            user: None,
            password: None,
            from: None,
        }
    }
}

const IDLE: &str = "has no effect without mail.host";

/// Whether a server on this machine is meant.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What the keys of the section must be.
pub(super) const RULES: &[Rule<Mail>] = &[
    Rule::new(
        "host",
        "the name or the address of a server, without a port; mail.from belongs to it",
        |mail: &Mail| {
            mail.host.as_ref().is_none_or(|host| {
                let is_ipv6 = host.parse::<std::net::Ipv6Addr>().is_ok();
                !host.is_empty()
                    && (is_ipv6 || !host.contains(':'))
                    && !host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | ','))
                    && mail.from.is_some()
            })
        },
    )
    .with(&["from"]),
    Rule::new("port", "1 to 65535", |mail| mail.port > 0),
    Rule::new("tls", "none only to a server on this machine", |mail: &Mail| {
        mail.tls != Security::None || mail.host.as_deref().is_none_or(is_here)
    })
    .with(&["host"]),
    Rule::new("ca", IDLE, |mail: &Mail| mail.ca.is_none() || mail.host.is_some()).with(&["host"]),
    Rule::new(
        "user",
        "user and password belong together, and to a host; no password goes in clear",
        |mail: &Mail| {
            mail.user.is_some() == mail.password.is_some()
                && (mail.user.is_none() || (mail.host.is_some() && mail.tls != Security::None))
        },
    )
    .with(&["password", "host", "tls"]),
    Rule::new(
        "from",
        "an address, such as Ringer <no-reply@ringer.tel>; has no effect without mail.host",
        |mail: &Mail| {
            mail.from
                .as_ref()
                .is_none_or(|from| warp_control_plane::webhooks::mail::is_from(from) && mail.host.is_some())
        },
    )
    .with(&["host"]),
];

impl Mail {
    /// What the control plane needs; `None`: no mail is sent.
    pub fn settings(&self) -> Option<Settings> {
        let (host, from) = self.host.clone().zip(self.from.clone())?;
        let tls = match self.tls {
            Security::StartTls => MailTls::StartTls,
            Security::Tls => MailTls::Tls,
            Security::None => MailTls::None,
        };
        let login = self.user.clone().zip(self.password.as_ref().map(|file| file.0.clone()));
        Some(Settings { host, port: self.port, tls, ca: self.ca.clone(), login, from })
    }
}

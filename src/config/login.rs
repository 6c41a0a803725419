//! `[login]`: where people sign in. One OpenID Connect issuer per audience; the two may be the same issuer, their audiences never.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use warp_control_plane::app::caller::Audience;
use warp_control_plane::app::permission::Role;
use warp_control_plane::config::{DevIssuerSettings, SessionLimits};
use warp_control_plane::oidc::dev::Person;
use warp_control_plane::oidc::issuer::{ClientSettings, IssuerSettings, is_safe};

use super::Span;
use super::api::KeyFile;
use super::rules::Rule;

/// `[login]`: the OpenID Connect issuers whose tokens open the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// Issuer of the tokens of customers' users, to the letter as its tokens say it (Auth0's ends with a slash). Absent: they have keys only.
    pub customer_issuer: Option<String>,
    /// What those tokens say in `aud`: the name of the customers' API at the issuer.
    pub customer_audience: Option<String>,
    /// Our application there (`client_id`), by which browsers sign in to the customers' API. Absent: they do not.
    pub customer_client: Option<String>,
    /// Secret of that application: `file:PATH`. Absent: it is a public client.
    pub customer_client_secret: Option<KeyFile>,
    /// Where browsers reach the customers' API: scheme, host and port. The issuer sends them back to `/api/v1/session/callback` there.
    pub customer_url: Option<String>,
    /// What is asked for as `acr_values` when a second factor is wanted. Absent: nothing, the issuer decides by its own rules.
    pub customer_step_up_acr: Option<String>,
    /// Issuer of the tokens of the carrier's own people. Absent: they have keys only.
    pub operator_issuer: Option<String>,
    /// What those tokens say in `aud`: the name of the operators' API at the issuer.
    pub operator_audience: Option<String>,
    /// Our application there, by which browsers sign in to the operators' API. Absent: they do not.
    pub operator_client: Option<String>,
    /// Secret of that application: `file:PATH`. Absent: it is a public client.
    pub operator_client_secret: Option<KeyFile>,
    /// Where browsers reach the operators' API. The issuer sends them back to `/api/v1/admin/session/callback` there.
    pub operator_url: Option<String>,
    /// What is asked for as `acr_values` when a second factor is wanted.
    pub operator_step_up_acr: Option<String>,
    /// Longest time between two requests of a browser that is signed in; after it the person signs in again.
    pub session_idle: Span,
    /// Longest time that a browser stays signed in.
    pub session_lifetime: Span,
    /// The built-in issuer with a demo person for each role, below `/dev` of the API, where no other issuer is set. Nobody proves anything
    /// to it: `warp dev` has it, and nothing that others can reach may.
    pub demo: bool,
}

impl Default for Login {
    fn default() -> Self {
        let sessions = SessionLimits::default();
        Self {
            customer_issuer: None,
            customer_audience: None,
            customer_client: None,
            customer_client_secret: None,
            customer_url: None,
            customer_step_up_acr: None,
            operator_issuer: None,
            operator_audience: None,
            operator_client: None,
            operator_client_secret: None,
            operator_url: None,
            operator_step_up_acr: None,
            session_idle: Span(sessions.idle),
            session_lifetime: Span(sessions.lifetime),
            demo: false,
        }
    }
}

const URL: &str =
    "an https address (on this machine also http) without a path, such as https://console.example.com";
const CLIENT: &str = "client and url belong together, and to an issuer";
const CLIENT_AND_AUDIENCE: &str =
    "not the audience of a portal: else the token that says who somebody is would open the API";
const BELONGS_TO_CLIENT: &str = "has no effect without a client";
const ISSUER: &str = "an https address (on this machine also http)";
const BOTH: &str = "issuer and audience belong together";

fn is_issuer(name: Option<&String>) -> bool {
    name.is_none_or(|n| is_safe(n) && !n.contains(['?', '#', ' ']))
}

fn is_origin(url: Option<&String>) -> bool {
    url.is_none_or(|url| {
        let host = url.split_once("://").map_or("", |(_, host)| host);
        is_safe(url) && !host.contains(['/', '?', '#', '@', ' '])
    })
}

fn is_session_time(time: Span) -> bool {
    (Duration::from_secs(300)..=Duration::from_secs(30 * 86_400)).contains(&time.0)
}

/// An ID token names its client, an access token its audience: were the two one word, of whichever portal, an ID token would open the API.
fn is_no_audience(l: &Login, client: Option<&String>) -> bool {
    client.is_none_or(|_| client != l.customer_audience.as_ref() && client != l.operator_audience.as_ref())
}

/// What the keys of the section must be.
pub(super) const RULES: &[Rule<Login>] = &[
    Rule::new("customer_issuer", ISSUER, |l: &Login| is_issuer(l.customer_issuer.as_ref())),
    Rule::new("operator_issuer", ISSUER, |l: &Login| is_issuer(l.operator_issuer.as_ref())),
    Rule::new("customer_audience", BOTH, |l: &Login| {
        l.customer_issuer.is_some() == l.customer_audience.is_some()
    })
    .with(&["customer_issuer"]),
    Rule::new("operator_audience", BOTH, |l: &Login| {
        l.operator_issuer.is_some() == l.operator_audience.is_some()
    })
    .with(&["operator_issuer"]),
    Rule::new("customer_url", URL, |l: &Login| is_origin(l.customer_url.as_ref())),
    Rule::new("operator_url", URL, |l: &Login| is_origin(l.operator_url.as_ref())),
    Rule::new("customer_client", CLIENT, |l: &Login| {
        l.customer_client.is_some() == l.customer_url.is_some()
            && (l.customer_client.is_none() || l.customer_issuer.is_some())
    })
    .with(&["customer_url", "customer_issuer"]),
    Rule::new("operator_client", CLIENT, |l: &Login| {
        l.operator_client.is_some() == l.operator_url.is_some()
            && (l.operator_client.is_none() || l.operator_issuer.is_some())
    })
    .with(&["operator_url", "operator_issuer"]),
    Rule::new("customer_client", CLIENT_AND_AUDIENCE, |l: &Login| {
        is_no_audience(l, l.customer_client.as_ref())
    })
    .with(&["customer_audience", "operator_audience"]),
    Rule::new("operator_client", CLIENT_AND_AUDIENCE, |l: &Login| {
        is_no_audience(l, l.operator_client.as_ref())
    })
    .with(&["customer_audience", "operator_audience"]),
    Rule::new("customer_client_secret", BELONGS_TO_CLIENT, |l: &Login| {
        l.customer_client.is_some() || l.customer_client_secret.is_none()
    })
    .with(&["customer_client"]),
    Rule::new("operator_client_secret", BELONGS_TO_CLIENT, |l: &Login| {
        l.operator_client.is_some() || l.operator_client_secret.is_none()
    })
    .with(&["operator_client"]),
    Rule::new("customer_step_up_acr", BELONGS_TO_CLIENT, |l: &Login| {
        l.customer_client.is_some() || l.customer_step_up_acr.is_none()
    })
    .with(&["customer_client"]),
    Rule::new("operator_step_up_acr", BELONGS_TO_CLIENT, |l: &Login| {
        l.operator_client.is_some() || l.operator_step_up_acr.is_none()
    })
    .with(&["operator_client"]),
    Rule::new("session_idle", "5m to 30d", |l: &Login| is_session_time(l.session_idle)),
    Rule::new("session_lifetime", "5m to 30d, and not less than session_idle", |l: &Login| {
        is_session_time(l.session_lifetime) && l.session_lifetime.0 >= l.session_idle.0
    })
    .with(&["session_idle"]),
    Rule::new("operator_audience", "not the audience of customers", |l: &Login| {
        l.operator_audience.is_none() || l.operator_audience != l.customer_audience
    })
    .with(&["customer_audience"]),
];

impl Login {
    /// What the built-in issuer needs; `None` when nobody asked for it.
    pub fn demo(&self, data_dir: &Path) -> Option<DevIssuerSettings> {
        self.demo.then(|| DevIssuerSettings { key_file: data_dir.join("issuer.key"), people: demo_people() })
    }

    /// The issuer of customers' users.
    pub fn customer(&self) -> Option<IssuerSettings> {
        let client = Client {
            id: &self.customer_client,
            secret: &self.customer_client_secret,
            url: &self.customer_url,
            step_up_acr: &self.customer_step_up_acr,
        };
        settings(&self.customer_issuer, &self.customer_audience, client)
    }

    /// The issuer of the carrier's own people.
    pub fn operator(&self) -> Option<IssuerSettings> {
        let client = Client {
            id: &self.operator_client,
            secret: &self.operator_client_secret,
            url: &self.operator_url,
            step_up_acr: &self.operator_step_up_acr,
        };
        settings(&self.operator_issuer, &self.operator_audience, client)
    }

    /// How long browsers stay signed in.
    pub fn sessions(&self) -> SessionLimits {
        SessionLimits { idle: self.session_idle.0, lifetime: self.session_lifetime.0 }
    }
}

/// A person for each role, called after it: `customer-owner`, `operator-noc`.
pub(crate) fn demo_people() -> Vec<Person> {
    let of = |audience: Audience, whose: &'static str| {
        Role::all(audience).map(move |role| Person {
            subject: subject_of(role),
            name: format!("Demo {} ({whose})", role.as_str().replace('_', " ")),
            audience,
        })
    };
    of(Audience::Customer, "customer").chain(of(Audience::Operator, "operator")).collect()
}

/// What the demo person of a role is called.
pub(crate) fn subject_of(role: Role) -> String {
    format!("{}-{}", role.audience().as_str(), role.as_str())
}

/// Our application at an issuer, as it is configured.
struct Client<'a> {
    id: &'a Option<String>,
    secret: &'a Option<KeyFile>,
    url: &'a Option<String>,
    step_up_acr: &'a Option<String>,
}

fn settings(issuer: &Option<String>, audience: &Option<String>, of: Client<'_>) -> Option<IssuerSettings> {
    let client = of.id.clone().zip(of.url.clone()).map(|(id, url)| ClientSettings {
        id,
        secret_file: of.secret.as_ref().map(|file| file.0.clone()),
        url,
        step_up_acr: of.step_up_acr.clone(),
    });
    Some(IssuerSettings { issuer: issuer.clone()?, audience: audience.clone()?, client })
}

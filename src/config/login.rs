//! `[login]`: where people sign in. One OpenID Connect issuer per audience; the two may be the same issuer, their audiences never.

use std::path::Path;

use serde::{Deserialize, Serialize};
use warp_control_plane::app::caller::Audience;
use warp_control_plane::app::permission::Role;
use warp_control_plane::config::DevIssuerSettings;
use warp_control_plane::oidc::dev::Person;
use warp_control_plane::oidc::issuer::{IssuerSettings, is_safe};

use super::rules::Rule;

/// `[login]`: the OpenID Connect issuers whose tokens open the API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// Issuer of the tokens of customers' users, to the letter as its tokens say it (Auth0's ends with a slash). Absent: they have keys only.
    pub customer_issuer: Option<String>,
    /// What those tokens say in `aud`: the name of the customers' API at the issuer.
    pub customer_audience: Option<String>,
    /// Issuer of the tokens of the carrier's own people. Absent: they have keys only.
    pub operator_issuer: Option<String>,
    /// What those tokens say in `aud`: the name of the operators' API at the issuer.
    pub operator_audience: Option<String>,
    /// The built-in issuer with a demo person for each role, below `/dev` of the API, where no other issuer is set. Nobody proves anything
    /// to it: `warp dev` has it, and nothing that others can reach may.
    pub demo: bool,
}

const ISSUER: &str = "an https address (on this machine also http)";
const BOTH: &str = "issuer and audience belong together";

fn is_issuer(name: Option<&String>) -> bool {
    name.is_none_or(|n| is_safe(n) && !n.contains(['?', '#', ' ']))
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
        settings(&self.customer_issuer, &self.customer_audience)
    }

    /// The issuer of the carrier's own people.
    pub fn operator(&self) -> Option<IssuerSettings> {
        settings(&self.operator_issuer, &self.operator_audience)
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

fn settings(issuer: &Option<String>, audience: &Option<String>) -> Option<IssuerSettings> {
    Some(IssuerSettings { issuer: issuer.clone()?, audience: audience.clone()? })
}

//! Which calls: the filters that `warp calls list` and `warp calls tail` share.

use clap::{Args, ValueEnum};
use warp_control_plane::noun;

use super::super::Failure;
use super::super::client::{Client, encoded};
use super::super::names;
use super::super::nouns::{at, for_whom};
use super::super::when::When;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Outcome {
    Answered,
    Busy,
    NoAnswer,
    Cancelled,
    Rejected,
    Failed,
}

/// Which way a call went, seen from the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Direction {
    Outbound,
    Inbound,
}

/// Only calls for which all of these hold.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Filter {
    /// How it ended.
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// Which way it went, seen from the customer.
    #[arg(long, value_enum)]
    direction: Option<Direction>,
    /// Its trunk, by id or name.
    #[arg(long)]
    trunk: Option<String>,
    /// The vendor that carried it, by id, slug or name (operators only).
    #[arg(long)]
    vendor: Option<String>,
    /// Its customer, by id or name (operators only).
    #[arg(long)]
    customer: Option<String>,
    /// The called number.
    #[arg(long)]
    to: Option<String>,
    /// The caller.
    #[arg(long)]
    from: Option<String>,
    /// The SIP Call-ID, as it stands in traces.
    #[arg(long)]
    call_id: Option<String>,
    /// The final SIP status.
    #[arg(long, value_parser = clap::value_parser!(u16).range(100..700))]
    code: Option<u16>,
    /// Begun at or after this time: RFC 3339, or so long ago (30m, 2h, 7d).
    #[arg(long)]
    since: Option<When>,
    /// Begun before this time: the same.
    #[arg(long)]
    until: Option<When>,
}

/// The API's parameters, and what they are called here.
pub(super) const FLAGS: &[(&str, &str)] = &[
    ("called", "--to"),
    ("caller", "--from"),
    ("call_id", "--call-id"),
    ("setup_at[gte]", "--since"),
    ("setup_at[lt]", "--until"),
];

impl Filter {
    /// Calls before some time are left out.
    pub(super) fn has_begin(&self) -> bool {
        self.since.is_some()
    }

    /// Calls after some time are left out.
    pub(super) fn has_end(&self) -> bool {
        self.until.is_some()
    }

    /// As a query, each parameter with `&` before it. Names are looked up; one that nothing has is an error of usage.
    pub(super) fn query(&self, client: &Client) -> Result<String, Failure> {
        When::in_order(self.since.as_ref(), self.until.as_ref())?;
        let outcome = self.outcome.and_then(|o| o.to_possible_value()).map(|v| v.get_name().to_owned());
        let direction = self.direction.and_then(|d| d.to_possible_value()).map(|v| v.get_name().to_owned());
        let id = |what: &Option<String>, prefix: &str| {
            what.as_ref().map(|text| known(client, prefix, text)).transpose()
        };
        let all = [
            ("outcome", outcome),
            ("direction", direction),
            ("trunk", id(&self.trunk, "trk")?),
            ("vendor", id(&self.vendor, "vnd")?),
            ("customer", id(&self.customer, "cus")?),
            ("called", self.to.clone()),
            ("caller", self.from.clone()),
            ("call_id", self.call_id.clone()),
            ("code", self.code.map(|code| code.to_string())),
            ("setup_at%5Bgte%5D", self.since.as_ref().map(When::text)),
            ("setup_at%5Blt%5D", self.until.as_ref().map(When::text)),
        ];
        let given = all.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        Ok(given.map(|(name, value)| format!("&{name}={}", encoded(value))).collect())
    }
}

/// The id of what is named. Also an id must be one of something: a list that is empty because of a slip of a letter looks like news.
fn known(client: &Client, prefix: &str, text: &str) -> Result<String, Failure> {
    let id = names::named(client, prefix, text)?;
    let Some(noun) = noun::ALL.iter().find(|noun| names::prefix(noun) == prefix) else { return Ok(id) };
    if id == text {
        let there = for_whom(client, noun, |of| client.get(&at(of, noun, &id)));
        if let Err(why) = there {
            return Err(match why.code {
                2 | 3 => Failure::new(format!("there is no {} {text:?}", noun.called)).with_code(2),
                _ => why,
            });
        }
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_ends_before_it_begins_is_refused() {
        let client = Client::new("http://127.0.0.1:9", "k");
        let of = |since: &str, until: &str| Filter {
            since: Some(since.parse().unwrap()),
            until: Some(until.parse().unwrap()),
            ..Filter::default()
        };
        let why = of("1h", "2h").query(&client).unwrap_err();
        assert!(why.code == 2 && why.message.contains("is after --until"), "{why:?}");
        assert!(of("2026-11-29T14:00:00Z", "2026-11-29T13:00:00Z").query(&client).is_err());
        assert!(of("2h", "1h").query(&client).is_ok());
        assert!(of("2026-11-29T14:00:00+02:00", "2026-11-29T13:00:00Z").query(&client).is_ok());
    }
}

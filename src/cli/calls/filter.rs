//! Which calls: the filters that `warp calls list` and `warp calls tail` share.

use clap::{Args, ValueEnum};

use super::super::Failure;
use super::super::client::{Client, encoded};
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
    /// Its trunk: trk_… or the trunk's name.
    #[arg(long)]
    trunk: Option<String>,
    /// The vendor that carried it: vnd_… or the vendor's slug (operators only).
    #[arg(long)]
    vendor: Option<String>,
    /// Its customer: cus_… (operators only).
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
        let id = |what: &Option<String>, prefix: &str, list: &str, field: &str| {
            what.as_ref().map(|text| id_of(client, text, prefix, list, field)).transpose()
        };
        let all = [
            ("outcome", outcome),
            ("direction", direction),
            ("trunk", id(&self.trunk, "trk_", "/trunks", "name")?),
            ("vendor", id(&self.vendor, "vnd_", "/admin/vendors", "slug")?),
            ("customer", id(&self.customer, "cus_", "/admin/customers", "name")?),
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

/// The id of the thing that `text` names: itself when it is one and exists, otherwise of the row of `list` whose `field` it is.
/// A list under `/admin` is for operators only; any other is asked for under either path.
fn id_of(client: &Client, text: &str, prefix: &str, list: &str, field: &str) -> Result<String, Failure> {
    let what = list.rsplit('/').next().unwrap_or(list).trim_end_matches('s');
    let unknown = || {
        let hint = format!("its id ({prefix}…) or its {field}");
        Failure::new(format!("there is no {what} {text:?}")).with_code(2).hint(hint)
    };
    let ask = |of: &str| -> Result<Option<String>, Failure> {
        if text.starts_with(prefix) {
            return match client.get(&format!("{of}{list}/{}", encoded(text))) {
                Ok(_) => Ok(Some(text.to_owned())),
                Err(why) if why.code == 3 || why.code == 2 => Ok(None),
                Err(why) => Err(why),
            };
        }
        let found = client.find(&format!("{of}{list}"), |row| row[field] == text)?;
        Ok(found.and_then(|row| row["id"].as_str().map(str::to_owned)))
    };
    let found = if list.starts_with("/admin") { ask("")? } else { client.either(ask)? };
    found.ok_or_else(unknown)
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

//! `warp route --sms TO`: which way a short message takes, by a file of routes of the profile `smsc`.

use std::path::PathBuf;

use clap::Args;
use warp_model::Wall;
use warp_policy::messaging::{Explanation, Filter, Input, Target, explain};
use warp_smsc::{Config, Destination};

use crate::cli::output::Output;
use crate::cli::{Common, Failure};
use crate::launch::smsc::{configuration, file};

#[derive(Args, Debug)]
pub(super) struct MessageArgs {
    /// With --sms: the file of routes (`routes=FILE` of the profile smsc).
    #[arg(long, value_name = "FILE", requires = "sms")]
    routes: Option<PathBuf>,
    /// With --sms: the account that sends.
    #[arg(long, default_value = "foo", conflicts_with = "connector")]
    user: String,
    /// With --sms: a message of a handset instead, that came from this vendor.
    #[arg(long, value_name = "VENDOR", requires = "sms")]
    connector: Option<String>,
    /// With --sms: the text.
    #[arg(long, requires = "sms")]
    text: Option<String>,
    /// With --sms: a tag; may repeat.
    #[arg(long, value_name = "TAG", requires = "sms")]
    tag: Vec<String>,
    /// With --sms: a vendor, or an account, that is not bound; may repeat.
    #[arg(long, value_name = "NAME", requires = "sms")]
    down: Vec<String>,
}

pub(super) fn run(
    to: &str,
    from: &str,
    at: Option<&str>,
    args: &MessageArgs,
    common: &Common,
) -> Result<u8, Failure> {
    let wrong = |what: String| Failure::new(what).with_code(2).hint("see loadtests/README.md, profile smsc");
    let mut config = configuration(Vec::new());
    if let Some(path) = &args.routes {
        file::read(path, &mut config).map_err(wrong)?;
    }
    let (mt, mo) = config.tables().map_err(|e| wrong(e.to_string()))?;
    let at = time(at).map_err(wrong)?;
    let up = |name: &str| !args.down.iter().any(|down| down == name);
    let place = |filter: &Filter| named(&config, filter);
    let input = Input {
        account: None,
        group: None,
        connector: None,
        source: from.as_bytes(),
        destination: to.as_bytes(),
        text: args.text.as_deref(),
        tags: &args.tag,
        at,
        seed: 0,
    };
    if let Some(connector) = &args.connector {
        let connector = Some(file::vendor(&config, connector).map_err(wrong)?);
        let name = |target| match target {
            Destination::Account(at) => config.accounts.get(at).map_or("", |a| a.system_id.as_str()),
            Destination::Http(at) => config.http_clients.get(at).map_or("", |c| c.name.as_str()),
        };
        let shown = |target| match target {
            Destination::Account(_) => format!("smpps({})", name(target)),
            Destination::Http(_) => format!("http({})", name(target)),
        };
        return Ok(say(&explain(&mo, &Input { connector, ..input }, |t| up(name(t)), shown, place), common));
    }
    let account = file::account(&config, &args.user).map_err(wrong)?;
    let group = config.accounts.get(account).and_then(|a| a.group);
    let name = |target: usize| config.vendors.get(target).map_or("", |v| v.name.as_str());
    let input = Input { account: Some(account), group, ..input };
    Ok(say(&explain(&mt, &input, |t| up(name(t)), |t| name(t).to_owned(), place), common))
}

fn say<T: Target>(said: &Explanation<T>, common: &Common) -> u8 {
    let out = Output::new(common, &["route", "target"]);
    let fields = || {
        let route = said.decision.map(|d| d.route.to_string()).unwrap_or_default();
        vec![route, said.target.clone().unwrap_or_default()]
    };
    out.item(|| said.json(), fields, || said.text().trim_end().to_owned());
    u8::from(said.decision.is_none())
}

fn named(config: &Config, filter: &Filter) -> String {
    match filter {
        Filter::User(at) => config.accounts.get(*at).map(|a| a.system_id.clone()),
        Filter::Group(at) => config.groups.get(*at).cloned(),
        Filter::Connector(at) => config.vendors.get(*at).map(|v| v.name.clone()),
        _ => None,
    }
    .unwrap_or_default()
}

/// A time of RFC 3339; without one, now.
fn time(text: Option<&str>) -> Result<Wall, String> {
    let Some(text) = text else {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return Ok(Wall(i64::try_from(now.as_micros()).unwrap_or(i64::MAX)));
    };
    let wrong = || format!("--at {text}: a time such as 2026-11-29T14:00:00Z");
    let at: toml::value::Datetime = text.parse().map_err(|_| wrong())?;
    let (Some(date), Some(time), Some(offset)) = (at.date, at.time, at.offset) else { return Err(wrong()) };
    let behind = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes) * 60,
    };
    let days = warp_policy::messaging::calendar::days(date.year.into(), date.month.into(), date.day.into());
    let of_day = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second);
    Ok(Wall((days * 86_400 + of_day - behind) * 1_000_000))
}

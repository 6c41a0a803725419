//! `warp registrations list`: the phones that customers' SIP users have registered at the node that answers.

use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, MOST, encoded};
use super::names;
use super::output::Output;
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct RegistrationsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Every phone: whose it is, where it is, and until when.
    List {
        /// Only users of this trunk, by id or name.
        #[arg(long)]
        trunk: Option<String>,
        /// Only this user.
        #[arg(long)]
        user: Option<String>,
    },
}

const COLUMNS: &[&str] =
    &["user", "trunk_id", "trunk", "contact", "transport", "source", "user_agent", "expires_in_s"];

pub(super) fn run(args: &RegistrationsArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let out = Output::new(common, COLUMNS);
    let Verb::List { trunk, user } = &args.verb;
    let trunk = trunk.as_ref().map(|named| names::named(&client, "trk", named)).transpose()?;
    client.either(|root| list(&client, &out, root, trunk.as_deref(), user.as_deref()))
}

fn list(
    client: &Client,
    out: &Output<'_>,
    root: &str,
    trunk: Option<&str>,
    user: Option<&str>,
) -> Result<u8, Failure> {
    let mut trunks = Vec::new();
    client.walk(&format!("{root}/trunks"), MOST, |row| {
        if trunk.is_none_or(|wanted| row["id"] == wanted) {
            trunks.push(row);
        }
        ControlFlow::Continue(())
    })?;
    if let Some(wanted) = trunk.filter(|_| trunks.is_empty()) {
        return Err(Failure::new(format!("there is no trunk {wanted:?}")).with_code(2));
    }
    for trunk in &trunks {
        let path = format!("{root}/trunks/{}/credentials", encoded(text(trunk, "id")));
        client.walk(&path, MOST, |of| {
            if user.is_none_or(|wanted| of["username"] == wanted) {
                for phone in of["registrations"].as_array().into_iter().flatten() {
                    print(out, trunk, text(&of, "username"), phone);
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(0)
}

fn print(out: &Output<'_>, trunk: &Value, user: &str, phone: &Value) {
    let expires = phone["expires_in_s"].as_i64().unwrap_or(0);
    out.item(
        || {
            let mut all = phone.clone();
            all["user"] = user.into();
            all["trunk_id"] = trunk["id"].clone();
            all["trunk"] = trunk["name"].clone();
            all
        },
        || {
            let of = |name: &str| text(phone, name).to_owned();
            let (id, name) = (text(trunk, "id").to_owned(), text(trunk, "name").to_owned());
            let agent = of("user_agent");
            vec![
                user.to_owned(),
                id,
                name,
                of("contact"),
                of("transport"),
                of("source"),
                agent,
                expires.to_string(),
            ]
        },
        || {
            let (name, contact, transport) =
                (text(trunk, "name"), text(phone, "contact"), text(phone, "transport"));
            let source = text(phone, "source");
            format!("{user:<20} {name:<14} {contact:<40} {transport:<4} from {source}, for {expires} s")
        },
    );
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

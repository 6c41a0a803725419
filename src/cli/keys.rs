//! `warp keys list|show|make|rotate|revoke`: API keys. `warp keys recover`: an operator's key when the last one was lost. That needs no
//! key: whoever owns the data folder of the private PostgreSQL, or has the migration URL, could change the rows anyhow.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use warp_control_plane::app::keys;
use warp_control_plane::noun::customer::CUSTOMER;
use warp_control_plane::store::{Store, StoreError};
use warp_model::Wall;

use super::client::{Client, encoded};
use super::names::id_of;
use super::nouns::fields::{forms_of, row, whole};
use super::nouns::{Body, print_list};
use super::output::Output;
use super::{Common, ConfigFile, Failure, config};
use crate::config::Span;

#[derive(Args, Debug)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Operators' keys, or those of a customer; with a customer's key its own.
    List {
        /// Whose, by id or name.
        #[arg(long, value_name = "WHOSE")]
        customer: Option<String>,
        /// Rows at most; all there are when absent or 0.
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// An API key, without its secret.
    Show {
        /// The id of the key, `key_…`.
        key: String,
    },
    /// Make an API key; its secret is shown once.
    Make {
        /// Whose, by id or name; absent: an operator's, or with a customer's key its own.
        #[arg(long, value_name = "WHOSE")]
        customer: Option<String>,
        #[command(flatten)]
        body: Body,
    },
    /// Make the key that follows this one; both live during the overlap.
    Rotate {
        /// The id of the key, `key_…`.
        key: String,
        /// How long the old key lives on: 0s to 7d; one day when absent.
        #[arg(long)]
        overlap: Option<Span>,
    },
    /// End a key at once.
    Revoke {
        /// The id of the key, `key_…`.
        key: String,
    },
    /// A new operator's key, when the last one was lost: it manages keys only and ends after 24 hours. Runs on the machine itself.
    Recover {
        #[command(flatten)]
        file: ConfigFile,
        /// Data folder of the deployment, instead of the one that its configuration names (.warp/dev of `warp dev`).
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

pub(super) fn run(args: &KeysArgs, common: &Common) -> Result<u8, Failure> {
    if let Verb::Recover { file, dir } = &args.verb {
        return recover(file, dir.as_deref(), common);
    }
    let client = Client::of(common)?;
    match &args.verb {
        Verb::List { customer, limit } => {
            let list = list_of(&client, customer.as_deref())?;
            print_list(&client, (COLUMNS, HEAD), list.as_deref(), "keys", *limit, common, line)?;
        }
        Verb::Show { key } => {
            let found = client.either(|of| client.get(&format!("{of}/keys/{}", encoded(key))))?;
            Output::new(common, COLUMNS).item(
                || found.clone(),
                || row(COLUMNS, &found),
                || whole(&found, COLUMNS),
            );
        }
        Verb::Make { customer, body } => {
            let body = body.read(&client, &forms_of("ApiKeyInput"), "keys", None)?;
            let made = match list_of(&client, customer.as_deref())? {
                Some(list) => client.json("POST", &list, &body)?,
                None => client.either(|of| client.json("POST", &format!("{of}/keys"), &body))?,
            };
            show_secret(&made, common);
        }
        Verb::Rotate { key, overlap } => {
            let body = overlap.map_or_else(|| json!({}), |time| json!({ "overlap_s": time.0.as_secs() }));
            let path = |of: &str| format!("{of}/keys/{}/rotate", encoded(key));
            show_secret(&client.either(|of| client.json("POST", &path(of), &body))?, common);
        }
        Verb::Revoke { key } => {
            client.either(|of| client.delete(&format!("{of}/keys/{}", encoded(key))))?;
            Output::new(common, &["id", "revoked"]).item(
                || json!({ "id": key, "revoked": true }),
                || vec![key.clone(), true.to_string()],
                || format!("revoked {key}"),
            );
        }
        Verb::Recover { .. } => {}
    }
    Ok(0)
}

const COLUMNS: &[&str] = &[
    "id",
    "customer_id",
    "name",
    "hint",
    "scopes",
    "ip_allow",
    "created_at",
    "expires_at",
    "last_used_at",
    "revoked_at",
    "replaced_by",
    "viewer",
];

/// The list of a customer's keys, when a customer is named.
fn list_of(client: &Client, customer: Option<&str>) -> Result<Option<String>, Failure> {
    let id = customer.map(|named| id_of(client, &CUSTOMER, named)).transpose()?;
    Ok(id.map(|id| format!("/admin/customers/{}/keys", encoded(&id))))
}

const HEAD: &[&str] = &["id", "begins with", "name", "scopes", "state"];

/// A key for people: what it is, and whether it still opens anything.
fn line(key: &Value) -> Vec<String> {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    let state = match (text("revoked_at"), text("expires_at")) {
        ("", "") => String::new(),
        ("", end) => format!("ends {end}"),
        (at, _) => format!("revoked {at}"),
    };
    let scopes = key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let scopes = scopes.collect::<Vec<_>>().join(" ");
    vec![text("id").to_owned(), format!("{}…", text("hint")), text("name").to_owned(), scopes, state]
}

fn show_secret(made: &Value, common: &Common) {
    let text = |name: &str| made["key"][name].as_str().unwrap_or_default().to_owned();
    let secret = made["secret"].as_str().unwrap_or_default().to_owned();
    Output::new(common, &["id", "secret", "expires_at"]).item(
        || made.clone(),
        || vec![text("id"), secret.clone(), text("expires_at")],
        || format!("{secret}\nthis secret of {} is shown only this once", text("id")),
    );
}

fn recover(file: &ConfigFile, dir: Option<&std::path::Path>, common: &Common) -> Result<u8, Failure> {
    let loaded = match dir {
        Some(dir) => config::meant_for(dir, file)?,
        None => config::load(file)?,
    };
    let settings = loaded.config.api.control_plane(&loaded.config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(format!("runtime: {e}")))?;
    let made = runtime.block_on(async {
        let store = Store::open_as_owner(&settings.database).await.map_err(refused)?;
        let made = keys::recover(&store, settings.live_keys, &who(), now()).await;
        store.leave().await;
        made.map_err(|e| Failure::new(e.to_string()))
    })?;
    let (id, secret) = (made.key.id, made.secret);
    let ends = made.key.expires_at.map(|t| t.0.to_string()).unwrap_or_default();
    Output::new(common, &["id", "secret", "expires_at"]).item(
        || serde_json::json!({ "id": id, "secret": secret, "expires_at": ends }),
        || vec![id.clone(), secret.clone(), ends.clone()],
        || format!("{secret}\nit manages keys only and ends at {ends}: make the key that you need with it, then revoke {id}"),
    );
    Ok(0)
}

fn refused(why: StoreError) -> Failure {
    let hint = "run it as the user of the data folder, or with api.migrate_url (WARP_API__MIGRATE_URL) beside api.database_url";
    let code = if why.may_pass() { 6 } else { 4 };
    Failure::new(why.to_string()).with_code(code).hint(hint)
}

/// Who runs this, for the audit log: what the kernel says of our process.
fn who() -> String {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").map(|m| m.uid().to_string());
    format!("local:uid {}", uid.unwrap_or_else(|_| "unknown".to_owned()))
}

fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

//! `warp keys recover`: an operator's key when the last one was lost. It needs no key: whoever owns the data folder of the private
//! PostgreSQL, or has the migration URL, could change the rows anyhow.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use warp_control_plane::app::keys;
use warp_control_plane::store::{Store, StoreError};
use warp_model::Wall;

use super::output::Output;
use super::{Common, ConfigFile, Failure, config};

#[derive(Args, Debug)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
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
    match &args.verb {
        Verb::Recover { file, dir } => recover(file, dir.as_deref(), common),
    }
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

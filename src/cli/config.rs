//! `warp config check|show|diff|reload`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::output::Output;
use super::{Common, ConfigFile, Failure};
use crate::config::{Config, ConfigError, LISTEN_KEYS, Loaded, Sources, diff, values};
use crate::run;

#[derive(Args, Debug)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Reads the file and everything over it, binds nothing; exit code 1 when it has mistakes.
    Check {
        /// The file to check; default /etc/warp/warp.toml.
        file: Option<PathBuf>,
        /// The same, as the other commands take it.
        #[arg(long, conflicts_with = "file")]
        config: Option<PathBuf>,
    },
    /// Every value in force by file, environment and defaults.
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Where each value came from.
        #[arg(long)]
        origin: bool,
        /// The values in force in the process of this data folder instead (.warp/dev of `warp dev`).
        #[arg(long, conflicts_with_all = ["config", "origin"])]
        dir: Option<PathBuf>,
    },
    /// What differs: from the running process when there is one, otherwise from the defaults.
    Diff {
        #[command(flatten)]
        file: ConfigFile,
        /// Data folder of the process, instead of the one that its configuration names (.warp/dev of `warp dev`).
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Tells the running process to read its configuration again; prints what changed.
    Reload {
        #[command(flatten)]
        file: ConfigFile,
        /// Data folder of the process, instead of the one that its configuration names (.warp/dev of `warp dev`).
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

pub(super) fn load(file: &ConfigFile) -> Result<Loaded, Failure> {
    load_over(&Config::default(), &Sources::of_process(file.config.clone()))
}

fn load_over(base: &Config, sources: &Sources) -> Result<Loaded, Failure> {
    Loaded::load(base, sources).map_err(|e| failure(&e))
}

/// What a process of this data folder would run with: a node, or the `warp dev` that made the folder, which has defaults of its own
/// and reads no file of production.
pub(super) fn meant_for(dir: &Path, file: &ConfigFile) -> Result<Loaded, Failure> {
    let sources = Sources::of_process(file.config.clone());
    #[cfg(feature = "dev")]
    if super::client::dev_secrets(dir).is_some() {
        return load_over(&crate::dev::base(dir), &Sources { file: file.config.clone(), ..sources });
    }
    let mut base = Config::default();
    base.node.data_dir = dir.to_owned();
    load_over(&base, &sources)
}

/// `run/` of a data folder.
pub(super) fn folder_of(dir: &Path) -> run::RunFolder {
    let mut config = Config::default();
    config.node.data_dir = dir.to_owned();
    run::RunFolder::of(&config)
}

/// Where the process of a data folder listens and how many threads it has; everything else as by default. Errors: none runs
/// there.
pub(super) fn running(dir: &Path) -> Result<Config, Failure> {
    let Some(values) = folder_of(dir).values() else {
        return Err(nobody_runs(dir));
    };
    // What is looked at, and the files without which some of it would be refused.
    let looked_at = ["sip.shards", "media.ports", "media.threads"].into_iter().chain([
        "sip.tls_certificate",
        "sip.tls_key",
        "smsc.tls_certificate",
        "smsc.tls_key",
    ]);
    let flags = LISTEN_KEYS
        .into_iter()
        .chain(looked_at)
        .filter_map(|key| Some((key.to_owned(), crate::config::from_text(values.get(key)?))));
    let sources = Sources { flags: flags.collect(), ..Sources::default() };
    let mut config =
        Loaded::load(&Config::default(), &sources).map(|loaded| loaded.config).map_err(|e| failure(&e))?;
    config.node.data_dir = dir.to_owned();
    // Its value is not told; that there is one is.
    config.api.database_url = values.get("api.database_url").map(|told| told.as_str().into());
    Ok(config)
}

fn nobody_runs(dir: &Path) -> Failure {
    Failure::new(format!("no warp is running in {}", dir.display()))
        .with_code(6)
        .hint("name its file with --config, or its data folder with --dir")
}

fn failure(errors: &[ConfigError]) -> Failure {
    let lines: Vec<String> = errors.iter().map(ConfigError::to_string).collect();
    Failure::new(lines.join(super::BETWEEN))
}

pub(super) fn run(args: &ConfigArgs, common: &Common) -> Result<u8, Failure> {
    match &args.verb {
        Verb::Check { file, config } => {
            let loaded = load(&ConfigFile { config: file.clone().or_else(|| config.clone()) })?;
            let unread = loaded.unread_files();
            if !unread.is_empty() {
                return Err(failure(&unread));
            }
            let set = loaded.origins.len();
            Output::new(common, &["ok", "set"]).item(
                || serde_json::json!({"ok": true, "set": set}),
                || vec!["true".to_owned(), set.to_string()],
                || match set {
                    0 => "ok: no file and no variable sets anything; all values are defaults".to_owned(),
                    _ => format!("ok: {set} values set, the rest are defaults"),
                },
            );
            Ok(0)
        }
        Verb::Show { dir: Some(dir), .. } => {
            let running = folder_of(dir).values().ok_or_else(|| nobody_runs(dir))?;
            let mut keys = Loaded::default().keys();
            keys.extend(running.into_iter().map(|(key, value)| (key, Some(value))));
            show(&keys, |_| "running".to_owned(), false, common);
            Ok(0)
        }
        Verb::Show { file, origin, dir: None } => {
            let loaded = load(file)?;
            let of = |key: &str| loaded.origins.get(key).map_or("default".to_owned(), ToString::to_string);
            show(&loaded.keys(), of, *origin, common);
            Ok(0)
        }
        Verb::Diff { file, dir } => {
            let (base, loaded) = match dir {
                Some(dir) => {
                    let running = folder_of(dir).values().ok_or_else(|| nobody_runs(dir))?;
                    // The folder may have been named in other words at its start.
                    let named = running.get("node.data_dir").map(|text| crate::config::from_text(text));
                    let dir = named.as_ref().and_then(|v| v.as_str()).map_or(dir.clone(), PathBuf::from);
                    (running, meant_for(&dir, file)?)
                }
                None => {
                    let loaded = load(file)?;
                    let running = run::RunFolder::of(&loaded.config).values();
                    (running.unwrap_or_else(|| values(&Config::default())), loaded)
                }
            };
            let out = Output::new(common, &["key", "old", "new", "live"]);
            for change in diff(&base, &loaded.values()) {
                out.item(
                    || serde_json::json!(change),
                    || {
                        vec![
                            change.key.clone(),
                            change.old.clone(),
                            change.new.clone(),
                            change.live.to_string(),
                        ]
                    },
                    || change.to_string(),
                );
            }
            Ok(0)
        }
        Verb::Reload { dir: Some(dir), .. } => {
            let mut config = Config::default();
            config.node.data_dir = dir.clone();
            reload(&config, common)
        }
        Verb::Reload { file, dir: None } => reload(&load(file)?.config, common),
    }
}

fn show(keys: &BTreeMap<String, Option<String>>, of: impl Fn(&str) -> String, origin: bool, common: &Common) {
    if common.json {
        let one = |(key, value): (&String, &Option<String>)| {
            (key.clone(), serde_json::json!({"value": value, "origin": of(key)}))
        };
        let all: serde_json::Map<String, serde_json::Value> = keys.iter().map(one).collect();
        Output::new(common, &[]).item(|| all.into(), Vec::new, String::new);
        return;
    }
    let out = Output::new(common, &["key", "value", "origin"]);
    let mut section = String::new();
    for (path, value) in keys {
        let (name, key) = path.split_once('.').unwrap_or(("", path));
        if out.is_for_people() && name != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            out.item(|| ().into(), Vec::new, || format!("{gap}[{name}]"));
            section = name.to_owned();
        }
        out.item(
            || ().into(),
            || vec![path.clone(), value.clone().unwrap_or_default(), of(path)],
            || match value {
                Some(value) if origin => format!("{key} = {value}  # {}", of(path)),
                Some(value) => format!("{key} = {value}"),
                // The text can be given back as a file.
                None => format!("# {key} is not set"),
            },
        );
    }
}

fn reload(config: &Config, common: &Common) -> Result<u8, Failure> {
    let folder = run::RunFolder::of(config);
    let Some(pid) = folder.pid() else {
        return Err(nobody_runs(&config.node.data_dir));
    };
    let before = folder.last_reload();
    let sent = rustix::process::Pid::from_raw(pid)
        .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::HUP));
    match sent {
        Some(Ok(())) => {}
        Some(Err(rustix::io::Errno::PERM)) => {
            return Err(Failure::new(format!("not allowed to signal {pid}")).with_code(4));
        }
        _ => return Err(Failure::new(format!("process {pid} is gone")).with_code(6)),
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let now = folder.last_reload();
        if now.is_some() && now != before {
            let outcome = now.unwrap_or_default();
            if outcome.errors.is_empty() {
                let out = Output::new(common, &["change"]);
                if common.json {
                    out.item(|| serde_json::json!(outcome), Vec::new, String::new);
                } else if out.is_for_people() && outcome.changes.is_empty() {
                    out.item(|| ().into(), Vec::new, || "nothing changed".to_owned());
                } else {
                    for change in &outcome.changes {
                        out.item(|| ().into(), || vec![change.clone()], || change.clone());
                    }
                }
                return Ok(0);
            }
            return Err(
                Failure::new(outcome.errors.join("\nwarp: ")).hint("the old configuration stays in force")
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Failure::new(format!("process {pid} did not answer within 5 s")).with_code(6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunFolder;

    /// A node listens on all that it can, by TLS too; what it wrote of itself is read as it listens.
    #[test]
    fn the_addresses_of_a_running_node_are_read_as_it_listens() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.data_dir = dir.path().to_owned();
        let at = |port: u16| Some(([127, 0, 0, 1], port).into());
        config.sip.listen = ["udp:127.0.0.1:5062", "tls:127.0.0.1:5063"].map(|l| l.parse().unwrap()).into();
        (config.media.ng, config.media.ng_tcp, config.media.http) = (at(22_223), at(22_224), at(22_225));
        (config.smsc.listen, config.smsc.listen_tls, config.smsc.http) = (at(2776), at(3551), at(1402));
        for file in [&mut config.sip.tls_certificate, &mut config.smsc.tls_certificate] {
            *file = Some("certificate.pem".into());
        }
        for file in [&mut config.sip.tls_key, &mut config.smsc.tls_key] {
            *file = Some("key.pem".into());
        }
        let folder = RunFolder::of(&config);
        let _lock = folder.take().unwrap();
        folder.write("config.json", &serde_json::to_string(&values(&config)).unwrap()).unwrap();
        let read = running(dir.path()).unwrap();
        let addresses = crate::config::listening;
        assert_eq!(addresses(&read), addresses(&config));
    }
}

//! `warp init`: the configuration file of a new node, every key with its default as a comment. The text is made from the code
//! (`src/config/reference.rs`), like the reference.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;

use super::output::Output;
use super::{Common, Failure};

/// Every key with its default, all of them comments.
const COMMENTED: &str = include_str!("../../deploy/warp.toml");

#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The file that is made; one that is there is never overwritten. - is the standard output.
    #[arg(long, default_value = "/etc/warp/warp.toml")]
    config: PathBuf,
    /// The address of this machine that peers see, for SIP and media; absent: loopback, which nobody reaches.
    #[arg(long)]
    ip: Option<std::net::IpAddr>,
    /// Where everything is kept.
    #[arg(long, default_value = "/var/lib/warp")]
    data_dir: PathBuf,
}

pub(super) fn run(args: &InitArgs, common: &Common) -> Result<u8, Failure> {
    let text = of(args)?;
    if args.config.as_os_str() == "-" {
        let _ = std::io::stdout().write_all(text.as_bytes());
        return Ok(0);
    }
    let path = args.config.display();
    let failed = |e: std::io::Error| Failure::new(format!("{path}: {e}"));
    if let Some(folder) = args.config.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = std::fs::File::options().write(true).create_new(true).open(&args.config);
    let mut file = file.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Failure::new(format!("{path} is there already, and stays as it is"))
            .with_code(5)
            .hint("warp init --config - prints what a new one would be"),
        _ => failed(e),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    let next = format!("warp config check {path}, then warp serve --config {path}");
    Output::new(common, &["file", "next"]).item(
        || serde_json::json!({"file": path.to_string(), "next": next}),
        || vec![path.to_string(), next.clone()],
        || format!("made {path}\nnext: {next}"),
    );
    Ok(0)
}

/// The file for these arguments: what was said stands in its section, the rest are comments.
fn of(args: &InitArgs) -> Result<String, Failure> {
    let data_dir =
        args.data_dir.to_str().ok_or_else(|| Failure::new("--data-dir is not UTF-8").with_code(2))?;
    let mut said = vec![("[node]", format!("data_dir = {}", toml::Value::from(data_dir)))];
    if let Some(ip) = args.ip {
        let at = std::net::SocketAddr::new(ip, 5060);
        said.push(("[sip]", format!("listen = [\"udp:{at}\", \"tcp:{at}\"]")));
        said.push(("[media]", format!("ips = [\"{ip}\"]")));
    }
    let mut text = COMMENTED.to_owned();
    for (section, line) in said {
        text = text.replacen(&format!("{section}\n"), &format!("{section}\n{line}\n"), 1);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{ConfigFile, config};

    fn args(path: &std::path::Path, ip: Option<&str>) -> InitArgs {
        let data_dir = path.with_file_name("da \"ta");
        InitArgs { config: path.to_owned(), ip: ip.map(|ip| ip.parse().unwrap()), data_dir }
    }

    #[test]
    fn a_new_file_is_a_configuration_and_an_old_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let quiet = Common { quiet: true, ..Common::default() };
        for ip in [None, Some("192.0.2.10"), Some("2001:db8::1")] {
            let path = dir.path().join(format!("{}/warp.toml", ip.unwrap_or("none").replace(':', "-")));
            let args = args(&path, ip);
            assert_eq!(run(&args, &quiet), Ok(0));
            let loaded = config::load(&ConfigFile { config: Some(path.clone()) }).unwrap().config;
            assert_eq!(loaded.node.data_dir, args.data_dir);
            if let Some(ip) = &args.ip {
                assert_eq!(loaded.media.ips, [*ip]);
                assert!(loaded.sip.listen.iter().any(|at| at.to_string().contains(&ip.to_string())));
            }
            std::fs::write(&path, "# mine\n").unwrap();
            let why = run(&args, &quiet).unwrap_err();
            assert_eq!(why.code, 5);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
        }
    }
}

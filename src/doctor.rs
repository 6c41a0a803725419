//! `warp doctor`: what is missing or slow on this machine, each with the command that fixes it; how many calls a second it
//! can carry; who has the ports.

pub(crate) mod capacity;
mod owner;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use serde::Serialize;

use warp_control_plane::store::cluster::Cluster;

use crate::config::Config;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing needs to be done.
    Ok,
    /// Works, but not well under load.
    Warn,
    /// It will not work like this.
    Fail,
}

/// One thing looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at, in one word.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, in a sentence.
    pub found: String,
    /// The command that fixes it; empty when nothing needs fixing.
    pub fix: String,
}

fn finding(check: &'static str, level: Level, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    let fix = if level == Level::Ok { String::new() } else { fix.into() };
    Finding { check, level, found: found.into(), fix }
}

/// Looks at everything; changes nothing.
pub fn examine(config: &Config) -> Vec<Finding> {
    let mut all = vec![
        open_files(),
        sysctl("net.core.rmem_max", "UDP receive buffer", 4 << 20),
        sysctl("net.core.wmem_max", "UDP send buffer", 1 << 20),
        clock_source(),
        clock_sync(),
        ports_range(config),
        capacity::of_machine(config),
        postgres(config),
        data_folder(&config.node.data_dir),
    ];
    all.extend(media_addresses(config));
    all.extend(kafka(config));
    all.extend(listeners(config));
    all
}

fn open_files() -> Finding {
    // The relay raises its own limit as far as it may.
    let limit = capacity::hard_limit().unwrap_or(0.0);
    let level = match limit {
        l if l >= 65_536.0 => Level::Ok,
        l if l >= 4_096.0 => Level::Warn,
        _ => Level::Fail,
    };
    finding(
        "open files",
        level,
        format!("limit {limit}"),
        "ulimit -Hn 1048576   (systemd: LimitNOFILE=1048576)",
    )
}

fn sysctl(name: &'static str, what: &'static str, want: u64) -> Finding {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let Ok(text) = std::fs::read_to_string(path) else {
        return finding(what, Level::Ok, format!("{name} is not visible here"), "");
    };
    let now: u64 = text.trim().parse().unwrap_or(0);
    let level = if now >= want { Level::Ok } else { Level::Warn };
    finding(what, level, format!("{name} = {now}"), format!("sysctl -w {name}={want}"))
}

fn clock_source() -> Finding {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = std::fs::read_to_string(path).unwrap_or_default();
    let source = source.trim();
    // Others cost a system call per reading.
    let fast = source.is_empty()
        || ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"].contains(&source);
    let level = if fast { Level::Ok } else { Level::Warn };
    let shown = if source.is_empty() { "unknown" } else { source };
    finding("clock source", level, shown, format!("echo tsc > {path}"))
}

fn clock_sync() -> Finding {
    let by = [
        ("/run/systemd/timesync/synchronized", "systemd-timesyncd"),
        ("/run/chrony/chronyd.pid", "chrony"),
        ("/var/run/ntpd.pid", "ntpd"),
    ];
    match by.iter().find(|(path, _)| Path::new(path).exists()) {
        Some((_, name)) => finding("clock", Level::Ok, format!("kept by {name}"), ""),
        None => finding(
            "clock",
            Level::Warn,
            "nobody seems to keep it",
            "timedatectl set-ntp true   (or: apt-get install -y chrony)",
        ),
    }
}

fn ports_range(config: &Config) -> Finding {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_ascii_whitespace().filter_map(|n| n.parse::<u16>().ok());
    let (Some(low), Some(high)) = (bounds.next(), bounds.next()) else {
        return finding("media ports", Level::Ok, "no ephemeral range visible here", "");
    };
    let (from, to) = (*config.media.ports.start(), *config.media.ports.end());
    let overlap = from <= high && low <= to;
    let level = if overlap { Level::Warn } else { Level::Ok };
    finding(
        "media ports",
        level,
        format!("media {from}-{to}, ephemeral {low}-{high}"),
        format!("sysctl -w net.ipv4.ip_local_reserved_ports={from}-{to}"),
    )
}

/// Addresses for media that this machine does not have: each offer on one would be refused.
fn media_addresses(config: &Config) -> Vec<Finding> {
    let lacks = |ip: &&std::net::IpAddr| {
        let bound = UdpSocket::bind((**ip, 0));
        bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable)
    };
    let told = |ip: &std::net::IpAddr| {
        let found = format!("media.ips {ip} is no address of this machine");
        finding(
            "media address",
            Level::Fail,
            found,
            format!("set media.ips   (ip -brief address says what there is), or ip address add {ip} dev …"),
        )
    };
    config.media.ips.iter().filter(lacks).map(told).collect()
}

/// Folders with PostgreSQL's server programs, newest version first.
fn postgres_versions() -> Vec<(u32, PathBuf)> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_string_lossy().parse().ok()?;
            let bin = entry.path().join("bin");
            (bin.join("initdb").exists() && bin.join("postgres").exists()).then_some((version, bin))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found
}

fn postgres(config: &Config) -> Finding {
    let fix = "apt-get install -y postgresql   (or set DATABASE_URL)";
    if config.api.database_url.is_some() {
        return finding("PostgreSQL", Level::Ok, "an outside one, by api.database_url or DATABASE_URL", "");
    }
    match postgres_versions().first() {
        Some((version, bin)) if *version >= 14 => {
            let found = format!("{version} in {}", bin.display());
            let wanted = crate::wire::database_dir(config);
            match Cluster::stands_in(&wanted).filter(|_| !wanted.join("data").exists()) {
                None => finding("PostgreSQL", Level::Ok, found, ""),
                Some(home) => finding(
                    "PostgreSQL",
                    Level::Warn,
                    format!(
                        "{found}; its data lie in {}, not in {}, which its user cannot reach",
                        home.display(),
                        wanted.display()
                    ),
                    "start WARP as a user of its own, or name a folder that the user of PostgreSQL can reach: api.database_dir",
                ),
            }
        }
        Some((version, _)) => {
            finding("PostgreSQL", Level::Fail, format!("{version} is too old, 14 is needed"), fix)
        }
        None => finding("PostgreSQL", Level::Fail, "initdb and postgres are not installed", fix),
    }
}

/// Nothing when the event log is on the disk.
#[cfg(feature = "kafka")]
fn kafka(config: &Config) -> Option<Finding> {
    if config.events.kafka.is_empty() {
        return None;
    }
    let options = crate::wire::event_log::kafka_options(config).map_err(|e| format!("{e:#}"));
    Some(match options.and_then(|options| options.examine(warp_events::TOPIC_CDR_VOICE)) {
        Ok(found) => finding("Kafka", Level::Ok, found, ""),
        Err(why) => finding(
            "Kafka",
            Level::Fail,
            why,
            "see docs/how-to/kafka.md; calls go on, and the journals keep the records",
        ),
    })
}

#[cfg(not(feature = "kafka"))]
fn kafka(_: &Config) -> Option<Finding> {
    None
}

fn data_folder(dir: &Path) -> Finding {
    let fix = format!("install -d -m 750 {}", dir.display());
    // The nearest folder that exists is where it would be made.
    let exists = dir.ancestors().find(|d| d.exists() || d.as_os_str().is_empty()).unwrap_or(dir);
    let exists = if exists.as_os_str().is_empty() { Path::new(".") } else { exists };
    if !exists.is_dir() {
        let found = format!("{} is not a folder", exists.display());
        return finding("data folder", Level::Fail, found, "set node.data_dir");
    }
    if let Err(why) = rustix::fs::access(exists, rustix::fs::Access::WRITE_OK) {
        return finding("data folder", Level::Fail, format!("{}: {why}", exists.display()), fix);
    }
    let Ok(space) = rustix::fs::statvfs(exists) else {
        return finding("data folder", Level::Ok, format!("{} can be written", dir.display()), "");
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let level = if free >= 2 << 30 { Level::Ok } else { Level::Warn };
    finding(
        "data folder",
        level,
        format!("{} can be written, {} MiB free", dir.display(), free >> 20),
        format!("free space under {}, or set node.data_dir", exists.display()),
    )
}

/// One line for each address, whatever listens on it.
fn listeners(config: &Config) -> Vec<Finding> {
    let mut by_address: BTreeMap<SocketAddr, (Vec<&str>, bool, bool)> = BTreeMap::new();
    for listening in crate::config::listening(config) {
        let entry = by_address.entry(listening.at).or_default();
        if !entry.0.contains(&listening.key) {
            entry.0.push(listening.key);
        }
        entry.1 |= listening.udp;
        entry.2 |= !listening.udp;
    }
    let asked = by_address.into_iter().filter(|(addr, _)| addr.port() != 0);
    // The process that has the data folder, and this one.
    let folder = crate::run::RunFolder::of(config).pid().and_then(|pid| u32::try_from(pid).ok());
    let ours: Vec<u32> = folder.into_iter().chain([std::process::id()]).collect();
    asked.map(|(addr, (keys, udp, tcp))| listener(&keys.join(", "), addr, udp, tcp, &ours)).collect()
}

fn listener(key: &str, addr: SocketAddr, udp: bool, tcp: bool, ours: &[u32]) -> Finding {
    let busy = |udp: bool| match udp {
        true => UdpSocket::bind(addr).is_err(),
        false => TcpListener::bind(addr).is_err(),
    };
    let taken: Vec<bool> = [(udp, true), (tcp, false)]
        .into_iter()
        .filter(|(wanted, udp)| *wanted && busy(*udp))
        .map(|(_, udp)| udp)
        .collect();
    if taken.is_empty() {
        return finding("port", Level::Ok, format!("{key} {addr} is free"), "");
    }
    match taken.iter().find_map(|udp| owner::of(addr, *udp)) {
        // Of another folder or file: this one's start would find it taken.
        Some(owner) if owner.is_ours && !ours.contains(&owner.pid) => finding(
            "port",
            Level::Warn,
            format!("{key} {addr} is taken by another warp (process {})", owner.pid),
            format!("stop that, or set {key}   (warp dev takes the next free one by itself)"),
        ),
        // A running one: nothing to mend.
        Some(owner) if owner.is_ours => finding(
            "port",
            Level::Ok,
            format!("{key} {addr} is in use by this warp (process {})", owner.pid),
            "",
        ),
        Some(owner) => {
            let found = format!("{key} {addr} is taken by {} (process {})", owner.name, owner.pid);
            finding("port", Level::Warn, found, format!("stop that, or set {key}"))
        }
        None => {
            let fix = format!("ss -lnptu 'sport = :{}'   (who has it), or set {key}", addr.port());
            finding("port", Level::Warn, format!("{key} {addr} is taken"), fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_has_its_fixing_command() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        config.ops.listen = taken.local_addr().unwrap();
        config.node.data_dir = PathBuf::from("/dev/null/nowhere");
        config.media.ips = ["127.0.0.1", "198.51.100.77"].map(|ip| ip.parse().unwrap()).to_vec();
        let all = examine(&config);
        for f in &all {
            assert_eq!(f.level == Level::Ok, f.fix.is_empty(), "{f:?}");
        }
        let of = |check: &str| all.iter().find(|f| f.check == check).unwrap();
        assert_eq!(of("data folder").level, Level::Fail);
        let strange: Vec<_> = all.iter().filter(|f| f.check == "media address").collect();
        assert!(
            matches!(strange.as_slice(), [f] if f.level == Level::Fail && f.found.contains("198.51.100.77")),
            "{strange:?}"
        );
        // The port is this very program's: that is no problem.
        let port = all.iter().find(|f| f.found.contains("ops.listen")).unwrap();
        assert!(port.level == Level::Ok && port.found.contains("in use by this warp"), "{port:?}");
        // SIP has one address over UDP and TCP: one line.
        assert_eq!(all.iter().filter(|f| f.found.contains("sip.listen")).count(), 1);
    }

    #[test]
    fn a_port_of_another_program_is_a_warning_that_names_it() {
        let mut other = std::process::Command::new("perl")
            .args(["-MIO::Socket::INET", "-e"])
            .arg("$s=IO::Socket::INET->new(Listen=>1,LocalAddr=>'127.0.0.1');print $s->sockport,\"\\n\";$|=1;print'';<STDIN>")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(other.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        let mut config = Config::default();
        config.api.listen = ([127, 0, 0, 1], port).into();
        let found = listeners(&config).into_iter().find(|f| f.found.contains("api.listen")).unwrap();
        drop(other.stdin.take());
        other.wait().unwrap();
        let wanted = format!("api.listen 127.0.0.1:{port} is taken by perl (process {})", other.id());
        assert!(found.level == Level::Warn && found.found == wanted, "{found:?}");
    }
}

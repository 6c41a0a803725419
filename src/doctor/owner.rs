//! Who has a port: by /proc, so that no other program is needed. What belongs to other users is seen by root only.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// A process that holds a port, as /proc names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) name: String,
    /// It runs the program that asks.
    pub(super) is_ours: bool,
}

/// The process that listens on `addr`, or on all addresses of that port. `None`: nobody, or it may not be seen.
pub(super) fn of(addr: SocketAddr, udp: bool) -> Option<Owner> {
    let wanted: Vec<String> =
        inodes(addr, udp).into_iter().map(|inode| format!("socket:[{inode}]")).collect();
    if wanted.is_empty() {
        return None;
    }
    let us = std::env::current_exe().ok();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .find(|(_, path): &(u32, PathBuf)| has_one_of(path, &wanted))
        .map(|(pid, path)| Owner {
            pid,
            name: std::fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned(),
            is_ours: us.is_some() && program(&path) == us,
        })
}

/// What a process runs; a program that was replaced by a newer build counts as the same.
fn program(process: &Path) -> Option<PathBuf> {
    let exe = std::fs::read_link(process.join("exe")).ok()?;
    let text = exe.to_str()?;
    Some(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(text)))
}

fn has_one_of(process: &Path, sockets: &[String]) -> bool {
    let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target)))
}

/// Inodes of the sockets bound there (proc(5), net/udp and net/tcp): TCP ones only while they listen.
fn inodes(addr: SocketAddr, udp: bool) -> Vec<String> {
    let table = match (udp, addr.is_ipv4()) {
        (true, true) => "/proc/net/udp",
        (true, false) => "/proc/net/udp6",
        (false, true) => "/proc/net/tcp",
        (false, false) => "/proc/net/tcp6",
    };
    let here = hexadecimal(addr.ip());
    let anywhere = "0".repeat(here.len());
    let port = format!("{:04X}", addr.port());
    let text = std::fs::read_to_string(table).unwrap_or_default();
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (ip, at) = fields.get(1)?.split_once(':')?;
        let listens = udp || *fields.get(3)? == "0A";
        let matches = at == port && (ip == here || ip == anywhere) && listens;
        matches.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    text.lines().skip(1).filter_map(of_line).collect()
}

/// An address as /proc/net writes it: words of 32 bits in the machine's order.
fn hexadecimal(ip: IpAddr) -> String {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]]));
    words.map(|word| format!("{word:08X}")).collect()
}

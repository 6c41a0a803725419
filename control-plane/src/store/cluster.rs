//! The private PostgreSQL cluster: made and run from the system's `initdb`, `postgres` and `pg_ctl` (PRODUCT §2.4, §6).
//!
//! Invariants: no TCP listener; the unix socket lies in a folder of mode 0700 that only the service user (and root) can
//! enter, which is the authentication; the socket path fits `sockaddr_un` (107 bytes); PostgreSQL never runs as root.
//! A live postmaster that kill −9 of us left behind is adopted. Absent on purpose: upgrades between major versions (the
//! folder then names the version it needs).

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Longest path of a unix socket that Linux takes, without the final zero (`unix(7)`).
pub const SOCKET_PATH_BYTES: usize = 107;
/// What PostgreSQL calls its socket in the folder.
const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// In a cluster below [`SHARED_STATE_DIR`]: the folder that it stands in for.
const WANTED_FILE: &str = "stands-in-for";
/// Longest wait for a postmaster of an earlier run to get ready or to end.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Where the cluster goes when the service user cannot reach the wanted folder.
const SHARED_STATE_DIR: &str = "/var/lib/warp";

/// A running private cluster. Stop it with [`Cluster::stop`]; dropping it leaves the postmaster running, to be adopted.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    user: Option<ServiceUser>,
    adopted: bool,
}

/// Why there is no cluster.
#[derive(Debug)]
pub enum ClusterError {
    /// No `initdb` and `postgres` binaries: install Debian's `postgresql` package.
    NoBinaries,
    /// Started by root and no unprivileged user can be found or made.
    NoServiceUser,
    /// The database of this folder is there already, elsewhere, where a start by root has put it; this start would make an empty one.
    Elsewhere {
        /// The folder that was meant.
        meant: PathBuf,
        /// Where the cluster lies.
        home: PathBuf,
    },
    /// A file operation on the folder failed.
    Io(PathBuf, io::Error),
    /// One of PostgreSQL's programs failed; its last lines.
    Program(&'static str, String),
    /// The data folder was made by another major version of PostgreSQL.
    OtherVersion {
        /// Version of the folder.
        folder: String,
        /// Version of the binaries.
        binaries: String,
    },
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBinaries => {
                f.write_str("no PostgreSQL server programs found; install them with: apt-get install postgresql")
            }
            Self::NoServiceUser => f.write_str(
                "PostgreSQL refuses to run as root and no service user exists; make one with: useradd --system postgres",
            ),
            Self::Elsewhere { meant, home } => write!(
                f,
                "the database that belongs to {meant} lies in {home}: a start by root made it there; start by root again, or move it, as \
                 root and while nothing runs: mv {home}/data {meant}/data && chown -R USER {meant}/data && rm -r {home}",
                meant = meant.display(),
                home = home.display()
            ),
            Self::Io(path, e) => write!(f, "{}: {e}", path.display()),
            Self::Program(name, tail) => write!(f, "{name} failed: {tail}"),
            Self::OtherVersion { folder, binaries } => write!(
                f,
                "the data folder is of PostgreSQL {folder}, the installed programs are {binaries}"
            ),
        }
    }
}

impl std::error::Error for ClusterError {}

/// What the pid file and `/proc` say.
enum Postmaster {
    None,
    Busy,
    Ready,
}

/// Removes clusters that stand in for folders below the temporary directory that are gone: those of past test runs.
/// Clusters of any other folder are never touched, even when their folder cannot be seen at the moment.
fn forget_temporary(shared: &Path, temporary: &Path) {
    let Ok(entries) = fs::read_dir(shared) else { return };
    for home in entries.flatten().map(|e| e.path()) {
        let Ok(wanted) = fs::read_to_string(home.join(WANTED_FILE)) else { continue };
        let gone = Path::new(&wanted).starts_with(temporary) && !Path::new(&wanted).exists();
        // A postmaster that still runs removes its pid file when it ends.
        if gone && !home.join("data/postmaster.pid").exists() {
            let _ = fs::remove_dir_all(&home);
        }
    }
}

/// An unprivileged user of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ServiceUser {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// The newest installed server programs: `PATH`'s `pg_config` is not asked, Debian's folders and the usual prefixes are.
    pub fn binaries() -> Option<PathBuf> {
        let mut found: Vec<(u32, PathBuf)> = Vec::new();
        if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
            for entry in versions.flatten() {
                let major = entry.file_name().to_string_lossy().parse().unwrap_or(0);
                found.push((major, entry.path().join("bin")));
            }
        }
        for prefix in ["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"] {
            found.push((0, PathBuf::from(prefix)));
        }
        found.retain(|(_, bin)| ["initdb", "postgres", "pg_ctl"].iter().all(|p| bin.join(p).is_file()));
        found.sort();
        found.pop().map(|(_, bin)| bin)
    }

    /// Starts (after making, when it is new) or adopts the cluster of `dir`. Blocking; a first start takes seconds.
    ///
    /// When we are root and the service user cannot reach `dir`, the cluster lies under `/var/lib/warp` in a folder named
    /// after `dir`, so that one checkout finds its cluster again.
    pub fn start(dir: &Path) -> Result<Cluster, ClusterError> {
        let bin = Self::binaries().ok_or(ClusterError::NoBinaries)?;
        let user = if is_root() { Some(service_user().ok_or(ClusterError::NoServiceUser)?) } else { None };
        let dir = absolute(dir)?;
        let home = home_of(&dir, user.as_ref());
        if home.starts_with(SHARED_STATE_DIR) {
            forget_temporary(Path::new(SHARED_STATE_DIR), &std::env::temp_dir());
        }
        let lost = Self::stands_in(&dir).filter(|other| *other != home && other.join("data").exists());
        if let (Some(other), false) = (lost, home.join("data/PG_VERSION").exists()) {
            return Err(ClusterError::Elsewhere { meant: dir, home: other });
        }
        make_dir(&home, 0o755, None)?;
        if home != dir {
            let note = home.join(WANTED_FILE);
            fs::write(&note, dir.as_os_str().as_encoded_bytes()).map_err(|e| ClusterError::Io(note, e))?;
        }
        let data = home.join("data");
        let sockets = socket_dir(&home);
        make_dir(&data, 0o700, user.as_ref())?;
        make_dir(&sockets, 0o700, user.as_ref())?;
        let mut cluster = Cluster { bin, data, sockets, user, adopted: false };
        if cluster.settled() {
            cluster.adopted = true;
            return Ok(cluster);
        }
        if !cluster.data.join("PG_VERSION").is_file() {
            cluster.init()?;
        }
        cluster.check_version()?;
        cluster.write_settings()?;
        cluster.launch()?;
        Ok(cluster)
    }

    /// The folder in which the cluster of `dir` really lies: `dir` itself, or the one below `/var/lib/warp` that stands in for
    /// it. `None`: `dir` does not exist, or there is no user to run PostgreSQL as.
    pub fn home(dir: &Path) -> Option<PathBuf> {
        let user = if is_root() { Some(service_user()?) } else { None };
        Some(home_of(&dir.canonicalize().ok()?, user.as_ref()))
    }

    /// The folder below `/var/lib/warp` that stands in for `dir`: a start by root put the cluster there, because the user that PostgreSQL
    /// runs as cannot reach `dir`. `None`: there is none.
    pub fn stands_in(dir: &Path) -> Option<PathBuf> {
        let dir = resolved(dir).ok()?;
        let home = stand_in(&dir);
        let meant = fs::read(home.join(WANTED_FILE)).ok()?;
        (meant == dir.as_os_str().as_encoded_bytes()).then_some(home)
    }

    /// Where the data lie when that is not in `dir`, in which they were wanted: a sentence that says why, and the cure.
    pub fn elsewhere(&self, dir: &Path) -> Option<String> {
        let home = Self::stands_in(dir).filter(|home| self.data.starts_with(home))?;
        let uid = self.user.as_ref().map_or(0, |user| user.uid);
        Some(format!(
            "the database lies in {}, not in {}: this was started by root, PostgreSQL never runs as root, and the user that it runs as \
             (uid {uid}) cannot reach the folder; start WARP as a user of its own, or name a folder that this user can reach \
             (api.database_dir), and back up the folder that it lies in",
            home.display(),
            dir.display()
        ))
    }

    /// When `dir` does not exist: removes the cluster below `/var/lib/warp` that stood in for an earlier folder of this name, as
    /// the database would have gone with the folder had it lain within. For worlds that can be made again only: a folder that
    /// is merely not mounted would lose its database. True when one was removed.
    /// Errors: a postmaster of the old cluster does not end, its files cannot be removed. Blocking.
    pub fn forget_deleted(dir: &Path) -> Result<bool, ClusterError> {
        // Only root has clusters elsewhere.
        if dir.exists() || !is_root() {
            return Ok(false);
        }
        let dir = resolved(dir).map_err(|e| ClusterError::Io(dir.to_owned(), e))?;
        let home = stand_in(&dir);
        let meant = fs::read(home.join(WANTED_FILE)).unwrap_or_default();
        let (Some(bin), true) = (Self::binaries(), meant == dir.as_os_str().as_encoded_bytes()) else {
            return Ok(false);
        };
        let (data, sockets, user) = (home.join("data"), socket_dir(&home), service_user());
        let cluster = Cluster { bin, data, sockets, user, adopted: false };
        // One that kill -9 of its owner left behind. The start of another cluster may clear it away at the same moment
        // (`forget_temporary`): what is gone is as it should be.
        if cluster.settled()
            && let Err(error) = cluster.stop()
            && cluster.data.join("PG_VERSION").exists()
        {
            return Err(error);
        }
        match fs::remove_dir_all(&home) {
            Err(error) if home.exists() => Err(ClusterError::Io(home, error)),
            _ => Ok(true),
        }
    }

    /// True when a postmaster of an earlier run was found alive.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// The folder with the data files.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// How to reach `database` as `role`.
    pub fn options(&self, role: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.sockets)
            .port(5432)
            .username(role)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Ends the postmaster (fast shutdown: sessions are cut, data is flushed). Blocking.
    pub fn stop(&self) -> Result<(), ClusterError> {
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(&self.data).args(["-m", "fast", "-w", "-t", "30", "stop"]);
        run("pg_ctl", command)
    }

    /// Ends it as a crash would (tests of F-PG-01).
    pub fn stop_now(&self) -> Result<(), ClusterError> {
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(&self.data).args(["-m", "immediate", "-w", "-t", "30", "stop"]);
        run("pg_ctl", command)
    }

    /// Starts it again after [`Cluster::stop_now`].
    pub fn launch(&self) -> Result<(), ClusterError> {
        let log = self.data.join("server.log");
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(&self.data).arg("-l").arg(log).args(["-w", "-t", "60", "start"]);
        // Its own process group: Ctrl-C at our terminal must not end the database before we have flushed.
        command.process_group(0);
        run("pg_ctl", command)
    }

    /// Starts the postmaster again when it is gone; true when it had to. Blocking.
    /// Errors: it does not start, for example because sessions of the dead one still end: try again.
    pub fn revive(&self) -> Result<bool, ClusterError> {
        if !matches!(self.postmaster(), Postmaster::None) {
            return Ok(false);
        }
        self.launch().map(|()| true)
    }

    fn init(&self) -> Result<(), ClusterError> {
        let mut command = self.program("initdb");
        command.arg("-D").arg(&self.data).args([
            "--username=warp_super",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]);
        run("initdb", command)
    }

    fn check_version(&self) -> Result<(), ClusterError> {
        let path = self.data.join("PG_VERSION");
        let folder = fs::read_to_string(&path).map_err(|e| ClusterError::Io(path, e))?.trim().to_owned();
        let out = self.program("postgres").arg("--version").output();
        let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        let binaries = text
            .split_whitespace()
            .find(|w| w.starts_with(|c: char| c.is_ascii_digit()))
            .and_then(|w| w.split('.').next())
            .unwrap_or("")
            .to_owned();
        if folder == binaries { Ok(()) } else { Err(ClusterError::OtherVersion { folder, binaries }) }
    }

    /// Settings for one small machine beside the data plane; durability stays on (fsync and synchronous_commit default).
    fn write_settings(&self) -> Result<(), ClusterError> {
        let sockets = self.sockets.display().to_string().replace('\'', "''");
        let text = format!(
            "listen_addresses = ''\nport = 5432\nunix_socket_directories = '{sockets}'\nunix_socket_permissions = 0700\n\
             max_connections = 40\nshared_buffers = 32MB\nwork_mem = 4MB\nmaintenance_work_mem = 32MB\n\
             max_wal_size = 256MB\nmin_wal_size = 32MB\nmax_worker_processes = 2\nmax_parallel_workers_per_gather = 0\n\
             autovacuum_max_workers = 1\nhuge_pages = off\nlog_min_messages = warning\nlog_destination = 'stderr'\n\
             logging_collector = off\njit = off\ndatestyle = 'iso'\ntimezone = 'UTC'\n"
        );
        let write = |name: &str, text: &str| {
            let path = self.data.join(name);
            fs::write(&path, text)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
                .and_then(|()| match &self.user {
                    Some(u) => chown(&path, Some(u.uid), Some(u.gid)),
                    None => Ok(()),
                })
                .map_err(|e| ClusterError::Io(path, e))
        };
        write("postgresql.conf", &text)?;
        write("pg_hba.conf", "# The folder of the socket is the wall: mode 0700.\nlocal all all trust\n")
    }

    /// State of a postmaster of this data folder. The pid file may be of a past life whose pid another process has now:
    /// only a process whose working directory is this folder counts.
    fn postmaster(&self) -> Postmaster {
        let Ok(text) = fs::read_to_string(self.data.join("postmaster.pid")) else { return Postmaster::None };
        let Some(pid) = text.lines().next().and_then(|l| l.trim().parse::<u32>().ok()) else {
            return Postmaster::None;
        };
        let same_folder = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == self.data);
        if !same_folder {
            return Postmaster::None;
        }
        let ready = text.lines().nth(7).is_some_and(|l| l.trim() == "ready");
        if ready && self.sockets.join(SOCKET_NAME).exists() { Postmaster::Ready } else { Postmaster::Busy }
    }

    /// Waits while a postmaster of an earlier run starts, recovers or stops; true when it can be adopted.
    fn settled(&self) -> bool {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            match self.postmaster() {
                Postmaster::Ready => return true,
                Postmaster::None => return false,
                Postmaster::Busy if Instant::now() >= deadline => return false,
                Postmaster::Busy => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .current_dir("/");
        if let Some(u) = &self.user {
            command.uid(u.uid).gid(u.gid);
        }
        command
    }
}

/// Runs a program to its end; its output goes to a file, because a daemon that inherits a pipe would hold it open.
fn run(name: &'static str, mut command: Command) -> Result<(), ClusterError> {
    let failed = |e: io::Error| ClusterError::Program(name, e.to_string());
    let path = std::env::temp_dir().join(format!("warp-{name}-{}-{}.out", std::process::id(), unique()));
    let out = fs::OpenOptions::new().create_new(true).read(true).write(true).open(&path).map_err(failed)?;
    let both = out.try_clone().map_err(failed)?;
    let status = command.stdout(out).stderr(both).status();
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(&path);
    match status {
        Ok(s) if s.success() => Ok(()),
        Ok(_) => {
            let lines: Vec<&str> = text.lines().rev().take(4).collect();
            Err(ClusterError::Program(name, lines.into_iter().rev().collect::<Vec<_>>().join(" | ")))
        }
        Err(e) => Err(failed(e)),
    }
}

fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Root by the owner of our own entry in `/proc`: no system call wrapper is needed.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// Debian's `postgres`, else `warp`, else one made by `useradd`, else `nobody`.
fn service_user() -> Option<ServiceUser> {
    let known = || ["postgres", "warp"].iter().find_map(|name| passwd_user(name));
    known().or_else(|| {
        let made = Command::new("useradd")
            .args(["--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "warp"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match made {
            Ok(s) if s.success() => known(),
            _ => passwd_user("nobody"),
        }
    })
}

fn passwd_user(name: &str) -> Option<ServiceUser> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(ServiceUser { uid, gid })
    })
}

/// True when every existing ancestor lets the user pass.
fn reachable(dir: &Path, user: &ServiceUser) -> bool {
    dir.ancestors().skip(1).filter_map(|a| fs::metadata(a).ok()).all(|m| {
        let shift = if m.uid() == user.uid {
            6
        } else if m.gid() == user.gid {
            3
        } else {
            0
        };
        (m.mode() >> shift) & 1 == 1
    }) && fs::metadata(dir).map_or(true, |m| m.uid() == user.uid || m.mode() & 1 == 1)
}

fn absolute(dir: &Path) -> Result<PathBuf, ClusterError> {
    fs::create_dir_all(dir).map_err(|e| ClusterError::Io(dir.to_owned(), e))?;
    dir.canonicalize().map_err(|e| ClusterError::Io(dir.to_owned(), e))
}

/// Where the cluster that is wanted in `dir` lies (see [`Cluster::start`]).
fn home_of(dir: &Path, user: Option<&ServiceUser>) -> PathBuf {
    match user {
        Some(u) if !reachable(dir, u) => stand_in(dir),
        _ => dir.to_owned(),
    }
}

fn stand_in(dir: &Path) -> PathBuf {
    Path::new(SHARED_STATE_DIR).join(format!("pg-{}", short_hash(dir)))
}

/// What [`absolute`] would give once the folder were made.
fn resolved(dir: &Path) -> io::Result<PathBuf> {
    let whole = std::path::absolute(dir)?;
    for there in whole.ancestors() {
        if let (Ok(real), Ok(rest)) = (there.canonicalize(), whole.strip_prefix(there)) {
            // An empty rest would leave a slash behind, and another hash.
            return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) });
        }
    }
    Ok(whole)
}

/// In the cluster's folder when the path is short enough, else in a folder of its own under `/tmp`.
fn socket_dir(home: &Path) -> PathBuf {
    let near = home.join("s");
    if near.as_os_str().len() + 1 + SOCKET_NAME.len() <= SOCKET_PATH_BYTES {
        near
    } else {
        Path::new("/tmp").join(format!("warp-pg-{}", short_hash(home)))
    }
}

fn short_hash(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// Makes a folder and its parents; gives it to `owner`. An existing folder of somebody else is refused by PostgreSQL.
fn make_dir(path: &Path, mode: u32, owner: Option<&ServiceUser>) -> Result<(), ClusterError> {
    let fail = |e| ClusterError::Io(path.to_owned(), e);
    let new = !path.exists();
    fs::create_dir_all(path).map_err(fail)?;
    if new || owner.is_some() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(fail)?;
    }
    match owner {
        Some(u) => chown(path, Some(u.uid), Some(u.gid)).map_err(fail),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_paths_fit_the_kernel() {
        let deep = PathBuf::from(format!("/{}", "d".repeat(120)));
        for home in [Path::new("/srv/warp"), deep.as_path()] {
            assert!(socket_dir(home).join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_BYTES);
        }
    }

    #[test]
    fn folders_of_mode_0700_are_not_reachable_for_others() {
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let user = ServiceUser { uid: 65_000, gid: 65_000 };
        assert!(!reachable(&top.path().join("a/b"), &user));
        assert!(reachable(Path::new("/usr/warp"), &user));
        // A closed folder is reachable for its owner, and for nobody else.
        let owner = fs::metadata(top.path()).unwrap().uid();
        assert!(reachable(top.path(), &ServiceUser { uid: owner, gid: 65_000 }));
        assert!(!reachable(top.path(), &user));
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(reachable(top.path(), &user));
    }

    #[test]
    fn only_clusters_of_vanished_temporary_folders_are_forgotten() {
        let (shared, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kept = temporary.path().join("kept");
        fs::create_dir(&kept).unwrap();
        let of = |name: &str, wanted: &Path| {
            let home = shared.path().join(name);
            fs::create_dir(&home).unwrap();
            fs::write(home.join(WANTED_FILE), wanted.as_os_str().as_encoded_bytes()).unwrap();
            home
        };
        let gone = of("pg-1", &temporary.path().join("gone"));
        let still = of("pg-2", &kept);
        let elsewhere = of("pg-3", Path::new("/srv/not-mounted/warp"));
        let running = of("pg-4", &temporary.path().join("gone too"));
        fs::create_dir(running.join("data")).unwrap();
        fs::write(running.join("data/postmaster.pid"), "1").unwrap();
        forget_temporary(shared.path(), temporary.path());
        assert_eq!([&gone, &still, &elsewhere, &running].map(|h| h.exists()), [false, true, true, true]);
    }

    /// Whoever deletes a world deletes its database, wherever it lies, and also when its owner died before it.
    #[test]
    fn the_cluster_of_a_deleted_folder_is_forgotten() {
        if Cluster::binaries().is_none() || !is_root() {
            println!("skipped: no PostgreSQL server programs, or not root");
            return;
        }
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let world = top.path().join("made/later");
        let dir = world.join("pg");
        assert!(!Cluster::forget_deleted(&dir).unwrap(), "there was none");
        let left = Cluster::start(&dir).unwrap();
        let home = Cluster::home(&dir).unwrap();
        assert!(left.data_dir().starts_with(&home) && home.starts_with(SHARED_STATE_DIR));
        // It says where the data lie and what to do; and nobody begins anew in the folder beside them once that can be reached.
        let told = left.elsewhere(&dir).unwrap();
        for part in [home.to_str().unwrap(), dir.to_str().unwrap(), "started by root", "api.database_dir"] {
            assert!(told.contains(part), "{told}");
        }
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let anew = Cluster::start(&dir).unwrap_err();
        assert!(matches!(&anew, ClusterError::Elsewhere { home: other, .. } if *other == home), "{anew}");
        assert!(!dir.join("data").exists() && anew.to_string().contains("mv "), "{anew}");
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!Cluster::forget_deleted(&dir).unwrap(), "its folder is there");
        assert!(matches!(left.postmaster(), Postmaster::Ready));
        fs::remove_dir_all(&world).unwrap();
        assert!(Cluster::forget_deleted(&dir).unwrap());
        assert!(!home.exists() && !world.exists());
        assert!(matches!(left.postmaster(), Postmaster::None));
    }

    /// One cluster through its life: made, left behind as by kill −9, adopted, stopped, started again. Its folder is one
    /// that the service user cannot reach when this runs as root.
    #[test]
    fn f_proc_04_a_live_postmaster_is_adopted() {
        if Cluster::binaries().is_none() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true and no PostgreSQL programs");
            println!("skipped: no PostgreSQL server programs");
            return;
        }
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let dir = top.path().join("pg");
        let first = Cluster::start(&dir).unwrap();
        assert!(!first.adopted());
        assert_eq!(first.data_dir().starts_with(SHARED_STATE_DIR), is_root());
        assert_ne!(fs::metadata(first.data_dir()).unwrap().uid(), 0);
        let pid = || {
            fs::read_to_string(first.data_dir().join("postmaster.pid"))
                .unwrap()
                .lines()
                .next()
                .unwrap()
                .to_owned()
        };
        let before = pid();
        let second = Cluster::start(&dir).unwrap();
        assert!(second.adopted());
        assert_eq!(pid(), before);
        second.stop().unwrap();
        assert!(!first.data_dir().join("postmaster.pid").exists());
        // A pid file of a past life: the pid is alive, but it is ours and no postmaster.
        let text = format!("{}\n{}\n", std::process::id(), first.data_dir().display());
        fs::write(first.data_dir().join("postmaster.pid"), text).unwrap();
        let third = Cluster::start(&dir).unwrap();
        assert!(!third.adopted());
        third.stop().unwrap();
        let home = first.data_dir().parent().unwrap();
        fs::remove_dir_all(home).unwrap();
        let _ = fs::remove_dir(SHARED_STATE_DIR);
    }
}

//! Tells the program which source it was built from and by which compiler, for `warp_build_info` and `warp version`, and embeds the
//! consoles that `scripts/ui build` left in `ui/dist`. It builds none: what is not there is not embedded (`WARP_UI=off`: never).
//!
//! The revision is what `WARP_REVISION` says, else the commit of the checkout, read from the files of git: a build needs no git.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=WARP_REVISION");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().ok().filter(|out| out.status.success());
    let text = said.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    // rustc 1.94.0 (…)
    let version = text.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo:rustc-env=WARP_RUSTC={version}");
    let told = std::env::var("WARP_REVISION").ok().filter(|r| !r.is_empty());
    let revision = told.or_else(checked_out).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=WARP_REVISION={revision}");
    consoles();
}

/// Writes the table of the consoles' files for `src/consoles.rs`.
fn consoles() {
    println!("cargo:rerun-if-env-changed=WARP_UI");
    let var = |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_default());
    let (dist, out) = (var("CARGO_MANIFEST_DIR").join("ui/dist"), var("OUT_DIR").join("consoles.rs"));
    if dist.is_dir() {
        println!("cargo:rerun-if-changed={}", dist.display());
    }
    let off = std::env::var("WARP_UI").is_ok_and(|said| said == "off");
    let table = if off { None } else { std::fs::read_to_string(dist.join("table.txt")).ok() };
    let files: String = table.iter().flat_map(|t| t.lines()).filter_map(|line| file(&dist, line)).collect();
    let text = format!("/// The files of both portals.\nstatic FILES: &[File] = &[{files}];\n");
    if let Err(why) = std::fs::write(&out, text) {
        println!("cargo:warning=the consoles are not embedded: {}: {why}", out.display());
    }
}

/// A line of the table as a value of Rust; a file that is gone is left out.
fn file(dist: &Path, line: &str) -> Option<String> {
    let mut parts = line.split('\t');
    let (path, kind, tag, lives) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let at = |ending: &str| Some(dist.join(format!("{path}{ending}"))).filter(|p| p.is_file());
    let (plain, gzip, brotli) = (at("")?, at(".gz")?, at(".br")?);
    let hashed = lives == "long";
    Some(format!(
        "File {{ path: {path:?}, content_type: {kind:?}, tag: {tag:?}, hashed: {hashed}, plain: include_bytes!({plain:?}), \
         gzip: include_bytes!({gzip:?}), brotli: include_bytes!({brotli:?}) }},"
    ))
}

/// The first twelve digits of the commit that is checked out here.
fn checked_out() -> Option<String> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let git = git_folder(&root.join(".git"))?;
    // Of a further worktree, branches are in the folder that all share.
    let shared = std::fs::read_to_string(git.join("commondir")).map(|dir| git.join(dir.trim()));
    let shared = shared.unwrap_or_else(|_| git.clone());
    let head = read(&git.join("HEAD"))?;
    let commit = match head.strip_prefix("ref: ") {
        None => head,
        Some(branch) => read(&shared.join(branch)).or_else(|| {
            let packed = read(&shared.join("packed-refs"))?;
            let line = packed.lines().find(|line| line.split(' ').nth(1) == Some(branch))?;
            Some(line.split(' ').next()?.to_owned())
        })?,
    };
    let is_commit = commit.len() >= 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    is_commit.then(|| commit.chars().take(12).collect())
}

/// `.git` itself, or the folder that it names in a further worktree.
fn git_folder(at: &Path) -> Option<PathBuf> {
    if at.is_dir() {
        return Some(at.to_owned());
    }
    let named = std::fs::read_to_string(at).ok()?;
    let folder = PathBuf::from(named.trim().strip_prefix("gitdir: ")?);
    Some(if folder.is_absolute() { folder } else { at.parent()?.join(folder) })
}

/// The text of a file that, when it changes, makes the build look again.
fn read(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    println!("cargo:rerun-if-changed={}", path.display());
    Some(text.trim().to_owned())
}

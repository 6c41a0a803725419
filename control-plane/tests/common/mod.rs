//! One private cluster per test binary, one database per test. A guardian process ends the cluster when the test binary
//! ends, however it ends. Without PostgreSQL programs the tests skip with a printed line; under CI=true they fail.
#![allow(dead_code)]

use std::future::Future;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use warp_control_plane::store::Store;
use warp_control_plane::store::cluster::Cluster;

static CLUSTER: OnceLock<Option<Arc<Cluster>>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The cluster of this test binary, or `None` with a printed line.
pub fn cluster() -> Option<Arc<Cluster>> {
    CLUSTER
        .get_or_init(|| {
            if Cluster::binaries().is_none() {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true and no PostgreSQL programs");
                println!("skipped: no PostgreSQL server programs (apt-get install postgresql)");
                return None;
            }
            let dir = std::env::temp_dir().join(format!("warp-test-pg-{}", std::process::id()));
            let cluster = Cluster::start(&dir).expect("private cluster");
            guard(&cluster, &dir);
            Some(Arc::new(cluster))
        })
        .clone()
}

/// Runs a test on a database of its own.
pub fn with_database<F, Fut>(test: F)
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = ()>,
{
    let Some(cluster) = cluster() else { return };
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let store = Store::on_cluster(cluster, &name).await.unwrap_or_else(|e| panic!("database: {e}"));
        test(store).await;
    });
}

/// A shell that waits for the end of our pipe, then stops the postmaster and removes its folder.
fn guard(cluster: &Cluster, dir: &PathBuf) {
    let data = cluster.data_dir();
    let script = "cat >/dev/null; kill -QUIT \"$(head -1 \"$0/postmaster.pid\")\" 2>/dev/null; \
                  while [ -e \"$0/postmaster.pid\" ]; do sleep 0.1; done; rm -rf \"$1\" \"$0\"";
    let child = Command::new("sh")
        .args(["-c", script])
        .arg(data)
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("guardian");
    // The pipe stays open until this process ends.
    std::mem::forget(child);
}

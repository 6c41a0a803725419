//! Certificates that are read again when their files have changed, on a thread of its own: no shard touches a disk for it.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use warp_net::tls::Tls;

/// Between two looks at the files.
const LOOKS: Duration = Duration::from_secs(5);

/// Looks at the files until what it gives is dropped. Connections that are open go on as they are; a change that cannot be used
/// leaves the old certificate in place, with a warning. Errors: no thread.
pub(crate) fn watch(tls: Arc<Tls>) -> io::Result<mpsc::Sender<()>> {
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::Builder::new().name("sip-tls".into()).spawn(move || {
        while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOKS) {
            match tls.reload() {
                Ok(true) => tracing::info!("a new certificate is in use"),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the changed certificate cannot be used; the old one stays")
                }
            }
        }
    })?;
    Ok(stop)
}

//! The ops listener on a thread of its own: scrapes never wait for the control plane, nor it for them.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use warp_telemetry::{Health, Registry, http};

use crate::cli::Failure;

/// A running ops listener. Dropping it stops it.
pub struct OpsThread {
    addr: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl OpsThread {
    /// Starts it at `at`; does nothing for `None`. Errors: the address cannot be bound.
    pub fn start(at: Option<SocketAddr>, registry: &Registry, health: &Health) -> Result<Self, Failure> {
        let Some(at) = at else {
            return Ok(Self { addr: None, stop: None, thread: None });
        };
        let listener = TcpListener::bind(at).map_err(|e| Failure::new(format!("ops.listen {at}: {e}")))?;
        Self::serve(listener, registry, health).map_err(|e| Failure::new(format!("ops.listen {at}: {e}")))
    }

    fn serve(listener: TcpListener, registry: &Registry, health: &Health) -> std::io::Result<Self> {
        let addr = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (registry, health) = (registry.clone(), health.clone());
        let thread = std::thread::Builder::new().name("ops".to_owned()).spawn(move || {
            let until = async {
                let _ = stopped.await;
            };
            // The select, not axum's graceful end: an idle keep-alive of a scraper must not hold the process.
            runtime.block_on(async {
                tokio::select! {
                    done = http::serve(listener, registry, health, std::future::pending()) => {
                        if let Err(error) = done {
                            tracing::error!(%error, "ops listener ended");
                        }
                    }
                    () = until => {}
                }
            });
        })?;
        Ok(Self { addr: Some(addr), stop: Some(stop), thread: Some(thread) })
    }

    /// The address that it listens on; `None` when it does not.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }
}

impl Drop for OpsThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

//! Signals as values: SIGTERM and SIGINT stop (the first drains, the second ends at once), SIGHUP reloads, SIGUSR1 dumps.

use std::io;
use std::sync::mpsc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// What an operator, or the file watch, asks of a running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessRequest {
    /// Stop; asked again: at once.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Write the state to the log.
    Dump,
}

/// Starts the listening thread. Errors: the handlers cannot be set.
pub fn listen() -> io::Result<(mpsc::Sender<ProcessRequest>, mpsc::Receiver<ProcessRequest>)> {
    let (tx, rx) = mpsc::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])?;
    let to = tx.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let ask = match signal {
                SIGHUP => ProcessRequest::Reload,
                SIGUSR1 => ProcessRequest::Dump,
                _ => ProcessRequest::Stop,
            };
            if to.send(ask).is_err() {
                return;
            }
        }
    })?;
    Ok((tx, rx))
}

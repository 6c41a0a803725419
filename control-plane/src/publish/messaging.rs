//! Rows to what SMSCs decide by (RFC 0037): read whole when their count of changes is another one, and swapped. A row that cannot be read is
//! left out and named in the log; it never stops the others.

use std::sync::Arc;

use tokio::sync::Mutex;
use warp_feed::Publisher;
use warp_policy::messaging::Messaging;

use crate::App;
use crate::store::{Scope, StoreError, messaging as rows};

/// Publishes to the SMSC of this process; one publication at a time.
pub struct MessagingFeed {
    publisher: Publisher<Messaging>,
    publishing: Mutex<()>,
}

impl MessagingFeed {
    /// Publishes to the readers of this channel.
    pub fn new(publisher: Publisher<Messaging>) -> Self {
        Self { publisher, publishing: Mutex::new(()) }
    }

    /// What is in force.
    pub fn latest(&self) -> Arc<Messaging> {
        self.publisher.subscriber().latest()
    }

    /// Reads the rows and publishes them, unless nothing has changed.
    pub async fn publish_now(&self, app: &App) -> Result<(), StoreError> {
        let _one = self.publishing.lock().await;
        let mut tx = app.store.begin_consistent(Scope::Operator("publish")).await?;
        if rows::version(&mut tx).await? == self.latest().version {
            return Ok(());
        }
        let mut faults = Vec::new();
        let messaging = rows::read(&mut tx, app.store.seal(), &self.latest(), &mut faults).await?;
        drop(tx);
        for fault in faults {
            tracing::error!(row = fault, "a row of messaging is left out");
        }
        let (version, accounts, binds) = (messaging.version, messaging.accounts.len(), messaging.binds.len());
        self.publisher.publish(messaging);
        tracing::info!(version, accounts, binds, "messaging published");
        Ok(())
    }
}

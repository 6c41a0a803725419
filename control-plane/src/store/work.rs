//! A transaction that is kept open over several use cases: what they write and what was answered become durable together,
//! or not at all (Idempotency-Key, T-API-10).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sqlx::{Postgres, Transaction};
use warp_model::sync::lock;

use super::{Scope, StoreError, Tx, sql};

/// The open transaction. A use case takes it by `begin` and gives it back when its [`Tx`] is committed or dropped.
#[derive(Debug)]
pub struct Work {
    scope: Scope,
    open: Mutex<Option<Transaction<'static, Postgres>>>,
    changed: AtomicBool,
}

impl Work {
    /// Over a transaction; what is done from here on can be undone alone ([`Work::undo`]).
    pub async fn over(mut tx: Tx) -> Result<Arc<Work>, StoreError> {
        sqlx::query(sql::SAVEPOINT).execute(tx.db()).await?;
        let (inner, scope) = tx.into_parts();
        Ok(Arc::new(Work { scope, open: Mutex::new(inner), changed: AtomicBool::new(false) }))
    }

    /// The transaction, for one use case at a time.
    pub fn begin(self: &Arc<Self>, scope: Scope) -> Result<Tx, StoreError> {
        if scope != self.scope {
            return Err(StoreError::Internal("a use case in another scope than its transaction".into()));
        }
        let taken = lock(&self.open).take();
        let inner = taken.ok_or_else(|| StoreError::Internal("a use case began twice".into()))?;
        Ok(Tx::lent(inner, scope, self.clone()))
    }

    /// A use case changed what calls depend on: known to others once the work is durable.
    pub fn note_change(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// Undoes what the use cases wrote; the transaction goes on.
    pub async fn undo(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut tx = self.begin(self.scope)?;
        sqlx::query(sql::ROLLBACK_TO_SAVEPOINT).execute(tx.db()).await?;
        self.changed.store(false, Ordering::Release);
        Ok(())
    }

    /// Makes all of it durable; true when calls depend on it.
    pub async fn finish(self: &Arc<Self>) -> Result<bool, StoreError> {
        let taken = lock(&self.open).take();
        let inner = taken.ok_or_else(|| StoreError::Internal("a use case still works".into()))?;
        inner.commit().await?;
        Ok(self.changed.load(Ordering::Acquire))
    }

    /// Ends the transaction with nothing of it done; awaited, so that its locks are free when the answer goes out.
    pub async fn abandon(self: &Arc<Self>) -> Result<(), StoreError> {
        let taken = lock(&self.open).take();
        if let Some(inner) = taken {
            inner.rollback().await?;
        }
        Ok(())
    }

    pub(super) fn give_back(&self, inner: Transaction<'static, Postgres>) {
        *lock(&self.open) = Some(inner);
    }
}

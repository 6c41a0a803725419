//! Published snapshots are kept: the manifest by snapshot id, its sections by content address. With them the decision of a
//! CDR can be repeated ([`load`], then `warp_policy::replay`).

use std::sync::Arc;

use sqlx::Row;
use warp_model::{DeckId, Secret};
use warp_policy::{DirectoryBuilder, LcrIndex, NumberPlan, RateList, Snapshot, SnapshotId};

use super::PublishError;
use super::compile::{Compiled, Manifest, load_deck};
use crate::store::seal::section_place;
use crate::store::{Scope, Store, Tx, sql};

/// Keeps a snapshot. Doing it again changes nothing.
pub async fn keep(store: &Store, compiled: &Compiled) -> Result<(), PublishError> {
    let snapshot = &compiled.snapshot;
    let sections = [&compiled.manifest.directory, &compiled.manifest.number_plan];
    let mut tx = store.begin(Scope::Operator("publish")).await?;
    tx.allow_long_statements().await?;
    let known = sqlx::query(sql::SECTION_KNOWN).bind(sections.map(String::as_str)).fetch_all(tx.db()).await?;
    let known: Vec<String> = known.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?;
    if !known.contains(&compiled.manifest.directory) {
        let json = serde_json::to_vec(snapshot.directory.rows());
        let json = json.map_err(|e| PublishError::Compile(e.to_string()))?;
        // It holds vendors' passwords and customers' digests, because nodes need them.
        let json = Secret::new(json);
        let sealed = store.seal().seal(&section_place(&compiled.manifest.directory), json.reveal());
        let sealed = sealed.map_err(|e| PublishError::Compile(e.to_string()))?;
        insert(&mut tx, &compiled.manifest.directory, "directory", &sealed).await?;
    }
    if !known.contains(&compiled.manifest.number_plan) {
        let text = snapshot.number_plan.text().as_bytes().to_vec();
        insert(&mut tx, &compiled.manifest.number_plan, "number_plan", &text).await?;
    }
    let manifest =
        serde_json::to_value(&compiled.manifest).map_err(|e| PublishError::Compile(e.to_string()))?;
    tx.run(sqlx::query(sql::SNAPSHOT_INSERT).bind(snapshot.id.to_string()).bind(manifest)).await?;
    tx.commit().await?;
    Ok(())
}

async fn insert(tx: &mut Tx, sha256: &str, kind: &str, content: &[u8]) -> Result<(), PublishError> {
    tx.run(sqlx::query(sql::SECTION_INSERT).bind(sha256).bind(kind).bind(content)).await?;
    Ok(())
}

/// Makes a kept snapshot again. `None`: it was never published here, or a part of it is gone.
pub async fn load(store: &Store, id: SnapshotId) -> Result<Option<Snapshot>, PublishError> {
    let mut tx = store.begin_consistent(Scope::Operator("replay")).await?;
    tx.allow_long_statements().await?;
    let row = sqlx::query(sql::SNAPSHOT_GET).bind(id.to_string()).fetch_optional(tx.db()).await?;
    let Some(row) = row else { return Ok(None) };
    let manifest: serde_json::Value = row.try_get(0)?;
    let manifest: Manifest = serde_json::from_value(manifest)
        .map_err(|e| PublishError::Compile(format!("manifest of {id}: {e}")))?;
    let Some(directory) = section(&mut tx, &manifest.directory).await? else { return Ok(None) };
    let directory = store
        .seal()
        .unseal(&section_place(&manifest.directory), &directory)
        .map_err(|e| PublishError::Compile(format!("directory of {id}: {e}")))?;
    let Some(plan) = section(&mut tx, &manifest.number_plan).await? else { return Ok(None) };
    let (Some(buy), Some(sell)) =
        (lists(&mut tx, &manifest.buy).await?, lists(&mut tx, &manifest.sell).await?)
    else {
        return Ok(None);
    };
    drop(tx);
    let at = manifest.index_at;
    let made = tokio::task::spawn_blocking(move || -> Result<Snapshot, String> {
        let rows: DirectoryBuilder = serde_json::from_slice(directory.reveal()).map_err(|e| e.to_string())?;
        let directory = rows.build().map_err(|e| format!("{e:?}"))?;
        let plan = String::from_utf8(plan).map_err(|e| e.to_string())?;
        let plan = NumberPlan::parse(&plan).map_err(|e| e.message)?;
        let lcr = LcrIndex::build(&buy, &sell, &plan, at).map_err(|e| e.to_string())?;
        Ok(Snapshot::new(Arc::new(directory), Arc::new(lcr), Arc::new(plan)))
    });
    let snapshot =
        made.await.map_err(|e| PublishError::Compile(e.to_string()))?.map_err(PublishError::Compile)?;
    if snapshot.id == id {
        Ok(Some(snapshot))
    } else {
        Err(PublishError::Compile(format!("snapshot {id} came out as {}", snapshot.id)))
    }
}

async fn section(tx: &mut Tx, sha256: &str) -> Result<Option<Vec<u8>>, PublishError> {
    let row = sqlx::query(sql::SECTION_GET).bind(sha256).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

async fn lists(tx: &mut Tx, lists: &[Vec<(DeckId, i32)>]) -> Result<Option<Vec<RateList>>, PublishError> {
    let mut out = Vec::with_capacity(lists.len());
    for ids in lists {
        let mut list = RateList::default();
        for (id, number) in ids {
            match load_deck(tx, *id, *number).await? {
                Some(deck) => list.decks.push(Arc::new(deck)),
                None => return Ok(None),
            }
        }
        out.push(list);
    }
    Ok(Some(out))
}

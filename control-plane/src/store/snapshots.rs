//! Rows of kept snapshots: manifests by snapshot id, sections and deck versions by content.

use std::collections::HashMap;

use sqlx::Row;

use super::sql::statements;
use super::{StoreError, Tx};

/// Which of these sections are kept.
pub async fn known(tx: &mut Tx, sha256: &[&str]) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(SECTION_KNOWN).bind(sha256).fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?)
}

/// Keeps a section, once.
pub async fn keep_section(tx: &mut Tx, sha256: &str, kind: &str, content: &[u8]) -> Result<(), StoreError> {
    tx.run(sqlx::query(SECTION_INSERT).bind(sha256).bind(kind).bind(content)).await?;
    Ok(())
}

/// Keeps a manifest, once.
pub async fn keep(tx: &mut Tx, id: &str, manifest: serde_json::Value) -> Result<(), StoreError> {
    tx.run(sqlx::query(SNAPSHOT_INSERT).bind(id).bind(manifest)).await?;
    Ok(())
}

/// The manifest of a snapshot.
pub async fn manifest(tx: &mut Tx, id: &str) -> Result<Option<serde_json::Value>, StoreError> {
    let row = sqlx::query(SNAPSHOT_GET).bind(id).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// The content of a section, by its hash; `None` when it is not kept.
pub async fn section(tx: &mut Tx, sha256: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query(SECTION_GET).bind(sha256).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// The content of these sections, as far as they are kept.
pub async fn sections(tx: &mut Tx, sha256: &[&str]) -> Result<HashMap<String, Vec<u8>>, StoreError> {
    let rows = sqlx::query(SECTIONS_GET).bind(sha256).fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?)
}

statements! {
    /// A published snapshot's manifest.
    SNAPSHOT_INSERT = "INSERT INTO snapshots (id, manifest) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    /// Manifest of a snapshot.
    SNAPSHOT_GET = "SELECT manifest FROM snapshots WHERE id = $1";
    /// A section, once.
    SECTION_INSERT = "INSERT INTO snapshot_sections (sha256, kind, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    /// Which of these sections are stored. They are as good as new: nobody deletes them before the manifest that names them stands.
    SECTION_KNOWN = "UPDATE snapshot_sections SET created_at = greatest(created_at, now() - interval '1 day')
        WHERE sha256 = ANY($1) RETURNING sha256";
    /// Sections by content.
    SECTIONS_GET = "SELECT sha256, content FROM snapshot_sections WHERE sha256 = ANY($1)";
    /// A section.
    SECTION_GET = "SELECT content FROM snapshot_sections WHERE sha256 = $1";
}

//! Rows of what nodes ask one another (RFC 0041): processes that answer, open questions, answers.

use sqlx::Row;

use super::sql::statements;
use super::types::Json;
use super::{StoreError, Tx};

crate::row! {
    /// A process that answers questions.
    pub struct ProcessRow {
        process: String,
        node: String,
        /// It has said so lately. Else it may be gone.
        here: bool,
    }
}

crate::row! {
    /// A question that this process has not answered yet.
    pub struct QuestionRow {
        id: String,
        question: Json,
    }
}

crate::row! {
    /// What a process says.
    pub struct AnswerRow {
        process: String,
        answer: Json,
    }
}

/// This process is there; questions and processes that are long over go.
pub async fn here(tx: &mut Tx, process: &str, node: &str) -> Result<(), StoreError> {
    tx.run(sqlx::query(PROCESS_HERE).bind(process).bind(node)).await?;
    tx.run(sqlx::query(QUESTIONS_EXPIRE)).await?;
    tx.run(sqlx::query(PROCESSES_EXPIRE)).await?;
    Ok(())
}

/// It ends and is asked nothing more.
pub async fn gone(tx: &mut Tx, process: &str) -> Result<(), StoreError> {
    tx.run(sqlx::query(PROCESS_GONE).bind(process)).await?;
    Ok(())
}

/// The other processes that answer, and those that did until lately.
pub async fn others(tx: &mut Tx, process: &str) -> Result<Vec<ProcessRow>, StoreError> {
    tx.all(sqlx::query(PROCESSES).bind(process)).await
}

/// Asks; false: so many questions are open that no more are taken.
pub async fn ask(
    tx: &mut Tx,
    id: &str,
    asker: &str,
    question: &serde_json::Value,
    most: i64,
) -> Result<bool, StoreError> {
    Ok(tx.run(sqlx::query(QUESTION_ASK).bind(id).bind(asker).bind(question).bind(most)).await? > 0)
}

/// Questions that wait for this process.
pub async fn open(tx: &mut Tx, process: &str) -> Result<Vec<QuestionRow>, StoreError> {
    tx.all(sqlx::query(QUESTIONS_OPEN).bind(process)).await
}

/// Answers one; nobody may be waiting any more.
pub async fn answer(
    tx: &mut Tx,
    id: &str,
    process: &str,
    answer: &serde_json::Value,
) -> Result<(), StoreError> {
    tx.run(sqlx::query(QUESTION_ANSWER).bind(id).bind(process).bind(answer)).await?;
    Ok(())
}

/// How many have answered.
pub async fn count(tx: &mut Tx, id: &str) -> Result<i64, StoreError> {
    Ok(sqlx::query(ANSWERS_COUNT).bind(id).fetch_one(tx.db()).await?.try_get(0)?)
}

/// What was answered; the question is over.
pub async fn take(tx: &mut Tx, id: &str) -> Result<Vec<AnswerRow>, StoreError> {
    let answers = tx.all(sqlx::query(ANSWERS).bind(id)).await?;
    tx.run(sqlx::query(QUESTION_OVER).bind(id)).await?;
    Ok(answers)
}

statements! {
    /// Process `$1` of node `$2` is there.
    PROCESS_HERE = "INSERT INTO node_processes (process, node) VALUES ($1, $2)
        ON CONFLICT (process) DO UPDATE SET seen_at = now(), node = excluded.node";
    /// Nobody waits for them any more.
    QUESTIONS_EXPIRE = "DELETE FROM node_questions WHERE asked_at < now() - interval '1 minute'";
    /// Processes of which nothing was heard for ten minutes are no node's.
    PROCESSES_EXPIRE = "DELETE FROM node_processes WHERE seen_at < now() - interval '10 minutes'";
    /// Process `$1` ends.
    PROCESS_GONE = "DELETE FROM node_processes WHERE process = $1";
    /// Others than `$1`. A node that has a younger process is asked by that one: the older one was killed.
    PROCESSES = "SELECT process, node, seen_at > now() - interval '15 seconds' AS here FROM node_processes p
        WHERE process <> $1 AND (seen_at > now() - interval '15 seconds'
            OR NOT EXISTS (SELECT FROM node_processes q WHERE q.node = p.node AND q.seen_at > p.seen_at))
        ORDER BY node, process LIMIT 256";
    /// `$1` id, `$2` who asks, `$3` what, `$4` how many may be open.
    QUESTION_ASK = "INSERT INTO node_questions (id, asker, question) SELECT $1, $2, $3
        WHERE (SELECT count(*) FROM node_questions WHERE asked_at > now() - interval '5 seconds') < $4";
    /// Young questions that `$1` has neither asked nor answered.
    QUESTIONS_OPEN = "SELECT id, question FROM node_questions q
        WHERE asker <> $1 AND asked_at > clock_timestamp() - interval '3 seconds'
            AND NOT EXISTS (SELECT FROM node_answers a WHERE a.question_id = q.id AND a.process = $1)
        ORDER BY asked_at LIMIT 64";
    /// The question may be over.
    QUESTION_ANSWER = "INSERT INTO node_answers (question_id, process, answer)
        SELECT $1, $2, $3 WHERE EXISTS (SELECT FROM node_questions WHERE id = $1) ON CONFLICT DO NOTHING";
    /// Of question `$1`.
    ANSWERS_COUNT = "SELECT count(*) FROM node_answers WHERE question_id = $1";
    /// Of question `$1`.
    ANSWERS = "SELECT process, answer FROM node_answers WHERE question_id = $1 ORDER BY process";
    /// With its answers.
    QUESTION_OVER = "DELETE FROM node_questions WHERE id = $1";
}

//! Nodes ask one another (RFC 0041): a process that is asked for calls asks all processes that have a proxy, by PostgreSQL, and answers
//! what others ask of its own proxy.
//!
//! What a node has of its own comes through a [`Door`] that the composition root opens. Invariants: a question is answered by a process
//! once; who asks waits for [`ASK_WAIT`] at most and names those who did not answer; at most [`OPEN_QUESTIONS`] are open at once, and one
//! more is refused; nothing of this is on the call path.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fault::{Fault, Kind};
use super::ladder::{NodeLadder, NodeRefused};
use super::live::{NodeCalls, NodeHangUp, Which};
use crate::App;
use crate::store::{Scope, StoreError, nodes as rows};

/// Answers what is asked of the proxy of this process. A call of it blocks for [`ANSWER_WAIT`] at most.
#[derive(Clone)]
pub struct Door {
    /// The name of the node, for people.
    pub node: String,
    /// Answers a question of another node.
    pub answer: Arc<dyn Fn(&Question) -> NodeReply + Send + Sync>,
}

/// What a node is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// Its calls in the air.
    Calls {
        /// Which of them are meant.
        which: Which,
        /// How many at most, the newest ones.
        most: usize,
    },
    /// To end a call by hand.
    HangUp {
        /// The call's id: `call_` and 26 characters.
        id: String,
        /// Only if it is a call of this customer.
        customer: Option<String>,
    },
    /// The messages of a call.
    Ladder {
        /// The id of the call.
        id: String,
    },
    /// Addresses without an account that wanted something.
    Refused {
        /// Only this address of them.
        ip: Option<String>,
    },
}

/// What a node says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum NodeReply {
    /// Calls in the air.
    Calls(NodeCalls),
    /// What came of a hang-up.
    HungUp {
        /// The outcome on this node.
        came: NodeHangUp,
    },
    /// The messages of a call.
    Ladder {
        /// `None`: it has none of them.
        ladder: Option<NodeLadder>,
    },
    /// Addresses without an account.
    Refused {
        /// The last ones that came.
        seen: Vec<NodeRefused>,
    },
    /// It does not know this question, or cannot tell now.
    Unknown,
}

/// What all nodes have said.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Each node with its answer.
    pub said: Vec<(String, NodeReply)>,
    /// Nodes that were asked, or that were there until lately, and did not answer.
    pub silent: Vec<String>,
}

/// How long a node takes to answer at most.
pub const ANSWER_WAIT: Duration = Duration::from_millis(1_000);
/// How long an asker waits for the others.
pub const ASK_WAIT: Duration = Duration::from_millis(1_800);
/// Questions that may be open at once, of all processes together.
pub const OPEN_QUESTIONS: i64 = 256;
/// How often a process says that it is there.
const BEAT: Duration = Duration::from_secs(4);
/// How often it looks for questions when it hears of none: a notice may be lost with its connection.
const LOOK: Duration = Duration::from_secs(1);
/// Pause between two looks whether answers are there.
const POLL: Duration = Duration::from_millis(15);
const WHY: Scope = Scope::Operator("nodes");

/// Asks every node, this one included. Errors: the database is away, or too many questions are open.
pub async fn ask(app: &App, question: &Question) -> Result<Answers, Fault> {
    let mut answers = Answers::default();
    let own = app.node_door().cloned().map(|door| {
        let asked = question.clone();
        (door.node.clone(), tokio::task::spawn_blocking(move || (door.answer)(&asked)))
    });
    let mut tx = app.store.begin(WHY).await?;
    let others = rows::others(&mut tx, app.process()).await?;
    let (here, away): (Vec<_>, Vec<_>) = others.into_iter().partition(|p| p.here);
    answers.silent.extend(away.into_iter().map(|p| p.node));
    if here.is_empty() {
        drop(tx);
    } else {
        let id = format!("{:032x}", app.random_id());
        let body = serde_json::to_value(question).map_err(|_| Fault::internal())?;
        if !rows::ask(&mut tx, &id, app.process(), &body, OPEN_QUESTIONS).await? {
            let message = "too many questions to nodes are open";
            return Err(Fault { retry_after_s: Some(2), ..Fault::new(Kind::Unavailable, message) });
        }
        tx.commit().await?;
        let given = wait(app, &id, here.len()).await?;
        for process in here {
            let own = given.iter().find(|a| a.process == process.process);
            let reply = own.map(|a| serde_json::from_value(a.answer.0.clone()).unwrap_or(NodeReply::Unknown));
            match reply {
                Some(NodeReply::Unknown) | None => answers.silent.push(process.node),
                Some(reply) => answers.said.push((process.node, reply)),
            }
        }
    }
    if let Some((node, own)) = own {
        match own.await {
            Ok(NodeReply::Unknown) | Err(_) => answers.silent.push(node),
            Ok(reply) => answers.said.insert(0, (node, reply)),
        }
    }
    Ok(answers)
}

/// Waits until so many have answered, or long enough; gives what there is.
async fn wait(app: &App, id: &str, all: usize) -> Result<Vec<rows::AnswerRow>, StoreError> {
    let ends = Instant::now() + ASK_WAIT;
    let wanted = i64::try_from(all).unwrap_or(i64::MAX);
    loop {
        tokio::time::sleep(POLL).await;
        let mut tx = app.store.begin(WHY).await?;
        if rows::count(&mut tx, id).await? >= wanted || Instant::now() >= ends {
            let given = rows::take(&mut tx, id).await?;
            tx.commit().await?;
            return Ok(given);
        }
    }
}

/// Answers what others ask of this process, until told to stop; then says that it is gone.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            served = serve(&app) => {
                if let Err(e) = served {
                    tracing::debug!(error = %e, "other nodes are answered when the database does");
                }
            }
            _ = stop.wait_for(|s| *s) => break,
        }
        if tokio::time::timeout(LOOK, stop.wait_for(|s| *s)).await.is_ok() {
            break;
        }
    }
    if app.node_door().is_some() {
        let bye = async {
            let mut tx = app.store.begin(WHY).await?;
            rows::gone(&mut tx, app.process()).await?;
            tx.commit().await
        };
        if let Err(e) = bye.await {
            tracing::debug!(error = %e, "other nodes learn by time that this one is gone");
        }
    }
}

async fn serve(app: &App) -> Result<(), StoreError> {
    // Without a proxy there is nothing to tell, and no connection is taken for it.
    let door = loop {
        match app.node_door() {
            Some(door) => break door.clone(),
            None => tokio::time::sleep(BEAT / 16).await,
        }
    };
    let mut notices = app.store.listen("warp_nodes").await?;
    let mut next_beat = Instant::now();
    loop {
        let mut tx = app.store.begin(WHY).await?;
        if Instant::now() >= next_beat {
            rows::here(&mut tx, app.process(), &door.node).await?;
            next_beat = Instant::now() + BEAT;
        }
        let open = rows::open(&mut tx, app.process()).await?;
        tx.commit().await?;
        let mut work = tokio::task::JoinSet::new();
        for asked in open {
            let answer = door.answer.clone();
            work.spawn_blocking(move || {
                // What a newer node asks may be unknown here.
                let question = serde_json::from_value::<Question>(asked.question.0);
                (asked.id, question.map_or(NodeReply::Unknown, |q| answer(&q)))
            });
        }
        while let Some(done) = work.join_next().await {
            let Ok((id, reply)) = done else { continue };
            let Ok(reply) = serde_json::to_value(&reply) else { continue };
            let mut tx = app.store.begin(WHY).await?;
            rows::answer(&mut tx, &id, app.process(), &reply).await?;
            tx.commit().await?;
        }
        if let Ok(heard) = tokio::time::timeout(LOOK, notices.next()).await {
            heard?;
        }
    }
}

//! Who does not want to hear of whom (RFC 0052). An SMSC makes rows by the STOP and START of handsets; customers and operators write down
//! and lift what reached them otherwise.

use warp_model::CustomerId;
use warp_model::id::Kind as IdKind;

use super::fault::{Fault, Problem};
use super::input::{Handset, Sender, Text};
use super::resource::{self, Of, Resource};
use super::view::Word;
use super::{Ctx, none_wrong};
use crate::noun::customer::CustomerRow;
use crate::noun::opt_out::{OptOutRow, OptOutValues};
use crate::store::Tx;
use crate::store::types::Time;

/// An id of an opt-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptOutKind {}
impl IdKind for OptOutKind {
    const PREFIX: &'static str = "opt";
}

crate::choice! {
    /// Whether an opt-out counts.
    pub enum OptOutStatus {
        /// Messages from the sender to the recipient are refused.
        Out = "out",
        /// It counts no more; it stays as a proof.
        Lifted = "lifted",
    }
}

crate::view! {
    /// A time for which a recipient does not want to hear of a sender. The row is lifted and never deleted.
    pub struct OptOut from OptOutRow {
        /// The opt-out's id: `opt_` and 26 characters.
        pub id: String,
        /// The customer whose sender it is.
        pub customer_id: String,
        /// The sender: digits of a number or short code.
        pub sender: String,
        /// The recipient: digits of its number.
        pub recipient: String,
        /// Whether it still counts now.
        pub status: Word<OptOutStatus>,
        /// Why it is there; of one that is lifted by the API, why it was lifted.
        pub reason: String,
        /// The message of the handset that said it (msg_…). Null: it was written down.
        pub message_id: Option<String>,
        /// Since when it counts.
        pub said_at: Time,
        /// Until when. Null: it counts.
        pub lifted_at: Option<Time>,
        /// The message of the handset that lifted it (msg_…). Null: none did.
        pub lifted_message_id: Option<String>,
        /// When the row was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    } with {
        /// What it means, in one sentence.
        pub explanation: String,
    }
}

crate::input! {
    /// An opt-out to write down, or to lift.
    pub struct OptOutInput {
        /// The sender: a number or short code, with or without +.
        pub sender: Sender,
        /// The recipient: a number, with or without +.
        pub recipient: Handset,
        /// `out` when absent. One that is lifted stays so: write down another one.
        pub status: Option<OptOutStatus>,
        /// Why it is so, in words.
        pub reason: Text<1, 200>,
    }
}

/// Opt-outs, as the API offers them.
pub struct OptOuts;

impl Resource for OptOuts {
    type Row = OptOutRow;
    type Kind = OptOutKind;
    type Parent = CustomerId;
    type Input = OptOutInput;
    type View = OptOut;

    fn view(_: &Ctx<'_>, row: OptOutRow) -> OptOut {
        let explanation = explained(&row);
        OptOut::of(row, explanation)
    }

    async fn values(
        _: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &OptOutInput,
    ) -> Result<OptOutValues, Fault> {
        let mut problems = Vec::new();
        let (sender, recipient) = (input.sender.0.clone(), input.recipient.0.clone());
        let status = input.status.unwrap_or(OptOutStatus::Out);
        match &of {
            Of::New(_, customer) => {
                resource::read::<CustomerRow>(tx, customer).await?;
                if status == OptOutStatus::Lifted {
                    problems.push(Problem::new(
                        "status",
                        "contradicts",
                        "must be out: there is nothing to lift yet",
                    ));
                }
            }
            Of::Now(_, row) => {
                for (field, now, wanted) in
                    [("sender", &row.sender, &sender), ("recipient", &row.recipient, &recipient)]
                {
                    if now != wanted {
                        problems.push(Problem::new(
                            field,
                            "cannot_change",
                            "cannot be changed: write down another one",
                        ));
                    }
                }
                if row.status == OptOutStatus::Lifted.as_str() && status == OptOutStatus::Out {
                    let message = "is lifted and stays so: write down another one";
                    problems.push(Problem::new("status", "cannot_change", message));
                }
            }
        }
        none_wrong(problems)?;
        let (status, reason) = (status.as_str().to_owned(), input.reason.0.clone());
        Ok(OptOutValues { sender, recipient, status, reason })
    }
}

fn explained(row: &OptOutRow) -> String {
    let OptOutRow { sender, recipient, .. } = row;
    match (row.status.as_str(), &row.message_id, &row.lifted_message_id) {
        ("out", Some(_), _) => {
            format!(
                "{recipient} has said STOP to {sender}: messages from there are refused until it says START."
            )
        }
        ("out", None, _) => {
            format!("It was written down that {recipient} wants no messages from {sender}; they are refused.")
        }
        (_, _, Some(_)) => format!("{recipient} wanted no messages from {sender}, and has said START since."),
        _ => format!("{recipient} wanted no messages from {sender}; that was lifted: {}.", row.reason),
    }
}
